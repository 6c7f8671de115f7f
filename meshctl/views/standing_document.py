"""What was seen of a running pod and what the mesh's resources say of it, as a part of its document."""

from typing import Any

from meshctl.checks.evidence import Evidence
from meshctl.injection.exposure import Exposure
from meshctl.injection.routes_here import RouteHere
from meshctl.injection.standing import RuleHere, Standing
from meshctl.injection.state import State


def document(it: Evidence) -> dict[str, Any] | None:
    """What was seen and judged; None for a pod that does not run."""
    if it.state is None and it.standing is None:
        return None
    found: dict[str, Any] = {}
    if it.ambient is not None:
        found["ambient"] = {
            "redirected": it.ambient.redirected,
            "asked_by": it.ambient.asked_by or None,
            "ztunnel": it.ambient.ztunnel or None,
            "carried": it.ambient.taken_over,
            "protocol": it.ambient.protocol or None,
            "waypoints": [{"name": name, "asked_by": by} for name, by in it.ambient.waypoints],
        }
    if it.state is not None:
        found |= _state(it.state)
    if it.standing is not None:
        found |= _standing(it.standing)
    return found


def _state(state: State) -> dict[str, Any]:
    return {
        "proxy_state": state.server_state,
        "listeners": None
        if state.listeners is None
        else [
            {"address": o.address, "port": o.port, "program": o.program or None, "user": o.user}
            for o in state.listeners
        ],
        "certificates": None
        if state.certificates is None
        else [
            {
                "name": c.name,
                "identity": c.identity or None,
                "not_after": c.not_after.isoformat().replace("+00:00", "Z") if c.not_after else None,
            }
            for c in state.certificates
        ],
        "refused": None
        if state.refused is None
        else [{"kind": r.kind, "name": r.name, "reason": r.reason} for r in state.refused],
    }


def _standing(standing: Standing) -> dict[str, Any]:
    return {
        "mtls": [
            {"port": s.port, "mode": s.mode, "decided_by": str(s.decided_by) if s.decided_by else None}
            for s in standing.security
        ],
        "policies": [{"policy": str(p.meta), "effect": p.words} for p in standing.policies],
        "routes": [_route(r) for r in standing.routes],
        "subsets": [
            {"destination_rule": str(s.meta), "subset": s.subset.name, "labels": dict(s.subset.labels), "here": s.here}
            for s in standing.subsets
        ],
        "destination_rules": [_destination_rule(r) for r in standing.rules],
        "exposed": [_exposure(e) for e in standing.exposures],
    }


def _route(route: RouteHere) -> dict[str, Any]:
    return {
        "virtual_service": str(route.meta),
        "kind": route.meta.kind,
        "route": route.name,
        "host": route.host,
        "subset": route.subset or None,
        "weight": route.weight,
        "share": route.share,
        "also": list(route.also),
        "when": route.when,
        "leads_here": route.leads_here,
    }


def _destination_rule(rule: RuleHere) -> dict[str, Any]:
    return {
        "destination_rule": str(rule.meta),
        "host": rule.host,
        "subset": rule.subset or None,
        "tls": rule.policy.tls or None,
        "load_balancer": rule.policy.load_balancer or None,
        "ports": [{"port": number, "tls": mode or None} for number, mode in rule.policy.ports],
        "also": list(rule.policy.also),
    }


def _exposure(exposure: Exposure) -> dict[str, Any]:
    reach = exposure.reach
    return {
        "gateway": str(exposure.gateway),
        "kind": "Gateway API" if exposure.by.kind == "HTTPRoute" else "Istio",
        "addresses": list(reach.addresses) if reach else [],
        "node_port": reach.node_port if reach else None,
        "pods": reach.pods if reach else None,
        "certain": exposure.certain,
        "port": exposure.server.port,
        "protocol": exposure.server.protocol,
        "hosts": list(exposure.hosts),
        "by": str(exposure.by),
    }

"""What was seen of a running pod and what the mesh's resources say of it, as a part of its document."""

from typing import Any

from meshctl.checks.evidence import Evidence
from meshctl.injection.standing import Standing
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
        "routes": [
            {
                "virtual_service": str(r.meta),
                "kind": r.meta.kind,
                "route": r.name,
                "host": r.host,
                "subset": r.subset or None,
                "weight": r.weight,
                "share": r.share,
                "also": list(r.also),
                "when": r.when,
                "leads_here": r.leads_here,
            }
            for r in standing.routes
        ],
        "subsets": [
            {"destination_rule": str(s.meta), "subset": s.subset.name, "labels": dict(s.subset.labels), "here": s.here}
            for s in standing.subsets
        ],
        "destination_rules": [
            {
                "destination_rule": str(r.meta),
                "host": r.host,
                "subset": r.subset or None,
                "tls": r.policy.tls or None,
                "load_balancer": r.policy.load_balancer or None,
                "ports": [{"port": number, "tls": mode} for number, mode in r.policy.ports],
                "also": list(r.policy.also),
            }
            for r in standing.rules
        ],
        "exposed": [
            {
                "gateway": str(e.gateway),
                "kind": "Gateway API" if e.by.kind == "HTTPRoute" else "Istio",
                "addresses": list(e.reach.addresses) if e.reach else [],
                "node_port": e.reach.node_port if e.reach else None,
                "pods": e.reach.pods if e.reach else None,
                "certain": e.certain,
                "port": e.server.port,
                "protocol": e.server.protocol,
                "hosts": list(e.hosts),
                "by": str(e.by),
            }
            for e in standing.exposures
        ],
    }

"""One pod as the document ``meshctl.describe-pod/v1``."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.injection.decision import Decision
from meshctl.injection.description import Description
from meshctl.injection.explain import ContainerStory, parsed
from meshctl.kube.services import Service, ServicePort
from meshctl.views import standing_document
from meshctl.views.pod_containers import state_words
from meshctl.views.pod_decision import agrees
from meshctl.views.pod_gaps import all_gaps, problems
from meshctl.views.pod_services import mesh_protocol

SCHEMA = "meshctl.describe-pod/v1"


def document(it: Evidence, findings: Sequence[Finding]) -> dict[str, Any]:
    """The whole description as a JSON document."""
    result = it.description
    return {
        "schema": SCHEMA,
        "pod": _pod(result),
        "injection": _injection(result),
        "containers": [_container(story) for story in result.containers],
        "capture": _capture(result),
        "cni_differs": [
            {"setting": name, "arguments": mine, "plugin": theirs} for name, mine, theirs in result.cni_differs
        ],
        **_start(result),
        "services": [s.name for s in result.services],
        "service_ports": [_service_port(s, p) for s in result.services for p in s.ports],
        "changes": None
        if result.changes is None
        else [{"path": c.path, "before": c.before, "after": c.after, "by": c.by, "why": c.why} for c in result.changes],
        "state": standing_document.document(it),
        "unknown": [f"{s.container.name}: {u}" for s in result.containers for u in s.unknown],
        "gaps": list(all_gaps(it)),
        "findings": [finding_document(f) for f in findings],
    }


def _pod(result: Description) -> dict[str, Any]:
    pod = result.pod
    return {
        "name": pod.name,
        "namespace": pod.namespace or None,
        "node": pod.node or None,
        "ip": pod.ip or None,
        "phase": pod.phase or None,
        "ready": pod.ready,
        "deleted_at": _time(pod.deleted_at) if pod.deleted_at else None,
        "template_of": pod.template_of or None,
        "workload": [f"{o.kind}/{o.name}" for o in result.subject.workload.chain],
    }


def _injection(result: Description) -> dict[str, Any]:
    injection, added = result.injection, result.added
    return {
        "mode": injection.mode,
        "mesh": injection.mesh or None,
        "revision": injection.revision or None,
        "istio_version": injection.release.text or None,
        "istio_version_exact": injection.release.exact,
        "istio_version_evidence": list(injection.release.evidence),
        "cni": injection.cni,
        "reasons": _reasons(result),
        "decision": decision_document(result.decision),
        "added": {
            "init_containers": list(added.init_containers),
            "containers": list(added.containers),
            "volumes": list(added.volumes),
            "annotations": list(added.annotations),
            "labels": list(added.labels),
            "certain": added.certain,
        },
        "problems": list(problems(result)),
        "outdated": [{"what": d.what, "now": d.now, "would_be": d.would_be, "text": d.text} for d in result.outdated],
        "control_planes": list(result.subject.control_planes),
        "templates": _templates(result),
    }


def _start(result: Description) -> dict[str, Any]:
    """When what started and ended, in which order, and what follows from it."""
    return {
        "timeline": [
            {"at": _time(m.at), "container": m.container or None, "event": m.event, "source": m.source}
            for m in result.timeline.moments
        ],
        "start_order": [
            {"container": s.container, "kind": s.kind, "why": s.why, "planned": s.planned} for s in result.steps
        ],
        "answers": [
            {
                "question": a.question,
                "verdict": a.verdict,
                "text": a.text,
                "seconds": a.seconds,
                "evidence": list(a.evidence),
            }
            for a in result.answers
        ],
        "endings": [
            {"container": e.container, "exit_code": e.code, "reason": e.reason or None, "text": e.text}
            for e in result.endings
        ],
    }


def _templates(result: Description) -> dict[str, Any] | None:
    """What the injector's templates of today say of the pod; None for a pod that no injector made."""
    found = result.templates
    if found is None:
        return None
    return {
        "readable": found.readable,
        "rendered": False,
        "names": list(found.names),
        "unmentioned": list(found.unmentioned),
        "text": found.text,
    }


def finding_document(finding: Finding) -> dict[str, Any]:
    """A finding as describe lists it."""
    return {"id": finding.id, "severity": finding.severity, "text": finding.text, "fix": finding.fix}


def decision_document(decision: Decision) -> dict[str, Any]:
    """Whether a pod would be injected if it were made now, with every rule that was tried."""
    return {
        "outcome": decision.outcome,
        "text": decision.text,
        "revision": decision.revision or None,
        "tries": [
            {
                "rule": t.rule,
                "question": t.question,
                "answer": t.answer,
                "text": t.text,
                "source": t.source,
                "decides": t.decides,
            }
            for t in decision.tries
        ],
        "remarks": list(decision.remarks),
    }


def _reasons(result: Description) -> list[dict[str, str]]:
    found = [{"rule": r.rule, "text": r.text, "source": r.source} for r in result.injection.reasons]
    deciding = result.decision.deciding
    if deciding is not None and result.decision.outcome != "undecided" and agrees(result):
        found.insert(0, {"rule": deciding.rule, "text": deciding.text, "source": deciding.source})
    return found


def _container(story: ContainerStory) -> dict[str, Any]:
    container = story.container
    return {
        "name": container.name,
        "kind": story.kind,
        "added_by_mesh": story.by_mesh,
        "image": container.image,
        "role": story.role,
        "arguments": [
            {
                "flag": a.flag,
                "value": a.value,
                "meaning": a.meaning,
                "source": a.source,
                "default": a.default or None,
                "releases": a.releases or None,
            }
            for a in story.arguments
        ],
        "env": [
            {
                "name": e.name,
                "value": e.value,
                "meaning": e.meaning,
                "from": e.taken_from or e.source or None,
                "decoded": list(e.decoded),
            }
            for e in story.env
        ],
        "mounts": [f"{m.path} from {m.volume}{' (ro)' if m.read_only else ''}" for m in story.mounts],
        "probes": [{"kind": p.kind, "now": p.now, "originally": p.originally} for p in story.probes],
        "ports": [
            {"number": p.number, "name": p.name or None, "protocol": p.protocol, "meaning": p.meaning}
            for p in story.ports
        ],
        "state": state_words(story),
        "ready": container.status.ready if container.status else None,
        "restarts": container.status.restarts if container.status else None,
    }


def _number(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def _capture(result: Description) -> dict[str, Any] | None:
    """The settings; every one null where istio-init's arguments are not istio-iptables' own (`unread` has them)."""
    capture, init = result.capture, result.injection.init
    if init is None:
        return None
    if capture is None:
        unknown: dict[str, Any] = dict.fromkeys(_SETTINGS)
        return {**unknown, "notes": [result.capture_problem], "unread": [*init.command, *init.args]}
    values = {name: getattr(capture, name) for name in _SETTINGS}
    return {
        **values,
        "mode": capture.mode or "REDIRECT",
        **{name: _number(values[name]) for name in ("outbound_port", "inbound_port", "tunnel_port")},
        **{name: [_number(u) for u in values[name].split(",") if u] for name in ("proxy_uids", "proxy_gids")},
        "notes": list(capture.notes),
        "unread": unread(result),
    }


_SETTINGS = (
    "mode",
    "outbound_port",
    "inbound_port",
    "tunnel_port",
    "proxy_uids",
    "proxy_gids",
    "include_inbound_ports",
    "exclude_inbound_ports",
    "include_outbound_ranges",
    "exclude_outbound_ranges",
    "include_outbound_ports",
    "exclude_outbound_ports",
    "exclude_interfaces",
    "reroute_interfaces",
    "owner_groups",
    "owner_groups_exclude",
    "loopback_cidr",
    "dns",
    "capture_all_dns",
    "drop_invalid",
    "dual_stack",
    "native_nftables",
)


def unread(result: Description) -> list[str]:
    """The arguments of istio-init that are not its program's own."""
    story = result.story(result.injection.init.name) if result.injection.init is not None else None
    if story is None or not result.capture_problem:
        return []
    return [
        " ".join(filter(None, (a.flag, a.value))) for a in parsed(story.container) if not a.name and not a.positional
    ]


def _service_port(service: Service, port: ServicePort) -> dict[str, Any]:
    return {
        "service": service.name,
        "port": port.number,
        "name": port.name or None,
        "protocol": port.protocol,
        "target": port.target,
        "app_protocol": port.app_protocol or None,
        "mesh_protocol": mesh_protocol(port)[0],
    }


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")

"""One pod: the document ``meshctl.describe-pod/v1`` and the page that `describe pod` shows."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from meshctl.blocks import Bar, Block, Column, Facts, Heading, Line, Note, Page, Span, Table, Text, Timeline
from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.checks.unnamed_port import protocol_of
from meshctl.injection.answers import Answer
from meshctl.injection.changes import Change
from meshctl.injection.decision import Try
from meshctl.injection.description import Description
from meshctl.injection.explain import ContainerStory, parsed
from meshctl.kube.pods import Running, Terminated, Waiting
from meshctl.kube.services import Service, ServicePort
from meshctl.netfilter.capture import Capture
from meshctl.views import standing as standing_view
from meshctl.views.findings import counted

SCHEMA = "meshctl.describe-pod/v1"
MODES = {
    "sidecar": "sidecar: a proxy (Envoy) runs beside the application as an ordinary container",
    "native-sidecar": "native sidecar: a proxy (Envoy) runs beside the application, started before it",
    "gateway": "gateway: the pod itself is a proxy (Envoy) of the mesh",
    "grpc": "gRPC without a proxy: the application speaks to the control plane (istiod) itself",
    "ambient": "ambient: no proxy in the pod; the node's proxy (ztunnel) carries its connections",
    "none": "not in the mesh: no proxy carries its connections",
}


def document(it: Evidence, findings: Sequence[Finding]) -> dict[str, Any]:
    """The whole description as a JSON document."""
    result = it.description
    pod, injection = result.pod, result.injection
    return {
        "schema": SCHEMA,
        "pod": {
            "name": pod.name,
            "namespace": pod.namespace or None,
            "node": pod.node or None,
            "ip": pod.ip or None,
            "phase": pod.phase or None,
            "ready": pod.ready,
            "template_of": pod.template_of or None,
            "workload": [f"{o.kind}/{o.name}" for o in result.subject.workload.chain],
        },
        "injection": {
            "mode": injection.mode,
            "mesh": injection.mesh or None,
            "revision": injection.revision or None,
            "istio_version": injection.release.text or None,
            "istio_version_exact": injection.release.exact,
            "istio_version_evidence": list(injection.release.evidence),
            "cni": injection.cni,
            "reasons": _reasons(result),
            "decision": decision_document(result),
            "added": {
                "init_containers": list(result.added.init_containers),
                "containers": list(result.added.containers),
                "volumes": list(result.added.volumes),
                "annotations": list(result.added.annotations),
                "labels": list(result.added.labels),
                "certain": result.added.certain,
            },
            "problems": list(_problems(result)),
            "outdated": [
                {"what": d.what, "now": d.now, "would_be": d.would_be, "text": d.text} for d in result.outdated
            ],
            "control_planes": list(result.subject.control_planes),
            "templates": _templates(result),
        },
        "containers": [_container(story) for story in result.containers],
        "capture": _capture(result),
        "cni_differs": [
            {"setting": name, "arguments": mine, "plugin": theirs} for name, mine, theirs in result.cni_differs
        ],
        "timeline": [
            {"at": _time(m.at), "container": m.container or None, "event": m.event, "source": m.source}
            for m in result.timeline.moments
        ],
        "start_order": [{"container": s.container, "kind": s.kind, "why": s.why} for s in result.steps],
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
        "services": [s.name for s in result.services],
        "service_ports": [_service_port(s, p) for s in result.services for p in s.ports],
        "changes": None
        if result.changes is None
        else [{"path": c.path, "before": c.before, "after": c.after, "by": c.by, "why": c.why} for c in result.changes],
        "state": standing_view.document(it),
        "unknown": [f"{s.container.name}: {u}" for s in result.containers for u in s.unknown],
        "gaps": list(all_gaps(it)),
        "findings": [finding_document(f) for f in findings],
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


def decision_document(result: Description) -> dict[str, Any]:
    """Whether the pod would be injected if it were made now, with every rule that was tried."""
    decision = result.decision
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
    if deciding is not None and result.decision.outcome != "undecided" and _agrees(result):
        found.insert(0, {"rule": deciding.rule, "text": deciding.text, "source": deciding.source})
    return found


def _agrees(result: Description) -> bool:
    """Whether the decision for a pod made now is the one that this pod shows."""
    injected = result.injection.receipt is not None
    if result.injection.mode in ("ambient", "gateway") and not injected:
        return False
    return injected == (result.decision.outcome == "injected") or not result.pod.has_status


def _problems(result: Description) -> Iterator[str]:
    yield from result.injection.problems
    if result.capture_problem:
        yield result.capture_problem
    if result.overlay.problem:
        yield result.overlay.problem
    for flaw in result.pod.flaws:
        yield f"{flaw.path}: {flaw.problem}: {flaw.raw}"
    yield from result.subject.settings.problems


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


def mesh_protocol(port: ServicePort) -> tuple[str, str]:
    """The protocol that the mesh uses for a port, and why."""
    if port.protocol != "TCP":
        return port.protocol.lower(), "not TCP: it does not pass through the proxy"
    if port.app_protocol:
        return port.app_protocol.rpartition("/")[2], "appProtocol"
    named = protocol_of(port.name)
    return (
        (named, f"the name '{port.name}'")
        if named
        else ("auto", "neither name nor appProtocol: guessed from the bytes")
    )


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


def state_words(story: ContainerStory) -> str:
    """The container's state in a few words; empty where the pod does not run."""
    status = story.container.status
    if status is None:
        return ""
    match status.state:
        case Running():
            word = "running" + ("" if status.ready else ", not ready")
        case Terminated(code, reason, _, _, _, _):
            word = "done" if code == 0 else f"ended with exit code {code}" + (f" ({reason})" if reason else "")
        case Waiting(reason, _):
            word = f"waiting ({reason})" if reason else "waiting"
        case None:
            word = "unknown"
    return word + (f", restarted {status.restarts} times" if status.restarts else "")


# ---- the page ------------------------------------------------------------------------------------------------------


def page(it: Evidence, findings: Sequence[Finding], *, wide: bool = False) -> Page:
    """Everything a colleague would tell about the pod, the most important first."""
    result = it.description
    blocks: list[Block] = [*head(result), *findings_blocks(findings), *added_blocks(result), *_containers(result, wide)]
    blocks += [
        *capture_blocks(result),
        *rules_note(it),
        *_decision(result),
        Heading("Start order"),
        *start_blocks(result),
        *changes_blocks(result, wide),
        *services_blocks(result),
    ]
    blocks += standing_view.blocks(it)
    blocks += closing(it)
    what = result.pod.template_of or f"Pod {result.pod.name}"
    return Page(what, tuple(blocks))


def head(result: Description) -> Iterator[Block]:
    """Who the pod is, in a few lines."""
    pod, injection = result.pod, result.injection
    title = pod.template_of or f"Pod {pod.name}"
    yield Heading((title, Span(f" in namespace {pod.namespace}", "dim") if pod.namespace else ""), 1)
    rows: list[tuple[str, Line]] = [("mesh", _mode_line(result))]
    if injection.release.text:
        exact = "" if injection.release.exact else " (by what was added; the image's tag names no release)"
        rows.append(("Istio", (Span(injection.release.text, "strong"), Span(exact, "dim"))))
    if injection.revision:
        rows.append(("revision", (injection.revision, Span(" (which installation of the control plane)", "dim"))))
    chain = result.subject.workload.chain
    if chain:
        rows.append(("made by", " < ".join(f"{o.kind} {o.name}" for o in chain)))
    if pod.has_status:
        ready = {True: Span("ready", "good"), False: Span("not ready", "bad"), None: Span("readiness unknown", "warn")}
        rows.append(("state", (pod.phase or "?", ", ", ready[pod.ready])))
        rows.append(("where", f"{pod.ip or 'no address'} on node {pod.node or '(none yet)'}"))
    if result.subject.services is not None:
        names = ", ".join(s.name for s in result.services) or "none selects this pod"
        rows.append(("services", names))
    yield Facts(tuple(rows))


def _mode_line(result: Description) -> Line:
    injection = result.injection
    if injection.mesh not in ("istio", ""):
        return (Span(injection.mesh.title(), "strong"), ": another mesh; its parts are named below, not judged")
    word, colon, rest = MODES[injection.mode].partition(":")
    if injection.agent_mode == "waypoint":
        rest = " the pod is a waypoint, a proxy (Envoy) that services of an ambient mesh share"
    if injection.agent_mode == "ztunnel":
        word, rest = "ztunnel", " the proxy of this node, which the pods of an ambient mesh share"
    return (Span(word, "strong"), f"{colon or ':'}{rest}")


_MOOD = {"error": "bad", "warning": "warn", "info": "info"}


def findings_blocks(findings: Sequence[Finding]) -> Iterator[Block]:
    """What is wrong, worst first."""
    if not findings:
        return
    yield Heading("What is wrong or worth a look")
    for f in findings:
        more: list[Line] = [("fix: ", f.fix)] if f.fix else []
        mood: Any = _MOOD[f.severity]
        yield Note((Span(f"{f.id} ", "dim"), f.text), mood, tuple(more))


def added_blocks(result: Description) -> Iterator[Block]:
    """What the mesh added, beside what was there without it."""
    added, pod, injection = result.added, result.pod, result.injection
    if not any((added.init_containers, added.containers, added.volumes, added.annotations, added.labels)):
        return
    yield Heading("What the mesh added")
    theirs = [c.name for c in pod.containers if c.name not in injection.ours]
    rows: list[tuple[Line, ...]] = []
    for title, names, before in (
        ("init containers", added.init_containers, [c.name for c in pod.init_containers if c.name in theirs]),
        ("containers", added.containers, [c.name for c in pod.app_containers if c.name in theirs]),
        ("volumes", added.volumes, [v.name for v in pod.volumes if v.name not in added.volumes]),
        ("annotations", added.annotations, [k for k in pod.annotations if k not in added.annotations]),
        ("labels", added.labels, [k for k in pod.labels if k not in added.labels]),
    ):
        if names or before:
            rows.append((title, Span(", ".join(names) or "-", "added"), ", ".join(before) or "-"))
    yield Table((Column("", wrap=False), Column("added by the mesh"), Column("there without it", keep=3)), tuple(rows))
    if not added.certain and injection.cni:
        yield Text(
            "What the user wrote is not known here, so an annotation that counts as added may be the user's own.", 2
        )


def _containers(result: Description, wide: bool) -> Iterator[Block]:
    yield Heading("Containers")
    for story in result.containers:
        state = state_words(story)
        name = Span(story.container.name, "added" if story.by_mesh else "name")
        kind = {"init": "init container", "sidecar": "sidecar", "app": "container", "ephemeral": "debug container"}
        yield Heading((name, Span(f"  {kind[story.kind]}{', ' + state if state else ''}", "dim")), 3)
        yield Text(f"{story.role[:1].upper()}{story.role[1:]}.", 2)
        yield from container_blocks(story, wide)


def container_blocks(story: ContainerStory, wide: bool) -> Iterator[Block]:
    """A container's image, ports, checks, arguments and (with `wide`) everything else."""
    rows: list[tuple[str, Line]] = [("image", Span(story.container.image, "code"))]
    if story.ports:
        shown = (
            f"{p.number}/{p.protocol}" + (f" {p.name}" if p.name else "") + _in_brackets(p.meaning) for p in story.ports
        )
        rows.append(("ports", ", ".join(shown)))
    for probe in story.probes:
        line: Line = probe.now
        if probe.originally is not None:
            line = (
                probe.now,
                Span("  really: ", "dim"),
                Span(probe.originally, "strong"),
                Span(", made by the agent", "dim"),
            )
        elif probe.lost:
            line = (probe.now, Span("  the original check is not known", "warn"))
        rows.append((probe.kind, line))
    yield Facts(tuple(rows), 2)
    if story.by_mesh and story.arguments:
        yield _arguments(story)
    env = [e for e in story.env if wide or (story.by_mesh and (e.decoded or e.source or not e.known))]
    if env:
        yield Table(
            (Column("variable", keep=8), Column("value", keep=3), Column("meaning")),
            tuple((Span(e.name, "code"), _env_value(e.value, e.taken_from, e.decoded), e.meaning) for e in env),
            2,
        )
    if wide and story.mounts:
        yield Table(
            (Column("mounted at", keep=8), Column("volume"), Column("meaning")),
            tuple(
                (Span(m.path, "code"), m.volume + (" (read-only)" if m.read_only else ""), m.meaning)
                for m in story.mounts
            ),
            2,
        )


def _arguments(story: ContainerStory) -> Table:
    rows: list[tuple[Line, ...]] = []
    for a in story.arguments:
        value = "" if a.value is None else (a.value or '""')
        meaning: Line = a.meaning
        if a.effect:
            before, _, here = a.meaning.partition(" Here: ")
            meaning = (Span(before + " Here: ", ""), Span(here, "strong"))
        rows.append((Span(a.flag, "code"), Span(value, "code"), meaning, Span(a.source, "dim")))
    columns = (
        Column("argument", keep=8, wrap=False),
        Column("value", keep=6),
        Column("meaning"),
        Column("from", keep=2),
    )
    return Table(columns, tuple(rows), 2)


def _env_value(value: str | None, taken_from: str, decoded: Sequence[str]) -> str:
    if decoded:
        return "; ".join(decoded)
    if value is None:
        return f"(from {taken_from})" if taken_from else ""
    return value.strip() + (f" (from {taken_from})" if taken_from else "")


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""


def capture_blocks(result: Description) -> Iterator[Block]:
    """The effective settings of what is captured."""
    capture = result.capture
    if capture is None:
        if result.capture_problem:
            yield Heading("What is captured")
            yield Note(result.capture_problem, "warn")
        return
    yield Heading("What is captured")
    if result.capture_problem:
        yield Note(f"istio-init would fail: {result.capture_problem}. Read as far as its arguments are known:", "bad")
    who = "the node's CNI plugin" if result.injection.cni else "istio-init"
    yield Text(
        f"Capturing means: rules in the pod's network namespace, written by {who}, send connections to the proxy."
    )
    yield Facts(_capture_rows(capture), 2)
    for note in capture.notes:
        yield Note(note, "warn")
    if result.cni_differs:
        told = tuple(
            f"{name.replace('_', ' ')}: {theirs or 'none'} instead of {mine or 'none'}"
            for name, mine, theirs in result.cni_differs
        )
        yield Note(
            "The CNI plugin reads the pod's annotations, and captures otherwise than these arguments:", "info", told
        )


def rules_note(it: Evidence) -> Iterator[Block]:
    """That the rules are not those that the arguments ask for."""
    if standing_view.broken_rules(it):
        yield Note(
            "This is what the arguments ask for. The rules that are there differ (MC301), so it is not what happens.",
            "bad",
        )


def _capture_rows(c: Capture) -> tuple[tuple[str, Line], ...]:
    def listed(text: str, nothing: str) -> str:
        return {"*": "all", "": nothing}.get(text.strip(), text.replace(",", ", "))

    incoming = listed(c.include_inbound_ports, "nothing")
    if c.include_inbound_ports == "*" and c.exclude_inbound_ports:
        incoming += f" except {listed(c.exclude_inbound_ports, '')}"
    outgoing = listed(c.include_outbound_ranges, "nothing")
    if c.exclude_outbound_ranges:
        outgoing += f" except to {listed(c.exclude_outbound_ranges, '')}"
    if c.exclude_outbound_ports:
        outgoing += f"{',' if c.exclude_outbound_ranges else ''} except to port {listed(c.exclude_outbound_ports, '')}"
    if c.include_outbound_ports:
        outgoing += f"; also everything to port {listed(c.include_outbound_ports, '')}"
    ids = f"user {c.proxy_uids}, group {c.proxy_gids}"
    rows: list[tuple[str, Line]] = [
        ("incoming TCP ports", f"{incoming} -> port {c.inbound_port} ({c.mode or 'REDIRECT'})"),
        ("outgoing TCP", f"{outgoing} -> port {c.outbound_port}"),
        ("not captured", f"what the proxy itself sends ({ids})"),
        ("DNS", "queries go to the agent (port 15053)" if c.dns else "not captured"),
    ]
    if c.exclude_interfaces:
        rows.append(("interfaces left alone", c.exclude_interfaces))
    if c.reroute_interfaces:
        rows.append(("interfaces as outgoing", c.reroute_interfaces))
    if c.owner_groups != "*" or c.owner_groups_exclude:
        rows.append(
            (
                "groups",
                f"{listed(c.owner_groups, 'none')}"
                + (f" except {c.owner_groups_exclude}" if c.owner_groups_exclude else ""),
            )
        )
    if c.drop_invalid:
        rows.append(("invalid packets", "dropped"))
    if c.dual_stack:
        rows.append(("addresses", "IPv4 and IPv6"))
    if c.native_nftables:
        rows.append(("written as", "nftables tables"))
    return tuple(rows)


def _decision(result: Description) -> Iterator[Block]:
    yield Heading(_decision_title(result))
    yield from decision_blocks(result)


def _decision_title(result: Description) -> str:
    if result.injection.receipt:
        return "Why it was injected"
    if result.injection.mode == "ambient":
        return "Why it has no proxy of its own"
    return "Why it was not injected" if result.pod.has_status else "Would it be injected?"


def decision_blocks(result: Description) -> Iterator[Block]:
    """The rules that were tried, for a pod made now, and what differs from what the pod shows."""
    decision = result.decision
    yield Text(
        "The injector is a webhook: the API server asks it when a pod is made, and it adds the proxy. "
        "These rules decide, tried in this order, for a pod made now:"
    )
    yield tries_table(decision.tries)
    mood: Any = {"injected": "good", "rejected": "bad"}.get(decision.outcome, "info")
    yield Note((Span(decision.outcome, "strong"), f": {decision.text}"), mood, tuple(decision.remarks))
    if result.pod.has_status and not _agrees(result) and decision.outcome in ("injected", "not injected"):
        if result.injection.mode in ("ambient", "gateway"):
            return
        had = "was injected" if result.injection.receipt else "was not injected"
        yield Note(f"This pod {had}: labels, webhooks or policy have changed since it was made.", "warn")


def tries_table(tries: Sequence[Try]) -> Table:
    """The rules that were tried; webhooks that do not take the pod share one row."""
    rows: list[tuple[Line, ...]] = []
    passed = 0
    for t in tries:
        if t.rule == "selectors" and not t.decides and t.answer == "no":
            passed += 1
            continue
        if passed and t.rule != "selectors":
            text = f"{passed} more {'does' if passed == 1 else 'do'} not take this pod"
            rows.append(("", "Other webhooks", "no", text, ""))
            passed = 0
        mark, answer = Span("=> " if t.decides else "", "accent"), Span(t.answer, "strong" if t.decides else "")
        rows.append((mark, t.question, answer, t.text, Span(t.source, "dim")))
    columns = (Column("", wrap=False, keep=9), Column("rule"), Column("answer", wrap=False), Column("because"))
    return Table((*columns, Column("where", keep=1)), tuple(rows))


def start_blocks(result: Description) -> Iterator[Block]:
    """The order, the times, and the answers that they give."""
    rows = tuple(
        (
            str(i),
            Span(s.container, "name"),
            f"{s.at.at:%H:%M:%S.%f}"[:-3] if s.at and not s.at.within_s else (f"{s.at.at:%H:%M:%S}" if s.at else ""),
            s.why,
        )
        for i, s in enumerate(result.steps, 1)
    )
    yield Table((Column("", right=True), Column("container", keep=8), Column("started"), Column("why then")), rows)
    yield from timeline_blocks(result)
    for answer in result.answers:
        yield _answer(answer)
    for ending in result.endings:
        yield Note((Span(ending.container, "name"), f" {ending.text}"), "warn" if ending.bad else "info")


def timeline_blocks(result: Description) -> Iterator[Block]:
    """The start drawn to scale, from the sandbox to readiness."""
    line = result.timeline
    starts = [m.at for m in line.moments if m.container]
    if len(starts) < 2 or not line.spans:
        return
    zero = min(starts)
    ends = [m.at for m in line.moments if m.at >= zero]
    length = min(max((e - zero).total_seconds() for e in ends), 3600.0) or 1.0
    bars = []
    pause = next((m for m in line.moments if m.container == "pause"), None)
    if pause is not None:
        bars.append(Bar("pause", (pause.at - zero).total_seconds(), None, "holds the network namespace", "dim"))
    for span in line.spans:
        start = (span.start.at - zero).total_seconds()
        end = (span.end.at - zero).total_seconds() if span.end else None
        ours = span.container in result.injection.ours
        note = _bar_note(result, span.container, zero)
        bars.append(Bar(span.container, max(start, 0.0), end, note, "added" if ours else "name"))
    yield Timeline(tuple(bars), length)


def _bar_note(result: Description, container: str, zero: datetime) -> str:
    ready = result.timeline.proxy_ready
    if ready is not None and ready.container == container:
        span = result.timeline.span(container)
        after = (ready.at - (span.start.at if span else zero)).total_seconds()
        return f"ready {after:.2f} s after its start"
    return ""


def _answer(answer: Answer) -> Note:
    mood: Any = "info"
    if answer.question.startswith("Did the application"):
        mood = {True: "warn", False: "good", None: "info"}[answer.verdict]
    return Note((Span(answer.question + " ", "strong"), answer.text), mood, tuple(answer.evidence))


def changes_blocks(result: Description, wide: bool = False) -> Iterator[Block]:
    """What differs from the user's template, by whom, and from what a new pod would be."""
    if result.changes is None and result.templates is None and not result.outdated:
        return
    yield Heading("What changed")
    if result.changes is not None:
        yield from _changes(result.changes, wide)
    else:
        yield Text("What the user wrote before the injection is not known here, so the pod is not compared with it.")
    if result.injection.proxy is not None:
        yield Heading("Against a pod made now", 3)
        yield from _now(result)


def _changes(changes: Sequence[Change], wide: bool) -> Iterator[Block]:
    counts = {by: sum(1 for c in changes if c.by == by) for by in ("Istio", "Kubernetes", "others")}
    yield Text(
        f"Against the template in the pod's workload: {counted(counts['Istio'], 'change')} by Istio, "
        f"{counts['Kubernetes']} by Kubernetes (defaults, tokens, scheduling), {counts['others']} by others."
    )
    listed = changes if wide else [c for c in changes if c.by == "others" or (c.by == "Istio" and c.before)]
    if listed:
        rows = tuple((Span(c.path, "code"), c.before or "-", c.after or "-", c.by, c.why) for c in listed)
        yield Table(
            (Column("what", keep=8), Column("was"), Column("is"), Column("by", wrap=False), Column("why", keep=2)), rows
        )


def _now(result: Description) -> Iterator[Block]:
    """What a pod that is made now would have otherwise, as far as that can be told."""
    for d in result.outdated:
        yield Note(d.text, "warn" if d.what == "release" else "info")
    planes = result.subject.control_planes
    if not any(d.what == "release" for d in result.outdated):
        yield Text(_beside_control_plane(planes, result), 2)
    if result.templates is not None:
        yield Text(result.templates.text, 2)
        if result.templates.unmentioned:
            yield Text(", ".join(result.templates.unmentioned), 4)


def _beside_control_plane(planes: Sequence[str], result: Description) -> str:
    """What is said of a proxy that is not told to be older than the control plane."""
    if not planes:
        return "The release of the control plane is not known here, so the proxy is not compared with it."
    here = f"The control plane here is Istio {', '.join(planes)}"
    if not result.injection.release.exact:
        return f"{here}; the proxy's release is not known exactly, so whether it is older cannot be told."
    return f"{here}; the proxy (Istio {result.injection.release.text}) is not older."


def services_blocks(result: Description) -> Iterator[Block]:
    """The services that select the pod."""
    if not result.services:
        return
    yield Heading("Services that lead here")
    rows = [
        (
            Span(s.name, "name"),
            f"{p.number}/{p.protocol}",
            p.name or "-",
            Span(mesh_protocol(p)[0], "strong"),
            p.target,
            ", ".join(s.addresses) or ("headless" if s.headless else "-"),
        )
        for s in result.services
        for p in s.ports
    ]
    columns = (
        Column("service", keep=8),
        Column("port"),
        Column("name"),
        Column("taken as"),
        Column("port in the pod"),
        Column("address", keep=2),
    )
    yield Table(columns, tuple(rows))


def closing(it: Evidence) -> Iterator[Block]:
    """What is not known, what could not be read or looked at."""
    result = it.description
    unknown = [f"{s.container.name}: {u}" for s in result.containers for u in s.unknown]
    if unknown:
        yield Heading("Not known to meshctl")
        yield Text("Named here so that nothing is hidden: " + "; ".join(unknown))
    problems = tuple(_problems(result))
    if problems:
        yield Heading("Could not be read")
        for problem in problems:
            yield Note(problem, "warn")
    if all_gaps(it):
        yield Heading("Not looked at")
        for gap in all_gaps(it):
            yield Text(gap, 2)


def all_gaps(it: Evidence) -> tuple[str, ...]:
    """What could not be looked at, and how to get it."""
    return (*it.description.subject.gaps, *(it.state.gaps if it.state else ()))


def summary(result: Description) -> Mapping[str, str]:
    """The settings in which pods are compared with each other, in words."""
    capture = result.capture
    return {
        "mesh": result.injection.mode,
        "istio": result.injection.release.text,
        "revision": result.injection.revision,
        "captures incoming": capture.include_inbound_ports if capture else "",
        "not incoming": capture.exclude_inbound_ports if capture else "",
        "captures outgoing": capture.include_outbound_ranges if capture else "",
        "not to addresses": capture.exclude_outbound_ranges if capture else "",
        "not to ports": capture.exclude_outbound_ports if capture else "",
        "mode": capture.mode if capture else "",
        "dns": str(capture.dns).lower() if capture else "",
        "containers": ", ".join(c.container.name for c in result.containers),
        "proxy image": result.injection.proxy.image if result.injection.proxy else "",
        "ready": {True: "yes", False: "no", None: ""}[result.pod.ready],
        "services": ", ".join(s.name for s in result.services),
    }

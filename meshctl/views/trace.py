"""A trace as a document (``meshctl.trace/v1``) and as a page: the path from top to bottom, then the outcome."""

from collections.abc import Mapping
from typing import Literal

from meshctl.blocks import Block, Facts, Heading, Lane, Lanes, Line, Note, Page, Span, Stage, Table, Text, Verbatim
from meshctl.blocks import Column as TableColumn
from meshctl.path.expect import Expectation
from meshctl.path.model import Branch, End, Evidence, Finding, Hop, Outcome, Trace, succeeds
from meshctl.path.observed import Aspect, Observation, Point

SCHEMA = "meshctl.trace/v1"


def document(
    trace: Trace, expected: Expectation | None = None, observed: Observation | None = None
) -> dict[str, object]:
    """The contract ``meshctl.trace/v1``."""
    sender, aim = trace.sender, trace.aim
    name, _, namespace = aim.service.partition(".")
    is_service = aim.kind in ("service", "headless", "external-name") or (aim.kind in ("address", "pod") and namespace)
    found: dict[str, object] = {
        "schema": SCHEMA,
        "from": {
            "pod": sender.pod or None,
            "namespace": sender.namespace or None,
            "ip": sender.address or None,
            "node": sender.node or None,
            "identity": sender.identity or None,
            "chosen_because": sender.chosen or None,
            "others": list(sender.others),
        },
        "to": {
            "service": name if is_service and not aim.service.replace(".", "").isdigit() else aim.service,
            "namespace": namespace if is_service else None,
            "host": aim.host,
            "port": aim.port,
            "address": aim.address or None,
            "kind": aim.kind,
        },
        "request": {
            "method": trace.request.method,
            "path": trace.request.path,
            "headers": dict(trace.request.headers),
            "host": trace.request.host,
            "protocol": trace.request.protocol,
            "tls": trace.request.tls,
        },
        "hops": [_hop(hop) for hop in trace.hops],
        "outcome": outcome(trace.outcome),
        "kube_proxy": {
            "used": trace.kube_proxy.used,
            "why": trace.kube_proxy.why,
            "choice": trace.kube_proxy.choice or None,
            "evidence": [_evidence(e) for e in trace.kube_proxy.evidence],
        },
        "findings": [_finding(finding, aim.service) for finding in trace.findings],
        "gaps": list(trace.gaps),
    }
    if expected is not None:
        found["expected"] = {
            "met": expected.met,
            "items": [
                {"field": i.field, "expected": i.expected, "predicted": i.predicted, "met": i.met}
                for i in expected.items
            ],
        }
    if observed is not None:
        found["observed"] = _observed(trace, observed)
    return found


def _observed(trace: Trace, observed: Observation) -> dict[str, object]:
    return {
        "sent_from": observed.sent_from,
        "command": observed.command,
        "status": observed.status,
        "error": observed.error or None,
        "agrees": observed.agrees,
        "logs": [{"pod": seen.pod, "line": seen.line, "side": seen.side} for seen in observed.logs],
        "points": [_point(trace, observed, point) for point in observed.points],
        "counted": list(observed.counted),
        "missing": list(observed.missing),
    }


def outcome(outcome: Outcome) -> dict[str, object]:
    """The ``outcome`` of the contract."""
    end = outcome.end
    return {
        "answered_by": end.answered_by,
        "status": end.status,
        "response_flags": end.flags or None,
        "server_response_flags": end.server_flags or None,
        "delivered": end.delivered,
        "through_client_proxy": end.through_client,
        "through_server_proxy": end.through_server,
        "mtls": end.mtls,
        "broken": end.broken or None,
        "route": outcome.route,
        "retries": (
            {
                "attempts": outcome.retries.attempts,
                "on": outcome.retries.on,
                "per_try_timeout": outcome.retries.per_try or None,
            }
            if outcome.retries
            else None
        ),
        "timeout": outcome.timeout,
        "mirrors": list(outcome.mirrors),
        "clusters": [
            {
                "name": share.name,
                "subset": share.subset or None,
                "weight": share.weight,
                "endpoints": [
                    {"address": e.address, "pod": e.pod or None, "health": e.health} for e in share.endpoints
                ],
            }
            for share in outcome.clusters
        ],
        "branches": [_branch(branch) for branch in outcome.branches],
        "reason": end.why,
        "undecided_because": list(end.undecided),
    }


def _branch(branch: Branch) -> dict[str, object]:
    end = branch.end
    return {
        "probability": branch.probability,
        "status": end.status,
        "response_flags": end.flags or None,
        "cluster": branch.cluster,
        "why": end.why,
        "server_response_flags": end.server_flags or None,
        "answered_by": end.answered_by,
        "delivered": end.delivered,
        "undecided_because": list(end.undecided),
    }


def _hop(hop: Hop) -> dict[str, object]:
    return {
        "kind": hop.kind,
        "where": hop.where,
        "at": hop.at,
        "title": hop.title,
        "facts": list(hop.facts),
        "decision": hop.decision,
        "evidence": [_evidence(e) for e in hop.evidence],
    }


def _evidence(evidence: Evidence) -> dict[str, object]:
    return {"file": evidence.file, "path": evidence.path, "text": evidence.text}


def _finding(finding: Finding, subject: str) -> dict[str, object]:
    return {
        "id": finding.id,
        "severity": finding.severity,
        "subject": subject,
        "text": finding.text,
        "evidence": "",
        "fix": finding.fix,
        "docs": "",
    }


def _point(trace: Trace, observed: Observation, point: Point) -> dict[str, object]:
    predicted, seen = _words(trace, observed, point)
    return {"what": point.what, "predicted": predicted, "observed": seen, "fits": point.fits}


# --- the page --------------------------------------------------------------------------------------------------------


def page(
    trace: Trace, expected: Expectation | None = None, observed: Observation | None = None, *, wide: bool = False
) -> Page:
    """The path, the outcome, the kube-proxy question, findings and gaps."""
    sender, aim = trace.sender, trace.aim
    who = f"{sender.pod}.{sender.namespace}" if sender.pod else "outside"
    title = f"{who} → {f'[{aim.host}]' if ':' in aim.host else aim.host}:{aim.port}"
    blocks: list[Block] = [Heading(title, 1)]
    if sender.chosen and sender.pod:
        others = f" Others: {', '.join(sender.others[:4])}." if sender.others else ""
        blocks.append(Text(Span(f"Caller: {sender.chosen}.{others} Choose another with --from POD.", "dim")))
    blocks.append(_lanes(trace, wide))
    blocks += _outcome(trace)
    blocks += _kube_proxy(trace)
    if observed is not None:
        blocks += _beside(trace, observed)
    if expected is not None:
        blocks.append(_expected(expected))
    blocks += [_note(finding) for finding in trace.findings]
    if trace.gaps:
        gaps = tuple(dict.fromkeys(trace.gaps))
        blocks.append(Note("Not looked at, so assumed or left open:", "info", gaps))
    return Page(title, tuple(blocks))


def _lanes(trace: Trace, wide: bool) -> Lanes:
    lanes: list[Lane] = []
    stages: list[Stage] = []
    arrows: list[str] = []
    place = ""
    for index, hop in enumerate(trace.hops):
        here = _place(hop, trace.sender.node)
        if stages and here != place:
            lanes.append(Lane(place, tuple(stages)))
            stages = []
        place = here
        stages.append(_stage(hop, index, wide))
        if index < len(trace.hops) - 1:
            arrows.append(hop.arrow)
    if stages:
        lanes.append(Lane(place, tuple(stages)))
    return Lanes(tuple(lanes), tuple(arrows))


_PLACES = {"caller": "caller pod", "callee": "callee pod", "node": "node", "network": "network"}


def _place(hop: Hop, node: str) -> str:
    if hop.kind == "wire":
        return f"node {node}" if node else "on the wire"
    if hop.kind == "ztunnel" or hop.where == "node":
        return f"node {hop.at}"
    if hop.where == "network":
        return "outside"
    return f"{_PLACES[hop.where]} {hop.at}"


def _stage(hop: Hop, index: int, wide: bool) -> Stage:
    shown = hop.evidence if wide else hop.evidence[-3:]
    lines: list[Line] = []
    for proof in shown:
        where = _cited(proof, hop.at)
        text = "" if proof.text in ("", "(unnamed)") else f"  {proof.text}"
        lines.append((Span(where, "dim"), text))
    style = {"good": "good", "bad": "bad", "warn": "warn", "plain": ""}[hop.mood]
    return Stage(
        hop.title,
        Span(hop.decision, style),  # type: ignore[arg-type]
        hop.facts,
        tuple(lines),
        hop.mood,
        key=f"{hop.kind}-{index}",
    )


def _cited(proof: Evidence, at: str) -> str:
    """Where to look: ``netns/iptables-save.txt:12``, within the pod that the lane is about."""
    file = _short(proof.file).removeprefix(f"{at}/")
    return f"{file}:{proof.path[5:]}" if proof.path.startswith("line ") else f"{file} {proof.path}".strip()


def _short(file: str) -> str:
    """The part of a file's name that tells it from its neighbours: from ``pods/``, ``nodes/`` or ``resources/`` on."""
    for mark in ("/pods/", "/nodes/", "/resources/"):
        if mark in file:
            tail = file.partition(mark)[2]
            return tail if mark != "/resources/" else f"resources/{tail}"
    return file


def _outcome(trace: Trace) -> list[Block]:
    found = trace.outcome
    end = found.end
    blocks: list[Block] = [Heading("Outcome"), Note(_verdict(end), _mood(end), _why(end))]
    rows: list[tuple[str, Line]] = [
        ("on the path", _proxies(end, any(hop.kind == "ztunnel" for hop in trace.hops))),
        ("on the wire", {"mutual": "mutual TLS", "none": "not mutual TLS", None: "no request gets through"}[end.mtls]),
    ]
    if found.route:
        rows.append(("route", found.route))
    if end.flags or end.server_flags:
        rows.append(("response flags", f"caller's proxy {end.flags or '-'}, callee's proxy {end.server_flags or '-'}"))
    if found.retries:
        rows.append(("retries", f"{found.retries.attempts} on {found.retries.on.replace(',', ', ')}"))
    if found.timeout:
        rows.append(("timeout", found.timeout))
    if found.mirrors:
        rows.append(("mirrored to", ", ".join(found.mirrors)))
    blocks.append(Facts(tuple(rows), 2))
    if len(found.branches) > 1:
        blocks.append(Text("Chance decides between:", 2))
        blocks.append(
            Table(
                (TableColumn("share", True, 9), TableColumn("cluster", keep=8), TableColumn("ends", keep=7)),
                tuple((f"{b.probability:.0%}", b.cluster or "-", _verdict(b.end)) for b in found.branches),
                2,
            )
        )
    return blocks


def _verdict(end: End) -> str:
    flags = f" ({end.flags})" if end.flags else ""
    if end.delivered:
        return f"delivered: the application answers{flags}"
    if end.undecided:
        return "cannot be told"
    if end.status is not None:
        by = {"client-proxy": "the caller's proxy", "server-proxy": "the callee's proxy", "gateway": "the gateway"}
        return f"{end.status}{flags} from {by.get(end.answered_by or '', 'a proxy')}"
    words = {
        "reset": "the connection is reset",
        "refused": "the connection is refused",
        "timeout": "nobody answers: the client's timeout decides",
        "dns": "the name does not resolve",
        "tls": "the TLS handshake fails",
    }
    return f"{words.get(end.broken, 'no answer')}{flags}"


def _mood(end: End) -> Literal["good", "bad", "warn"]:
    verdict = succeeds(end)
    return "warn" if verdict is None else ("good" if verdict else "bad")


def _why(end: End) -> tuple[Line, ...]:
    if end.undecided:
        return end.undecided
    return (end.why,) if end.why and not end.delivered else ()


def _proxies(end: End, ztunnel: bool) -> str:
    words = {True: "yes", False: "no", None: "cannot be told"}
    if ztunnel:
        return f"ztunnel yes, caller's own proxy {words[end.through_client]}, callee's {words[end.through_server]}"
    return f"caller's proxy {words[end.through_client]}, callee's proxy {words[end.through_server]}"


def _kube_proxy(trace: Trace) -> list[Block]:
    found = trace.kube_proxy
    words = {
        True: "Is kube-proxy used? Yes",
        False: "Is kube-proxy used? No",
        None: "Is kube-proxy used? Cannot be told",
    }
    lines: list[Line] = [found.choice] if found.choice else []
    lines += [(Span(f"{_cited(e, '')}  ", "dim"), Span(e.text, "code")) for e in found.evidence[:3]]
    return [Heading("kube-proxy"), Note(f"{words[found.used]}: {found.why}", "info", tuple(lines))]


def _beside(trace: Trace, observed: Observation) -> list[Block]:
    """What was predicted and what was seen, point by point, and the lines of the logs that say so."""
    if not observed.sent:
        return [Heading("Probe"), Note(observed.missing[0], "warn", observed.missing[1:])]
    mood: Literal["good", "bad", "warn"] = "warn" if observed.agrees is None else ("good" if observed.agrees else "bad")
    words = {True: "It happened as predicted", False: "It happened otherwise", None: "It cannot be compared"}
    columns = (TableColumn("", wrap=False), TableColumn("predicted"), TableColumn("observed"))
    blocks: list[Block] = [
        Heading("Probe"),
        Note(words[observed.agrees], mood, (f"sent from {observed.sent_from}", observed.command, *observed.missing)),
        Table(columns, tuple(_compared(trace, observed, point) for point in observed.points), 2),
    ]
    for seen in observed.logs:
        blocks += [Text(Span(f"the {seen.side}'s proxy, {seen.pod}, logged:", "dim"), 2), Verbatim(seen.line, 4)]
    if observed.counted:
        blocks.append(Note("The caller's Envoy counted meanwhile:", "info", observed.counted))
    return blocks


_ASPECTS: Mapping[Aspect, str] = {
    "answer": "the client gets",
    "caller-flags": "caller's proxy flags",
    "cluster": "cluster",
    "route": "route",
    "endpoint": "endpoint",
    "callee-logged": "through the callee's proxy",
    "callee-flags": "callee's proxy flags",
    "mtls": "on the wire",
}
_WIRE = {"mutual": "mutual TLS", "none": "not mutual TLS"}


def _compared(trace: Trace, observed: Observation, point: Point) -> tuple[Line, ...]:
    """A row: whether it fits, what is compared, what was predicted and what was seen."""
    marks: Mapping[bool | None, Span] = {True: Span("✓", "good"), False: Span("✗", "bad"), None: Span("·", "dim")}
    return ((marks[point.fits], f" {_ASPECTS[point.what]}"), *_words(trace, observed, point))


def _words(trace: Trace, observed: Observation, point: Point) -> tuple[str, str]:
    if point.what == "answer":
        end = (observed.branch or trace.outcome.branches[0]).end
        return _verdict(end), str(observed.status or observed.error or "nothing")
    if point.what == "mtls":
        return _WIRE.get(point.predicted, point.predicted), _WIRE.get(point.observed, point.observed)
    return point.predicted, point.observed


def _expected(expected: Expectation) -> Block:
    lines: list[Line] = [
        f"{'✓' if item.met else '✗'} {item.field}={item.expected}"
        + ("" if item.met else f", predicted {item.predicted}")
        for item in expected.items
    ]
    head = "The prediction is as expected" if expected.met else "The prediction differs from what is expected"
    return Note(head, "good" if expected.met else "bad", tuple(lines))


def _note(finding: Finding) -> Note:
    moods = {"error": "bad", "warning": "warn", "info": "info"}
    fix: tuple[Line, ...] = (f"fix: {finding.fix}",) if finding.fix else ()
    return Note((Span(finding.id, "name"), f"  {finding.text}"), moods[finding.severity], fix)  # type: ignore[arg-type]

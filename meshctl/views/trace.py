"""A trace as a page: the path from top to bottom, then the outcome."""

from collections.abc import Collection

from meshctl.blocks import Block, Heading, Lane, Lanes, Line, Note, Page, Span, Stage, Text
from meshctl.path.expect import Expectation
from meshctl.path.model import Evidence, Finding, Hop, Trace
from meshctl.path.observed import Observation
from meshctl.views import outcome, probe


def page(
    trace: Trace, expected: Expectation | None = None, observed: Observation | None = None, *, wide: bool = False
) -> Page:
    """The path, the outcome, the kube-proxy question, findings and gaps."""
    sender, aim = trace.sender, trace.aim
    who = f"{sender.pod}.{sender.namespace}" if sender.pod else "outside"
    host = f"[{aim.host}]" if ":" in aim.host else aim.host
    through = f", through {aim.service}" if aim.kind == "gateway" else ""
    title = f"{who} → {host}{through}:{aim.port}"
    blocks: list[Block] = [Heading(title, 1)]
    if sender.chosen and sender.pod:
        others = f" Others: {', '.join(sender.others[:4])}." if sender.others else ""
        blocks.append(Text(Span(f"Caller: {sender.chosen}.{others} Choose another with --from POD.", "dim")))
    blocks.append(_lanes(trace, wide))
    blocks += outcome.blocks(trace)
    blocks += _kube_proxy(trace)
    if observed is not None:
        blocks += probe.blocks(trace, observed)
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
    gateways = {hop.at for hop in trace.hops if hop.kind == "listener" and hop.title.startswith("gateway ")}
    for index, hop in enumerate(trace.hops):
        here = _place(hop, trace.sender.node, gateways)
        if stages and here != place:
            lanes.append(Lane(place, tuple(stages)))
            stages = []
        place = here
        stages.append(_stage(hop, index, wide))
        if index < len(trace.hops) - 1:
            arrows.append(hop.arrow)
    if stages:
        lanes.append(Lane(place, tuple(stages)))
    return Lanes(tuple(lanes), tuple(arrows), outcome.stage(trace))


_PLACES = {"caller": "caller pod", "callee": "callee pod", "node": "node", "network": "network"}


def _place(hop: Hop, node: str, gateways: Collection[str]) -> str:
    if hop.kind == "wire":
        return f"node {node}" if node else "on the wire"
    if hop.kind == "ztunnel" or hop.where == "node":
        return f"node {hop.at}"
    if hop.where == "network":
        return "outside"
    if hop.at in gateways:
        return f"gateway pod {hop.at}"
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

"""How a pod started, on the page: order, times, and the answers that they give."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from meshctl.blocks import Bar, Block, Column, Note, Span, Table, Timeline
from meshctl.injection.answers import Answer
from meshctl.injection.description import Description


def start_blocks(result: Description) -> Iterator[Block]:
    """The order, the times, and the answers that they give."""
    rows = tuple(
        (
            str(i),
            Span(s.container, "added" if s.planned else "name"),
            f"{s.at.at:%H:%M:%S.%f}"[:-3] if s.at and not s.at.within_s else (f"{s.at.at:%H:%M:%S}" if s.at else ""),
            s.why,
        )
        for i, s in enumerate(result.steps, 1)
    )
    yield Table((Column("", right=True), Column("container", keep=8), Column("started"), Column("why then")), rows)
    yield from planned_blocks(result)
    yield from timeline_blocks(result)
    for answer in result.answers:
        yield _answer(answer)
    for ending in result.endings:
        yield Note((Span(ending.container, "name"), f" {ending.text}"), "warn" if ending.bad else "info")


def planned_blocks(result: Description) -> Iterator[Block]:
    """What the injector would add to a pod that is not made yet, where its place in the order is not known."""
    planned = result.planned
    if planned is None or (planned.sidecar and planned.native is not None):
        return
    if not planned.sidecar:
        yield Note(
            f"This is the order of the manifest. The injector would add what its templates ({planned.templates}) say, "
            "which are not run here.",
            "info",
        )
        return
    writer = f"{planned.init} and " if planned.captures else ""
    classic = {
        True: "istio-validation before the other init containers, ",
        False: "istio-init after the other init containers, ",
        None: "istio-init after the other init containers or istio-validation before them, ",
    }[planned.cni]
    place = {
        True: "istio-proxy as the first container, for which the others "
        + ("do not wait: its postStart hook is the pod's own" if planned.own_hook else "wait"),
        False: "istio-proxy as the last container, for which the others do not wait",
        None: "istio-proxy as the last container (the first, if the mesh's holdApplicationUntilProxyStarts is on)",
    }[planned.hold]
    yield Note(
        f"This is the order of the manifest; a pod made from it gets {writer}istio-proxy as well.",
        "info",
        (
            f"as a native sidecar: {writer}istio-proxy before all other init containers",
            f"else: {classic if writer else ''}{place}",
            "which of the two: the pod's annotation sidecar.istio.io/nativeSidecar says so; without it istiod's "
            "ENABLE_NATIVE_SIDECARS and the releases of the nodes do, which are not known here",
        ),
    )


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
        holds = "in the node's network" if result.pod.host_network else "holds the network namespace"
        bars.append(Bar("pause", (pause.at - zero).total_seconds(), None, holds, "dim"))
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
    if "the application run before" in answer.question:
        mood = {True: "warn", False: "good", None: "info"}[answer.verdict]
    return Note((Span(answer.question + " ", "strong"), answer.text), mood, tuple(answer.evidence))

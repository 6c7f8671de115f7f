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

"""What a probe saw beside what was predicted: a document, and blocks of a page."""

from collections.abc import Mapping
from typing import Literal

from meshctl.blocks import Block, Column, Heading, Line, Note, Span, Table, Text, Verbatim
from meshctl.path.model import Trace
from meshctl.path.observed import Aspect, Observation, Point
from meshctl.views.outcome import verdict


def document(trace: Trace, observed: Observation) -> dict[str, object]:
    """What was sent, what came back, and each point beside what was predicted."""
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


def _point(trace: Trace, observed: Observation, point: Point) -> dict[str, object]:
    predicted, seen = _words(trace, observed, point)
    return {"what": point.what, "predicted": predicted, "observed": seen, "fits": point.fits}


def blocks(trace: Trace, observed: Observation) -> list[Block]:
    """What was predicted and what was seen, point by point, and the lines of the logs that say so."""
    if not observed.sent:
        return [Heading("Probe"), Note(observed.missing[0], "warn", observed.missing[1:])]
    mood: Literal["good", "bad", "warn"] = "warn" if observed.agrees is None else ("good" if observed.agrees else "bad")
    words = {True: "It happened as predicted", False: "It happened otherwise", None: "It cannot be compared"}
    columns = (Column("", wrap=False), Column("predicted"), Column("observed"))
    shown: list[Block] = [
        Heading("Probe"),
        Note(words[observed.agrees], mood, (f"sent from {observed.sent_from}", observed.command, *observed.missing)),
        Table(columns, tuple(_compared(trace, observed, point) for point in observed.points), 2),
    ]
    for seen in observed.logs:
        shown += [Text(Span(f"the {seen.side}'s proxy, {seen.pod}, logged:", "dim"), 2), Verbatim(seen.line, 4)]
    if observed.counted:
        shown.append(Note("The caller's Envoy counted meanwhile:", "info", observed.counted))
    return shown


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
        return verdict(end), str(observed.status or observed.error or "nothing")
    if point.what == "mtls":
        return _WIRE.get(point.predicted, point.predicted), _WIRE.get(point.observed, point.observed)
    return point.predicted, point.observed

"""The doctor's findings: ``meshctl.doctor/v1`` and its page."""

from typing import Any

from meshctl.blocks import Block, Column, Facts, Heading, Line, Note, Page, Span, Style, Table
from meshctl.reports import Health, Probe

SCHEMA = "meshctl.doctor/v1"
_TITLES = {
    "cluster": "The cluster",
    "permissions": "What you may do there",
    "mesh": "The mesh",
    "node": "This machine",
}
_MARKS: dict[str, tuple[str, Style]] = {
    "good": ("ok  ", "good"),
    "warn": ("warn", "warn"),
    "bad": ("FAIL", "bad"),
    "skip": ("-   ", "dim"),
}


def document(health: Health) -> dict[str, Any]:
    """Every probe, and what can be done from here."""
    return {
        "schema": SCHEMA,
        "probes": [
            {"area": p.area, "what": p.what, "grade": p.grade, "text": p.text, "fix": p.fix or None}
            for p in health.probes
        ],
        "ways": [{"what": what, "works": works, "by": by} for what, works, by in health.ways],
    }


def page(health: Health) -> Page:
    """The probes by area, then what works from here."""
    blocks: list[Block] = [Heading("What is reachable from here", 1)]
    for area in dict.fromkeys(p.area for p in health.probes):
        probes = [p for p in health.probes if p.area == area]
        blocks += [Heading(_TITLES.get(area, area)), Facts(tuple((p.what, _line(p)) for p in probes))]
        blocks += [Note(f"{p.what}: {p.fix}", "warn") for p in probes if p.grade in ("bad", "warn") and p.fix]
    blocks.append(Heading("So from here you can look at"))
    rows = tuple((what, Span("yes", "good") if works else Span("no", "dim"), by) for what, works, by in health.ways)
    columns = (Column("what", keep=9), Column("now", wrap=False), Column("by way of"))
    blocks.append(Table(columns, rows))
    return Page("meshctl doctor", tuple(blocks))


def _line(probe: Probe) -> Line:
    mark, style = _MARKS[probe.grade]
    return (Span(mark, style), f"  {probe.text}")

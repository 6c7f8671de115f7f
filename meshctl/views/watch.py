"""``meshctl.watch/v1`` and its page: which rules counted, how fast."""

from typing import Any

from meshctl.blocks import Block, Column, Heading, Line, Note, Page, Span, Table
from meshctl.netfilter.counters import Movement, Movements
from meshctl.words import counted

SCHEMA = "meshctl.watch/v1"


def document(result: Movements, subject: str) -> dict[str, Any]:
    """The document; `per_second` is null where the time between the readings is not known."""
    return {
        "schema": SCHEMA,
        "subject": subject,
        "seconds": result.seconds,
        "moved": [_moved(one, result.seconds) for one in result.moved],
        "still": result.still,
        "notes": list(result.notes),
    }


def _moved(one: Movement, seconds: float | None) -> dict[str, Any]:
    return {
        "family": one.family,
        "backend": one.backend,
        "table": one.table,
        "chain": one.chain,
        "rule": one.number,
        "text": one.rule.text,
        "packets": one.packets,
        "bytes": one.bytes,
        "per_second": round(one.packets / seconds, 3) if seconds else None,
        "total": one.total,
    }


def page(result: Movements, subject: str) -> Page:
    """A table of the rules that moved, busiest first."""
    since = f" in {result.seconds:.1f} s" if result.seconds else ""
    title = f"{subject}: {counted(len(result.moved), 'rule')} counted{since}, {result.still} did not"
    blocks: list[Block] = [Heading(title, 1)]
    columns = (
        Column("packets", right=True, keep=9),
        Column("/s", right=True, keep=8),
        Column("total", right=True, keep=1),
        Column("chain", keep=7),
        Column("rule", keep=9),
    )
    rows = tuple(_row(one, result.seconds) for one in result.moved)
    if rows:
        blocks.append(Table(columns, rows))
    blocks += [Note(note) for note in result.notes]
    return Page(title, tuple(blocks))


def _row(one: Movement, seconds: float | None) -> tuple[Line, ...]:
    family = "" if one.family == "ipv4" else f"{one.family} "
    rate = f"{one.packets / seconds:.1f}" if seconds else "-"
    text = one.rule.text.removeprefix(f"-A {one.chain} ")
    place = (Span(f"{family}{one.table} ", "dim"), Span(one.chain, "name"), f" {one.number}")
    return str(one.packets), rate, str(one.total), place, Span(text, "code")

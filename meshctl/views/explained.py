"""What ids of findings mean, as a document (``meshctl.finding/v1``) and as a page."""

from collections.abc import Sequence

from meshctl.blocks import Block, Heading, Page, Span, Text
from meshctl.checks.explained import Explained

SCHEMA = "meshctl.finding/v1"


def document(found: Sequence[Explained]) -> dict[str, object]:
    """The first, and the `others` likewise."""
    first, *others = map(_document, found)
    return {**first, "others": others}


def _document(one: Explained) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "id": one.id,
        "title": one.title,
        "severity": one.severity,
        "about": list(one.about),
        "example": one.example,
        "fix": list(one.fix),
        "docs": one.docs,
    }


def page(found: Sequence[Explained]) -> Page:
    """Each id with its title, what it means, an example and what to do."""
    return Page(", ".join(one.id for one in found), tuple(block for one in found for block in _blocks(one)))


def _blocks(one: Explained) -> list[Block]:
    blocks: list[Block] = [Heading((Span(one.id, "name"), f"  {one.title}"), 1), Text(Span(one.severity, "dim"))]
    blocks += [Text(part) for part in one.about]
    if one.example:
        blocks += [Heading("Example"), Text(one.example)]
    return [*blocks, Heading("What to do"), *(Text(part) for part in one.fix)]

"""A request's path for the terminal: a frame for each place, numbered stages in it, arrows between them."""

from collections.abc import Iterator

from rich.cells import cell_len
from rich.text import Text as RichText

from meshctl.blocks import Lane, Lanes, Stage
from meshctl.render import terminal

DOTS = {"plain": "●", "good": "✓", "bad": "✗", "warn": "!"}


def lanes(block: Lanes, width: int) -> Iterator[RichText]:
    """Draw the lanes from top to bottom; arrows are labelled in the order of the stages they follow."""
    arrow = 0
    for index, lane in enumerate(block.lanes):
        if index:
            yield from _between(_label(block, arrow - 1), width)
        yield _edge("╭─ ", terminal.rich(lane.title, "strong"), "╮", width)
        for position, stage in enumerate(lane.stages):
            if position:
                yield from _inside(_label(block, arrow - 1), width)
            yield from _stage(stage, width)
            arrow += 1
        yield _closing(lane, width)


def _label(block: Lanes, index: int) -> str:
    return block.arrows[index] if 0 <= index < len(block.arrows) else ""


def _edge(left: str, title: RichText, right: str, width: int) -> RichText:
    title.truncate(width - 6, overflow="ellipsis")
    line = RichText(left, "blue").append_text(title)
    fill = width - cell_len(line.plain) - 2
    return line.append(" " + "─" * max(fill, 0) + right, "blue")


def _closing(_lane: Lane, width: int) -> RichText:
    return RichText("╰" + "─" * (width - 2) + "╯", "blue")


def _framed(lines: list[RichText], width: int) -> Iterator[RichText]:
    for line in lines:
        framed = RichText("│ ", "blue").append_text(line)
        framed.append(" " * max(width - 2 - cell_len(framed.plain), 0) + " │", "blue")
        yield framed


def _stage(stage: Stage, width: int) -> Iterator[RichText]:
    room = width - 4
    head = terminal.rich(stage.title, "strong")
    mark = f"{DOTS[stage.mood]} "
    lines = terminal.wrapped(head, room, mark, "  ", terminal.MOODS[stage.mood])
    if stage.decision:
        lines += terminal.wrapped(terminal.rich(stage.decision), room, "  → ", "    ", terminal.MOODS[stage.mood])
    for fact in stage.facts:
        lines += terminal.wrapped(terminal.rich(fact), room, "    ", "      ")
    for evidence in stage.evidence:
        lines += terminal.wrapped(terminal.rich(evidence, "dim"), room, "    ⌕ ", "      ", "dim")
    yield from _framed(lines, width)


def _inside(label: str, width: int) -> Iterator[RichText]:
    yield from _framed([RichText("│", "blue")], width)
    yield from _framed([RichText("▼ ", "blue").append(label, "dim")], width)


def _between(label: str, width: int) -> Iterator[RichText]:
    yield RichText("  │", "blue")
    yield from terminal.wrapped(RichText(label, "dim"), width, "  ▼ ", "    ", "accent")

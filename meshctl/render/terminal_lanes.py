"""A request's path for the terminal: a frame for each place, numbered stages in it, arrows between them."""

from collections.abc import Iterator

from rich.cells import cell_len

from meshctl.blocks import Lane, Lanes, Stage
from meshctl.render import terminal
from meshctl.render.styled import Styled

DOTS = {"plain": "●", "good": "✓", "bad": "✗", "warn": "!"}


def lanes(block: Lanes, width: int) -> Iterator[Styled]:
    """Draw the lanes from top to bottom; arrows are labelled in the order of the stages they follow."""
    arrow = 0
    for index, lane in enumerate(block.lanes):
        if index:
            yield from _between(_label(block, arrow - 1), width)
        yield _edge("╭─ ", terminal.styled(lane.title, "strong"), "╮", width)
        for position, stage in enumerate(lane.stages):
            if position:
                yield from _inside(_label(block, arrow - 1), width)
            yield from _stage(stage, width)
            arrow += 1
        yield _closing(lane, width)


def _label(block: Lanes, index: int) -> str:
    return block.arrows[index] if 0 <= index < len(block.arrows) else ""


def _edge(left: str, title: Styled, right: str, width: int) -> Styled:
    line = Styled(left, "blue").append_styled(title.shortened(width - 6))
    fill = width - cell_len(line.plain) - 2
    return line.append(" " + "─" * max(fill, 0) + right, "blue")


def _closing(_lane: Lane, width: int) -> Styled:
    return Styled("╰" + "─" * (width - 2) + "╯", "blue")


def _framed(lines: list[Styled], width: int) -> Iterator[Styled]:
    for line in lines:
        framed = Styled("│ ", "blue").append_styled(line)
        framed.append(" " * max(width - 2 - cell_len(framed.plain), 0) + " │", "blue")
        yield framed


def _stage(stage: Stage, width: int) -> Iterator[Styled]:
    room = width - 4
    head = terminal.styled(stage.title, "strong")
    mark, mood = f"{DOTS[stage.mood]} ", terminal.MOODS[stage.mood]
    lines = terminal.wrapped(head, room, mark, "  ", mood)
    if stage.decision:
        lines += terminal.wrapped(terminal.styled(stage.decision, mood), room, "  → ", "    ", mood)
    for fact in stage.facts:
        lines += terminal.wrapped(terminal.styled(fact), room, "    ", "      ")
    for evidence in stage.evidence:
        lines += terminal.wrapped(terminal.styled(evidence, "dim"), room, "    ⌕ ", "      ", "dim")
    yield from _framed(lines, width)


def _inside(label: str, width: int) -> Iterator[Styled]:
    yield from _framed([Styled("│", "blue")], width)
    yield from _framed([Styled("▼ ", "blue").append(label, "dim")], width)


def _between(label: str, width: int) -> Iterator[Styled]:
    yield Styled("  │", "blue")
    yield from terminal.wrapped(Styled(label, "dim"), width, "  ▼ ", "    ", "accent")

"""A timeline for the terminal: bars drawn to scale, with their start in seconds."""

from collections.abc import Iterator

from rich.cells import cell_len

from meshctl.blocks import Bar, Timeline
from meshctl.render import terminal
from meshctl.render.styled import Styled

ROOM = 16
"""Columns that a note needs beside its bar."""


def timeline(block: Timeline, width: int) -> Iterator[Styled]:
    """Draw each bar on its own line: label, bar, note; notes that do not fit go below."""
    label = min(max((cell_len(bar.label) for bar in block.bars), default=0), width // 3)
    track = max(min(width - label - 30, 60), 16)
    for bar in block.bars:
        name = Styled(bar.label.ljust(label)[:label], "bold")
        head = name.append("  ").append(_track(bar, block.length, track), terminal.STYLES[bar.style]).append("  ")
        indent = cell_len(head.plain)
        if width - indent < ROOM:
            yield head
            yield from terminal.wrapped(terminal.styled(bar.note), width, " " * 4) if bar.note else ()
            continue
        for row, part in enumerate(terminal.wrapped(terminal.styled(bar.note), width - indent)):
            yield (head if row == 0 else Styled(" " * indent)).append_styled(part)
    scale = f"0s{_seconds(block.length).rjust(track - 2)}"
    yield Styled(" " * (label + 2) + scale, "dim")


def _track(bar: Bar, length: float, columns: int) -> str:
    unit = columns / length if length > 0 else 0.0
    start = min(int(bar.start * unit), columns - 1)
    end = columns if bar.end is None else min(int(bar.end * unit) + 1, columns)
    size = max(end - start, 1)
    body = "▏" if bar.end is not None and bar.end == bar.start else "█" * size
    tail = "▶" if bar.end is None else ""
    return (" " * start + body + tail)[: columns + 1].ljust(columns + 1)


def _seconds(value: float) -> str:
    return f"{value:.1f}s" if value < 10 else f"{value:.0f}s"

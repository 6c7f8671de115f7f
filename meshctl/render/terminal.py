"""A page as terminal text, with rich: wraps to the width, colours by style, and knows nothing of a mesh.

Only the eight basic colours and bold/dim are used, never a background and never black or white, so the output reads
on light and on dark terminals alike; without colour nothing is lost, because no meaning is in colour alone.
"""

import io
from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text as RichText

from meshctl.blocks import (
    Block,
    Facts,
    Graph,
    Heading,
    Lanes,
    Line,
    Note,
    Page,
    Span,
    Table,
    Text,
    Timeline,
    Tree,
    Verbatim,
)

STYLES = {
    "": "",
    "strong": "bold",
    "dim": "dim",
    "name": "bold cyan",
    "code": "magenta",
    "good": "green",
    "bad": "bold red",
    "warn": "yellow",
    "added": "green",
    "accent": "bold blue",
}
MARKS = {"good": "✓", "bad": "✗", "warn": "!", "info": "·"}
MOODS = {"good": "good", "bad": "bad", "warn": "warn", "info": "dim", "plain": "", "dim": "dim"}


def draw(page: Page, *, width: int = 100, color: bool = False) -> str:
    """Draw a page in so many columns; ANSI escapes only with `color`."""
    lines: list[RichText] = []
    for index, block in enumerate(page.blocks):
        if index and _air_above(block, page.blocks[index - 1]):
            lines.append(RichText())
        lines.extend(_block(block, width))
    return _encode(lines, width, color)


def _encode(lines: list[RichText], width: int, color: bool) -> str:
    if not color:
        return "\n".join(line.plain.rstrip() for line in lines)
    console = Console(
        file=io.StringIO(), width=width, force_terminal=True, color_system="standard", highlight=False, soft_wrap=True
    )
    with console.capture() as captured:
        for line in lines:
            line.rstrip()
            console.print(line, soft_wrap=True)
    return captured.get().rstrip("\n")


def _air_above(block: Block, above: Block) -> bool:
    if isinstance(block, Heading):
        return True
    if isinstance(above, Heading):
        return False
    return not (isinstance(block, Note) and isinstance(above, Note)) and not (
        isinstance(block, Text | Verbatim) and isinstance(above, Text | Verbatim | Facts)
    )


def rich(line: Line, style: str = "") -> RichText:
    """A line of spans as rich text."""
    text = RichText(style=STYLES[style])
    for span in line if isinstance(line, tuple) else (line,):
        if isinstance(span, Span):
            text.append(clean(span.text), STYLES[span.style])
        else:
            text.append(clean(span))
    return text


def clean(text: str) -> str:
    """Text without the control characters that could steer a terminal; a tab becomes a space."""
    return "".join(
        c if c == "\n" or c.isprintable() else " " if c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def wrapped(line: RichText, width: int, first: str = "", rest: str | None = None, style: str = "") -> list[RichText]:
    """Fold a line to the width behind a prefix; `rest` prefixes the lines after the first."""
    rest = " " * cell_len(first) if rest is None else rest
    room = max(width - max(cell_len(first), cell_len(rest)), 12)
    folded = _folded(line, room)
    return [
        RichText(first if i == 0 else rest, style=STYLES[style]).append_text(part) for i, part in enumerate(folded)
    ] or [RichText(first, style=STYLES[style])]


def _folded(line: RichText, room: int) -> list[RichText]:
    plain = line.plain
    if "\n" not in plain and cell_len(plain) <= room:
        return [line]
    parts = []
    for piece in line.split("\n", allow_blank=True):
        parts.extend(_wrap_one(piece, room))
    return parts


def _wrap_one(line: RichText, room: int) -> list[RichText]:
    if cell_len(line.plain) <= room:
        return [line]
    console = Console(width=room, file=io.StringIO())
    return list(line.wrap(console, room, overflow="fold"))


def _block(block: Block, width: int) -> Iterator[RichText]:
    match block:
        case Heading():
            yield from _heading(block, width)
        case Text(line, indent):
            yield from wrapped(rich(line), width, " " * indent)
        case Verbatim(text, indent):
            for row in text.split("\n"):
                yield from wrapped(rich(Span(row, "code")), width, " " * indent, " " * (indent + 4))
        case Facts(rows, indent):
            yield from _facts(rows, indent, width)
        case Table():
            from meshctl.render.terminal_table import table

            yield from table(block, width)
        case Tree(roots):
            for root in roots:
                yield from _tree(root, width, "", "", "")
        case Lanes():
            from meshctl.render.terminal_lanes import lanes

            yield from lanes(block, width)
        case Graph():
            yield from _graph(block, width)
        case Timeline():
            from meshctl.render.terminal_timeline import timeline

            yield from timeline(block, width)
        case Note():
            yield from _note(block, width)


def _heading(block: Heading, width: int) -> Iterator[RichText]:
    if block.level == 1:
        title = rich(block.text, "accent")
        yield from wrapped(title, width)
        yield RichText(
            "═" * min(max((cell_len(row) for row in title.plain.split("\n")), default=0), width), "bold blue"
        )
        return
    yield from wrapped(rich(block.text, "accent" if block.level == 2 else "strong"), width, "", "")


def _facts(rows: tuple[tuple[str, Line], ...], indent: int, width: int) -> Iterator[RichText]:
    longest = max((cell_len(name) for name, _ in rows), default=0)
    column = min(longest, max(width // 3, 12))
    for name, line in rows:
        head = " " * indent + name.ljust(column) + "  "
        if cell_len(name) > column:
            yield RichText(" " * indent + name, "dim")
            head = " " * (indent + column + 2)
        yield from wrapped(rich(line), width, head, " " * (indent + column + 2), "dim")


def _tree(node: object, width: int, first: str, rest: str, guide: str) -> Iterator[RichText]:
    from meshctl.blocks import Node

    assert isinstance(node, Node)
    below = rest + ("│  " if node.children else "")
    yield from wrapped(rich(node.line), width, first, below if node.children else rest or "  ", "dim")
    for index, child in enumerate(node.children):
        last = index == len(node.children) - 1
        yield from _tree(child, width, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "), guide)


def _graph(block: Graph, width: int) -> Iterator[RichText]:
    titles = {vertex.key: vertex.title for vertex in block.vertices}
    for edge in block.edges:
        label = f"  ({edge.label})" if edge.label else ""
        text = RichText(titles.get(edge.start, edge.start), STYLES["name"])
        text.append(" → ").append(titles.get(edge.end, edge.end), STYLES["name"]).append(label, "dim")
        yield from wrapped(text, width, "", "    ")


def _note(block: Note, width: int) -> Iterator[RichText]:
    style = MOODS[block.mood]
    yield from wrapped(rich(block.line), width, f"{MARKS[block.mood]} ", "  ", style)
    for line in block.more:
        yield from wrapped(rich(line), width, "    ", "    ")

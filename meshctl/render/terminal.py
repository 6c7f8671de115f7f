"""A page as terminal text: wraps to the width, colours by style, and knows nothing of a mesh.

Only the eight basic colours and bold/dim are used, never a background and never black or white, so the output reads
on light and on dark terminals alike; without colour nothing is lost, because no meaning is in colour alone.
"""

from collections.abc import Iterator

from rich.cells import cell_len

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
    Style,
    Table,
    Text,
    Timeline,
    Tree,
    Verbatim,
)
from meshctl.render.styled import Styled

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
MOODS: dict[str, Style] = {"good": "good", "bad": "bad", "warn": "warn", "info": "dim", "plain": "", "dim": "dim"}


def draw(page: Page, *, width: int = 100, color: bool = False) -> str:
    """Draw a page in so many columns; ANSI escapes only with `color`."""
    lines: list[Styled] = []
    for index, block in enumerate(page.blocks):
        if index and _air_above(block, page.blocks[index - 1]):
            lines.append(Styled())
        lines.extend(_block(block, width))
    return _encode(lines, color)


def _encode(lines: list[Styled], color: bool) -> str:
    return "\n".join(line.ansi() if color else line.plain.rstrip() for line in lines)


def _air_above(block: Block, above: Block) -> bool:
    if isinstance(block, Heading):
        return True
    if isinstance(above, Heading):
        return False
    return not (isinstance(block, Note) and isinstance(above, Note)) and not (
        isinstance(block, Text | Verbatim) and isinstance(above, Text | Verbatim | Facts)
    )


def styled(line: Line, style: Style = "") -> Styled:
    """A line of spans as styled text."""
    text = Styled("", STYLES[style])
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


def wrapped(line: Styled, width: int, first: str = "", rest: str | None = None, style: Style = "") -> list[Styled]:
    """Fold a line to the width behind a prefix; `rest` prefixes the lines after the first."""
    rest = " " * cell_len(first) if rest is None else rest
    room = max(width - max(cell_len(first), cell_len(rest)), 12)
    return [
        Styled(first if i == 0 else rest, STYLES[style]).append_styled(part) for i, part in enumerate(line.folded(room))
    ]


def _block(block: Block, width: int) -> Iterator[Styled]:
    match block:
        case Heading():
            yield from _heading(block, width)
        case Text(line, indent):
            yield from wrapped(styled(line), width, " " * indent)
        case Verbatim(text, indent):
            for row in text.split("\n"):
                yield from wrapped(styled(Span(row, "code")), width, " " * indent, " " * (indent + 4))
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


def _heading(block: Heading, width: int) -> Iterator[Styled]:
    if block.level == 1:
        title = styled(block.text, "accent")
        yield from wrapped(title, width)
        yield Styled("═" * min(max((cell_len(row) for row in title.plain.split("\n")), default=0), width), "bold blue")
        return
    yield from wrapped(styled(block.text, "accent" if block.level == 2 else "strong"), width, "", "")


def _facts(rows: tuple[tuple[str, Line], ...], indent: int, width: int) -> Iterator[Styled]:
    longest = max((cell_len(name) for name, _ in rows), default=0)
    column = min(longest, max(width // 3, 12))
    for name, line in rows:
        head = " " * indent + name.ljust(column) + "  "
        if cell_len(name) > column:
            yield Styled(" " * indent + name, "dim")
            head = " " * (indent + column + 2)
        yield from wrapped(styled(line), width, head, " " * (indent + column + 2), "dim")


def _tree(node: object, width: int, first: str, rest: str, guide: str) -> Iterator[Styled]:
    from meshctl.blocks import Node

    assert isinstance(node, Node)
    below = rest + ("│  " if node.children else "")
    yield from wrapped(styled(node.line), width, first, below if node.children else rest or "  ", "dim")
    for index, child in enumerate(node.children):
        last = index == len(node.children) - 1
        yield from _tree(child, width, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "), guide)


def _graph(block: Graph, width: int) -> Iterator[Styled]:
    titles = {vertex.key: vertex.title for vertex in block.vertices}
    for edge in block.edges:
        label = f"  ({edge.label})" if edge.label else ""
        text = Styled(titles.get(edge.start, edge.start), STYLES["name"])
        text.append(" → ").append(titles.get(edge.end, edge.end), STYLES["name"]).append(label, "dim")
        yield from wrapped(text, width, "", "    ")


def _note(block: Note, width: int) -> Iterator[Styled]:
    style = MOODS[block.mood]
    yield from wrapped(styled(block.line), width, f"{MARKS[block.mood]} ", "  ", style)
    for line in block.more:
        yield from wrapped(styled(line), width, "    ", "    ")

"""Tables for the terminal: columns share the width; where they cannot, each row becomes a card."""

from collections.abc import Iterator

from rich.cells import cell_len

from meshctl.blocks import Column, Table
from meshctl.render import terminal
from meshctl.render.styled import Styled

GAP = 2
LEAST = 8
WORD = 40
"""A longer word may be broken."""


def table(block: Table, width: int) -> Iterator[Styled]:
    """Lay out a table in so many columns of the screen."""
    room = width - block.indent
    cells = [[terminal.styled(cell) for cell in row] for row in block.rows]
    kept = [i for i, column in enumerate(block.columns) if column.keep or any(row[i].plain for row in cells)]
    columns = tuple(block.columns[i] for i in kept)
    cells = [[row[i] for i in kept] for row in cells]
    widths = fitted(_natural(columns, cells), _words(columns, cells), columns, room)
    if widths is None:
        yield from _cards(columns, cells, width, block.indent)
        return
    pad = " " * block.indent
    if any(column.title for column in columns):
        titles = [Styled(column.title, "dim") for column in columns]
        yield from _row(titles, widths, columns, pad)
    for row in cells:
        yield from _row(row, widths, columns, pad)


def fitted(natural: list[int], words: list[int], columns: tuple[Column, ...], room: int) -> list[int] | None:
    """Shrink columns from the least worth keeping on until they fit; None where even that does not do.

    `words` are the columns' longest words. The first round leaves each column a fair share of the room, so that one
    does not starve for the others; the second keeps words whole; the last breaks them.
    """
    widths = list(natural)
    excess = sum(widths) + GAP * (len(widths) - 1) - room
    whole = [min(max(word, LEAST), WORD) for word in words]
    fair = [max(word, room // max(len(widths), 3)) for word in whole]
    for floors in (fair, whole, [LEAST] * len(widths)):
        for keep in sorted({column.keep for column in columns}):
            group = [i for i, column in enumerate(columns) if column.keep == keep and column.wrap]
            excess = _shrink(widths, group, excess, floors)
    starved = any(w < n and w < min(n, 14) for w, n in zip(widths, natural, strict=True))
    return None if excess > 0 or starved else widths


def _shrink(widths: list[int], group: list[int], excess: int, floors: list[int]) -> int:
    """Take from the widest of a group first, so that none falls below its floor; the excess that is left."""
    while excess > 0:
        able = [i for i in group if widths[i] > floors[i]]
        if not able:
            break
        widest = max(able, key=lambda i: widths[i])
        second = max((widths[i] for i in able if widths[i] < widths[widest]), default=0)
        step = max(min(widths[widest] - max(second, floors[widest]), excess), 1)
        widths[widest] -= step
        excess -= step
    return excess


def _natural(columns: tuple[Column, ...], cells: list[list[Styled]]) -> list[int]:
    return [
        max([cell_len(column.title), *(cell_len(line) for row in cells for line in row[i].plain.split("\n"))])
        for i, column in enumerate(columns)
    ]


def _words(columns: tuple[Column, ...], cells: list[list[Styled]]) -> list[int]:
    return [
        max((cell_len(word) for row in cells for word in row[i].plain.split()), default=0) for i in range(len(columns))
    ]


def _row(row: list[Styled], widths: list[int], columns: tuple[Column, ...], pad: str) -> Iterator[Styled]:
    folded = [terminal.wrapped(cell, width) for cell, width in zip(row, widths, strict=True)]
    for height in range(max(len(cell) for cell in folded)):
        line = Styled(pad)
        for i, (cell, width) in enumerate(zip(folded, widths, strict=True)):
            part = cell[height] if height < len(cell) else Styled()
            space = " " * max(width - cell_len(part.plain), 0)
            line.append(space) if columns[i].right else None
            line.append_styled(part)
            if not columns[i].right and i < len(widths) - 1:
                line.append(space)
            line.append(" " * GAP if i < len(widths) - 1 else "")
        yield line


def _cards(columns: tuple[Column, ...], cells: list[list[Styled]], width: int, indent: int) -> Iterator[Styled]:
    name = max((cell_len(column.title) for column in columns[1:]), default=0)
    for row in cells:
        if row[0].plain:
            yield from terminal.wrapped(row[0], width, " " * indent)
        for column, cell in zip(columns[1:], row[1:], strict=True):
            if cell.plain:
                head = " " * (indent + 2) + column.title.ljust(name) + "  "
                yield from terminal.wrapped(cell, width, head, None, "dim")

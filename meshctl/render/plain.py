"""Lines as spans and as plain text: what the renderers for mermaid, svg and html have in common."""

from collections.abc import Iterator

from meshctl.blocks import Line, Span


def spans(line: Line) -> Iterator[Span]:
    """A line's runs, each with its style."""
    for part in line if isinstance(line, tuple) else (line,):
        yield part if isinstance(part, Span) else Span(part)


def plain(line: Line) -> str:
    """A line's letters without their styles, printable."""
    return printable("".join(span.text for span in spans(line)))


def printable(text: str) -> str:
    """Text of which every character can be shown, and can stand in HTML and XML 1.0 (section 2.2).

    Control characters, lone surrogates and the invisible ones that turn the direction of writing become U+FFFD;
    every kind of space but the newline becomes a space.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(c) for c in text)


def _shown(char: str) -> str:
    if char == "\n" or char.isprintable():
        return char
    return " " if char.isspace() else "\N{REPLACEMENT CHARACTER}"


def folded(text: str, columns: int, *, hang: str = "") -> list[str]:
    """Fold text to so many columns, at spaces where there are any; a row's later lines start with `hang`."""
    lines: list[str] = []
    columns = max(columns, 2 * len(hang) + 2)
    for row in text.split("\n"):
        while cells(row) > columns:
            cut = _fitting(row, columns, len(hang) + 1)
            space = row.rfind(" ", len(hang) + 1, cut + 1)
            if space < 0 or not row[:space].strip():
                lines.append(row[:cut])
                row = hang + row[cut:]
            else:
                lines.append(row[:space])
                row = hang + row[space + 1 :]
        lines.append(row)
    return lines


def _fitting(row: str, columns: int, least: int) -> int:
    """How many characters fill so many columns; at least `least`, so that folding comes to an end."""
    used = 0
    for index, char in enumerate(row):
        used += cells(char)
        if used > columns:
            return max(index, least)
    return len(row)


def cells(text: str) -> int:
    """The columns that text takes in a fixed-width font: two for East Asian wide letters (UAX 11)."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)

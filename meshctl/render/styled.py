"""Styled text: runs of letters in a style, folded to a width and written with or without ANSI escapes.

Widths are rich's (wide letters take two columns, combining ones none). rich's own Text and Console do the same and
more; they cost a third of a short command's time to import (docs/decisions/005-start-up.md).
"""

from collections.abc import Iterator

from rich.cells import cell_len, get_character_cell_size

CODES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}
"""ECMA-48, Select Graphic Rendition: the colours that any terminal's theme keeps readable."""

ELLIPSIS = "…"


class Styled:
    """Text that grows at its end; a style is words of `CODES`, and a part's own words win over the whole's."""

    __slots__ = ("parts", "plain", "style")

    def __init__(self, text: str = "", style: str = "") -> None:
        self.style = style
        self.parts: list[tuple[str, str]] = []
        self.plain = ""
        if text:
            self.append(text)

    def append(self, text: str, style: str = "") -> "Styled":
        """Add text at the end."""
        if text:
            self.parts.append((text, f"{self.style} {style}" if style and self.style else style or self.style))
            self.plain += text
        return self

    def append_styled(self, other: "Styled") -> "Styled":
        """Add other text with its styles."""
        self.parts.extend(other.parts)
        self.plain += other.plain
        return self

    def cut(self, start: int, end: int) -> "Styled":
        """The letters from `start` up to `end`."""
        piece, at = Styled(), 0
        for text, style in self.parts:
            low, high = max(start - at, 0), min(end - at, len(text))
            if low < high:
                piece.append(text[low:high], style)
            at += len(text)
        return piece

    def shortened(self, width: int) -> "Styled":
        """The text in at most so many columns, with an ellipsis where it was cut."""
        if cell_len(self.plain) <= width:
            return self
        end = _fits(self.plain, 0, len(self.plain), width - 1)
        return self.cut(0, end).append(ELLIPSIS)

    def folded(self, width: int) -> list["Styled"]:
        """Lines of at most so many columns, broken at blanks where there are any, else anywhere."""
        if "\n" not in self.plain and cell_len(self.plain) <= width:
            return [self]
        return [self.cut(start, end) for start, end in _lines(self.plain, width)]

    def ansi(self) -> str:
        """With escapes; blanks at the end are left out."""
        shown = self.cut(0, len(self.plain.rstrip()))
        return "".join(_escaped(text, style) for text, style in shown.parts)


def _escaped(text: str, style: str) -> str:
    words = style.split()
    if not words:
        return text
    colors = [word for word in words if word not in ("bold", "dim")][-1:]
    codes = [CODES[word] for word in dict.fromkeys([w for w in words if w in ("bold", "dim")] + colors)]
    return f"\x1b[{';'.join(codes)}m{text}\x1b[0m"


def _lines(plain: str, width: int) -> Iterator[tuple[int, int]]:
    """Where each folded line starts and ends; blanks at a break belong to neither line."""
    start = 0
    for piece in plain.split("\n"):
        end = start + len(piece)
        yield from _fold(plain, start, end, width)
        start = end + 1


def _fold(plain: str, start: int, end: int, width: int) -> Iterator[tuple[int, int]]:
    while True:
        fits = _fits(plain, start, end, width)
        if fits >= end:
            yield start, end
            return
        cut = fits if plain[fits] == " " else plain.rfind(" ", start, fits)
        if cut <= start or not plain[start:cut].strip():
            cut = max(fits, start + 1)
        yield start, start + len(plain[start:cut].rstrip(" "))
        start = cut
        while start < end and plain[start] == " ":
            start += 1
        if start >= end:
            return


def _fits(plain: str, start: int, end: int, width: int) -> int:
    """The first position that no longer fits, `end` where all does."""
    used = 0
    for position in range(start, end):
        used += 1 if plain[position] < "\u0300" else get_character_cell_size(plain[position])
        if used > width:
            return position
    return end

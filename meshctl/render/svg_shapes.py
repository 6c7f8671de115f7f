"""The strokes that svg pictures are made of, and their style sheet; all text and numbers go through here."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from meshctl.render.palette import DARK, LIGHT, painted
from meshctl.render.plain import cells, printable

LETTER = 0.605
"""The width of a letter of the usual fixed-width fonts, in ems (DejaVu Sans Mono 0.602, Menlo 0.602, Consolas 0.55)."""
SANS_LETTER = 0.585
"""A letter's mean width in running text of a wide sans (DejaVu Sans); narrower fonts leave some room."""


def css() -> str:
    """The pictures' style sheet, with variables for colours and fonts."""
    return Path(__file__).with_name("picture.css").read_text(encoding="utf-8")


def standalone_css() -> str:
    """The style sheet with the colours written out, for light and for dark."""
    return f"{painted(css(), LIGHT)}\n@media (prefers-color-scheme: dark) {{\n{painted(css(), DARK)}}}\n"


def number(value: float) -> str:
    """A length with at most one decimal."""
    return f"{round(value, 1) + 0.0:.1f}".removesuffix(".0")


def text(x: float, y: float, content: str, kind: str = "", anchor: str = "") -> str:
    """One line of text at its base line."""
    css = f' class="{kind}"' if kind else ""
    where = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{number(x)}" y="{number(y)}"{css}{where}>{escape(printable(content))}</text>'


def label(x: float, y: float, rows: Sequence[str], whole: str = "") -> str:
    """Small text round a middle, on a ground of its own so that it can be read where arrows run; `whole` is its tip."""
    width = max(sans_width(printable(row), 12) for row in rows) * 0.96
    top = y - 5 - len(rows) * 7
    parts = [told(whole)] if whole and whole != " ".join(rows) else []
    parts.append(rect(x - width / 2, top, width, 14 * len(rows) + 1, "label", 3))
    parts += [text(x, top + 11.5 + 14 * i, row, "small dim", "middle") for i, row in enumerate(rows)]
    return f"<g>{''.join(parts)}</g>"


def rect(x: float, y: float, width: float, height: float, kind: str, radius: float = 6) -> str:
    """A rectangle with round corners."""
    return (
        f'<rect x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}" '
        f'rx="{number(radius)}" class="{kind}"/>'
    )


def line(commands: str, kind: str) -> str:
    """A path, given in SVG's own commands."""
    return f'<path d="{commands}" class="edge {kind}"/>'


def tip(x: float, y: float, dx: float, dy: float, kind: str) -> str:
    """An arrow's head that points along (dx, dy), its tip at (x, y)."""
    back_x, back_y = x - 9 * dx, y - 9 * dy
    points = ((x, y), (back_x - 4.5 * dy, back_y + 4.5 * dx), (back_x + 4.5 * dy, back_y - 4.5 * dx))
    return f'<polygon points="{" ".join(f"{number(a)},{number(b)}" for a, b in points)}" class="tip {kind}"/>'


def told(content: str) -> str:
    """What a pointer over the element shows, and a screen reader says."""
    return f"<title>{escape(printable(content))}</title>"


def picture(width: float, height: float, title: str, description: str, content: str) -> str:
    """An svg element that scales with its place, named for screen readers."""
    size = f"{number(width)} {number(height)}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="pic" viewBox="0 0 {size}" width="{number(width)}" '
        f'height="{number(height)}" role="img" aria-label="{escape(printable(title))}">'
        f"{told(title)}<desc>{escape(printable(description))}</desc>{content}</svg>"
    )


def mono_width(content: str, size: float = 12) -> float:
    """The width of text in the fixed-width font."""
    return cells(content) * size * LETTER


def sans_width(content: str, size: float = 13) -> float:
    """About the width of text in the proportional font."""
    return cells(content) * size * SANS_LETTER

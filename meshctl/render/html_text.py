"""Spans, paragraphs, facts, trees, notes and tables as html; the one place where a page's text is escaped."""

from html import escape

from meshctl.blocks import Facts, Line, Node, Note, Span, Table, Text, Timeline, Tree, Verbatim
from meshctl.render.palette import MARKS
from meshctl.render.plain import plain, printable, spans

KINDS = {"good": "Good", "bad": "Problem", "warn": "Warning", "info": "Note"}

WORD, PROSE = 30, 44
LETTERS = 130
"""So many letters of `LETTER` ems fit in the widest column of a page."""
LETTER = 0.56


def safe(text: str) -> str:
    """Text as it may stand in an element or between quotes."""
    return escape(printable(text))


def inline(line: Line) -> str:
    """A line with its styles as elements."""
    return "".join(_span(span) for span in spans(line))


def _span(span: Span) -> str:
    text = safe(span.text).replace("\n", "<br>")
    match span.style:
        case "":
            return text
        case "strong":
            return f"<strong>{text}</strong>"
        case "code":
            return f"<code>{text}</code>" if text.strip() else text
        case _:
            return f'<span class="{span.style}">{text}</span>'


def paragraph(block: Text) -> str:
    """A paragraph; the terminal's indent in columns becomes one of three steps."""
    step = min((block.indent + 1) // 2, 3)
    css = f' class="i{step}"' if step else ""
    return f"<p{css}>{inline(block.line)}</p>"


def verbatim(block: Verbatim) -> str:
    """Preformatted text; each row hangs where it must be folded."""
    rows = "\n".join(f"<code>{safe(row) or '&#8203;'}</code>" for row in block.text.split("\n"))
    return f"<pre>{rows.replace(chr(10), '')}</pre>"


def facts(block: Facts) -> str:
    """A list of names and what they are."""
    rows = "".join(f"<dt>{safe(name)}</dt><dd>{inline(line) or '-'}</dd>" for name, line in block.rows)
    return f'<dl class="facts">{rows}</dl>' if rows else ""


def tree(block: Tree) -> str:
    """Nested lists."""
    return f'<ul class="tree">{"".join(map(_node, block.roots))}</ul>' if block.roots else ""


def _node(node: Node) -> str:
    below = f"<ul>{''.join(map(_node, node.children))}</ul>" if node.children else ""
    return f"<li>{inline(node.line)}{below}</li>"


def note(block: Note) -> str:
    """A remark; what kind it is stands in words before it, for those who cannot see the colour."""
    more = f"<ul>{''.join(f'<li>{inline(line)}</li>' for line in block.more)}</ul>" if block.more else ""
    kind = f'<span class="kind">{KINDS[block.mood]}:</span> '
    return (
        f'<div class="note {block.mood}" role="note" data-mark="{MARKS[block.mood]}">'
        f"<p>{kind}{inline(block.line)}</p>{more}</div>"
    )


def table(block: Table, name: str) -> str:
    """A table with headers; on a narrow screen each row becomes a card, so the roles are said again (ARIA 1.2)."""
    if not block.columns:
        return ""
    widths = zip(block.columns, _least(block), strict=True)
    heads = "".join(
        f'<th scope="col" role="columnheader"{_css(column.right, False)} style="min-width:{least}em">'
        f"{safe(column.title)}</th>"
        for column, least in widths
    )
    rows = "".join(f'<tr role="row">{"".join(_cells(block, row))}</tr>' for row in block.rows)
    focus = f' tabindex="0" role="region" aria-label="{safe(name)}"' if len(block.columns) > 4 else ""
    return (
        f'<div class="scroll"{focus}>'
        f'<table class="cards" role="table" aria-label="{safe(name)}"><thead role="rowgroup"><tr role="row">{heads}'
        f'</tr></thead><tbody role="rowgroup">{rows}</tbody></table></div>'
    )


def _least(block: Table) -> list[float]:
    """How narrow each column may get, in ems: no word is broken while there is room, and prose has room to run."""
    letters = []
    for index, column in enumerate(block.columns):
        texts = [column.title, *(plain(row[index]) for row in block.rows if index < len(row))]
        word = max((len(word) for text in texts for word in text.split()), default=0)
        prose = max(map(len, texts), default=0)
        letters.append(max(min(word, WORD) + 2, min(prose, PROSE) if prose > 2 * PROSE else 0))
    return [round(least * LETTER * min(LETTERS / max(sum(letters), 1), 1.0), 1) for least in letters]


def _cells(block: Table, row: tuple[Line, ...]) -> list[str]:
    cells = []
    for index, column in enumerate(block.columns):
        line = row[index] if index < len(row) else ""
        css = _css(column.right, not column.wrap and len(plain(line)) <= 40, blank=not plain(line).strip())
        label = f' data-label="{safe(column.title)}"' if column.title else ""
        if index:
            cells.append(f'<td role="cell"{css}{label}>{inline(line)}</td>')
        else:
            cells.append(f'<th scope="row" role="rowheader"{css}{label}>{inline(line)}</th>')
    return cells


def _css(right: bool, whole: bool, *, blank: bool = False) -> str:
    kinds = [name for name, on in (("right", right), ("whole", whole), ("blank", blank)) if on]
    return f' class="{" ".join(kinds)}"' if kinds else ""


def timeline(block: Timeline) -> str:
    """A table with a bar to scale in each row; the seconds stand beside it."""
    rows = []
    for bar in block.bars:
        scale = 100 / block.length if block.length > 0 else 0.0
        left = min(max(bar.start * scale, 0.0), 100.0)
        right = 100.0 if bar.end is None else min(max(bar.end * scale, left), 100.0)
        kind = " ".join(part for part in (bar.style, "open" if bar.end is None else "") if part)
        rail = f'<div class="rail"><i class="{kind}" style="left:{left:.2f}%;width:{right - left:.2f}%"></i></div>'
        rows.append(
            f'<tr role="row"><th scope="row" role="rowheader">{safe(bar.label)}</th>'
            f'<td role="cell" class="track" aria-hidden="true">{rail}</td>'
            f'<td role="cell" class="whole">{_seconds(bar.start, bar.end)}</td>'
            f'<td role="cell"{_css(False, False, blank=not plain(bar.note))}>{inline(bar.note)}</td></tr>'
        )
    heads = "".join(f'<th scope="col" role="columnheader">{head}</th>' for head in ("What", "When", "From, to", "Note"))
    return (
        '<div class="scroll"><table class="cards time" role="table" aria-label="Timeline">'
        f'<thead role="rowgroup"><tr role="row">{heads}</tr></thead>'
        f'<tbody role="rowgroup">{"".join(rows)}</tbody></table></div>'
    )


def _seconds(start: float, end: float | None) -> str:
    if end is None:
        return f"from {start:.1f} s"
    return f"{start:.1f} to {end:.1f} s" if end > start else f"at {start:.1f} s"

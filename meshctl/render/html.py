"""A page as one html file that stands alone: no scripts, nothing fetched, readable from disk and on paper.

The page forbids scripts and every fetch itself (Content-Security-Policy), so that even a mistake here could not run
what a pod's annotation says. Headings never skip a level, and there is one of level 1.
"""

from collections.abc import Iterator
from dataclasses import replace

from meshctl import __version__
from meshctl.blocks import Block, Facts, Graph, Heading, Lanes, Note, Page, Table, Text, Timeline, Tree, Verbatim
from meshctl.render import html_css, html_pictures, html_text
from meshctl.render.html_text import inline, safe
from meshctl.render.plain import plain

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
CONTENTS_FROM = 3
"""A page with so many sections has a table of contents."""


def draw(page: Page) -> str:
    """Draw any page as a whole html document."""
    blocks = _levelled(page)
    title, rest = _title(page, blocks)
    sections = [block for block in rest if isinstance(block, Heading) and block.level == 2]
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f'<meta name="generator" content="meshctl {safe(__version__)}">\n'
        f"<title>{safe(page.title)} · meshctl</title>\n<style>\n{html_css.sheet()}\n</style>\n</head>\n<body>\n"
        '<a class="skip" href="#main">Skip to the content</a>\n'
        f"<header><h1>{title}</h1></header>\n{_contents(sections)}"
        f'<main id="main" tabindex="-1">\n{"".join(_body(rest))}</main>\n'
        f"<footer><p>Made by meshctl {safe(__version__)}.</p></footer>\n</body>\n</html>\n"
    )


def _levelled(page: Page) -> list[Block]:
    """The blocks with headings that start at 2 (but for one of level 1 in front) and skip no level."""
    first = next((i for i, block in enumerate(page.blocks) if not isinstance(block, Note)), 0)
    titles = [i for i, block in enumerate(page.blocks) if isinstance(block, Heading) and block.level <= 1]
    lone = titles == [first]
    levelled: list[Block] = []
    above = 1
    for index, block in enumerate(page.blocks):
        if isinstance(block, Heading) and not (lone and index == first):
            wanted = block.level + (1 if titles and not lone else 0)
            above = min(max(wanted, 2), above + 1, 6)
            block = replace(block, level=above)
        levelled.append(block)
    return levelled


def _title(page: Page, blocks: list[Block]) -> tuple[str, list[Block]]:
    for index, block in enumerate(blocks):
        if isinstance(block, Heading) and block.level <= 1:
            return inline(block.text), blocks[:index] + blocks[index + 1 :]
    return safe(page.title), blocks


def _contents(sections: list[Heading]) -> str:
    if len(sections) < CONTENTS_FROM:
        return ""
    entries = "".join(
        f'<li><a href="#s{number}">{safe(plain(block.text))}</a></li>' for number, block in enumerate(sections, 1)
    )
    return f'<nav aria-label="Contents"><ol>{entries}</ol></nav>\n'


def _body(blocks: list[Block]) -> Iterator[str]:
    """The blocks in order; each heading of level 2 begins a section that it names."""
    number = 0
    above = ""
    level = 1
    for block in blocks:
        if isinstance(block, Heading):
            above, level = plain(block.text), block.level
            if block.level == 2:
                if number:
                    yield "</section>\n"
                number += 1
                yield f'<section aria-labelledby="s{number}"><h2 id="s{number}">{inline(block.text)}</h2>\n'
                continue
        yield _block(block, above, level)
        yield "\n"
    if number:
        yield "</section>\n"


def _block(block: Block, above: str, level: int) -> str:
    match block:
        case Heading(text, own):
            return f"<h{own}>{inline(text)}</h{own}>"
        case Text():
            return html_text.paragraph(block)
        case Verbatim():
            return html_text.verbatim(block)
        case Facts():
            return html_text.facts(block)
        case Table():
            return html_text.table(block, above or "Table")
        case Tree():
            return html_text.tree(block)
        case Note():
            return html_text.note(block)
        case Timeline():
            return html_text.timeline(block)
        case Lanes():
            return html_pictures.lanes(block, min(level + 1, 6))
        case Graph():
            return html_pictures.graph(block)

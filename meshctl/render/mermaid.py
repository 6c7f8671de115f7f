"""A page's pictures as Mermaid: a graph as a flowchart, a path as a sequence diagram and a flowchart.

One picture is written as bare Mermaid, for ``mmdc`` and mermaid.live; several as Markdown with one fenced block each,
which GitHub, GitLab and ``mmdc`` read. Text of the page only ever stands inside quotes or after a colon, and never
contains a character that Mermaid gives a meaning to there; identifiers are numbers of our own.
"""

import re
from itertools import pairwise

from meshctl.blocks import Block, Edge, Graph, Lane, Lanes, Line, Page, Stage, Timeline, Vertex
from meshctl.errors import BadInput
from meshctl.render.palette import MARKS
from meshctl.render.plain import folded, plain, printable

FOLD = 72
SHAPES = {"box": ('["', '"]'), "round": ('("', '")'), "exit": ('(["', '"])')}
WIDE = '%%{init: {"flowchart": {"wrappingWidth": 620, "htmlLabels": true}}}%%'
CLASSES = {
    "good": "stroke:#1a7f37,stroke-width:2px",
    "bad": "stroke:#b01f17,stroke-width:2px",
    "warn": "stroke:#9a6700,stroke-width:2px",
    "exit": "stroke:#0b549c,stroke-width:2px",
}
STROKES = {"good": "stroke:#1a7f37", "bad": "stroke:#b01f17,stroke-width:2px", "dim": "stroke-dasharray:4 4"}


def draw(page: Page) -> str:
    """Draw the page's graphs, paths and timelines; BadInput where it has none."""
    pictures = [(title, text) for block in page.blocks for title, text in _pictures(block, page.title)]
    if not pictures:
        raise BadInput(f"there is nothing in '{plain(page.title)}' that Mermaid could draw", hint="use -o text")
    if len(pictures) == 1:
        return pictures[0][1] + "\n"
    fenced = (f"## {_markdown(title)}\n\n```mermaid\n{text}\n```\n" for title, text in pictures)
    return f"# {_markdown(page.title)}\n\n" + "\n".join(fenced)


def _pictures(block: Block, title: str) -> list[tuple[str, str]]:
    match block:
        case Graph():
            return [(block.title or title, flowchart(block))] if block.vertices or block.edges else []
        case Lanes():
            return [("Sequence", sequence(block)), ("Flow", path(block))] if block.lanes else []
        case Timeline():
            return [("Timeline", gantt(block))] if block.bars else []
        case _:
            return []


def flowchart(graph: Graph) -> str:
    """A graph's boxes and arrows; a vertex that only an edge names is drawn as well."""
    named = {vertex.key for vertex in graph.vertices}
    stray = dict.fromkeys(key for edge in graph.edges for key in (edge.start, edge.end) if key not in named)
    vertices = graph.vertices + tuple(Vertex(key, key) for key in stray)
    ids = {vertex.key: f"v{index}" for index, vertex in enumerate(vertices)}
    lines = ["flowchart LR", WIDE]
    if graph.title:
        lines.append(f"accTitle: {_row(graph.title)}")
    for index, group in enumerate(dict.fromkeys(vertex.group for vertex in vertices)):
        members = [f"{_box(vertex, ids[vertex.key])}" for vertex in vertices if vertex.group == group]
        lines += [f'subgraph g{index}["{_row(group)}"]', *_indented(members), "end"] if group else members
    lines += [_arrow(ids[edge.start], ids[edge.end], edge.label) for edge in graph.edges]
    return "\n".join([*lines[:1], *_indented(lines[1:] + _paint(vertices, ids) + _strokes(graph.edges))])


def _box(vertex: Vertex, key: str) -> str:
    left, right = SHAPES[vertex.shape]
    return f"{key}{left}{_rows((vertex.title, *vertex.lines))}{right}"


def _paint(vertices: tuple[Vertex, ...], ids: dict[str, str]) -> list[str]:
    exits = [ids[vertex.key] for vertex in vertices if vertex.shape == "exit"]
    return [f"classDef exit {CLASSES['exit']}", f"class {','.join(exits)} exit"] if exits else []


def _strokes(edges: tuple[Edge, ...]) -> list[str]:
    return [f"linkStyle {i} {STROKES[edge.mood]}" for i, edge in enumerate(edges) if edge.mood != "plain"]


def _arrow(start: str, end: str, label: str) -> str:
    return f'{start} -->|"{_rows((label,))}"| {end}' if label else f"{start} --> {end}"


def path(block: Lanes) -> str:
    """A request's path as a flowchart: a box for each stage, a frame for each lane."""
    lines = ["flowchart TB", WIDE]
    moods: dict[str, list[str]] = {}
    keys: list[str] = []
    ended = (Lane("Outcome", (block.end,)),) if block.end is not None else ()
    for index, lane in enumerate((*block.lanes, *ended)):
        lines.append(f'subgraph l{index}["{_row(lane.title)}"]')
        for stage in lane.stages:
            key = f"s{len(keys)}"
            keys.append(key)
            moods.setdefault(stage.mood, []).append(key)
            lines.append(f'  {key}["{_rows(_said(stage, block))}"]')
        lines.append("end")
    for index, (start, end) in enumerate(pairwise(keys)):
        lines.append(_arrow(start, end, block.arrows[index] if index < len(block.arrows) else ""))
    for mood, members in moods.items():
        if mood in CLASSES:
            lines += [f"classDef {mood} {CLASSES[mood]}", f"class {','.join(members)} {mood}"]
    return "\n".join([*lines[:1], *_indented(lines[1:])])


def sequence(block: Lanes) -> str:
    """A request's path as a sequence diagram: lanes with one title are one participant; it ends where it began."""
    ids: dict[str, str] = {}
    for lane in block.lanes:
        ids.setdefault(plain(lane.title), f"p{len(ids)}")
    lines = [f"participant {key} as {_row(title)}" for title, key in ids.items()]
    done = 0
    before = ""
    ended = (Lane(block.lanes[0].title, (block.end,)),) if block.end is not None else ()
    for lane in (*block.lanes, *ended):
        here = ids[plain(lane.title)]
        for stage in lane.stages:
            label = escaped(block.arrows[done - 1]) if 0 < done <= len(block.arrows) else ""
            if before and (label or before != here):
                lines.append(f"{before}->>{here}: {label or '#32;'}")
            lines.append(f"Note over {here}: {_rows(_said(stage, block), 48)}")
            before = here
            done += 1
    return "\n".join(["sequenceDiagram", *_indented(lines)])


def _said(stage: Stage, block: Lanes) -> tuple[str, ...]:
    """What a box says of a stage; of the end everything, since no other block of the picture has it."""
    facts = tuple(plain(fact) for fact in stage.facts) if stage is block.end else ()
    return (_title(stage), plain(stage.decision), *facts)


def _title(stage: Stage) -> str:
    return f"{MARKS[stage.mood]} {plain(stage.title)}".strip()


def gantt(block: Timeline) -> str:
    """A timeline as a Gantt chart in milliseconds since its start; a bar without an end runs to the timeline's."""
    lines = ["gantt", "  dateFormat x", "  axisFormat %M:%S"]
    for bar in block.bars:
        start = int(bar.start * 1000)
        end = max(int((block.length if bar.end is None else bar.end) * 1000), start + 1)
        name = _KEYWORD.sub(lambda found: _entity(found[0]), _row(bar.label).replace(":", "#58;"))
        lines.append(f"  {name} :{'active, ' if bar.end is None else ''}{start}, {end}")
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Text that Mermaid shows as it is, on one line; entities are written as it wants them (``#35;`` for ``#``).

    Whatever opens a directive, a comment, an icon, a formula, HTML, Markdown (a list too) or a style line of the
    same name is written as an entity. A few things Mermaid looks for only after it has put the entities back (``$$``,
    ``\\n``, ``fa:fa-``): a space without width parts them.
    """
    flat = " ".join(printable(text).split())
    flat = _SPECIAL.sub(_entity, flat)
    flat = _ITEM.sub(lambda found: found[1] + _entity(found[2]), flat)
    flat = _WORD.sub(lambda found: _entity(found[0][0]) + found[0][1:], flat)
    return _LATE.sub(lambda found: found[0] + "#8203;", flat)


_SPECIAL = re.compile(r"[\"#;<>&`*%~@]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])|\](?=\()|^[-=+]+")
_ITEM = re.compile(r"^(\d+)([.)])(?=\s|$)")
_WORD = re.compile(r"style|classDef|\b(?:wrap:|nowrap:|https?:|ftp:|www\.)", re.IGNORECASE)
_KEYWORD = re.compile(r"^(?:gantt|date|inc|exc|top|axis|tick|today|week|title|acc|section|click|call|href)", re.I)
_LATE = re.compile(r"\$(?=\$)|\ufb02(?=°)|\\(?=n)|\bfa[bklrs]?:(?=fa-)")


def _entity(found: "re.Match[str] | str") -> str:
    letters = found if isinstance(found, str) else found[0]
    return "".join(f"#{ord(letter)};" for letter in letters)


def _row(line: Line) -> str:
    return escaped(plain(line)) or "#32;"


def _rows(rows: tuple[str, ...], columns: int = FOLD) -> str:
    """Rows of text with Mermaid's line break between them; long ones are folded, empty ones left out."""
    return "<br/>".join(escaped(line) for row in rows if row for line in folded(printable(row), columns)) or "#32;"


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&])", r"\\\1", " ".join(printable(text).split("\n")))


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]

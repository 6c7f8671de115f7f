"""The vocabulary between views and renderers: a page is a tuple of blocks; text carries a style, never a colour.

Styles (closed set): ``""`` plain, ``"strong"``, ``"dim"``, ``"name"`` (a resource), ``"code"`` (verbatim rule,
flag, command), ``"good"``, ``"bad"``, ``"warn"``, ``"added"`` (put there by the mesh), ``"accent"`` (headings, arrows).
"""

from dataclasses import field
from typing import Literal, TypeAlias

from meshctl.frozen import dataclass

Style: TypeAlias = Literal["", "strong", "dim", "name", "code", "good", "bad", "warn", "added", "accent"]


@dataclass(frozen=True, slots=True)
class Span:
    """A run of text in one style."""

    text: str
    style: Style = ""


Line: TypeAlias = str | Span | tuple[str | Span, ...]
"""Plain text, one span, or several in a row."""


@dataclass(frozen=True, slots=True)
class Heading:
    """A title; level 1 is the page's, 2 a section's, 3 a part's."""

    text: Line
    level: int = 2


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph, wrapped to the width; `indent` in columns."""

    line: Line
    indent: int = 0


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Text shown as it is (a rule, a manifest), folded only where it must be."""

    text: str
    indent: int = 2


@dataclass(frozen=True, slots=True)
class Facts:
    """Aligned ``name  value`` pairs."""

    rows: tuple[tuple[str, Line], ...]
    indent: int = 0


@dataclass(frozen=True, slots=True)
class Column:
    """A table's column; a narrow screen shrinks the column with the lowest `keep` first (0 may vanish)."""

    title: str
    right: bool = False
    keep: int = 5
    wrap: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns; where the screen is too narrow a row becomes a card of ``title: value`` lines."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Line, ...], ...]
    indent: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """One entry of a tree."""

    line: Line
    children: tuple["Node", ...] = ()


@dataclass(frozen=True, slots=True)
class Tree:
    """Nested entries with guides."""

    roots: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """A box in a lane: its title, what was decided, the facts behind it, and the evidence (shown dim)."""

    title: Line
    decision: Line = ""
    facts: tuple[Line, ...] = ()
    evidence: tuple[Line, ...] = ()
    mood: Literal["plain", "good", "bad", "warn"] = "plain"
    key: str = ""


@dataclass(frozen=True, slots=True)
class Lane:
    """A place that the request passes (a pod, a node, the wire) with its stages in order."""

    title: Line
    stages: tuple[Stage, ...]


@dataclass(frozen=True, slots=True)
class Lanes:
    """A path drawn from top to bottom: lanes in order, arrows between stages; `arrows[i]` labels the i-th.

    `end` is how it ends: pictures show it, where nothing else on the page does.
    """

    lanes: tuple[Lane, ...]
    arrows: tuple[str, ...] = ()
    end: Stage | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow of a graph."""

    start: str
    end: str
    label: str = ""
    mood: Literal["plain", "good", "bad", "dim"] = "plain"


@dataclass(frozen=True, slots=True)
class Vertex:
    """A box of a graph; `lines` are drawn below the title."""

    key: str
    title: str
    lines: tuple[str, ...] = ()
    shape: Literal["box", "round", "exit"] = "box"
    group: str = ""


@dataclass(frozen=True, slots=True)
class Graph:
    """Boxes and arrows: drawn by the mermaid, svg and html renderers, as an edge list by the terminal."""

    vertices: tuple[Vertex, ...]
    edges: tuple[Edge, ...]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A span of a timeline, seconds since its start; `end` None means still running."""

    label: str
    start: float
    end: float | None
    note: Line = ""
    style: Style = ""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Bars drawn to scale over `length` seconds."""

    bars: tuple[Bar, ...]
    length: float


@dataclass(frozen=True, slots=True)
class Note:
    """A remark that stands out: a finding, a gap in the evidence, a hint."""

    line: Line
    mood: Literal["good", "bad", "warn", "info"] = "info"
    more: tuple[Line, ...] = ()


Block: TypeAlias = Heading | Text | Verbatim | Facts | Table | Tree | Lanes | Graph | Timeline | Note


@dataclass(frozen=True, slots=True)
class Page:
    """What a view makes and a renderer draws."""

    title: str
    blocks: tuple[Block, ...] = field(default=())

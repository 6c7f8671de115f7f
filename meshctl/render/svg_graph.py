"""A graph as a picture: boxes in layers, arrows between them, frames round the groups."""

from collections.abc import Iterator, Sequence
from itertools import count, pairwise

from meshctl.blocks import Edge, Graph, Vertex
from meshctl.frozen import dataclass
from meshctl.render import svg_shapes as shapes
from meshctl.render.layers import Plan, arrange, spread
from meshctl.render.plain import folded, printable

FOLD = 58
PAD = 12.0
ROW = 16.0
HEAD = 22.0
EDGE = 16.0
SCREEN = (1280.0, 760.0)
"""A graph runs from left to right or from top to bottom, whichever must be shrunk less to fit this."""
LABEL_ROW = 16.0
LABEL_FOLD = 34
LABEL_ROWS = 3
"""A longer label is cut; all of it is in the tool tip."""


@dataclass(frozen=True, slots=True)
class Picture:
    """Drawn elements and the room they take, in pixels."""

    content: str
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class _Box:
    vertex: Vertex
    rows: tuple[str, ...]
    width: float
    height: float


def draw(graph: Graph) -> Picture:
    """Draw from left to right or from top to bottom, whichever fits a screen better."""
    boxes = _boxes(graph)
    return max((_drawn(graph, boxes, down=False), _drawn(graph, boxes, down=True)), key=_fit)


def _fit(picture: Picture) -> float:
    return min(SCREEN[0] / picture.width, SCREEN[1] / picture.height, 1.0)


def _boxes(graph: Graph) -> list[_Box]:
    """The vertices with their sizes; one that only an edge names is drawn as well."""
    named = {vertex.key for vertex in graph.vertices}
    stray = dict.fromkeys(key for edge in graph.edges for key in (edge.start, edge.end) if key not in named)
    return [_box(vertex) for vertex in (*graph.vertices, *(Vertex(key, key) for key in stray))]


def _box(vertex: Vertex) -> _Box:
    rows = tuple(row for line in vertex.lines for row in folded(printable(line), FOLD, hang="    "))
    head = shapes.mono_width(printable(vertex.title), 14)
    width = max([head, *(shapes.mono_width(row) for row in rows)]) + 2 * PAD
    height = HEAD + 10 + (len(rows) * ROW + 4 if rows else 0)
    return _Box(vertex, rows, max(width, 60), height)


def _drawn(graph: Graph, boxes: list[_Box], *, down: bool) -> Picture:
    index = {box.vertex.key: i for i, box in enumerate(boxes)}
    ends = [(index[edge.start], index[edge.end]) for edge in graph.edges]
    groups = list(dict.fromkeys(box.vertex.group for box in boxes))
    exits = _exits(boxes, ends) if any(groups) else {}
    bands = [groups.index(exits.get(i, box.vertex.group)) for i, box in enumerate(boxes)]
    sizes = [(box.height, box.width) if down else (box.width, box.height) for box in boxes]
    margin = 52.0 if any(groups) else 22.0
    apart = 56.0 if down and any(edge.label for edge in graph.edges) else 22.0

    def sheet(rows: dict[int, int]) -> _Sheet:
        plan = arrange(
            sizes,
            ends,
            bands,
            lambda ranks: _gaps(graph.edges, ends, ranks, down, rows),
            last=exits,
            apart=apart,
            margin=margin,
        )
        return _Sheet(graph, boxes, plan, down, EDGE + (26.0 if any(groups) else 0.0), 26.0 if any(groups) else 0.0)

    first = sheet({})
    drawn = sheet(first.rows(ends)) if down else first
    content = drawn.frames(groups) + drawn.edges(ends) + drawn.boxes()
    width, height = drawn.turned(drawn.plan.length, drawn.plan.breadth)
    over = max((x - drawn.left - width for x in drawn.reach(ends)), default=0.0)
    room = 40.0 if any(start == end for start, end in ends) else 0.0
    return Picture(content, width + max(over, 0.0) + 2 * drawn.left, height + room + drawn.top + drawn.left)


def _exits(boxes: list[_Box], ends: list[tuple[int, int]]) -> dict[int, str]:
    """Boxes without a group that nothing leaves: they stand below (beside) the group that most arrows come from."""
    leaving = {start for start, _ in ends}
    found = {}
    for i, box in enumerate(boxes):
        near = [boxes[start].vertex.group for start, end in ends if end == i and boxes[start].vertex.group]
        if not box.vertex.group and i not in leaving and near:
            found[i] = max(near, key=near.count)
    return found


def _gaps(
    edges: Sequence[Edge], ends: list[tuple[int, int]], ranks: Sequence[int], down: bool, rows: dict[int, int]
) -> list[float]:
    """The room between layers: for arrows, and for the labels that stand there (`rows` of them one below another)."""
    if down:
        return [40.0 + LABEL_ROW * rows.get(gap, 1) for gap in range(max(ranks, default=0))]
    gaps = [54.0] * max(ranks, default=0)
    for edge, (start, end) in zip(edges, ends, strict=True):
        first = min(ranks[start], ranks[end])
        if edge.label and ranks[start] != ranks[end]:
            gaps[first] = max(gaps[first], max(map(_width, _label_rows(edge.label))) + 44)
    return gaps


@dataclass(frozen=True, slots=True)
class _Label:
    """A label on its way: its rows, their middle (along, across), the first row of its gap that it takes, its text."""

    rows: tuple[str, ...]
    along: float
    across: float
    first: int
    whole: str

    @property
    def width(self) -> float:
        return max(map(_width, self.rows))


def _width(row: str) -> float:
    return shapes.sans_width(row, 12)


def _label_rows(label: str) -> tuple[str, ...]:
    """A label folded; of a long one the beginning and the end, where counters stand."""
    rows = folded(printable(label), LABEL_FOLD)
    if len(rows) <= LABEL_ROWS:
        return tuple(rows)
    return (*rows[: LABEL_ROWS - 1], f"… {' '.join(rows)[2 - LABEL_FOLD :].partition(' ')[2]}")


@dataclass(frozen=True, slots=True)
class _Sheet:
    """The plan with its margins, in which (along, across) becomes (x, y)."""

    graph: Graph
    items: list[_Box]
    plan: Plan
    down: bool
    left: float
    head: float

    @property
    def top(self) -> float:
        return self.left + (0.0 if self.down else self.head / 2)

    def turned(self, along: float, across: float) -> tuple[float, float]:
        return (across, along) if self.down else (along, across)

    def at(self, along: float, across: float) -> tuple[float, float]:
        x, y = self.turned(along, across)
        return x + self.left, y + self.top

    def boxes(self) -> str:
        return "".join(
            _vertex(box, *self.at(self.plan.along[i], self.plan.across[i])) for i, box in enumerate(self.items)
        )

    def frames(self, groups: list[str]) -> str:
        """A frame round each named group, its name on top."""
        drawn = []
        for group in groups:
            members = [i for i, box in enumerate(self.items) if box.vertex.group == group]
            if not group or not members:
                continue
            spots = [self.at(self.plan.along[i], self.plan.across[i]) for i in members]
            halves = [(self.items[i].width / 2, self.items[i].height / 2) for i in members]
            x1 = min(x - w for (x, _), (w, _) in zip(spots, halves, strict=True)) - 14
            x2 = max(x + w for (x, _), (w, _) in zip(spots, halves, strict=True)) + 14
            y1 = min(y - h for (_, y), (_, h) in zip(spots, halves, strict=True)) - 14
            y2 = max(y + h for (_, y), (_, h) in zip(spots, halves, strict=True)) + 14
            drawn.append(shapes.rect(x1, y1 - 12, x2 - x1, y2 - y1 + 12, "frame", 10))
            drawn.append(shapes.text(x1 + 10, y1 + 4, group, "small dim"))
        return "".join(drawn)

    def edges(self, ends: list[tuple[int, int]]) -> str:
        """All arrows, then all labels, so that no arrow runs over a label."""
        drawn: list[str] = []
        lines = self._lines(ends)
        for number, edge in enumerate(self.graph.edges):
            if number in lines:
                drawn.append(self._arrow(lines[number], edge, self.plan.forward[number]))
            else:
                drawn.append(self._loop(ends[number][0], edge))
        for label in self._labels(ends):
            x, y = self.at(label.along, label.across)
            drawn.append(shapes.label(x, y + 4, label.rows, label.whole))
        return "".join(drawn)

    def rows(self, ends: list[tuple[int, int]]) -> dict[int, int]:
        """How many rows of labels each gap between layers needs."""
        found: dict[int, int] = {}
        for number, labels in self._by_gap(ends).items():
            found[number] = max(label.first + len(label.rows) for label in labels)
        return found

    def reach(self, ends: list[tuple[int, int]]) -> list[float]:
        """How far to the right each label reaches."""
        return [self.at(label.along, label.across)[0] + label.width / 2 for label in self._labels(ends)]

    def _labels(self, ends: list[tuple[int, int]]) -> list[_Label]:
        return [label for labels in self._by_gap(ends).values() for label in labels]

    def _by_gap(self, ends: list[tuple[int, int]]) -> dict[int, list[_Label]]:
        """The labels between each two layers, placed so that they do not touch."""
        found: dict[int, list[tuple[list[tuple[float, float]], str]]] = {}
        for number, line in self._lines(ends).items():
            label = self.graph.edges[number].label
            if label.strip():
                gap = min(self.plan.rank[key] for key in ends[number])
                found.setdefault(gap, []).append((line[1:3], printable(label)))
        return {gap: self._apart(some) for gap, some in found.items()}

    def _apart(self, found: list[tuple[list[tuple[float, float]], str]]) -> list[_Label]:
        found.sort(key=lambda entry: entry[0][0][1] + entry[0][1][1])
        if not self.down:
            middles = [(a[1] + b[1]) / 2 for (a, b), _ in found]
            rows = [_label_rows(text) for _, text in found]
            spots = spread(middles, [14.0 * len(some) for some in rows], 3.0)
            return [
                _Label(some, (a[0] + b[0]) / 2, across, 0, text)
                for ((a, b), text), some, across in zip(found, rows, spots, strict=True)
            ]
        placed: list[_Label] = []
        for (a, b), text in found:
            label = next(free for free in self._places(a, b, text) if not any(_touch(free, other) for other in placed))
            placed.append(label)
        return placed

    def _places(self, a: tuple[float, float], b: tuple[float, float], text: str) -> Iterator[_Label]:
        """Where a label may stand on its arrow, from row to row."""
        rows = _label_rows(text)
        half = max(map(_width, rows)) / 2
        for first in count():
            along = a[0] + 20 + (first + len(rows) / 2) * LABEL_ROW
            share = min((along - a[0]) / (b[0] - a[0]), 0.9)
            yield _Label(rows, along, max(_curve(a[1], b[1], share), half), first, text)

    def _lines(self, ends: list[tuple[int, int]]) -> dict[int, list[tuple[float, float]]]:
        leaving, entering = self._ports(ends)
        return {
            number: self._points(number, leaving[number], entering[number])
            for number, (start, end) in enumerate(ends)
            if start != end
        }

    def _ports(self, ends: list[tuple[int, int]]) -> tuple[list[float], list[float]]:
        """Where each edge leaves and enters its boxes, across: spread over the side, in the order of the other ends."""
        leaving, entering = [0.0] * len(ends), [0.0] * len(ends)
        across = self.plan.across
        for key, box in enumerate(self.items):
            size = box.width if self.down else box.height
            for side, ports in ((0, leaving), (-1, entering)):
                next_to = 1 if side == 0 else -2
                mine = [
                    n for n, route in enumerate(self.plan.routes) if route[side] == key and ends[n][0] != ends[n][1]
                ]
                mine.sort(key=lambda n: across[self.plan.routes[n][next_to]])
                step = min(26.0 if self.down else 18.0, size * 0.8 / max(len(mine), 1))
                for place, number in enumerate(mine):
                    ports[number] = across[key] + (place - (len(mine) - 1) / 2) * step
        return leaving, entering

    def _points(self, number: int, leaving: float, entering: float) -> list[tuple[float, float]]:
        """The points (along, across) of an edge in the order of layers: out of a box, across layers, into a box."""
        route = self.plan.routes[number]
        plan = self.plan
        first = plan.rank[route[0]]
        points = [
            (plan.along[route[0]] + self._half(route[0]), leaving),
            (plan.starts[first] + plan.depth[first], leaving),
        ]
        for key in route[1:-1]:
            start = plan.starts[plan.rank[key]]
            points += [(start, plan.across[key]), (start + plan.depth[plan.rank[key]], plan.across[key])]
        return [*points, (plan.along[route[-1]] - self._half(route[-1]), entering)]

    def _half(self, key: int) -> float:
        return (self.items[key].height if self.down else self.items[key].width) / 2

    def _arrow(self, points: list[tuple[float, float]], edge: Edge, forward: bool) -> str:
        head = points[-1] if forward else points[0]
        sign = 1.0 if forward else -1.0
        neck = (head[0] - 8 * sign, head[1])
        line = [*points[:-1], neck] if forward else [neck, *points[1:]]
        x, y = self.at(*line[0])
        commands = [f"M{shapes.number(x)} {shapes.number(y)}"]
        for (a1, c1), (a2, c2) in pairwise(line):
            middle = (a1 + a2) / 2
            curve = [self.at(middle, c1), self.at(middle, c2), self.at(a2, c2)]
            commands.append("C" + " ".join(f"{shapes.number(x)} {shapes.number(y)}" for x, y in curve))
        kind = "" if edge.mood == "plain" else edge.mood
        pointing = self.turned(sign, 0.0)
        return shapes.line("".join(commands), kind) + shapes.tip(*self.at(*head), *pointing, kind)

    def _loop(self, key: int, edge: Edge) -> str:
        """An edge from a box to itself, beside it."""
        x, y = self.at(self.plan.along[key], self.plan.across[key])
        box = self.items[key]
        bottom, right = y + box.height / 2, x + box.width / 2
        kind = "" if edge.mood == "plain" else edge.mood
        curve = (
            f"M{shapes.number(right - 40)} {shapes.number(bottom)}C{shapes.number(right - 40)} "
            f"{shapes.number(bottom + 26)} {shapes.number(right - 16)} {shapes.number(bottom + 26)} "
            f"{shapes.number(right - 16)} {shapes.number(bottom + 8)}"
        )
        label = shapes.text(right - 46, bottom + 16, edge.label, "small dim", "end") if edge.label else ""
        return shapes.line(curve, kind) + shapes.tip(right - 16, bottom, 0.0, -1.0, kind) + label


def _touch(one: _Label, other: _Label) -> bool:
    if one.first + len(one.rows) <= other.first or other.first + len(other.rows) <= one.first:
        return False
    return abs(one.across - other.across) < (one.width + other.width) / 2 + 10


def _curve(start: float, end: float, share: float) -> float:
    """Where an arrow is across, at a share of its way along (as `_arrow` bends it)."""
    low, high = 0.0, 1.0
    for _ in range(12):
        t = (low + high) / 2
        if 1.5 * t * (1 - t) + t**3 < share:
            low = t
        else:
            high = t
    return start + (end - start) * (3 * low**2 - 2 * low**3)


def _vertex(box: _Box, x: float, y: float) -> str:
    left, top = x - box.width / 2, y - box.height / 2
    radius = {"box": 6.0, "round": 14.0, "exit": min(box.height / 2, 18.0)}[box.vertex.shape]
    parts = [shapes.rect(left, top, box.width, box.height, "exit" if box.vertex.shape == "exit" else "box", radius)]
    parts.append(shapes.text(left + PAD, top + HEAD - 1, box.vertex.title, "head"))
    for number, row in enumerate(box.rows):
        parts.append(shapes.text(left + PAD, top + HEAD + 6 + (number + 0.75) * ROW, row, "mono"))
    return f"<g>{''.join(parts)}</g>"

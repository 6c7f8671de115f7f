"""Places the boxes of a graph in layers (Sugiyama, Tagawa and Toda 1981): ranks, order, positions.

Pure geometry: lengths are pixels, `along` is the way that arrows run and `across` the other one, so the same code
lays out from left to right and from top to bottom. Groups become bands beside each other, so frames never overlap.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import field
from itertools import pairwise

from meshctl.frozen import dataclass

Key = int
"""Boxes are numbers; those of the points where a long arrow crosses a layer follow the boxes' own."""

SWEEPS = 12


@dataclass(frozen=True, slots=True)
class Plan:
    """Where everything is: centres of boxes, and the points that each edge passes.

    The boxes of a layer begin at the same place; `starts` and `depth` are each layer's place and size along.
    `forward[i]` is False for an edge that had to be turned round, because it closes a circle.
    """

    along: tuple[float, ...]
    across: tuple[float, ...]
    rank: tuple[int, ...]
    routes: tuple[tuple[Key, ...], ...]
    forward: tuple[bool, ...]
    starts: tuple[float, ...]
    depth: tuple[float, ...]
    length: float
    breadth: float


@dataclass(slots=True)
class _Draft:
    size: list[float]
    rank: list[int]
    band: list[int]
    routes: list[tuple[Key, ...]] = field(default_factory=list)
    before: list[list[Key]] = field(default_factory=list)
    after: list[list[Key]] = field(default_factory=list)


def arrange(
    sizes: Sequence[tuple[float, float]],
    edges: Sequence[tuple[Key, Key]],
    bands: Sequence[int],
    gaps: Callable[[Sequence[int]], Sequence[float]],
    *,
    last: Collection[Key] = (),
    apart: float = 22.0,
    margin: float = 26.0,
) -> Plan:
    """Lay out boxes of (along, across) sizes; `gaps` tells from the ranks how much room each gap between layers needs.

    The boxes in `last` stand in the last layer, if no edge leaves them. `apart` separates boxes of a layer,
    `margin` the bands.
    """
    proper = [(index, edge) for index, edge in enumerate(edges) if edge[0] != edge[1]]
    turned = _turned(len(sizes), edges)
    directed = [(e[1], e[0]) if index in turned else e for index, e in proper]
    ranks = _ranks(len(sizes), directed)
    leaving = {start for start, _ in directed}
    ranks = [max(ranks) if key in last and key not in leaving else rank for key, rank in enumerate(ranks)]
    draft = _draft(sizes, ranks, bands, edges, turned)
    layers = _ordered(draft)
    across, spans = _positions(draft, layers, apart, margin)
    depth = _depths(sizes, ranks)
    starts, length = _starts(depth, gaps(ranks))
    return Plan(
        tuple(starts[rank] + along / 2 for (along, _), rank in zip(sizes, ranks, strict=True)),
        tuple(across),
        tuple(draft.rank),
        tuple(draft.routes),
        tuple(index not in turned for index in range(len(edges))),
        tuple(starts),
        tuple(depth),
        length,
        max((end for _, end in spans), default=0.0),
    )


def _turned(count: int, edges: Sequence[tuple[Key, Key]]) -> set[int]:
    """The edges that lead back to a box on the way from a start: turning them round leaves no circle."""
    out: list[list[tuple[int, Key]]] = [[] for _ in range(count)]
    for index, (start, end) in enumerate(edges):
        if start != end:
            out[start].append((index, end))
    fed = {end for start, end in edges if start != end}
    state = [0] * count
    back: set[int] = set()
    for root in sorted(range(count), key=lambda key: key in fed):
        if state[root]:
            continue
        state[root] = 1
        stack = [(root, iter(out[root]))]
        while stack:
            key, rest = stack[-1]
            step = next(rest, None)
            if step is None:
                state[key] = 2
                stack.pop()
            elif state[step[1]] == 1:
                back.add(step[0])
            elif state[step[1]] == 0:
                state[step[1]] = 1
                stack.append((step[1], iter(out[step[1]])))
    return back


def _ranks(count: int, edges: Sequence[tuple[Key, Key]]) -> list[int]:
    """The longest way from a start to each box; edges hold no circle."""
    out: list[list[Key]] = [[] for _ in range(count)]
    waiting = [0] * count
    for start, end in edges:
        out[start].append(end)
        waiting[end] += 1
    rank = [0] * count
    ready = [key for key in range(count) if not waiting[key]]
    while ready:
        key = ready.pop()
        for end in out[key]:
            rank[end] = max(rank[end], rank[key] + 1)
            waiting[end] -= 1
            if not waiting[end]:
                ready.append(end)
    return rank


def _draft(
    sizes: Sequence[tuple[float, float]],
    ranks: list[int],
    bands: Sequence[int],
    edges: Sequence[tuple[Key, Key]],
    turned: set[int],
) -> _Draft:
    """The boxes, and a point in each layer that a long edge crosses."""
    draft = _Draft([across for _, across in sizes], list(ranks), list(bands))
    for index, edge in enumerate(edges):
        start, end = (edge[1], edge[0]) if index in turned else edge
        route = [start]
        for layer in range(ranks[start] + 1, ranks[end]):
            route.append(len(draft.size))
            draft.size.append(14.0)
            draft.rank.append(layer)
            draft.band.append(bands[start])
        draft.routes.append((*route, end))
    draft.before = [[] for _ in draft.size]
    draft.after = [[] for _ in draft.size]
    for passed in draft.routes:
        for left, right in pairwise(passed):
            if left != right:
                draft.after[left].append(right)
                draft.before[right].append(left)
    return draft


def _ordered(draft: _Draft) -> list[list[Key]]:
    """The layers, each in an order with few crossings: by the mean place of neighbours, to and fro."""
    layers: list[list[Key]] = [[] for _ in range(max(draft.rank, default=-1) + 1)]
    for key in sorted(range(len(draft.size)), key=lambda key: draft.band[key]):
        layers[draft.rank[key]].append(key)
    best, fewest = [list(layer) for layer in layers], _crossings(draft, layers)
    for sweep in range(SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            place = {key: float(i) for other in layers for i, key in enumerate(other)}
            near = draft.before if sweep % 2 == 0 else draft.after
            layer.sort(key=lambda key: (draft.band[key], _mean((place[k] for k in near[key]), place[key])))
        crossings = _crossings(draft, layers)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    return best


def _mean(values: Iterable[float], otherwise: float) -> float:
    found = list(values)
    return sum(found) / len(found) if found else otherwise


def _crossings(draft: _Draft, layers: list[list[Key]]) -> int:
    place = {key: i for layer in layers for i, key in enumerate(layer)}
    count = 0
    for layer in layers:
        pairs = [(place[key], place[end]) for key in layer for end in draft.after[key]]
        if len(pairs) > 400:
            continue
        count += sum(1 for i, (a, b) in enumerate(pairs) for c, d in pairs[i + 1 :] if (a - c) * (b - d) < 0)
    return count


def _positions(
    draft: _Draft, layers: list[list[Key]], apart: float, margin: float
) -> tuple[list[float], list[tuple[float, float]]]:
    """Centres across: each near the mean of its neighbours, as far as order and distance allow; bands in a row."""
    across = [0.0] * len(draft.size)
    spans: list[tuple[float, float]] = []
    start = 0.0
    for band in range(max(draft.band, default=-1) + 1):
        own = [[key for key in layer if draft.band[key] == band] for layer in layers]
        _settle(draft, own, across, apart)
        members = [key for layer in own for key in layer]
        low = min((across[k] - draft.size[k] / 2 for k in members), default=0.0)
        high = max((across[k] + draft.size[k] / 2 for k in members), default=0.0)
        for key in members:
            across[key] += start - low
        spans.append((start, start + high - low))
        start += high - low + margin
    return across, spans


def _settle(draft: _Draft, layers: list[list[Key]], across: list[float], apart: float) -> None:
    inside = {key for layer in layers for key in layer}
    for layer in layers:
        edge = 0.0
        for key in layer:
            across[key] = edge + draft.size[key] / 2
            edge += draft.size[key] + apart
    for sweep in range(SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            near = draft.before if sweep % 2 == 0 else draft.after
            if sweep >= SWEEPS - 3:
                wanted = [
                    _mean((across[k] for k in (*draft.before[key], *draft.after[key]) if k in inside), across[key])
                    for key in layer
                ]
            else:
                wanted = [_mean((across[k] for k in near[key] if k in inside), across[key]) for key in layer]
            for key, value in zip(layer, spread(wanted, [draft.size[k] for k in layer], apart), strict=True):
                across[key] = value


def spread(wanted: Sequence[float], sizes: Sequence[float], apart: float) -> list[float]:
    """Centres nearest to the wanted ones (least squares) that keep the order and do not overlap."""
    offsets: list[float] = []
    edge = 0.0
    for index, size in enumerate(sizes):
        edge += (sizes[index - 1] + size) / 2 + apart if index else 0.0
        offsets.append(edge)
    pools: list[list[float]] = []
    for value, offset in zip(wanted, offsets, strict=True):
        pools.append([value - offset, 1])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            mean, weight = pools.pop()
            above = pools[-1]
            above[0] = (above[0] * above[1] + mean * weight) / (above[1] + weight)
            above[1] += weight
    level = [mean for mean, weight in pools for _ in range(int(weight))]
    return [value + offset for value, offset in zip(level, offsets, strict=True)]


def _depths(sizes: Sequence[tuple[float, float]], ranks: Sequence[int]) -> list[float]:
    depth = [0.0] * (max(ranks, default=-1) + 1)
    for (along, _), rank in zip(sizes, ranks, strict=True):
        depth[rank] = max(depth[rank], along)
    return depth


def _starts(depth: Sequence[float], gaps: Sequence[float]) -> tuple[list[float], float]:
    starts: list[float] = []
    edge = 0.0
    for index, size in enumerate(depth):
        edge += gaps[index - 1] if index else 0.0
        starts.append(edge)
        edge += size
    return starts, edge

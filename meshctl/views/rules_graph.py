"""The picture of a ruleset's chains: their rules in boxes, jumps as arrows, redirects and drops as exits.

An arrow names the rules that take it and how many packets they counted.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

from meshctl.blocks import Edge, Graph, Vertex
from meshctl.netfilter import wording
from meshctl.netfilter.dump import Dump, chains_in_order, explained, tables_in_order
from meshctl.netfilter.explain import Explained
from meshctl.netfilter.model import Ruleset
from meshctl.netfilter.targets import Accept, Drop, Goto, Jump, Redirect, Reject, Return, Tproxy

_MOST = 14
"""How many rules a box lists; those of a default pod all fit."""
_WIDE = 110
"""How many letters of a rule's condition a box shows."""


def graphs(dump: Dump) -> Iterator[Graph]:
    """One graph a family and backend that has rules."""
    for ruleset, by_chain in explained(dump):
        if not ruleset.empty:
            entries = [entry for listed in by_chain.values() for entry in listed]
            yield _graph(ruleset, entries, dump.title)


def _graph(ruleset: Ruleset, entries: Sequence[Explained], title: str) -> Graph:
    vertices: dict[str, Vertex] = {}
    listed: dict[str, list[Explained]] = {}
    for entry in entries:
        listed.setdefault(f"{entry.table.name}/{entry.chain.name}", []).append(entry)
    for table in tables_in_order(ruleset):
        for chain in chains_in_order(table):
            key = f"{table.name}/{chain.name}"
            if key in listed:
                shape: Literal["round", "box"] = "round" if chain.hook else "box"
                vertices[key] = Vertex(key, chain.name, _lines(listed[key]), shape, f"table {table.name}")
    edges: list[Edge] = []
    for (start, end, mood), several in _grouped(entries).items():
        if end not in vertices and end.startswith("exit:"):
            vertices[end] = Vertex(end, end.removeprefix("exit:"), (), "exit")
        edges.append(Edge(start, end, _label(several), mood))
    return Graph(tuple(vertices.values()), tuple(edges), f"{title}: {ruleset.family}, {ruleset.backend}")


Mood: TypeAlias = Literal["plain", "good", "bad", "dim"]


def _grouped(entries: Sequence[Explained]) -> dict[tuple[str, str, Mood], list[Explained]]:
    groups: dict[tuple[str, str, Mood], list[Explained]] = {}
    for entry in entries:
        end, mood = _end(entry)
        if end:
            groups.setdefault((f"{entry.table.name}/{entry.chain.name}", end, mood), []).append(entry)
    return groups


def _end(entry: Explained) -> tuple[str, Mood]:
    if entry.told.dead is not None:
        return "", "plain"
    match entry.rule.target:
        case Jump(name) | Goto(name):
            return f"{entry.table.name}/{name}", "plain"
        case Redirect(ports):
            return f"exit:local port {ports}" if ports else "exit:this machine", "good"
        case Tproxy(port):
            return f"exit:local port {port}", "good"
        case Return() | Accept():
            return "exit:unchanged", "dim"
        case Drop() | Reject():
            return "exit:dropped", "bad"
        case _:
            return "", "plain"


def _lines(entries: Sequence[Explained]) -> tuple[str, ...]:
    """A chain's rules, each by its number and what it is about."""
    shown = [f"{entry.number} {_condition(entry)}" for entry in entries[:_MOST]]
    return (*shown, *([f"... {len(entries) - _MOST} more"] if len(entries) > _MOST else ()))


def _condition(entry: Explained) -> str:
    text = wording.traffic(entry.rule.matches)
    text = text if len(text) <= _WIDE else f"{text[: _WIDE - 3].rstrip(' ,')}..."
    return f"({text}: never reached)" if entry.told.dead is not None else text


def _label(group: Sequence[Explained]) -> str:
    numbers = [str(entry.number) for entry in group]
    label = f"rule {numbers[0]}" if len(numbers) == 1 else f"rules {', '.join(numbers)}"
    counted = [entry.rule.packets for entry in group if entry.rule.packets is not None]
    if not counted:
        return label
    return f"{label}: {sum(counted)} packet{'' if sum(counted) == 1 else 's'}"

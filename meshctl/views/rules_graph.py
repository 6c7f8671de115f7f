"""The picture of a ruleset's chains: jumps as arrows, redirects and drops as exits, counters on the arrows."""

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

from meshctl.blocks import Edge, Graph, Vertex
from meshctl.netfilter import wording
from meshctl.netfilter.dump import Dump, chains_in_order, explained, tables_in_order
from meshctl.netfilter.explain import Explained
from meshctl.netfilter.facts import Facts, facts
from meshctl.netfilter.model import Accept, Drop, Goto, Jump, Redirect, Reject, Return, Ruleset, Tproxy

_MOST = 4
"""How many conditions an arrow that stands for several rules names."""


def graphs(dump: Dump) -> Iterator[Graph]:
    """One graph a family and backend that has rules."""
    for ruleset, by_chain in explained(dump):
        if not ruleset.empty:
            entries = [entry for listed in by_chain.values() for entry in listed]
            yield _graph(ruleset, entries, dump.title)


def _graph(ruleset: Ruleset, entries: Sequence[Explained], title: str) -> Graph:
    vertices: dict[str, Vertex] = {}
    for table in tables_in_order(ruleset):
        for chain in chains_in_order(table):
            if chain.rules:
                key = f"{table.name}/{chain.name}"
                lines = (f"{len(chain.rules)} rules",) if len(chain.rules) > 1 else ()
                group = f"table {table.name}"
                vertices[key] = Vertex(key, chain.name, lines, "round" if chain.hook else "box", group)
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


def _label(group: Sequence[Explained]) -> str:
    asked = [facts(entry.rule) for entry in group]
    ports = [one.port for one in asked if one == Facts(protocol="tcp", to_ports=one.to_ports) and one.port]
    what = [wording.traffic(entry.rule.matches) for entry in group]
    if len(ports) == len(group) and not any(one.to_ports and one.to_ports.negated for one in asked):
        what = [f"TCP to port {', '.join(ports)}"]
    shown = what[:_MOST] + ([f"{len(what) - _MOST} more"] if len(what) > _MOST else [])
    counted = [entry.rule.packets for entry in group if entry.rule.packets is not None]
    label = " / ".join(shown)
    return f"{label} ({sum(counted)} packets)" if counted else label

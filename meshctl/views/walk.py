"""``meshctl.walk/v1`` and the page of one packet's walk."""

from collections.abc import Sequence
from dataclasses import field
from typing import Any

from meshctl.blocks import Block, Edge, Graph, Heading, Line, Node, Note, Page, Span, Text, Tree, Vertex
from meshctl.frozen import dataclass
from meshctl.netfilter import packet as packets
from meshctl.netfilter.addresses import address_text
from meshctl.netfilter.question import describe
from meshctl.netfilter.verdict import Arrival, Step, Walk

SCHEMA = "meshctl.walk/v1"
FOLD = 24
"""More rules in a row that do not match than this are counted, not listed; `wide` lists all."""


def document(result: Walk, supposed: Sequence[str] = ()) -> dict[str, Any]:
    """The contract's document; `arrived`, `dropped_by` and `notes` are beyond it."""
    return {
        "schema": SCHEMA,
        "packet": packets.document(result.packet),
        "steps": [_step(step) for step in result.steps],
        "verdict": result.verdict,
        "redirect_port": result.redirect_port,
        "undecided_because": result.undecided_because,
        "arrived": _arrival(result.packet.version, result.arrival),
        "dropped_by": result.dropped_by or None,
        "notes": [*supposed, *result.notes],
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "hook": step.hook,
        "family": step.family,
        "table": step.table,
        "chain": step.chain,
        "rule": step.rule,
        "matched": step.matched,
        "why": step.why,
        "action": step.action,
        "changes": [{"field": change.field, "old": change.old, "new": change.new} for change in step.changes],
        "text": step.text,
        "origin": step.origin,
    }


def _arrival(version: int, arrival: Arrival | None) -> dict[str, Any] | None:
    if arrival is None:
        return None
    return {
        "hook": arrival.hook,
        "in": arrival.in_interface or None,
        "out": arrival.out_interface or None,
        "src": None if arrival.src is None else address_text(version, arrival.src),
        "dst": None if arrival.dst is None else address_text(version, arrival.dst),
        "sport": arrival.sport,
        "dport": arrival.dport,
        "mark": arrival.mark,
    }


# --- text --------------------------------------------------------------------------------------------------------


def page(result: Walk, supposed: Sequence[str] = (), *, wide: bool = False, picture: bool = False) -> Page:
    """Every rule that was looked at, by hook and chain, and the verdict; `picture` adds the graph of the way."""
    title = describe(result.packet)
    blocks: list[Block] = [Heading(title, 1)]
    if picture:
        return Page(title, (*blocks, graph(result)))
    for hook, steps in _by_hook(result.steps):
        blocks.append(Heading(hook, 2))
        blocks.append(Tree(tuple(_tree(steps, wide))))
    if not result.steps:
        blocks.append(Text("No rule stands in its way."))
    blocks.append(Note(verdict_line(result), _mood(result)))
    blocks += [Note(note) for note in (*supposed, *result.notes)]
    return Page(title, tuple(blocks))


def verdict_line(result: Walk) -> tuple[str | Span, ...]:
    """The verdict in words."""
    packet = result.packet
    match result.verdict:
        case "redirected":
            port = "a port of its range" if result.redirect_port is None else f"port {result.redirect_port}"
            return (
                Span("redirected", "strong"),
                f" to local {port}" if packet.dport is not None else " to this machine",
            )
        case "tproxied":
            return (Span("tproxied", "strong"), f" to the transparent socket on port {result.redirect_port}")
        case "dropped":
            return (Span("dropped", "bad"), f" by {result.dropped_by}")
        case "undecided":
            return (Span("undecided", "warn"), f": it depends on {result.undecided_because}")
        case _:
            arrival = result.arrival
            if arrival is None or arrival.dst is None:
                return (Span("accepted", "good"), ": it goes on, to a destination that is left open")
            goal = address_text(packet.version, arrival.dst)
            changed = arrival.dst != packet.dst or arrival.dport != packet.dport
            where = "is delivered here" if arrival.hook == "INPUT" else f"leaves by {arrival.out_interface}"
            port = f" port {arrival.dport}" if arrival.dport is not None else ""
            aim = f" for {goal}{port}" if changed else ", its destination unchanged"
            return (Span("accepted", "good"), f": it {where}{aim}")


def _mood(result: Walk) -> Any:
    return {"dropped": "bad", "undecided": "warn"}.get(result.verdict, "good")


def _by_hook(steps: Sequence[Step]) -> list[tuple[str, list[Step]]]:
    groups: list[tuple[str, list[Step]]] = []
    for step in steps:
        if not groups or groups[-1][0] != step.hook:
            groups.append((step.hook, []))
        groups[-1][1].append(step)
    return groups


@dataclass(slots=True)
class _Open:
    """A chain while its steps are put below it."""

    key: tuple[str, str, str]
    line: Line
    children: list["_Open | Step"] = field(default_factory=list)


def _tree(steps: Sequence[Step], wide: bool) -> list[Node]:
    """Base chains as roots, the chains that rules jump to below those rules."""
    roots: list[_Open] = []
    stack: list[_Open] = []
    jumped: Step | None = None
    for step in steps:
        key = (step.family, step.table, step.chain)
        while stack and stack[-1].key != key and not (jumped and stack[-1].key == _key(jumped)):
            stack.pop()
        if not stack or stack[-1].key != key:
            opened = _Open(key, (Span(f"{step.table} ", "dim"), Span(step.chain, "name")))
            (stack[-1].children if stack else roots).append(opened)
            stack.append(opened)
        stack[-1].children.append(step)
        jumped = step if step.matched and step.action.startswith(("jump ", "goto ")) else None
    return [_node(one, wide) for one in roots]


def _key(step: Step) -> tuple[str, str, str]:
    return step.family, step.table, step.chain


def _node(chain: _Open, wide: bool) -> Node:
    nodes: list[Node] = []
    idle: list[Step] = []
    for child in (*chain.children, None):
        if isinstance(child, Step) and child.rule is not None and child.matched is False:
            idle.append(child)
            continue
        nodes += _idle(idle, wide)
        idle = []
        if isinstance(child, Step):
            nodes.append(Node(_line(child)))
        elif child is not None and nodes:
            nodes[-1] = Node(nodes[-1].line, (*nodes[-1].children, _node(child, wide)))
        elif child is not None:
            nodes.append(_node(child, wide))
    return Node(chain.line, tuple(nodes))


def _idle(steps: list[Step], wide: bool) -> list[Node]:
    if wide or len(steps) <= FOLD:
        return [Node(_line(step)) for step in steps]
    return [Node(Span(f"rules {steps[0].rule} to {steps[-1].rule} do not match", "dim"))]


def _line(step: Step) -> Line:
    if step.rule is None:
        return (Span(step.action, "dim"), f": {step.why}")
    if step.matched:
        changed = "; ".join(f"{one.field} {one.old} -> {one.new}" for one in step.changes)
        tail: tuple[Span | str, ...] = (Span(f"  [{changed}]", "accent"),) if changed else ()
        return (Span(f"✓ {step.rule} ", "good"), Span(_short(step), "code"), *tail)
    if step.matched is None:
        return (Span(f"? {step.rule} ", "warn"), Span(_short(step), "code"), f"  {step.why}")
    return (Span(f"· {step.rule} ", "dim"), Span(_short(step), "dim"), Span(f"  ({step.why})", "dim"))


def _short(step: Step) -> str:
    return step.text.removeprefix(f"-A {step.chain} ")


# --- picture -----------------------------------------------------------------------------------------------------


def graph(result: Walk) -> Graph:
    """The rules that matched, in order, as boxes; the verdict is the exit."""
    vertices = [Vertex("start", describe(result.packet), shape="round")]
    edges: list[Edge] = []
    last = "start"
    for index, step in enumerate(one for one in result.steps if one.matched or one.rule is None):
        if step.action == "skip":
            continue
        key = f"s{index}"
        number = f" rule {step.rule}" if step.rule is not None else ""
        lines = [_short(step) if step.rule is not None else step.action]
        lines += [f"{one.field}: {one.old} -> {one.new}" for one in step.changes]
        vertices.append(Vertex(key, f"{step.table} {step.chain}{number}", tuple(lines), group=step.hook))
        edges.append(Edge(last, key))
        last = key
    text = "".join(part if isinstance(part, str) else part.text for part in verdict_line(result))
    vertices.append(Vertex("end", text, shape="exit"))
    mood: Any = {"dropped": "bad", "undecided": "dim"}.get(result.verdict, "good")
    edges.append(Edge(last, "end", "", mood))
    return Graph(tuple(vertices), tuple(edges), "the packet's way")

"""A packet between others as a node's rules meet it: what is known of it there, and the walk through one hook."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from meshctl.frozen import dataclass
from meshctl.netfilter.addresses import prefix
from meshctl.netfilter.hooks import NAT_DESTINATION, Plan
from meshctl.netfilter.hooks import Station as Stop
from meshctl.netfilter.packet import Packet
from meshctl.netfilter.routing import Route, assemble, given_addresses, lookup
from meshctl.netfilter.verdict import Walk
from meshctl.netfilter.walk import Walker, walker
from meshctl.path.netns import is_loopback
from meshctl.path.replies import as_refusal
from meshctl.path.rules import SENDING_PORT
from meshctl.path.scene import NodeRules, Scene, Station
from meshctl.path.settled import Leg, View, seen_by
from meshctl.path.sight import number_of

MASQUERADE_MARK = 0x4000
"""kube-proxy's mark for what it masquerades (``--iptables-masquerade-bit 14``), which its own FORWARD chain accepts."""


@dataclass(frozen=True, slots=True)
class Flow:
    """What a pod sends to a place, and what comes back, as the nodes between them see it.

    `asked` is what the pod called, where kube-proxy, or a DNAT ahead of it, gave the connection this place instead;
    `known` False: it is not known which place.
    """

    station: Station
    place: str
    port: int
    proto: Literal["tcp", "udp"] = "tcp"
    asked: tuple[str, int] | None = None
    masqueraded: bool = False
    known: bool = True

    @property
    def translated(self) -> bool:
        """Whether the sender's node gave it another destination."""
        return self.asked is not None


def translated(scene: Scene, node: str, found: NodeRules, flow: Flow, *, behind: bool = False) -> Walk:
    """Walk a first packet through nat, up to kube-proxy's rules or (`behind`) through those after them."""
    of_node = flow.station.pod.host_network
    hook: Literal["OUTPUT", "PREROUTING"] = "OUTPUT" if of_node and node == flow.station.pod.node else "PREROUTING"
    key = ("translating", node, hook, of_node, behind)
    if key not in scene.cache:
        view = View(blind=frozenset(("source",) if of_node else ()), devices=found.routes is not None)
        scene.cache[key] = _whole(scene, node, found, view, behind=behind).with_plans(
            lambda whole: Plan(
                {at: tuple(s for s in stops if _translates(at, s, hook)) for at, stops in whole.stations.items()}, True
            )
        )
    ready = scene.cache[key]
    assert isinstance(ready, Walker)
    return ready.walk(_packet(scene, found, flow, node, Stage(hook, "before"), answer=False))


def _translates(at: str, stop: Stop, hook: str) -> bool:
    return stop.kind == "conntrack" or (stop.kind == "nat" and at == hook)


@dataclass(frozen=True, slots=True)
class Stage:
    """A hook at which a packet meets a node's rules; `part`: those before nat gives it another destination, or behind.

    At the other hooks all rules are behind it.
    """

    hook: Literal["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]
    part: Literal["all", "before", "behind"] = "all"


_COMES = (Stage("PREROUTING", "before"), Stage("PREROUTING", "behind"))
_SENT = (Stage("OUTPUT", "before"), Stage("OUTPUT", "behind"), Stage("POSTROUTING"))


def stages(*, sends: bool, takes: bool) -> tuple[Stage, ...]:
    """The hooks of a node that a packet passes: one that the node itself `sends`, `takes`, both (on lo), or neither."""
    if sends:
        return (*_SENT, *_COMES, Stage("INPUT")) if takes else _SENT
    return (*_COMES, Stage("INPUT")) if takes else (*_COMES, Stage("FORWARD"), Stage("POSTROUTING"))


def meet(
    scene: Scene,
    node: str,
    found: NodeRules,
    flow: Flow,
    stage: Stage,
    *,
    leg: Leg = "first",
    mark: int = 0,
    tracked: bool = True,
) -> Walk | None:
    """Walk a packet through what a node's rules have at one stage: the first one, the answer to it, or a later one.

    `mark` is what it has already; `tracked` False: a rule has exempted it from tracking. None where no rule is there.
    """
    if not _busy(scene, node, found, stage):
        return None
    here, answer = node == flow.station.pod.node, leg in ("answer", "later answer")
    before = _is_before(flow, node, stage)
    blind = frozenset(_unknown(scene, flow, node, answer=answer, before=before))
    mapped = flow.translated and here and (leg != "first" or not before)
    hidden, perhaps = flow.masqueraded and here, flow.station.own_ip(flow.place)
    view = View(leg, mapped, hidden, blind, found.routes is not None, perhaps if blind else "", tracked)
    packet = _packet(scene, found, flow, node, stage, answer=answer)
    if leg in ("later", "later answer"):
        packet = replace(packet, flags=("ACK",), ctstate="ESTABLISHED")
    packet = replace(packet, mark=packet.mark | mark, ctstate=packet.ctstate if tracked else "UNTRACKED")
    return _ready(scene, node, found, view, stage).walk(packet)


def _is_before(flow: Flow, node: str, stage: Stage) -> bool:
    """Whether nat has not given a packet its destination yet; what the node sends itself has it before PREROUTING."""
    sent = stage.hook == "PREROUTING" and node == flow.station.pod.node and flow.station.pod.host_network
    return stage.part == "before" and not sent


def refusal(scene: Scene, node: str, found: NodeRules, flow: Flow, stopped: Stage, *, reset: bool) -> Walk | None:
    """The walk of a REJECT's answer that the node's own rules keep back, or may; None where it gets out.

    It is the node itself that sends it: an ICMP error, or a TCP `reset`.
    """
    here = node == flow.station.pod.node
    blind = {*_unknown(scene, flow, node, answer=True, before=False)}
    blind |= {"source"} if stopped.hook != "INPUT" and not reset else set()
    perhaps = flow.station.own_ip(flow.place) if blind else ""
    mapped, devices = flow.translated and here, found.routes is not None
    view = View("refusal", mapped, None, frozenset(blind), devices, perhaps)
    for stage in stages(sends=True, takes=here and flow.station.pod.host_network):
        if not _busy(scene, node, found, stage):
            continue
        packet = _packet(scene, found, flow, node, stage, answer=True)
        to = flow.station.own_ip(flow.place) or flow.place
        packet = replace(
            packet,
            direction="outbound",
            in_interface=None,
            out_interface=_way_out(scene, node, found, to),
            owner_known=True,
        )
        walk = _ready(scene, node, found, view, stage).walk(as_refusal(packet, reset=reset))
        if walk.verdict != "accepted":
            return walk
    return None


def _unknown(scene: Scene, flow: Flow, node: str, *, answer: bool, before: bool) -> Iterator[str]:
    """The sides of a packet of which the address is not known at a node.

    What kube-proxy masquerades has an address of its sender's node, and comes back to that until it is translated back.
    A node's own program takes the address of an interface, by its routes; what a pod sends to another node has that
    node's, where its plugin masquerades what leaves the pods' range.
    """
    here = node == flow.station.pod.node
    place, sender = ("source", "destination") if answer else ("destination", "source")
    if not flow.known and (answer or not before):
        yield place
    if answer and flow.masqueraded and (before or not here):
        yield sender
    if (flow.station.pod.host_network and not is_own(scene, node, flow)) or (not here and is_own(scene, node, flow)):
        yield sender


def is_own(scene: Scene, node: str, flow: Flow) -> bool:
    """Whether the place of a flow is an address of a node's own."""
    return flow.place in scene.node(node).addresses


def device(found: NodeRules, address: str) -> str:
    """The interface by which a node reaches an address."""
    version, number = number_of(address)
    return lookup(assemble((), found.routes or _SOMEWHERE), version, number).device or "eth0"


_SOMEWHERE = (
    Route(4, "main", "unicast", prefix("0.0.0.0/0"), "eth0"),
    Route(6, "main", "unicast", prefix("::/0"), "eth0"),
)


def _packet(scene: Scene, found: NodeRules, flow: Flow, node: str, stage: Stage, *, answer: bool) -> Packet:
    """The packet as a node sees it at one stage.

    At OUTPUT it keeps the interface of what was called, whatever nat makes of the destination there.
    """
    here = node == flow.station.pod.node
    called = flow.asked if flow.asked is not None and here and not answer else (flow.place, flow.port)
    before = _is_before(flow, node, stage)
    place, port = called if before else (flow.place, flow.port)
    version, number = number_of(place)
    own = flow.station.own_ip(flow.place)
    local = is_own(scene, node, flow) if answer else here and flow.station.pod.host_network
    to = own or flow.place if answer else called[0] if stage.hook == "OUTPUT" else place
    sent = Packet(
        direction="outbound" if local else "inbound",
        version=version,
        proto=flow.proto,
        src=None if (flow.masqueraded and not here and not answer) or not own else number_of(own)[1],
        dst=number,
        sport=SENDING_PORT,
        dport=port,
        in_interface=None if local else device(found, flow.place if answer else own or place),
        out_interface=_way_out(scene, node, found, to) if local else None,
        owner_known=not local,
        mark=MASQUERADE_MARK if flow.masqueraded and here and not before else 0,
        flags=("SYN",) if flow.proto == "tcp" else None,
    )
    if not answer:
        return sent
    back = _turned(sent)
    if local and flow.asked is not None and here and stage.hook in ("PREROUTING", "INPUT"):  # past POSTROUTING, on lo
        back = replace(back, src=number_of(flow.asked[0])[1], sport=flow.asked[1])
    return back


def _way_out(scene: Scene, node: str, found: NodeRules, address: str) -> str:
    """The interface by which a node sends what is for an address: lo for its own."""
    return "lo" if is_loopback(address) or address in scene.node(node).addresses else device(found, address)


def _turned(sent: Packet) -> Packet:
    """The answer to a packet: kube-proxy's translation is undone only behind the filters of POSTROUTING."""
    return replace(
        sent,
        src=sent.dst,
        dst=sent.src or 0,
        sport=sent.dport,
        dport=sent.sport,
        mark=0,
        flags=("SYN", "ACK") if sent.proto == "tcp" else None,
        ctstate="ESTABLISHED",
    )


def _stops_of(plan: Plan, stage: Stage) -> dict[str, tuple[Stop, ...]]:
    """A node's rules at one stage, with connection tracking: nat is kube-proxy's, which is told elsewhere."""

    def asked(hook: str, stop: Stop) -> bool:
        if stop.kind == "conntrack":
            return True
        behind = stop.priority >= NAT_DESTINATION
        return stop.kind == "chain" and hook == stage.hook and stage.part in ("all", "behind" if behind else "before")

    return {hook: tuple(stop for stop in stops if asked(hook, stop)) for hook, stops in plan.stations.items()}


def _busy(scene: Scene, node: str, found: NodeRules, stage: Stage) -> bool:
    """Whether any rule, or a policy of DROP, stands at a stage."""
    key = ("rules at", node, stage)
    if key not in scene.cache:
        whole = _whole(scene, node, found, View(devices=found.routes is not None))
        stops = (stop for version in (4, 6) for stop in _stops_of(whole.plans[version], stage)[stage.hook])
        scene.cache[key] = any(not base.idle for stop in stops for base in stop.chains)
    return bool(scene.cache[key])


def _ready(scene: Scene, node: str, found: NodeRules, view: View, stage: Stage) -> Walker:
    key = ("node's rules", node, view, stage)
    if key not in scene.cache:
        scene.cache[key] = _whole(scene, node, found, view).with_plans(
            lambda whole: Plan(_stops_of(whole, stage), True), replies=view.answer
        )
    ready = scene.cache[key]
    assert isinstance(ready, Walker)
    return ready


def _whole(scene: Scene, node: str, found: NodeRules, view: View, *, behind: bool = False) -> Walker:
    """All rules that were found at a node, beside kube-proxy's or `behind` them, read once for each view."""
    key = ("all of a node's rules", node, view, behind)
    if key not in scene.cache:
        own = given_addresses(scene.node(node).addresses)
        rulesets = tuple(seen_by(scene, ruleset, view) for ruleset in found.rulesets)
        scene.cache[key] = walker(rulesets, assemble(own, found.routes or _SOMEWHERE, complete=True))
    whole = scene.cache[key]
    assert isinstance(whole, Walker)
    return whole

"""A packet between others as a node's rules meet it: what is known of it there, and the walk through one hook."""

from dataclasses import replace
from typing import Literal

from meshctl.frozen import dataclass
from meshctl.netfilter.addresses import prefix
from meshctl.netfilter.hooks import Plan
from meshctl.netfilter.hooks import Station as Stop
from meshctl.netfilter.packet import Packet
from meshctl.netfilter.routing import Route, assemble, given_addresses, lookup
from meshctl.netfilter.verdict import Walk
from meshctl.netfilter.walk import Walker, walker
from meshctl.path.rules import SENDING_PORT
from meshctl.path.scene import Forwarding, Scene, Station
from meshctl.path.settled import View, seen_by
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


def translated(scene: Scene, node: str, found: Forwarding, flow: Flow, *, behind: bool = False) -> Walk:
    """Walk a first packet through nat's PREROUTING, up to kube-proxy's rules or (`behind`) through those after them."""
    view = View(devices=found.routes is not None)
    ready = _ready(scene, node, found, "PREROUTING", view, ("nat", "conntrack"), behind=behind)
    return ready.walk(_packet(found, flow, flow.place, True))


def forwarded(scene: Scene, node: str, found: Forwarding, flow: Flow, mark: int, *, answer: bool) -> Walk:
    """Walk a packet through a node's FORWARD chains: the first one, or the `answer` to it; `mark` it has already."""
    here = node == flow.station.pod.node
    masked = flow.masqueraded and not here  # it has an address of the sender's node, and which one is not known
    blind = {"source" if answer else "destination"} if not flow.known else set()
    blind |= {"destination"} if masked and answer else set()
    view = View(answer, flow.translated and here, flow.masqueraded and here, frozenset(blind), found.routes is not None)
    packet = _packet(found, flow, flow.place, here)
    if answer:
        packet = _turned(found, packet, flow)
    elif masked:
        packet = replace(packet, src=None)
    return _ready(scene, node, found, "FORWARD", view).walk(replace(packet, mark=packet.mark | mark))


def come_in(scene: Scene, node: str, found: Forwarding, flow: Flow, *, answer: bool) -> Walk:
    """Walk a packet through a node's PREROUTING chains but nat's, before anything is translated, or translated back."""
    here = node == flow.station.pod.node
    address, port = flow.asked if flow.asked is not None and here else (flow.place, flow.port)
    blind = {"source"} if answer and not flow.known else set()
    blind |= {"destination"} if answer and flow.masqueraded else set()
    hidden, devices = flow.masqueraded and here, found.routes is not None
    view = View(answer, answer and flow.translated and here, hidden, frozenset(blind), devices)
    packet = replace(_packet(found, replace(flow, port=port), address, here), mark=0)
    if answer:
        packet = _turned(found, _packet(found, flow, flow.place, here), flow)
    elif flow.masqueraded and not here:
        packet = replace(packet, src=None)
    return _ready(scene, node, found, "PREROUTING", view, ("chain", "conntrack")).walk(packet)


def device(found: Forwarding, address: str) -> str:
    """The interface by which a node reaches an address."""
    version, number = number_of(address)
    return lookup(assemble((), found.routes or _SOMEWHERE), version, number).device or "eth0"


_SOMEWHERE = (
    Route(4, "main", "unicast", prefix("0.0.0.0/0"), "eth0"),
    Route(6, "main", "unicast", prefix("::/0"), "eth0"),
)


def _packet(found: Forwarding, flow: Flow, address: str, here: bool) -> Packet:
    version, number = number_of(address)
    own = flow.station.own_ip(address)
    return Packet(
        direction="inbound",
        version=version,
        proto=flow.proto,
        src=number_of(own)[1] if own else None,
        dst=number,
        sport=SENDING_PORT,
        dport=flow.port,
        in_interface=device(found, own or address),
        mark=MASQUERADE_MARK if flow.masqueraded and here else 0,
        flags=("SYN",) if flow.proto == "tcp" else None,
    )


def _turned(found: Forwarding, sent: Packet, flow: Flow) -> Packet:
    """The answer to a packet: kube-proxy's translation is undone only behind FORWARD."""
    return replace(
        sent,
        src=sent.dst,
        dst=sent.src or 0,
        sport=sent.dport,
        dport=sent.sport,
        in_interface=device(found, flow.place),
        mark=0,
        flags=("SYN", "ACK") if flow.proto == "tcp" else None,
        ctstate="ESTABLISHED",
    )


def _ready(
    scene: Scene,
    node: str,
    found: Forwarding,
    hook: str,
    view: View,
    kinds: tuple[str, ...] = ("chain", "nat"),
    *,
    behind: bool = False,
) -> Walker:
    """The node's rules at one hook, ahead of kube-proxy's or `behind` them: what that does itself is told elsewhere."""
    key = ("forwarding", node, hook, view, kinds, behind)
    if key not in scene.cache:
        own = given_addresses(scene.node(node).addresses)
        rulesets = tuple(seen_by(scene, ruleset, view) for ruleset in found.rulesets)
        whole = walker(rulesets, assemble(own, found.routes or _SOMEWHERE, complete=True))

        def at_hook(whole: Plan) -> Plan:
            return Plan(
                {
                    at: tuple(s for s in stations if at == hook and s.kind in kinds) or _tracking(at, stations)
                    for at, stations in whole.stations.items()
                },
                True,
            )

        scene.cache[key] = whole.with_plans(at_hook, replies=view.answer)
    ready = scene.cache[key]
    assert isinstance(ready, Walker)
    return ready


def _tracking(hook: str, stations: tuple[Stop, ...]) -> tuple[Stop, ...]:
    return tuple(s for s in stations if hook == "PREROUTING" and s.kind == "conntrack")

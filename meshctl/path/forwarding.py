"""What a node's own rules do with packets between others: somebody's DNAT ahead of kube-proxy, and the FORWARD chains.

What kube-proxy itself refuses is told by `meshctl.path.kube_proxy`.
"""

from typing import Literal

from meshctl.frozen import dataclass
from meshctl.netfilter.addresses import address_text, prefix
from meshctl.netfilter.hooks import Plan
from meshctl.netfilter.hooks import Station as Stop
from meshctl.netfilter.matches import CtField, CtState, InInterface, OutInterface
from meshctl.netfilter.packet import Packet
from meshctl.netfilter.routing import Route, assemble, given_addresses, lookup
from meshctl.netfilter.verdict import Walk
from meshctl.netfilter.walk import Walker, walker
from meshctl.path.model import End, Hop
from meshctl.path.outcome import Course, untold
from meshctl.path.passage import proof_of, stopped
from meshctl.path.rules import SENDING_PORT
from meshctl.path.scene import Forwarding, Scene, Station
from meshctl.path.sight import number_of

MASQUERADE_MARK = 0x4000
"""kube-proxy's mark for what it masquerades (``--iptables-masquerade-bit 14``), which its own FORWARD chain accepts."""


@dataclass(frozen=True, slots=True)
class Sent:
    """Where a node's rules send a connection before kube-proxy is asked; `to` None: it cannot be told."""

    to: tuple[str, int] | None
    why: str
    hop: Hop


def sent_elsewhere(scene: Scene, node: str, station: Station | None, address: str, port: int) -> Sent | None:
    """Somebody's DNAT ahead of kube-proxy's rules; None where the connection goes on as it is."""
    found = _known(scene, node, station, address)
    if found is None or station is None:
        return None
    walk = _walk(scene, node, found, station, address, port, "PREROUTING", 0)
    arrived = walk.arrival
    moved = arrived is None or (arrived.dst, arrived.dport) != (walk.packet.dst, port)
    if walk.verdict == "accepted" and not moved:
        return None
    if walk.verdict == "dropped":  # raw and mangle are not asked here, and nat drops nothing
        return None
    if walk.verdict == "undecided" or arrived is None or arrived.dst is None or arrived.dport is None:
        why = f"what node {node} makes of {address}:{port} before kube-proxy cannot be told: {_open(walk)}"
        return Sent(None, why, _hop(node, why, walk, "warn"))
    to = (address_text(walk.packet.version, arrived.dst), arrived.dport)
    why = f"node {node} sends it to {to[0]}:{to[1]} before kube-proxy is asked"
    return Sent(to, why, _hop(node, why, walk, "plain"))


def kept_back(
    scene: Scene, node: str, station: Station | None, place: str, port: int, masqueraded: bool, routed: bool
) -> Course | None:
    """How a connection ends that a node does not forward to its place; None where it does, or where nothing says so.

    `routed`: it is certain to be routed. Between two pods of a bridge it meets FORWARD only where br_netfilter is on.
    """
    found = _known(scene, node, station, place)
    if found is None or station is None or place in scene.node(node).addresses:
        return None
    walk = _walk(scene, node, found, station, place, port, "FORWARD", MASQUERADE_MARK if masqueraded else 0)
    if walk.verdict not in ("dropped", "undecided") or (walk.verdict == "dropped" and "/" not in walk.dropped_by):
        return None
    doubt = _open(walk) if walk.verdict == "undecided" else ""
    doubt = doubt or _doubt(found, station, place, routed)
    if doubt:
        why = f"whether node {node} forwards it to {place}:{port} cannot be told: {doubt}"
        if walk.verdict == "dropped":
            why += f" (it would be {stopped(walk)})"
        return Course(
            1.0, untold(why, through_server=None), (_hop(node, why, walk, "warn"),), endpoint=f"{place}:{port}"
        )
    why = f"node {node} does not forward it to {place}:{port}: {stopped(walk)}"
    broken: Literal["refused", "timeout"] = "refused" if stopped(walk).startswith("rejected") else "timeout"
    end = End("nobody", delivered=False, mtls=None, broken=broken, why=why, cause="rules")
    return Course(1.0, end, (_hop(node, why, walk, "bad"),), endpoint=f"{place}:{port}")


def _known(scene: Scene, node: str, station: Station | None, address: str) -> Forwarding | None:
    if station is None or station.pod.host_network or not node or address in (*station.pod.ips, station.pod.ip):
        return None
    return scene.node(node).forwarding()


def _doubt(found: Forwarding, station: Station, place: str, routed: bool) -> str:
    """Why a drop is none for sure; empty where it is."""
    clauses = [c for ruleset in found.rulesets for _, _, _, rule in ruleset.rules for c in rule.matches]
    if found.routes is None and any(isinstance(c, InInterface | OutInterface) for c in clauses):
        return "over which of its interfaces is not recorded"
    if any(isinstance(c, CtField) or (isinstance(c, CtState) and {"DNAT", "SNAT"} & set(c.states)) for c in clauses):
        return "its rules ask for the translation that kube-proxy made"
    if not routed and _device(found, place) == _device(found, station.pod.ip):
        return (
            "both pods are on one bridge, and whether its packets meet the node's rules (br_netfilter) is not recorded"
        )
    return ""


def _device(found: Forwarding, address: str) -> str:
    version, number = number_of(address)
    return lookup(assemble((), found.routes or _SOMEWHERE), version, number).device or "eth0"


_SOMEWHERE = (
    Route(4, "main", "unicast", prefix("0.0.0.0/0"), "eth0"),
    Route(6, "main", "unicast", prefix("::/0"), "eth0"),
)


def _walk(
    scene: Scene, node: str, found: Forwarding, station: Station, address: str, port: int, hook: str, mark: int
) -> Walk:
    version, number = number_of(address)
    own = next((ip for ip in (station.pod.ip, *station.pod.ips) if ip and (":" in ip) == (version == 6)), "")
    packet = Packet(
        direction="inbound",
        version=version,
        proto="tcp",
        src=number_of(own)[1] if own else None,
        dst=number,
        sport=SENDING_PORT,
        dport=port,
        in_interface=_device(found, own or address),
        mark=mark,
        flags=("SYN",),
    )
    return _ready(scene, node, found, hook).walk(packet)


def _ready(scene: Scene, node: str, found: Forwarding, hook: str) -> Walker:
    """The node's rules at one hook: what kube-proxy does between them is told elsewhere."""
    key = ("forwarding", node, hook)
    if key not in scene.cache:
        own = given_addresses(scene.node(node).addresses)
        whole = walker(found.rulesets, assemble(own, found.routes or _SOMEWHERE, complete=True))
        kinds = ("nat", "conntrack") if hook == "PREROUTING" else ("chain", "nat")

        def at_hook(whole: Plan) -> Plan:
            return Plan(
                {
                    at: tuple(s for s in stations if at == hook and s.kind in kinds) or _tracking(at, stations)
                    for at, stations in whole.stations.items()
                },
                True,
            )

        scene.cache[key] = whole.with_plans(at_hook)
    ready = scene.cache[key]
    assert isinstance(ready, Walker)
    return ready


def _tracking(hook: str, stations: tuple[Stop, ...]) -> tuple[Stop, ...]:
    return tuple(s for s in stations if hook == "PREROUTING" and s.kind == "conntrack")


def _open(walk: Walk) -> str:
    notes = (note for note in walk.notes if "destination" in note)
    return walk.undecided_because or next(notes, "its rules leave that open")


def _hop(node: str, why: str, walk: Walk, mood: Literal["plain", "bad", "warn"]) -> Hop:
    return Hop("rules", "node", node, "the node's rules", why, (), proof_of(walk), mood)

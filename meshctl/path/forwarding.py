"""What a node's own rules do with packets between others: somebody's DNAT ahead of kube-proxy, and the FORWARD chains.

What kube-proxy itself refuses is told by `meshctl.path.kube_proxy`.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from meshctl.frozen import dataclass
from meshctl.kube.pods import Pod
from meshctl.kube.proxy_rules import is_kube_proxy
from meshctl.netfilter.addresses import address_text
from meshctl.netfilter.verdict import Walk
from meshctl.path import node_walk
from meshctl.path.model import End, Evidence, Hop
from meshctl.path.node_walk import Flow
from meshctl.path.outcome import Course, untold
from meshctl.path.passage import UNHEARD, UNTRACKED, proof_of, resets, stopped, untracks
from meshctl.path.scene import NodeRules, Scene, Station
from meshctl.path.settled import Leg
from meshctl.words import show_address


@dataclass(frozen=True, slots=True)
class Sent:
    """Where a node's rules send a connection before kube-proxy is asked; `to` None: it cannot be told."""

    to: tuple[str, int] | None
    why: str
    hop: Hop


@dataclass(frozen=True, slots=True)
class Kept:
    """A packet that a node does not forward, which `leg` of the connection; `sure` False: it may.

    `refused`: its sender is told so; None: that cannot be told.
    """

    why: str
    walk: Walk
    hop: Hop
    sure: bool
    leg: Leg
    refused: bool | None = False


def sent_elsewhere(
    scene: Scene, station: Station | None, address: str, port: int, proto: Literal["tcp", "udp"] = "tcp"
) -> Sent | None:
    """Somebody's DNAT ahead of kube-proxy's rules; None where the connection goes on as it is."""
    if station is None:
        return None
    node = station.pod.node
    found = scene.node(node).beside() if node and not _is_pods_own(station, address) else None
    if found is None:
        return None
    walk = node_walk.translated(scene, node, found, Flow(station, address, port, proto))
    return _sent(node, walk, show_address(address, port), "before kube-proxy is asked")


def by_host_port(scene: Scene, station: Station | None, address: str, port: int) -> Sent | None:
    """Where a node sends what comes to an address of its own that kube-proxy has nothing about: a ``hostPort``.

    None where nothing there says so. A pod's word alone tells not that its node does it: of the plugins that do
    (CNI's portmap, Docker, Cilium) some have no rules of iptables.
    """
    node = scene.node_at(address)
    if node is None:
        return None
    found = node.behind()
    if found is not None and station is not None:
        walk = node_walk.translated(scene, node.name, found, Flow(station, address, port), behind=True)
        if (sent := _sent(node.name, walk, show_address(address, port), "behind kube-proxy's rules")) is not None:
            return sent
    return _declared(scene, node.name, address, port)


def on_loopback(scene: Scene, station: Station, address: str, port: int) -> Sent | None:
    """A ``hostPort`` or, where kube-proxy's rules are not known, a NodePort that a node may serve on its loopback."""
    node = scene.node(station.pod.node)
    if is_kube_proxy(node.rules_about(address)) or (found := scene.services.at_node_port(port)) is None:
        return _declared(scene, node.name, address, port, "whether the node serves it on its loopback is not known")
    service = found[0]
    why = f"port {port} is a NodePort of Service {service.namespace}/{service.name}, and whether node {node.name} "
    why += f"serves it at {address} too is not recorded"
    proof = (Evidence(service.origin.source, service.origin.path, f"nodePort: {port}"),)
    return Sent(None, why, Hop("rules", "node", node.name, "the node's rules", why, (), proof, "warn"))


_NO_RULE = "no rule that was recorded sends connections there: whether something else does is not known"


def _declared(scene: Scene, node: str, address: str, port: int, doubt: str = _NO_RULE) -> Sent | None:
    """What a pod's own word for a ``hostPort`` leaves open, where no rule says it; None where none opens it there."""
    pod = next((pod for pod in scene.pods_on(node) if _opens(pod, address, port)), None)
    if pod is None:
        return None
    why = f"pod {pod.namespace}/{pod.name} has hostPort {port} on node {node}, but {doubt}"
    proof = (Evidence(pod.origin.source, f"{pod.origin.path}.spec.containers", f"hostPort: {port}"),)
    return Sent(None, why, Hop("rules", "node", node, "the node's rules", why, (), proof, "warn"))


def _opens(pod: Pod, address: str, port: int) -> bool:
    known = (known for container in pod.containers for known in container.ports)
    return any(one.host_port == port and one.protocol == "TCP" and one.host_ip in (*_ANY, address) for one in known)


_ANY = ("", "0.0.0.0", "::")


def _sent(node: str, walk: Walk, asked: str, when: str) -> Sent | None:
    arrived = walk.arrival
    moved = arrived is None or (arrived.dst, arrived.dport) != (walk.packet.dst, walk.packet.dport)
    if walk.verdict == "accepted" and not moved:
        return None
    if walk.verdict == "dropped":  # nat drops nothing
        return None
    if walk.verdict == "undecided" or arrived is None or arrived.dst is None or arrived.dport is None:
        why = f"what node {node} makes of {asked} {when} cannot be told: {_open(walk)}"
        return Sent(None, why, _hop(node, why, walk, "warn"))
    to = (address_text(walk.packet.version, arrived.dst), arrived.dport)
    why = f"node {node} sends it to {show_address(to[0], to[1])} {when}"
    return Sent(to, why, _hop(node, why, walk, "plain"))


def kept_back(scene: Scene, flow: Flow, there: str) -> Course | None:
    """How a connection ends that is not forwarded to its place on node `there`, or whose answers are not.

    None where all is forwarded, or where nothing says otherwise.
    """
    kept = keeping(scene, flow, there)
    if kept is None:
        return None
    place = f"{flow.place}:{flow.port}"
    if not kept.sure or kept.refused is None:
        return Course(1.0, untold(kept.why, through_server=None), (kept.hop,), endpoint=place)
    broken: Literal["refused", "timeout"] = "refused" if kept.refused else "timeout"
    why = f"{kept.why}, so the connection is never made" if kept.leg == "answer" else kept.why
    end = End("nobody", delivered=False, mtls=None, broken=broken, why=why, cause="node-rules")
    return Course(1.0, end, (kept.hop,), endpoint=place)


def unread(scene: Scene, flow: Flow, there: str) -> str:
    """Why it is in doubt that the nodes on the way let a connection pass: a listing that is there cannot be read."""
    nodes = () if _is_pods_own(flow.station, flow.place) else (flow.station.pod.node, there)
    return next(
        (f"what a node's rules say is not known: {why}" for n in nodes if n and (why := scene.node(n).unread)), ""
    )


def keeping(scene: Scene, flow: Flow, there: str) -> Kept | None:
    """The packet that one of the nodes on the way keeps back, there or back again: the first for sure, else any."""
    if _is_pods_own(flow.station, flow.place):
        return None
    nodes = tuple(node for node in dict.fromkeys((flow.station.pod.node, there)) if node)
    legs: tuple[Leg, ...] = ("first", "answer", *(("later", "later answer") if flow.proto == "tcp" else ()))
    kept: list[Kept] = []
    for leg in legs:
        if any(one.sure for one in kept) or (kept and "later" in leg):
            break
        kept += _kept(scene, flow, nodes[::-1] if "answer" in leg else nodes, there, leg)
    found = next((one for one in kept if one.sure), kept[0] if kept else None)
    if found is None or found is kept[0]:
        return found
    return _unheard(found, f"before that, {kept[0].why}")


def keeping_out(scene: Scene, address: str, port: int, node: str) -> Kept | None:
    """What a node may keep back of what a client from outside of the cluster sends straight to an address of its own.

    Never for sure: a load balancer or a NodePort may bring it there, translated, and rules may let that through.
    """
    kept = keeping(scene, Flow(_OUTSIDE, address, port), node)
    if kept is None or not kept.sure:
        return kept
    why = f"{kept.why}; by which way the client comes there, and whether that is let in, is not known"
    return replace(kept, why=why, hop=replace(kept.hop, decision=why, mood="warn"), sure=False)


_OUTSIDE = Station(pod=Pod(name="", namespace=""), mode="none")


def _kept(scene: Scene, flow: Flow, nodes: Iterable[str], there: str, leg: Leg) -> Iterable[Kept]:
    for node in nodes:
        found = scene.node(node).beside()
        kept = _kept_at(scene, node, found, flow, there, leg) if found is not None else None
        if kept is not None:
            yield kept


def _kept_at(scene: Scene, node: str, found: NodeRules, flow: Flow, there: str, leg: Leg) -> Kept | None:
    """The packet of a leg that one node keeps back, or may."""
    here = node == flow.station.pod.node
    own, sender = node_walk.is_own(scene, node, flow), here and flow.station.pod.host_network
    sends, takes = (own, sender) if "answer" in leg else (sender, own)
    mark, tracked = 0, True
    for stage in node_walk.stages(sends=sends, takes=takes):
        walk = node_walk.meet(scene, node, found, flow, stage, mark=mark, leg=leg, tracked=tracked)
        if walk is None:
            continue
        before = stage.part == "before" and flow.translated and here and "answer" not in leg
        if _stops(walk):
            doubt = "" if sends or takes or before else _doubt(node, found, flow, there)
            kept = _as_kept(node, flow, walk, doubt, stage, leg)
            if kept.sure and "later" in leg:
                return _unheard(kept, "how that ends depends on who gives up first")
            if kept.sure and leg == "first":
                return _told(scene, node, found, flow, kept, stage, moved=flow.translated and here and not before)
            return kept
        exempt = untracks(walk)
        if exempt is None or (exempt and flow.translated and here):
            return _as_kept(node, flow, walk, UNTRACKED, stage, leg)
        mark = walk.arrival.mark if walk.arrival is not None else mark
        tracked = tracked and not exempt
    return None


def _told(
    scene: Scene, node: str, found: NodeRules, flow: Flow, kept: Kept, stage: node_walk.Stage, *, moved: bool
) -> Kept:
    """A packet that a node keeps back, with what its sender hears of that: a REJECT's answer meets rules as well.

    `moved`: it has another destination by then.
    """
    if not kept.walk.rejected:
        return kept if kept.walk.rejected is False else _unheard(kept, UNHEARD)
    reset = resets(kept.walk)
    lost = node_walk.refusal(scene, node, found, flow, stage, reset=reset)
    if reset and kept.walk.packet.direction == "inbound" and (moved or lost is not None):
        return _unheard(kept, _OVER_A_BRIDGE)
    if lost is None:
        return replace(kept, refused=True)
    if lost.verdict == "dropped":
        why = f"{kept.why}, and so is the answer that says it: {stopped(lost)}"
        evidence = (*kept.hop.evidence, *proof_of(lost))
        return replace(kept, why=why, hop=replace(kept.hop, decision=why, evidence=evidence))
    return _unheard(kept, f"whether its sender hears of that cannot be told: {_open(lost)}")


_OVER_A_BRIDGE = (
    "where it came over a bridge, the TCP reset that says so is sent straight back, past all rules and with an address "
    "that its sender did not call; whether it did is not recorded"
)
"""Source: nf_reject_ipv4.c, nf_send_reset (``nf_bridge_get_physindev``); seen with Linux 6.18 and br_netfilter."""


def _unheard(kept: Kept, doubt: str) -> Kept:
    """A packet that is kept back for sure, of which its sender may hear or not."""
    why = f"{kept.why}; {doubt}"
    return replace(kept, why=why, hop=replace(kept.hop, decision=why, mood="warn"), refused=None)


def _stops(walk: Walk) -> bool:
    return walk.verdict == "undecided" or (walk.verdict == "dropped" and "/" in walk.dropped_by)


def _as_kept(node: str, flow: Flow, walk: Walk, doubt: str, stage: node_walk.Stage, leg: Leg) -> Kept:
    doubt = _open(walk) if walk.verdict == "undecided" else doubt
    place = f"{flow.place}:{flow.port}"
    what = f"the answers of {place}" if leg == "answer" else f"it to {place}"
    if flow.proto == "udp":
        what = f"the answer of {place}" if leg == "answer" else f"the question to {place}"
    elif "later" in leg:
        what = f"the connection's further packets {'of' if 'answer' in leg else 'to'} {place}"
    elif leg == "first" and stage.hook == "INPUT":
        what = f"what is for {place}"
    does, do = _VERBS.get(stage.hook, ("forwards", "forward"))
    if doubt:
        why = f"whether node {node} {does} {what} cannot be told: {doubt}"
        if walk.verdict == "dropped":
            why += f" ({'they' if leg != 'first' and flow.proto == 'tcp' else 'it'} would be {stopped(walk)})"
        return Kept(why, walk, _hop(node, why, walk, "warn"), False, leg)
    why = f"node {node} does not {do} {what}: {stopped(walk)}"
    return Kept(why, walk, _hop(node, why, walk, "bad"), True, leg)


_VERBS = {"INPUT": ("lets in", "let in"), "OUTPUT": ("sends", "send")}


def _is_pods_own(station: Station, address: str) -> bool:
    return not station.pod.host_network and address in (*station.pod.ips, station.pod.ip)


def _doubt(node: str, found: NodeRules, flow: Flow, there: str) -> str:
    """Why a drop is none for sure; empty where it is.

    Between two pods of a bridge packets meet FORWARD only where br_netfilter is on, without which no translated
    connection works there: its answers do not come back through the node, and are not translated.
    """
    if not flow.known:
        return f"who answers behind {flow.place} is not recorded"
    bridged = node_walk.device(found, flow.place) == node_walk.device(found, flow.station.pod.ip)
    unseen = there == "" and found.routes is not None
    if bridged and not flow.translated and (unseen or there == node == flow.station.pod.node):
        return (
            "both pods are on one bridge, and whether its packets meet the node's rules (br_netfilter) is not recorded"
        )
    return ""


def _open(walk: Walk) -> str:
    notes = (note for note in walk.notes if "destination" in note)
    return walk.undecided_because or next(notes, "its rules leave that open")


def _hop(node: str, why: str, walk: Walk, mood: Literal["plain", "bad", "warn"]) -> Hop:
    return Hop("rules", "node", node, "the node's rules", why, (), proof_of(walk), mood)

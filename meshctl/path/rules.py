"""The packets of a connection at a pod: walked through its rules on their way out, in, and to the application."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Literal

from meshctl.netfilter.addresses import address_number, address_text
from meshctl.netfilter.packet import Packet
from meshctl.netfilter.routing import lookup
from meshctl.netfilter.verdict import Walk
from meshctl.netfilter.walk import Walker, walker
from meshctl.path import replies
from meshctl.path.model import Hop
from meshctl.path.netns import is_loopback, listens
from meshctl.path.passage import Passage, is_own, proof_of, read, stopped, straight, without_rules
from meshctl.path.scene import Owner, Scene, Station
from meshctl.path.settled import with_client_ports
from meshctl.path.sight import alike, number_of

SENDING_PORT = 40000
"""The source port of the packet that is walked: rules of a mesh do not look at it."""


PROXY_MARK = 1337
"""What a proxy puts on connections that it opens in a client's name (``inboundTProxyMark`` in ProxyConfig)."""
ZTUNNEL_MARK = 0x539
"""What ztunnel puts on its sockets, so that the pod's rules know them (istio/ztunnel, ``PACKET_MARK``)."""


def outbound(scene: Scene, station: Station, owner: Owner, address: str, port: int, mark: int = 0) -> Passage:
    """Walk the first packet of a connection that a process of the pod opens, and the answer to it."""
    own = is_own(station, address)
    place = address if own else alike(scene, station, address, port)
    key = ("outbound", station.key, owner.uid, owner.gid, mark, place, port if own else None)
    return _cached(scene, key, lambda: _outbound(scene, station, owner, address, port, mark))


def no_route(station: Station, address: str) -> str:
    """Why a pod's connection ends before any rule: its routes, all known, lead nowhere; empty where they may not."""
    version, number = number_of(address)
    network = station.network
    ours = (r for r in network.routes if r.version == version and r.table != "local" and r.kind == "unicast")
    if not network.complete or (version == 6 and all(r.network.address >> 118 == 0x3FA for r in ours)):
        return ""  # a listing may be of IPv4 only
    way = lookup(network, version, number)
    if way.unsure or way.kind not in ("none", "blackhole", "unreachable", "prohibit"):
        return ""
    lacks = "has no route" if way.kind == "none" else f"has a route of kind {way.kind}"
    return f"{station.key} {lacks} to {address}: no packet is sent"


def inbound(scene: Scene, station: Station, source: str | None, address: str, port: int) -> Passage:
    """Walk the first packet of a connection that comes to the pod from outside of it, and the answer to it."""
    key = ("inbound", station.key, alike(scene, station, source or address, port), address, port)
    return _cached(scene, key, lambda: _inbound(scene, station, source, address, port))


def _cached(scene: Scene, key: object, walked: Callable[[], Passage]) -> Passage:
    found = scene.cache.get(key)
    if not isinstance(found, Passage):
        found = walked()
        scene.cache[key] = found
    return found


def ready_walker(scene: Scene, station: Station) -> Walker:
    """A pod's rules made ready for its packets, once."""
    key = ("walker", station.key)
    if key not in scene.cache:
        scene.cache[key] = walker(tuple(map(with_client_ports, station.rulesets)), station.network)
    found = scene.cache[key]
    assert isinstance(found, Walker)
    return found


def own_address(station: Station, version: int) -> int:
    """The pod's own address of a family as a number, 0 where it has none."""
    for text in (station.pod.ip, *station.pod.ips):
        if text and number_of(text)[0] == version:
            return number_of(text)[1]
    return 0


def sent_by(
    owner: Owner, version: Literal[4, 6], source: int, target: int, port: int, proto: Literal["tcp", "udp"] = "tcp"
) -> Packet:
    """The first packet that a process sends."""
    return Packet(
        direction="outbound",
        version=version,
        proto=proto,
        src=source,
        dst=target,
        sport=SENDING_PORT,
        dport=port,
        uid=owner.uid,
        gid=owner.gid,
        owner_known=owner.uid is not None and owner.gid is not None,
        flags=("SYN",) if proto == "tcp" else None,
    )


def _outbound(scene: Scene, station: Station, owner: Owner, address: str, port: int, mark: int) -> Passage:
    if station.pod.host_network:
        why = "the pod uses the node's network: no rules of a mesh there"
        return Passage("straight", Hop("rules", "caller", station.key, "outbound rules", why), None, why)
    if station.rules_from == "none":
        return without_rules(station, "caller")
    version, number = number_of(address)
    local = is_own(station, address)
    source = number if is_loopback(address) else own_address(station, version)
    packet = replace(sent_by(owner, version, source, number, port), out_interface="lo" if local else None, mark=mark)
    walk = ready_walker(scene, station).walk(packet)
    passage = _heard(scene, station, walk, read(station, walk, "caller", "outbound rules", _owner_fact(owner)))
    if replies.can_stop(scene, station) and passage.kind not in ("dropped", "undecided"):
        answer = partial(_answer_to_own, scene, station, passage=passage, local=local)
        return _both_ways(scene, station, packet, passage, answer)
    return passage


def _inbound(scene: Scene, station: Station, source: str | None, address: str, port: int) -> Passage:
    if station.pod.host_network:
        return straight(station, "the pod uses the node's network: no rules of a mesh there")
    if station.rules_from == "none":
        return without_rules(station, "callee")
    version, number = number_of(address)
    packet = Packet(
        direction="inbound",
        version=version,
        proto="tcp",
        src=_arriving(station, version, source),
        dst=number,
        sport=SENDING_PORT,
        dport=port,
        in_interface=_interface(station, version, number),
        flags=("SYN",),
    )
    walk = ready_walker(scene, station).walk(packet)
    passage = _heard(scene, station, walk, read(station, walk, "callee", "inbound rules", ()))
    if replies.can_stop(scene, station) and passage.kind not in ("dropped", "undecided"):
        answer = partial(_answer_to_others, scene, station, passage=passage)
        return _both_ways(scene, station, packet, passage, answer)
    return passage


def _heard(scene: Scene, station: Station, walk: Walk, passage: Passage) -> Passage:
    """A passage with what its sender hears where the rules reject it: the answer that says so meets them as well."""
    if not passage.refused or (lost := replies.refusal(scene, station, walk)) is None:
        return passage
    proof = (*passage.hop.evidence, *proof_of(lost))
    if lost.verdict == "undecided":
        why = f"{passage.why}; whether its sender hears of that cannot be told: {lost.undecided_because}"
        return Passage("undecided", replace(passage.hop, decision=why, evidence=proof, mood="warn"), None, why)
    why = f"{passage.why}, and so is the answer that says it: {stopped(lost)}"
    return replace(passage, hop=replace(passage.hop, decision=why, evidence=proof), why=why, refused=False)


def _answer_to_own(scene: Scene, station: Station, sent: Packet, passage: Passage, local: bool) -> Walk | None:
    """The walk of the answer to a connection of the pod's own where it does not arrive."""
    ready = ready_walker(scene, station)
    back = replace(sent, direction="inbound", src=sent.dst, dst=sent.src or 0, sport=sent.dport, dport=sent.sport)
    back = replace(back, out_interface=None, uid=None, gid=None, owner_known=True, mark=0)
    if passage.to is not None:
        return None
    if passage.kind == "straight" and not local:
        return replies.lost(scene, station, ready, replace(back, in_interface="eth0"), "in")
    from_socket = replace(back, direction="outbound", out_interface="lo")
    if passage.kind == "straight":
        return replies.lost(scene, station, ready, _sent_by(station, from_socket, passage), "lo")
    loopback = 0x7F000001 if sent.version == 4 else 1
    from_proxy = replace(_sent_by(station, from_socket, passage), src=loopback, sport=passage.port)
    leaving = replies.lost(scene, station, ready, from_proxy, "out")
    return leaving or replies.lost(scene, station, ready, replace(back, in_interface="lo"), "in")


def _answer_to_others(scene: Scene, station: Station, came: Packet, passage: Passage) -> Walk | None:
    """The walk of the answer to a connection from outside of the pod where it does not leave the pod."""
    port = passage.port if passage.port and not passage.transparent else came.dport
    if passage.to is not None:
        return None
    back = replace(came, direction="outbound", src=came.dst, dst=came.src or 0, sport=port, dport=came.sport)
    back = _sent_by(station, replace(back, in_interface=None), passage)
    return replies.lost(scene, station, ready_walker(scene, station), back, "out")


def _sent_by(station: Station, packet: Packet, passage: Passage) -> Packet:
    """A packet of the socket that took a connection."""
    match passage.kind:
        case "proxy":
            return replace(packet, uid=station.proxy_uid, gid=station.proxy_gid, owner_known=True)
        case "ztunnel":
            return replace(packet, owner_known=False, mark=ZTUNNEL_MARK)
        case _:
            address, port = address_text(packet.version, packet.src or 0), packet.sport or 0
            found = listens(station.sockets or (), address, port)
            return replace(packet, uid=found.uid if found else None, owner_known=False)


def _answered(passage: Passage, walk: Walk | None) -> Passage:
    """A passage whose answers the rules keep back, or may."""
    if walk is None:
        return passage
    proof = proof_of(walk)
    if walk.verdict == "undecided":
        why = f"whether the answers come through cannot be told: {walk.undecided_because}"
        hop = replace(passage.hop, decision=why, evidence=(*passage.hop.evidence, *proof), mood="warn", arrow="")
        return Passage("undecided", hop, None, why)
    why = f"the answers are {stopped(walk)}, so the connection is never made"
    hop = replace(passage.hop, decision=why, evidence=(*passage.hop.evidence, *proof), mood="bad", arrow="")
    return Passage("dropped", hop, None, why)


def _both_ways(
    scene: Scene, station: Station, sent: Packet, passage: Passage, answer: Callable[[Packet], Walk | None]
) -> Passage:
    """A passage with what comes of the answer to a connection's first packet, and of the packets behind those."""
    passage = _answered(passage, answer(sent))
    if passage.kind in ("dropped", "undecided"):
        return passage
    later = replace(sent, flags=("ACK",), ctstate="ESTABLISHED")
    walk: Walk | None = ready_walker(scene, station).walk(later)
    if walk is None or walk.verdict not in ("dropped", "undecided"):
        walk = answer(later)
    if walk is None:
        return passage
    ends = f"its further packets are {stopped(walk)}"
    if walk.verdict == "undecided":
        ends = f"whether its further packets pass cannot be told: {walk.undecided_because}"
    why = f"the connection is made, and {ends}"
    proof = (*passage.hop.evidence, *proof_of(walk))
    return Passage("undecided", replace(passage.hop, decision=why, evidence=proof, mood="warn", arrow=""), None, why)


def to_application(
    scene: Scene, station: Station, owner: Owner, bound: str, address: str, port: int, mark: int = 0
) -> Passage | None:
    """Walk the first packet of the connection that the callee's proxy opens to the application, and the answer.

    `bound` is the source that it takes, empty where the kernel chooses one. None where there are no rules to walk.
    """
    if station.pod.host_network or station.rules_from == "none":
        return None
    key = ("to application", station.key, owner.uid, owner.gid, mark, bound, address, port)
    return _cached(scene, key, lambda: _to_application(scene, station, owner, bound, address, port, mark))


def _to_application(
    scene: Scene, station: Station, owner: Owner, bound: str, address: str, port: int, mark: int
) -> Passage:
    version, number = number_of(address)
    source = number_of(bound) if bound else (version, number)
    local = is_own(station, address)
    packet = sent_by(owner, version, source[1] if source[0] == version else number, number, port)
    packet = replace(packet, out_interface="lo" if local else None, mark=mark)
    walk = ready_walker(scene, station).walk(packet)
    title = "rules between the proxy and the application"
    passage = _heard(scene, station, walk, read(station, walk, "callee", title, ()))
    if passage.kind == "straight" and local and replies.can_stop(scene, station):
        answer = partial(_answer_to_own, scene, station, passage=passage, local=True)
        return _both_ways(scene, station, packet, passage, answer)
    return passage


_ELSEWHERE: Mapping[int, int] = {4: address_number("192.0.2.1")[1], 6: address_number("2001:db8::1")[1]}
"""Addresses of nobody's (RFC 5737, 3849): they stand for a client whose own is not known."""


def _arriving(station: Station, version: int, source: str | None) -> int:
    """The source address with which a packet from outside arrives.

    What a pod sends to itself by way of a Service comes back with an address of the node: kube-proxy masquerades it
    (``KUBE-SEP-...  -s ENDPOINT -j KUBE-MARK-MASQ``), for no machine takes a packet from its own address.
    """
    if source in (station.pod.ip, *station.pod.ips):
        source = station.pod.host_ip
    known = number_of(source) if source else (0, 0)
    return known[1] if known[0] == version else _ELSEWHERE[version]


def _interface(station: Station, version: int, number: int) -> str:
    return station.network.owner(version, number) or "eth0"


def _owner_fact(owner: Owner) -> tuple[str, ...]:
    if owner.uid is None:
        return ("whose process sends it is not known",)
    return (f"the sender is uid {owner.uid}" + (f", gid {owner.gid}" if owner.gid is not None else ""),)

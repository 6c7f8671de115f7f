"""A pod's packet rules as a station of the path: is the connection taken, and by whom?"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

from meshctl.frozen import dataclass
from meshctl.netfilter.addresses import address_number, address_text
from meshctl.netfilter.packet import Packet
from meshctl.netfilter.routing import lookup
from meshctl.netfilter.verdict import Step, Walk
from meshctl.netfilter.walk import Walker, walker
from meshctl.path import replies
from meshctl.path.model import End, Evidence, Hop
from meshctl.path.netns import is_loopback, listens
from meshctl.path.scene import Owner, Scene, Station
from meshctl.path.sight import alike, number_of

SENDING_PORT = 40000
"""The source port of the packet that is walked: rules of a mesh do not look at it."""


@dataclass(frozen=True, slots=True)
class Passage:
    """What the rules make of a connection: ``proxy`` and ``ztunnel`` take it at `port`, ``straight`` goes on as it is.

    `refused`: dropped with an answer to the sender (REJECT), not silently. `to`: where the rules send it instead of the
    address that it was sent to (DNAT). `transparent`: TPROXY hands it over, so that no address is translated.
    """

    kind: Literal["proxy", "ztunnel", "straight", "dropped", "undecided"]
    hop: Hop
    port: int | None = None
    why: str = ""
    refused: bool = False
    to: tuple[str, int] | None = None
    transparent: bool = False


PROXY_MARK = 1337
"""What a proxy puts on connections that it opens in a client's name (``inboundTProxyMark`` in ProxyConfig)."""
ZTUNNEL_MARK = 0x539
"""What ztunnel puts on its sockets, so that the pod's rules know them (istio/ztunnel, ``PACKET_MARK``)."""


def outbound(scene: Scene, station: Station, owner: Owner, address: str, port: int, mark: int = 0) -> Passage:
    """Walk the first packet of a connection that a process of the pod opens, and the answer to it."""
    own = _is_own(station, address)
    place = address if own else alike(scene, station, address, port)
    key = ("outbound", station.key, owner.uid, owner.gid, mark, place, port if own else None)
    return _cached(scene, key, lambda: _outbound(scene, station, owner, address, port, mark))


def _is_own(station: Station, address: str) -> bool:
    return is_loopback(address) or address in (*station.pod.ips, station.pod.ip)


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


def drop(passage: Passage) -> End:
    """How a connection ends that the rules drop."""
    broken: Literal["refused", "timeout"] = "refused" if passage.refused else "timeout"
    return End("nobody", delivered=False, mtls=None, broken=broken, why=passage.why, cause="rules")


def straight(station: Station, why: str) -> Passage:
    """A passage past no rules at all."""
    hop = Hop("rules", "callee", station.key, "the pod's rules", why, (), ())
    return Passage("straight", hop, None, why)


def ready_walker(scene: Scene, station: Station) -> Walker:
    """A pod's rules made ready for its packets, once."""
    key = ("walker", station.key)
    if key not in scene.cache:
        scene.cache[key] = walker(station.rulesets, station.network)
    found = scene.cache[key]
    assert isinstance(found, Walker)
    return found


def own_address(station: Station, version: int) -> int:
    """The pod's own address of a family as a number, 0 where it has none."""
    for text in (station.pod.ip, *station.pod.ips):
        if text and number_of(text)[0] == version:
            return number_of(text)[1]
    return 0


def _outbound(scene: Scene, station: Station, owner: Owner, address: str, port: int, mark: int) -> Passage:
    if station.pod.host_network:
        why = "the pod uses the node's network: no rules of a mesh there"
        return Passage("straight", Hop("rules", "caller", station.key, "outbound rules", why), None, why)
    if station.rules_from == "none":
        return _without_rules(station, "caller")
    version, number = number_of(address)
    own = address in (*station.pod.ips, station.pod.ip)
    local = own or is_loopback(address)
    packet = Packet(
        direction="outbound",
        version=version,
        proto="tcp",
        src=number if is_loopback(address) else own_address(station, version),
        dst=number,
        sport=SENDING_PORT,
        dport=port,
        out_interface="lo" if local else None,
        uid=owner.uid,
        gid=owner.gid,
        owner_known=owner.uid is not None and owner.gid is not None,
        flags=("SYN",),
        mark=mark,
    )
    passage = _passage(
        station, ready_walker(scene, station).walk(packet), "caller", "outbound rules", _owner_fact(owner)
    )
    if replies.can_stop(scene, station) and passage.kind not in ("dropped", "undecided"):
        return _answered(passage, _answer_to_own(scene, station, packet, passage, local))
    return passage


def _inbound(scene: Scene, station: Station, source: str | None, address: str, port: int) -> Passage:
    if station.pod.host_network:
        return straight(station, "the pod uses the node's network: no rules of a mesh there")
    if station.rules_from == "none":
        return _without_rules(station, "callee")
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
    passage = _passage(station, ready_walker(scene, station).walk(packet), "callee", "inbound rules", ())
    if replies.can_stop(scene, station) and passage.kind not in ("dropped", "undecided"):
        return _answered(passage, _answer_to_others(scene, station, packet, passage))
    return passage


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
    proof = tuple(evidence_of(step) for step in deciding(walk))
    if walk.verdict == "undecided":
        why = f"whether the answers come through cannot be told: {walk.undecided_because}"
        hop = replace(passage.hop, decision=why, evidence=(*passage.hop.evidence, *proof), mood="warn", arrow="")
        return Passage("undecided", hop, None, why)
    why = f"the answers are {stopped(walk)}, so the connection is never made"
    hop = replace(passage.hop, decision=why, evidence=(*passage.hop.evidence, *proof), mood="bad", arrow="")
    return Passage("dropped", hop, None, why)


def stopped(walk: Walk) -> str:
    """How the rules end a packet, and which: ``rejected by filter/OUTPUT rule 1``."""
    return f"{'rejected' if _rejects(walk) else 'dropped'} by {walk.dropped_by}"


def _rejects(walk: Walk) -> bool:
    steps = deciding(walk)
    return bool(steps) and "policy" not in walk.dropped_by and steps[-1].action.upper().startswith("REJECT")


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
    packet = Packet(
        direction="outbound",
        version=version,
        proto="tcp",
        src=source[1] if source[0] == version else number,
        dst=number,
        sport=SENDING_PORT,
        dport=port,
        out_interface="lo" if _is_own(station, address) else None,
        uid=owner.uid,
        gid=owner.gid,
        owner_known=owner.uid is not None and owner.gid is not None,
        flags=("SYN",),
        mark=mark,
    )
    walk = ready_walker(scene, station).walk(packet)
    passage = _passage(station, walk, "callee", "rules between the proxy and the application", ())
    if passage.kind == "straight" and _is_own(station, address) and replies.can_stop(scene, station):
        return _answered(passage, _answer_to_own(scene, station, packet, passage, True))
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


def _without_rules(station: Station, where: Literal["caller", "callee"]) -> Passage:
    title = "outbound rules" if where == "caller" else "inbound rules"
    if not station.has_proxy and station.mode != "ambient":
        why = "the pod is not in the mesh, so no rules take its connections"
        gap = station.gaps.get("netns/iptables-save.txt", "")
        facts = (f"assumed: {gap}",) if gap else ()
        return Passage("straight", Hop("rules", where, station.key, title, why, facts), None, why)
    if station.mode == "gateway":
        why = "a gateway has no rules: its proxy listens on the ports themselves"
        return Passage("straight", Hop("rules", where, station.key, title, why), None, why)
    why = station.gaps.get("netns/iptables-save.txt") or "the pod's rules were not recorded"
    return Passage(
        "undecided", Hop("rules", where, station.key, title, f"cannot be told: {why}", (), (), "warn"), None, why
    )


def _passage(
    station: Station, walk: Walk, where: Literal["caller", "callee"], title: str, facts: tuple[str, ...]
) -> Passage:
    assumed = station.rules_from == "assumed"
    if assumed:
        facts = (*facts, "assumed from the pod's arguments: the rules themselves were not seen")
    proof = tuple(evidence_of(step) for step in deciding(walk))

    def passage(
        kind: Literal["proxy", "ztunnel", "straight", "dropped", "undecided"],
        said: str,
        mood: Literal["plain", "good", "bad", "warn"] = "plain",
        port: int | None = None,
    ) -> Passage:
        arrow = f"to port {port}" if port else ""
        hop = Hop("rules", where, station.key, title, said, facts, proof, mood, arrow)
        return Passage(kind, hop, port, said, _rejects(walk), None, walk.verdict == "tproxied")

    match walk.verdict:
        case "redirected" | "tproxied":
            how = "redirected" if walk.verdict == "redirected" else "handed (TPROXY)"
            if (other := _other_program(station, walk.redirect_port)) and walk.verdict == "redirected":
                local = ("127.0.0.1" if walk.packet.version == 4 else "::1") if where == "caller" else station.pod.ip
                said = f"redirected to port {walk.redirect_port}, where {other} listens, not the proxy"
                return replace(passage("straight", said), to=(local, walk.redirect_port or 0))
            if station.mode == "ambient":
                return passage(
                    "ztunnel",
                    f"{how} to port {walk.redirect_port}: ztunnel's socket in the pod",
                    "plain",
                    walk.redirect_port,
                )
            return passage("proxy", f"{how} to the proxy, port {walk.redirect_port}", "plain", walk.redirect_port)
        case "dropped":
            return passage("dropped", stopped(walk), "bad")
        case "undecided":
            return passage("undecided", f"cannot be told: {walk.undecided_because}", "warn")
        case "accepted":
            moved = _moved(walk)
            if moved is None:
                return passage("straight", _accepted(station, walk))
            if moved == ("", 0):
                return passage("undecided", f"cannot be told: {_where_to(walk)}", "warn")
            address, port = moved
            said = f"sent to {show_address(address, port)} instead, by {_by(walk)}"
            if port in PROXY_PORTS and _is_own(station, address) and (station.has_proxy or station.mode == "ambient"):
                return passage("ztunnel" if station.mode == "ambient" else "proxy", said, "plain", port)
            return replace(passage("straight", said), to=moved)


PROXY_PORTS = (15001, 15006)
"""Where proxies take what the rules send them; a DNAT to one of them is as good as a REDIRECT."""


def _other_program(station: Station, port: int | None) -> str:
    """The program on a port which the rules redirect to, where it is none of the mesh's; empty where not known."""
    if port is None or port in PROXY_PORTS or station.sockets is None:
        return ""
    found = next((s.program for s in station.sockets if s.proto == "tcp" and s.port == port), "")
    return "" if found in ("envoy", "ztunnel", "pilot-agent") else found


def _moved(walk: Walk) -> tuple[str, int] | None:
    """Where the packet was sent instead; None where it stayed on its way, an empty address where chance decides."""
    sent, arrived = walk.packet, walk.arrival
    if arrived is None or (arrived.dst, arrived.dport) == (sent.dst, sent.dport):
        return None
    if arrived.dst is None or arrived.dport is None:
        return "", 0
    return address_text(sent.version, arrived.dst), arrived.dport


def _where_to(walk: Walk) -> str:
    return next((n for n in walk.notes if "destination" in n), "where the rules send it is left open")


def _by(walk: Walk) -> str:
    """The rule that gave the packet another destination."""
    changing = [s for s in deciding(walk) if any(c.field in ("dst", "dport") for c in s.changes)]
    return f"{changing[-1].chain} rule {changing[-1].rule}" if changing else "the rules"


def show_address(address: str, port: int) -> str:
    """``ADDRESS:PORT``, an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _accepted(station: Station, walk: Walk) -> str:
    deciding = [s for s in walk.steps if s.matched and s.table == "nat" and s.rule is not None]
    if not any(ruleset.tables and not ruleset.empty for ruleset in station.rulesets):
        return "no rules: the connection goes on as it is"
    if deciding:
        last = deciding[-1]
        return f"not taken: {last.chain} rule {last.rule} lets it pass ({last.why})"
    return "not taken: no rule is about it"


def deciding(walk: Walk) -> list[Step]:
    """The rules that matched, in order, without those that every packet meets on the way out."""
    return [step for step in walk.steps if step.matched and step.rule is not None]


def evidence_of(step: Step) -> Evidence:
    """The line of a rule that was met."""
    source, _, line = step.origin.rpartition(":")
    if line.isdecimal() and source:
        return Evidence(source, f"line {line}", step.text)
    return Evidence(step.origin, "", step.text)

"""A pod's packets to its nameservers: who takes the questions, and whether the answers come back."""

from dataclasses import replace

from meshctl.frozen import dataclass
from meshctl.netfilter.addresses import address_number
from meshctl.path import asking_nodes, replies
from meshctl.path.asking_nodes import Trouble
from meshctl.path.netns import is_loopback
from meshctl.path.passage import stopped
from meshctl.path.rules import SENDING_PORT, own_address, ready_walker, sent_by
from meshctl.path.scene import Owner, Scene, Station


@dataclass(frozen=True, slots=True)
class Asking:
    """What becomes of a pod's questions to its nameservers: `captured` by the proxy's agent, or `lost`, and why.

    `unsure` says why that cannot be told; `other`: a server that it did not ask may answer them.
    """

    captured: bool = False
    lost: str = ""
    unsure: str = ""
    other: bool = False


LOCAL = "127.0.0.1"
"""Whom resolvers ask where resolv.conf names nobody: glibc (resolv.conf(5)), musl and Go's alike."""


def servers(station: Station) -> tuple[str, ...]:
    """The nameservers that a pod asks; none where they are not recorded.

    A sandbox's record without any DNS setting leaves the node's resolv.conf in the pod (containerd).
    """
    resolver = station.resolver
    if resolver is None or resolver.servers:
        return resolver.servers if resolver is not None else ()
    return (LOCAL,) if resolver.search or resolver.source.endswith("resolv.conf") else ()


def lookups(scene: Scene, station: Station) -> Asking:
    """Walk the lookups of the application's (UDP), and the answers: lost are they where no server can be asked."""
    found = [_lookup(scene, station, server) for server in servers(station)]
    asked = [one for one in found if one is not None]
    good = (one for one in asked if not one.lost and not one.unsure)
    return next(good, None) or next((one for one in asked if one.unsure), asked[0] if asked else Asking())


def _lookup(scene: Scene, station: Station, server: str) -> Asking | None:
    try:
        address_number(server)
    except ValueError:
        return None
    inside = _past_own_rules(scene, station, server)
    if inside.captured or inside.lost:
        return inside
    beyond = _at_home(station, server) if is_loopback(server) else asking_nodes.trouble(scene, station, server)
    if beyond is None or (inside.unsure and not beyond.sure):
        return inside
    return Asking(lost=beyond.why) if beyond.sure else Asking(unsure=beyond.why, other=beyond.other)


def _at_home(station: Station, server: str) -> Trouble | None:
    """Whether nobody in the pod takes questions to an address of its own; None where somebody does.

    A listing of ss that names protocols is one of UDP as well.
    """
    resolver = station.resolver
    named = resolver is not None and bool(resolver.servers)
    why = "" if named else f"its resolv.conf names no nameserver, so that {server} is asked: "
    if station.sockets is None:
        return None if named else Trouble(f"{why}whether anything listens there is not recorded", False)
    at_port = [s for s in station.sockets if s.port == asking_nodes.DNS]
    if any(s.address in (server, "*", "0.0.0.0" if ":" not in server else "::") for s in at_port):
        return None
    if any(s.text.startswith(("tcp ", "udp ")) for s in station.sockets):
        return Trouble(f"{why}nothing listens on {server} port 53 in the pod", True)
    return None if named else Trouble(f"{why}whether anything listens there on udp/53 is not recorded", False)


def _past_own_rules(scene: Scene, station: Station, server: str) -> Asking:
    """What the pod's own rules make of a question and its answer."""
    meshed = station.has_proxy or station.mode == "ambient"
    stops = replies.can_stop(scene, station)
    if station.rules_from == "none" or station.pod.host_network or not (meshed or stops):
        return Asking()
    owner = next(iter(station.owners), Owner(None, None, ""))
    version, number = address_number(server)
    local = is_loopback(server)
    source = number if local else own_address(station, version)
    packet = sent_by(owner, version, source, number, asking_nodes.DNS, "udp")
    packet = replace(packet, out_interface="lo" if local else None)
    ready = ready_walker(scene, station)
    walk = ready.walk(packet)
    if walk.verdict == "redirected" or not stops:
        return Asking(captured=walk.verdict == "redirected")
    if walk.verdict == "dropped":
        return Asking(lost=f"the question to {server} (udp/53) is {stopped(walk)}")
    if walk.verdict == "undecided" and owner.uid is not None:
        return Asking(unsure=f"the question to {server} (udp/53): {walk.undecided_because}")
    back = replace(packet, direction="inbound", src=number, dst=packet.src or 0, sport=53, dport=SENDING_PORT)
    back = replace(back, in_interface="eth0", out_interface=None, uid=None, gid=None, owner_known=True)
    gone = replies.lost(scene, station, ready, back, "in") if not local else None
    if gone is None:
        return Asking()
    if gone.verdict == "dropped":
        return Asking(lost=f"the answer of {server} (udp/53) is {stopped(gone)}")
    return Asking(unsure=f"the answer of {server} (udp/53): {gone.undecided_because}")

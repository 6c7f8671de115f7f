"""A pod's packets to its nameservers: who takes the questions, and whether the answers come back."""

from collections.abc import Sequence
from dataclasses import replace

from meshctl.frozen import dataclass
from meshctl.netfilter.addresses import address_number
from meshctl.path import replies
from meshctl.path.netns import is_loopback
from meshctl.path.passage import stopped
from meshctl.path.rules import SENDING_PORT, own_address, ready_walker, sent_by
from meshctl.path.scene import Owner, Scene, Station


@dataclass(frozen=True, slots=True)
class Asking:
    """What becomes of a pod's questions to its nameservers: `captured` by the proxy's agent, or `lost`, and why."""

    captured: bool = False
    lost: str = ""
    unsure: str = ""


def lookups(scene: Scene, station: Station, servers: Sequence[str]) -> Asking:
    """Walk the lookups of the application's (UDP), and the answers: lost are they where no server can be asked."""
    meshed = station.has_proxy or station.mode == "ambient"
    stops = replies.can_stop(scene, station)
    if station.rules_from == "none" or station.pod.host_network or not (meshed or stops):
        return Asking()
    found = [_lookup(scene, station, server, stops) for server in servers]
    asked = [one for one in found if one is not None]
    if not asked or not any(one.lost or one.unsure for one in asked):
        return asked[0] if asked else Asking()
    return next((one for one in asked if not one.lost), asked[0])


def _lookup(scene: Scene, station: Station, server: str, stops: bool) -> Asking | None:
    owner = next(iter(station.owners), Owner(None, None, ""))
    try:
        version, number = address_number(server)
    except ValueError:
        return None
    packet = sent_by(owner, version, own_address(station, version), number, 53, "udp")
    ready = ready_walker(scene, station)
    walk = ready.walk(packet)
    if walk.verdict == "redirected" or not stops:
        return Asking(captured=walk.verdict == "redirected")
    if walk.verdict == "dropped":
        return Asking(lost=f"the question to {server} (udp/53) is {stopped(walk)}")
    if walk.verdict == "undecided" and owner.uid is not None:
        return Asking(unsure=f"the question to {server} (udp/53): {walk.undecided_because}")
    back = replace(packet, direction="inbound", src=number, dst=packet.src or 0, sport=53, dport=SENDING_PORT)
    back = replace(back, in_interface="eth0", uid=None, gid=None, owner_known=True)
    gone = replies.lost(scene, station, ready, back, "in") if not is_loopback(server) else None
    if gone is None:
        return Asking()
    if gone.verdict == "dropped":
        return Asking(lost=f"the answer of {server} (udp/53) is {stopped(gone)}")
    return Asking(unsure=f"the answer of {server} (udp/53): {gone.undecided_because}")

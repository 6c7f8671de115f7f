"""The packet while it is walked: what rules may ask about it, and what is not known and has to be supposed.

Mutable on purpose, and private to the walk. `Oracle` answers each question that the input leaves open; the walk is
repeated with other answers to see whether they matter (`meshctl.netfilter.walk`).
"""

from collections.abc import Hashable
from dataclasses import field
from typing import Literal

from meshctl.frozen import dataclass
from meshctl.netfilter.addresses import address_text
from meshctl.netfilter.packet import Packet
from meshctl.netfilter.routing import Network

PORTED = frozenset(("tcp", "udp", "sctp", "dccp", "udplite"))


class Oracle:
    """Answers open questions by a script; beyond its end every answer is no. A question asked again stays answered."""

    def __init__(self, script: tuple[bool, ...] = ()) -> None:
        self.script = script
        self.asked: list[str] = []
        self._answers: dict[Hashable, bool] = {}
        self._count = 0

    def choose(self, key: Hashable, question: str) -> bool:
        """Answer a question; the same `key` always gets the same answer."""
        if key not in self._answers:
            at = len(self.asked)
            self.asked.append(question)
            self._answers[key] = self.script[at] if at < len(self.script) else False
        return self._answers[key]

    def fresh(self) -> int:
        """A key for a question that may be answered otherwise the next time (chance, rates)."""
        self._count += 1
        return self._count


@dataclass(slots=True)
class Connection:
    """What conntrack knows of the packet's connection: its first tuple, its mark, and which translations are set up."""

    state: Literal["NEW", "ESTABLISHED", "RELATED"]
    origin: tuple[int | None, int | None, int | None, int | None]
    mark: int | None = 0
    zone: int = 0
    bound: set[str] = field(default_factory=set)
    source_changed: bool = False
    destination_changed: bool = False
    confirmed: bool = False


@dataclass(slots=True)
class Flight:
    """The packet's present state; addresses and ports are None where a rewrite leaves them open."""

    packet: Packet
    network: Network
    oracle: Oracle
    version: Literal[4, 6]
    proto: str
    src: int | None
    dst: int | None
    sport: int | None
    dport: int | None
    mark: int
    hook: str = ""
    in_interface: str = ""
    out_interface: str = ""
    here: bool = False
    """Whether the destination is this machine whatever its number (a REDIRECT to an address not known)."""
    connection: Connection | None = None
    untracked: bool = False
    zone: int | None = None
    template: bool = False
    """A zone was set, and conntrack has not run yet: a template stands in the connection's place."""
    socket: bool = False
    tproxy: int | None = None
    tproxied: bool = False
    redirected: bool = False
    sent_on: str = ""
    """The device that routing chose for a packet of this machine."""

    @property
    def tuple(self) -> tuple[int | None, int | None, int | None, int | None]:
        """Source and destination with their ports."""
        return self.src, self.dst, self.sport, self.dport

    def show(self, number: int | None) -> str:
        """An address as text."""
        return "an address not known" if number is None else address_text(self.version, number)

    def signature(self) -> Hashable:
        """What a question about this packet depends on."""
        return (*self.tuple, self.mark, self.in_interface, self.out_interface, self.hook)


def device_fits(pattern: str, name: str) -> bool:
    """Compare a device; a packet without one has the empty name, which only ``+`` fits (ip_packet_match)."""
    return name.startswith(pattern[:-1]) if pattern.endswith("+") else name == pattern


def take_off(packet: Packet, network: Network, oracle: Oracle) -> Flight:
    """The packet before its first hook."""
    proto = "ipv6-icmp" if packet.version == 6 and packet.proto == "icmp" else packet.proto
    return Flight(
        packet,
        network,
        oracle,
        packet.version,
        proto,
        packet.src,
        packet.dst,
        packet.sport,
        packet.dport,
        packet.mark,
        socket=packet.direction == "outbound" and packet.has_socket,
    )


_VALID = frozenset(
    frozenset(names)
    for names in (
        ("SYN",),
        ("SYN", "URG"),
        ("SYN", "ACK"),
        ("RST",),
        ("RST", "ACK"),
        ("FIN", "ACK"),
        ("FIN", "ACK", "URG"),
        ("ACK",),
        ("ACK", "URG"),
    )
)
"""Flags that conntrack lets through, PSH, ECE and CWR aside (nf_conntrack_proto_tcp.c, tcp_valid_flags)."""


def tracking_state(packet: Packet) -> str:
    """What conntrack calls a packet that belongs to no connection it knows: NEW or INVALID.

    Of TCP, a SYN and (nf_conntrack_tcp_loose) a plain ACK begin one; nothing else does (tcp_new).
    """
    if packet.ctstate is not None:
        return packet.ctstate.upper()
    if packet.proto != "tcp" or packet.flags is None:
        return "NEW"
    flags = frozenset(packet.flags) - {"PSH", "ECE", "CWR"}
    begins = flags in _VALID and not flags & {"RST", "FIN"} and flags != {"SYN", "ACK"}
    return "NEW" if begins else "INVALID"

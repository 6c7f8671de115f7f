"""What a rule may ask of a packet: the closed union `Match`, one class a clause.

Names follow iptables-extensions(8) and nft(8). A clause that no class describes is kept verbatim as `Opaque`; it can be
printed and emitted, never judged. All marks and masks are unsigned 32-bit integers.
"""

from dataclasses import field
from typing import Literal, TypeAlias

from meshctl.frozen import dataclass
from meshctl.netfilter.addresses import Prefix, Span

Side: TypeAlias = Literal["source", "destination", "either"]

ALL_BITS = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Protocol:
    """``-p tcp``, ``meta l4proto tcp``: `name` is the protocol's name, or its number where it has no common name."""

    name: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class NfProto:
    """``meta nfproto ipv6``: the packet's family, asked in an inet table."""

    family: Literal["ipv4", "ipv6"]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """``-s``, ``ip saddr``: in an inet table it also says that the packet is of the prefix' family."""

    network: Prefix
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Destination:
    """``-d``, ``ip daddr``."""

    network: Prefix
    negated: bool = False


@dataclass(frozen=True, slots=True)
class AddressRange:
    """``-m iprange --src-range A-B``, ``ip saddr A-B``: inclusive."""

    side: Literal["source", "destination"]
    version: Literal[4, 6]
    low: int
    high: int
    negated: bool = False


@dataclass(frozen=True, slots=True)
class InInterface:
    """``-i``, ``iifname``: a name; a trailing ``+`` (nft: ``*``, kept here as ``+``) is any continuation.

    `by_index` marks nft's ``iif``, which is bound to the device, not to its name.
    """

    name: str
    negated: bool = False
    by_index: bool = False


@dataclass(frozen=True, slots=True)
class OutInterface:
    """``-o``, ``oifname``: as `InInterface`."""

    name: str
    negated: bool = False
    by_index: bool = False


@dataclass(frozen=True, slots=True)
class Ports:
    """``--sport``, ``--dport``, ``--dports``, ``tcp dport``: any of the ranges.

    `protocol` is what the clause itself demands (``-m tcp``, nft's ``tcp dport``); empty for multiport and ``th``,
    which take every protocol with ports. `multi` says that it was written with ``-m multiport``.
    """

    side: Side
    ranges: tuple[Span, ...]
    negated: bool = False
    protocol: str = ""
    multi: bool = False


@dataclass(frozen=True, slots=True)
class TcpFlags:
    """``--tcp-flags MASK SET`` (``--syn`` is SYN of FIN,SYN,RST,ACK): of the flags in `mask` exactly `set` are on."""

    mask: tuple[str, ...]
    set: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class IcmpType:
    """``--icmp-type``, ``--icmpv6-type``: `number` None is any type; `code` None any code. `text` is as written."""

    protocol: Literal["icmp", "icmpv6"]
    number: int | None
    code: int | None = None
    negated: bool = False
    text: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Owner:
    """``-m owner``, ``meta skuid``: the sending socket's user or group lies in `ids` (None: a socket exists at all).

    A packet without a socket matches iptables' ``! --uid-owner`` (xt_owner.c) but no form of nft's ``skuid``
    (nft_meta.c breaks off): `strict` tells which of the two it is.
    """

    kind: Literal["uid", "gid", "socket"]
    ids: Span | None = None
    negated: bool = False
    strict: bool = False
    supplementary: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """``-m mark``, ``meta mark``: ``packet.mark & mask == value``."""

    value: int
    mask: int = ALL_BITS
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Connmark:
    """``-m connmark``, ``ct mark``: the connection's mark; false for a packet without a connection, negated or not."""

    value: int
    mask: int = ALL_BITS
    negated: bool = False


@dataclass(frozen=True, slots=True)
class CtState:
    """``--ctstate``, ``-m state --state``, ``ct state``: any of NEW ESTABLISHED RELATED INVALID UNTRACKED SNAT DNAT."""

    states: tuple[str, ...]
    negated: bool = False
    module: Literal["conntrack", "state"] = "conntrack"


@dataclass(frozen=True, slots=True)
class CtField:
    """Another option of ``-m conntrack`` (ctorigdst, ctproto, ctstatus, ctdir ...), or of nft's ``ct``.

    `beside_state`: written in one ``-m conntrack`` with ``--ctstate``, which makes it true for a packet without a
    connection (xt_conntrack.c, conntrack_mt).
    """

    field: str
    value: str
    negated: bool = False
    beside_state: bool = False


@dataclass(frozen=True, slots=True)
class AddrType:
    """``-m addrtype``, ``fib daddr type``: what the routing tables call the address (LOCAL, UNICAST, BROADCAST ...).

    `native` is nft's: there an IPv6 address of this machine is LOCAL only, with iptables it is UNICAST as well.
    """

    side: Literal["source", "destination"]
    types: tuple[str, ...]
    negated: bool = False
    limit: Literal["", "in", "out"] = ""
    native: bool = False


@dataclass(frozen=True, slots=True)
class Socket:
    """``-m socket``: an open socket would receive this packet; `options` are --transparent, --nowildcard ..."""

    options: tuple[str, ...] = ()
    negated: bool = False


@dataclass(frozen=True, slots=True)
class IpSet:
    """``-m set --match-set NAME src,dst``: an ipset, whose members no dump of rules shows."""

    name: str
    directions: tuple[str, ...]
    negated: bool = False
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comment:
    """``-m comment``: always true."""

    text: str


@dataclass(frozen=True, slots=True)
class Statistic:
    """``-m statistic``: true by chance (`probability`) or for every n-th packet (`every`, from `packet` on)."""

    mode: Literal["random", "nth"]
    probability: str = ""
    every: int = 0
    packet: int = 0
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Accounting:
    """``-m nfacct``: counts into a named object and is true (an object with a quota aside)."""

    name: str


@dataclass(frozen=True, slots=True)
class Fragment:
    """``-f``: a second or later fragment; connection tracking has put those together before."""

    negated: bool = False


@dataclass(frozen=True, slots=True)
class Module:
    """A match module named without an option that asks something, as in ``-p tcp -m tcp -j ACCEPT``."""

    name: str


@dataclass(frozen=True, slots=True)
class External:
    """A known match whose answer lies outside of packet and rules: limit, recent, hashlimit, time, physdev, mac ...

    `options` are its words as written, negations included.
    """

    module: str
    options: tuple[str, ...] = ()


Element: TypeAlias = Prefix | Span | str
"""One field of a set's element: a network, a range of numbers, or a word (interface, protocol, state)."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """nft: the packet's `fields` (``ip saddr``, ``tcp dport``, concatenated) are in a set.

    The set is named (`name`, its elements are in `Table.sets`) or stands in the rule (`elements`).
    """

    fields: tuple[str, ...]
    elements: tuple[tuple[Element, ...], ...] = ()
    name: str = ""
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Opaque:
    """A clause meshctl can print but not judge; kept verbatim, never dropped. `xt` is the name nft shows of it."""

    text: str
    xt: str = ""


Match: TypeAlias = (
    Protocol
    | NfProto
    | Source
    | Destination
    | AddressRange
    | InInterface
    | OutInterface
    | Ports
    | TcpFlags
    | IcmpType
    | Owner
    | Mark
    | Connmark
    | CtState
    | CtField
    | AddrType
    | Socket
    | IpSet
    | Comment
    | Statistic
    | Accounting
    | Fragment
    | Module
    | External
    | Lookup
    | Opaque
)

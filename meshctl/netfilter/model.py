"""The nouns of netfilter: rulesets, tables, chains, rules, and the closed unions of matches and targets.

One vocabulary for what ``iptables-save`` prints and what ``nft -j list ruleset`` lists, so that explaining, comparing
and walking need not know which tool was asked. A clause that no class describes is kept verbatim as `Opaque`; it can
be printed and emitted, never judged. Clauses keep the order of the text: matches are ANDed in that order.

Names follow iptables-extensions(8) and nft(8). All marks and masks are unsigned 32-bit integers.
"""

from collections.abc import Iterator
from dataclasses import field
from functools import lru_cache
from ipaddress import ip_address
from typing import Literal, TypeAlias

from meshctl.frozen import dataclass
from meshctl.origin import Origin

Family: TypeAlias = Literal["ipv4", "ipv6", "inet"]
Backend: TypeAlias = Literal["nft", "legacy", "nftables"]
Side: TypeAlias = Literal["source", "destination", "either"]

NFT_FAMILIES = {"ipv4": "ip", "ipv6": "ip6", "inet": "inet"}
"""How nft (and a walk's steps) call the families."""

ALL_BITS = 0xFFFFFFFF

NOWHERE = Origin("")
"""The origin of a rule that was made, not read."""


@lru_cache(maxsize=65536)
def address_number(text: str) -> tuple[Literal[4, 6], int]:
    """The IP version and the number of an address; ValueError where it is none."""
    address = ip_address(text)
    return (4 if address.version == 4 else 6), int(address)


@lru_cache(maxsize=65536)
def address_text(version: int, number: int) -> str:
    """An address as the tools print it; an IPv4-mapped tail in IPv6 is not printed dotted."""
    if version == 4:
        return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
    from ipaddress import IPv6Address

    return str(IPv6Address(number))


@dataclass(frozen=True, slots=True)
class Prefix:
    """A network: the bits of `address` under `mask`; a mask need not be contiguous (iptables allows it)."""

    version: Literal[4, 6]
    address: int
    mask: int

    @property
    def length(self) -> int | None:
        """The prefix length, None for a mask with holes."""
        width = 32 if self.version == 4 else 128
        ones = self.mask.bit_count()
        return ones if self.mask == ((1 << ones) - 1) << (width - ones) else None

    @property
    def is_host(self) -> bool:
        """Whether it is a single address."""
        return self.mask == (1 << (32 if self.version == 4 else 128)) - 1

    def contains(self, version: int, number: int) -> bool:
        """Whether an address lies in it."""
        return version == self.version and number & self.mask == self.address & self.mask

    def __str__(self) -> str:
        length = self.length
        tail = str(length) if length is not None else address_text(self.version, self.mask)
        return f"{address_text(self.version, self.address)}/{tail}"


@lru_cache(maxsize=65536)
def prefix(text: str) -> Prefix:
    """Read ``10.0.0.0/8``, ``10.0.0.1``, ``10.0.0.0/255.0.0.0`` or the IPv6 forms; ValueError for anything else."""
    head, slash, tail = text.partition("/")
    version, number = address_number(head)
    width = 32 if version == 4 else 128
    if not slash:
        mask = (1 << width) - 1
    elif tail.isdigit():
        length = int(tail)
        if length > width:
            raise ValueError(f"{text!r} has a prefix length over {width}")
        mask = ((1 << length) - 1) << (width - length)
    else:
        mask_version, mask = address_number(tail)
        if mask_version != version:
            raise ValueError(f"{text!r} mixes IPv4 and IPv6")
    return Prefix(version, number & mask, mask)


@dataclass(frozen=True, slots=True)
class Span:
    """An inclusive range of numbers (ports, ids, addresses in a set)."""

    low: int
    high: int

    def __contains__(self, number: int) -> bool:
        return self.low <= number <= self.high

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low}:{self.high}"


def span(low: int, high: int | None = None) -> Span:
    """One number, or the numbers from `low` to `high`."""
    return Span(low, low if high is None else high)


# --- matches -----------------------------------------------------------------------------------------------------


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

# --- targets -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Jump:
    """``-j CHAIN``: comes back where that chain ends or returns."""

    chain: str


@dataclass(frozen=True, slots=True)
class Goto:
    """``-g CHAIN``: does not come back to this chain, but to the one that jumped here."""

    chain: str


@dataclass(frozen=True, slots=True)
class Return:
    """Back to the calling chain; in a base chain, its policy."""


@dataclass(frozen=True, slots=True)
class Accept:
    """Done with this base chain; those of later priorities still see the packet."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The packet is gone."""


@dataclass(frozen=True, slots=True)
class Reject:
    """The packet is gone and its sender is told; `kind` as in ``--reject-with``, empty for the default."""

    kind: str = ""


@dataclass(frozen=True, slots=True)
class Queue:
    """``NFQUEUE``, ``queue``: a program outside of the kernel decides."""

    options: tuple[str, ...] = ()
    name: str = "NFQUEUE"


@dataclass(frozen=True, slots=True)
class Redirect:
    """To this machine: 127.0.0.1 or ::1 in OUTPUT, else the incoming interface's first address.

    `ports` None keeps the port (nf_nat_redirect.c).
    """

    ports: Span | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dnat:
    """A new destination: the addresses `low`..`high` (None keeps the address), `ports` (None keeps the port).

    `expression` is an nft map or number generator that chooses the address, verbatim; then `low` is None.
    """

    version: Literal[4, 6] | None = None
    low: int | None = None
    high: int | None = None
    ports: Span | None = None
    flags: tuple[str, ...] = ()
    expression: str = ""


@dataclass(frozen=True, slots=True)
class Snat:
    """A new source; as `Dnat`."""

    version: Literal[4, 6] | None = None
    low: int | None = None
    high: int | None = None
    ports: Span | None = None
    flags: tuple[str, ...] = ()
    expression: str = ""


@dataclass(frozen=True, slots=True)
class Masquerade:
    """The outgoing interface's address becomes the source."""

    ports: Span | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Netmap:
    """The network part of the address is replaced (destination in PREROUTING and OUTPUT, source elsewhere)."""

    network: Prefix


@dataclass(frozen=True, slots=True)
class Tproxy:
    """Hands the packet to the transparent socket on `port` without touching the packet.

    iptables' TPROXY also sets ``mark = mark & ~mask ^ value``, and accepts; nft's (`plain`) does neither.
    """

    port: int | None
    address: str = ""
    value: int = 0
    mask: int = 0
    version: Literal[4, 6] | None = None
    plain: bool = False


@dataclass(frozen=True, slots=True)
class SetMark:
    """``MARK --set-xmark value/mask``, ``meta mark set``: ``mark & ~mask ^ value``."""

    value: int
    mask: int = ALL_BITS


@dataclass(frozen=True, slots=True)
class SetConnmark:
    """``CONNMARK --set-xmark value/mask``, ``ct mark set``: ``ctmark & ~mask ^ value``."""

    value: int
    mask: int = ALL_BITS


@dataclass(frozen=True, slots=True)
class SaveMark:
    """``CONNMARK --save-mark``: ``ctmark & ~ctmask ^ (mark & nfmask)``."""

    nfmask: int = ALL_BITS
    ctmask: int = ALL_BITS


@dataclass(frozen=True, slots=True)
class RestoreMark:
    """``CONNMARK --restore-mark``: ``mark & ~nfmask ^ (ctmark & ctmask)``."""

    nfmask: int = ALL_BITS
    ctmask: int = ALL_BITS


@dataclass(frozen=True, slots=True)
class CtZone:
    """``CT --zone N``, ``ct zone set``: the connection is looked up in this zone. The first such rule wins."""

    zone: int
    direction: Literal["", "orig", "reply"] = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Notrack:
    """``CT --notrack``, ``NOTRACK``, ``notrack``: no connection tracking, hence no nat, for this packet."""

    spelling: str = "CT"


@dataclass(frozen=True, slots=True)
class Passive:
    """A target that neither decides nor changes what later rules ask: LOG, NFLOG, TRACE, TCPMSS, CHECKSUM ..."""

    name: str
    options: tuple[str, ...] = ()


VerdictTarget: TypeAlias = Jump | Goto | Return | Accept | Drop


@dataclass(frozen=True, slots=True)
class VerdictMap:
    """nft ``vmap``: the packet's fields choose a verdict; where none fits the rule goes on to the next."""

    fields: tuple[str, ...]
    entries: tuple[tuple[tuple[Element, ...], VerdictTarget], ...] = ()
    name: str = ""


Target: TypeAlias = (
    Jump
    | Goto
    | Return
    | Accept
    | Drop
    | Reject
    | Queue
    | Redirect
    | Dnat
    | Snat
    | Masquerade
    | Netmap
    | Tproxy
    | SetMark
    | SetConnmark
    | SaveMark
    | RestoreMark
    | CtZone
    | Notrack
    | Passive
    | VerdictMap
    | Opaque
)

# --- containers --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: where all `matches` hold, `also` is done in order (nft allows several actions), then `target`.

    `target` None only counts. `text` is the rule as the tool prints it, without counters. `packets` and `bytes` are
    None where the dump has no counters (in nft: the rule has no counter).
    """

    chain: str
    matches: tuple[Match, ...] = ()
    target: Target | None = None
    packets: int | None = None
    bytes: int | None = None
    text: str = ""
    origin: Origin = NOWHERE
    also: tuple[Target, ...] = ()
    handle: int | None = None

    @property
    def comment(self) -> str:
        """The text of its comment, empty where there is none."""
        return next((clause.text for clause in self.matches if isinstance(clause, Comment)), "")

    @property
    def targets(self) -> tuple[Target, ...]:
        """Everything it does, in order."""
        return self.also if self.target is None else (*self.also, self.target)

    @property
    def opaque(self) -> tuple[Opaque, ...]:
        """Its clauses that meshctl cannot judge."""
        return tuple(part for part in (*self.matches, *self.targets) if isinstance(part, Opaque))


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain; `hook` (PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING ...) is None for one that is only jumped to.

    `policy` is ACCEPT or DROP for a base chain, None otherwise.
    """

    name: str
    rules: tuple[Rule, ...] = ()
    hook: str | None = None
    type: str | None = None
    priority: int | None = None
    policy: str | None = None
    packets: int | None = None
    bytes: int | None = None
    origin: Origin = NOWHERE
    handle: int | None = None
    device: str = ""


@dataclass(frozen=True, slots=True)
class NamedSet:
    """An nft set or map; `values` runs beside `elements` for a map (verdicts, or the words of a data map)."""

    name: str
    kind: Literal["set", "map"] = "set"
    key: tuple[str, ...] = ()
    elements: tuple[tuple[Element, ...], ...] = ()
    values: tuple[VerdictTarget | str, ...] = ()
    flags: tuple[str, ...] = ()
    origin: Origin = NOWHERE


@dataclass(frozen=True, slots=True)
class Table:
    """A table; `extra` are its objects that meshctl keeps but does not read (flowtables, quotas, counters)."""

    name: str
    chains: tuple[Chain, ...] = ()
    sets: tuple[NamedSet, ...] = ()
    origin: Origin = NOWHERE
    handle: int | None = None
    extra: tuple[Opaque, ...] = ()

    def chain(self, name: str) -> Chain | None:
        """The chain of that name."""
        return next((chain for chain in self.chains if chain.name == name), None)

    @property
    def rules(self) -> Iterator[Rule]:
        """Every rule, chain by chain."""
        for chain in self.chains:
            yield from chain.rules


@dataclass(frozen=True, slots=True)
class Ruleset:
    """All tables of one family as one tool shows them.

    `backend` is nft or legacy for iptables' own tables (`through_nft`: seen with nft instead of iptables-save, so
    that matches and targets may be known by name only), nftables for native ones. `remarks` are things to tell the
    reader: a dump that breaks off, a comment that iptables-save left about tables it cannot show.
    """

    family: Family
    backend: Backend
    tables: tuple[Table, ...] = ()
    source: str = ""
    through_nft: bool = False
    remarks: tuple[str, ...] = ()

    def table(self, name: str) -> Table | None:
        """The table of that name."""
        return next((table for table in self.tables if table.name == name), None)

    @property
    def rules(self) -> Iterator[tuple[Table, Chain, int, Rule]]:
        """Every rule with its table, chain and 1-based number."""
        for table in self.tables:
            for chain in table.chains:
                for number, rule in enumerate(chain.rules, 1):
                    yield table, chain, number, rule

    @property
    def empty(self) -> bool:
        """Whether it holds no rule at all (a chain's policy other than ACCEPT aside)."""
        return not any(True for _ in self.rules)


HOOKS = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")

TABLE_PRIORITIES = {"raw": -300, "mangle": -150, "nat": -100, "filter": 0, "security": 50}
"""Hook priorities of iptables' tables (linux/netfilter_ipv4.h); nat's in INPUT and POSTROUTING is 100.

iptables-nft registers security at 150 (iptables/nft.c), so that it comes after nat INPUT instead of before.
"""

BUILT_IN = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": HOOKS,
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}
"""The base chains of iptables' tables."""


def hook_priority(table: str, hook: str, backend: Backend = "nft") -> int | None:
    """The priority of an iptables base chain, None for a table that iptables does not know."""
    if table == "nat" and hook in ("INPUT", "POSTROUTING"):
        return 100
    if table == "security" and backend != "legacy":
        return 150
    return TABLE_PRIORITIES.get(table)

"""What the match modules of iptables ask: options to clauses, as iptables-extensions(8) has their names and defaults.

`MODULES` says how each module's options read. A reader that meets an option or value it does not know raises ValueError
(or KeyError, IndexError), and the caller keeps the clause verbatim as `Opaque`.
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

from meshctl.netfilter import matches as m
from meshctl.netfilter.addresses import Span, address_number
from meshctl.netfilter.iptables_options import Option, Options, masked, number, port_range, port_ranges
from meshctl.netfilter.protocols import icmp_type

Reader: TypeAlias = Callable[[Options], tuple[m.Match, ...]]
"""Makes clauses of one module's options."""

_SIDES: dict[str, Literal["source", "destination", "either"]] = {
    "--sport": "source",
    "--source-port": "source",
    "--sports": "source",
    "--source-ports": "source",
    "--dport": "destination",
    "--destination-port": "destination",
    "--dports": "destination",
    "--destination-ports": "destination",
    "--ports": "either",
    "--port": "either",
}

_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG")

SYN_MASK = ("FIN", "SYN", "RST", "ACK")


def flag_names(text: str) -> tuple[str, ...]:
    """``SYN,ACK``, ``ALL`` or ``NONE`` as names in the order of their bits."""
    if text in ("ALL", "NONE"):
        return _FLAGS if text == "ALL" else ()
    words = set(text.split(","))
    if not words <= set(_FLAGS):
        raise ValueError(f"{text} are not TCP flags")
    return tuple(name for name in _FLAGS if name in words)


def _with_ports(name: str) -> Reader:
    def read(options: Options) -> tuple[m.Match, ...]:
        if not options:
            return (m.Module(name),)
        return tuple(_port_option(name, option) for option in options)

    return read


def _port_option(name: str, option: Option) -> m.Match:
    side = _SIDES.get(option.name)
    if side is not None and not option.name.endswith("s"):
        return m.Ports(side, port_ranges(option.value), option.negated, name)
    if name == "tcp":
        if option.name == "--tcp-flags":
            mask, wanted = option.values
            return m.TcpFlags(flag_names(mask), flag_names(wanted), option.negated)
        if option.name == "--syn":
            return m.TcpFlags(SYN_MASK, ("SYN",), option.negated)
    return m.External(name, option.words)


def _multiport(options: Options) -> tuple[m.Match, ...]:
    (option,) = options
    ranges = tuple(port_range(part) for part in option.value.split(","))
    return (m.Ports(_SIDES[option.name], ranges, option.negated, "", multi=True),)


def _icmp(version: int) -> Reader:
    wanted = ("--icmp-type",) if version == 4 else ("--icmpv6-type",)

    def read(options: Options) -> tuple[m.Match, ...]:
        if not options:
            return (m.Module("icmp" if version == 4 else "icmp6"),)
        if any(option.name not in wanted for option in options):
            raise ValueError("not an option of icmp")
        return tuple(icmp_type(version, option.value, option.negated) for option in options)

    return read


def _owner(options: Options) -> tuple[m.Match, ...]:
    supplementary = any(option.name == "--suppl-groups" for option in options)
    found: list[m.Match] = []
    for option in options:
        match option.name:
            case "--socket-exists":
                found.append(m.Owner("socket", None, option.negated))
            case "--suppl-groups":
                continue
            case "--uid-owner" | "--gid-owner":
                low, dash, high = option.value.partition("-")
                ids = Span(number(low), number(high) if dash else number(low))
                kind: Literal["uid", "gid"] = "uid" if option.name == "--uid-owner" else "gid"
                found.append(m.Owner(kind, ids, option.negated, supplementary=supplementary and kind == "gid"))
            case _:
                raise ValueError(option.name)
    return tuple(found)


def _marked(kind: type[m.Mark | m.Connmark]) -> Reader:
    def read(options: Options) -> tuple[m.Match, ...]:
        (option,) = options
        if option.name != "--mark":
            raise ValueError(option.name)
        return (kind(*masked(option.value), option.negated),)

    return read


_CT_STATES = frozenset(("NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED", "SNAT", "DNAT"))

_CT_FIELDS = frozenset(
    [
        "ctproto",
        "ctorigsrc",
        "ctorigdst",
        "ctreplsrc",
        "ctrepldst",
        "ctorigsrcport",
        "ctorigdstport",
        "ctreplsrcport",
        "ctrepldstport",
        "ctstatus",
        "ctexpire",
        "ctdir",
    ]
)


def _states(option: Option, module: Literal["conntrack", "state"]) -> m.CtState:
    states = tuple(option.value.split(","))
    if not _CT_STATES.issuperset(states):
        raise ValueError(option.value)
    return m.CtState(states, option.negated, module)


def _conntrack(options: Options) -> tuple[m.Match, ...]:
    beside = any(option.name == "--ctstate" for option in options)
    found: list[m.Match] = []
    for option in options:
        if option.name == "--ctstate":
            found.append(_states(option, "conntrack"))
        elif option.name[2:] in _CT_FIELDS:
            found.append(m.CtField(option.name[2:], option.value, option.negated, beside))
        else:
            raise ValueError(option.name)
    if not found:
        raise ValueError("no option")
    return tuple(found)


def _state(options: Options) -> tuple[m.Match, ...]:
    (option,) = options
    if option.name != "--state":
        raise ValueError(option.name)
    return (_states(option, "state"),)


_ADDRESS_TYPES = frozenset(
    [
        "UNSPEC",
        "UNICAST",
        "LOCAL",
        "BROADCAST",
        "ANYCAST",
        "MULTICAST",
        "BLACKHOLE",
        "UNREACHABLE",
        "PROHIBIT",
        "THROW",
        "NAT",
        "XRESOLVE",
    ]
)


def _addrtype(options: Options) -> tuple[m.Match, ...]:
    limit: Literal["", "in", "out"] = ""
    found: list[tuple[Literal["source", "destination"], tuple[str, ...], bool]] = []
    for option in options:
        match option.name:
            case "--limit-iface-in":
                limit = "in"
            case "--limit-iface-out":
                limit = "out"
            case "--src-type" | "--dst-type":
                types = tuple(option.value.split(","))
                if not _ADDRESS_TYPES.issuperset(types):
                    raise ValueError(option.value)
                found.append(("source" if option.name == "--src-type" else "destination", types, option.negated))
            case _:
                raise ValueError(option.name)
    if not found:
        raise ValueError("no option")
    return tuple(m.AddrType(side, types, negated, limit) for side, types, negated in found)


def _socket(options: Options) -> tuple[m.Match, ...]:
    if any(option.values or option.negated for option in options):
        raise ValueError("socket")
    return (m.Socket(tuple(option.name for option in options)),)


def _set(options: Options) -> tuple[m.Match, ...]:
    first, *rest = options
    if first.name not in ("--match-set", "--set"):
        raise ValueError(first.name)
    name, directions = first.values
    words = tuple(word for option in rest for word in option.words)
    return (m.IpSet(name, tuple(directions.split(",")), first.negated, words),)


def _comment(options: Options) -> tuple[m.Match, ...]:
    (option,) = options
    if option.name != "--comment" or option.negated:
        raise ValueError(option.name)
    return (m.Comment(option.value),)


def _statistic(options: Options) -> tuple[m.Match, ...]:
    values = {option.name: option for option in options}
    mode = values.pop("--mode").value
    if mode == "random":
        chance = values.pop("--probability")
        if values or not 0 <= float(chance.value) <= 1:
            raise ValueError("statistic")
        return (m.Statistic("random", chance.value, negated=chance.negated),)
    if mode != "nth":
        raise ValueError(mode)
    every = values.pop("--every")
    packet = values.pop("--packet", None)
    if values or int(every.value) < 1:
        raise ValueError("statistic")
    return (m.Statistic("nth", "", int(every.value), int(packet.value) if packet else 0, every.negated),)


def _nfacct(options: Options) -> tuple[m.Match, ...]:
    (option,) = options
    if option.name != "--nfacct-name":
        raise ValueError(option.name)
    return (m.Accounting(option.value),)


def _iprange(options: Options) -> tuple[m.Match, ...]:
    found: list[m.Match] = []
    for option in options:
        side: Literal["source", "destination"] = "source" if option.name == "--src-range" else "destination"
        if option.name not in ("--src-range", "--dst-range"):
            raise ValueError(option.name)
        low, _, high = option.value.partition("-")
        version, start = address_number(low)
        end_version, end = address_number(high or low)
        if version != end_version:
            raise ValueError(option.value)
        found.append(m.AddressRange(side, version, start, end, option.negated))
    if not found:
        raise ValueError("no option")
    return tuple(found)


def _external(name: str) -> Reader:
    def read(options: Options) -> tuple[m.Match, ...]:
        return (m.External(name, tuple(word for option in options for word in option.words)),)

    return read


EXTERNAL = frozenset(
    [
        "limit",
        "hashlimit",
        "recent",
        "time",
        "quota",
        "quota2",
        "connlimit",
        "connbytes",
        "connlabel",
        "string",
        "bpf",
        "u32",
        "cgroup",
        "policy",
        "rpfilter",
        "pkttype",
        "length",
        "ttl",
        "hl",
        "tos",
        "dscp",
        "ecn",
        "mac",
        "physdev",
        "helper",
        "cluster",
        "devgroup",
        "esp",
        "ah",
        "ipcomp",
        "realm",
        "tcpmss",
        "ipvs",
        "cpu",
        "dst",
        "hbh",
        "frag",
        "rt",
        "ipv6header",
        "mh",
        "eui64",
        "rateest",
        "account",
        "geoip",
        "osf",
        "icmp6-code",
        "srh",
        "l2tp",
        "nfqueue",
    ]
)
"""Modules whose answer lies outside of what a packet's description carries."""

MODULES: dict[str, Reader] = {
    "tcp": _with_ports("tcp"),
    "udp": _with_ports("udp"),
    "sctp": _with_ports("sctp"),
    "dccp": _with_ports("dccp"),
    "udplite": _with_ports("udplite"),
    "multiport": _multiport,
    "icmp": _icmp(4),
    "icmp6": _icmp(6),
    "icmpv6": _icmp(6),
    "ipv6-icmp": _icmp(6),
    "owner": _owner,
    "mark": _marked(m.Mark),
    "connmark": _marked(m.Connmark),
    "conntrack": _conntrack,
    "state": _state,
    "addrtype": _addrtype,
    "socket": _socket,
    "set": _set,
    "comment": _comment,
    "statistic": _statistic,
    "nfacct": _nfacct,
    "iprange": _iprange,
    **{name: _external(name) for name in EXTERNAL},
}

"""The words of one iptables rule: options to clauses. Names and defaults are those of iptables-extensions(8).

`MODULES` and `TARGETS` say how each extension's options read. A reader that meets an option or value it does not know
raises ValueError (or KeyError, IndexError), and the caller keeps the clause verbatim as `Opaque`.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from meshctl.netfilter.model import (
    ALL_BITS,
    Accept,
    Accounting,
    AddressRange,
    AddrType,
    Comment,
    Connmark,
    CtField,
    CtState,
    CtZone,
    Dnat,
    Drop,
    External,
    IcmpType,
    IpSet,
    Mark,
    Masquerade,
    Match,
    Module,
    Netmap,
    Notrack,
    Owner,
    Passive,
    Ports,
    Protocol,
    Queue,
    Redirect,
    Reject,
    RestoreMark,
    Return,
    SaveMark,
    SetConnmark,
    SetMark,
    Snat,
    Socket,
    Span,
    Statistic,
    Target,
    TcpFlags,
    Tproxy,
    address_number,
    prefix,
)


class Option(NamedTuple):
    """One option with its values; negated in the new style (``! --dport 80``) or the old (``--dport ! 80``)."""

    name: str
    values: tuple[str, ...]
    negated: bool = False

    @property
    def value(self) -> str:
        """Its only value."""
        if len(self.values) != 1:
            raise ValueError(f"{self.name} wants one value")
        return self.values[0]

    @property
    def words(self) -> tuple[str, ...]:
        """As written, in the new style."""
        return ("!", self.name, *self.values) if self.negated else (self.name, *self.values)


Options = Sequence[Option]

PROTOCOL_NAMES = {
    "1": "icmp",
    "2": "igmp",
    "4": "ipencap",
    "6": "tcp",
    "17": "udp",
    "33": "dccp",
    "47": "gre",
    "50": "esp",
    "51": "ah",
    "58": "ipv6-icmp",
    "132": "sctp",
    "136": "udplite",
    "icmpv6": "ipv6-icmp",
    "icmp6": "ipv6-icmp",
}
"""Numbers and other spellings, to the name that iptables-save prints."""

SERVICES = {"domain": 53, "http": 80, "https": 443, "ssh": 22, "bootps": 67, "bootpc": 68, "ntp": 123, "mdns": 5353}


def protocol(name: str, negated: bool = False) -> Protocol | None:
    """``-p``: None for every protocol."""
    name = PROTOCOL_NAMES.get(name.lower(), name.lower())
    return None if name in ("all", "0") and not negated else Protocol(name, negated)


def number(text: str) -> int:
    """A mark, mask or id: hexadecimal with 0x, octal with 0, else decimal, within 32 bits."""
    value = (
        int(text, 16) if text[:2] in ("0x", "0X") else int(text, 8) if text[:1] == "0" and text != "0" else int(text)
    )
    if not 0 <= value <= ALL_BITS:
        raise ValueError(f"{text} is not a 32-bit number")
    return value


def _masked(text: str) -> tuple[int, int]:
    value, slash, mask = text.partition("/")
    return number(value), number(mask) if slash else ALL_BITS


def _port(text: str) -> int:
    value = SERVICES.get(text)
    value = int(text) if value is None else value
    if not 0 <= value <= 65535:
        raise ValueError(f"{text} is not a port")
    return value


def _port_range(text: str, separator: str = ":") -> Span:
    low, dash, high = text.partition(separator)
    start = _port(low) if low else 0
    return Span(start, (_port(high) if high else 65535) if dash else start)


@lru_cache(maxsize=4096)
def _single_port(text: str) -> tuple[Span, ...]:
    return (_port_range(text),)


# --- matches -----------------------------------------------------------------------------------------------------

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


def _with_ports(name: str) -> Callable[[Options], tuple[Match, ...]]:
    def read(options: Options) -> tuple[Match, ...]:
        if not options:
            return (Module(name),)
        return tuple(_port_option(name, option) for option in options)

    return read


def _port_option(name: str, option: Option) -> Match:
    side = _SIDES.get(option.name)
    if side is not None and not option.name.endswith("s"):
        return Ports(side, _single_port(option.value), option.negated, name)
    if name == "tcp":
        if option.name == "--tcp-flags":
            mask, wanted = option.values
            return TcpFlags(flag_names(mask), flag_names(wanted), option.negated)
        if option.name == "--syn":
            return TcpFlags(SYN_MASK, ("SYN",), option.negated)
    return External(name, option.words)


def _multiport(options: Options) -> tuple[Match, ...]:
    (option,) = options
    ranges = tuple(_port_range(part) for part in option.value.split(","))
    return (Ports(_SIDES[option.name], ranges, option.negated, "", multi=True),)


_ICMP_NAMES = {
    "echo-reply": (0, None),
    "pong": (0, None),
    "destination-unreachable": (3, None),
    "network-unreachable": (3, 0),
    "host-unreachable": (3, 1),
    "protocol-unreachable": (3, 2),
    "port-unreachable": (3, 3),
    "fragmentation-needed": (3, 4),
    "source-quench": (4, None),
    "redirect": (5, None),
    "echo-request": (8, None),
    "ping": (8, None),
    "router-advertisement": (9, None),
    "router-solicitation": (10, None),
    "time-exceeded": (11, None),
    "ttl-exceeded": (11, None),
    "parameter-problem": (12, None),
    "timestamp-request": (13, None),
    "timestamp-reply": (14, None),
    "any": (None, None),
}
_ICMP6_NAMES = {
    "destination-unreachable": (1, None),
    "no-route": (1, 0),
    "port-unreachable": (1, 4),
    "packet-too-big": (2, None),
    "time-exceeded": (3, None),
    "ttl-exceeded": (3, None),
    "parameter-problem": (4, None),
    "echo-request": (128, None),
    "ping": (128, None),
    "echo-reply": (129, None),
    "pong": (129, None),
    "router-solicitation": (133, None),
    "nd-router-solicit": (133, None),
    "router-advertisement": (134, None),
    "nd-router-advert": (134, None),
    "neighbour-solicitation": (135, None),
    "neighbor-solicitation": (135, None),
    "nd-neighbor-solicit": (135, None),
    "neighbour-advertisement": (136, None),
    "neighbor-advertisement": (136, None),
    "nd-neighbor-advert": (136, None),
    "redirect": (137, None),
    "nd-redirect": (137, None),
}


def icmp_type(version: int, text: str, negated: bool = False) -> IcmpType:
    """An ICMP type by name, ``8`` or ``3/1``; iptables' 255 in IPv4 is any type."""
    names = _ICMP_NAMES if version == 4 else _ICMP6_NAMES
    found = names.get(text.lower())
    if found is None:
        kind, slash, code = text.partition("/")
        found = (int(kind), int(code) if slash else None)
        if version == 4 and found[0] == 255:
            found = (None, None)
    return IcmpType("icmp" if version == 4 else "icmpv6", found[0], found[1], negated, text)


def _icmp(version: int) -> Callable[[Options], tuple[Match, ...]]:
    wanted = ("--icmp-type",) if version == 4 else ("--icmpv6-type",)

    def read(options: Options) -> tuple[Match, ...]:
        if not options:
            return (Module("icmp" if version == 4 else "icmp6"),)
        if any(option.name not in wanted for option in options):
            raise ValueError("not an option of icmp")
        return tuple(icmp_type(version, option.value, option.negated) for option in options)

    return read


def _owner(options: Options) -> tuple[Match, ...]:
    supplementary = any(option.name == "--suppl-groups" for option in options)
    found: list[Match] = []
    for option in options:
        match option.name:
            case "--socket-exists":
                found.append(Owner("socket", None, option.negated))
            case "--suppl-groups":
                continue
            case "--uid-owner" | "--gid-owner":
                low, dash, high = option.value.partition("-")
                ids = Span(number(low), number(high) if dash else number(low))
                kind: Literal["uid", "gid"] = "uid" if option.name == "--uid-owner" else "gid"
                found.append(Owner(kind, ids, option.negated, supplementary=supplementary and kind == "gid"))
            case _:
                raise ValueError(option.name)
    return tuple(found)


def _mark(options: Options) -> tuple[Match, ...]:
    (option,) = options
    if option.name != "--mark":
        raise ValueError(option.name)
    return (Mark(*_masked(option.value), option.negated),)


def _connmark(options: Options) -> tuple[Match, ...]:
    (option,) = options
    if option.name != "--mark":
        raise ValueError(option.name)
    return (Connmark(*_masked(option.value), option.negated),)


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


def _states(option: Option, module: Literal["conntrack", "state"]) -> CtState:
    states = tuple(option.value.split(","))
    if not _CT_STATES.issuperset(states):
        raise ValueError(option.value)
    return CtState(states, option.negated, module)


def _conntrack(options: Options) -> tuple[Match, ...]:
    beside = any(option.name == "--ctstate" for option in options)
    found: list[Match] = []
    for option in options:
        if option.name == "--ctstate":
            found.append(_states(option, "conntrack"))
        elif option.name[2:] in _CT_FIELDS:
            found.append(CtField(option.name[2:], option.value, option.negated, beside))
        else:
            raise ValueError(option.name)
    if not found:
        raise ValueError("no option")
    return tuple(found)


def _state(options: Options) -> tuple[Match, ...]:
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


def _addrtype(options: Options) -> tuple[Match, ...]:
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
    return tuple(AddrType(side, types, negated, limit) for side, types, negated in found)


def _socket(options: Options) -> tuple[Match, ...]:
    if any(option.values or option.negated for option in options):
        raise ValueError("socket")
    return (Socket(tuple(option.name for option in options)),)


def _set(options: Options) -> tuple[Match, ...]:
    first, *rest = options
    if first.name not in ("--match-set", "--set"):
        raise ValueError(first.name)
    name, directions = first.values
    words = tuple(word for option in rest for word in option.words)
    return (IpSet(name, tuple(directions.split(",")), first.negated, words),)


def _comment(options: Options) -> tuple[Match, ...]:
    (option,) = options
    if option.name != "--comment" or option.negated:
        raise ValueError(option.name)
    return (Comment(option.value),)


def _statistic(options: Options) -> tuple[Match, ...]:
    values = {option.name: option for option in options}
    mode = values.pop("--mode").value
    if mode == "random":
        chance = values.pop("--probability")
        if values or not 0 <= float(chance.value) <= 1:
            raise ValueError("statistic")
        return (Statistic("random", chance.value, negated=chance.negated),)
    if mode != "nth":
        raise ValueError(mode)
    every = values.pop("--every")
    packet = values.pop("--packet", None)
    if values or int(every.value) < 1:
        raise ValueError("statistic")
    return (Statistic("nth", "", int(every.value), int(packet.value) if packet else 0, every.negated),)


def _nfacct(options: Options) -> tuple[Match, ...]:
    (option,) = options
    if option.name != "--nfacct-name":
        raise ValueError(option.name)
    return (Accounting(option.value),)


def _iprange(options: Options) -> tuple[Match, ...]:
    found: list[Match] = []
    for option in options:
        side: Literal["source", "destination"] = "source" if option.name == "--src-range" else "destination"
        if option.name not in ("--src-range", "--dst-range"):
            raise ValueError(option.name)
        low, _, high = option.value.partition("-")
        version, start = address_number(low)
        end_version, end = address_number(high or low)
        if version != end_version:
            raise ValueError(option.value)
        found.append(AddressRange(side, version, start, end, option.negated))
    if not found:
        raise ValueError("no option")
    return tuple(found)


def _external(name: str) -> Callable[[Options], tuple[Match, ...]]:
    def read(options: Options) -> tuple[Match, ...]:
        return (External(name, tuple(word for option in options for word in option.words)),)

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

MODULES: dict[str, Callable[[Options], tuple[Match, ...]]] = {
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
    "mark": _mark,
    "connmark": _connmark,
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

# --- targets -----------------------------------------------------------------------------------------------------


def _plain(target: Target) -> Callable[[Options], Target]:
    def read(options: Options) -> Target:
        if options:
            raise ValueError("takes no options")
        return target

    return read


def _values(options: Options, flags: Sequence[str] = ()) -> tuple[dict[str, str], tuple[str, ...]]:
    """Options with a value by name, and those without; ValueError for others, negations and repetitions."""
    values: dict[str, str] = {}
    seen: list[str] = []
    for option in options:
        if option.negated or option.name in values or option.name in seen:
            raise ValueError(option.name)
        if option.name in flags and not option.values:
            seen.append(option.name)
        else:
            values[option.name] = option.value
    return values, tuple(seen)


def _pop(values: dict[str, str], *names: str) -> str | None:
    found = [values.pop(name) for name in names if name in values]
    return found[0] if found else None


def _spent(values: dict[str, str]) -> None:
    if values:
        raise ValueError(" ".join(values))


_NAT_FLAGS = ("--random", "--random-fully", "--persistent")


def _redirect(options: Options) -> Target:
    values, flags = _values(options, _NAT_FLAGS)
    ports = _pop(values, "--to-ports", "--to-port")
    _spent(values)
    return Redirect(_port_range(ports, "-") if ports else None, flags)


def _masquerade(options: Options) -> Target:
    values, flags = _values(options, _NAT_FLAGS)
    ports = _pop(values, "--to-ports", "--to-port")
    _spent(values)
    return Masquerade(_port_range(ports, "-") if ports else None, flags)


def nat_goal(text: str) -> tuple[Literal[4, 6] | None, int | None, int | None, Span | None]:
    """``A[-B][:P[-Q]]``, ``[A6]:P``, ``:P``: version, lowest and highest address, ports."""
    ports: Span | None = None
    if text.startswith("["):
        addresses, _, tail = text[1:].partition("]")
        if tail:
            ports = _port_range(tail.removeprefix(":"), "-")
    elif text.count(":") > 1:
        addresses = text
    else:
        addresses, colon, tail = text.partition(":")
        if colon:
            ports = _port_range(tail, "-")
    if not addresses:
        return None, None, None, ports
    low, _, high = addresses.partition("-")
    version, start = address_number(low)
    end_version, end = address_number(high.removeprefix("[") or low)
    if version != end_version:
        raise ValueError(text)
    return version, start, end, ports


def _dnat(options: Options) -> Target:
    values, flags = _values(options, _NAT_FLAGS)
    goal = values.pop("--to-destination")
    _spent(values)
    return Dnat(*nat_goal(goal), flags)


def _snat(options: Options) -> Target:
    values, flags = _values(options, _NAT_FLAGS)
    goal = values.pop("--to-source")
    _spent(values)
    return Snat(*nat_goal(goal), flags)


def _netmap(options: Options) -> Target:
    values, _ = _values(options)
    network = values.pop("--to")
    _spent(values)
    return Netmap(prefix(network))


def _tproxy(options: Options) -> Target:
    values, _ = _values(options)
    port = _port(values.pop("--on-port"))
    address = values.pop("--on-ip", "")
    value, mask = _masked(values.pop("--tproxy-mark", "0/0"))
    _spent(values)
    if address:
        address_number(address)
    return Tproxy(port, address, value, mask)


def _xmark(name: str, text: str) -> tuple[int, int]:
    """The value and mask of ``--set-xmark`` that does what the option does (iptables-extensions(8), MARK)."""
    value, mask = _masked(text)
    match name:
        case "--set-xmark":
            return value, mask
        case "--set-mark":
            return value, mask | value
        case "--and-mark":
            return 0, ~number(text) & ALL_BITS
        case "--or-mark":
            return value, value
        case "--xor-mark":
            return value, 0
        case _:
            raise ValueError(name)


def _set_mark(options: Options) -> Target:
    (option,) = options
    if option.negated:
        raise ValueError("negated")
    return SetMark(*_xmark(option.name, option.value))


def _set_connmark(options: Options) -> Target:
    values, flags = _values(options, ("--save-mark", "--restore-mark"))
    if flags:
        mask = number(values.pop("--mask", "0xffffffff"))
        nfmask = number(values.pop("--nfmask", hex(mask)))
        ctmask = number(values.pop("--ctmask", hex(mask)))
        _spent(values)
        (kind,) = flags
        return SaveMark(nfmask, ctmask) if kind == "--save-mark" else RestoreMark(nfmask, ctmask)
    ((name, value),) = values.items()
    return SetConnmark(*_xmark(name, value))


_ZONES: dict[str, Literal["", "orig", "reply"]] = {"--zone": "", "--zone-orig": "orig", "--zone-reply": "reply"}


def _ct(options: Options) -> Target:
    values, flags = _values(options, ("--notrack",))
    zones = [name for name in values if name in _ZONES]
    if flags:
        _spent(values)
        return Notrack()
    if not zones:
        if not set(values) <= {"--helper", "--ctevents", "--expevents", "--timeout"}:
            raise ValueError("CT")
        return Passive("CT", tuple(word for option in options for word in option.words))
    if len(zones) > 1:
        raise ValueError("two zones")
    zone = int(values.pop(zones[0]))
    rest = tuple(word for option in options if option.name in values for word in option.words)
    return CtZone(zone, _ZONES[zones[0]], rest)


def _reject(options: Options) -> Target:
    values, _ = _values(options)
    kind = values.pop("--reject-with", "")
    _spent(values)
    return Reject(kind)


def _passive(name: str) -> Callable[[Options], Target]:
    return lambda options: Passive(name, tuple(word for option in options for word in option.words))


PASSIVE = frozenset(
    [
        "LOG",
        "NFLOG",
        "ULOG",
        "TRACE",
        "TCPMSS",
        "CHECKSUM",
        "CLASSIFY",
        "CONNSECMARK",
        "SECMARK",
        "AUDIT",
        "IDLETIMER",
        "LED",
        "RATEEST",
        "TEE",
        "TTL",
        "HL",
        "SET",
        "TCPOPTSTRIP",
        "ECN",
        "SYSRQ",
        "ACCOUNT",
    ]
)

TARGETS: dict[str, Callable[[Options], Target]] = {
    "ACCEPT": _plain(Accept()),
    "DROP": _plain(Drop()),
    "RETURN": _plain(Return()),
    "REJECT": _reject,
    "QUEUE": lambda options: Queue(tuple(word for option in options for word in option.words), "QUEUE"),
    "NFQUEUE": lambda options: Queue(tuple(word for option in options for word in option.words)),
    "REDIRECT": _redirect,
    "DNAT": _dnat,
    "SNAT": _snat,
    "MASQUERADE": _masquerade,
    "NETMAP": _netmap,
    "TPROXY": _tproxy,
    "MARK": _set_mark,
    "CONNMARK": _set_connmark,
    "CT": _ct,
    "NOTRACK": _plain(Notrack("NOTRACK")),
    **{name: _passive(name) for name in PASSIVE},
}

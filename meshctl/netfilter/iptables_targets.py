"""What the targets of iptables do: options to targets, as iptables-extensions(8) has their names and defaults.

`TARGETS` says how each target's options read. A reader that meets an option or value it does not know raises ValueError
(or KeyError, IndexError), and the caller keeps the target verbatim as `Opaque`.
"""

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from meshctl.netfilter import matches as m
from meshctl.netfilter import targets as t
from meshctl.netfilter.addresses import Span, address_number, prefix
from meshctl.netfilter.iptables_options import Options, masked, number, port_number, port_range

Reader: TypeAlias = Callable[[Options], t.Target]
"""Makes a target of its options."""


def _plain(target: t.Target) -> Reader:
    def read(options: Options) -> t.Target:
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


def _with_ports(kind: type[t.Redirect | t.Masquerade]) -> Reader:
    def read(options: Options) -> t.Target:
        values, flags = _values(options, _NAT_FLAGS)
        ports = _pop(values, "--to-ports", "--to-port")
        _spent(values)
        return kind(port_range(ports, "-") if ports else None, flags)

    return read


def nat_goal(text: str) -> tuple[Literal[4, 6] | None, int | None, int | None, Span | None]:
    """``A[-B][:P[-Q]]``, ``[A6]:P``, ``:P``: version, lowest and highest address, ports."""
    ports: Span | None = None
    if text.startswith("["):
        addresses, _, tail = text[1:].partition("]")
        if tail:
            ports = port_range(tail.removeprefix(":"), "-")
    elif text.count(":") > 1:
        addresses = text
    else:
        addresses, colon, tail = text.partition(":")
        if colon:
            ports = port_range(tail, "-")
    if not addresses:
        return None, None, None, ports
    low, _, high = addresses.partition("-")
    version, start = address_number(low)
    end_version, end = address_number(high.removeprefix("[") or low)
    if version != end_version:
        raise ValueError(text)
    return version, start, end, ports


def _with_goal(kind: type[t.Dnat | t.Snat], name: str) -> Reader:
    def read(options: Options) -> t.Target:
        values, flags = _values(options, _NAT_FLAGS)
        goal = values.pop(name)
        _spent(values)
        return kind(*nat_goal(goal), flags)

    return read


def _netmap(options: Options) -> t.Target:
    values, _ = _values(options)
    network = values.pop("--to")
    _spent(values)
    return t.Netmap(prefix(network))


def _tproxy(options: Options) -> t.Target:
    values, _ = _values(options)
    port = port_number(values.pop("--on-port"))
    address = values.pop("--on-ip", "")
    value, mask = masked(values.pop("--tproxy-mark", "0/0"))
    _spent(values)
    if address:
        address_number(address)
    return t.Tproxy(port, address, value, mask)


def _xmark(name: str, text: str) -> tuple[int, int]:
    """The value and mask of ``--set-xmark`` that does what the option does (iptables-extensions(8), MARK)."""
    value, mask = masked(text)
    match name:
        case "--set-xmark":
            return value, mask
        case "--set-mark":
            return value, mask | value
        case "--and-mark":
            return 0, ~number(text) & m.ALL_BITS
        case "--or-mark":
            return value, value
        case "--xor-mark":
            return value, 0
        case _:
            raise ValueError(name)


def _set_mark(options: Options) -> t.Target:
    (option,) = options
    if option.negated:
        raise ValueError("negated")
    return t.SetMark(*_xmark(option.name, option.value))


def _set_connmark(options: Options) -> t.Target:
    values, flags = _values(options, ("--save-mark", "--restore-mark"))
    if flags:
        mask = number(values.pop("--mask", "0xffffffff"))
        nfmask = number(values.pop("--nfmask", hex(mask)))
        ctmask = number(values.pop("--ctmask", hex(mask)))
        _spent(values)
        (kind,) = flags
        return t.SaveMark(nfmask, ctmask) if kind == "--save-mark" else t.RestoreMark(nfmask, ctmask)
    ((name, value),) = values.items()
    return t.SetConnmark(*_xmark(name, value))


_ZONES: dict[str, Literal["", "orig", "reply"]] = {"--zone": "", "--zone-orig": "orig", "--zone-reply": "reply"}


def _ct(options: Options) -> t.Target:
    values, flags = _values(options, ("--notrack",))
    zones = [name for name in values if name in _ZONES]
    if flags:
        _spent(values)
        return t.Notrack()
    if not zones:
        if not set(values) <= {"--helper", "--ctevents", "--expevents", "--timeout"}:
            raise ValueError("CT")
        return t.Passive("CT", tuple(word for option in options for word in option.words))
    if len(zones) > 1:
        raise ValueError("two zones")
    zone = int(values.pop(zones[0]))
    rest = tuple(word for option in options if option.name in values for word in option.words)
    return t.CtZone(zone, _ZONES[zones[0]], rest)


def _reject(options: Options) -> t.Target:
    values, _ = _values(options)
    kind = values.pop("--reject-with", "")
    _spent(values)
    return t.Reject(kind)


def _passive(name: str) -> Reader:
    return lambda options: t.Passive(name, tuple(word for option in options for word in option.words))


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

TARGETS: dict[str, Reader] = {
    "ACCEPT": _plain(t.Accept()),
    "DROP": _plain(t.Drop()),
    "RETURN": _plain(t.Return()),
    "REJECT": _reject,
    "QUEUE": lambda options: t.Queue(tuple(word for option in options for word in option.words), "QUEUE"),
    "NFQUEUE": lambda options: t.Queue(tuple(word for option in options for word in option.words)),
    "REDIRECT": _with_ports(t.Redirect),
    "DNAT": _with_goal(t.Dnat, "--to-destination"),
    "SNAT": _with_goal(t.Snat, "--to-source"),
    "MASQUERADE": _with_ports(t.Masquerade),
    "NETMAP": _netmap,
    "TPROXY": _tproxy,
    "MARK": _set_mark,
    "CONNMARK": _set_connmark,
    "CT": _ct,
    "NOTRACK": _plain(t.Notrack("NOTRACK")),
    **{name: _passive(name) for name in PASSIVE},
}

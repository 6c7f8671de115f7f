"""Makes a packet from what a user asks: ``--out 10.0.0.1:80``, ``--in :8080``; says what it supposed for the rest."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from meshctl.errors import BadInput
from meshctl.frozen import dataclass
from meshctl.netfilter.addresses import address_number, address_text
from meshctl.netfilter.matches import Owner
from meshctl.netfilter.model import Ruleset
from meshctl.netfilter.packet import Packet, possible, protocol
from meshctl.netfilter.routing import Network, lookup

APPLICATION = 1000
"""A user that is neither root nor, by default, the proxy; another one is taken where the rules name it."""

_STRANGERS = {4: "198.51.100.7", 6: "2001:db8::7"}
"""Addresses for documentation (RFC 5737, RFC 3849): a caller from outside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What the user said of the packet besides its goal; None: not said."""

    proto: str = "tcp"
    uid: int | None = None
    gid: int | None = None
    src: str | None = None
    sport: int | None = None
    interface: str | None = None
    mark: int = 0
    flags: str | None = None
    ctstate: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """The packet, and what was supposed to make it."""

    packet: Packet
    supposed: tuple[str, ...] = ()


_OUT = "as in 10.0.0.1:80 or [fd00::1]:80; names are not resolved here"
_IN = "as in :{} from anywhere, or 10.0.0.1:{} from one caller; names are not resolved here"


def endpoint(text: str, hint: str = _OUT) -> tuple[str, int | None]:
    """``A``, ``A:P``, ``[A6]:P``, ``A6`` or ``:P`` as address (empty where there is none) and port; BadInput else."""
    body = text.strip()
    try:
        if body.startswith("["):
            address, _, tail = body[1:].partition("]")
            port = tail.removeprefix(":")
        elif body.count(":") > 1 and not body.startswith(":"):
            address, port = body, ""
        else:
            address, _, port = body.partition(":")
        address, number = address.strip(), int(port) if port.strip() else None
        if address:
            address_number(address)
        if number is not None and not 0 <= number <= 65535:
            raise ValueError(port)
    except ValueError:
        raise BadInput(f"{text!r} is not ADDRESS[:PORT]", hint=hint) from None
    return address, number


def outbound(goal: str, details: Details, rulesets: Sequence[Ruleset], network: Network) -> Question:
    """A packet that this machine sends to `goal`."""
    details = _named(details)
    address, port = endpoint(goal)
    if not address:
        raise BadInput(f"{goal!r} names no destination", hint="as in --out 10.0.0.1:80")
    version, dst = address_number(address)
    supposed: list[str] = []
    if dst == 0:
        dst = 0x7F000001 if version == 4 else 1
        supposed.append(f"it goes to {address_text(version, dst)}: that is where the kernel connects to {address}")
    _needs_port(details.proto, port)
    way = lookup(network, version, dst, mark=details.mark)
    device = details.interface or ("lo" if way.kind == "local" else way.device)
    if not device:
        device = next((one.interface for one in network.addresses if one.interface != "lo"), "eth0")
        supposed.append(f"it leaves by {device}: no recorded route says otherwise")
    src = _source(details, version, dst if device == "lo" else None, way.source, device, network)
    if src is None:
        supposed.append("the source address is not known: --src says it")
    uid, gid = _owner(details, rulesets, supposed)
    packet = Packet(
        direction="outbound",
        version=version,
        proto=details.proto,
        src=src,
        dst=dst,
        sport=_sport(details),
        dport=port,
        out_interface=device,
        uid=uid,
        gid=gid,
        mark=details.mark,
        flags=_flags(details),
        ctstate=details.ctstate,
    )
    return Question(_possible(packet), tuple(supposed))


def inbound(goal: str, details: Details, network: Network) -> Question:
    """A packet from outside to this machine: ``:PORT``, or ``SRC:PORT`` where the caller matters."""
    details = _named(details)
    goal = goal.replace(" ", "")
    caller, port = endpoint(goal, _IN.replace("{}", goal if goal.isdigit() else "8080"))
    caller = details.src or caller
    _needs_port(details.proto, port)
    supposed: list[str] = []
    version: Literal[4, 6] = address_number(caller)[0] if caller else _likely_version(network)
    interface = details.interface or next((one.interface for one in network.addresses if one.interface != "lo"), "eth0")
    primary = network.primary(version, interface)
    if primary is None:
        raise BadInput(
            f"the IPv{version} address of {interface} is not known", hint="say it with --address (or --iif, --src)"
        )
    if not caller:
        caller = _STRANGERS[version]
        supposed.append(f"the caller is {caller}, an address outside: --in SRC:PORT or --src says another")
    packet = Packet(
        direction="inbound",
        version=version,
        proto=details.proto,
        src=address_number(caller)[1],
        dst=primary.number,
        sport=_sport(details),
        dport=port,
        in_interface=interface,
        mark=details.mark,
        flags=_flags(details),
        ctstate=details.ctstate,
    )
    return Question(_possible(packet), tuple(supposed))


def _possible(packet: Packet) -> Packet:
    try:
        possible(packet)
    except ValueError as error:
        raise BadInput(f"there is no such packet: {error}") from None
    return packet


def _named(details: Details) -> Details:
    try:
        return replace(details, proto=protocol(details.proto))
    except ValueError as error:
        raise BadInput(f"--proto {error}") from None


def _needs_port(proto: str, port: int | None) -> None:
    if proto in ("tcp", "udp") and port is None:
        raise BadInput(f"a {proto} packet needs a port", hint="as in --out 10.0.0.1:80 or --in :8080")


def _sport(details: Details) -> int | None:
    if details.sport is None and details.proto in ("tcp", "udp"):
        return 40000
    return details.sport


def _flags(details: Details) -> tuple[str, ...] | None:
    if details.proto != "tcp":
        return None
    return tuple(
        word.upper()
        for word in (details.flags or "SYN").replace("+", ",").split(",")
        if word.lower() not in ("", "none")
    )


def _source(
    details: Details, version: int, local: int | None, preferred: int | None, device: str, network: Network
) -> int | None:
    if details.src is not None:
        src_version, number = address_number(endpoint(details.src)[0])
        if src_version != version:
            raise BadInput(f"--src {details.src} is not an IPv{version} address")
        return number
    if local is not None:
        return 0x7F000001 if version == 4 and local >> 24 == 127 else local
    primary = network.primary(version, device)
    return preferred if preferred is not None else primary.number if primary is not None else None


def _likely_version(network: Network) -> Literal[4, 6]:
    found = [one.version for one in network.addresses if one.interface != "lo" and one.number >> 118 != 0x3FA]
    return found[0] if found else 4


def named_ids(rulesets: Sequence[Ruleset]) -> set[int]:
    """The user and group ids that the rules name (the ends of ranges)."""
    found: set[int] = set()
    for ruleset in rulesets:
        for _, _, _, rule in ruleset.rules:
            for clause in rule.matches:
                if isinstance(clause, Owner) and clause.ids is not None:
                    found |= {clause.ids.low, clause.ids.high}
    return found


def _owner(details: Details, rulesets: Sequence[Ruleset], supposed: list[str]) -> tuple[int, int]:
    if details.uid is not None:
        gid = details.uid if details.gid is None else details.gid
        if details.gid is None:
            supposed.append(f"gid {gid}, as the uid: --gid says another")
        return details.uid, gid
    named = named_ids(rulesets)
    uid = next(number for number in range(APPLICATION, APPLICATION + len(named) + 1) if number not in named)
    gid = uid if details.gid is None else details.gid
    supposed.append(f"an application's socket, uid {uid} and gid {gid}: --uid and --gid say another")
    return uid, gid


def describe(packet: Packet) -> str:
    """The packet in one line."""
    src = address_text(packet.version, packet.src) if packet.src is not None else "?"
    dst = address_text(packet.version, packet.dst)

    def end(address: str, port: int | None) -> str:
        wrapped = f"[{address}]" if packet.version == 6 and port is not None else address
        return wrapped if port is None else f"{wrapped}:{port}"

    way = f"out by {packet.out_interface}" if packet.direction == "outbound" else f"in on {packet.in_interface}"
    owner = f", uid {packet.uid} gid {packet.gid}" if packet.has_socket else ""
    flags = f" {'+'.join(packet.flags) or 'no flags'}" if packet.flags is not None else ""
    return f"{packet.proto}{flags} {end(src, packet.sport)} -> {end(dst, packet.dport)}, {way}{owner}"

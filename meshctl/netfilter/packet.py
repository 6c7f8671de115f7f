"""A packet as it meets its first hook: the ``packet`` of ``meshctl.walk/v1``.

Outbound packets start at OUTPUT with the interface that routing chose, inbound ones at PREROUTING with the one they
came in on. `uid` and `gid` own the sending socket; both None: there is none (it came from outside).
"""

from collections.abc import Mapping
from typing import Any, Literal

from meshctl.errors import BadInput
from meshctl.frozen import dataclass
from meshctl.netfilter.addresses import address_number, address_text
from meshctl.netfilter.protocols import PROTOCOL_NAMES

Direction = Literal["inbound", "outbound"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """A packet; addresses are numbers of its `version`, `src` None is not known.

    `flags` are TCP flag names, `ctstate` conntrack's word. `owner_known` False: a socket sends it, but it is not
    known whose it is.
    """

    direction: Direction
    version: Literal[4, 6]
    proto: str
    src: int | None
    dst: int
    sport: int | None = None
    dport: int | None = None
    in_interface: str | None = None
    out_interface: str | None = None
    uid: int | None = None
    gid: int | None = None
    mark: int = 0
    flags: tuple[str, ...] | None = None
    ctstate: str | None = None
    icmp_type: int | None = None
    owner_known: bool = True

    @property
    def has_socket(self) -> bool:
        """Whether a socket of this machine sends it."""
        return self.uid is not None or self.gid is not None or not self.owner_known


def document(packet: Packet) -> dict[str, object]:
    """The packet as ``meshctl.walk/v1`` has it."""
    return {
        "direction": packet.direction,
        "in": packet.in_interface,
        "out": packet.out_interface,
        "family": packet.version,
        "proto": packet.proto,
        "src": address_text(packet.version, packet.src) if packet.src is not None else None,
        "dst": address_text(packet.version, packet.dst),
        "sport": packet.sport,
        "dport": packet.dport,
        "uid": packet.uid,
        "gid": packet.gid,
        "mark": packet.mark,
        "flags": (",".join(packet.flags) or "none") if packet.flags is not None else None,
        "ctstate": packet.ctstate,
    }


def read(fields: Mapping[str, Any], place: str = "packet") -> Packet:
    """Read the ``packet`` fields of a walk; BadInput says at `place` what is missing or wrong."""
    try:
        version, dst = address_number(str(fields["dst"]))
        source = fields.get("src")
        src_version, src = address_number(str(source)) if source is not None else (version, None)
        if src_version != version:
            raise ValueError(f"src {source} and dst {fields['dst']} are of different families")
        if str(fields.get("family") or version).lower() not in _FAMILIES[version]:
            raise ValueError(f"family {fields['family']} does not fit {fields['dst']}")
        proto = protocol(str(fields.get("proto") or "tcp"))
        if fields.get("direction") not in (None, "inbound", "outbound", "in", "out"):
            raise ValueError(f"direction {fields['direction']} is neither inbound nor outbound")
        inbound = fields.get("direction") in ("inbound", "in") or (
            fields.get("direction") is None and fields.get("in") is not None
        )
        found = Packet(
            direction="inbound" if inbound else "outbound",
            version=version,
            proto=proto,
            src=src,
            dst=dst,
            sport=_number(fields, "sport"),
            dport=_number(fields, "dport"),
            in_interface=_text(fields, "in"),
            out_interface=_text(fields, "out"),
            uid=_number(fields, "uid"),
            gid=_number(fields, "gid"),
            mark=_number(fields, "mark") or 0,
            flags=_flags(fields.get("flags"), proto),
            ctstate=_text(fields, "ctstate"),
            icmp_type=_number(fields, "icmp_type"),
        )
        possible(found)
    except KeyError as error:
        raise BadInput(f"{place}: a packet has no {error.args[0]!r}") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise BadInput(f"{place}: not a packet: {error}") from None
    return found


_FAMILIES = {4: ("4", "ip", "ipv4", "inet"), 6: ("6", "ip6", "ipv6", "inet6", "inet")}
_FLAGS = frozenset(("SYN", "ACK", "FIN", "RST", "PSH", "URG", "ECE", "CWR"))
_STATES = frozenset(("NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED", "SNAT", "DNAT"))


def protocol(text: str) -> str:
    """The name of a protocol, by name or number. Raises ValueError where there is none of that name."""
    name = text.strip().lower()
    name = PROTOCOL_NAMES.get(name, name)
    if name not in PROTOCOL_NAMES.values() and not (name.isdecimal() and int(name) < 256):
        raise ValueError(f"{text} is no protocol that is known by name (a number will do)")
    return name


def possible(packet: Packet) -> None:
    """Raise ValueError for what no packet can have: numbers out of range, flags and states that do not exist."""
    for name, value in (("sport", packet.sport), ("dport", packet.dport)):
        if value is not None and not 0 <= value <= 65535:
            raise ValueError(f"{name} {value} is no port")
    for name, value in (("uid", packet.uid), ("gid", packet.gid), ("mark", packet.mark)):
        if value is not None and not 0 <= value < 1 << 32:
            raise ValueError(f"{name} {value} is not a 32-bit number")
    if strange := [flag for flag in packet.flags or () if flag not in _FLAGS]:
        raise ValueError(f"{', '.join(strange)}: TCP's flags are {', '.join(sorted(_FLAGS))}")
    if packet.ctstate is not None and packet.ctstate.upper() not in _STATES:
        raise ValueError(f"ctstate {packet.ctstate}: conntrack's words are {', '.join(sorted(_STATES)).lower()}")


def _number(fields: Mapping[str, Any], key: str) -> int | None:
    value = fields.get(key)
    if value is None:
        return None
    return int(value, 0) if isinstance(value, str) else int(value)


def _text(fields: Mapping[str, Any], key: str) -> str | None:
    value = fields.get(key)
    return None if value in (None, "") else str(value)


def _flags(value: Any, proto: str) -> tuple[str, ...] | None:
    if value is None:
        return ("SYN",) if proto == "tcp" else None
    words = value if isinstance(value, list | tuple) else str(value).replace("+", ",").split(",")
    return tuple(word.strip().upper() for word in words if word.strip() and word.strip().upper() != "NONE")

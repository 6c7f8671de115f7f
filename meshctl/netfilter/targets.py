"""What a rule does with a packet: the closed union `Target`, one class an action.

Names follow iptables-extensions(8) and nft(8). All marks and masks are unsigned 32-bit integers.
"""

from typing import Literal, TypeAlias

from meshctl.frozen import dataclass
from meshctl.netfilter.addresses import Prefix, Span
from meshctl.netfilter.matches import ALL_BITS, Element, Opaque


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


def local_port(target: Redirect | Tproxy) -> str:
    """The port of this machine that gets the packet, as text; empty where the packet keeps its own."""
    ports = target.ports if isinstance(target, Redirect) else target.port
    return "" if ports is None else str(ports)

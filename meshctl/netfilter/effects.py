"""What targets do to a packet and its connection: translations, marks, zones (``nf_nat_core.c``, ``xt_mark.c`` ...)."""

from typing import Literal

from meshctl.frozen import dataclass
from meshctl.netfilter import targets as t
from meshctl.netfilter.addresses import Span, address_text
from meshctl.netfilter.flight import PORTED, Flight
from meshctl.netfilter.matches import ALL_BITS


@dataclass(frozen=True, slots=True)
class Change:
    """A rewrite: the field, and its value before and after."""

    field: str
    old: str
    new: str


Ends = Literal["accept", "drop"] | None


def apply(target: t.Target, flight: Flight, changes: list[Change]) -> Ends:
    """Do what the target says; ``accept`` or ``drop`` where that ends the base chain, None where it goes on."""
    before = _view(flight)
    ends = _do(target, flight)
    after = _view(flight)
    changes += [Change(name, old, after[name]) for name, old in before.items() if after[name] != old]
    return ends


def _view(flight: Flight) -> dict[str, str]:
    connection = flight.connection
    mark = connection.mark if connection is not None else None
    return {
        "src": _show(flight, flight.src),
        "sport": str(flight.sport),
        "dst": _show(flight, flight.dst),
        "dport": str(flight.dport),
        "mark": hex(flight.mark),
        "ctmark": "unknown" if mark is None else hex(mark),
        "zone": str(flight.zone or 0),
        "tracked": str(not flight.untracked).lower(),
        "socket": f"transparent on port {flight.tproxy}" if flight.tproxied else "none",
    }


def _show(flight: Flight, number: int | None) -> str:
    if number is not None:
        return address_text(flight.version, number)
    return "this machine" if flight.here else "unknown"


def _do(target: t.Target, flight: Flight) -> Ends:
    connection = flight.connection
    match target:
        case t.Redirect(ports):
            return _redirect(ports, flight)
        case t.Dnat():
            return _dnat(target, flight)
        case t.Snat():
            return _snat(target, flight)
        case t.Masquerade(ports):
            return _masquerade(ports, flight)
        case t.Netmap(network):
            host = ~network.mask & ((1 << (32 if network.version == 4 else 128)) - 1)
            return _netmap(network.address, host, flight)
        case t.Tproxy():
            return _tproxy(target, flight)
        case t.SetMark(value, mask):
            flight.mark = flight.mark & ~mask & ALL_BITS ^ value
        case t.SetConnmark(value, mask):
            if connection is not None and connection.mark is not None:
                connection.mark = connection.mark & ~mask & ALL_BITS ^ value
            elif connection is not None and mask == ALL_BITS:
                connection.mark = value
        case t.SaveMark(nfmask, ctmask):
            if connection is not None and connection.mark is not None:
                connection.mark = connection.mark & ~ctmask & ALL_BITS ^ (flight.mark & nfmask)
        case t.RestoreMark(nfmask, ctmask):
            if connection is not None and connection.mark is not None:
                flight.mark = flight.mark & ~nfmask & ALL_BITS ^ (connection.mark & ctmask)
        case t.CtZone(zone):
            if connection is None and not flight.untracked and not flight.template:
                flight.zone, flight.template = zone, True
        case t.Notrack():
            if connection is None and not flight.template:
                flight.untracked = True
        case _:
            pass
    return None


# --- translations ------------------------------------------------------------------------------------------------


def _new_port(ports: Span | None, old: int | None, proto: str) -> int | None:
    """The port after a translation: one that lies in the range already is kept (nf_nat_core.c, get_unique_tuple)."""
    if ports is None or proto not in PORTED:
        return old
    if old is not None and old in ports:
        return old
    return ports.low if ports.low == ports.high else None


def _bind(flight: Flight, side: str, changed: bool) -> None:
    connection = flight.connection
    if connection is None:
        return
    connection.bound.add(side)
    if side == "destination":
        connection.destination_changed = connection.destination_changed or changed
    else:
        connection.source_changed = connection.source_changed or changed


def _redirect(ports: Span | None, flight: Flight) -> Ends:
    """nf_nat_redirect.c: in OUTPUT to loopback, else to the incoming interface's address; without one, a drop."""
    before = flight.dst, flight.dport
    if flight.hook == "OUTPUT":
        flight.dst = 0x7F000001 if flight.version == 4 else 1
    else:
        primary = flight.network.primary(flight.version, flight.in_interface)
        if primary is None and flight.network.complete and flight.network.knows_interface(flight.in_interface):
            return "drop"
        flight.dst = primary.number if primary is not None else None
    flight.here = True
    flight.dport = _new_port(ports, flight.dport, flight.proto)
    flight.redirected = True
    _bind(flight, "destination", (flight.dst, flight.dport) != before)
    return "accept"


def _dnat(target: t.Dnat, flight: Flight) -> Ends:
    if target.version not in (None, flight.version):
        return None
    before = flight.dst, flight.dport
    if target.expression:
        flight.dst, flight.dport, flight.here = None, None, False
    else:
        if target.low is not None:
            flight.dst = _pick(target.low, target.high)
            flight.here = False
        flight.dport = _new_port(target.ports, flight.dport, flight.proto)
    own = flight.dst is not None and _is_local(flight, flight.dst)
    flight.redirected = own
    _bind(flight, "destination", (flight.dst, flight.dport) != before)
    return "accept"


def _is_local(flight: Flight, number: int) -> bool:
    loopback = number >> 24 == 127 if flight.version == 4 else number == 1
    return loopback or flight.network.owner(flight.version, number) is not None


def _pick(low: int, high: int | None) -> int | None:
    """The address of a range: the only one, or (chosen by a hash) not known."""
    return low if high in (None, low) else None


def _snat(target: t.Snat, flight: Flight) -> Ends:
    if target.version not in (None, flight.version):
        return None
    before = flight.src, flight.sport
    if target.expression:
        flight.src, flight.sport = None, None
    else:
        if target.low is not None:
            flight.src = _pick(target.low, target.high)
        flight.sport = _new_port(target.ports, flight.sport, flight.proto)
    _bind(flight, "source", (flight.src, flight.sport) != before)
    return "accept"


def _masquerade(ports: Span | None, flight: Flight) -> Ends:
    before = flight.src, flight.sport
    primary = flight.network.primary(flight.version, flight.out_interface) if flight.out_interface != "lo" else None
    flight.src = primary.number if primary is not None else None
    flight.sport = _new_port(ports, flight.sport, flight.proto)
    _bind(flight, "source", (flight.src, flight.sport) != before)
    return "accept"


def _netmap(address: int, host: int, flight: Flight) -> Ends:
    if flight.hook in ("PREROUTING", "OUTPUT"):
        before = flight.dst
        flight.dst = None if flight.dst is None else address | flight.dst & host
        _bind(flight, "destination", flight.dst != before)
    else:
        before = flight.src
        flight.src = None if flight.src is None else address | flight.src & host
        _bind(flight, "source", flight.src != before)
    return "accept"


def _tproxy(target: t.Tproxy, flight: Flight) -> Ends:
    """xt_TPROXY.c and nft_tproxy.c: a transparent listener is taken to be there; the packet stays as it is."""
    if flight.proto not in ("tcp", "udp") or target.version not in (None, flight.version):
        return None
    flight.tproxied = True
    flight.tproxy = target.port if target.port else flight.dport
    if target.plain:
        return None
    flight.mark = flight.mark & ~target.mask & ALL_BITS ^ target.value
    return "accept"

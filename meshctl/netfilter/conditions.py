"""Whether a match holds for a packet: yes, no, or None where rules and packet do not tell.

Each class follows its kernel module (``net/netfilter/xt_*.c``, ``nft_*.c``), the odd cases included: what a negated
owner match says of a packet without a socket, or a conntrack match of one without a connection.
"""

from collections.abc import Iterable, Sequence

from meshctl.netfilter import matches as m
from meshctl.netfilter.addresses import Prefix, Span, prefix
from meshctl.netfilter.flight import PORTED, Connection, Flight
from meshctl.netfilter.model import Table
from meshctl.netfilter.protocols import PROTOCOL_NAMES, icmp_type
from meshctl.netfilter.routing import Kind


def holds(clause: m.Match, flight: Flight, table: Table) -> bool | None:
    """Whether the clause holds; `table` has the sets that it may name."""
    match clause:
        case m.Protocol(name, negated):
            return (flight.proto == name) != negated
        case m.NfProto(family, negated):
            return (flight.version == (4 if family == "ipv4" else 6)) != negated
        case m.Source(network, negated):
            return _in_network(network, flight.src, flight, negated)
        case m.Destination(network, negated):
            return _in_network(network, flight.dst, flight, negated)
        case m.AddressRange(side, version, low, high, negated):
            number = flight.src if side == "source" else flight.dst
            if version != flight.version:
                return False
            return None if number is None else (low <= number <= high) != negated
        case m.InInterface(name, negated):
            return _named(name, flight.in_interface) != negated
        case m.OutInterface(name, negated):
            return _named(name, flight.out_interface) != negated
        case m.Ports():
            return _ports(clause, flight)
        case m.TcpFlags(mask, wanted, negated):
            return _tcp_flags(mask, wanted, negated, flight)
        case m.IcmpType():
            return _icmp(clause, flight)
        case m.Owner():
            return _owner(clause, flight)
        case m.Mark(value, mask, negated):
            return (flight.mark & mask == value) != negated
        case m.Connmark(value, mask, negated):
            return _connmark(value, mask, negated, flight)
        case m.CtState(states, negated):
            return bool(conntrack_words(flight).intersection(states)) != negated
        case m.CtField():
            return _ct_field(clause, flight)
        case m.AddrType():
            return _addrtype(clause, flight)
        case m.Statistic():
            return _statistic(clause)
        case m.Module(name):
            return flight.proto == name if name in PORTED else True
        case m.Comment() | m.Accounting():
            return True
        case m.Fragment(negated):
            return negated
        case m.External(module, options):
            return _external(module, options, flight)
        case m.Lookup():
            return _lookup(clause, flight, table)
        case m.Socket() | m.IpSet() | m.Opaque():
            return None


def _in_network(network: Prefix, number: int | None, flight: Flight, negated: bool) -> bool | None:
    if network.version != flight.version:
        return False
    return None if number is None else network.contains(flight.version, number) != negated


def _named(pattern: str, name: str) -> bool:
    """Compare a device; a packet without one has the empty name, which only ``+`` fits (ip_packet_match)."""
    return name.startswith(pattern[:-1]) if pattern.endswith("+") else name == pattern


def _ports(clause: m.Ports, flight: Flight) -> bool | None:
    if clause.protocol:
        if flight.proto != clause.protocol:
            return False
    elif flight.proto not in PORTED:
        return False if clause.multi else None
    numbers = {
        "source": (flight.sport,),
        "destination": (flight.dport,),
        "either": (flight.sport, flight.dport),
    }[clause.side]
    found = [None if number is None else any(number in one for one in clause.ranges) for number in numbers]
    if any(found):
        return not clause.negated
    return None if None in found else clause.negated


def _tcp_flags(mask: Sequence[str], wanted: Sequence[str], negated: bool, flight: Flight) -> bool | None:
    if flight.proto != "tcp":
        return False
    if flight.packet.flags is None:
        return None
    return (set(flight.packet.flags) & set(mask) == set(wanted)) != negated


def _icmp(clause: m.IcmpType, flight: Flight) -> bool | None:
    """A packet whose type is not said is taken for an echo request."""
    if flight.proto != ("icmp" if clause.protocol == "icmp" else "ipv6-icmp"):
        return False
    number = flight.packet.icmp_type
    if number is None:
        number = 8 if clause.protocol == "icmp" else 128
    met = clause.number is None or clause.number == number
    if met and clause.code not in (None, 0):
        met = False
    return met != clause.negated


def _owner(clause: m.Owner, flight: Flight) -> bool | None:
    """xt_owner.c: without a socket only negated questions are true; nft_meta.c breaks off instead."""
    if flight.tproxied and flight.hook in ("PREROUTING", "INPUT"):
        # The listener's socket is the packet's from here on, and whose that is no rule shows.
        return None
    if not flight.socket or flight.hook not in ("OUTPUT", "POSTROUTING"):
        return clause.negated and not clause.strict
    if clause.kind == "socket" or clause.ids is None:
        return not clause.negated
    number = flight.packet.uid if clause.kind == "uid" else flight.packet.gid
    if number is None:
        return None
    met = number in clause.ids
    return None if clause.supplementary and not met else met != clause.negated


def _connmark(value: int, mask: int, negated: bool, flight: Flight) -> bool | None:
    connection = flight.connection
    if connection is None:
        return (value == 0) != negated if flight.template else False
    return None if connection.mark is None else (connection.mark & mask == value) != negated


def conntrack_words(flight: Flight) -> frozenset[str]:
    """The states that ``--ctstate`` can find: a packet that conntrack has not seen counts as INVALID.

    A zone that was set before puts a template in the connection's place, which counts as NEW (nf_ct_get).
    """
    connection = flight.connection
    if connection is None:
        return frozenset(("UNTRACKED",) if flight.untracked else ("NEW",) if flight.template else ("INVALID",))
    words = {connection.state}
    words.update(("SNAT",) if connection.source_changed else ())  # type: ignore[arg-type]
    words.update(("DNAT",) if connection.destination_changed else ())  # type: ignore[arg-type]
    return frozenset(words)


def _ct_field(clause: m.CtField, flight: Flight) -> bool | None:
    connection = flight.connection
    if connection is None and flight.template:
        connection = Connection("NEW", (0, 0, 0, 0), confirmed=True)
    if connection is None:
        return clause.beside_state
    met = _ct_value(clause.field, clause.value, flight, connection)
    return None if met is None else met != clause.negated


_TUPLE = {"ctorigsrc": 0, "ctorigdst": 1, "ctorigsrcport": 2, "ctorigdstport": 3}
_REPLY = {"ctrepldst": 0, "ctreplsrc": 1, "ctrepldstport": 2, "ctreplsrcport": 3}


def _ct_value(name: str, value: str, flight: Flight, connection: Connection) -> bool | None:
    try:
        if name in _TUPLE or name in _REPLY:
            number = connection.origin[_TUPLE[name]] if name in _TUPLE else flight.tuple[_REPLY[name]]
            if number is None:
                return None
            if name.endswith("port"):
                low, colon, high = value.partition(":")
                return int(low) <= number <= int(high if colon else low)
            return prefix(value).contains(flight.version, number)
    except ValueError:
        return None
    if name == "ctproto":
        return PROTOCOL_NAMES.get(value.lower(), value.lower()) == flight.proto
    if name == "ctdir":
        return value.upper() == "ORIGINAL"
    if name == "ctstatus":
        return bool(_status(connection).intersection(value.upper().split(",")))
    return None


def _status(connection: Connection) -> set[str]:
    flags = {
        "CONFIRMED": connection.confirmed or connection.state == "ESTABLISHED",
        "SNAT": connection.source_changed,
        "DNAT": connection.destination_changed,
        "SEEN_REPLY": connection.state == "ESTABLISHED",
    }
    return {name for name, there in flags.items() if there}


_TYPES: dict[Kind, str] = {"local": "LOCAL", "broadcast": "BROADCAST", "multicast": "MULTICAST", "unicast": "UNICAST"}


def address_type(flight: Flight, number: int | None, interface: str = "") -> str | None:
    """What the local table calls an address (inet_addr_type): anything else that is not multicast is UNICAST.

    None where the machine's addresses of this family are not known. `interface` limits LOCAL to one device.
    """
    network = flight.network
    if number is None:
        return "LOCAL" if flight.here else None
    if flight.version == 4:
        if number >> 28 == 14:
            return "MULTICAST"
        if number in (0, 0xFFFFFFFF):
            return "BROADCAST"
    elif number >> 120 == 255:
        return "MULTICAST"
    for route in network.routes:
        if (
            route.version == flight.version
            and route.table == "local"
            and route.network.contains(flight.version, number)
        ):
            if route.kind in _TYPES and (not interface or route.device == interface):
                return _TYPES[route.kind]
            return "UNICAST"
    known = network.complete or any(
        one.version == flight.version and one.interface != "lo" for one in network.addresses
    )
    return "UNICAST" if known else None


def _addrtype(clause: m.AddrType, flight: Flight) -> bool | None:
    number = flight.src if clause.side == "source" else flight.dst
    if flight.version == 6 and not clause.native:
        return _addrtype6(clause, number, flight)
    interface = {"in": flight.in_interface, "out": flight.out_interface, "": ""}[clause.limit]
    found = address_type(flight, number, interface)
    return None if found is None else (found in clause.types) != clause.negated


def _addrtype6(clause: m.AddrType, number: int | None, flight: Flight) -> bool | None:
    """xt_addrtype.c, match_type6: each type is asked for itself, and this machine's addresses are UNICAST as well."""
    if number is None:
        return None
    multicast = number >> 120 == 255
    if ("MULTICAST" in clause.types and not multicast) or ("UNICAST" in clause.types and (multicast or not number)):
        return clause.negated
    routed = {"LOCAL", "ANYCAST", "UNREACHABLE"}.intersection(clause.types)
    if not routed:
        return not clause.negated
    interface = {"in": flight.in_interface, "out": flight.out_interface, "": ""}[clause.limit]
    local = address_type(flight, number, interface)
    if local == "LOCAL" and "LOCAL" in routed:
        return not clause.negated
    return None if local is None or routed != {"LOCAL"} else clause.negated


def _statistic(clause: m.Statistic) -> bool | None:
    if clause.mode == "nth":
        return not clause.negated if clause.every == 1 else None
    chance = float(clause.probability)
    return (chance >= 1) != clause.negated if chance >= 1 or chance <= 0 else None


def _external(module: str, options: Sequence[str], flight: Flight) -> bool | None:
    if module == "physdev" and (flight.hook == "OUTPUT" or flight.in_interface == "lo"):
        asked = [option for option in options if option.startswith("--")]
        negated = sum(1 for option in options if option == "!")
        return negated == len(asked)
    return None


CHANCE = frozenset(("limit", "hashlimit", "recent", "statistic", "connlimit", "quota", "time"))


def stable(clause: m.Match) -> bool:
    """Whether an unknown clause gives the same answer to the same packet every time."""
    match clause:
        case m.External(module):
            return module not in CHANCE
        case m.Statistic() | m.Opaque():
            return False
        case m.Lookup(fields):
            return not any(field.startswith("numgen") for field in fields)
        case _:
            return True


# --- nft lookups -------------------------------------------------------------------------------------------------

MISSING = object()
"""The packet has no such field: nft breaks off, and the rule does not match, negated or not."""


def field_value(field: str, flight: Flight) -> object:
    """A packet field by nft's name: a number, a word, None where it is not known, MISSING where there is none."""
    head, _, tail = field.partition(" ")
    if head in ("ip", "ip6"):
        if flight.version != (4 if head == "ip" else 6):
            return MISSING
        return {"saddr": flight.src, "daddr": flight.dst, "protocol": flight.proto, "nexthdr": flight.proto}.get(tail)
    if head in PORTED or head == "th":
        if head != "th" and flight.proto != head:
            return MISSING
        return {"sport": flight.sport, "dport": flight.dport}.get(tail) if flight.proto in PORTED else None
    if head == "fib":
        return _fib_value(tail, flight)
    return _meta_value(field, flight)


def _fib_value(tail: str, flight: Flight) -> object:
    if not tail.endswith(" type"):
        return None
    keys = tail.removesuffix(" type").split(" . ")
    interface = flight.in_interface if "iif" in keys else flight.out_interface if "oif" in keys else ""
    found = address_type(flight, flight.src if "saddr" in keys else flight.dst, interface)
    return found.lower() if found else None


def _meta_value(field: str, flight: Flight) -> object:
    connection = flight.connection
    match field:
        case "meta l4proto":
            return flight.proto
        case "meta nfproto":
            return "ipv4" if flight.version == 4 else "ipv6"
        case "meta protocol" | "ether type":
            return "ip" if flight.version == 4 else "ip6"
        case "meta mark":
            return flight.mark
        case "iifname" | "iif":
            return flight.in_interface
        case "oifname" | "oif":
            return flight.out_interface
        case "meta skuid" | "meta skgid":
            if not flight.socket or flight.hook not in ("OUTPUT", "POSTROUTING"):
                return MISSING
            return flight.packet.uid if field == "meta skuid" else flight.packet.gid
        case "ct state":
            return next(iter(conntrack_words(flight) - {"SNAT", "DNAT"})).lower()
        case "ct mark":
            return MISSING if connection is None else connection.mark
        case "ct zone":
            return MISSING if connection is None else connection.zone
        case "ct direction":
            return MISSING if connection is None else "original"
        case "icmp type" | "icmpv6 type":
            return _icmp_value(field, flight)
        case _:
            return 0 if field.startswith("numgen ") and " mod 1 " in field else None


def _icmp_value(field: str, flight: Flight) -> object:
    version4 = field == "icmp type"
    if flight.proto != ("icmp" if version4 else "ipv6-icmp"):
        return MISSING
    return flight.packet.icmp_type if flight.packet.icmp_type is not None else 8 if version4 else 128


def _fits(field: str, element: m.Element, value: object, flight: Flight) -> bool | None:
    if value is None:
        return None
    if isinstance(value, int):
        if isinstance(element, Span):
            return value in element
        if isinstance(element, Prefix):
            return element.contains(flight.version, value)
        if field.startswith("icmp"):
            return icmp_type(4 if field == "icmp type" else 6, element).number == value
        return {"root": 0}.get(element, -1) == value if field in ("meta skuid", "meta skgid") else None
    if isinstance(element, str):
        if field in ("iifname", "oifname", "iif", "oif"):
            return _named(element[:-1] + "+" if element.endswith("*") else element, str(value))
        return PROTOCOL_NAMES.get(element, element) == value
    if isinstance(element, Span) and field in ("meta l4proto", "ip protocol", "ip6 nexthdr"):
        return PROTOCOL_NAMES.get(str(element.low)) == value
    return False


def element_holds(fields: Sequence[str], element: Sequence[m.Element], flight: Flight) -> bool | None:
    """Whether the packet's fields are this element; False as well where one of them is missing."""
    answer: bool | None = True
    for field, part in zip(fields, element, strict=False):
        value = field_value(field, flight)
        fits = False if value is MISSING else _fits(field, part, value, flight)
        if fits is False:
            return False
        answer = None if fits is None else answer
    return answer


def missing(fields: Iterable[str], flight: Flight) -> bool:
    """Whether the packet lacks one of the fields."""
    return any(field_value(field, flight) is MISSING for field in fields)


def _lookup(clause: m.Lookup, flight: Flight, table: Table) -> bool | None:
    if missing(clause.fields, flight):
        return False
    elements = clause.elements
    if clause.name:
        found = next((one for one in table.sets if one.name == clause.name), None)
        if found is None:
            return None
        elements = found.elements
    answers = [element_holds(clause.fields, element, flight) for element in elements]
    if True in answers:
        return not clause.negated
    return None if None in answers else clause.negated


def actual(clause: m.Match, flight: Flight) -> str:
    """What the packet has where the clause wants something else, in a few words."""
    match clause:
        case m.Protocol():
            return f"it is {flight.proto}"
        case m.NfProto():
            return f"it is IPv{flight.version}"
        case m.Source() | m.AddressRange(side="source"):
            return f"its source is {flight.show(flight.src)}"
        case m.Destination() | m.AddressRange():
            return f"its destination is {flight.show(flight.dst)}"
        case m.InInterface():
            return f"it came in on {flight.in_interface}" if flight.in_interface else "it came in on no interface"
        case m.OutInterface():
            return f"it leaves by {flight.out_interface}" if flight.out_interface else "it has no way out yet"
        case m.Ports(side, _, _, protocol):
            if protocol and protocol != flight.proto:
                return f"it is {flight.proto}"
            return f"its {side} port is {flight.sport if side == 'source' else flight.dport}"
        case m.Owner(kind):
            number = flight.packet.uid if kind == "uid" else flight.packet.gid
            return f"its {kind} is {number}" if flight.socket else "no socket of this machine sends it"
        case m.Mark():
            return f"its mark is {flight.mark:#x}"
        case m.Connmark():
            connection = flight.connection
            return (
                "it has no connection" if connection is None else f"the connection's mark is {connection.mark or 0:#x}"
            )
        case m.CtState():
            return f"conntrack calls it {' '.join(sorted(conntrack_words(flight)))}"
        case m.TcpFlags():
            return f"its flags are {' '.join(flight.packet.flags or ()) or 'none'}"
        case _:
            return "it does not"

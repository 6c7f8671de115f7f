"""What nft's set lookups and verdict maps find for a packet: its fields, and the elements that they fit."""

from collections.abc import Iterable, Sequence

from meshctl.netfilter import matches as m
from meshctl.netfilter.address_kinds import address_type
from meshctl.netfilter.addresses import Prefix, Span
from meshctl.netfilter.flight import PORTED, Flight, device_fits
from meshctl.netfilter.model import Table
from meshctl.netfilter.protocols import PROTOCOL_NAMES, icmp_type
from meshctl.netfilter.tracking import conntrack_words

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
            return device_fits(element[:-1] + "+" if element.endswith("*") else element, str(value))
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


def looked_up(clause: m.Lookup, flight: Flight, table: Table) -> bool | None:
    """Whether the packet's fields are in the set; False as well where it lacks one of them."""
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

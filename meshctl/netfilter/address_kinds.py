"""What the local routing table calls an address, and iptables' ``-m addrtype`` (xt_addrtype.c)."""

from meshctl.netfilter import matches as m
from meshctl.netfilter.flight import Flight
from meshctl.netfilter.routing import Kind

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


def type_holds(clause: m.AddrType, flight: Flight) -> bool | None:
    """Whether the address that the clause asks about is of one of its types."""
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

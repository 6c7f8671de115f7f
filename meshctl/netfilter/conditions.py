"""Whether a match holds for a packet: yes, no, or None where rules and packet do not tell.

Each class follows its kernel module (``net/netfilter/xt_*.c``, ``nft_*.c``), the odd cases included: what a negated
owner match says of a packet without a socket, or a conntrack match of one without a connection.
"""

from collections.abc import Sequence

from meshctl.netfilter import matches as m
from meshctl.netfilter.address_kinds import type_holds
from meshctl.netfilter.addresses import Prefix
from meshctl.netfilter.flight import PORTED, Flight, device_fits
from meshctl.netfilter.model import Table
from meshctl.netfilter.nft_lookups import looked_up
from meshctl.netfilter.tracking import conntrack_words, field_holds, mark_holds


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
            return device_fits(name, flight.in_interface) != negated
        case m.OutInterface(name, negated):
            return device_fits(name, flight.out_interface) != negated
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
            return mark_holds(value, mask, negated, flight)
        case m.CtState(states, negated):
            return bool(conntrack_words(flight).intersection(states)) != negated
        case m.CtField():
            return field_holds(clause, flight)
        case m.AddrType():
            return type_holds(clause, flight)
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
            return looked_up(clause, flight, table)
        case m.Socket() | m.IpSet() | m.Opaque():
            return None


def _in_network(network: Prefix, number: int | None, flight: Flight, negated: bool) -> bool | None:
    if network.version != flight.version:
        return False
    return None if number is None else network.contains(flight.version, number) != negated


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

"""What connection tracking says of a packet while it is walked: its states and the fields of its connection."""

from meshctl.netfilter import matches as m
from meshctl.netfilter.addresses import prefix
from meshctl.netfilter.flight import Connection, Flight
from meshctl.netfilter.protocols import PROTOCOL_NAMES


def mark_holds(value: int, mask: int, negated: bool, flight: Flight) -> bool | None:
    """``-m connmark``: the connection's mark under `mask` is `value`."""
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


def field_holds(clause: m.CtField, flight: Flight) -> bool | None:
    """Another option of ``-m conntrack``."""
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
        return _has_status(value.upper().split(","), flight, connection)
    return None


def _has_status(words: list[str], flight: Flight, connection: Connection) -> bool | None:
    """Whether one of the states stands; ASSURED does once a client has acknowledged the answer (tcp_packet)."""
    if _status(connection).intersection(words):
        return True
    if "ASSURED" not in words or connection.state != "ESTABLISHED":
        return False
    flags = flight.packet.flags
    return None if flight.proto != "tcp" or flags is None else "SYN" not in flags


def _status(connection: Connection) -> set[str]:
    flags = {
        "CONFIRMED": connection.confirmed or connection.state == "ESTABLISHED",
        "SNAT": connection.source_changed,
        "DNAT": connection.destination_changed,
        "SEEN_REPLY": connection.state == "ESTABLISHED",
    }
    return {name for name, there in flags.items() if there}

"""What nft's ``match`` expressions ask (libnftables-json(5)), as the class that iptables shares where there is one.

What cannot be read raises ValueError (or KeyError, TypeError), and the caller keeps the expression as `Opaque`.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from meshctl.netfilter import matches as m
from meshctl.netfilter import targets as t
from meshctl.netfilter.addresses import Prefix, Span, address_number
from meshctl.netfilter.nft_fields import Json, element_of, field_names, flag_names, value_of
from meshctl.netfilter.protocols import icmp_type, protocol


def extension(value: Mapping[str, Json]) -> tuple[m.Match, ...] | t.Target:
    """``xt``: a match or target of iptables-nft, of which nft knows the name only."""
    name = str(value["name"])
    if value.get("type") == "match":
        return (m.Opaque(f"xt match {name}", xt=name),)
    return m.Opaque(f"xt target {name}", xt=name)


def match_of(value: Mapping[str, Json]) -> m.Match:
    """``match``: a comparison of packet fields."""
    operator, left, right = value["op"], value["left"], value["right"]
    if operator not in ("==", "!=", "in"):
        raise ValueError(operator)
    negated = operator == "!="
    if isinstance(left, dict) and "&" in left:
        return _masked(left["&"], right, negated)
    fields = field_names(left)
    if isinstance(right, str) and right.startswith("@"):
        return m.Lookup(fields, (), right[1:], negated)
    if len(fields) > 1:
        elements = right["set"] if isinstance(right, dict) and "set" in right else [right]
        return m.Lookup(fields, tuple(element_of(item) for item in elements), "", negated)
    return _single(fields[0], right, negated, operator)


def _masked(operands: Sequence[Json], right: Json, negated: bool) -> m.Match:
    left, mask = operands
    name = field_names(left)[0]
    if name == "tcp flags":
        return m.TcpFlags(flag_names(mask), flag_names(right), negated)
    if not isinstance(mask, int) or not isinstance(right, int):
        raise ValueError(name)
    if name == "meta mark":
        return m.Mark(right, mask, negated)
    if name == "ct mark":
        return m.Connmark(right, mask, negated)
    raise ValueError(name)


_PORT_PROTOCOLS = {"tcp": "tcp", "udp": "udp", "sctp": "sctp", "dccp": "dccp", "udplite": "udplite", "th": ""}

_PORT_SIDES: dict[str, Literal["source", "destination"]] = {"sport": "source", "dport": "destination"}


def _single(field: str, right: Json, negated: bool, operator: str) -> m.Match:
    """A comparison of one field, as the class that iptables shares where there is one."""
    head, _, tail = field.partition(" ")
    several = right["set"] if isinstance(right, dict) and "set" in right else None
    if head in _PORT_PROTOCOLS and tail in _PORT_SIDES:
        values = [value_of(item) for item in (several if several is not None else [right])]
        spans = tuple(value for value in values if isinstance(value, Span))
        if len(spans) == len(values):
            return m.Ports(_PORT_SIDES[tail], spans, negated, _PORT_PROTOCOLS[head])
    if field == "ct state":
        states = several if several is not None else right if isinstance(right, list) else [right]
        return m.CtState(tuple(str(state).upper() for state in states), negated)
    if several is not None:
        return m.Lookup((field,), tuple(element_of(item) for item in several), "", negated)
    if field == "tcp flags" and operator == "in":
        flags = flag_names(right)
        return m.TcpFlags(flags, (), True) if not negated else m.TcpFlags(flags, (), False)
    if field.startswith("fib ") and field.endswith(" type"):
        return _fib(field, right, negated)
    if isinstance(right, dict) and "range" in right and tail in ("saddr", "daddr"):
        low, high = right["range"]
        side: Literal["source", "destination"] = "source" if tail == "saddr" else "destination"
        return m.AddressRange(side, address_number(low)[0], address_number(low)[1], address_number(high)[1], negated)
    return _scalar(field, right, value_of(right), negated)


def _fib(field: str, right: Json, negated: bool) -> m.Match:
    keys = field.removeprefix("fib ").removesuffix(" type").split(" . ")
    side: Literal["source", "destination"] = "source" if "saddr" in keys else "destination"
    limit: Literal["", "in", "out"] = "in" if "iif" in keys else "out" if "oif" in keys else ""
    if set(keys) - {"saddr", "daddr", "iif", "oif"}:
        raise ValueError(field)
    return m.AddrType(side, (str(right).upper(),), negated, limit, native=True)


def _wildcard(name: str) -> str:
    return name[:-1] + "+" if name.endswith("*") else name


def _scalar(field: str, right: Json, value: m.Element, negated: bool) -> m.Match:
    match field, value:
        case ("ip saddr" | "ip6 saddr", Prefix()):
            return m.Source(value, negated)
        case ("ip daddr" | "ip6 daddr", Prefix()):
            return m.Destination(value, negated)
        case ("iifname" | "iif", str()):
            return m.InInterface(_wildcard(value), negated, field == "iif")
        case ("oifname" | "oif", str()):
            return m.OutInterface(_wildcard(value), negated, field == "oif")
        case ("meta l4proto", _):
            found = protocol(str(right), negated)
            if found is None:
                raise ValueError(field)
            return found
        case ("meta nfproto", "ipv4"):
            return m.NfProto("ipv4", negated)
        case ("meta nfproto", "ipv6"):
            return m.NfProto("ipv6", negated)
        case ("meta skuid", Span() | "root"):
            return m.Owner("uid", value if isinstance(value, Span) else Span(0, 0), negated, strict=True)
        case ("meta skgid", Span() | "root"):
            return m.Owner("gid", value if isinstance(value, Span) else Span(0, 0), negated, strict=True)
        case ("meta mark", Span(low, high)) if low == high:
            return m.Mark(low, m.ALL_BITS, negated)
        case ("ct mark", Span(low, high)) if low == high:
            return m.Connmark(low, m.ALL_BITS, negated)
        case ("icmp type", _):
            return icmp_type(4, str(right), negated)
        case ("icmpv6 type", _):
            return icmp_type(6, str(right), negated)
        case ("socket transparent", Span(1, 1)) if not negated:
            return m.Socket(("--transparent",))
        case _:
            return _other(field, right, value, negated)


_CT_WORDS = {
    "ct direction": "ctdir",
    "ct status": "ctstatus",
    "ct original ip saddr": "ctorigsrc",
    "ct original ip6 saddr": "ctorigsrc",
    "ct original ip daddr": "ctorigdst",
    "ct original ip6 daddr": "ctorigdst",
    "ct original proto-dst": "ctorigdstport",
    "ct original proto-src": "ctorigsrcport",
    "ct protocol": "ctproto",
}


def _other(field: str, right: Json, value: m.Element, negated: bool) -> m.Match:
    """A field without a class of its own: a lookup among one element, which a walk judges where it knows the field."""
    word = _CT_WORDS.get(field)
    if word is not None and isinstance(right, str | int):
        text = str(right).upper() if word in ("ctdir", "ctstatus") else str(right)
        return m.CtField(word, text, negated)
    return m.Lookup((field,), ((value,),), "", negated)

"""The packet fields that nft's JSON expressions read, and the values that they are compared with.

Expressions as in libnftables-json(5). What cannot be read raises ValueError (or KeyError, TypeError).
"""

from typing import Any

from meshctl.netfilter import matches as m
from meshctl.netfilter.addresses import Span, address_number, prefix

Json = Any


def element_of(item: Json) -> tuple[m.Element, ...]:
    """One element of a set: as many values as its key has fields."""
    if isinstance(item, dict) and "elem" in item:
        item = item["elem"]["val"]
    if isinstance(item, dict) and "concat" in item:
        return tuple(value_of(part) for part in item["concat"])
    return (value_of(item),)


def value_of(item: Json) -> m.Element:
    """A number, an address, a prefix, a range or a word."""
    if isinstance(item, bool):
        raise ValueError(item)
    if isinstance(item, int):
        return Span(item, item)
    if isinstance(item, str):
        if item.count(".") == 3 or ":" in item:
            try:
                return prefix(item)
            except ValueError:
                return item
        return item
    if "prefix" in item:
        return prefix(f"{item['prefix']['addr']}/{item['prefix']['len']}")
    if "range" in item:
        low, high = item["range"]
        if isinstance(low, int):
            return Span(low, high)
        return Span(address_number(low)[1], address_number(high)[1])
    raise ValueError(f"not a value: {item}")


_FLAG_ORDER = ("FIN", "SYN", "RST", "PSH", "ACK", "URG")


def flag_names(value: Json) -> tuple[str, ...]:
    """TCP flags as names in the order of their bits."""
    if isinstance(value, int):
        return tuple(name for bit, name in enumerate(_FLAG_ORDER) if value >> bit & 1)
    if isinstance(value, dict):
        value = value["|"]
    names = {str(name).upper() for name in ([value] if isinstance(value, str) else value)}
    if not names <= set(_FLAG_ORDER):
        raise ValueError(value)
    return tuple(name for name in _FLAG_ORDER if name in names)


def field_names(left: Json) -> tuple[str, ...]:
    """The packet fields that an expression reads, in nft's words; ValueError for arithmetic and hashes."""
    if "concat" in left:
        return tuple(name for part in left["concat"] for name in field_names(part))
    ((kind, body),) = left.items()
    if kind == "payload" and "field" in body:
        return (f"{body['protocol']} {body['field']}",)
    if kind == "meta":
        key = body["key"]
        return (key if key in ("iifname", "oifname", "iif", "oif") else f"meta {key}",)
    if kind == "ct":
        side = f"{body['dir']} " if "dir" in body else ""
        return (f"ct {side}{body['key']}",)
    if kind == "fib":
        return (f"fib {' . '.join(body['flags'])} {body['result']}",)
    if kind == "socket":
        return (f"socket {body['key']}",)
    if kind == "numgen":
        return (f"numgen {body['mode']} mod {body['mod']} offset {body.get('offset', 0)}",)
    raise ValueError(kind)

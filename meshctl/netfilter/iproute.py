"""Reads what ``ip -j address``, ``ip -j route show table all`` and ``ip -j rule`` print (iproute2)."""

import json
from collections.abc import Iterator
from typing import Any

from meshctl import json_text
from meshctl.errors import BadInput
from meshctl.netfilter.addresses import Prefix, address_number, prefix
from meshctl.netfilter.routing import Address, Kind, PolicyRule, Route, Version

_KINDS: dict[str, Kind] = {
    "local": "local",
    "unicast": "unicast",
    "broadcast": "broadcast",
    "anycast": "local",
    "multicast": "multicast",
    "blackhole": "blackhole",
    "unreachable": "unreachable",
    "prohibit": "prohibit",
}
_RULE_KEYS = frozenset(
    ("priority", "src", "srclen", "dst", "dstlen", "fwmark", "fwmask", "table", "iif", "oif", "not", "action")
) | {"flags", "protocol"}


def _load(text: str, source: str, what: str) -> list[dict[str, Any]]:
    if not text.strip():
        return []
    try:
        found = json_text.loads(text)
    except json.JSONDecodeError as error:
        raise BadInput(f"{source}:{error.lineno}: not the JSON of `{what}`: {error.msg}") from None
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise BadInput(f"{source}:1: JSON, but not of `{what}`: a list of objects is expected")
    return [item for item in found if item]


def parse_addresses(text: str, source: str = "ip-address.json") -> tuple[Address, ...]:
    """Read ``ip -j address``."""
    found: list[Address] = []
    for number, item in enumerate(_load(text, source, "ip -j address"), 1):
        try:
            found += _addresses(item)
        except _WRONG:
            raise _unreadable(source, "ip -j address", number, item) from None
    return tuple(found)


_WRONG = (ValueError, TypeError, AttributeError, KeyError)


def _unreadable(source: str, what: str, number: int, item: dict[str, Any]) -> BadInput:
    return BadInput(f"{source}: entry {number} of `{what}` cannot be read: {json.dumps(item)[:80]}")


def _addresses(item: dict[str, Any]) -> Iterator[Address]:
    for info in item.get("addr_info", ()):
        if "local" in info:
            version, number = address_number(str(info["local"]))
            yield Address(str(item.get("ifname", "")), version, number, int(info.get("prefixlen", 0)))


def parse_routes(text: str, source: str = "ip-route.json") -> tuple[Route, ...]:
    """Read ``ip -j route show table all`` (both families may be in one list, as ``ip -6`` appends to it)."""
    found: list[Route] = []
    for number, item in enumerate(_load(text, source, "ip -j route"), 1):
        try:
            found.append(_route(item, source))
        except _WRONG:
            raise _unreadable(source, "ip -j route", number, item) from None
    return tuple(found)


def _route(item: dict[str, Any], source: str) -> Route:
    destination = str(item.get("dst", ""))
    version = _version(item, destination)
    whole = prefix("0.0.0.0/0" if version == 4 else "::/0")
    try:
        network = whole if destination in ("default", "") else prefix(destination)
    except ValueError:
        raise BadInput(f"{source}: a route to {destination!r} cannot be read") from None
    device = str(item.get("dev") or next((hop.get("dev", "") for hop in item.get("nexthops", ())), ""))
    preferred = item.get("prefsrc")
    return Route(
        version,
        str(item.get("table", "main")),
        _KINDS.get(str(item.get("type", "unicast")), "none"),
        network,
        device,
        address_number(preferred)[1] if preferred else None,
        int(item.get("metric", 0)),
    )


def _version(item: dict[str, Any], destination: str) -> Version:
    """A route's family: iproute2 leaves it out, so a default route tells it by gateway or by what only IPv6 prints."""
    texts = (destination, str(item.get("gateway", "")), str(item.get("prefsrc", "")))
    if any(":" in text for text in texts):
        return 6
    if "." in destination or "." in texts[1]:
        return 4
    return 6 if "pref" in item else 4


def parse_rules(text: str, source: str = "ip-rule.json") -> tuple[PolicyRule, ...]:
    """Read ``ip -j rule``."""
    found: list[PolicyRule] = []
    for number, item in enumerate(_load(text, source, "ip -j rule"), 1):
        try:
            found.append(_rule(item))
        except _WRONG:
            raise _unreadable(source, "ip -j rule", number, item) from None
    return tuple(sorted(found, key=lambda rule: rule.priority))


def _rule(item: dict[str, Any]) -> PolicyRule:
    mark = item.get("fwmark")
    return PolicyRule(
        int(item.get("priority", 0)),
        str(item.get("table", "")),
        int(str(mark), 0) if mark is not None else None,
        int(str(item.get("fwmask", "0xffffffff")), 0),
        _rule_prefix(item, "src"),
        _rule_prefix(item, "dst"),
        str(item.get("iif", "")),
        str(item.get("oif", "")),
        "not" in item,
        str(item.get("action", "lookup")) if "table" not in item else "lookup",
        tuple(f"{key} {value}" for key, value in item.items() if key not in _RULE_KEYS),
    )


def _rule_prefix(item: dict[str, Any], key: str) -> Prefix | None:
    text = str(item.get(key, "all"))
    if text in ("all", "default"):
        return None
    return prefix(f"{text}/{item[key + 'len']}" if f"{key}len" in item else text)

"""What nft's statements do (libnftables-json(5)): verdicts, verdict maps, nat, marks.

What cannot be read raises ValueError (or KeyError, TypeError), and the caller keeps the statement as `Opaque`.
"""

import json
from collections.abc import Mapping
from typing import Literal

from meshctl.netfilter import matches as m
from meshctl.netfilter import targets as t
from meshctl.netfilter.addresses import Span, address_number
from meshctl.netfilter.nft_fields import Json, element_of, field_names, value_of


def verdict_of(value: Mapping[str, Json]) -> t.VerdictTarget | None:
    """A verdict statement; None for any other."""
    ((kind, body),) = value.items()
    match kind:
        case "accept":
            return t.Accept()
        case "drop":
            return t.Drop()
        case "return":
            return t.Return()
        case "jump" if isinstance(body["target"], str):
            return t.Jump(body["target"])
        case "goto" if isinstance(body["target"], str):
            return t.Goto(body["target"])
        case _:
            return None


def action_of(kind: str, value: Json) -> t.Target:
    """A statement that does something; ValueError for one that is not understood."""
    verdict = verdict_of({kind: value})
    if verdict is not None:
        return verdict
    match kind:
        case "redirect":
            return t.Redirect(_nat_ports(value), _nat_flags(value))
        case "masquerade":
            return t.Masquerade(_nat_ports(value), _nat_flags(value))
        case "dnat":
            return t.Dnat(*_nat(value))
        case "snat":
            return t.Snat(*_nat(value))
        case "reject":
            return t.Reject(_rejected_with(value))
        case "queue":
            return t.Queue((json.dumps(value),) if value else (), "queue")
        case "mangle":
            return _mangle(value["key"], value["value"], {kind: value})
        case "tproxy":
            family = value.get("family")
            version: Literal[4, 6] | None = {"ip": 4, "ip6": 6}.get(family)  # type: ignore[assignment]
            port = value.get("port")
            if port is not None and not isinstance(port, int):
                raise ValueError("tproxy")
            return t.Tproxy(port, str(value.get("addr", "")), 0, 0, version, plain=True)
        case "notrack":
            return t.Notrack("notrack")
        case "log" | "ct helper" | "ct timeout" | "flow" | "dup" | "set":
            return t.Passive(kind, (json.dumps(value),) if value else ())
        case "vmap":
            return _vmap(value)
        case _:
            raise ValueError(kind)


def _rejected_with(value: object) -> str:
    """How ``reject`` answers, as nft prints it: ``tcp reset``, ``icmpx port-unreachable``."""
    if isinstance(value, dict) and value and set(value) <= {"type", "expr"}:
        words = [value.get("type"), value.get("expr")]
        if all(word is None or isinstance(word, str) for word in words):
            return " ".join(word for word in words if word)
    return json.dumps(value) if value else ""


def _nat_flags(value: Json) -> tuple[str, ...]:
    flags = (value or {}).get("flags", ())
    return (flags,) if isinstance(flags, str) else tuple(flags)


def _nat_ports(value: Json) -> Span | None:
    port = (value or {}).get("port")
    if port is None:
        return None
    found = value_of(port)
    if not isinstance(found, Span):
        raise ValueError(port)
    return found


def _nat(
    value: Mapping[str, Json],
) -> tuple[Literal[4, 6] | None, int | None, int | None, Span | None, tuple[str, ...], str]:
    flags = _nat_flags(value)
    address = value.get("addr")
    version: Literal[4, 6] | None = {"ip": 4, "ip6": 6}.get(str(value.get("family")))  # type: ignore[assignment]
    if isinstance(address, dict) and "range" not in address:
        return version, None, None, None, flags, json.dumps(dict(value))
    ports = _nat_ports(value)
    if address is None:
        return version, None, None, ports, flags, ""
    low, high = address["range"] if isinstance(address, dict) else (address, address)
    version, start = address_number(low)
    return version, start, address_number(high)[1], ports, flags, ""


def _mangle(key: Json, value: Json, whole: Json) -> t.Target:
    name = "tcp option" if "tcp option" in key else field_names(key)[0]
    if name in ("ct zone", "ct original zone", "ct reply zone") and isinstance(value, int):
        side: Literal["", "orig", "reply"] = "orig" if "original" in name else "reply" if "reply" in name else ""
        return t.CtZone(value, side)
    if name in ("meta mark", "ct mark"):
        source, keep, flip = _linear(value)
        return _set_mark(name, source, keep, flip)
    if name == "tcp option" or name in ("meta priority", "meta nftrace"):
        return t.Passive("mangle", (json.dumps(whole),))
    raise ValueError(name)


def _set_mark(name: str, source: str, keep: int, flip: int) -> t.Target:
    """``name := source & keep ^ flip`` as one of the mark targets."""
    own = source in ("", name)
    if not own and flip:
        raise ValueError("a mark from the other mark, and then changed")
    mask = ~keep & m.ALL_BITS if source == name else m.ALL_BITS
    if name == "meta mark":
        return t.SetMark(flip, mask) if own else t.RestoreMark(m.ALL_BITS, keep)
    return t.SetConnmark(flip, mask) if own else t.SaveMark(keep, m.ALL_BITS)


def _linear(value: Json) -> tuple[str, int, int]:
    """An expression over one mark as ``source & keep ^ flip``; source is empty for a number."""
    if isinstance(value, int):
        return "", 0, value
    ((operator, operands),) = value.items()
    if operator in ("&", "|", "^"):
        left, right = operands
        source, keep, flip = _linear(left)
        if not isinstance(right, int):
            raise ValueError(operator)
        if operator == "&":
            return source, keep & right, flip & right
        if operator == "|":
            return source, keep & ~right & m.ALL_BITS, (flip & ~right & m.ALL_BITS) | right
        return source, keep, flip ^ right
    name = field_names(value)[0]
    if name not in ("meta mark", "ct mark"):
        raise ValueError(name)
    return name, m.ALL_BITS, 0


def _vmap(value: Mapping[str, Json]) -> t.Target:
    fields = field_names(value["key"])
    data = value["data"]
    if isinstance(data, str) and data.startswith("@"):
        return t.VerdictMap(fields, (), data[1:])
    entries: list[tuple[tuple[m.Element, ...], t.VerdictTarget]] = []
    for item, verdict in data["set"]:
        target = verdict_of(verdict)
        if target is None:
            raise ValueError(verdict)
        entries.append((element_of(item), target))
    return t.VerdictMap(fields, tuple(entries))

"""Reads ``nft -j list ruleset`` (libnftables-json(5)) and writes it back.

Native tables become rulesets of backend ``nftables``. The tables that iptables-nft keeps (``ip nat`` with PREROUTING,
OUTPUT ...) become rulesets of backend ``nft`` with `through_nft`: there nft knows a match or target only by name
(``xt``), and it is kept as Opaque; `merge` drops those tables where iptables-save has shown them whole.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from meshctl.errors import BadInput
from meshctl.netfilter import nft_text
from meshctl.netfilter.iptables_words import icmp_type, protocol
from meshctl.netfilter.model import (
    ALL_BITS,
    BUILT_IN,
    Accept,
    AddressRange,
    AddrType,
    Chain,
    Comment,
    Connmark,
    CtField,
    CtState,
    CtZone,
    Destination,
    Dnat,
    Drop,
    Element,
    External,
    Family,
    Goto,
    InInterface,
    Jump,
    Lookup,
    Mark,
    Masquerade,
    Match,
    NamedSet,
    NfProto,
    Notrack,
    Opaque,
    OutInterface,
    Owner,
    Passive,
    Ports,
    Prefix,
    Queue,
    Redirect,
    Reject,
    RestoreMark,
    Return,
    Rule,
    Ruleset,
    SaveMark,
    SetConnmark,
    SetMark,
    Snat,
    Socket,
    Source,
    Span,
    Table,
    Target,
    TcpFlags,
    Tproxy,
    VerdictMap,
    VerdictTarget,
    address_number,
    prefix,
)
from meshctl.origin import Origin

Json = Any

_FAMILIES: dict[str, Family] = {"ip": "ipv4", "ip6": "ipv6", "inet": "inet"}


def parse(text: str, source: str = "nft.json") -> tuple[Ruleset, ...]:
    """Read a listing: one ruleset for each family and kind; BadInput with the place for what is no listing."""
    if not text.strip():
        return ()
    try:
        listing = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadInput(
            f"{source}:{error.lineno}: the nft listing breaks off or is not JSON: {error.msg} (column {error.colno})",
            hint="`nft -j list ruleset` writes one JSON document; take it again",
        ) from None
    if not isinstance(listing, dict) or not isinstance(listing.get("nftables"), list):
        raise BadInput(f"{source}:1: JSON, but not of nft: there is no `nftables` list")
    return _Listing(source).read(listing["nftables"])


class _Listing:
    """The tables of one listing while its objects are read."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.tables: dict[tuple[str, str], Table] = {}
        self.chains: dict[tuple[str, str], dict[str, Chain]] = {}
        self.rules: dict[tuple[str, str, str], list[Rule]] = {}
        self.sets: dict[tuple[str, str], list[NamedSet]] = {}
        self.extra: dict[tuple[str, str], list[Opaque]] = {}
        self.remarks: list[str] = []

    def read(self, objects: Sequence[Json]) -> tuple[Ruleset, ...]:
        for index, item in enumerate(objects):
            path = f"nftables[{index}]"
            if not isinstance(item, dict) or len(item) != 1:
                raise BadInput(f"{self.source} {path}: not an object of nft: {json.dumps(item)[:80]}")
            ((kind, body),) = item.items()
            if kind == "metainfo":
                continue
            try:
                self._object(kind, body, Origin(self.source, None, path))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise BadInput(f"{self.source} {path}: a {kind} that cannot be read: {error!r}") from None
        return self._rulesets()

    def _object(self, kind: str, body: Mapping[str, Json], origin: Origin) -> None:
        if kind == "table":
            if not (isinstance(body["family"], str) and isinstance(body["name"], str)):
                raise ValueError("family and name have to be names")
            key = (body["family"], body["name"])
            self.tables[key] = Table(body["name"], origin=origin, handle=body.get("handle"))
            return
        family, name = body["family"], body.get("table", "")
        if kind in ("chain", "rule") and not (isinstance(family, str) and isinstance(name, str) and name):
            raise ValueError("family and table have to be names")
        key = (family, name)
        if key not in self.tables and key[1]:
            self.tables[key] = Table(key[1], origin=origin)
        if kind == "chain":
            if not isinstance(body["name"], str):
                raise ValueError("the chain's name has to be one")
            self.chains.setdefault(key, {})[body["name"]] = _chain(body, origin)
        elif kind == "rule":
            place = (*key, str(body["chain"]))
            self.rules.setdefault(place, []).append(read_rule(body, origin))
            self.chains.setdefault(key, {}).setdefault(place[2], Chain(place[2], origin=origin))
        elif kind in ("set", "map"):
            self.sets.setdefault(key, []).append(_named_set(kind, body, origin))
        elif key[1]:
            self.extra.setdefault(key, []).append(Opaque(json.dumps({kind: body})))
        else:
            self.remarks.append(f"not read: {json.dumps({kind: body})[:200]}")

    def _rulesets(self) -> tuple[Ruleset, ...]:
        found: dict[tuple[Family, bool], list[Table]] = {}
        for (family_name, name), head in self.tables.items():
            key = (family_name, name)
            chains = tuple(
                _with_rules(chain, tuple(self.rules.get((*key, chain.name), ())))
                for chain in self.chains.get(key, {}).values()
            )
            table = Table(
                name, chains, tuple(self.sets.get(key, ())), head.origin, head.handle, tuple(self.extra.get(key, ()))
            )
            family = _FAMILIES.get(family_name)
            if family is None:
                rules = sum(len(chain.rules) for chain in chains)
                self.remarks.append(f"table {family_name} {name} ({rules} rules) is of a family that is not walked")
                continue
            found.setdefault((family, family != "inet" and _of_iptables(table)), []).append(table)
        if not found:
            return (Ruleset("inet", "nftables", (), self.source, remarks=tuple(self.remarks)),)
        remarks = tuple(self.remarks)
        return tuple(
            Ruleset(family, "nft" if theirs else "nftables", tuple(tables), self.source, theirs, remarks)
            for (family, theirs), tables in found.items()
        )


def _with_rules(chain: Chain, rules: tuple[Rule, ...]) -> Chain:
    return Chain(
        chain.name,
        rules,
        chain.hook,
        chain.type,
        chain.priority,
        chain.policy,
        None,
        None,
        chain.origin,
        chain.handle,
        chain.device,
    )


def _of_iptables(table: Table) -> bool:
    """Whether iptables-nft keeps this table: its name, and base chains named as their hooks."""
    built_in = BUILT_IN.get(table.name)
    based = [chain for chain in table.chains if chain.hook]
    return built_in is not None and all(chain.name == chain.hook and chain.name in built_in for chain in based)


def _chain(body: Mapping[str, Json], origin: Origin) -> Chain:
    hook = body.get("hook")
    return Chain(
        body["name"],
        (),
        hook=hook.upper() if hook else None,
        type=body.get("type"),
        priority=int(body["prio"]) if hook and "prio" in body else None,
        policy=str(body.get("policy", "accept")).upper() if hook else None,
        origin=origin,
        handle=body.get("handle"),
        device=str(body.get("dev", "")),
    )


def _named_set(kind: str, body: Mapping[str, Json], origin: Origin) -> NamedSet:
    key = body["type"]
    key = tuple(key) if isinstance(key, list) else tuple(str(key).split(" . "))
    elements: list[tuple[Element, ...]] = []
    values: list[VerdictTarget | str] = []
    for item in body.get("elem", ()):
        if kind == "map":
            item, value = item
            verdict = _verdict(value) if isinstance(value, dict) else None
            values.append(json.dumps(value) if verdict is None else verdict)
        elements.append(_element(item))
    flags = tuple(body.get("flags", ())) + ((f"data {body['map']}",) if kind == "map" else ())
    return NamedSet(body["name"], "map" if kind == "map" else "set", key, tuple(elements), tuple(values), flags, origin)


def _element(item: Json) -> tuple[Element, ...]:
    if isinstance(item, dict) and "elem" in item:
        item = item["elem"]["val"]
    if isinstance(item, dict) and "concat" in item:
        return tuple(_value(part) for part in item["concat"])
    return (_value(item),)


def _value(item: Json) -> Element:
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


# --- rules -------------------------------------------------------------------------------------------------------


def read_rule(body: Mapping[str, Json], origin: Origin) -> Rule:
    """One rule object: its expressions in order, as matches and then actions."""
    matches: list[Match] = []
    actions: list[Target] = []
    packets = count = None
    for expression in body.get("expr", ()):
        ((kind, value),) = expression.items()
        if kind == "counter" and isinstance(value, dict):
            packets, count = value.get("packets"), value.get("bytes")
            continue
        clause = _statement(kind, value)
        if isinstance(clause, tuple):
            late = any(not isinstance(action, Passive) for action in actions)
            if late:
                actions.append(Opaque(json.dumps(expression)))
            else:
                matches += clause
        else:
            actions.append(clause)
    if body.get("comment"):
        matches.append(Comment(str(body["comment"])))
    target = actions.pop() if actions else None
    chain = str(body["chain"])
    text = nft_text.clauses_text(tuple(matches), (*actions, *((target,) if target else ())), packets is not None)
    return Rule(chain, tuple(matches), target, packets, count, text, origin, tuple(actions), handle=body.get("handle"))


def _statement(kind: str, value: Json) -> tuple[Match, ...] | Target:
    """One expression: a tuple for matches, a target otherwise; Opaque where it is not understood."""
    try:
        if kind == "match":
            return (_match(value),)
        if kind == "xt":
            return _xt(value)
        if kind == "limit":
            return (External("limit", (json.dumps(value),)),)
        return _action(kind, value)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError):
        opaque = Opaque(json.dumps({kind: value}))
        return (opaque,) if kind in ("match", "xt", "limit", "quota", "ct count", "connlimit") else opaque


def _xt(value: Mapping[str, Json]) -> tuple[Match, ...] | Target:
    name = str(value["name"])
    if value.get("type") == "match":
        return (Opaque(f"xt match {name}", xt=name),)
    return Opaque(f"xt target {name}", xt=name)


def _match(value: Mapping[str, Json]) -> Match:
    operator, left, right = value["op"], value["left"], value["right"]
    if operator not in ("==", "!=", "in"):
        raise ValueError(operator)
    negated = operator == "!="
    if isinstance(left, dict) and "&" in left:
        return _masked(left["&"], right, negated)
    fields = field_names(left)
    if isinstance(right, str) and right.startswith("@"):
        return Lookup(fields, (), right[1:], negated)
    if len(fields) > 1:
        elements = right["set"] if isinstance(right, dict) and "set" in right else [right]
        return Lookup(fields, tuple(_element(item) for item in elements), "", negated)
    return _single(fields[0], right, negated, operator)


def _masked(operands: Sequence[Json], right: Json, negated: bool) -> Match:
    left, mask = operands
    name = field_names(left)[0]
    if name == "tcp flags":
        return TcpFlags(_flags(mask), _flags(right), negated)
    if not isinstance(mask, int) or not isinstance(right, int):
        raise ValueError(name)
    if name == "meta mark":
        return Mark(right, mask, negated)
    if name == "ct mark":
        return Connmark(right, mask, negated)
    raise ValueError(name)


_FLAG_ORDER = ("FIN", "SYN", "RST", "PSH", "ACK", "URG")


def _flags(value: Json) -> tuple[str, ...]:
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


_PORT_PROTOCOLS = {"tcp": "tcp", "udp": "udp", "sctp": "sctp", "dccp": "dccp", "udplite": "udplite", "th": ""}
_PORT_SIDES: dict[str, Literal["source", "destination"]] = {"sport": "source", "dport": "destination"}


def _single(field: str, right: Json, negated: bool, operator: str) -> Match:
    """A comparison of one field, as the class that iptables shares where there is one."""
    head, _, tail = field.partition(" ")
    several = right["set"] if isinstance(right, dict) and "set" in right else None
    if head in _PORT_PROTOCOLS and tail in _PORT_SIDES:
        values = [_value(item) for item in (several if several is not None else [right])]
        spans = tuple(value for value in values if isinstance(value, Span))
        if len(spans) == len(values):
            return Ports(_PORT_SIDES[tail], spans, negated, _PORT_PROTOCOLS[head])
    if field == "ct state":
        states = several if several is not None else right if isinstance(right, list) else [right]
        return CtState(tuple(str(state).upper() for state in states), negated)
    if several is not None:
        return Lookup((field,), tuple(_element(item) for item in several), "", negated)
    if field == "tcp flags" and operator == "in":
        flags = _flags(right)
        return TcpFlags(flags, (), True) if not negated else TcpFlags(flags, (), False)
    if field.startswith("fib ") and field.endswith(" type"):
        return _fib(field, right, negated)
    if isinstance(right, dict) and "range" in right and tail in ("saddr", "daddr"):
        low, high = right["range"]
        side: Literal["source", "destination"] = "source" if tail == "saddr" else "destination"
        return AddressRange(side, address_number(low)[0], address_number(low)[1], address_number(high)[1], negated)
    return _scalar(field, right, _value(right), negated)


def _fib(field: str, right: Json, negated: bool) -> Match:
    keys = field.removeprefix("fib ").removesuffix(" type").split(" . ")
    side: Literal["source", "destination"] = "source" if "saddr" in keys else "destination"
    limit: Literal["", "in", "out"] = "in" if "iif" in keys else "out" if "oif" in keys else ""
    if set(keys) - {"saddr", "daddr", "iif", "oif"}:
        raise ValueError(field)
    return AddrType(side, (str(right).upper(),), negated, limit, native=True)


def _wildcard(name: str) -> str:
    return name[:-1] + "+" if name.endswith("*") else name


def _scalar(field: str, right: Json, value: Element, negated: bool) -> Match:
    match field, value:
        case ("ip saddr" | "ip6 saddr", Prefix()):
            return Source(value, negated)
        case ("ip daddr" | "ip6 daddr", Prefix()):
            return Destination(value, negated)
        case ("iifname" | "iif", str()):
            return InInterface(_wildcard(value), negated, field == "iif")
        case ("oifname" | "oif", str()):
            return OutInterface(_wildcard(value), negated, field == "oif")
        case ("meta l4proto", _):
            found = protocol(str(right), negated)
            if found is None:
                raise ValueError(field)
            return found
        case ("meta nfproto", "ipv4"):
            return NfProto("ipv4", negated)
        case ("meta nfproto", "ipv6"):
            return NfProto("ipv6", negated)
        case ("meta skuid", Span() | "root"):
            return Owner("uid", value if isinstance(value, Span) else Span(0, 0), negated, strict=True)
        case ("meta skgid", Span() | "root"):
            return Owner("gid", value if isinstance(value, Span) else Span(0, 0), negated, strict=True)
        case ("meta mark", Span(low, high)) if low == high:
            return Mark(low, ALL_BITS, negated)
        case ("ct mark", Span(low, high)) if low == high:
            return Connmark(low, ALL_BITS, negated)
        case ("icmp type", _):
            return icmp_type(4, str(right), negated)
        case ("icmpv6 type", _):
            return icmp_type(6, str(right), negated)
        case ("socket transparent", Span(1, 1)) if not negated:
            return Socket(("--transparent",))
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


def _other(field: str, right: Json, value: Element, negated: bool) -> Match:
    """A field without a class of its own: a lookup among one element, which a walk judges where it knows the field."""
    word = _CT_WORDS.get(field)
    if word is not None and isinstance(right, str | int):
        text = str(right).upper() if word in ("ctdir", "ctstatus") else str(right)
        return CtField(word, text, negated)
    return Lookup((field,), ((value,),), "", negated)


# --- actions -----------------------------------------------------------------------------------------------------


def _verdict(value: Mapping[str, Json]) -> VerdictTarget | None:
    ((kind, body),) = value.items()
    match kind:
        case "accept":
            return Accept()
        case "drop":
            return Drop()
        case "return":
            return Return()
        case "jump" if isinstance(body["target"], str):
            return Jump(body["target"])
        case "goto" if isinstance(body["target"], str):
            return Goto(body["target"])
        case _:
            return None


def _action(kind: str, value: Json) -> Target:
    verdict = _verdict({kind: value})
    if verdict is not None:
        return verdict
    match kind:
        case "redirect":
            return Redirect(_nat_ports(value), _nat_flags(value))
        case "masquerade":
            return Masquerade(_nat_ports(value), _nat_flags(value))
        case "dnat":
            return Dnat(*_nat(value))
        case "snat":
            return Snat(*_nat(value))
        case "reject":
            return Reject(json.dumps(value) if value else "")
        case "queue":
            return Queue((json.dumps(value),) if value else (), "queue")
        case "mangle":
            return _mangle(value["key"], value["value"], {kind: value})
        case "tproxy":
            family = value.get("family")
            version: Literal[4, 6] | None = {"ip": 4, "ip6": 6}.get(family)  # type: ignore[assignment]
            port = value.get("port")
            if port is not None and not isinstance(port, int):
                raise ValueError("tproxy")
            return Tproxy(port, str(value.get("addr", "")), 0, 0, version, plain=True)
        case "notrack":
            return Notrack("notrack")
        case "log" | "ct helper" | "ct timeout" | "flow" | "dup" | "set":
            return Passive(kind, (json.dumps(value),) if value else ())
        case "vmap":
            return _vmap(value)
        case _:
            raise ValueError(kind)


def _nat_flags(value: Json) -> tuple[str, ...]:
    flags = (value or {}).get("flags", ())
    return (flags,) if isinstance(flags, str) else tuple(flags)


def _nat_ports(value: Json) -> Span | None:
    port = (value or {}).get("port")
    if port is None:
        return None
    found = _value(port)
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


def _mangle(key: Json, value: Json, whole: Json) -> Target:
    name = "tcp option" if "tcp option" in key else field_names(key)[0]
    if name in ("ct zone", "ct original zone", "ct reply zone") and isinstance(value, int):
        side: Literal["", "orig", "reply"] = "orig" if "original" in name else "reply" if "reply" in name else ""
        return CtZone(value, side)
    if name in ("meta mark", "ct mark"):
        source, keep, flip = _linear(value)
        return _set_mark(name, source, keep, flip)
    if name == "tcp option" or name in ("meta priority", "meta nftrace"):
        return Passive("mangle", (json.dumps(whole),))
    raise ValueError(name)


def _set_mark(name: str, source: str, keep: int, flip: int) -> Target:
    """``name := source & keep ^ flip`` as one of the mark targets."""
    own = source in ("", name)
    if not own and flip:
        raise ValueError("a mark from the other mark, and then changed")
    mask = ~keep & ALL_BITS if source == name else ALL_BITS
    if name == "meta mark":
        return SetMark(flip, mask) if own else RestoreMark(ALL_BITS, keep)
    return SetConnmark(flip, mask) if own else SaveMark(keep, ALL_BITS)


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
            return source, keep & ~right & ALL_BITS, (flip & ~right & ALL_BITS) | right
        return source, keep, flip ^ right
    name = field_names(value)[0]
    if name not in ("meta mark", "ct mark"):
        raise ValueError(name)
    return name, ALL_BITS, 0


def _vmap(value: Mapping[str, Json]) -> Target:
    fields = field_names(value["key"])
    data = value["data"]
    if isinstance(data, str) and data.startswith("@"):
        return VerdictMap(fields, (), data[1:])
    entries: list[tuple[tuple[Element, ...], VerdictTarget]] = []
    for item, verdict in data["set"]:
        target = _verdict(verdict)
        if target is None:
            raise ValueError(verdict)
        entries.append((_element(item), target))
    return VerdictMap(fields, tuple(entries))


# --- joining -----------------------------------------------------------------------------------------------------


def merge(rulesets: Iterable[Ruleset]) -> tuple[Ruleset, ...]:
    """The rulesets with no rule shown twice: what iptables-save shows whole replaces what nft shows of it by name.

    The tables of iptables-save take the handles that nft gives them (they tell which was made first). Two dumps of
    the same family and backend with a table in common are BadInput: it cannot be told which of them is meant.
    """
    kept = list(rulesets)
    whole: dict[tuple[str, str, str], Ruleset] = {}
    for ruleset in kept:
        for table in () if ruleset.through_nft else ruleset.tables:
            key = (ruleset.family, ruleset.backend, table.name)
            if key in whole:
                raise BadInput(
                    f"{whole[key].source} and {ruleset.source} both show table {table.name} of "
                    f"{ruleset.family}/{ruleset.backend}",
                    hint="give one dump for each family and backend, or say with --family which file is IPv6",
                )
            whole[key] = ruleset
    handles: dict[tuple[str, str], int | None] = {
        (ruleset.family, table.name): table.handle
        for ruleset in kept
        if ruleset.through_nft
        for table in ruleset.tables
    }
    merged = (_merged(ruleset, whole, handles) for ruleset in kept)
    return tuple(ruleset for ruleset in merged if ruleset is not None)


def _merged(
    ruleset: Ruleset, whole: Mapping[tuple[str, str, str], Ruleset], handles: Mapping[tuple[str, str], int | None]
) -> Ruleset | None:
    tables: list[Table] = []
    for table in ruleset.tables:
        if ruleset.through_nft and (ruleset.family, "nft", table.name) in whole:
            continue
        handle = handles.get((ruleset.family, table.name))
        if handle is not None and ruleset.backend == "nft" and not ruleset.through_nft:
            table = Table(table.name, table.chains, table.sets, table.origin, handle, table.extra)
        tables.append(table)
    if ruleset.through_nft and not tables:
        return None
    return Ruleset(ruleset.family, ruleset.backend, tuple(tables), ruleset.source, ruleset.through_nft, ruleset.remarks)

"""Reads ``nft -j list ruleset`` (libnftables-json(5)).

Native tables become rulesets of backend ``nftables``. The tables that iptables-nft keeps (``ip nat`` with PREROUTING,
OUTPUT ...) become rulesets of backend ``nft`` with `through_nft`: there nft knows a match or target only by name
(``xt``), and it is kept as Opaque; `meshctl.netfilter.merge` drops those tables where iptables-save has shown them
whole.
"""

import json
from collections.abc import Mapping, Sequence

from meshctl import json_text
from meshctl.errors import BadInput
from meshctl.netfilter import matches as m
from meshctl.netfilter import nft_text
from meshctl.netfilter import targets as t
from meshctl.netfilter.model import BUILT_IN, Chain, Family, NamedSet, Rule, Ruleset, Table
from meshctl.netfilter.nft_fields import Json, element_of
from meshctl.netfilter.nft_matches import extension, match_of
from meshctl.netfilter.nft_targets import action_of, verdict_of
from meshctl.origin import Origin

_FAMILIES: dict[str, Family] = {"ip": "ipv4", "ip6": "ipv6", "inet": "inet"}


def parse(text: str, source: str = "nft.json") -> tuple[Ruleset, ...]:
    """Read a listing: one ruleset for each family and kind; BadInput with the place for what is no listing."""
    if not text.strip():
        return ()
    try:
        listing = json_text.loads(text)
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
        self.extra: dict[tuple[str, str], list[m.Opaque]] = {}
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
            self.extra.setdefault(key, []).append(m.Opaque(json.dumps({kind: body})))
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
    elements: list[tuple[m.Element, ...]] = []
    values: list[t.VerdictTarget | str] = []
    for item in body.get("elem", ()):
        if kind == "map":
            item, value = item
            verdict = verdict_of(value) if isinstance(value, dict) else None
            values.append(json.dumps(value) if verdict is None else verdict)
        elements.append(element_of(item))
    flags = tuple(body.get("flags", ())) + ((f"data {body['map']}",) if kind == "map" else ())
    return NamedSet(body["name"], "map" if kind == "map" else "set", key, tuple(elements), tuple(values), flags, origin)


def read_rule(body: Mapping[str, Json], origin: Origin) -> Rule:
    """One rule object: its expressions in order, as matches and then actions."""
    matches: list[m.Match] = []
    actions: list[t.Target] = []
    packets = count = None
    for expression in body.get("expr", ()):
        ((kind, value),) = expression.items()
        if kind == "counter" and isinstance(value, dict):
            packets, count = value.get("packets"), value.get("bytes")
            continue
        clause = _statement(kind, value)
        if isinstance(clause, tuple):
            late = any(not isinstance(action, t.Passive) for action in actions)
            if late:
                actions.append(m.Opaque(json.dumps(expression)))
            else:
                matches += clause
        else:
            actions.append(clause)
    if body.get("comment"):
        matches.append(m.Comment(str(body["comment"])))
    target = actions.pop() if actions else None
    chain = str(body["chain"])
    text = nft_text.clauses_text(tuple(matches), (*actions, *((target,) if target else ())), packets is not None)
    return Rule(chain, tuple(matches), target, packets, count, text, origin, tuple(actions), handle=body.get("handle"))


def _statement(kind: str, value: Json) -> tuple[m.Match, ...] | t.Target:
    """One expression: a tuple for matches, a target otherwise; Opaque where it is not understood."""
    try:
        if kind == "match":
            return (match_of(value),)
        if kind == "xt":
            return extension(value)
        if kind == "limit":
            return (m.External("limit", (json.dumps(value),)),)
        return action_of(kind, value)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError):
        opaque = m.Opaque(json.dumps({kind: value}))
        return (opaque,) if kind in ("match", "xt", "limit", "quota", "ct count", "connlimit") else opaque

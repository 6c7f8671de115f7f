"""What kube-proxy's rules on a node do with a connection to a ClusterIP or NodePort: which chain, which endpoints.

Chains: ``pkg/proxy/iptables/proxier.go`` (KUBE-SERVICES, KUBE-SVC-*, KUBE-SVL-*, KUBE-EXT-*, KUBE-SEP-*)
and ``pkg/proxy/nftables/proxier.go`` (table kube-proxy, maps service-ips and service-nodeports), Kubernetes 1.34.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Literal, TypeAlias

from meshctl.frozen import dataclass
from meshctl.netfilter import matches as m
from meshctl.netfilter import targets as t
from meshctl.netfilter.addresses import Prefix, Span, address_number, address_text
from meshctl.netfilter.model import Chain, NamedSet, Rule, Ruleset, Table
from meshctl.origin import Origin

Cause: TypeAlias = Literal["", "no-endpoints", "no-local-endpoints", "source-range", "no-port", "no-service"]


@dataclass(frozen=True, slots=True)
class Choice:
    """An endpoint that the rules may choose, with its chance 0..1 and the rule that translates to it."""

    address: str
    port: int | None
    probability: float
    rule: Rule


@dataclass(frozen=True, slots=True)
class NodeDecision:
    """What the node's rules do: `matched` is the service's own rule, None where no rule is about this address.

    `refused`: the connection is rejected, `dropped`: without a word; `cause` says why, empty where it was not told.
    `affinity`: a recent endpoint of the same client is preferred; `remembered`: it is known which one that is.
    `entries` are the elements of nft's maps that chose a chain. `unknown` names a clause that was not understood.
    `masqueraded`: it arrives with an address of the node's.
    """

    matched: Rule | None = None
    via: tuple[Rule, ...] = ()
    choices: tuple[Choice, ...] = ()
    refused: bool = False
    dropped: bool = False
    affinity: bool = False
    remembered: bool = False
    cause: Cause = ""
    entries: tuple[tuple[Origin, str], ...] = ()
    unknown: tuple[str, ...] = ()
    mode: str = ""
    masqueraded: bool = False


@dataclass(frozen=True, slots=True)
class _Packet:
    version: int
    destination: int
    source: int | None
    port: int
    to_node: bool
    from_node: bool
    proto: str


@dataclass(slots=True)
class _Findings:
    matched: Rule | None = None
    via: list[Rule] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    refused: bool = False
    dropped: bool = False
    affinity: bool = False
    remembered: bool = False
    cause: Cause = ""
    entries: list[tuple[Origin, str]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    masqueraded: bool = False

    @property
    def settled(self) -> bool:
        """Whether the connection has met its end or its endpoints."""
        return bool(self.choices) or self.refused or self.dropped


_NFT_CHAINS = (
    "firewall-check",
    "services",
    "service-endpoints-check",
    "nodeport-endpoints-check",
    "cluster-ips-check",
)
"""In the order of their hooks; the last refuses connections to ports that a Service does not have."""
_FILTER_CHAINS = ("KUBE-PROXY-FIREWALL", "KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES")
"""What the filter table asks of a connection that the nat table did not translate."""
_MARKS = frozenset(("KUBE-MARK-MASQ", "KUBE-MARK-DROP", "mark-for-masquerade", "masquerading"))
_MASQUERADING = frozenset(("KUBE-MARK-MASQ", "mark-for-masquerade"))
_SERVICE = ("KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-", "KUBE-XLB-", "service-", "external-", "local-")


def decide(
    rulesets: Sequence[Ruleset],
    address: str,
    port: int,
    *,
    source: str | None = None,
    to_node: bool = False,
    from_node: bool = False,
    proto: str = "tcp",
) -> NodeDecision:
    """What happens to a connection to `address`:`port` that meets a node's rules.

    `to_node`: the address is one of the node's own; `from_node`: it comes from the node itself or a pod on its network.
    """
    version, number = address_number(address)
    sender = address_number(source)[1] if source else None
    packet = _Packet(version, number, sender, port, to_node, from_node, proto)
    for ruleset in rulesets:
        if ruleset.family != "inet" and ruleset.family != f"ipv{version}":
            continue
        native = next((table for table in ruleset.tables if table.name.startswith("kube-proxy")), None)
        if native is not None:
            return _decision(_walked(native, _NFT_CHAINS, packet), "nft")
        nat, fallback = ruleset.table("nat"), ruleset.table("filter")
        if nat is not None and nat.chain("KUBE-SERVICES") is not None:
            found = _walked(nat, ("KUBE-SERVICES",), packet)
            if not found.settled and fallback is not None:
                refused = _walked(fallback, _FILTER_CHAINS, packet)
                found = refused if refused.matched is not None else found
            return _decision(found, "iptables")
    return NodeDecision()


def is_kube_proxy(rulesets: Sequence[Ruleset]) -> str:
    """The mode of the kube-proxy whose rules these are: ``iptables``, ``nft``, or empty where there are none."""
    for ruleset in rulesets:
        for table in ruleset.tables:
            if table.name.startswith("kube-proxy"):
                return "nft"
            if table.name == "nat" and table.chain("KUBE-SERVICES") is not None:
                return "iptables"
    return ""


def evidence(decision: NodeDecision) -> Iterator[tuple[Origin, str]]:
    """The rules and map elements that say it, in the order in which a connection meets them."""
    seen: set[str] = set()
    first = [(r.origin, r.text) for r in ([decision.matched] if decision.matched else [])]
    rest = [(r.origin, r.text) for r in (*decision.via, *(c.rule for c in decision.choices))]
    for origin, text in (*first, *decision.entries, *rest):
        if text not in seen:
            seen.add(text)
            yield origin, text


def _decision(found: _Findings, mode: str) -> NodeDecision:
    return NodeDecision(
        found.matched,
        tuple(found.via),
        tuple(found.choices),
        found.refused,
        found.dropped,
        found.affinity,
        found.remembered,
        found.cause,
        tuple(found.entries),
        tuple(found.unknown),
        mode,
        found.masqueraded,
    )


def _walked(table: Table, starts: Sequence[str], packet: _Packet) -> _Findings:
    found = _Findings()
    walk = _Walk(table, packet, found)
    for start in starts:
        chain = walk.chains.get(start)
        if chain is not None and not found.settled:
            walk.follow(chain, 1.0, 0)
    return found


class _Walk:
    """One packet in one table; every share is a part of 1, the packet's whole chance."""

    __slots__ = ("chains", "found", "packet", "table")

    def __init__(self, table: Table, packet: _Packet, found: _Findings) -> None:
        self.table, self.packet, self.found = table, packet, found
        self.chains: Mapping[str, Chain] = {chain.name: chain for chain in table.chains}

    def follow(self, chain: Chain, chance: float, depth: int) -> float:
        """Follow a chain; what is returned is the chance that it comes back to the caller without a verdict."""
        if depth > 12:
            return chance
        left = chance
        for rule in chain.rules:
            if left <= 1e-9:
                break
            share = self._holds(rule)
            if share > 0.0:
                left -= self._apply(rule, left * share, depth)
        return left

    def _apply(self, rule: Rule, chance: float, depth: int) -> float:
        """Do what the rule does; what is returned is the chance that is used up."""
        match rule.target:
            case t.Jump(name) | t.Goto(name):
                return self._enter(rule, name, chance, depth)
            case t.VerdictMap() as verdicts:
                return self._mapped(rule, verdicts, chance, depth)
            case t.Dnat() as dnat:
                self._note(rule)
                low = address_text(dnat.version or self.packet.version, dnat.low) if dnat.low is not None else ""
                ports = dnat.ports.low if dnat.ports else None
                self.found.choices.append(Choice(low or dnat.expression, ports, chance, rule))
                return chance
            case t.Reject():
                self._end(rule, "no-port" if rule.chain == "cluster-ips-check" else "no-endpoints", refused=True)
                return chance
            case t.Drop():
                self._end(rule, _cause_of_drop(rule), refused=False)
                return chance
            case m.Opaque(text):
                if self.found.matched is not None or "KUBE" in text:
                    self.found.unknown.append(rule.text)
                return 0.0
            case _:
                return 0.0

    def _note(self, rule: Rule) -> None:
        if self.found.matched is None:
            self.found.matched = rule

    def _end(self, rule: Rule, cause: Cause, *, refused: bool) -> None:
        self._note(rule)
        if rule is not self.found.matched:
            self.found.via.append(rule)
        self.found.refused, self.found.dropped, self.found.cause = refused, not refused, cause

    def _enter(self, rule: Rule, name: str, chance: float, depth: int) -> float:
        chain = self.chains.get(name)
        if name in _MASQUERADING and not rule.chain.startswith(("KUBE-SEP-", "endpoint-")):
            self.found.masqueraded = True
        if chain is None or name in _MARKS:
            return 0.0
        if name.startswith(_SERVICE):
            self._note(rule)
            self.found.via.append(rule)
        return chance - self.follow(chain, chance, depth + 1)

    def _mapped(self, rule: Rule, verdicts: t.VerdictMap, chance: float, depth: int) -> float:
        named = self._set(verdicts.name) if verdicts.name else None
        entries = verdicts.entries if named is None else tuple(_pairs(named))
        if any("numgen" in one or "jhash" in one for one in verdicts.fields):
            each = chance / max(len(entries), 1)
            return sum(self._verdict(rule, target, each, depth) for _, target in entries)
        for element, target in entries:
            if self._fits(verdicts.fields, element):
                if named is not None and not (isinstance(target, t.Jump | t.Goto) and "firewall" in target.chain):
                    self.found.entries.append((named.origin, _entry(element, target)))
                return self._verdict(rule, target, chance, depth)
        return 0.0

    def _verdict(self, rule: Rule, target: t.VerdictTarget, chance: float, depth: int) -> float:
        match target:
            case t.Jump(name) | t.Goto(name):
                if name in ("reject-chain", "do-reject"):
                    self._end(rule, "no-endpoints", refused=True)
                    return chance
                return self._enter(rule, name, chance, depth)
            case t.Drop():
                self._end(rule, "no-local-endpoints", refused=False)
                return chance
            case t.Return() | t.Accept():
                return 0.0

    def _set(self, name: str) -> NamedSet | None:
        return next((one for one in self.table.sets if one.name == name.lstrip("@")), None)

    def _holds(self, rule: Rule) -> float:
        """The chance that all matches hold; an unknown clause counts as not holding, and is named."""
        chance = 1.0
        for clause in rule.matches:
            chance *= self._clause(clause, rule)
            if chance == 0.0:
                return 0.0
        return chance

    def _clause(self, clause: m.Match, rule: Rule) -> float:
        packet = self.packet
        match clause:
            case m.Protocol(name, negated):
                return float((name == packet.proto) is not negated)
            case m.Destination(network, negated):
                return float(network.contains(packet.version, packet.destination) is not negated)
            case m.Source(network, negated):
                inside = packet.source is not None and network.contains(packet.version, packet.source)
                return float(inside is not negated)
            case m.Ports("destination", ranges, negated):
                return float(any(packet.port in one for one in ranges) is not negated)
            case m.AddrType("destination", types, negated):
                return float((packet.to_node and "LOCAL" in types) is not negated)
            case m.AddrType("source", types, negated):
                return float((packet.from_node and "LOCAL" in types) is not negated)
            case m.Statistic("random", probability):
                return float(probability or 0)
            case m.Statistic("nth", _, every):
                return 1.0 / every if every else 0.0
            case m.External("recent"):
                return self._recent(rule)
            case m.Comment() | m.Module() | m.Accounting() | m.CtState() | m.NfProto():
                return 1.0
            case m.Lookup():
                return self._looked_up(clause)
            case m.Mark() | m.InInterface() | m.OutInterface():
                return 0.0
            case _:
                if self.found.matched is not None:
                    self.found.unknown.append(rule.text)
                return 0.0

    def _recent(self, rule: Rule) -> float:
        """``-m recent``: whom it remembers is not in the dump; where it only notes the client, it always holds."""
        self.found.affinity = True
        return 1.0 if isinstance(rule.target, t.Dnat) else 0.0

    def _looked_up(self, clause: m.Lookup) -> float:
        elements = clause.elements
        if clause.name:
            named = self._set(clause.name)
            elements = named.elements if named else ()
        inside = any(self._fits(clause.fields, element) for element in elements)
        if clause.name.startswith("affinity-"):
            self.found.affinity = True
            self.found.remembered = self.found.remembered or inside
        return float(inside is not clause.negated)

    def _fits(self, fields: Sequence[str], element: Sequence[m.Element]) -> bool:
        return len(fields) == len(element) and all(
            self._is(name, wanted) for name, wanted in zip(fields, element, strict=True)
        )

    def _is(self, name: str, wanted: m.Element) -> bool:
        number = self.packet.destination if "daddr" in name else self.packet.source if "saddr" in name else None
        match wanted:
            case Prefix():
                return number is not None and wanted.contains(self.packet.version, number)
            case Span():
                return self.packet.port in wanted if "dport" in name else False
            case str():
                if "l4proto" in name or "protocol" in name or name == "proto":
                    return wanted == self.packet.proto
                if number is not None:
                    return _is_address(wanted, number)
                return "dport" in name and wanted.isdecimal() and int(wanted) == self.packet.port


def _is_address(text: str, number: int) -> bool:
    try:
        return int(ipaddress.ip_address(text)) == number
    except ValueError:
        return False


def _cause_of_drop(rule: Rule) -> Cause:
    if rule.chain == "KUBE-PROXY-FIREWALL" or rule.chain.startswith("firewall-"):
        return "source-range"
    return "no-service" if rule.chain == "cluster-ips-check" else "no-local-endpoints"


def _pairs(named: NamedSet) -> Iterable[tuple[tuple[m.Element, ...], t.VerdictTarget]]:
    pairs = zip(named.elements, named.values, strict=False)
    return ((element, value) for element, value in pairs if not isinstance(value, str))


def _entry(element: Sequence[m.Element], target: t.VerdictTarget) -> str:
    """An element of a map as nft writes it: ``10.96.1.1 . tcp . 80 : goto service-...``."""
    words = " . ".join(_word(one) for one in element)
    match target:
        case t.Jump(name):
            return f"{words} : jump {name}"
        case t.Goto(name):
            return f"{words} : goto {name}"
        case _:
            return f"{words} : {type(target).__name__.lower()}"


def _word(one: m.Element) -> str:
    match one:
        case Prefix() if one.is_host:
            return address_text(one.version, one.address)
        case Span() if one.low == one.high:
            return str(one.low)
        case Span():
            return f"{one.low}-{one.high}"
        case _:
            return str(one)

"""What kube-proxy's rules on a node do with a connection to a ClusterIP or NodePort: which chain, which endpoints.

Chains: ``pkg/proxy/iptables/proxier.go`` (KUBE-SERVICES, KUBE-SVC-*, KUBE-SVL-*, KUBE-EXT-*, KUBE-SEP-*)
and ``pkg/proxy/nftables/proxier.go`` (table kube-proxy, maps service-ips and service-nodeports), Kubernetes 1.34.
"""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field

from meshctl.frozen import dataclass
from meshctl.netfilter import model as nf
from meshctl.netfilter.model import Chain, Rule, Ruleset, Table, address_number, address_text
from meshctl.origin import Origin


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

    `refused`: the Service has no endpoints and the connection is rejected; `dropped` likewise without a word.
    `affinity`: a recent endpoint of the same client is preferred. `unknown` names a clause that was not understood.
    """

    matched: Rule | None = None
    via: tuple[Rule, ...] = ()
    choices: tuple[Choice, ...] = ()
    refused: bool = False
    dropped: bool = False
    affinity: bool = False
    unknown: tuple[str, ...] = ()
    mode: str = ""


@dataclass(frozen=True, slots=True)
class _Packet:
    version: int
    destination: int
    source: int | None
    port: int
    local: bool
    proto: str = "tcp"


@dataclass(slots=True)
class _Findings:
    matched: Rule | None = None
    via: list[Rule] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    refused: bool = False
    dropped: bool = False
    affinity: bool = False
    unknown: list[str] = field(default_factory=list)


_NFT_CHAINS = ("services", "service-endpoints-check", "nodeport-endpoints-check", "cluster-ips-check")
"""In the order of their hooks; the last refuses connections to ports that a Service does not have."""


def decide(
    rulesets: Sequence[Ruleset], address: str, port: int, *, source: str | None = None, to_node: bool = False
) -> NodeDecision:
    """What happens to a TCP connection to `address`:`port`; `to_node`: the address is one of the node's own."""
    version, number = address_number(address)
    packet = _Packet(version, number, address_number(source)[1] if source else None, port, to_node)
    for ruleset in rulesets:
        if ruleset.family != "inet" and ruleset.family != f"ipv{version}":
            continue
        native = next((t for t in ruleset.tables if t.name.startswith("kube-proxy")), None)
        if native is not None:
            return _walked(native, _NFT_CHAINS, packet, "nft")
        nat, fallback = ruleset.table("nat"), ruleset.table("filter")
        if nat is not None and nat.chain("KUBE-SERVICES") is not None:
            decision = _walked(nat, ("KUBE-SERVICES",), packet, "iptables")
            if decision.matched is None and fallback is not None:
                refused = _walked(fallback, ("KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES"), packet, "iptables")
                if refused.matched is not None:
                    return refused
            return decision
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


def _walked(table: Table, starts: Sequence[str], packet: _Packet, mode: str) -> NodeDecision:
    chains = {chain.name: chain for chain in table.chains}
    found = _Findings()
    for start in starts:
        if start in chains and found.matched is None:
            _follow(table, chains, chains[start], packet, 1.0, found, 0)
    return NodeDecision(
        found.matched,
        tuple(found.via),
        tuple(found.choices),
        found.refused,
        found.dropped,
        found.affinity,
        tuple(found.unknown),
        mode,
    )


def _follow(
    table: Table,
    chains: Mapping[str, Chain],
    chain: Chain,
    packet: _Packet,
    chance: float,
    found: _Findings,
    depth: int,
) -> float:
    """Follow a chain; what is returned is the chance that it comes back to the caller without a verdict."""
    if depth > 12:
        return chance
    left = chance
    for rule in chain.rules:
        if left <= 1e-9:
            break
        share = _holds(table, rule, packet, found)
        if share <= 0.0:
            continue
        left -= _apply(table, chains, rule, packet, left * share, found, depth)
    return left


def _apply(
    table: Table, chains: Mapping[str, Chain], rule: Rule, packet: _Packet, chance: float, found: _Findings, depth: int
) -> float:
    """Do what the rule does; what is returned is the chance that is used up."""
    match rule.target:
        case nf.Jump(name) | nf.Goto(name):
            return _enter(table, chains, rule, name, packet, chance, found, depth)
        case nf.VerdictMap() as verdicts:
            return _mapped(table, chains, rule, verdicts, packet, chance, found, depth)
        case nf.Dnat() as dnat:
            _note(rule, found)
            address = (
                address_text(dnat.version or packet.version, dnat.low) if dnat.low is not None else dnat.expression
            )
            found.choices.append(Choice(address, dnat.ports.low if dnat.ports else None, chance, rule))
            return chance
        case nf.Reject():
            _note(rule, found)
            found.refused = True
            return chance
        case nf.Drop():
            _note(rule, found)
            found.dropped = True
            return chance
        case nf.Opaque(text):
            if found.matched is not None or "KUBE" in text:
                found.unknown.append(rule.text)
            return 0.0
        case _:
            return 0.0


def _note(rule: Rule, found: _Findings) -> None:
    if found.matched is None:
        found.matched = rule


def _is_service(name: str) -> bool:
    return name.startswith(("KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-", "KUBE-XLB-", "service-", "external-"))


def _enter(
    table: Table,
    chains: Mapping[str, Chain],
    rule: Rule,
    name: str,
    packet: _Packet,
    chance: float,
    found: _Findings,
    depth: int,
) -> float:
    chain = chains.get(name)
    if chain is None or name in ("KUBE-MARK-MASQ", "mark-for-masquerade", "masquerading", "KUBE-MARK-DROP"):
        return 0.0
    if _is_service(name):
        _note(rule, found)
        found.via.append(rule)
    back = _follow(table, chains, chain, packet, chance, found, depth + 1)
    return chance - back


def _mapped(
    table: Table,
    chains: Mapping[str, Chain],
    rule: Rule,
    verdicts: nf.VerdictMap,
    packet: _Packet,
    chance: float,
    found: _Findings,
    depth: int,
) -> float:
    entries: tuple[tuple[tuple[nf.Element, ...], nf.VerdictTarget], ...] = verdicts.entries
    if verdicts.name:
        named = next((one for one in table.sets if one.name == verdicts.name.lstrip("@")), None)
        if named is None:
            return 0.0
        pairs = zip(named.elements, named.values, strict=False)
        entries = tuple((element, value) for element, value in pairs if not isinstance(value, str))
    if any("numgen" in one or "jhash" in one for one in verdicts.fields):
        targets = [target for _, target in entries]
        return sum(_verdict(table, chains, rule, t, packet, chance / len(targets), found, depth) for t in targets)
    for element, target in entries:
        if _fits(verdicts.fields, element, packet):
            return _verdict(table, chains, rule, target, packet, chance, found, depth)
    return 0.0


def _verdict(
    table: Table,
    chains: Mapping[str, Chain],
    rule: Rule,
    target: nf.VerdictTarget,
    packet: _Packet,
    chance: float,
    found: _Findings,
    depth: int,
) -> float:
    match target:
        case nf.Jump(name) | nf.Goto(name):
            if name in ("reject-chain", "do-reject"):
                _note(rule, found)
                found.refused = True
                return chance
            return _enter(table, chains, rule, name, packet, chance, found, depth)
        case nf.Drop():
            _note(rule, found)
            found.dropped = True
            return chance
        case nf.Return() | nf.Accept():
            return 0.0


def _fits(fields: Sequence[str], element: Sequence[nf.Element], packet: _Packet) -> bool:
    return len(fields) == len(element) and all(
        _is(name, wanted, packet) for name, wanted in zip(fields, element, strict=True)
    )


def _is(name: str, wanted: nf.Element, packet: _Packet) -> bool:
    match wanted:
        case nf.Prefix():
            number = packet.destination if "daddr" in name else packet.source
            return number is not None and wanted.contains(packet.version, number)
        case nf.Span():
            return packet.port in wanted if "dport" in name else False
        case str():
            if "l4proto" in name or "protocol" in name or name == "proto":
                return wanted == packet.proto
            if "daddr" in name or "saddr" in name:
                number = packet.destination if "daddr" in name else packet.source
                try:
                    return number is not None and int(ipaddress.ip_address(wanted)) == number
                except ValueError:
                    return False
            return "dport" in name and wanted.isdecimal() and int(wanted) == packet.port


def _holds(table: Table, rule: Rule, packet: _Packet, found: _Findings) -> float:
    """The chance that all matches hold; an unknown clause counts as not holding, and is named."""
    chance = 1.0
    for clause in rule.matches:
        chance *= _clause(table, clause, packet, rule, found)
        if chance == 0.0:
            return 0.0
    return chance


def _clause(table: Table, clause: nf.Match, packet: _Packet, rule: Rule, found: _Findings) -> float:
    match clause:
        case nf.Protocol(name, negated):
            return float((name == packet.proto) is not negated)
        case nf.Destination(network, negated):
            return float(network.contains(packet.version, packet.destination) is not negated)
        case nf.Source(network, negated):
            inside = packet.source is not None and network.contains(packet.version, packet.source)
            return float(inside is not negated)
        case nf.Ports("destination", ranges, negated):
            return float(any(packet.port in one for one in ranges) is not negated)
        case nf.AddrType("destination", types, negated):
            return float((packet.local and "LOCAL" in types) is not negated)
        case nf.AddrType("source"):
            return 0.0
        case nf.Statistic("random", probability):
            return float(probability or 0)
        case nf.Statistic("nth", _, every):
            return 1.0 / every if every else 0.0
        case nf.External("recent"):
            found.affinity = True
            return 0.0
        case nf.Comment() | nf.Module() | nf.Accounting() | nf.CtState() | nf.NfProto():
            return 1.0
        case nf.Lookup():
            return float(_looked_up(table, clause, packet) is not clause.negated)
        case nf.Mark() | nf.InInterface() | nf.OutInterface():
            return 0.0
        case _:
            if found.matched is not None:
                found.unknown.append(rule.text)
            return 0.0


def _looked_up(table: Table, clause: nf.Lookup, packet: _Packet) -> bool:
    elements = clause.elements
    if clause.name:
        named = next((one for one in table.sets if one.name == clause.name.lstrip("@")), None)
        elements = named.elements if named else ()
    if any("fib" in name for name in clause.fields):
        return packet.local
    return any(_fits(clause.fields, element, packet) for element in elements)


def evidence(decision: NodeDecision) -> Iterator[tuple[Origin, str]]:
    """The rules that say it, in the order in which a connection meets them."""
    seen: set[str] = set()
    rules = [*([decision.matched] if decision.matched else []), *decision.via, *(c.rule for c in decision.choices)]
    for rule in rules:
        if rule.text not in seen:
            seen.add(rule.text)
            yield rule.origin, rule.text

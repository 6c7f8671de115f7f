"""What found rules tell by themselves: the release that wrote them, the nameservers they are for, the backend."""

from collections.abc import Iterator, Sequence

from meshctl.netfilter.addresses import address_text
from meshctl.netfilter.facts import facts
from meshctl.netfilter.istio_names import istio_table, plain_chain, plain_table
from meshctl.netfilter.model import Rule, Ruleset
from meshctl.netfilter.release import LATEST, NEWEST, Release
from meshctl.netfilter.targets import Accept, Jump, Redirect, Tproxy

_AGENT_DNS = 15053


def _istio_rules(rulesets: Sequence[Ruleset]) -> Iterator[tuple[str, str, Rule]]:
    for ruleset in rulesets:
        for table, chain, _, rule in ruleset.rules:
            yield plain_table(table.name), plain_chain(chain.name), rule


def release(rulesets: Sequence[Ruleset]) -> tuple[Release, str] | None:
    """The newest release that writes rules of this shape, with what gave it away; None where no shape is known."""
    low, high = 12, NEWEST[1]
    reasons: list[str] = []
    chains = {plain_chain(chain.name) for r in rulesets for table in r.tables for chain in table.chains}
    if not chains & {"ISTIO_OUTPUT", "ISTIO_PRERT"}:
        return None
    if "ISTIO_PRERT" in chains:
        return _ambient(rulesets)
    if "ISTIO_IN_REDIRECT" not in chains:
        return None
    if any(istio_table(table.name) for ruleset in rulesets for table in ruleset.tables):
        low = 27
        reasons.append("native nftables since 1.27")
    if "ISTIO_OUTPUT_DNS" in chains:
        low = max(low, 25)
        reasons.append("ISTIO_OUTPUT_DNS since 1.25")
    for table, chain, rule in _istio_rules(rulesets):
        asked = facts(rule)
        if table == "nat" and chain == "OUTPUT" and rule.target == Jump("ISTIO_OUTPUT"):
            if asked.protocol == "":
                low = max(low, 25)
                reasons.append("OUTPUT jumps for every protocol since 1.25")
            elif asked.only_protocol:
                high = min(high, 24)
                reasons.append("OUTPUT jumps for TCP alone up to 1.24")
        if chain == "ISTIO_INBOUND" and asked.port == "22" and table == "nat" and low < 25:
            high = min(high, 12)
            reasons.append("port 22 is exempt up to 1.12")
        if chain == "ISTIO_OUTPUT" and asked.on_lo and asked.uid and rule.target == Jump("ISTIO_IN_REDIRECT"):
            if asked.to_ports is not None and "53" not in asked.port:
                low = max(low, 18)
                reasons.append("the self-call spares the tunnel port since 1.18")
            elif asked.to_ports is None:
                high = min(high, 17)
                reasons.append("the self-call takes every port up to 1.17")
    if not reasons or low > high:
        return None
    text = ", ".join(dict.fromkeys(reasons))
    if high == NEWEST[1]:
        return LATEST, text
    return (Release(1, 12, 1) if high == 12 else Release(1, high)), text


def _ambient(rulesets: Sequence[Ruleset]) -> tuple[Release, str]:
    """The release of ambient rules: how they take inbound traffic and DNS."""
    if not ambient_tproxy(rulesets):
        return LATEST, "ambient rules without TPROXY are of 1.24 or later"
    for table, _, rule in _istio_rules(rulesets):
        if table == "raw":
            return Release(1, 24), "ambient rules with TPROXY and a conntrack zone for DNS are of 1.24"
        if table == "nat" and isinstance(rule.target, Redirect) and facts(rule).port == "53" and not facts(rule).mark:
            return Release(1, 22, 0), "ambient rules with TPROXY that capture only UDP to port 53 are of 1.21 to 1.23"
    return Release(1, 22, 0), "ambient rules with TPROXY are of 1.21 to 1.23 (1.24 if it was told so)"


def ambient_tproxy(rulesets: Sequence[Ruleset]) -> bool:
    """Whether ambient rules take inbound traffic with TPROXY, and nothing takes it with REDIRECT."""
    taken = {
        type(rule.target)
        for table, chain, rule in _istio_rules(rulesets)
        if chain == "ISTIO_PRERT" and facts(rule).mark is not None
    }
    return Tproxy in taken and Redirect not in taken


def probe_address(rulesets: Sequence[Ruleset], version: int) -> str:
    """The address of kubelet's probes that ambient rules spare on both ways; empty where they do not agree."""
    ways: dict[str, set[str]] = {"ISTIO_PRERT": set(), "ISTIO_OUTPUT": set()}
    for _, chain, rule in _istio_rules(rulesets):
        asked = facts(rule)
        side = asked.source if chain == "ISTIO_PRERT" else asked.destination
        if chain not in ways or rule.target != Accept() or side is None or side.negated:
            continue
        if side.network.is_host and side.network.version == version:
            ways[chain].add(address_text(version, side.network.address))
    both = ways["ISTIO_PRERT"] & ways["ISTIO_OUTPUT"]
    return both.pop() if len(both) == 1 and ways["ISTIO_PRERT"] == ways["ISTIO_OUTPUT"] else ""


def resolvers(rulesets: Sequence[Ruleset]) -> tuple[str, ...]:
    """The nameservers whose queries the rules send to the agent, in the order of the rules."""
    found: list[str] = []
    for _, _, rule in _istio_rules(rulesets):
        if not isinstance(rule.target, Redirect) or rule.target.ports is None or rule.target.ports.low != _AGENT_DNS:
            continue
        destination = facts(rule).destination
        if destination is not None and not destination.negated and destination.network.is_host:
            found.append(address_text(destination.network.version, destination.network.address))
    return tuple(dict.fromkeys(found))


def native(rulesets: Sequence[Ruleset]) -> bool:
    """Whether Istio's rules are in native nftables tables."""
    return any(istio_table(table.name) for ruleset in rulesets for table in ruleset.tables)

"""A namespace's rules ready to be shown: explained, in the order in which packets meet them, with what stands out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from meshctl.frozen import dataclass
from meshctl.netfilter.capture import Capture
from meshctl.netfilter.dead import targets_of
from meshctl.netfilter.explain import Explained, explain
from meshctl.netfilter.istio_names import istio_chain, istio_table, plain_table
from meshctl.netfilter.model import HOOKS, Chain, Family, Ruleset, Table

Severity: TypeAlias = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that stands out in the rules alone; `id` is stable."""

    id: str
    severity: Severity
    text: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Dump:
    """What `iptables dump` shows. `pod` is namespace and name, None for bare files; `origin` says who wrote the rules
    for what, and `release` how that is known.
    """

    title: str
    rulesets: tuple[Ruleset, ...]
    pod: tuple[str, str] | None = None
    capture: Capture | None = None
    origin: str = ""
    release: str = ""
    gaps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    captured: bool = True


def selected(dump: Dump, family: Family | None = None, table: str | None = None) -> Dump:
    """Only one family or table (``nat`` also means ``istio-proxy-nat``)."""
    kept = [r for r in dump.rulesets if family in (None, r.family)]
    if table is not None:
        kept = [replace(r, tables=tuple(t for t in r.tables if table in (t.name, plain_table(t.name)))) for r in kept]
        kept = [r for r in kept if r.tables]
    return replace(dump, rulesets=tuple(kept))


_TABLE_ORDER = ("raw", "mangle", "nat", "filter", "security")


def tables_in_order(ruleset: Ruleset) -> list[Table]:
    """Tables by the priority of their first hook, which is how packets meet them."""

    def rank(table: Table) -> tuple[int, str]:
        plain = plain_table(table.name)
        if plain in _TABLE_ORDER:
            return _TABLE_ORDER.index(plain), table.name
        priorities = [chain.priority for chain in table.chains if chain.priority is not None]
        return (len(_TABLE_ORDER) + min(priorities, default=0), table.name)

    return sorted(ruleset.tables, key=rank)


def chains_in_order(table: Table) -> list[Chain]:
    """Base chains by hook, each followed by the chains that it leads to; chains that nothing leads to come last."""
    found: dict[str, Chain] = {}

    def follow(chain: Chain) -> None:
        if chain.name in found:
            return
        found[chain.name] = chain
        for rule in chain.rules:
            for name in targets_of(rule):
                inner = table.chain(name)
                if inner is not None:
                    follow(inner)

    bases = [chain for chain in table.chains if chain.hook is not None]
    for chain in sorted(bases, key=lambda c: HOOKS.index(c.hook) if c.hook in HOOKS else len(HOOKS)):
        follow(chain)
    for chain in table.chains:
        follow(chain)
    return list(found.values())


def explained(dump: Dump) -> Iterator[tuple[Ruleset, Mapping[tuple[str, str], Sequence[Explained]]]]:
    """Every ruleset with its explained rules by table and chain."""
    for ruleset in dump.rulesets:
        by_chain: dict[tuple[str, str], list[Explained]] = {}
        for entry in explain(ruleset, dump.capture):
            by_chain.setdefault((entry.table.name, entry.chain.name), []).append(entry)
        yield ruleset, by_chain


def remarks(dump: Dump) -> tuple[Remark, ...]:
    """What stands out without knowing what the rules should be, worst first."""
    found = [*_absent(dump), *_backends(dump)]
    if dump.rulesets:
        found += [Remark("rules-unreadable", "warning", f"left out: {gap}") for gap in dump.gaps]
    for ruleset, by_chain in explained(dump):
        for entries in by_chain.values():
            for entry in entries:
                found += _of_rule(ruleset, entry)
        found += [Remark("rules-remark", "warning", text) for text in ruleset.remarks]
    found += [*_by_name(dump), *_leftovers(dump)]
    order = {"error": 0, "warning": 1, "info": 2}
    return tuple(sorted(dict.fromkeys(found), key=lambda remark: order[remark.severity]))


_RECORD = "record them with `meshctl snapshot record`, or read them on the node: `meshctl iptables dump --pid PID`"


def _absent(dump: Dump) -> Iterator[Remark]:
    if any(not ruleset.empty for ruleset in dump.rulesets):
        return
    if not dump.rulesets and dump.gaps:
        fix = "" if "--via" in dump.gaps[0] else _RECORD  # a live cluster's gap says itself what would open them
        yield Remark("rules-not-recorded", "warning", f"the rules could not be looked at: {dump.gaps[0]}", fix)
    elif dump.captured:
        text = "there is no rule at all: the pod's traffic does not go through the proxy"
        yield Remark("rules-none", "error", text, "compare with what should be there: `meshctl iptables diff POD`")
    else:
        yield Remark("rules-none", "info", "there is no rule, as it should be: nothing captures this pod's traffic")


def _backends(dump: Dump) -> Iterator[Remark]:
    for family in ("ipv4", "ipv6"):
        places = sorted({r.backend for r in dump.rulesets if r.family == family and _istios(r)})
        if len(places) > 1:
            text = f"Istio's {family} rules are in both backends ({' and '.join(places)}): the kernel runs both"
            yield Remark(
                "rules-both-backends", "error", text, "delete the pod, and check which iptables its image uses"
            )


def _by_name(dump: Dump) -> Iterator[Remark]:
    rules = [rule for ruleset in dump.rulesets for _, _, _, rule in ruleset.rules if rule.by_name]
    if rules:
        names = dict.fromkeys(part.text for rule in rules for part in rule.by_name)
        text = f"{len(rules)} of the rules have a part that nft shows by name only: {', '.join(names)}"
        fix = "read them with iptables-save, which shows all of it"
        yield Remark("rules-not-understood", "warning", text, fix)


def _istios(ruleset: Ruleset) -> bool:
    return any(istio_table(t.name) or any(istio_chain(c.name) for c in t.chains) for t in ruleset.tables)


def _of_rule(ruleset: Ruleset, entry: Explained) -> Iterator[Remark]:
    place = f"{ruleset.family} {entry.table.name} {entry.chain.name} rule {entry.number}"
    told = entry.told
    if told.role == "guardrail":
        text = f"{place}: a guardrail of an interrupted reconcile drops all {told.value.upper()}"
        yield Remark("rules-guardrail", "error", text, "delete the pod: the next one starts without it")
    if told.opaque and not entry.rule.by_name:
        text = f"{place}: not understood, shown as it is: {'; '.join(told.opaque)}"
        yield Remark("rules-not-understood", "info", text)
    if told.foreign and (istio_chain(entry.chain.name) or istio_table(entry.table.name)):
        text = f"{place} is not Istio's, but stands in a chain of Istio's: {entry.rule.text}"
        yield Remark(
            "rules-foreign", "warning", text, "find out what adds it: `meshctl iptables diff POD` says its effect"
        )


def _leftovers(dump: Dump) -> Iterator[Remark]:
    chains = {chain.name for r in dump.rulesets for table in r.tables for chain in table.chains if chain.rules}
    if "ISTIO_PRERT" in chains and "ISTIO_IN_REDIRECT" in chains:
        text = "rules of a sidecar and of ambient stand side by side: one of the two is a leftover"
        yield Remark("rules-sidecar-and-ambient", "error", text, "delete the pod")
    if not dump.captured and any(map(_istios, dump.rulesets)) and any(istio_chain(name) for name in chains):
        text = "Istio's rules are here although nothing asks for them: a leftover"
        yield Remark("rules-leftover", "warning", text, "delete the pod")

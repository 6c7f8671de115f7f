"""One chain's expected rules against the found ones: lost, added, moved, changed or shadowed."""

from collections.abc import Mapping
from dataclasses import field
from typing import TypeAlias

from meshctl.frozen import dataclass
from meshctl.netfilter import drift_effects as effects
from meshctl.netfilter.capture import Capture
from meshctl.netfilter.dead import Dead, reachable
from meshctl.netfilter.drift_effects import Effect
from meshctl.netfilter.drift_items import Item, Kind
from meshctl.netfilter.expected import Expected
from meshctl.netfilter.explain import Explanation, explain_rule, surroundings
from meshctl.netfilter.foreign_tools import foreign_owner
from meshctl.netfilter.istio_names import istio_chain, istio_table
from meshctl.netfilter.model import Chain, Family, Rule, Table
from meshctl.netfilter.roles import role_of
from meshctl.netfilter.rule_pairs import aligned, changed, moved, passed

Dying: TypeAlias = Mapping[tuple[str, int], Dead]
"""Dead rules by chain and 1-based number."""


@dataclass(slots=True)
class Comparison:
    """What is known and found so far while rulesets are compared."""

    expected: Expected
    capture: Capture | None
    fix: str
    items: list[Item] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def compare_chain(
    work: Comparison,
    family: Family,
    tables: tuple[Table, Table],
    one: Chain | None,
    other: Chain | None,
    dead_there: Dying,
    dead_wanted: Dying,
) -> None:
    """Note every difference of one chain of the two tables, expected and found."""
    want, there = tables
    mine, theirs = list(one.rules if one else ()), list(other.rules if other else ())
    chain = other or one
    if chain is None or (chain.hook is None and not istio_chain(chain.name)):
        return
    pairs = aligned(mine, theirs)
    lost = [at for at in range(len(mine)) if at not in {a for a, _ in pairs}]
    added = [at for at in range(len(theirs)) if at not in {b for _, b in pairs}]
    shifted = moved(mine, theirs, lost, added)
    cut_off = chain.name not in reachable(there) and chain.name in reachable(want)
    for a, b in shifted:
        lost.remove(a)
        added.remove(b)
        past = passed(a, b, [*pairs, *shifted], theirs)
        told = _told(work, want, one, a, dead_wanted)
        effect = effects.of_exchange(theirs[b], past, there, told)
        _report(work, "reordered", family, there, chain, effect, mine[a], theirs[b], b + 1)
    for a, b in changed(pairs, lost, added, mine, theirs, there.name, chain.name):
        lost.remove(a)
        added.remove(b)
        told = _told(work, want, one, a, dead_wanted)
        dead = dead_there.get((chain.name, b + 1))
        after = tuple(mine[a + 1 :])
        effect = effects.of_change(mine[a], theirs[b], told, (after, want), (there, chain, b + 1), dead)
        _report(work, "changed", family, there, chain, effect, mine[a], theirs[b], b + 1)
    for a in lost:
        told = _told(work, want, one, a, dead_wanted)
        effect = effects.of_missing(told, mine[a], tuple(mine[a + 1 :]), want)
        if not effect.harmless and cut_off:
            effect = Effect(f"nothing leads to {chain.name} any more, so this adds nothing to the loss")
        _report(work, "missing", family, want, chain, effect, mine[a], None, a + 1, moot=cut_off)
    for b in added:
        note_added(work, family, there, chain, b + 1, theirs[b], dead_there.get((chain.name, b + 1)))
    for a, b in pairs:
        dead = dead_there.get((chain.name, b + 1))
        if dead is not None and dead.because and (chain.name, a + 1) not in dead_wanted:
            effect = effects.of_shadow(theirs[b], [theirs[number - 1] for number in dead.because], there, chain)
            _report(work, "shadowed", family, there, chain, effect, mine[a], theirs[b], b + 1)


def _told(work: Comparison, table: Table, chain: Chain | None, at: int, dead: Dying) -> Explanation:
    assert chain is not None
    around = surroundings(chain, table)
    number = at + 1
    return explain_rule(
        chain.rules[at], table.name, chain, number, around, work.capture, dead.get((chain.name, number))
    )


def note_added(
    work: Comparison, family: Family, table: Table, chain: Chain, number: int, rule: Rule, dead: Dead | None
) -> None:
    """Note a found rule that is not expected: Istio's own, or another tool's."""
    role = role_of(rule, table.name, chain.name)
    owner = foreign_owner(rule, table.name, chain.name)
    effect = effects.of_addition(rule, table, chain, number, dead, owner)
    if role is not None and role[0] == "guardrail":
        text = (
            f"all {role[1].upper()} in {chain.name} is dropped: a leftover of an interrupted reconcile of Istio's rules"
        )
        _report(work, "extra", family, table, chain, Effect(text), None, rule, number)
    elif istio_chain(chain.name) or istio_table(table.name) or role is not None:
        _report(work, "extra", family, table, chain, effect, None, rule, number)
    else:
        fix = f"find out what adds it{f' ({owner})' if owner else ''} and keep it out of this pod's namespace"
        _report(work, "foreign", family, table, chain, effect, None, rule, number, fix)


def _report(
    work: Comparison,
    kind: Kind,
    family: Family,
    table: Table,
    chain: Chain,
    effect: Effect,
    expected: Rule | None,
    found: Rule | None,
    number: int,
    fix: str = "",
    moot: bool = False,
) -> None:
    work.items.append(
        Item(
            kind=kind,
            family=family,
            table=table.name,
            chain=chain.name,
            expected=expected.text if expected else "",
            found=found.text if found else "",
            effect=effect.text,
            fix=fix or work.fix,
            number=number,
            harmless=effect.harmless,
            moot=moot,
            where=str(found.origin) if found else "",
        )
    )

"""One chain's expected rules against the found ones: lost, added, moved, changed or shadowed."""

from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from typing import TypeAlias

from meshctl.frozen import dataclass
from meshctl.netfilter import drift_effects as effects
from meshctl.netfilter.capture import Capture
from meshctl.netfilter.clauses import conditions, contradicts, key
from meshctl.netfilter.dead import Dead, reachable
from meshctl.netfilter.drift_additions import of_addition
from meshctl.netfilter.drift_items import Effect, Item, Kind
from meshctl.netfilter.expected import Expected
from meshctl.netfilter.explain import Explanation, explain_rule, surroundings
from meshctl.netfilter.foreign_tools import foreign_owner
from meshctl.netfilter.istio_names import istio_chain, istio_table
from meshctl.netfilter.model import Chain, Family, Rule, Table
from meshctl.netfilter.roles import role_of
from meshctl.netfilter.rule_pairs import aligned, but_owners, changed, moved, passed

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


@dataclass(frozen=True, slots=True)
class Side:
    """A chain as it is expected or found (None where the table has none of that name), and its table's dead rules."""

    table: Table
    chain: Chain | None
    dead: Dying

    @property
    def rules(self) -> list[Rule]:
        """Its rules in order."""
        return list(self.chain.rules if self.chain else ())

    def dying(self, at: int) -> Dead | None:
        """Why the rule at a 0-based position does nothing; None for one that does something."""
        return self.dead.get((self.chain.name, at + 1)) if self.chain is not None else None


def compare_chain(work: Comparison, family: Family, want: Side, there: Side) -> None:
    """Note every difference of one chain of the two tables."""
    chain = there.chain or want.chain
    if chain is None or (chain.hook is None and not istio_chain(chain.name)):
        return
    _ChainComparison(work, family, want, there, chain).run()


@dataclass(slots=True)
class _ChainComparison:
    """One chain's two sides; positions `a` are those of expected rules, `b` those of found ones, both 0-based."""

    work: Comparison
    family: Family
    want: Side
    there: Side
    chain: Chain

    def run(self) -> None:
        mine, theirs = self.want.rules, self.there.rules
        pairs = aligned(mine, theirs)
        lost = [at for at in range(len(mine)) if at not in {a for a, _ in pairs}]
        added = [at for at in range(len(theirs)) if at not in {b for _, b in pairs}]
        shifted = moved(mine, theirs, lost, added)
        for a, b in shifted:
            lost.remove(a)
            added.remove(b)
            past = passed(a, b, [*pairs, *shifted], theirs)
            self._report("reordered", effects.of_exchange(theirs[b], past, self.there.table, self._told(a)), a, b)
        for a, b in changed(pairs, lost, added, mine, theirs, self.there.table.name, self.chain.name):
            lost.remove(a)
            added.remove(b)
            self._changed(a, b)
        self._lost(lost)
        for b in added:
            dead = self.there.dying(b)
            note_added(self.work, self.family, (self.there.table, self.chain, b + 1), theirs[b], dead, self.want)
        for a, b in pairs:
            self._shadowed(a, b)

    def _changed(self, a: int, b: int) -> None:
        mine, theirs, there = self.want.rules, self.there.rules, self.there.table
        after, place = tuple(mine[a + 1 :]), (there, self.chain, b + 1)
        dead = self.there.dying(b)
        effect = effects.of_change(mine[a], theirs[b], self._told(a), (after, self.want.table), place, dead)
        self._report("changed", effect, a, b)

    def _lost(self, lost: Iterable[int]) -> None:
        name, mine = self.chain.name, self.want.rules
        cut_off = name not in reachable(self.there.table) and name in reachable(self.want.table)
        for a in lost:
            effect = effects.of_missing(self._told(a), mine[a], tuple(mine[a + 1 :]), self.want.table)
            if not effect.harmless and cut_off:
                effect = Effect(f"nothing leads to {name} any more, so this adds nothing to the loss")
            self._report("missing", effect, a, moot=cut_off)

    def _shadowed(self, a: int, b: int) -> None:
        dead, theirs = self.there.dying(b), self.there.rules
        if dead is not None and dead.because and self.want.dying(a) is None:
            earlier = [theirs[number - 1] for number in dead.because]
            self._report("shadowed", effects.of_shadow(theirs[b], earlier, self.there.table, self.chain), a, b)

    def _told(self, a: int) -> Explanation:
        chain, table = self.want.chain, self.want.table
        assert chain is not None
        around = surroundings(chain, table)
        dead = self.want.dying(a)
        told = explain_rule(chain.rules[a], table.name, chain, a + 1, around, self.work.capture, dead)
        return replace(told, instead=self._instead(chain.rules[a])) if told.role in _BY_OWNER else told

    def _instead(self, rule: Rule) -> tuple[str, ...]:
        """The found rules that do the same for another user or group: a socket has one of each."""
        mine, targets = but_owners(rule), rule.targets
        return tuple(
            other.text
            for b, other in enumerate(self.there.rules)
            if other.targets == targets
            and but_owners(other) == mine
            and key(other) != key(rule)
            and not contradicts(conditions(other), conditions(rule))
            and self.there.dying(b) is None
        )

    def _report(self, kind: Kind, effect: Effect, a: int, b: int | None = None, *, moot: bool = False) -> None:
        found = None if b is None else self.there.rules[b]
        number = (a if b is None else b) + 1
        table = self.want.table if b is None else self.there.table
        expected = self.want.rules[a]
        _report(self.work, kind, self.family, table, self.chain, effect, expected, found, number, moot=moot)


_BY_OWNER = frozenset(("self-call", "local-return", "loop-guard", "dns-own", "tproxy-self-mark"))
"""The roles that have one rule for each user of the proxy and one for each group."""


def note_added(
    work: Comparison,
    family: Family,
    place: tuple[Table, Chain, int],
    rule: Rule,
    dead: Dead | None,
    want: Side | None = None,
) -> None:
    """Note a found rule that is not expected: Istio's own, or another tool's; `want` is its chain as expected."""
    table, chain, number = place
    role = role_of(rule, table.name, chain.name)
    owner = foreign_owner(rule, table.name, chain.name)
    effect = of_addition(rule, place, dead, owner, (want.table, want.chain) if want is not None else None)
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

"""Expected rules against found ones: by meaning, in order, each difference with its effect on traffic.

Istio's own check (``capture/helper.go``) counts rules and ignores their order and other tools' rules; this one does
not: a foreign RETURN in front of ISTIO_OUTPUT is drift.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Literal, TypeAlias

from meshctl.frozen import dataclass
from meshctl.netfilter import drift_effects as effects
from meshctl.netfilter.capture import Capture
from meshctl.netfilter.dead import Dead, dead_rules, reachable
from meshctl.netfilter.drift_effects import Effect
from meshctl.netfilter.expected import Expected
from meshctl.netfilter.explain import Explanation, explain_rule, surroundings
from meshctl.netfilter.foreign_tools import foreign_owner
from meshctl.netfilter.istio_names import istio_chain, istio_table
from meshctl.netfilter.model import Chain, Family, Rule, Ruleset, Table
from meshctl.netfilter.roles import role_of
from meshctl.netfilter.rule_pairs import aligned, changed, moved, passed, same

Kind: TypeAlias = Literal[
    "missing", "extra", "reordered", "changed", "shadowed", "foreign", "wrong-backend", "both-backends"
]

Dying: TypeAlias = Mapping[tuple[str, int], Dead]
"""Dead rules by chain and 1-based number."""

_WEIGHTS: dict[Kind, int] = {
    "wrong-backend": 9, "both-backends": 8, "missing": 6, "changed": 5, "shadowed": 5, "foreign": 4, "extra": 4,
    "reordered": 3,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One difference. `expected` and `found` are rules as text, empty where there is none on that side.

    `number` is the found rule's (for a missing one the expected rule's) 1-based number in the chain. `moot`: nothing
    leads to its chain any more, so another item has already lost its traffic.
    """

    kind: Kind
    family: Family
    table: str
    chain: str
    effect: str
    fix: str
    expected: str = ""
    found: str = ""
    number: int | None = None
    harmless: bool = False
    moot: bool = False
    where: str = ""


@dataclass(frozen=True, slots=True)
class Drift:
    """All differences, worst first; `notes` are what was assumed or could not be compared."""

    items: tuple[Item, ...]
    notes: tuple[str, ...] = ()
    compared: tuple[Family, ...] = ()

    @property
    def in_sync(self) -> bool:
        """Whether nothing differs but other tools' rules that are proven to change nothing."""
        return all(item.harmless and item.kind == "foreign" for item in self.items)

    @property
    def weight(self) -> int:
        """How bad it is: to list the worst pod first."""
        return sum(1 if item.harmless else 10 * _WEIGHTS[item.kind] for item in self.items)


@dataclass(slots=True)
class _Comparison:
    expected: Expected
    capture: Capture | None
    fix: str
    items: list[Item] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def compare(
    expected: Expected,
    found: Sequence[Ruleset],
    capture: Capture | None = None,
    *,
    recorded: Iterable[Family] | None = None,
) -> Drift:
    """What differs between predicted and found rules.

    `found` is what `merge` leaves; `recorded` are the families that were looked at (None: those in `found`),
    so that a family that nobody recorded is a gap and not a flushed one.
    """
    seen = set(recorded) if recorded is not None else {ruleset.family for ruleset in found}
    work = _Comparison(expected, capture, _fix(capture))
    if any(ruleset.through_nft and not ruleset.empty for ruleset in found):
        work.notes.append(
            "seen through nft, which knows some matches of iptables by name only: those are not compared "
            "(give the output of iptables-save as well)"
        )
    compared: list[Family] = []
    wanted = {ruleset.family: ruleset for ruleset in expected.rulesets}
    native = expected.native or (not expected.rulesets and any(_holds_istio(r) and r.family == "inet" for r in found))
    misplaced = _wrong_backend(work, found, native=native)
    families: tuple[Family, ...] = ("inet",) if native else ("ipv4", "ipv6")
    for family in families:
        there = [ruleset for ruleset in found if ruleset.family == family]
        want = wanted.get(family)
        if want is not None and family not in seen:
            work.notes.append(f"{_NAMES[family]} rules were not looked at, so they are not compared")
            continue
        compared.append(family)
        if not (misplaced and not any(map(_holds_istio, there))):
            _compare_family(work, family, want, there)
    for ruleset in found:
        if ruleset.family not in families:
            _only_foreign(work, ruleset)
    if not expected.rulesets:
        # Nothing captures this pod: only what Istio left behind matters, not what other tools do.
        work.items[:] = [item for item in work.items if item.kind == "extra"]
    items = sorted(work.items, key=lambda item: (item.harmless, item.moot, -_WEIGHTS[item.kind]))
    return Drift(tuple(items), tuple(work.notes), tuple(compared))


_NAMES: dict[Family, str] = {"ipv4": "IPv4", "ipv6": "IPv6", "inet": "native nftables"}


def _fix(capture: Capture | None) -> str:
    match capture.writer if capture is not None else "istio-init":
        case "ambient":
            return "restart the node's istio-cni pod, which writes the rules again, or delete the pod"
        case "istio-cni":
            return "delete the pod: the istio-cni plugin writes its rules afresh into the next one"
        case _:
            return "delete the pod: istio-init writes its rules afresh into the next one"


def _holds_istio(ruleset: Ruleset) -> bool:
    return any(
        istio_table(table.name) or any(istio_chain(chain.name) for chain in table.chains) for table in ruleset.tables
    )


def _istio_rules(ruleset: Ruleset) -> int:
    """How many rules stand in chains of Istio's."""
    return sum(
        len(chain.rules)
        for table in ruleset.tables
        for chain in table.chains
        if istio_table(table.name) or istio_chain(chain.name)
    )


def _wrong_backend(work: _Comparison, found: Sequence[Ruleset], *, native: bool) -> bool:
    """Istio's rules where they are not expected, or twice; whether they are only where they are not expected."""
    places = {(ruleset.family, ruleset.backend) for ruleset in found if _istio_rules(ruleset)}
    right = {place for place in places if (place[0] == "inet") == native}
    wrong = places - right
    if not work.expected.rulesets:
        return False
    asked, other = ("native nftables", "iptables") if native else ("iptables", "native nftables")
    if wrong and not right:
        family = min(wrong)[0]
        work.items.append(
            Item(
                kind="wrong-backend", family=family, table="", chain="", expected=asked, found=other,
                effect=f"the arguments ask for {asked}, the rules are in {other}: another setting wrote them",
                fix=f"check global.nativeNftables in the mesh's values; {work.fix}",
            )
        )  # fmt: skip
    for family in ("ipv4", "ipv6"):
        backends = sorted({backend for place, backend in places if place in (family, "inet")})
        if len(backends) > 1:
            work.items.append(
                Item(
                    kind="both-backends", family=family, table="", chain="", expected="one backend",
                    found=" and ".join(backends),
                    effect="the kernel runs both sets of rules: a packet meets Istio's rules twice, "
                    "and whichever set is stale still acts",
                    fix=f"remove Istio's rules from one backend; {work.fix}",
                )
            )  # fmt: skip
            break
    return bool(wrong and not right)


def _compare_family(work: _Comparison, family: Family, want: Ruleset | None, there: Sequence[Ruleset]) -> None:
    """One family's expected tables against the ruleset that holds Istio's rules; the others are foreign."""
    chosen = max(there, key=lambda ruleset: (_istio_rules(ruleset), _holds_istio(ruleset)), default=None)
    for ruleset in there:
        if ruleset is not chosen:
            _only_foreign(work, ruleset)
    names = dict.fromkeys(
        [*(t.name for t in (want.tables if want else ())), *(t.name for t in (chosen.tables if chosen else ()))]
    )
    for name in names:
        expected_table = want.table(name) if want else None
        found_table = chosen.table(name) if chosen else None
        _compare_table(work, family, expected_table or Table(name), found_table or Table(name))


def _only_foreign(work: _Comparison, ruleset: Ruleset) -> None:
    """A ruleset that should hold nothing of Istio's: its base chains' rules are other tools'."""
    for table in ruleset.tables:
        if istio_table(table.name):
            continue
        for chain in table.chains:
            if chain.hook is None or not (chain.rules or chain.policy == "DROP"):
                continue
            dead = dead_rules(table)
            _policy(work, ruleset.family, table, None, chain)
            for number, rule in enumerate(chain.rules, 1):
                if not _is_istios(rule, table.name, chain.name):
                    _added(work, ruleset.family, table, chain, number, rule, dead.get((chain.name, number)))


def _is_istios(rule: Rule, table: str, chain: str) -> bool:
    found = role_of(rule, table, chain)
    return found is not None and found[0] not in ("guardrail",)


def _compare_table(work: _Comparison, family: Family, want: Table, there: Table) -> None:
    names = dict.fromkeys([*(c.name for c in want.chains), *(c.name for c in there.chains)])
    changed: list[tuple[Chain | None, Chain | None]] = []
    for name in names:
        one, other = want.chain(name), there.chain(name)
        _policy(work, family, there, one, other)
        if not _same_chain(one, other):
            changed.append((one, other))
    if not changed:
        return
    dead_there, dead_wanted = dead_rules(there), dead_rules(want)
    for one, other in changed:
        _compare_chain(work, family, (want, there), one, other, dead_there, dead_wanted)


def _same_chain(one: Chain | None, other: Chain | None) -> bool:
    mine, theirs = one.rules if one else (), other.rules if other else ()
    if len(mine) != len(theirs):
        return False
    return all(a.text == b.text or same(a, b) for a, b in zip(mine, theirs, strict=True))


def _policy(work: _Comparison, family: Family, table: Table, one: Chain | None, other: Chain | None) -> None:
    if other is None or other.hook is None or other.policy in (None, "ACCEPT"):
        return
    if one is not None and one.policy == other.policy:
        return
    work.items.append(
        Item(
            kind="changed", family=family, table=table.name, chain=other.name, expected="policy ACCEPT",
            found=f"policy {other.policy}", effect=f"what no rule of {table.name} {other.name} accepts is dropped",
            fix="find out what set the policy; Istio never does", where=str(other.origin),
        )
    )  # fmt: skip


def _compare_chain(
    work: _Comparison,
    family: Family,
    tables: tuple[Table, Table],
    one: Chain | None,
    other: Chain | None,
    dead_there: Dying,
    dead_wanted: Dying,
) -> None:
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
        _added(work, family, there, chain, b + 1, theirs[b], dead_there.get((chain.name, b + 1)))
    for a, b in pairs:
        dead = dead_there.get((chain.name, b + 1))
        if dead is not None and dead.because and (chain.name, a + 1) not in dead_wanted:
            effect = effects.of_shadow(theirs[b], [theirs[number - 1] for number in dead.because], there, chain)
            _report(work, "shadowed", family, there, chain, effect, mine[a], theirs[b], b + 1)


def _told(work: _Comparison, table: Table, chain: Chain | None, at: int, dead: Dying) -> Explanation:
    assert chain is not None
    around = surroundings(chain, table)
    number = at + 1
    return explain_rule(
        chain.rules[at], table.name, chain, number, around, work.capture, dead.get((chain.name, number))
    )


def _added(
    work: _Comparison, family: Family, table: Table, chain: Chain, number: int, rule: Rule, dead: Dead | None
) -> None:
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
    work: _Comparison,
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

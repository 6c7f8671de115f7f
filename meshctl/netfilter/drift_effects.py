"""What a difference does to traffic, in words; and whether it is proven to do nothing.

Harmless is only what is proven so: a rule that no packet can reach, a rule that merely logs, an exchange of rules that
no packet can tell. Everything else is described by what the rule now does, or no longer does.
"""

from meshctl.netfilter import wording
from meshctl.netfilter.clauses import contradicts, ends_chain, essential, implied, only_watches
from meshctl.netfilter.dead import Dead, changes_marks
from meshctl.netfilter.drift_additions import leave_alone, of_addition, outcome
from meshctl.netfilter.drift_items import Effect
from meshctl.netfilter.explain import Explanation
from meshctl.netfilter.istio_names import plain_chain, plain_table
from meshctl.netfilter.matches import Opaque
from meshctl.netfilter.model import Chain, Rule, Table
from meshctl.netfilter.targets import CtZone, Goto, Jump, Notrack, Queue, Return


def of_missing(told: Explanation, rule: Rule, later: tuple[Rule, ...], table: Table) -> Effect:
    """An expected rule that is not there; `later` are the expected rules after it."""
    if told.dead is not None:
        return Effect(f"nothing changes for traffic: {told.dead.reason}", harmless=True)
    if only_watches(rule):
        return Effect("nothing changes for traffic: the rule only logs", harmless=True)
    if rule.target == Return() and leave_alone(tuple(essential(rule.matches)), later, table):
        return Effect("nothing changes for traffic: no later rule of the chain would take these packets", harmless=True)
    return Effect(told.missing or f"{told.meaning}: no longer")


def of_change(
    expected: Rule,
    found: Rule,
    told: Explanation,
    after: tuple[tuple[Rule, ...], Table],
    place: tuple[Table, Chain, int],
    dead: Dead | None,
) -> Effect:
    """A rule that says something else than expected; `after` are the expected rules after it, with their table."""
    lost, gained = of_missing(told, expected, *after), of_addition(found, place, dead)
    if lost.harmless:
        return gained
    if gained.harmless:
        return lost
    if set(essential(expected.matches)) == set(essential(found.matches)):
        return Effect(f"{gained.text}, where it should be so: {told.meaning}")
    if expected.targets == found.targets:
        return _of_new_conditions(expected, found, lost, gained, base=place[1].hook is not None)
    return Effect(f"{lost.text}; instead: {gained.text}")


def _of_new_conditions(expected: Rule, found: Rule, lost: Effect, gained: Effect, *, base: bool) -> Effect:
    """The rule does the same, but to other packets."""
    asked, there = tuple(essential(expected.matches)), tuple(essential(found.matches))
    should, does = wording.traffic(asked), wording.traffic(there)
    done = wording.consequence(found, base=base)
    comma = "," if "," in does else ""
    if all(implied(clause, asked) for clause in there):
        return Effect(f"{does}{comma} {done}, where only this should: {should}")
    if all(implied(clause, there) for clause in asked):
        return Effect(f"only {does}{comma} still {done}; for the rest: {lost.text}")
    return Effect(f"{lost.text}; instead: {gained.text}")


def of_shadow(rule: Rule, blockers: list[Rule], table: Table, chain: Chain, owner: str = "") -> Effect:
    """A rule that is there, but whose packets rules in front of it already take."""
    shown = " and ".join(f"`{blocker.text}`" for blocker in blockers)
    does, takes = ("does", "takes") if len(blockers) == 1 else ("do", "take")
    if all(blocker.targets == rule.targets for blocker in blockers):
        same = f"{shown} in front of it {does} the same to them"
        return Effect(f"nothing changes for these packets: {same}", harmless=True)
    what = wording.traffic(rule.matches)
    taken = outcome(blockers[-1], plain_table(table.name), plain_chain(chain.name), owner)
    return Effect(f"{what}{',' if ',' in what else ''} {taken}: {shown} in front of this rule {takes} it")


def of_exchange(rule: Rule, passed: list[tuple[Rule, bool]], table: Table, told: Explanation) -> Effect:
    """A rule that changed places: `passed` are the rules it went past, with whether it now comes after them."""
    for other, now_after in passed:
        if not _commute(rule, other, table):
            first, second = (other, rule) if now_after else (rule, other)
            both = _both(first, second)
            does = wording.consequence(first, base=False)
            did = wording.consequence(second, base=False)
            text = f"{both}{',' if ',' in both else ''} now {does}; the rule that should come first says: {did}"
            if now_after and told.missing and told.dead is None and ends_chain(other):
                text = f"{text}. {told.missing[0].upper()}{told.missing[1:]}"
            return Effect(text)
    reason = "the rules that changed places ask for different packets, or do the same to them"
    return Effect(f"nothing changes for traffic: {reason}", harmless=True)


def _commute(one: Rule, other: Rule, table: Table) -> bool:
    """Whether no packet can tell in which order the two rules stand."""
    if only_watches(one) or only_watches(other):
        return True
    if changes_marks(one, table) or changes_marks(other, table):
        return False
    if contradicts(tuple(essential(one.matches)), tuple(essential(other.matches))):
        return _stays(one, table) and _stays(other, table)
    return one.targets == other.targets and not isinstance(one.target, Jump | Goto | Opaque | Queue)


def _stays(rule: Rule, table: Table, depth: int = 0) -> bool:
    """Whether the rule leaves what other rules ask of the packet as it is (rewrites end the walk of a nat table)."""
    if any(isinstance(target, Opaque | Notrack | CtZone) for target in rule.targets) and table.name != "raw":
        return False
    if isinstance(rule.target, Jump) and depth < 16:
        inner = table.chain(rule.target.chain)
        return inner is None or all(_stays(step, table, depth + 1) for step in inner.rules)
    return True


def _both(first: Rule, second: Rule) -> str:
    """The packets that both rules ask for."""
    kept = essential(first.matches)
    kept += [clause for clause in essential(second.matches) if not implied(clause, tuple(kept))]
    narrowed = [c for at, c in enumerate(kept) if not implied(c, (*kept[:at], *kept[at + 1 :]))]
    return wording.traffic(tuple(narrowed))

"""Rules that no packet can reach or match, and because of which rules: proven, never guessed.

Three ways: nothing leads to the chain; an earlier rule takes every packet; or earlier rules take all those that this
one asks for (one alone, or two that share them out, as Istio's uid rules on lo do with its gid rules).
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import Literal, TypeAlias

from meshctl.frozen import dataclass
from meshctl.netfilter.clauses import conditions, contradicts, ends_chain, ends_table, implied
from meshctl.netfilter.matches import Connmark, Destination, InInterface, Mark, Match, OutInterface, Owner, Source
from meshctl.netfilter.model import Chain, Rule, Table
from meshctl.netfilter.targets import Goto, Jump, RestoreMark, SaveMark, SetConnmark, SetMark, Tproxy, VerdictMap

DeadKind: TypeAlias = Literal["unreachable", "shadowed"]


@dataclass(frozen=True, slots=True)
class Dead:
    """Why a rule does nothing; `because` are 1-based numbers in the same chain, empty for a whole chain."""

    kind: DeadKind
    reason: str
    because: tuple[int, ...] = ()


Signature: TypeAlias = tuple[object, ...]


def signature(table: Table) -> Signature | None:
    """What decides about a table's rules, as a key for caches; None where a rule has no text."""
    found: list[object] = [table.name]
    for chain in table.chains:
        texts = tuple([rule.text for rule in chain.rules])
        if "" in texts:
            return None
        found.append((chain.name, chain.hook, chain.policy, texts))
    return tuple(found)


_tables: dict[Signature, Mapping[tuple[str, int], Dead]] = {}


def dead_rules(table: Table) -> Mapping[tuple[str, int], Dead]:
    """Every dead rule of a table, by chain and 1-based number."""
    known = signature(table) if not table.sets else None
    if known is None:
        return _dead_rules(table)
    if known not in _tables:
        if len(_tables) > 4096:
            _tables.clear()
        _tables[known] = _dead_rules(table)
    return _tables[known]


def _dead_rules(table: Table) -> Mapping[tuple[str, int], Dead]:
    found: dict[tuple[str, int], Dead] = {}
    reached = reachable(table)
    marking = any(_marks(rule) for rule in table.rules)
    for chain in table.chains:
        if not chain.rules:
            continue
        if chain.name not in reached:
            reason = f"nothing leads to chain {chain.name}"
            found |= {(chain.name, number): Dead("unreachable", reason) for number in range(1, len(chain.rules) + 1)}
            continue
        found |= {(chain.name, number): dead for number, dead in _dead_in_chain(chain, table, marking).items()}
    return found


def reachable(table: Table) -> frozenset[str]:
    """The chains that a packet can get to: those with a hook, and what live rules jump to from there."""
    todo = [chain for chain in table.chains if chain.hook is not None]
    seen = {chain.name for chain in todo}
    while todo:
        chain = todo.pop()
        for rule in chain.rules:
            for name in targets_of(rule):
                target = table.chain(name)
                if target is not None and name not in seen:
                    seen.add(name)
                    todo.append(target)
            if ends_chain(rule) and not conditions(rule):
                break
    return frozenset(seen)


def targets_of(rule: Rule) -> tuple[str, ...]:
    """The chains that a rule leads to."""
    match rule.target:
        case Jump(chain) | Goto(chain):
            return (chain,)
        case VerdictMap(entries=entries):
            return tuple(verdict.chain for _, verdict in entries if isinstance(verdict, Jump | Goto))
        case _:
            return ()


def _dead_in_chain(chain: Chain, table: Table, marking: bool) -> Mapping[int, Dead]:
    """The dead rules of one chain, by 1-based number, each because of earlier rules of it."""
    found: dict[int, Dead] = {}
    live: list[tuple[int, Rule, tuple[Match, ...]]] = []
    for number, rule in enumerate(chain.rules, 1):
        matches = conditions(rule)
        dead = _impossible(matches) or _taken(matches, live, table)
        if dead is not None:
            found[number] = dead
            continue
        live.append((number, rule, matches))
        if marking and changes_marks(rule, table):
            # What an earlier rule asked of a mark says nothing about the mark from here on.
            live = [kept for kept in live if not any(isinstance(clause, Mark | Connmark) for clause in kept[2])]
    return found


def _impossible(matches: tuple[Match, ...]) -> Dead | None:
    if any(contradicts((one,), (other,)) for at, one in enumerate(matches) for other in matches[at + 1 :]):
        return Dead("unreachable", "its own conditions exclude each other")
    return None


_MARKING = frozenset((SetMark, SetConnmark, SaveMark, RestoreMark, Tproxy))


def _marks(rule: Rule) -> bool:
    return type(rule.target) in _MARKING or any(type(target) in _MARKING for target in rule.also)


def changes_marks(rule: Rule, table: Table, depth: int = 0) -> bool:
    """Whether the rule, or a chain that it leads to, may change the packet's or the connection's mark."""
    if _marks(rule):
        return True
    if depth > 16:
        return True
    inner = [table.chain(name) for name in targets_of(rule)]
    return bool(inner) and any(
        changes_marks(step, table, depth + 1) for chain in inner if chain is not None for step in chain.rules
    )


def _taken(matches: tuple[Match, ...], earlier: list[tuple[int, Rule, tuple[Match, ...]]], table: Table) -> Dead | None:
    """Whether earlier rules take every packet that this one asks for."""
    halves: list[tuple[int, Match]] = []
    for number, other, theirs in earlier:
        rest = list(islice((clause for clause in theirs if not implied(clause, matches)), 2))
        if len(rest) > 1 or not _takes(other, (*matches, *theirs), table):
            continue
        if not rest:
            kind: DeadKind = "shadowed" if theirs else "unreachable"
            return Dead(kind, f"rule {number} already takes every packet that it asks for", (number,))
        for partner, clause in halves:
            if _share_out(clause, rest[0], matches):
                reason = f"rules {partner} and {number} together already take every packet that it asks for"
                return Dead("shadowed", reason, (partner, number))
        halves.append((number, rest[0]))
    return None


def _takes(rule: Rule, matches: tuple[Match, ...], table: Table) -> bool:
    """Whether a packet with these conditions that matches the rule sees no later rule of the chain."""
    if ends_chain(rule) or isinstance(rule.target, Goto):
        return True
    if not isinstance(rule.target, Jump):
        return False
    inner = table.chain(rule.target.chain)
    if inner is None:
        return False
    for step in inner.rules:
        asked = conditions(step)
        if ends_table(step) and all(implied(clause, matches) for clause in asked):
            return True
        if (ends_chain(step) or isinstance(step.target, Jump | Goto)) and not contradicts(asked, matches):
            return False
    return False


def _share_out(one: Match, other: Match, matches: tuple[Match, ...]) -> bool:
    """Whether each packet fulfils one condition or the other: they differ in their sign alone."""
    if isinstance(one, Owner) and isinstance(other, Owner):
        if (one.kind, one.ids) != (other.kind, other.ids) or one.negated == other.negated:
            return False
        # Without a socket nft's skuid matches in neither form, so the rule itself must ask for a socket.
        asks = any(isinstance(m, Owner) and (m.strict or not m.negated) for m in matches)
        return asks or not (one.strict or other.strict)
    if not isinstance(one, Source | Destination | InInterface | OutInterface) or type(one) is not type(other):
        return False
    return replace(one, negated=not one.negated) == other

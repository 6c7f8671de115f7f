"""Runs one packet through the chains of one hook, rule by rule, and keeps a step for each.

What a rule asks is judged by `meshctl.netfilter.conditions`, what it changes is done by `meshctl.netfilter.effects`.
"""

from collections.abc import Sequence
from dataclasses import field, replace

from meshctl.frozen import dataclass
from meshctl.netfilter import iptables_text, nft_text
from meshctl.netfilter.conditions import actual, holds, stable
from meshctl.netfilter.effects import Change, apply
from meshctl.netfilter.flight import Flight
from meshctl.netfilter.hooks import BaseChain
from meshctl.netfilter.matches import Match, Opaque
from meshctl.netfilter.model import NFT_FAMILIES, Rule
from meshctl.netfilter.nft_lookups import element_holds, missing
from meshctl.netfilter.targets import Accept, Drop, Goto, Jump, Queue, Reject, Return, Target, Tproxy, VerdictMap
from meshctl.netfilter.verdict import Arrival, Outcome, Step, Verdict

_DEEPEST = 64


class Stop(Exception):
    """The run cannot go on: a program outside decides, or a target is not understood."""


@dataclass(slots=True)
class Run:
    """One walk under one script of answers."""

    steps: list[Step] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    questions: tuple[str, ...] = ()
    verdict: Verdict = "accepted"
    port: int | None = None
    stopped: str = ""
    dropped_by: str = ""
    rejected: bool = False
    arrival: Arrival | None = None

    @property
    def fate(self) -> tuple[Verdict, int | None, str]:
        """How it ended, as far as two walks have to agree."""
        return self.verdict, self.port, self.stopped

    @property
    def goal(self) -> tuple[int | None, int | None]:
        """The destination that it ended with."""
        return (None, None) if self.arrival is None else (self.arrival.dst, self.arrival.dport)


@dataclass(slots=True)
class ChainRun:
    """The chains of one walk: what they decide goes to `flight`, what they looked at to `run`."""

    flight: Flight
    run: Run

    def run_base(self, base: BaseChain) -> Outcome:
        """Run a base chain to its end, its policy included."""
        outcome = self._chain(base, base.chain.name, 0)
        if outcome is not None:
            return outcome
        policy = (base.chain.policy or "ACCEPT").lower()
        if base.chain.rules or policy != "accept":
            self._step(base, base.chain.name, None, False, "no rule decided", f"policy {policy}")
        if policy == "drop":
            self.run.dropped_by = f"{base.table.name}/{base.chain.name}: policy drop"
            return "drop"
        return "accept"

    def skip(self, bases: Sequence[BaseChain], why: str) -> None:
        """Note that base chains with rules were not consulted."""
        for base in bases:
            if base.chain.rules:
                self._step(base, base.chain.name, None, False, f"not consulted: {why}", "skip")

    def _chain(self, base: BaseChain, name: str, depth: int) -> Outcome | None:
        """Run a chain: None where it ends or returns to its caller."""
        chain = base.chains.get(name)
        if chain is None or depth > _DEEPEST:
            raise Stop(f"a jump to {name}, which table {base.table.name} does not have")
        for number, rule in enumerate(chain.rules, 1):
            if not self._matches(base, name, number, rule):
                continue
            left, outcome = self._do(base, name, number, rule, depth)
            if left:
                return outcome
        return None

    def _do(self, base: BaseChain, name: str, number: int, rule: Rule, depth: int) -> tuple[bool, Outcome | None]:
        """Do what a rule that matched says: whether its chain is left, and how."""
        at = len(self.run.steps)
        self._step(base, name, number, True, "", "continue", rule)
        action, why = "continue", _conditions(rule, base)
        changes: list[Change] = []
        left = False
        outcome: Outcome | None = None
        for target in rule.targets:
            chosen = self._chosen(base, target)
            if chosen is None:
                continue
            action = action_text(chosen)
            if isinstance(chosen, Jump | Goto):
                self._finish(at, why, action, changes)
                outcome = self._chain(base, chosen.chain, depth + 1)
                return outcome is not None or isinstance(chosen, Goto), outcome
            left, outcome = self._effect(base, name, number, chosen, changes)
            if left or (isinstance(chosen, Tproxy) and not self.flight.tproxied):
                break
        self._finish(at, why, action, changes)
        return left, outcome

    def _chosen(self, base: BaseChain, target: Target) -> Target | None:
        """The target itself; of a verdict map the verdict that fits, None where none does."""
        if not isinstance(target, VerdictMap):
            return target
        flight = self.flight
        if missing(target.fields, flight):
            return None
        entries = target.entries
        if target.name:
            found = next((one for one in base.table.sets if one.name == target.name), None)
            if found is None:
                raise Stop(f"the map {target.name} is not in the listing")
            pairs = zip(found.elements, found.values, strict=False)
            entries = tuple((element, value) for element, value in pairs if not isinstance(value, str))
        for element, verdict in entries:
            answer = element_holds(target.fields, element, flight)
            if answer is None:
                key = (flight.oracle.fresh(), element)
                answer = flight.oracle.choose(key, f"`{nft_text.target_text(target)}`")
            if answer:
                return verdict
        return None

    def _effect(
        self, base: BaseChain, name: str, number: int, target: Target, changes: list[Change]
    ) -> tuple[bool, Outcome | None]:
        place = f"{base.table.name}/{name} rule {number}"
        match target:
            case Return():
                return True, None
            case Accept():
                return True, "accept"
            case Drop() | Reject():
                self.run.dropped_by, self.run.rejected = place, isinstance(target, Reject)
                return True, "drop"
            case Queue():
                raise Stop(f"a program outside of the kernel, asked by `{action_text(target)}` at {place}")
            case Opaque(text):
                raise Stop(f"`{text}` at {place}, which is not understood")
            case _:
                ends = apply(target, self.flight, changes)
                if ends == "drop":
                    self.run.dropped_by = place
                return ends is not None, ends

    def _matches(self, base: BaseChain, name: str, number: int, rule: Rule) -> bool:
        flight = self.flight
        unknown: list[Match] = []
        for clause in rule.matches:
            answer = holds(clause, flight, base.table)
            if answer is False:
                why = f"`{clause_text(clause, base)}`: {actual(clause, flight)}"
                self._step(base, name, number, False, why, _action(rule), rule)
                return False
            if answer is None:
                unknown.append(clause)
        for clause in unknown:
            if not self._supposed(base, name, number, clause):
                why = f"cannot tell whether `{clause_text(clause, base)}`; taken as not"
                self._step(base, name, number, None, why, _action(rule), rule)
                return False
        return True

    def _supposed(self, base: BaseChain, name: str, number: int, clause: Match) -> bool:
        """Ask the oracle about a clause; the negated form of the same question gets the opposite answer."""
        flight = self.flight
        negated = bool(getattr(clause, "negated", False))
        plain = replace(clause, negated=False) if negated else clause  # type: ignore[arg-type]
        owner = getattr(clause, "kind", None) in ("uid", "gid")
        key = (
            (plain, None if owner else flight.signature())
            if stable(clause)
            else (flight.oracle.fresh(), base.table.name)
        )
        question = f"`{clause_text(clause, base)}` in {base.table.name}/{name} rule {number}"
        return flight.oracle.choose(key, question) != negated

    def _step(
        self,
        base: BaseChain,
        name: str,
        number: int | None,
        matched: bool | None,
        why: str,
        action: str,
        rule: Rule | None = None,
    ) -> None:
        self.run.steps.append(
            Step(
                self.flight.hook,
                NFT_FAMILIES[base.ruleset.family],
                base.table.name,
                name,
                number,
                matched,
                why,
                action,
                (),
                rule.text if rule is not None else "",
                str(rule.origin) if rule is not None else str(base.chain.origin),
            )
        )

    def _finish(self, at: int, why: str, action: str, changes: list[Change]) -> None:
        self.run.steps[at] = replace(self.run.steps[at], why=why, action=action, changes=tuple(changes))


def clause_text(clause: Match, base: BaseChain) -> str:
    """A match in the words of the tool that wrote its table."""
    return nft_text.match_text(clause) if base.ruleset.backend == "nftables" else _iptables_clause(clause)


def _iptables_clause(clause: Match) -> str:
    try:
        return iptables_text.clause_text(clause)
    except ValueError:
        return nft_text.match_text(clause)


def _conditions(rule: Rule, base: BaseChain) -> str:
    texts = [clause_text(clause, base) for clause in rule.matches if type(clause).__name__ != "Comment"]
    return "every packet" if not texts else " and ".join(texts)


def _action(rule: Rule) -> str:
    return action_text(rule.target) if rule.target is not None else "continue"


_MARKING = frozenset(("SetMark", "SetConnmark", "SaveMark", "RestoreMark", "CtZone", "Notrack", "Passive"))


def action_text(target: Target) -> str:
    """What a target does, in a word or two; ``continue`` for those after which the next rule is looked at."""
    if type(target).__name__ in _MARKING:
        return "continue"
    return nft_text.target_text(target)

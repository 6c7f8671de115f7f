"""Which rules counted between two readings; nothing is ever set to zero.

A rule is found again by its chain and text, the n-th of equal ones being the n-th again, so that rules inserted in
front of it do not matter. A counter that is smaller than before was made anew in between: it counts from zero.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from meshctl.frozen import dataclass
from meshctl.netfilter.model import Rule, Ruleset

Key: TypeAlias = tuple[str, str, str, str, str, int]


@dataclass(frozen=True, slots=True)
class Movement:
    """A rule that counted: `packets` and `bytes` since the first reading, `total` packets now."""

    family: str
    backend: str
    table: str
    chain: str
    number: int
    rule: Rule
    packets: int
    bytes: int
    total: int


@dataclass(frozen=True, slots=True)
class Movements:
    """What moved, busiest first; `still` rules did not; `seconds` None where the time between is not known."""

    moved: tuple[Movement, ...]
    still: int
    seconds: float | None
    notes: tuple[str, ...] = ()


def between(before: Sequence[Ruleset], after: Sequence[Ruleset], seconds: float | None) -> Movements:
    """Compare two readings of the same network namespace."""
    old = {key: rule for key, _, rule in _keyed(before)}
    moved: list[Movement] = []
    still = counterless = new = reset = 0
    for key, number, rule in _keyed(after):
        if rule.packets is None:
            counterless += 1
            continue
        was = old.pop(key, None)
        base_packets, base_bytes = (was.packets or 0, was.bytes or 0) if was is not None else (0, 0)
        new += was is None
        if rule.packets < base_packets:
            reset += 1
            base_packets = base_bytes = 0
        packets = rule.packets - base_packets
        if not packets:
            still += 1
            continue
        family, backend, table, chain = key[:4]
        size = max((rule.bytes or 0) - base_bytes, 0)
        moved.append(Movement(family, backend, table, chain, number, rule, packets, size, rule.packets))
    moved.sort(key=lambda one: -one.packets)
    gone = len(old)
    notes = _notes(((new, "new"), (gone, "gone"), (reset, "made anew"), (counterless, "without a counter")))
    return Movements(tuple(moved), still, seconds, notes)


def _notes(counts: Iterable[tuple[int, str]]) -> tuple[str, ...]:
    return tuple(f"{count} rule{'s are' if count > 1 else ' is'} {what}" for count, what in counts if count)


def _keyed(rulesets: Sequence[Ruleset]) -> Iterable[tuple[Key, int, Rule]]:
    seen: Counter[tuple[str, str, str, str, str]] = Counter()
    for ruleset in rulesets:
        for table, chain, number, rule in ruleset.rules:
            place = (ruleset.family, ruleset.backend, table.name, chain.name, rule.text)
            seen[place] += 1
            yield (*place, seen[place]), number, rule

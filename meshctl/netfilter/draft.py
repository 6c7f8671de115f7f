"""A rule before it is spelled: what `istio-iptables` hands to its rule builder, the same for every backend.

The writers (`expected_sidecar`, `expected_ambient`) make drafts in the order in which Istio emits them; `spell_save`
and `spell_nft` turn them into what ``iptables-save`` and ``nft -j list ruleset`` print once the kernel holds them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal, NamedTuple, TypeAlias

from meshctl.frozen import dataclass
from meshctl.netfilter.matches import ALL_BITS

ClauseKind: TypeAlias = Literal[
    "in",
    "out",
    "src",
    "dst",
    "proto",
    "module",
    "sport",
    "dport",
    "dports",
    "uid",
    "gid",
    "mark",
    "connmark",
    "state",
    "socket",
    "set",
]
ActionKind: TypeAlias = Literal[
    "jump",
    "return",
    "accept",
    "drop",
    "redirect",
    "tproxy",
    "mark",
    "connmark",
    "save-mark",
    "restore-mark",
    "zone",
    "snat",
    "log",
]


class Clause(NamedTuple):
    """One condition; `value` as the tool's user writes it."""

    kind: ClauseKind
    value: str
    negated: bool = False


class Action(NamedTuple):
    """What the rule does: a chain, a port, a mark or a zone in `value`; `extra` is TPROXY's mark."""

    kind: ActionKind
    value: str = ""
    extra: str = ""


RETURN, ACCEPT, DROP = Action("return"), Action("accept"), Action("drop")


@dataclass(frozen=True, slots=True)
class Draft:
    """A rule for `chain` of `table` (both by iptables' names); `position` (from 1) inserts, None appends."""

    table: str
    chain: str
    clauses: tuple[Clause, ...]
    action: Action
    position: int | None = None


def draft(table: str, chain: str, action: Action, *clauses: Clause) -> Draft:
    """A rule appended to a chain."""
    return Draft(table, chain, clauses, action)


def at(position: int, rule: Draft) -> Draft:
    """The same rule, inserted at a position."""
    return replace(rule, position=position)


def jump(chain: str) -> Action:
    """``-j CHAIN``."""
    return Action("jump", chain)


def yes(kind: ClauseKind, value: str) -> Clause:
    """A condition that has to hold."""
    return Clause(kind, value)


def no(kind: ClauseKind, value: str) -> Clause:
    """A condition that must not hold."""
    return Clause(kind, value, negated=True)


TCP, UDP = yes("proto", "tcp"), yes("proto", "udp")


def arranged(drafts: Iterable[Draft], *, clamp: bool = False) -> dict[tuple[str, str], list[Draft]]:
    """The drafts of each chain in their final order, by table and chain, chains in order of first use.

    Inserting beyond the end is an error for iptables; nft's writer (`clamp`) appends then
    (``addIstioTableRules`` in ``tools/istio-nftables/pkg/capture/run.go``).
    """
    chains: dict[tuple[str, str], list[Draft]] = {}
    for rule in drafts:
        rules = chains.setdefault((rule.table, rule.chain), [])
        if rule.position is None or (clamp and rule.position > len(rules)):
            rules.append(rule)
        else:
            rules.insert(rule.position - 1, rule)
    return chains


def jumped_to(chains: Iterable[list[Draft]]) -> Iterator[tuple[str, str]]:
    """The chains that some draft jumps to, rules or not."""
    for rules in chains:
        for rule in rules:
            if rule.action.kind == "jump":
                yield rule.table, rule.action.value


def mark_and_mask(text: str) -> tuple[int, int]:
    """Read ``1337``, ``0x539`` or ``0x539/0xfff`` as iptables does; ValueError for anything else."""
    value, slash, mask = text.partition("/")
    return int(value, 0), int(mask, 0) if slash else ALL_BITS

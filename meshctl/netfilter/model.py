"""The containers of netfilter: rulesets, tables, chains and rules; and the kernel's hooks.

One vocabulary for what ``iptables-save`` prints and what ``nft -j list ruleset`` lists, so that explaining, comparing
and walking need not know which tool was asked. What a rule asks is in `meshctl.netfilter.matches`, what it does in
`meshctl.netfilter.targets`. Clauses keep the order of the text: matches are ANDed in that order.
"""

from collections.abc import Iterator
from typing import Literal, TypeAlias

from meshctl.frozen import dataclass
from meshctl.netfilter.matches import Comment, Element, Match, Opaque
from meshctl.netfilter.targets import Target, VerdictTarget
from meshctl.origin import Origin

Family: TypeAlias = Literal["ipv4", "ipv6", "inet"]

Backend: TypeAlias = Literal["nft", "legacy", "nftables"]

NFT_FAMILIES = {"ipv4": "ip", "ipv6": "ip6", "inet": "inet"}
"""How nft (and a walk's steps) call the families."""

NOWHERE = Origin("")
"""The origin of a rule that was made, not read."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: where all `matches` hold, `also` is done in order (nft allows several actions), then `target`.

    `target` None only counts. `text` is the rule as the tool prints it, without counters. `packets` and `bytes` are
    None where the dump has no counters (in nft: the rule has no counter).
    """

    chain: str
    matches: tuple[Match, ...] = ()
    target: Target | None = None
    packets: int | None = None
    bytes: int | None = None
    text: str = ""
    origin: Origin = NOWHERE
    also: tuple[Target, ...] = ()
    handle: int | None = None

    @property
    def comment(self) -> str:
        """The text of its comment, empty where there is none."""
        return next((clause.text for clause in self.matches if isinstance(clause, Comment)), "")

    @property
    def targets(self) -> tuple[Target, ...]:
        """Everything it does, in order."""
        return self.also if self.target is None else (*self.also, self.target)

    @property
    def opaque(self) -> tuple[Opaque, ...]:
        """Its clauses that meshctl cannot judge."""
        return tuple(part for part in (*self.matches, *self.targets) if isinstance(part, Opaque))

    @property
    def by_name(self) -> tuple[Opaque, ...]:
        """Its clauses of iptables that nft shows by name only, without what they ask or do."""
        return tuple(part for part in self.opaque if part.xt)


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain; `hook` (PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING ...) is None for one that is only jumped to.

    `policy` is ACCEPT or DROP for a base chain, None otherwise.
    """

    name: str
    rules: tuple[Rule, ...] = ()
    hook: str | None = None
    type: str | None = None
    priority: int | None = None
    policy: str | None = None
    packets: int | None = None
    bytes: int | None = None
    origin: Origin = NOWHERE
    handle: int | None = None
    device: str = ""


@dataclass(frozen=True, slots=True)
class NamedSet:
    """An nft set or map; `values` runs beside `elements` for a map (verdicts, or the words of a data map)."""

    name: str
    kind: Literal["set", "map"] = "set"
    key: tuple[str, ...] = ()
    elements: tuple[tuple[Element, ...], ...] = ()
    values: tuple[VerdictTarget | str, ...] = ()
    flags: tuple[str, ...] = ()
    origin: Origin = NOWHERE


@dataclass(frozen=True, slots=True)
class Table:
    """A table; `extra` are its objects that meshctl keeps but does not read (flowtables, quotas, counters)."""

    name: str
    chains: tuple[Chain, ...] = ()
    sets: tuple[NamedSet, ...] = ()
    origin: Origin = NOWHERE
    handle: int | None = None
    extra: tuple[Opaque, ...] = ()

    def chain(self, name: str) -> Chain | None:
        """The chain of that name."""
        return next((chain for chain in self.chains if chain.name == name), None)

    @property
    def rules(self) -> Iterator[Rule]:
        """Every rule, chain by chain."""
        for chain in self.chains:
            yield from chain.rules


@dataclass(frozen=True, slots=True)
class Ruleset:
    """All tables of one family as one tool shows them.

    `backend` is nft or legacy for iptables' own tables (`through_nft`: seen with nft instead of iptables-save, so
    that matches and targets may be known by name only), nftables for native ones. `remarks` are things to tell the
    reader: a dump that breaks off, a comment that iptables-save left about tables it cannot show.
    """

    family: Family
    backend: Backend
    tables: tuple[Table, ...] = ()
    source: str = ""
    through_nft: bool = False
    remarks: tuple[str, ...] = ()

    def table(self, name: str) -> Table | None:
        """The table of that name."""
        return next((table for table in self.tables if table.name == name), None)

    @property
    def rules(self) -> Iterator[tuple[Table, Chain, int, Rule]]:
        """Every rule with its table, chain and 1-based number."""
        for table in self.tables:
            for chain in table.chains:
                for number, rule in enumerate(chain.rules, 1):
                    yield table, chain, number, rule

    @property
    def empty(self) -> bool:
        """Whether it holds no rule at all (a chain's policy other than ACCEPT aside)."""
        return not any(True for _ in self.rules)


HOOKS = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")

TABLE_PRIORITIES = {"raw": -300, "mangle": -150, "nat": -100, "filter": 0, "security": 50}
"""Hook priorities of iptables' tables (linux/netfilter_ipv4.h); nat's in INPUT and POSTROUTING is 100.

iptables-nft registers security at 150 (iptables/nft.c), so that it comes after nat INPUT instead of before.
"""

BUILT_IN = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": HOOKS,
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}
"""The base chains of iptables' tables."""


def hook_priority(table: str, hook: str, backend: Backend = "nft") -> int | None:
    """The priority of an iptables base chain, None for a table that iptables does not know."""
    if table == "nat" and hook in ("INPUT", "POSTROUTING"):
        return 100
    if table == "security" and backend != "legacy":
        return 150
    return TABLE_PRIORITIES.get(table)

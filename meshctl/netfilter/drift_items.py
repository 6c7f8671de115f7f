"""The differences between expected and found rules, each with its effect on traffic."""

from typing import Literal, NamedTuple, TypeAlias

from meshctl.frozen import dataclass
from meshctl.netfilter.model import Family

Kind: TypeAlias = Literal[
    "missing", "extra", "reordered", "changed", "shadowed", "foreign", "wrong-backend", "both-backends"
]

WEIGHTS: dict[Kind, int] = {
    "wrong-backend": 9, "both-backends": 8, "missing": 6, "changed": 5, "shadowed": 5, "foreign": 4, "extra": 4,
    "reordered": 3,
}  # fmt: skip


class Effect(NamedTuple):
    """What a difference does; `harmless` only where that is proven."""

    text: str
    harmless: bool = False


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
    """All differences, worst first; `notes` are what was assumed or could not be compared.

    Of the found `rules` those `by_name` have a clause that the listing names without saying what it asks or does.
    """

    items: tuple[Item, ...]
    notes: tuple[str, ...] = ()
    by_name: int = 0
    rules: int = 0

    @property
    def partly(self) -> str:
        """How much of the found rules could be compared in part only; empty where all could be as a whole."""
        if not self.by_name:
            return ""
        return f"{self.by_name} of {self.rules} rules have a part that nft shows by name only"

    @property
    def in_sync(self) -> bool:
        """Whether nothing differs but other tools' rules that are proven to change nothing."""
        return all(item.harmless and item.kind == "foreign" for item in self.items)

    @property
    def weight(self) -> int:
        """How bad it is: to list the worst pod first."""
        return sum(1 if item.harmless else 10 * WEIGHTS[item.kind] for item in self.items)

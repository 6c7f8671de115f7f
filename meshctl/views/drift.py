"""``meshctl.drift/v1`` and the pages of one or many comparisons."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from meshctl.blocks import Block, Column, Heading, Line, Note, Page, Span, Style, Table, Text
from meshctl.frozen import dataclass
from meshctl.netfilter.drift_items import Drift, Item
from meshctl.netfilter.release import nearest_recorded
from meshctl.netfilter.wanted import Wanted

SCHEMA = "meshctl.drift/v1"
MANY = "meshctl.drifts/v1"


@dataclass(frozen=True, slots=True)
class Compared:
    """One pod's comparison; `drift` None where there was nothing to compare, and `gap` says why.

    `unread` are listings that are broken, each with what is wrong; `unseen`: no other one shows what they held.
    """

    title: str
    pod: tuple[str, str] | None
    wanted: Wanted | None
    drift: Drift | None
    gap: str = ""
    unread: tuple[str, ...] = ()
    unseen: bool = False

    @property
    def drifted(self) -> bool:
        """Whether it is known to differ."""
        return self.drift is not None and not self.drift.in_sync

    @property
    def partly(self) -> str:
        """Why it is not known to be in sync, though no difference was found; empty where it is known, or drifted."""
        if self.drift is None or self.drifted:
            return ""
        return self.drift.partly or ("a listing of rules could not be read" if self.unseen else "")


def document(compared: Compared) -> dict[str, Any]:
    """The contract's document; `in_sync` is null where no difference was found, but not all could be compared."""
    wanted, drift = compared.wanted, compared.drift
    return {
        "schema": SCHEMA,
        "pod": None if compared.pod is None else {"namespace": compared.pod[0], "name": compared.pod[1]},
        "expected_from": _expected_from(wanted),
        "in_sync": None if drift is None or compared.partly else drift.in_sync,
        "items": [_item(item) for item in (drift.items if drift else ())],
        "notes": [*(wanted.notes if wanted else ()), *(drift.notes if drift else ()), *_unread(compared)],
        "gap": compared.gap or compared.partly or None,
    }


def _expected_from(wanted: Wanted | None) -> dict[str, Any]:
    if wanted is None:
        return {"args": [], "env": {}, "istio_version": None}
    writer = wanted.capture.writer if wanted.capture is not None else None
    return {
        "args": list(wanted.args),
        "env": dict(wanted.env),
        "istio_version": str(wanted.told.release),
        "istio_version_source": wanted.told.text,
        "verified": wanted.told.verified,
        "nearest_verified": None if wanted.told.verified else str(nearest_recorded(wanted.told.release)),
        "writer": writer,
        "reason": wanted.reason,
    }


def _item(item: Item) -> dict[str, Any]:
    return {
        "kind": item.kind,
        "chain": item.chain or None,
        "table": item.table or None,
        "family": item.family,
        "expected": item.expected or None,
        "found": item.found or None,
        "effect": item.effect,
        "fix": item.fix,
        "harmless": item.harmless,
        "rule": item.number,
        "line": item.where or None,
    }


def page(compared: Compared) -> Page:
    """One comparison: the verdict, then each difference with its effect and what to do."""
    title = f"Rules of {compared.title} against what they should be"
    blocks: list[Block] = [Heading(("Rules of ", Span(compared.title, "name"), " against what they should be"), 1)]
    wanted, drift = compared.wanted, compared.drift
    if wanted is not None:
        blocks.append(Text(Span(f"{wanted.reason}; {wanted.told.sentence}", "dim")))
    if drift is None:
        blocks.append(Note(compared.gap or "there is nothing to compare", "warn"))
    else:
        blocks.append(Note(verdict(compared), "bad" if compared.drifted else "warn" if compared.partly else "good"))
        blocks += _items(drift.items)
    blocks += [Note(note) for note in (*(wanted.notes if wanted else ()), *(drift.notes if drift else ()))]
    blocks += [Note(note, "warn") for note in _unread(compared)]
    return Page(title, tuple(blocks))


def _unread(compared: Compared) -> list[str]:
    return [f"not compared: {broken}" for broken in compared.unread]


def verdict(compared: Compared) -> str:
    """One line: in sync, or how much differs and the worst effect, or why neither is known."""
    drift = compared.drift
    if drift is None:
        return compared.gap or "nothing to compare"
    if compared.partly:
        return f"no difference was found, but {compared.partly}"
    if drift.in_sync:
        if compared.wanted is not None and compared.wanted.capture is None:
            return f"in sync: no rules of Istio's, as it should be ({compared.wanted.reason})"
        return "in sync: every rule is there, in its place"
    bad = [item for item in drift.items if not item.harmless]
    if not bad:
        return f"{_many(len(drift.items), 'difference')}, none of which changes traffic"
    return f"{_many(len(drift.items), 'difference')}; worst: {bad[0].effect}"


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


_SHOWN = 40


def _items(items: Sequence[Item]) -> list[Block]:
    blocks: list[Block] = []
    last_fix = ""
    for _, group in groupby(items[:_SHOWN], key=_told_together):
        several = list(group)
        item = several[0]
        style: Style = "warn" if item.harmless or item.moot else "bad"
        place = " ".join(word for word in (item.family, item.table, item.chain) if word)
        blocks.append(Heading((Span(item.kind, style), f"  {place}{_numbers(several)}"), 3))
        for one in several:
            if one.expected:
                blocks.append(Text((Span("- ", "bad"), Span(one.expected, "code")), indent=2))
            if one.found:
                blocks.append(Text((Span("+ ", "good"), Span(one.found, "code")), indent=2))
        blocks.append(Text(item.effect, indent=2))
        if item.fix != last_fix and not item.harmless:
            blocks.append(Text(Span(f"→ {item.fix}", "dim"), indent=2))
            last_fix = item.fix
    if len(items) > _SHOWN:
        blocks.append(Note(f"{len(items) - _SHOWN} more differences: -o json lists all"))
    return blocks


def _told_together(item: Item) -> object:
    """Rules of one chain whose loss adds nothing are told at once; every other difference is told by itself."""
    return (item.kind, item.family, item.table, item.chain, item.effect) if item.moot else id(item)


def _numbers(items: Sequence[Item]) -> str:
    numbers = [str(item.number) for item in items if item.number]
    if not numbers:
        return ""
    return f" rule {numbers[0]}" if len(numbers) == 1 else f" rules {', '.join(numbers)}"


# --- many --------------------------------------------------------------------------------------------------------


def worst_first(results: Sequence[Compared]) -> tuple[Compared, ...]:
    """By how bad the drift is; pods that could not be compared after the drifted ones."""

    def rank(one: Compared) -> tuple[int, str]:
        if one.drift is None or one.partly:
            return 0, one.title
        return (-1 - one.drift.weight if one.drifted else 1), one.title

    return tuple(sorted(results, key=rank))


def documents(results: Sequence[Compared]) -> dict[str, Any]:
    """Every comparison, worst first."""
    return {"schema": MANY, "items": [document(one) for one in worst_first(results)]}


def pages(results: Sequence[Compared]) -> Page:
    """One line a pod, worst first."""
    drifted = sum(one.drifted for one in results)
    unknown = sum(one.drift is None for one in results)
    partly = sum(bool(one.partly) for one in results)
    head = f"{_many(len(results), 'pod')}: {drifted} differ{'s' if drifted == 1 else ''}"
    head += f", {partly} compared in part only" if partly else ""
    head += f", {unknown} not comparable" if unknown else ""
    rows = tuple((_state(one), Span(one.title, "name"), verdict(one)) for one in worst_first(results))
    columns = (Column("", keep=9, wrap=False), Column("pod", keep=8), Column("rules", keep=7))
    return Page(head, (Heading(head, 1), Table(columns, rows)))


def _state(one: Compared) -> Line:
    if one.drift is None or one.partly:
        return Span("?", "warn")
    return Span("✗", "bad") if one.drifted else Span("✓", "good")

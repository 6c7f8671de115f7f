"""Joins rulesets of one namespace that several tools have shown, so that no rule stands there twice."""

from collections.abc import Iterable, Mapping

from meshctl.errors import BadInput
from meshctl.netfilter.model import Ruleset, Table


def merge(rulesets: Iterable[Ruleset]) -> tuple[Ruleset, ...]:
    """The rulesets with no rule shown twice: what iptables-save shows whole replaces what nft shows of it by name.

    The tables of iptables-save take the handles that nft gives them (they tell which was made first). Two dumps of
    the same family and backend with a table in common are BadInput: it cannot be told which of them is meant.
    """
    kept = list(rulesets)
    whole: dict[tuple[str, str, str], Ruleset] = {}
    for ruleset in kept:
        for table in () if ruleset.through_nft else ruleset.tables:
            key = (ruleset.family, ruleset.backend, table.name)
            if key in whole:
                raise BadInput(
                    f"{whole[key].source} and {ruleset.source} both show table {table.name} of "
                    f"{ruleset.family}/{ruleset.backend}",
                    hint="give one dump for each family and backend, or say with --family which file is IPv6",
                )
            whole[key] = ruleset
    handles: dict[tuple[str, str], int | None] = {
        (ruleset.family, table.name): table.handle
        for ruleset in kept
        if ruleset.through_nft
        for table in ruleset.tables
    }
    merged = (_merged(ruleset, whole, handles) for ruleset in kept)
    return tuple(ruleset for ruleset in merged if ruleset is not None)


def _merged(
    ruleset: Ruleset, whole: Mapping[tuple[str, str, str], Ruleset], handles: Mapping[tuple[str, str], int | None]
) -> Ruleset | None:
    tables: list[Table] = []
    for table in ruleset.tables:
        if ruleset.through_nft and (ruleset.family, "nft", table.name) in whole:
            continue
        handle = handles.get((ruleset.family, table.name))
        if handle is not None and ruleset.backend == "nft" and not ruleset.through_nft:
            table = Table(table.name, table.chains, table.sets, table.origin, handle, table.extra)
        tables.append(table)
    if ruleset.through_nft and not tables:
        return None
    return Ruleset(ruleset.family, ruleset.backend, tuple(tables), ruleset.source, ruleset.through_nft, ruleset.remarks)

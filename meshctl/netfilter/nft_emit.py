"""Native nftables rulesets as a script for ``nft -f``: what it lists of them afterwards is the same again."""

from collections.abc import Iterator

from meshctl.errors import BadInput
from meshctl.netfilter.matches import Opaque
from meshctl.netfilter.model import NFT_FAMILIES, Chain, NamedSet, Ruleset, Table
from meshctl.netfilter.nft_text import element_text, rule_text, target_text


def emit(ruleset: Ruleset) -> str:
    """The script, counters at zero.

    Raises BadInput where something of it is only kept as text: nft would not read that, and leaving it out would be
    another ruleset. iptables' own tables, seen through nft, are iptables-restore's to take.
    """
    if ruleset.through_nft:
        raise BadInput(f"{ruleset.source}: these are iptables' tables: emit what iptables-save shows of them")
    return "".join(line for table in ruleset.tables for line in _table(ruleset, table))


def _table(ruleset: Ruleset, table: Table) -> Iterator[str]:
    for opaque in table.extra:
        raise BadInput(f"{ruleset.source}: {opaque.text[:80]} in table {table.name} cannot be written again")
    yield f"table {NFT_FAMILIES[ruleset.family]} {table.name} {{\n"
    for named in table.sets:
        yield from _set(named)
    for chain in table.chains:
        yield from _chain(ruleset, chain)
    yield "}\n"


def _set(named: NamedSet) -> Iterator[str]:
    data = next((flag.removeprefix("data ") for flag in named.flags if flag.startswith("data ")), "")
    flags = ", ".join(flag for flag in named.flags if not flag.startswith("data "))
    yield f"\t{named.kind} {named.name} {{\n\t\ttype {' . '.join(named.key)}{f' : {data}' if data else ''};\n"
    if flags:
        yield f"\t\tflags {flags};\n"
    if named.elements:
        keys = [
            " . ".join(element_text(kind, part) for kind, part in zip(named.key, parts, strict=False))
            for parts in named.elements
        ]
        goals = [f" : {goal if isinstance(goal, str) else target_text(goal)}" for goal in named.values] or [""] * len(
            keys
        )
        yield f"\t\telements = {{ {', '.join(map(''.join, zip(keys, goals, strict=True)))} }};\n"
    yield "\t}\n"


def _chain(ruleset: Ruleset, chain: Chain) -> Iterator[str]:
    yield f"\tchain {chain.name} {{\n"
    if chain.hook is not None:
        device = f" device {chain.device}" if chain.device else ""
        policy = f" policy {(chain.policy or 'ACCEPT').lower()};"
        yield f"\t\ttype {chain.type} hook {chain.hook.lower()}{device} priority {chain.priority};{policy}\n"
    for rule in chain.rules:
        if any(isinstance(part, Opaque) for part in (*rule.matches, *rule.targets)):
            raise BadInput(f"{ruleset.source}: `{rule.text}` in {chain.name} is not understood, so not written again")
        yield f"\t\t{rule_text(rule)}\n"
    yield "\t}\n"

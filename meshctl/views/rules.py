"""``meshctl.ruleset/v1`` and the page of a namespace's rules, each explained."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from meshctl.blocks import Block, Column, Heading, Line, Note, Page, Span, Table, Text
from meshctl.netfilter.dump import Dump, chains_in_order, explained, remarks, tables_in_order
from meshctl.netfilter.explain import Explained
from meshctl.netfilter.matches import Opaque
from meshctl.netfilter.model import Chain, Ruleset
from meshctl.netfilter.model import Table as RuleTable
from meshctl.netfilter.targets import Goto, Jump, Passive, Target
from meshctl.views import rules_graph

SCHEMA = "meshctl.ruleset/v1"
_FAMILIES = {"ipv4": "IPv4", "ipv6": "IPv6", "inet": "IPv4 and IPv6 (inet)"}
_BACKENDS = {"nft": "iptables-nft", "legacy": "iptables-legacy", "nftables": "native nftables"}
_MOODS: Mapping[str, Any] = {"error": "bad", "warning": "warn", "info": "info"}


# --- document ----------------------------------------------------------------------------------------------------


def document(dump: Dump) -> dict[str, Any]:
    """The contract's document; per rule also `place`, `dead`, `foreign` and where it stands in the input."""
    rulesets, counts = [], _Counts()
    for ruleset, by_chain in explained(dump):
        tables = [
            {
                "name": table.name,
                "chains": [
                    _chain(chain, by_chain.get((table.name, chain.name), ())) for chain in chains_in_order(table)
                ],
            }
            for table in tables_in_order(ruleset)
        ]
        rulesets.append({"family": ruleset.family, "backend": ruleset.backend, "tables": tables})
        counts.add(by_chain)
    return {
        "schema": SCHEMA,
        "pod": None if dump.pod is None else {"namespace": dump.pod[0], "name": dump.pod[1]},
        "rulesets": rulesets,
        "summary": {
            "text": counts.sentence(dump),
            "rules": counts.rules,
            "istio": counts.istio,
            "foreign": counts.foreign,
            "dead": counts.dead,
            "not_understood": counts.opaque,
            "written_by": dump.origin or None,
            "release": dump.release or None,
            "gaps": list(dump.gaps),
            "notes": list(dump.notes),
        },
        "findings": [{"id": r.id, "severity": r.severity, "text": r.text, "fix": r.fix} for r in remarks(dump)],
    }


def _chain(chain: Chain, entries: Sequence[Explained]) -> dict[str, Any]:
    return {
        "name": chain.name,
        "hook": chain.hook,
        "policy": chain.policy,
        "packets": chain.packets,
        "bytes": chain.bytes,
        "rules": [_rule(entry) for entry in entries],
    }


def _rule(entry: Explained) -> dict[str, Any]:
    told, rule = entry.told, entry.rule
    dead = None
    if told.dead is not None:
        dead = {"kind": told.dead.kind, "reason": told.dead.reason, "because": list(told.dead.because)}
    setting = told.setting
    return {
        "number": entry.number,
        "text": rule.text,
        "packets": rule.packets,
        "bytes": rule.bytes,
        "meaning": told.meaning,
        "role": told.title,
        "role_id": told.role or None,
        "origin": {
            "flag": setting.flag if setting else None,
            "value": setting.value if setting else None,
            "source": setting.source if setting else None,
        },
        "target": target_name(rule.target),
        "place": told.place or None,
        "dead": dead,
        "foreign": bool(told.foreign),
        "understood": not told.opaque,
        "line": str(rule.origin),
    }


def target_name(target: Target | None) -> str | None:
    """A target by the name that iptables users know."""
    match target:
        case None:
            return None
        case Jump(name) | Goto(name) | Passive(name):
            return name
        case Opaque(text):
            return text
        case _:
            words = {"CtZone": "CT", "Notrack": "CT", "SetMark": "MARK", "Queue": "NFQUEUE", "VerdictMap": "vmap"}
            name = type(target).__name__
            connection = name in ("SetConnmark", "SaveMark", "RestoreMark")
            return words.get(name, "CONNMARK" if connection else name.upper())


class _Counts:
    """How many rules of which sort."""

    def __init__(self) -> None:
        self.rules = self.istio = self.foreign = self.dead = self.opaque = 0

    def add(self, by_chain: Mapping[tuple[str, str], Sequence[Explained]]) -> None:
        for entries in by_chain.values():
            for entry in entries:
                self.rules += 1
                self.istio += bool(entry.told.role)
                self.foreign += bool(entry.told.foreign)
                self.dead += entry.told.dead is not None
                self.opaque += bool(entry.told.opaque)

    def sentence(self, dump: Dump) -> str:
        """What there is, in one line."""
        if not dump.rulesets and dump.gaps:
            return "whether there are rules is not known"
        if not self.rules:
            return "no rules"
        parts = [f"{self.rules} rules", f"{self.istio} of Istio's"]
        parts += [f"{self.foreign} of others"] if self.foreign else []
        parts += [f"{self.dead} that no packet reaches"] if self.dead else []
        parts += [f"{self.opaque} not understood"] if self.opaque else []
        backends = sorted({_BACKENDS[r.backend] for r in dump.rulesets if not r.empty})
        return f"{', '.join(parts)} ({' and '.join(backends)})"


# --- text --------------------------------------------------------------------------------------------------------


def page_for(output: str | None, dump: Dump, *, places: bool = False) -> Page:
    """The page for a format: ``html`` has the graph of chains and the tables, a picture the graph alone."""
    match output:
        case "mermaid" | "svg":
            return Page(dump.title, tuple(rules_graph.graphs(dump)))
        case "html":
            whole = page(dump, wide=True)
            graphs = tuple(rules_graph.graphs(dump))
            at = next((i for i, block in enumerate(whole.blocks) if _is_table(block)), len(whole.blocks))
            drawn: tuple[Block, ...] = (Heading("The way through the chains", 2), *graphs) if graphs else ()
            return Page(whole.title, (*whole.blocks[:at], *drawn, *whole.blocks[at:]))
        case _:
            return page(dump, wide=output == "wide", places=places)


def _is_table(block: Block) -> bool:
    return isinstance(block, Heading) and block.level == 2


def page(dump: Dump, *, wide: bool = False, places: bool = False) -> Page:
    """Tables and chains in the order in which packets meet them; `wide` as tables.

    `places` also says of each rule why its place matters (`wide` always does).
    """
    counts = _Counts()
    body: list[Block] = []
    for ruleset, by_chain in explained(dump):
        counts.add(by_chain)
        body += _ruleset(ruleset, by_chain, wide=wide, places=places)
    blocks: list[Block] = [Heading(("Rules of ", Span(dump.title, "name")), 1), Text(counts.sentence(dump))]
    if dump.origin:
        blocks.append(Text(Span(f"{dump.origin}; {dump.release}" if dump.release else dump.origin, "dim")))
    blocks += [
        Note(remark.text, _MOODS[remark.severity], (remark.fix,) if remark.fix else ()) for remark in remarks(dump)
    ]
    blocks += [Note(note) for note in dump.notes]
    return Page(f"Rules of {dump.title}", (*blocks, *body))


def _ruleset(
    ruleset: Ruleset, by_chain: Mapping[tuple[str, str], Sequence[Explained]], *, wide: bool, places: bool
) -> Iterator[Block]:
    if ruleset.empty and not any(chain.policy == "DROP" for t in ruleset.tables for chain in t.chains):
        return
    for table in tables_in_order(ruleset):
        chains = [c for c in chains_in_order(table) if c.rules or (c.hook and c.policy not in (None, "ACCEPT"))]
        if not chains:
            continue
        yield Heading(f"Table {table.name}: {named(ruleset)}", 2)
        empty = [c.name for c in chains_in_order(table) if not c.rules and c.hook is None]
        for chain in chains:
            entries = by_chain.get((table.name, chain.name), ())
            yield Heading(_chain_line(chain, table, entries), 3)
            if wide:
                yield _wide(entries)
            else:
                yield from _rules(entries, places=places)
        if empty:
            yield Note(f"empty chains: {', '.join(empty)}")


def named(ruleset: Ruleset) -> str:
    """A ruleset's family and backend."""
    return f"{_FAMILIES[ruleset.family]}, {_BACKENDS[ruleset.backend]}"


def _chain_line(chain: Chain, table: RuleTable, entries: Sequence[Explained]) -> Line:
    words: list[str | Span] = [chain.name]
    if chain.hook:
        policy = f", policy {chain.policy}" if chain.policy else ""
        counters = f", {_packets(chain.packets)} met the policy" if chain.packets else ""
        words.append(Span(f"  hook {chain.hook}{policy}{counters}", "dim"))
    elif entries and entries[0].told.dead is not None and not entries[0].told.dead.because:
        words.append(Span(f"  {entries[0].told.dead.reason}", "warn"))
    else:
        callers = sorted({c.name for c in table.chains for r in c.rules if chain.name in _leads(r.target)})
        words.append(Span(f"  called from {', '.join(callers)}", "dim") if callers else "")
    return tuple(words)


def _packets(count: int) -> str:
    return f"{count} packet{'' if count == 1 else 's'}"


def _leads(target: Target | None) -> tuple[str, ...]:
    return (target.chain,) if isinstance(target, Jump | Goto) else ()


def words_of(entry: Explained) -> str:
    """The rule's own words without the chain's name, which stands above it."""
    return entry.rule.text.removeprefix(f"-A {entry.chain.name} ")


def _rules(entries: Sequence[Explained], *, places: bool) -> Iterator[Block]:
    digits = len(str(len(entries)))
    for entry in entries:
        told = entry.told
        counter = "" if entry.rule.packets is None else _packets(entry.rule.packets)
        head: Line = (
            Span(f"{entry.number:>{digits}} ", "strong"),
            Span(words_of(entry), "code"),
            Span(f"  {counter}", "dim"),
        )
        yield Text(head, indent=2)
        yield Text(f"{told.meaning}.", indent=digits + 4)
        yield Text((Span("↳ ", "accent"), *_why(entry)), indent=digits + 4)
        if places and told.place:
            yield Text(Span(f"place: {told.place}", "dim"), indent=digits + 4)
        if told.dead is not None and told.dead.because:
            yield Text(Span(f"no packet gets here: {told.dead.reason}", "warn"), indent=digits + 4)


def _why(entry: Explained) -> Iterator[str | Span]:
    told = entry.told
    if not told.role:
        yield Span(told.title, "warn")
        return
    yield told.title
    setting = told.setting
    if setting is not None:
        yield Span(f"  [{_setting_words(setting.flag, setting.value, setting.source)}]", "dim")


def _setting_words(flag: str, value: str, source: str) -> str:
    """``-d 15090,15021, argument -d``; a long value is cut."""
    if not source or not flag:
        return flag or source
    shown = value if len(value) <= 40 else f"{value[:37]}..."
    where = "argument" if source == f"argument {flag}" else source
    return f"{flag} {shown}: {where}" if shown else f'{flag} "": {where}'


def _wide(entries: Sequence[Explained]) -> Table:
    columns = (
        Column("#", right=True, keep=9),
        Column("packets", right=True, keep=6),
        Column("rule", keep=8),
        Column("what it does", keep=7),
        Column("why", keep=7),
        Column("from", keep=5),
        Column("its place", keep=3),
    )
    rows = tuple(
        (
            str(e.number),
            "" if e.rule.packets is None else str(e.rule.packets),
            Span(words_of(e), "code"),
            e.told.meaning,
            e.told.title if e.told.role else Span(e.told.title, "warn"),
            _setting_words(e.told.setting.flag, e.told.setting.value, e.told.setting.source) if e.told.setting else "",
            Span(f"dead: {e.told.dead.reason}", "warn") if e.told.dead else e.told.place,
        )
        for e in entries
    )
    return Table(columns, rows)

"""Reads what iptables-save and ip6tables-save print, either backend, with or without counters; and writes it back.

The format is iptables-save(8): ``*table``, ``:CHAIN POLICY [packets:bytes]``, ``[packets:bytes] -A CHAIN ...``,
``COMMIT``. ``-N`` and ``-I``, which iptables-restore takes as well, are read too. Clauses that are not understood stay
verbatim as `Opaque`; a line that is no command at all, or a table without its COMMIT, is BadInput with file and line.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from meshctl.errors import BadInput
from meshctl.netfilter.addresses import prefix
from meshctl.netfilter.iptables_matches import MODULES
from meshctl.netfilter.iptables_options import Option
from meshctl.netfilter.iptables_targets import TARGETS
from meshctl.netfilter.matches import Destination, Fragment, InInterface, Match, Opaque, OutInterface, Source
from meshctl.netfilter.model import BUILT_IN, Backend, Chain, Family, Rule, Ruleset, Table, hook_priority
from meshctl.netfilter.protocols import protocol
from meshctl.netfilter.targets import Goto, Jump, Target
from meshctl.origin import Origin

_COUNTED = re.compile(r"\[(\d+):(\d+)\] +")
_CHAIN = re.compile(r":(\S+) (\S+)(?: \[(\d+):(\d+)\])?\s*$")
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)', re.S)
_ESCAPED = re.compile(r"\\(.)", re.S)


class _Quoted(str):
    """A word that stood in quotes, hence is no option whatever it looks like."""

    __slots__ = ()


class Spec(NamedTuple):
    """The parts of a rule's text."""

    chain: str
    matches: tuple[Match, ...]
    target: Target | None
    text: str
    place: int | None = None


_CORE = {
    "-s": "-s",
    "--source": "-s",
    "--src": "-s",
    "-d": "-d",
    "--destination": "-d",
    "--dst": "-d",
    "-i": "-i",
    "--in-interface": "-i",
    "-o": "-o",
    "--out-interface": "-o",
    "-p": "-p",
    "--protocol": "-p",
    "--proto": "-p",
    "-f": "-f",
    "--fragment": "-f",
    "-m": "-m",
    "--match": "-m",
    "-j": "-j",
    "--jump": "-j",
    "-g": "-g",
    "--goto": "-g",
    "-4": "-4",
    "-6": "-6",
    "--ipv4": "-4",
    "--ipv6": "-6",
}


def words(text: str) -> list[str]:
    """Split a rule as iptables-restore does: at blanks, but for double quotes with backslash escapes."""
    if '"' not in text:
        return text.split()
    return [found[2] if found[1] is None else _Quoted(_ESCAPED.sub(r"\1", found[1])) for found in _WORD.finditer(text)]


_QUOTING = ('"', "'", "\\", " ", "\t")
"""What a word has to be quoted for; no option's name has it."""
_PLAIN = re.compile(r"[-_0-9A-Za-z]+\Z")
_TO_ESCAPE = re.compile(r"([\"\\'])")


def quoted(text: str) -> str:
    """A value that may hold blanks, as xtables_save_string (libxtables) prints it."""
    return text if _PLAIN.match(text) else '"' + _TO_ESCAPE.sub(r"\\\1", text) + '"'


def _options(tokens: list[str], start: int) -> tuple[list[Option], int]:
    """The extension options from `start` on, up to the next core option; a ``!`` before that one is left to it."""
    found: list[Option] = []
    at = start
    while at < len(tokens):
        negated = tokens[at] == "!"
        name_at = at + negated
        if name_at >= len(tokens) or tokens[name_at] in _CORE or tokens[name_at][:1] != "-":
            break
        if type(tokens[name_at]) is _Quoted or any(mark in tokens[name_at] for mark in _QUOTING):
            break
        end = name_at + 1
        values: list[str] = []
        if end < len(tokens) and tokens[end] == "!" and end + 1 < len(tokens) and tokens[end + 1][:1] != "-":
            negated = True
            end += 1
        while end < len(tokens) and tokens[end] != "!":
            if tokens[end][:1] == "-" and len(tokens[end]) > 1 and type(tokens[end]) is not _Quoted:
                break
            values.append(tokens[end])
            end += 1
        found.append(Option(tokens[name_at], tuple(values), negated))
        at = end
    return found, at


def _verbatim(tokens: list[str]) -> Opaque:
    return Opaque(" ".join(quoted(word) if type(word) is _Quoted else word for word in tokens))


@lru_cache(maxsize=32768)
def spec(text: str) -> Spec:
    """Read one ``-A CHAIN ...`` (or ``-I CHAIN [N] ...``) line; ValueError where it names no chain."""
    tokens = words(text)
    read = _read(tokens, text)
    odd = any(isinstance(part, Opaque) for part in (*read.matches, read.target)) or tokens[-1] in _CORE
    return _checked(read) if odd or _late_matches(tokens) else read


def _read(tokens: list[str], text: str) -> Spec:
    if len(tokens) < 2 or tokens[0] not in ("-A", "-I", "--append", "--insert"):
        raise ValueError("no rule")
    at, place = 2, None
    if tokens[0] in ("-I", "--insert"):
        place = 1
        if at < len(tokens) and tokens[at].isdigit():
            place, at = int(tokens[at]), 3
    matches: list[Match] = []
    target: Target | None = None
    while at < len(tokens):
        start = at
        negated = tokens[at] == "!"
        at += negated
        core = _CORE.get(tokens[at]) if at < len(tokens) else None
        if core in ("-j", "-g") and target is None and at + 1 < len(tokens):
            target, at = _target(tokens, at, core)
        elif core == "-m" and at + 1 < len(tokens):
            options, end = _options(tokens, at + 2)
            matches += _module(tokens[start:end], tokens[at + 1], options, negated)
            at = end
        elif core is not None:
            at = _core(tokens, start, at, core, negated, matches)
        else:
            _, end = _options(tokens, start)
            end = max(end, start + 1)
            matches.append(_verbatim(tokens[start:end]))
            at = end
    return Spec(tokens[1], tuple(matches), target, text, place)


def _late_matches(tokens: list[str]) -> bool:
    """Whether something stands behind the target that belongs to a match."""
    at = next((index for index, word in enumerate(tokens) if word in ("-j", "-g", "--jump", "--goto")), len(tokens))
    return any(word in _CORE for word in tokens[at + 1 :])


def _checked(read: Spec) -> Spec:
    """The rule, or one Opaque for all of it where its parts would not be read again as they are."""
    from meshctl.netfilter.iptables_text import match_words, target_words

    parts = ["-A", read.chain, *match_words(read.matches), *(target_words(read.target) if read.target else ())]
    emitted = " ".join(parts)
    again = _read(words(emitted), emitted)
    if (again.chain, again.matches, again.target) == (read.chain, read.matches, read.target):
        return read
    rest = read.text.split(None, 2)[2]
    return Spec(read.chain, (Opaque(rest),), None, read.text, read.place)


def _core(tokens: list[str], start: int, at: int, core: str, negated: bool, matches: list[Match]) -> int:
    """Read one of iptables' own options into `matches`; where it ends."""
    if core == "-f":
        matches.append(Fragment(negated))
        return at + 1
    if core in ("-4", "-6"):
        return at + 1
    value_at = at + 1
    if value_at < len(tokens) and tokens[value_at] == "!":
        negated, value_at = True, value_at + 1
    if value_at < len(tokens) and tokens[value_at] in _CORE and type(tokens[value_at]) is not _Quoted:
        matches.append(_verbatim(tokens[start:value_at]))
        return value_at
    if value_at >= len(tokens):
        matches.append(_verbatim(tokens[start:]))
        return len(tokens)
    try:
        matches += _core_match(core, tokens[value_at], negated)
    except ValueError:
        matches.append(_verbatim(tokens[start : value_at + 1]))
    return value_at + 1


def _core_match(core: str, value: str, negated: bool) -> tuple[Match, ...]:
    match core:
        case "-s":
            return (Source(prefix(value), negated),)
        case "-d":
            return (Destination(prefix(value), negated),)
        case "-i":
            return (InInterface(value, negated),)
        case "-o":
            return (OutInterface(value, negated),)
        case "-p":
            found = protocol(value, negated)
            return () if found is None else (found,)
        case _:
            raise ValueError(core)


def _module(tokens: list[str], name: str, options: list[Option], negated: bool) -> tuple[Match, ...]:
    reader = MODULES.get(name)
    if reader is None or negated:
        return (_verbatim(tokens),)
    try:
        return reader(options)
    except (ValueError, KeyError, IndexError):
        return (_verbatim(tokens),)


def _target(tokens: list[str], at: int, core: str) -> tuple[Target, int]:
    name = tokens[at + 1]
    options, end = _options(tokens, at + 2)
    if core == "-g":
        return (_verbatim(tokens[at:end]) if options else Goto(name)), end
    reader = TARGETS.get(name)
    if reader is None:
        return (_verbatim(tokens[at:end]) if options else Jump(name)), end
    try:
        return reader(options), end
    except (ValueError, KeyError, IndexError):
        return _verbatim(tokens[at:end]), end


class _OpenTable:
    """A table while its lines are read."""

    def __init__(self, name: str, origin: Origin, backend: Backend) -> None:
        self.name = name
        self.backend = backend
        self.origin = origin
        self.heads: dict[str, Chain] = {}
        self.rules: dict[str, list[Rule]] = {}

    def chain(self, name: str, policy: str, packets: int | None, count: int | None, origin: Origin) -> None:
        based = policy != "-" or name in BUILT_IN.get(self.name, ())
        self.heads[name] = Chain(
            name,
            (),
            hook=name if based else None,
            type=("nat" if self.name == "nat" else "route" if (self.name, name) == ("mangle", "OUTPUT") else "filter")
            if based
            else None,
            priority=hook_priority(self.name, name, self.backend) if based else None,
            policy=policy if based and policy != "-" else None,
            packets=packets if based else None,
            bytes=count if based else None,
            origin=origin,
        )
        self.rules.setdefault(name, [])

    def add(self, rule: Rule, place: int | None) -> None:
        if rule.chain not in self.heads:
            built_in = rule.chain in BUILT_IN.get(self.name, ())
            self.chain(rule.chain, "ACCEPT" if built_in else "-", None, None, rule.origin)
        rules = self.rules[rule.chain]
        if place is None:
            rules.append(rule)
        else:
            rules.insert(place - 1, rule)

    def close(self) -> Table:
        chains = []
        for name, head in self.heads.items():
            rules = tuple(self._resolved(rule) for rule in self.rules[name])
            chains.append(
                Chain(
                    name, rules, head.hook, head.type, head.priority, head.policy, head.packets, head.bytes, head.origin
                )
            )
        return Table(self.name, tuple(chains), origin=self.origin)

    def _resolved(self, rule: Rule) -> Rule:
        """A jump to no chain of this table is an extension that meshctl does not know."""
        target = rule.target
        if not isinstance(target, Jump) or target.chain in self.heads:
            return rule
        unknown = Opaque(f"-j {quoted(target.chain) if ' ' in target.chain else target.chain}")
        return Rule(
            rule.chain, rule.matches, unknown, rule.packets, rule.bytes, rule.text, rule.origin, rule.also, rule.handle
        )


def header(text: str) -> tuple[Family | None, Backend | None]:
    """What the comment that iptables-save writes first says about family and backend."""
    found = re.search(r"^# Generated by (xtables-save|ip6?tables(?:-\w+)?-save) v(\S+)(?: \((\S+)\))?", text, re.M)
    if found is None:
        return None, None
    family: Family | None = None
    if found[1].startswith("ip"):
        family = "ipv6" if found[1].startswith("ip6") else "ipv4"
    backend: Backend = "nft" if found[3] == "nf_tables" or "-nft" in found[1] else "legacy"
    return family, backend


def parse(
    text: str,
    source: str = "iptables-save",
    family: Family | None = None,
    backend: Backend | None = None,
    *,
    strict: bool = True,
) -> Ruleset:
    """Read a dump.

    `family` None takes the header's, else IPv4; `backend` None the header's, else nft. A dump that breaks off raises
    BadInput; with `strict` False what is there is kept and `remarks` say what is missing.
    """
    if "\0" in text or "\ufffd" in text:
        noise = min(at for at in (text.find("\0"), text.find("\ufffd")) if at >= 0)
        raise BadInput(f"{source}:{text.count(chr(10), 0, noise) + 1}: binary noise, not the output of iptables-save")
    said_family, said_backend = header(text)
    settled: Backend = backend or said_backend or "nft"
    tables: list[Table] = []
    remarks: list[str] = []
    open_table: _OpenTable | None = None
    number = 0
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        if not line:
            continue
        if line[0] in "[-":
            if open_table is None:
                raise BadInput(f"{source}:{number}: a rule outside of a table: {line[:80]!r}")
            _rule_line(open_table, line, source, number)
        elif line[0] == ":":
            if open_table is None:
                raise BadInput(f"{source}:{number}: a chain outside of a table: {line[:80]!r}")
            _chain_line(open_table, line, source, number)
        elif line[0] == "*":
            if open_table is not None:
                _unfinished(open_table, source, number, remarks, strict)
                tables.append(open_table.close())
            open_table = _OpenTable(line[1:].strip(), Origin(source, number), settled)
        elif line == "COMMIT" and open_table is not None:
            tables.append(open_table.close())
            open_table = None
        elif line[0] == "#":
            if not line.startswith(("# Generated by", "# Completed on")):
                remarks.append(line[1:].strip())
        else:
            raise BadInput(f"{source}:{number}: not a line of iptables-save: {line[:80]!r}")
    if open_table is not None:
        _unfinished(open_table, source, number, remarks, strict)
        tables.append(open_table.close())
    return Ruleset(family or said_family or "ipv4", settled, tuple(tables), source, remarks=tuple(remarks))


def _unfinished(table: _OpenTable, source: str, number: int, remarks: list[str], strict: bool) -> None:
    message = f"{source}:{number}: the dump breaks off: table {table.name} (line {table.origin.line}) has no COMMIT"
    if strict:
        raise BadInput(message, hint="take the dump again, or end the file with COMMIT if nothing is missing")
    remarks.append(message)


def _chain_line(table: _OpenTable, line: str, source: str, number: int) -> None:
    found = _CHAIN.match(line)
    if found is None:
        raise BadInput(f"{source}:{number}: not a chain line: {line[:80]!r}")
    packets, count = (int(found[3]), int(found[4])) if found[3] is not None else (None, None)
    table.chain(found[1], found[2], packets, count, Origin(source, number))


def _rule_line(table: _OpenTable, line: str, source: str, number: int) -> None:
    packets = count = None
    if line[0] == "[":
        counted = _COUNTED.match(line)
        if counted is None:
            raise BadInput(f"{source}:{number}: counters that cannot be read: {line[:80]!r}")
        packets, count = int(counted[1]), int(counted[2])
        line = line[counted.end() :]
    if line.startswith(("-N ", "-P ", "--new-chain ", "--policy ")):
        _command(table, line.split(), source, number)
        return
    try:
        read = spec(line)
    except ValueError:
        raise BadInput(f"{source}:{number}: not a rule: {line[:80]!r}") from None
    origin = Origin(source, number)
    table.add(Rule(read.chain, read.matches, read.target, packets, count, read.text, origin), read.place)


def _command(table: _OpenTable, tokens: list[str], source: str, number: int) -> None:
    """``-N CHAIN`` and ``-P CHAIN POLICY``, as iptables-restore takes them."""
    new = tokens[0] in ("-N", "--new-chain")
    if len(tokens) != (2 if new else 3):
        raise BadInput(f"{source}:{number}: not a command: {' '.join(tokens)[:80]!r}")
    table.chain(tokens[1], "-" if new else tokens[2], None, None, Origin(source, number))

"""Reads the text of one iptables rule: its words, its options by module, its target.

Clauses that are not understood stay verbatim as `Opaque`.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from meshctl.netfilter.addresses import prefix
from meshctl.netfilter.iptables_matches import MODULES
from meshctl.netfilter.iptables_options import Option
from meshctl.netfilter.iptables_targets import TARGETS
from meshctl.netfilter.matches import Destination, Fragment, InInterface, Match, Opaque, OutInterface, Source
from meshctl.netfilter.protocols import protocol
from meshctl.netfilter.targets import Goto, Jump, Target

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

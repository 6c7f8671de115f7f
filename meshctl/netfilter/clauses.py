"""The logic of single conditions: what one implies, what contradicts it, and a rule's meaning as a comparable key.

Sound, not complete: True means proven for every packet, False means not proven. Conditions whose answer lies outside
of packet and rules (`External`, `Statistic`) or that are not understood (`Opaque`) prove nothing.
"""

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from meshctl.netfilter import matches as m
from meshctl.netfilter import targets as t
from meshctl.netfilter.addresses import Prefix, Span
from meshctl.netfilter.model import Rule

Key: TypeAlias = tuple[frozenset[m.Match], tuple[t.Target, ...]]
"""A rule's meaning: the set of its conditions (always-true ones left out) and what it does, in order."""

_ALWAYS_TRUE = (m.Comment, m.Accounting)
_UNPROVEN = (m.External, m.Statistic, m.Opaque)
"""Equal ones need not answer alike: their answer lies outside of packet and rules."""
_MODULES_OF_PROTOCOLS = {"tcp", "udp", "sctp", "dccp", "icmp", "icmp6", "icmpv6"}

_SAID_TWICE = frozenset((m.Comment, m.Accounting, m.Module, m.Ports, m.TcpFlags))
"""Only beside one of these a rule's conditions say something twice, or nothing."""

_keys: dict[tuple[str, type], Key] = {}
_conditions: dict[str, tuple[m.Match, ...]] = {}


def key(rule: Rule) -> Key:
    """The rule's meaning. Two rules with equal keys do the same to every packet, however they are written."""
    known = (rule.text, type(rule.target))
    found = _keys.get(known) if rule.text else None
    if found is None:
        found = (frozenset(conditions(rule)), rule.targets)
        if rule.text:
            if len(_keys) > 65536:
                _keys.clear()
            _keys[known] = found
    return found


def conditions(rule: Rule) -> tuple[m.Match, ...]:
    """The rule's `essential` conditions, remembered by its text."""
    found = _conditions.get(rule.text) if rule.text else None
    if found is None:
        found = tuple(essential(rule.matches))
        if rule.text:
            if len(_conditions) > 65536:
                _conditions.clear()
            _conditions[rule.text] = found
    return found


def essential(matches: Iterable[m.Match]) -> list[m.Match]:
    """The conditions that say something: no comments, no protocol that a port condition demands anyway."""
    matches = tuple(matches)
    if _SAID_TWICE.isdisjoint(map(type, matches)):
        return list(matches)
    kept = [match for match in matches if not isinstance(match, _ALWAYS_TRUE)]
    by_ports = {clause.protocol for clause in kept if isinstance(clause, m.Ports) and clause.protocol}
    by_ports |= {"tcp" for clause in kept if isinstance(clause, m.TcpFlags)}
    named = {clause.name for clause in kept if isinstance(clause, m.Protocol) and not clause.negated}
    found: list[m.Match] = []
    for match in kept:
        if isinstance(match, m.Protocol) and not match.negated and match.name in by_ports:
            continue
        if isinstance(match, m.Module) and match.name in _MODULES_OF_PROTOCOLS and match.name in named | by_ports:
            continue
        if isinstance(match, m.Ports) and match.multi:
            match = _plain_ports(match, named)
            if match.protocol:
                by_ports.add(match.protocol)
        found.append(match)
    return [
        clause
        for clause in found
        if not (isinstance(clause, m.Protocol) and not clause.negated and clause.name in by_ports)
    ]


def _plain_ports(match: m.Ports, protocols: set[str]) -> m.Ports:
    """``-p tcp -m multiport --dports`` asks what ``-p tcp -m tcp --dport`` asks."""
    ranges = tuple(sorted(match.ranges, key=lambda span: (span.low, span.high)))
    return m.Ports(match.side, ranges, match.negated, next(iter(protocols)) if len(protocols) == 1 else "", multi=False)


def protocol_of(matches: Iterable[m.Match]) -> str:
    """The one protocol that the conditions leave, empty if they leave several."""
    for match in matches:
        match match:
            case m.Protocol(name, negated=False):
                return name
            case m.Ports(protocol=name) if name:
                return name
            case m.TcpFlags():
                return "tcp"
            case _:
                pass
    return ""


def implied(clause: m.Match, matches: tuple[m.Match, ...]) -> bool:
    """Whether every packet for which all of `matches` hold also fulfils `clause`."""
    kind = type(clause)
    if kind in _ALWAYS_TRUE or kind in _UNPROVEN:
        return kind in _ALWAYS_TRUE
    if isinstance(clause, m.Ports) and clause.protocol and protocol_of(matches) != clause.protocol:
        return False
    for match in matches:
        if type(match) is kind and _implies(match, clause):
            return True
    match clause:
        case m.Module(name):
            return name in _MODULES_OF_PROTOCOLS and protocol_of(matches) == name
        case m.Protocol(name, negated):
            known = protocol_of(matches)
            return bool(known) and (known != name if negated else known == name)
        case _:
            return False


def contradicts(one: tuple[m.Match, ...], other: tuple[m.Match, ...]) -> bool:
    """Whether no packet can fulfil both sets of conditions."""
    first, second = protocol_of(one), protocol_of(other)
    if first and second and first != second:
        return True
    negated = {clause.name for clause in (*one, *other) if isinstance(clause, m.Protocol) and clause.negated}
    if (first in negated) or (second in negated):
        return True
    return any(_excludes(a, b) for a in one for b in other)


def _implies(known: m.Match, clause: m.Match) -> bool:
    """Of two conditions of one kind: conditions of different kinds say nothing about each other."""
    if known == clause:
        return True
    if isinstance(known, m.Mark | m.Connmark) and isinstance(clause, m.Mark | m.Connmark):
        return _mark_implies(known, clause)
    if isinstance(known, m.Owner) and isinstance(clause, m.Owner):
        return _owner_implies(known, clause)
    if isinstance(known, m.CtState) and isinstance(clause, m.CtState):
        shared = set(known.states) & set(clause.states)
        if known.negated:
            return False
        return not shared if clause.negated else set(known.states) <= set(clause.states)
    sets = _as_sets(known, clause)
    if sets is None:
        return False
    return _set_implies(sets.inside, not sets.meets, sets.around, _negations(known, clause))


class _Sets(NamedTuple):
    """How the values that two conditions name lie to each other."""

    inside: bool
    around: bool
    meets: bool


def _as_sets(one: m.Match, other: m.Match) -> _Sets | None:
    """Compare the values of two conditions on the same field; None where they ask for different things."""
    if (isinstance(one, m.Source) and isinstance(other, m.Source)) or (
        isinstance(one, m.Destination) and isinstance(other, m.Destination)
    ):
        a, b = one.network, other.network
        # Of another family: in an inet table neither form of the one holds where the other does.
        return _Sets(_inside(a, b), _inside(b, a), _meets(a, b)) if a.version == b.version else None
    if (isinstance(one, m.InInterface) and isinstance(other, m.InInterface)) or (
        isinstance(one, m.OutInterface) and isinstance(other, m.OutInterface)
    ):
        inside, around = _name_inside(one.name, other.name), _name_inside(other.name, one.name)
        return _Sets(inside, around, inside or around)
    if isinstance(one, m.Ports) and isinstance(other, m.Ports) and one.side == other.side != "either":
        first, second = one.ranges, other.ranges
        return _Sets(_spans_inside(first, second), _spans_inside(second, first), _spans_meet(first, second))
    return None


def _negations(known: m.Match, clause: m.Match) -> tuple[bool, bool]:
    return bool(getattr(known, "negated", False)), bool(getattr(clause, "negated", False))


def _set_implies(a_in_b: bool, disjoint: bool, b_in_a: bool, negated: tuple[bool, bool]) -> bool:
    """Membership in a implies membership in b, for both signs of each."""
    match negated:
        case (False, False):
            return a_in_b
        case (False, True):
            return disjoint
        case (True, True):
            return b_in_a
        case _:
            return False


def _excludes(one: m.Match, other: m.Match) -> bool:
    """Whether the two conditions cannot both hold."""
    if type(one) is not type(other):
        return _families_differ(one, other)
    if isinstance(one, m.Mark | m.Connmark) and isinstance(other, m.Mark | m.Connmark):
        return _marks_exclude(one, other)
    if isinstance(one, m.Owner) and isinstance(other, m.Owner):
        return _owners_exclude(one, other)
    if isinstance(one, m.CtState) and isinstance(other, m.CtState):
        if one.negated and not other.negated:
            one, other = other, one
        if one.negated:
            return False
        return set(one.states) <= set(other.states) if other.negated else not set(one.states) & set(other.states)
    if isinstance(one, m.Ports) and isinstance(other, m.Ports) and one.protocol and other.protocol:
        if one.protocol != other.protocol:
            return True
    elif _families_differ(one, other):
        return True
    sets = _as_sets(one, other)
    return sets is not None and _set_excludes(sets.meets, sets.inside, sets.around, _negations(one, other))


def _families_differ(one: m.Match, other: m.Match) -> bool:
    if not isinstance(one, m.Source | m.Destination) or not isinstance(other, m.Source | m.Destination):
        return False
    return one.network.version != other.network.version


def _owners_exclude(one: m.Owner, other: m.Owner) -> bool:
    if one.kind != other.kind or one.ids is None or other.ids is None or one.supplementary or other.supplementary:
        return False
    a, b = (one.ids,), (other.ids,)
    return _set_excludes(_spans_meet(a, b), _spans_inside(a, b), _spans_inside(b, a), _negations(one, other))


def _set_excludes(meets: bool, a_in_b: bool, b_in_a: bool, negated: tuple[bool, bool]) -> bool:
    match negated:
        case (False, False):
            return not meets
        case (False, True):
            return a_in_b
        case (True, False):
            return b_in_a
        case _:
            return False


def _inside(inner: Prefix, outer: Prefix) -> bool:
    if inner.version != outer.version:
        return False
    return outer.mask & ~inner.mask == 0 and inner.address & outer.mask == outer.address


def _meets(one: Prefix, other: Prefix) -> bool:
    shared = one.mask & other.mask
    return one.version == other.version and one.address & shared == other.address & shared


def _name_inside(inner: str, outer: str) -> bool:
    """Interface names; a trailing ``+`` stands for any continuation."""
    return inner.startswith(outer[:-1]) if outer.endswith("+") else inner == outer


def _spans_inside(inner: tuple[Span, ...], outer: tuple[Span, ...]) -> bool:
    return all(any(o.low <= i.low and i.high <= o.high for o in outer) for i in inner)


def _spans_meet(one: tuple[Span, ...], other: tuple[Span, ...]) -> bool:
    return any(a.low <= b.high and b.low <= a.high for a in one for b in other)


def _owner_implies(known: m.Owner, clause: m.Owner) -> bool:
    if clause.kind == "socket":
        return not clause.negated and not known.negated
    if known.kind != clause.kind or known.ids is None or clause.ids is None:
        return False
    if known.supplementary != clause.supplementary or known.supplementary:
        return False
    if clause.strict and clause.negated and known.negated and not known.strict:
        return False
    a, b = (known.ids,), (clause.ids,)
    return _set_implies(_spans_inside(a, b), not _spans_meet(a, b), _spans_inside(b, a), _negations(known, clause))


def _mark_implies(known: m.Mark | m.Connmark, clause: m.Mark | m.Connmark) -> bool:
    if known.negated:
        return clause.negated and (known.value, known.mask) == (clause.value, clause.mask)
    decided = clause.mask & ~known.mask == 0
    same = known.value & clause.mask == clause.value
    if clause.negated:
        return (known.value & clause.mask & known.mask) != (clause.value & known.mask)
    return decided and same


def _marks_exclude(one: m.Mark | m.Connmark, other: m.Mark | m.Connmark) -> bool:
    if one.negated and other.negated:
        return False
    if one.negated:
        return _marks_exclude(other, one)
    if other.negated:
        return other.mask & ~one.mask == 0 and one.value & other.mask == other.value
    shared = one.mask & other.mask
    return one.value & shared != other.value & shared


_ENDS_TABLE = (t.Accept, t.Drop, t.Reject, t.Redirect, t.Dnat, t.Snat, t.Masquerade, t.Netmap, t.Queue)


def ends_table(rule: Rule) -> bool:
    """Whether a packet that matches is done with this table."""
    target = rule.target
    return isinstance(target, _ENDS_TABLE) or (isinstance(target, t.Tproxy) and not target.plain)


def ends_chain(rule: Rule) -> bool:
    """Whether a packet that matches sees no later rule of this chain."""
    return isinstance(rule.target, t.Return) or ends_table(rule)


def only_watches(rule: Rule) -> bool:
    """Whether the rule can decide and change nothing: it counts, logs or traces."""
    return all(isinstance(target, t.Passive) and target.name in _WATCHING for target in rule.targets)


_WATCHING = {"LOG", "NFLOG", "ULOG", "TRACE", "AUDIT", "counter", "log"}

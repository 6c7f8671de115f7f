"""Clauses of rules that a packet's headers alone do not settle: whose answer it is, and what was translated before.

Connection tracking knows more of a packet than is walked: kube-proxy gave the connection another destination (DNAT),
and an answer runs against it. Clauses about that are settled before the walk where it is known, and else asked as open
questions, so that they leave the walk undecided only where they matter.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, TypeAlias

from meshctl.frozen import dataclass
from meshctl.netfilter import iptables_text, nft_text
from meshctl.netfilter import matches as m
from meshctl.netfilter.addresses import Prefix, Span, address_text
from meshctl.netfilter.model import Rule, Ruleset
from meshctl.path.netns import is_loopback
from meshctl.path.scene import Scene

Leg: TypeAlias = Literal["first", "answer", "later", "later answer", "refusal"]
"""Which packet of a connection: the first, the answer to it, one behind those, or what a REJECT says of the first."""


@dataclass(frozen=True, slots=True)
class View:
    """What its machine knows of a packet beside its headers; `blind` are the sides whose address is not known.

    `perhaps` is an address that it may have all the same. `tracked` False: it is of no connection.
    `mapped` and `hidden`: this machine translated the connection's destination, and its source; None: it may have.
    """

    leg: Leg = "first"
    mapped: bool | None = False
    hidden: bool | None = False
    blind: frozenset[str] = frozenset()
    devices: bool = True
    perhaps: str = ""
    tracked: bool = True

    @property
    def answer(self) -> bool:
        """Whether the packet runs against the connection."""
        return self.leg in ("answer", "later answer", "refusal")


CLIENT_PORTS = Span(32768, 60999)
"""From where clients connect (``net.ipv4.ip_local_port_range``, Linux' default)."""
_SELDOM = 0.01
"""A share of the clients' ports that is not worth a word."""

_NEVER = m.Mark(1, 0)
"""Holds for no packet; the rule stays where it is, so that its number does."""


def _share(clause: m.Ports) -> float:
    """The share (0..1) of the ports of clients that a clause names."""
    low, high = CLIENT_PORTS.low, CLIENT_PORTS.high
    named = sum(max(0, min(high, one.high) - max(low, one.low) + 1) for one in clause.ranges)
    return min(1.0, named / (high - low + 1))


def in_part(clause: m.Match) -> bool:
    """Whether a clause about ports names some of those of clients, and not all."""
    return isinstance(clause, m.Ports) and 0 < _share(clause) < 1


def by_chance(clause: m.Ports) -> m.Match | None:
    """What is asked of a client's port: which one it has is not known, and seldom one of a few."""
    if not in_part(clause):
        return clause
    if _share(clause) < _SELDOM:
        return None if clause.negated else _NEVER
    return m.Opaque(_spelt(clause))


def seen_by(scene: Scene, ruleset: Ruleset, view: View) -> Ruleset:
    """The rules as they ask what is known of a packet: the same rules at the same places."""
    return _asking(ruleset, lambda clause: _settled(scene, clause, view))


def with_client_ports(ruleset: Ruleset) -> Ruleset:
    """The rules as they ask of the port that a client sends from: the same object where none names some of those."""

    def asked(clause: m.Match) -> m.Match | None:
        return by_chance(clause) if isinstance(clause, m.Ports) and clause.side == "source" else clause

    some = any(in_part(clause) for _, _, _, rule in ruleset.rules for clause in rule.matches)
    return _asking(ruleset, asked) if some else ruleset


def _asking(ruleset: Ruleset, asked: Callable[[m.Match], m.Match | None]) -> Ruleset:
    def seen(rule: Rule) -> Rule:
        settled = tuple(asked(clause) for clause in rule.matches)
        return rule if settled == rule.matches else replace(rule, matches=tuple(c for c in settled if c is not None))

    return replace(
        ruleset,
        tables=tuple(
            replace(table, chains=tuple(replace(c, rules=tuple(map(seen, c.rules))) for c in table.chains))
            for table in ruleset.tables
        ),
    )


def _settled(scene: Scene, clause: m.Match, view: View) -> m.Match | None:
    """The clause as it is asked of the packet: itself, None where it holds, or one that never holds or is open."""
    match clause:
        case m.CtState() | m.CtField() if not view.tracked:
            return clause
        case m.CtState(states, negated) if (view.mapped and "DNAT" in states) or (
            view.leg != "first" and view.hidden and "SNAT" in states
        ):
            return _NEVER if negated else None
        case m.CtState(states) if _depends(states, view):
            return m.Opaque(_spelt(clause))
        case m.CtField("ctproto"):
            return clause
        case m.CtField("ctdir", value, negated):
            return None if (value.upper() == ("REPLY" if view.answer else "ORIGINAL")) != negated else _NEVER
        case m.CtField("ctstatus", value, negated) if (view.mapped or view.leg != "first") and (
            met := _has_status(value, view)
        ) is not None:
            return None if met != negated else _NEVER
        case m.CtField() if view.mapped or view.answer:
            return m.Opaque(_spelt(clause))
        case m.Ports(side) if side == ("destination" if view.answer else "source"):
            return by_chance(clause)
        case m.InInterface("lo") | m.OutInterface("lo"):  # who sends and who takes it tells, without any route
            return clause
        case m.InInterface() | m.OutInterface() if not view.devices:
            return m.Opaque(f"{_spelt(clause)}, since its routes are not recorded,")
        case m.InInterface() if "source" in view.blind:
            return m.Opaque(_spelt(clause))
        case m.OutInterface() if "destination" in view.blind:
            return m.Opaque(_spelt(clause))
        case m.Source(network, negated) if "source" in view.blind:
            return _of_blind(scene, clause, network, negated, view.perhaps)
        case m.Destination(network, negated) if "destination" in view.blind:
            return _of_blind(scene, clause, network, negated, view.perhaps)
        case m.AddressRange(side) | m.AddrType(side) if side in view.blind:
            return m.Opaque(_spelt(clause))
        case m.External("rpfilter", options):  # what comes from where its answers go passes: pods' packets do
            return _NEVER if "--invert" in options else None
        case m.Lookup(fields) if _is_open(fields, view):
            return m.Opaque(_spelt(clause))
        case _:
            return clause


_TRANSLATED = frozenset(("DNAT", "SNAT"))


def _depends(states: tuple[str, ...], view: View) -> bool:
    """Whether it depends on a translation that is not known if a packet has one of these states."""
    doubtful = view.mapped is None and not _TRANSLATED.isdisjoint(states)
    return doubtful and {"first": "NEW", "refusal": "RELATED"}.get(view.leg, "ESTABLISHED") not in states


def _has_status(value: str, view: View) -> bool | None:
    """Whether a connection has one of the states that are listed; None where it cannot be told.

    Source: nf_conntrack_core.c: SEEN_REPLY and CONFIRMED stand when an answer passes; nf_conntrack_proto_tcp.c: ASSURED
    stands when the client has acknowledged that.
    """
    known: dict[str, bool | None] = {
        "DNAT": view.mapped,
        "SNAT": (view.hidden or None) if view.leg != "first" else False,
        "SEEN_REPLY": view.leg not in ("first", "refusal"),
        "CONFIRMED": view.leg not in ("first", "refusal"),
        "ASSURED": view.leg in ("later", "later answer"),
        "EXPECTED": False,
    }
    met = [known.get(word) for word in value.upper().split(",")]
    return True if True in met else None if None in met else False


def _of_blind(scene: Scene, clause: m.Match, network: Prefix, negated: bool, perhaps: str) -> m.Match | None:
    """A clause about an address that is not known: it is none of another pod's, and not of a loopback."""
    text = address_text(network.version, network.address)
    if (network.is_host and text != perhaps and scene.pod_at(text) is not None) or is_loopback(text):
        return None if negated else _NEVER
    return m.Opaque(_spelt(clause))


def _spelt(clause: m.Match) -> str:
    try:
        return iptables_text.clause_text(clause)
    except ValueError:  # only nft has it
        return nft_text.match_text(clause)


def _is_open(fields: tuple[str, ...], view: View) -> bool:
    """Whether nft looks up what is not known here."""
    words = {"source": "saddr", "destination": "daddr"}
    names = [words[side] for side in view.blind]
    names += ["ct direction", "ct original", "ct reply", "ct status"] if view.mapped or view.answer else []
    names += [] if view.devices else ["iif", "oif"]
    return any(name in field for field in fields for name in names)

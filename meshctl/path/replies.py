"""Answers on their way back: packets after a connection's first meet no nat rule, but every filter.

A reply to a connection that was redirected leaves the socket as it is there (``127.0.0.1:15001``, ``:15006``) and is
translated back only behind POSTROUTING (nf_nat_core.c), so that filters of OUTPUT see the proxy's own port, and those
of INPUT the address that was called.
"""

from dataclasses import replace
from typing import Literal

from meshctl.netfilter.hooks import Plan
from meshctl.netfilter.matches import CtField, CtState, Lookup, Match
from meshctl.netfilter.packet import Packet
from meshctl.netfilter.targets import (
    Accept,
    CtZone,
    Goto,
    Jump,
    Redirect,
    RestoreMark,
    Return,
    SaveMark,
    SetConnmark,
    SetMark,
    Tproxy,
)
from meshctl.netfilter.verdict import Walk
from meshctl.netfilter.walk import Walker, walker
from meshctl.path.passage import UNTRACKED, resets, untracks
from meshctl.path.scene import Scene, Station
from meshctl.path.settled import Leg, View, in_part, seen_by

Stage = Literal["out", "in", "lo"]
"""Out of the pod, into it, or within it: all hooks on lo."""

_HOOKS: dict[Stage, tuple[str, ...]] = {
    "out": ("OUTPUT", "POSTROUTING"),
    "in": ("PREROUTING", "INPUT"),
    "lo": ("OUTPUT", "POSTROUTING", "PREROUTING", "INPUT"),
}

_HARMLESS = (
    *(Accept, Return, Jump, Goto, Redirect, Tproxy),
    *(SetMark, SetConnmark, SaveMark, RestoreMark, CtZone, type(None)),
)
"""Targets that let a packet of a known connection go on (Redirect and Tproxy only ever take the first one's way)."""


def can_stop(scene: Scene, station: Station) -> bool:
    """Whether any rule or policy of a pod's could keep back a packet: without one, replies need no walk."""
    key = ("can stop", station.key)
    if key not in scene.cache:
        scene.cache[key] = any(
            chain.policy == "DROP"
            or any(not isinstance(t, _HARMLESS) for rule in chain.rules for t in (*rule.also, rule.target))
            for ruleset in station.rulesets
            for table in ruleset.tables
            if table.name != "nat"
            for chain in table.chains
        )
    return bool(scene.cache[key])


def lost(scene: Scene, station: Station, ready: Walker, packet: Packet, stage: Stage) -> Walk | None:
    """The walk of a reply that the pod's rules keep back, or of which they leave that open; None where it arrives.

    It answers a first packet, or (an ACK) a later one.
    """
    later = packet.flags == ("ACK",)
    key = ("replies", station.key, stage, later)
    if key not in scene.cache:
        scene.cache[key] = _filters(_of_answers(scene, station, ready, "later answer" if later else "answer"), stage)
    filters = scene.cache[key]
    assert isinstance(filters, Walker)
    flags = ("ACK",) if later else ("SYN", "ACK")
    walk = filters.walk(replace(packet, ctstate="ESTABLISHED", flags=flags if packet.proto == "tcp" else None))
    if walk.verdict == "dropped" and "/" not in walk.dropped_by.partition(" ")[0]:
        return None  # by routing, which the first packet has been asked about
    if untracks(walk) is not False:
        return replace(walk, verdict="undecided", undecided_because=UNTRACKED)
    return walk if walk.verdict in ("dropped", "undecided") else None


def refusal(scene: Scene, station: Station, stopped: Walk) -> Walk | None:
    """The walk of a REJECT's answer (ICMP, TCP reset) that the pod's rules keep back, or may; None where it arrives.

    Within the pod it comes in again from the address that was called: POSTROUTING has translated it back.
    """
    sent, arrival = stopped.packet, stopped.arrival
    within = sent.direction == "outbound"
    reset = resets(stopped)
    known = arrival is not None and (reset or not within)
    leaving = replace(
        sent,
        direction="outbound",
        src=arrival.dst if arrival is not None and known else None,
        dst=sent.src or 0,
        sport=arrival.dport if arrival is not None else sent.dport,
        dport=sent.sport,
        in_interface=None,
        out_interface="lo" if within else sent.in_interface or "eth0",
        uid=None,
        gid=None,
        owner_known=True,
        mark=0,
    )
    leaving = as_refusal(leaving, reset=reset)
    lost = _stopping(scene, station, leaving, "out")
    if lost is not None or not within:
        return lost
    coming = replace(leaving, direction="inbound", in_interface="lo", out_interface=None)
    coming = replace(coming, src=sent.dst if known else None, sport=sent.dport if reset else None)
    return _stopping(scene, station, coming, "in")


def as_refusal(packet: Packet, *, reset: bool) -> Packet:
    """A packet from who rejects to who is rejected, in the form of what REJECT sends: a TCP reset or an ICMP error."""
    related = replace(packet, ctstate="RELATED", flags=("RST", "ACK") if reset else None)
    unreachable = 3 if packet.version == 4 else 1
    return related if reset else replace(related, proto="icmp", sport=None, dport=None, icmp_type=unreachable)


def _stopping(scene: Scene, station: Station, packet: Packet, stage: Stage) -> Walk | None:
    """The walk of a refusal that does not come past the filters of a stage, or may not."""
    key = ("refusals", station.key, stage)
    if key not in scene.cache:
        view = View("refusal", mapped=None, hidden=None)
        whole = walker(tuple(seen_by(scene, one, view) for one in station.rulesets), station.network)
        scene.cache[key] = _filters(whole, stage)
    filters = scene.cache[key]
    assert isinstance(filters, Walker)
    walk = filters.walk(packet)
    return walk if walk.verdict in ("dropped", "undecided") else None


def _of_answers(scene: Scene, station: Station, ready: Walker, leg: Leg) -> Walker:
    """The pod's rules as they ask of answers, where one of them asks for more of a connection than its state."""
    clauses = (clause for ruleset in station.rulesets for _, _, _, rule in ruleset.rules for clause in rule.matches)
    if not any(_asks_more(clause) for clause in clauses):
        return ready
    return walker(
        tuple(seen_by(scene, one, View(leg, mapped=None, hidden=None)) for one in station.rulesets),
        station.network,
    )


def _asks_more(clause: Match) -> bool:
    translated = isinstance(clause, CtState) and ("DNAT" in clause.states or "SNAT" in clause.states)
    return translated or isinstance(clause, CtField | Lookup) or in_part(clause)


def _filters(ready: Walker, stage: Stage) -> Walker:
    """The rules without nat's chains, at the hooks that a reply meets."""

    def of_a_reply(whole: Plan) -> Plan:
        return Plan(
            {
                hook: tuple(s for s in stations if s.kind != "nat") if hook in _HOOKS[stage] else ()
                for hook, stations in whole.stations.items()
            },
            whole.tracked,
        )

    return ready.with_plans(of_a_reply, replies=True)

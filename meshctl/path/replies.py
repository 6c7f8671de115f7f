"""Answers on their way back: packets after a connection's first meet no nat rule, but every filter.

A reply to a connection that was redirected leaves the socket as it is there (``127.0.0.1:15001``, ``:15006``) and is
translated back only behind POSTROUTING (nf_nat_core.c), so that filters of OUTPUT see the proxy's own port, and those
of INPUT the address that was called.
"""

from dataclasses import replace
from typing import Literal

from meshctl.netfilter.hooks import Plan
from meshctl.netfilter.matches import CtField
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
from meshctl.netfilter.walk import Walker
from meshctl.path.scene import Scene, Station

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
    """The walk of a reply that the pod's rules keep back, or of which they leave that open; None where it arrives."""
    key = ("replies", station.key, stage)
    if key not in scene.cache:
        scene.cache[key] = _filters(ready, stage)
    walker = scene.cache[key]
    assert isinstance(walker, Walker)
    walk = walker.walk(replace(packet, ctstate="ESTABLISHED", flags=("SYN", "ACK") if packet.proto == "tcp" else None))
    if walk.verdict == "dropped" and "/" not in walk.dropped_by.partition(" ")[0]:
        return None  # by routing, which the first packet has been asked about
    if walk.verdict == "dropped" and (asked := _asks_direction(station)):
        because = f"which direction of the connection `{asked}` asks for"
        return replace(walk, verdict="undecided", undecided_because=because)
    return walk if walk.verdict in ("dropped", "undecided") else None


def _asks_direction(station: Station) -> str:
    """A rule that tells a reply from what it answers by more than its state; empty for none."""
    for ruleset in station.rulesets:
        for _, _, _, rule in ruleset.rules:
            if any(isinstance(clause, CtField) for clause in rule.matches):
                return rule.text
    return ""


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

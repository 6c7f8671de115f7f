"""What a pod's rules look at in an address and a port: connections that look alike to them are walked once."""

from functools import lru_cache
from typing import Literal

from meshctl.frozen import dataclass
from meshctl.netfilter.addresses import Prefix, Span, address_number
from meshctl.netfilter.matches import (
    Accounting,
    Comment,
    Connmark,
    CtState,
    Destination,
    InInterface,
    Mark,
    Module,
    NfProto,
    OutInterface,
    Ports,
    Protocol,
    Source,
    TcpFlags,
)
from meshctl.netfilter.matches import Owner as OwnerClause
from meshctl.netfilter.routing import lookup
from meshctl.netfilter.targets import (
    Accept,
    CtZone,
    Drop,
    Goto,
    Jump,
    Redirect,
    Reject,
    RestoreMark,
    Return,
    SaveMark,
    SetConnmark,
    SetMark,
    Tproxy,
)
from meshctl.path.scene import Scene, Station


@lru_cache(maxsize=4096)
def number_of(address: str) -> tuple[Literal[4, 6], int]:
    """An address as its family and number; addresses come again and again."""
    return address_number(address)


@dataclass(frozen=True, slots=True)
class _Sight:
    """All that a pod's rules look at in an address and a port; `exact`: a clause looks at more than that."""

    prefixes: tuple[Prefix, ...]
    ports: tuple[Span, ...]
    exact: bool


def alike(scene: Scene, station: Station, address: str, port: int) -> object:
    """What the rules can tell of an address and a port: those with the same answer are walked once."""
    key = ("sight", station.key)
    if key not in scene.cache:
        scene.cache[key] = _sight(station)
    sight = scene.cache[key]
    assert isinstance(sight, _Sight)
    if sight.exact:
        return address, port
    version, number = number_of(address)
    way = lookup(station.network, version, number)
    inside = tuple(prefix.contains(version, number) for prefix in sight.prefixes)
    return version, way.kind, way.device, inside, tuple(port in span for span in sight.ports)


_BLIND = (Protocol, NfProto, OwnerClause, Mark, Connmark, CtState, Comment, Module, Accounting, TcpFlags)
"""Clauses that do not look at addresses and ports."""
_STEADY = (Jump, Goto, Return, Accept, Drop, Redirect, SetMark, SetConnmark, SaveMark, RestoreMark, CtZone, Tproxy)
"""Targets whose effect does not depend on them either."""


def _sight(station: Station) -> _Sight:
    prefixes: dict[Prefix, None] = {}
    ports: dict[Span, None] = {}
    exact = False
    for ruleset in station.rulesets:
        for _, _, _, rule in ruleset.rules:
            for clause in rule.matches:
                match clause:
                    case Destination(network) | Source(network):
                        prefixes[network] = None
                    case Ports(_, ranges):
                        ports.update(dict.fromkeys(ranges))
                    case InInterface() | OutInterface():
                        pass
                    case _:
                        exact = exact or not isinstance(clause, _BLIND)
            exact = exact or not all(isinstance(target, (*_STEADY, Reject)) for target in rule.targets)
    return _Sight(tuple(prefixes), tuple(ports), exact)

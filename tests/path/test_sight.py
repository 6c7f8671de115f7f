"""Connections that look alike to a pod's rules are walked once: what that finds is what each walk alone would find."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshctl.gather import trace as gather
from meshctl.gather.scope import Scope
from meshctl.netfilter import iptables_save
from meshctl.netfilter.model import Ruleset
from meshctl.path import rules
from meshctl.path.scene import Owner, Scene, Station
from meshctl.path.sight import alike
from meshctl.sources.snapshot import open_snapshot
from tests.kernel.rulesets import ADDRESSES, IDS, PORTS, iptables_ruleset
from tests.path.made import Mesh, pod

NEAR = {4: ("10.0.0.2", "127.0.0.7", "172.17.0.9", "203.0.113.11", "8.8.8.8"), 6: ("fd00:9::2", "2001:db8::11")}
PLACES = tuple((address, port) for v in (4, 6) for address in (*ADDRESSES[v], *NEAR[v]) for port in (*PORTS, 443))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("sight")
    Mesh(pods=[pod("client", "10.0.0.5")], rules={"client": ""}).write(folder)
    return gather.scene(open_snapshot(str(folder)), Scope("shop"))


def with_rules(place: Scene, rulesets: Sequence[Ruleset]) -> tuple[Scene, Station]:
    station = replace(place.station(place.pods[0]), rulesets=tuple(rulesets), rules_from="seen")
    return replace(place, cache={}), station


def ends(scene: Scene, station: Station, owner: Owner, at: tuple[str, int], inbound: bool) -> Any:
    """What the rules make of a connection, and by which of them."""
    if inbound:
        found = rules.inbound(scene, station, at[0], station.pod.ip, at[1])
    else:
        found = rules.outbound(scene, station, owner, *at)
    return found.kind, found.port, found.refused, found.to, found.transparent, found.hop.evidence


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    four=iptables_ruleset(4),
    six=iptables_ruleset(6),
    uid=st.sampled_from(IDS),
    places=st.lists(st.sampled_from(PLACES), min_size=2, max_size=8, unique=True),
    inbound=st.booleans(),
)
def test_what_is_walked_once_is_what_each_walk_finds(
    place: Scene, four: Ruleset, six: Ruleset, uid: int, places: list[tuple[str, int]], inbound: bool
) -> None:
    shared, station = with_rules(place, (four, six))
    owner = Owner(uid, uid, "asked")
    for at in places:
        alone = replace(place, cache={})
        assert ends(shared, station, owner, at, inbound) == ends(alone, station, owner, at, inbound), at


@pytest.mark.parametrize(
    ("rule", "one", "other", "same"),
    [
        ("-p tcp -j ACCEPT", ("10.0.0.7", 80), ("10.0.0.8", 81), True),
        ("-d 10.0.0.8/32 -j DROP", ("10.0.0.7", 80), ("10.0.0.9", 80), True),
        ("-d 10.0.0.8/32 -j DROP", ("10.0.0.7", 80), ("10.0.0.8", 80), False),
        ("-s 10.0.0.8/32 -j DROP", ("10.0.0.7", 80), ("10.0.0.8", 80), False),
        ("-p tcp -m tcp --dport 80 -j DROP", ("10.0.0.7", 81), ("10.0.0.8", 82), True),
        ("-p tcp -m tcp --dport 80 -j DROP", ("10.0.0.7", 80), ("10.0.0.7", 81), False),
        ("-m owner --uid-owner 0 -j DROP", ("10.0.0.7", 80), ("10.0.0.8", 80), True),
        ("-m set --match-set all dst -j DROP", ("10.0.0.7", 80), ("10.0.0.8", 80), False),
        ("-m addrtype --dst-type LOCAL -j DROP", ("10.0.0.7", 80), ("10.0.0.8", 80), False),
        ("-j NFQUEUE --queue-num 1", ("10.0.0.7", 80), ("10.0.0.8", 80), False),
    ],
)
def test_what_rules_look_at_tells_connections_apart(
    place: Scene, rule: str, one: tuple[str, int], other: tuple[str, int], same: bool
) -> None:
    text = f"*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT {rule}\nCOMMIT\n"
    scene, station = with_rules(place, (iptables_save.parse(text),))
    assert (alike(scene, station, *one) == alike(scene, station, *other)) is same

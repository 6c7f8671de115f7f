"""A caller whose proxy was not recorded: what the mesh's resources tell must be what its proxy would have done."""

from dataclasses import replace

import pytest

from meshctl.istio.entries import Sidecar, imports, parse_sidecar
from meshctl.path.model import End, Request
from meshctl.path.scene import Station
from meshctl.path.trace import Question, trace
from meshctl.refs import parse_target
from tests.path.recordings import scene

TARGETS = (
    "backend.policies:9080",
    "ledger.policies:9000",
    "slow.policies:8080",
    "legacyapp.outside:7070",
    "plainclient.outside:8080",
    "10.99.99.99:80",
    "10.99.99.99:4711",
    "tcp://10.99.99.99:4711",
)


def caller(prefix: str) -> Station:
    place = scene("policies")
    return place.station(next(p for p in place.pods if p.name.startswith(prefix) and p.namespace == "policies"))


def ends(station: Station, target: str) -> tuple[End, str | None, set[str]]:
    found = trace(scene("policies"), Question(caller=station, target=parse_target(target), request=Request()))
    return found.outcome.end, found.outcome.route, {share.name for share in found.outcome.clusters}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("prefix", ["client", "intruder"])
def test_the_resources_tell_what_the_proxy_tells(prefix: str, target: str) -> None:
    station = caller(prefix)
    seen, seen_route, seen_clusters = ends(station, target)
    told, told_route, told_clusters = ends(replace(station, proxy=None, live=None), target)
    assert (told.answered_by, told.status, told.delivered) == (seen.answered_by, seen.status, seen.delivered)
    assert (told.flags, told.through_client, told.mtls) == (seen.flags, seen.through_client, seen.mtls)
    assert (told_route, told_clusters) == (seen_route, seen_clusters)


def sidecar(*hosts: str) -> Sidecar:
    egress = [{"hosts": list(hosts)}] if hosts else []
    raw = {"metadata": {"name": "default", "namespace": "shop"}, "spec": {"egress": egress}}
    return parse_sidecar(raw, "sidecars.json", 0)


@pytest.mark.parametrize(
    ("hosts", "home", "told"),
    [
        ((), "other", True),
        (("./*",), "shop", True),
        (("./*",), "other", False),
        (("*/*",), "other", True),
        (("~/*",), "shop", False),
        (("other/*",), "other", True),
        (("other/a.other.svc.cluster.local",), "other", True),
        (("other/b.other.svc.cluster.local",), "other", False),
        (("*/*.other.svc.cluster.local",), "other", True),
    ],
)
def test_a_sidecar_says_which_hosts_its_proxies_know(hosts: tuple[str, ...], home: str, told: bool) -> None:
    assert imports(sidecar(*hosts), home, f"a.{home}.svc.cluster.local") is told


@pytest.mark.parametrize(
    ("unread", "reason"),
    [
        ("authorizationpolicies", "authorizationpolicies could not be read"),
        ("peerauthentications", "peerauthentications could not be read"),
        ("virtualservices", "virtualservices could not be read"),
        ("gateways", ""),
    ],
)
def test_resources_that_could_not_be_read_decide_nothing(unread: str, reason: str) -> None:
    whole = scene("policies")
    place = replace(
        whole,
        unread=frozenset({unread}),
        load_station=lambda pod: replace(whole.load_station(pod), proxy=None, live=None),
        cache={},
        _stations={},
    )
    client = place.station(next(p for p in place.pods if p.name.startswith("client") and p.namespace == "policies"))
    found = trace(place, Question(caller=client, target=parse_target("slow.policies:8080"), request=Request()))
    said = " ".join(found.outcome.end.undecided)
    assert (reason in said) if reason else (found.outcome.end.delivered is True)
    assert (found.outcome.end.delivered is None) is bool(reason)

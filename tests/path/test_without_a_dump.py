"""A caller whose proxy was not recorded: what the mesh's resources tell must be what its proxy would have done."""

from dataclasses import replace

import pytest

from meshctl.envoy import config_dump
from meshctl.istio import mesh as istio_mesh
from meshctl.istio.entries import Sidecar, imports, parse_sidecar
from meshctl.istio.mesh_config import MeshConfig
from meshctl.path.model import End, Request, Trace
from meshctl.path.scene import Owner, Scene, Station
from meshctl.path.trace import Question, trace
from meshctl.refs import parse_target
from tests.envoy.dumps import part
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
    whole = replace(
        scene("policies"), recorded=(), cache={}
    )  # namespace default was not recorded, and has nothing of the mesh
    found = trace(whole, Question(caller=station, target=parse_target(target), request=Request()))
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


def blind(name: str) -> Scene:
    """A recording without any proxy's configuration."""
    whole = scene(name)
    load = whole.load_station
    return replace(whole, load_station=lambda p: replace(load(p), proxy=None, live=None), cache={}, _stations={})


def comes_to(found: Trace) -> tuple[object, ...]:
    end = found.outcome.end
    shares = tuple((b.probability, b.cluster, b.end.status, b.end.delivered) for b in found.outcome.branches)
    flags = (end.answered_by, end.status, end.flags, end.server_flags, end.broken)
    return (*flags, end.through_client, end.through_server, end.mtls, found.outcome.route, shares)


PATHS = ("/", "/api/x", "/api/admin", "/api/../x", "/old/a?b", "/gone", "/fault/1", "/healthz", "/API/x")
HEADERS: tuple[tuple[tuple[str, str], ...], ...] = ((), (("end-user", "jason"),), (("host", "x.example.com"),))


def requests(name: str) -> list[tuple[str, Request]]:
    """To each port of each Service, by name and address, as HTTP, TLS, TCP; more paths where rules look at them."""
    found = []
    place = scene(name)
    for service in place.services.services:
        for port in service.ports:
            named = f"{service.name}.{service.namespace}:{port.number}"
            found += [(f"{scheme}{named}", Request()) for scheme in ("", "https://", "tcp://")]
            found += [(named, Request(method=method)) for method in ("post", "PURGE")]
            found += [(f"http://{address}:{port.number}", Request()) for address in service.addresses]
            if any(service.full_name in rules.hosts for rules in place.mesh.virtual_services):
                found += [
                    (named, Request(path=path, headers=headers, host=dict(headers).get("host", "")))
                    for path in PATHS
                    for headers in HEADERS
                ]
    return found


@pytest.mark.parametrize("name", ["bookinfo", "classic", "policies", "broken", "cnimode"])
def test_without_any_configuration_nothing_is_told_otherwise(name: str) -> None:
    with_all, without = scene(name), blind(name)
    decided = total = 0
    for pod in with_all.pods:
        if pod.namespace not in with_all.recorded or pod.namespace == "istio-system":
            continue
        for target, request in requests(name):
            told = [
                trace(place, Question(caller=place.station(pod), target=parse_target(target), request=request))
                for place in (without, with_all)
            ]
            total += not told[1].outcome.end.undecided
            if not told[0].outcome.end.undecided:
                decided += 1
                assert comes_to(told[0]) == comes_to(told[1]), (pod.name, target, request)
    assert decided > 0.8 * total, (decided, total)


def test_a_proxy_whose_configuration_turns_out_broken_takes_nothing_else_with_it() -> None:
    place = replace(scene("classic"), _stations={}, cache={})
    pod = next(p for p in place.pods if p.name.startswith("productpage") and p.namespace == "classic")
    station = place.station(pod)
    assert station.proxy is not None
    content = part("classic", "classic", "productpage", "envoy/config_dump.json")[0]
    broken = config_dump.parse(content.replace(b'"filter_chains":[', b'"filter_chains":7,"x":['), station.proxy.source)
    place._stations[station.key] = replace(station, proxy=broken)
    asked = replace(station, proxy=broken, owners=(Owner(4321, 4321, "as asked for"),))
    found = trace(place, Question(caller=asked, target=parse_target("reviews:9080"), request=Request()))
    assert place.station(pod).proxy is None
    assert any("filter_chains should be a list" in gap for gap in found.gaps)
    assert "uid 4321" in found.hops[0].facts[0]


@pytest.mark.parametrize("place", [scene("policies"), blind("policies")])
def test_a_plain_answer_of_the_callee_is_none_to_a_client_that_speaks_tls(place: Scene) -> None:
    to = [{"destination": {"host": "backend", "port": {"number": 9080}}}]
    spec = {"hosts": ["ledger"], "tcp": [{"match": [{"port": 9000}], "route": to}]}
    raw = {"metadata": {"name": "ledger", "namespace": "policies"}, "spec": spec}
    made = istio_mesh.read({"virtualservices": ("", [raw])}, MeshConfig()).virtual_services
    place = replace(place, mesh=replace(place.mesh, virtual_services=made), cache={}, _stations={})
    sender = replace(caller("client"), proxy=None, live=None)
    found = trace(place, Question(caller=sender, target=parse_target("https://ledger:9000"), request=Request()))
    end = found.outcome.end
    assert (end.answered_by, end.status, end.broken, end.server_flags) == ("nobody", None, "reset", "DPE")
    assert [f.id for f in found.findings] == ["MT199"]


@pytest.mark.parametrize("place", [scene("policies"), blind("policies")])
@pytest.mark.parametrize("target", ["http://www.google.com", "https://www.google.com", "tcp://www.google.com:4711"])
def test_what_the_mesh_refuses_is_not_delivered_whatever_its_name_resolves_to(place: Scene, target: str) -> None:
    def end(prefix: str) -> End:
        sender = next(p for p in place.pods if p.name.startswith(prefix) and p.namespace == "policies")
        asked = Question(caller=place.station(sender), target=parse_target(target), request=Request())
        return trace(place, asked).outcome.end

    refused, open_ = end("intruder"), end("client")
    assert (refused.delivered, refused.answered_by, refused.undecided) == (False, None, ())
    assert "if www.google.com does not resolve" in refused.why
    assert (open_.delivered, bool(open_.undecided)) == (None, True)

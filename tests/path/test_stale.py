"""A proxy's configuration beside other resources than it was made from: it decides, and that it differs is said."""

import json
from dataclasses import replace
from typing import Any

import pytest

from meshctl.envoy import config_dump
from meshctl.istio import mesh as istio_mesh
from meshctl.istio.entries import parse_workload
from meshctl.istio.mesh_config import MeshConfig
from meshctl.kube.services import Services
from meshctl.path.model import Request, Trace
from meshctl.path.scene import Scene, Station
from meshctl.path.trace import Question, trace
from meshctl.refs import parse_target
from tests.envoy.dumps import part
from tests.path.recordings import scene


def changed(**mesh: Any) -> Scene:
    whole = scene("policies")
    return replace(whole, mesh=replace(whole.mesh, **mesh), cache={}, _stations={})


def ask(place: Scene, sender: str, target: str, path: str = "/") -> Trace:
    pod = next(p for p in place.pods if p.name.startswith(sender) and p.namespace in place.recorded)
    request = Request(path=path)
    return trace(place, Question(caller=place.station(pod), target=parse_target(target), request=request))


def told(found: Trace) -> str:
    return " ".join(f.text for f in found.findings if f.id == "MT109")


def with_virtual_service(*http: Any) -> Any:
    spec = {"hosts": ["backend"], "http": list(http)}
    raw = {"metadata": {"name": "backend", "namespace": "policies"}, "spec": spec}
    return istio_mesh.read({"virtualservices": ("", [raw])}, MeshConfig()).virtual_services


FAULT = {
    "fault": {"abort": {"httpStatus": 418, "percentage": {"value": 100}}},
    "route": [{"destination": {"host": "backend"}}],
}


@pytest.mark.parametrize(
    ("mesh", "sender", "target", "path", "said"),
    [
        ({"peer_authentications": ()}, "plainclient", "backend.policies:9080", "/", "it would be refused"),
        ({"peer_authentications": ()}, "plainclient", "ledger.policies:9000", "/", "would let it through"),
        ({"authorization_policies": ()}, "client", "backend:9080", "/x", "would let it through"),
        ({"virtual_services": ()}, "client", "backend:9080", "/api/x", "there is no VirtualService backend.policies"),
        ({"virtual_services": with_virtual_service(FAULT)}, "client", "backend:9080", "/api/x", "418 for 100%"),
        (
            {"sidecars": (), "config": MeshConfig(source="x")},
            "intruder",
            "legacyapp.outside:7070",
            "/",
            "REGISTRY_ONLY",
        ),
    ],
)
def test_other_resources_are_told_and_do_not_decide(mesh: Any, sender: str, target: str, path: str, said: str) -> None:
    before, after = ask(scene("policies"), sender, target, path), ask(changed(**mesh), sender, target, path)
    assert told(before) == ""
    assert said in told(after)
    one, two = before.outcome.end, after.outcome.end
    assert (one.status, one.flags, one.delivered, one.mtls) == (two.status, two.flags, two.delivered, two.mtls)


def test_hosts_that_the_endpoint_slices_no_longer_have() -> None:
    whole = scene("policies")
    none = Services(whole.services.services, (), whole.services.by_name, whole.services.by_address, {})
    place = replace(whole, services=none, cache={}, _stations={})
    assert "172.17.0.118:8080 of them is not ready by the EndpointSlices" in told(ask(place, "client", "slow:8080"))
    plain = ask(place, "plainclient", "slow.policies:8080")
    assert "the EndpointSlices do not have 172.17.0.118 as ready" in told(plain)


def test_machines_are_no_endpoints_of_slices() -> None:
    whole = scene("policies")
    slow = next(s for s in whole.services.services if s.name == "slow" and s.namespace == "policies")
    none = Services(whole.services.services, (), whole.services.by_name, whole.services.by_address, {})
    raw = {"metadata": {"name": "m", "namespace": "policies"}, "spec": {"address": "172.17.0.118"}}
    for labels, stale in ((dict(slow.selector), False), ({"app": "other"}, True)):
        machine = parse_workload({**raw, "spec": {**raw["spec"], "labels": labels}}, "x", 0)
        place = replace(whole, services=none, cache={}, _stations={}, workload_entries=lambda m=machine: (m,))
        assert ("not ready by the EndpointSlices" in told(ask(place, "client", "slow:8080"))) is stale
    place = replace(whole, services=none, cache={}, _stations={}, workload_entries=lambda: None)
    assert "not ready" not in told(ask(place, "client", "slow:8080"))


def test_nothing_is_compared_where_resources_could_not_be_read() -> None:
    place = replace(changed(virtual_services=()), unread=frozenset({"virtualservices"}))
    assert told(ask(place, "client", "backend:9080", "/api/x")) == ""


def test_a_cluster_that_lets_nothing_through_is_no_other_route() -> None:
    name = "outbound|9080|v2|backend.policies.svc.cluster.local"
    text, source = part("policies", "policies", "client-v1", "envoy/config_dump.json")
    raw = json.loads(text)
    for section in raw["configs"]:
        for entry in section.get("dynamic_active_clusters", ()):
            if entry["cluster"]["name"] == name:
                entry["cluster"]["circuit_breakers"] = {"thresholds": [{"max_requests": 0, "max_connections": 0}]}
    place = scene("policies")
    pod = next(p for p in place.pods if p.name.startswith("client") and p.namespace in place.recorded)
    sender = replace(place.station(pod), proxy=config_dump.read(raw, source), live=None)
    request = Request(path="/api/list", headers=(("end-user", "jason"),))
    found = trace(place, Question(caller=sender, target=parse_target("backend:9080"), request=request))
    assert (found.outcome.end.status, found.outcome.end.flags, found.outcome.route) == (503, "UO", "beta-users")
    assert told(found) == ""


def with_dump(station: Station, *sections: str) -> Station:
    """A caller whose dump has these sections only."""
    assert station.proxy is not None
    parts = [{"@type": f"type.googleapis.com/envoy.admin.v3.{name}ConfigDump"} for name in sections]
    return replace(station, proxy=config_dump.read({"configs": parts}, "part.json"), live=None)


@pytest.mark.parametrize("sections", [("Listeners",), ("Clusters",), ("Bootstrap",)])
def test_a_dump_in_part_is_left_out(sections: tuple[str, ...]) -> None:
    whole = scene("policies")
    place = replace(whole, load_station=lambda p: with_dump(whole.station(p), *sections), cache={}, _stations={})
    found = ask(place, "client", "slow:8080")
    assert found.outcome.end.delivered
    assert any("part.json has no " in gap for gap in found.gaps)


def test_missing_services_are_named_among_what_was_not_looked_at() -> None:
    place = replace(scene("policies"), services_gap="no services.json", endpoints_gap="no slices.json", cache={})
    assert {"no services.json", "no slices.json"} <= set(ask(place, "client", "slow:8080").gaps)


def test_a_refusal_of_grpc_is_the_same_however_its_status_is_written() -> None:
    assert not told(ask(scene("policies"), "intruder", "grpc://backend:9080"))
    assert not told(ask(scene("policies"), "client", "grpc://backend:9080", "/admin"))


def with_entry(**changes: Any) -> Any:
    """The recorded ServiceEntry of ``db.internal`` with another spec, or (None) without it."""
    spec = {
        "hosts": ["db.internal"],
        "addresses": ["240.0.0.10"],
        "ports": [{"number": 5432, "name": "tcp-pg", "protocol": "TCP"}],
        "resolution": "STATIC",
        "endpoints": [{"address": "192.168.49.77"}],
        **changes,
    }
    raw = {"metadata": {"name": "static-db", "namespace": "policies"}, "spec": spec}
    return istio_mesh.read({"serviceentries": ("", [raw])}, MeshConfig()).service_entries


def covered(**mesh: Any) -> Scene:
    """A recording in which all namespaces were recorded, those among them whose Services the proxies know."""
    place = changed(**mesh)
    every = (*place.recorded, "broken", "classic", "default", "variants")
    return replace(place, namespaces=every, recorded=every)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (with_entry(), ""),
        (with_entry(endpoints=[{"address": "192.168.49.77"}, {"address": "192.168.49.78"}]), ""),
        (with_entry(endpoints=[{"address": "192.168.49.78"}]), "192.168.49.77:5432 of them is no endpoint of Service"),
        (with_entry(endpoints=[{"address": "db.example.com"}], resolution="DNS"), ""),
        (with_entry(ports=[{"number": 5433, "name": "tcp-pg", "protocol": "TCP"}]), "has no port 5432"),
        ((), "there is no ServiceEntry for db.internal"),
    ],
)
def test_service_entries_that_are_not_as_they_were(entries: Any, said: str) -> None:
    found = told(ask(covered(service_entries=entries), "client", "tcp://240.0.0.10:5432"))
    assert (said in found) if said else found == ""
    assert told(ask(changed(service_entries=entries), "client", "tcp://240.0.0.10:5432")) == ""  # default may have one
    part = covered(service_entries=entries)
    part = replace(part, namespaces=part.recorded[:-1], recorded=part.recorded[:-1])  # a list that is not all of them
    assert told(ask(part, "client", "tcp://240.0.0.10:5432")) == ""


def test_a_service_entry_that_a_proxy_was_not_told_of() -> None:
    tcp = with_entry(addresses=["240.0.0.11"])
    found = ask(covered(service_entries=tcp), "client", "tcp://240.0.0.11:5432")
    assert "ServiceEntry static-db.policies is about db.internal now" in told(found)
    assert [share.name for share in found.outcome.clusters] == ["PassthroughCluster"]
    assert told(ask(covered(service_entries=tcp), "client", "tcp://240.0.0.12:5432")) == ""
    refused = ("intruder", "tcp://240.0.0.11:5432")
    assert "now, of which it was not told" in told(ask(covered(service_entries=tcp), *refused))
    hiding = tuple(
        replace(one, egress=tuple(replace(e, hosts=("istio-system/*",)) for e in one.egress))
        for one in scene("policies").mesh.sidecars
    )
    assert told(ask(covered(service_entries=tcp, sidecars=hiding), *refused)) == ""

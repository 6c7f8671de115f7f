"""Hosts that are preferred for where they are, where the proxy's own were not recorded: as istiod's source has it."""

from dataclasses import replace
from typing import Any

import pytest

from meshctl.istio.mesh_config import MeshConfig, parse
from meshctl.path import resource_hosts
from meshctl.path.hosts import Picked
from tests.path.test_assumed import a, endpoints, pod, scene, service

REGION, ZONE, SUBZONE = "topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"
PLACES = {"a1": ("a", "1", ""), "a1b": ("a", "1", ""), "a2": ("a", "2", ""), "b1": ("b", "1", ""), "c1": ("c", "1", "")}
OUTLIERS = {"outlierDetection": {"consecutive5xxErrors": 5}}


def at(node: str, name: str, ip: str, **labels: str) -> dict[str, Any]:
    made = pod(name, ip, **labels)
    made["spec"]["nodeName"] = node
    return made


def rule(**policy: Any) -> dict[str, Any]:
    return a("DestinationRule", "web", {"host": "web", "trafficPolicy": policy})


def setting(**locality: Any) -> dict[str, Any]:
    return {"loadBalancer": {"localityLbSetting": locality}}


def pick(
    *objects: dict[str, Any],
    nodes: Any = ("a1", "a2", "b1"),
    home: str = "a1b",
    known: Any = tuple(PLACES),
    config: MeshConfig | None = None,
    version: str = "1.30.3",
    own: Any = None,
    port: int = 80,
    pods: Any = None,
) -> Picked:
    """What a client on node `home` picks of endpoints on these nodes; `known` nodes were recorded."""
    pods = pods or [at(node, f"web{number}", f"10.0.1.{number}") for number, node in enumerate(nodes)]
    ends = [(one["metadata"]["name"], one["status"]["podIP"]) for one in pods]
    web = own or service("web", "10.96.0.1", (80, "http"), (81, "http-b"))
    slices = (endpoints("web", *ends), endpoints("web", *ends, label="http-b"))
    place = scene(*objects, services=(web,), slices=slices, pods=pods, config=config)
    place.node_labels = {
        name: {key: value for key, value in zip((REGION, ZONE, SUBZONE), PLACES[name], strict=True) if value}
        for name in known
    }
    client = place.station(place.pods[0])
    client = replace(client, version=version, pod=replace(client.pod, node=home))
    return resource_hosts.hosts(place, client, f"outbound|{port}||web.shop.svc.cluster.local", "10.96.0.1", port)


def chances(found: Picked) -> dict[str, float]:
    assert not found.undecided
    return {host.pod.removeprefix("shop/web"): round(host.probability, 3) for host in found.chosen}


EVEN = {"0": 0.333, "1": 0.333, "2": 0.333}


def test_without_outlier_detection_all_are_alike() -> None:
    for objects in ((), (rule(),), (rule(**setting(enabled=True)),), (rule(**setting(failover=[])),)):
        assert chances(pick(*objects)) == EVEN
    assert pick().preferred == ""


@pytest.mark.parametrize(
    ("home", "found"),
    [
        ("a1", {"0": 1.0}),
        ("a1b", {"0": 1.0}),
        ("a2", {"1": 1.0}),
        ("b1", {"2": 1.0}),
        ("c1", EVEN),
    ],
)
def test_with_it_the_nearest_come_first(home: str, found: dict[str, float]) -> None:
    picked = pick(rule(**OUTLIERS), home=home)
    assert chances(picked) == found
    assert bool(picked.preferred) is (len(found) == 1)


def test_a_region_without_the_zone_comes_before_others() -> None:
    assert chances(pick(rule(**OUTLIERS), nodes=("a2", "a2", "b1"))) == {"0": 0.5, "1": 0.5}


def test_where_it_is_turned_off() -> None:
    assert chances(pick(rule(**OUTLIERS, **setting(enabled=False)))) == EVEN
    off = parse({"data": {"mesh": "localityLbSetting: {enabled: false}"}}, "istio")
    assert chances(pick(rule(**OUTLIERS), config=off)) == EVEN
    assert chances(pick(rule(**OUTLIERS, **setting(enabled=True)), config=off)) == {"0": 1.0}


def test_a_port_s_settings_replace_the_others() -> None:
    port = {"port": {"number": 81}, "loadBalancer": {"simple": "RANDOM"}}
    both = rule(**OUTLIERS, portLevelSettings=[port])
    assert chances(pick(both)) == {"0": 1.0}
    assert chances(pick(both, port=81)) == EVEN


def test_failover_between_regions() -> None:
    to = rule(**OUTLIERS, **setting(failover=[{"from": "c", "to": "b"}]))
    assert chances(pick(to, home="c1")) == {"2": 1.0}
    assert chances(pick(to, home="a1")) == {"0": 1.0}


def test_priorities_by_labels() -> None:
    pods = [
        at("b1", "web0", "10.0.1.0", version="v1"),
        at("a1", "web1", "10.0.1.1", version="v2"),
        at("a2", "web2", "10.0.1.2", version="v1"),
    ]

    def by(*labels: str, **more: Any) -> dict[str, float]:
        return chances(pick(rule(**OUTLIERS, **setting(failoverPriority=list(labels), **more)), pods=pods))

    assert by("version=v1", REGION) == {"2": 1.0}
    assert by("topology.istio.io/network", REGION) == {"1": 0.5, "2": 0.5}
    assert by(ZONE) == {"0": 0.5, "1": 0.5}
    assert by("version=v3") == EVEN
    assert by("version=v1", failover=[{"from": "a", "to": "b"}]) == {"2": 1.0}


@pytest.mark.parametrize(
    ("distribute", "found"),
    [
        ({"from": "a/1/*", "to": {"a/1/*": 80, "a/2/*": 20}}, {"0": 0.8, "1": 0.2}),
        ({"from": "a/*", "to": {"b/*": 100}}, {"2": 1.0}),
        ({"from": "*", "to": {"a/*": 50, "b/*": 50}}, {"0": 0.25, "1": 0.25, "2": 0.5}),
        ({"from": "c/*", "to": {"b/*": 100}}, EVEN),
        ({"from": "a", "to": {"c/*": 100}}, {}),
    ],
)
def test_weights(distribute: dict[str, Any], found: dict[str, float]) -> None:
    """They count without outlierDetection as well."""
    assert chances(pick(rule(**setting(distribute=[distribute])))) == found
    mesh = parse({"data": {"mesh": f"localityLbSetting: {{distribute: [{distribute}]}}"}}, "istio")
    picked = pick(config=mesh)
    assert chances(picked) == found
    assert bool(found) or "distribute leaves no endpoint" in picked.why


@pytest.mark.parametrize(
    ("wanted", "home", "found"),
    [
        ("PreferClose", "a1b", {"0": 1.0}),
        ("PreferSameZone", "a2", {"1": 1.0}),
        ("PreferSameNode", "a1", {"0": 1.0}),
        ("Other", "a1", EVEN),
    ],
)
def test_traffic_distribution(wanted: str, home: str, found: dict[str, float]) -> None:
    """It needs no outlierDetection, and a DestinationRule's own setting comes before it."""
    said = service("web", "10.96.0.1", (80, "http"), trafficDistribution=wanted)
    noted = service("web", "10.96.0.1", (80, "http"))
    noted["metadata"]["annotations"] = {"networking.istio.io/traffic-distribution": wanted}
    for own in (said, noted):
        assert chances(pick(own=own, home=home)) == found
        assert chances(pick(rule(**setting(enabled=False)), own=own, home=home)) == EVEN
        assert chances(pick(own=own, home=home, version="1.22.0")) == EVEN
        assert bool(pick(own=own, home=home, version="1.25.1").undecided) is (found != EVEN)


def test_where_a_node_was_not_recorded_it_cannot_be_told() -> None:
    assert "node b1 was not recorded" in pick(rule(**OUTLIERS), known=("a1", "a1b", "a2")).undecided
    assert "node a1b was not recorded" in pick(rule(**OUTLIERS), known=("a1", "a2", "b1")).undecided
    assert chances(pick(known=())) == EVEN
    assert chances(pick(rule(**OUTLIERS), nodes=("a1", "a1", "a1"), home="a1", known=())) == EVEN
    own = [
        at("x", f"web{n}", f"10.0.1.{n}", **{"istio-locality": where}) for n, where in enumerate(("a.1", "b.1", "b/1"))
    ]
    assert chances(pick(rule(**OUTLIERS), pods=own)) == {"0": 1.0}


def test_localities_of_a_service_entry() -> None:
    ports = [{"number": 80, "name": "http", "protocol": "HTTP"}]
    ends = [{"address": "192.0.2.1", "locality": "a/2"}, {"address": "192.0.2.2", "locality": "b/1/x"}]
    spec = {"hosts": ["x.example.com"], "ports": ports, "resolution": "STATIC", "endpoints": ends}
    detect = a("DestinationRule", "x", {"host": "x.example.com", "trafficPolicy": OUTLIERS})
    for objects, found in (((), ["192.0.2.1", "192.0.2.2"]), ((detect,), ["192.0.2.1"])):
        place = scene(a("ServiceEntry", "x", spec), *objects)
        place.node_labels = {"a1": {REGION: "a", ZONE: "1"}}
        client = place.station(place.pods[0])
        client = replace(client, pod=replace(client.pod, node="a1"))
        picked = resource_hosts.hosts(place, client, "outbound|80||x.example.com", "203.0.113.9", 80)
        assert [host.address for host in picked.chosen] == found

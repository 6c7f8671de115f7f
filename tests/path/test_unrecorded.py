"""What namespaces that were not recorded may have counts, where a sidecar's configuration was not recorded either."""

from dataclasses import replace
from typing import Any

import pytest

from meshctl.istio.mesh_config import MeshConfig
from meshctl.path import auto_mtls, resource_hosts
from meshctl.path.decision import Decision
from meshctl.path.hosts import ANYWHERE, Host
from meshctl.path.model import Request
from meshctl.path.scene import Scene
from tests.path.test_assumed import FAR, WEB, a, ask, clusters, endpoints, pod, scene

OUT = ["PassthroughCluster"]
SLICE, POD = endpoints("web", ("web", "10.0.0.11")), pod("web", "10.0.0.11")
SUBSETS = {"host": "far.other.svc.cluster.local", "subsets": [{"name": "v1", "labels": {"app": "far"}}]}


def part(*objects: dict[str, Any], **more: Any) -> Scene:
    """A recording of two of the cluster's four namespaces; Services of ``other`` are listed all the same."""
    place = scene(*objects, slices=(SLICE,), pods=(POD,), **more)
    place.namespaces = ("shop", "other", "istio-system", "kube-system")
    place.recorded = ("shop", "istio-system")
    return place


def only(*hosts: str) -> dict[str, Any]:
    return a("Sidecar", "s", {"egress": [{"hosts": list(hosts)}]})


@pytest.mark.parametrize("mode", ["ALLOW_ANY", "REGISTRY_ONLY"])
@pytest.mark.parametrize(
    ("host", "address", "request_"),
    [
        ("api.example.com", "203.0.113.9", {}),
        ("api.example.com", "10.96.0.1", {}),
        ("203.0.113.9", "203.0.113.9", {}),
        ("api.example.com", "203.0.113.9", {"tls": True}),
        ("", "203.0.113.9", {"protocol": "tcp"}),
    ],
)
def test_a_host_in_no_recorded_object_may_be_in_another(
    host: str, address: str, request_: dict[str, Any], mode: str
) -> None:
    def at(place: Scene) -> Decision:
        place.mesh = replace(place.mesh, config=MeshConfig(outbound_mode=mode))
        return ask(place, address, 80, host, **request_)

    found = at(part())
    assert "what namespace other has was not recorded" in found.undecided[0]
    whole = part()
    whole.recorded = ("shop", "other", "istio-system")
    assert not at(whole).undecided
    assert not at(part(only("./*", "istio-system/*"))).undecided
    assert at(part(only("other/x.example.com"))).undecided


def test_addresses_and_names_of_recorded_objects_are_their_own() -> None:
    for host, address in (
        ("10.0.0.11", "10.0.0.11"),
        ("web.shop", "10.0.0.11"),
        ("web", "10.96.0.1"),
        ("web-0.web.shop.svc.cluster.local", "10.0.0.11"),
    ):
        assert clusters(ask(part(), address, 7070, host)) == OUT
    assert ask(part(), "10.0.0.11", 7070, protocol="tcp").undecided == ()
    assert ask(part(), "203.0.113.9", 7070, "gone.shop.svc.cluster.local").undecided == ()
    assert clusters(ask(part(), "10.96.0.1", 80, "web")) == ["outbound|80||web.shop"]


def test_of_a_service_entry_that_was_recorded_other_ports_are_its_own() -> None:
    ports = [{"number": 80, "name": "http", "protocol": "HTTP"}]
    spec = {"hosts": ["*.example.com"], "addresses": ["203.0.113.0/24"], "ports": ports, "resolution": "NONE"}
    place = part(a("ServiceEntry", "x", spec))
    assert clusters(ask(place, "203.0.113.9", 7070, "api.example.com")) == OUT
    assert clusters(ask(place, "203.0.113.9", 7070, "api.example.com", tls=True)) == OUT
    assert clusters(ask(place, ANYWHERE[0], 7070, "api.example.com", tls=True)) == OUT
    assert clusters(ask(place, "203.0.113.9", 7070, protocol="tcp")) == OUT
    assert ask(place, "203.0.113.9", 7070, "api.example.org").undecided


def test_an_address_that_is_not_known_is_not_named() -> None:
    why = ask(part(), ANYWHERE[0], 443, "api.example.com", tls=True).undecided[0]
    assert "is api.example.com, but" in why
    assert ANYWHERE[0] not in why


def test_what_a_sidecar_hides_is_known() -> None:
    place = part(a("Sidecar", "s", {"egress": [{"hosts": ["other/*"]}]}), services=(WEB, FAR))
    assert clusters(ask(place, "10.96.0.1", 80, "web")) == OUT


def test_a_service_of_such_a_namespace() -> None:
    """Its routes are said with what was not looked at; its subsets and transport cannot be told."""
    place = part(services=(WEB, FAR))
    found = ask(place, "10.96.0.4", 80, "far.other")
    assert clusters(found) == ["outbound|80||far.other"]
    assert "namespace other has was not recorded" in found.steps[-1].because
    assert found.undecided == ()
    subset = "outbound|80|v1|far.other.svc.cluster.local"
    host = Host(address="10.0.0.11", port=80, pod="shop/web", health="healthy")
    for place, told in (
        (part(services=(WEB, FAR)), False),
        (part(a("DestinationRule", "mine", SUBSETS), services=(WEB, FAR)), True),
        (scene(services=(WEB, FAR), slices=(SLICE,), pods=(POD,)), True),
    ):
        client = place.station(place.pods[0])
        picked = resource_hosts.hosts(place, client, subset, "10.96.0.4", 80)
        assert bool(picked.undecided) is not told
        opened = auto_mtls.opened(place, client, subset.replace("v1", ""), host, Request(), 1, False)
        assert opened.unsure is not told


def test_other_services_are_told_as_ever() -> None:
    place = part()
    client = place.station(place.pods[0])
    missing = resource_hosts.hosts(place, client, "outbound|80|v9|web.shop.svc.cluster.local", "10.96.0.1", 80)
    assert (missing.undecided, missing.flag) == ("", "NC")
    host = Host(address="10.0.0.11", port=80, pod="shop/web", health="healthy")
    assert not auto_mtls.opened(
        place, client, "outbound|80||web.shop.svc.cluster.local", host, Request(), 1, False
    ).unsure
    gone = resource_hosts.hosts(place, client, "outbound|80||x.example.com", "10.96.0.1", 80)
    assert "was not recorded" in gone.undecided

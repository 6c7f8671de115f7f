"""Clusters of which no host may be chosen: the reason is the proxy's, and each host is shown with its own."""

from typing import Any

import pytest

from tests.path.conftest import Mesh

V2 = "outbound|9080|v2|backend.policies.svc.cluster.local"


def endpoints(dump: dict[str, Any]) -> Any:
    """The endpoints of the subset in a dump."""
    for part in dump["configs"]:
        for one in part.get("dynamic_endpoint_configs", ()):
            if one["endpoint_config"]["cluster_name"] == V2:
                return one["endpoint_config"]["endpoints"]
    raise AssertionError(V2)


def empty(dump: dict[str, Any]) -> None:
    endpoints(dump).clear()


def drain(clusters: dict[str, Any]) -> None:
    _state(clusters, {"eds_health_status": "DRAINING"})


def eject(clusters: dict[str, Any]) -> None:
    _state(clusters, {"failed_outlier_check": True, "eds_health_status": "HEALTHY"})


def _state(clusters: dict[str, Any], state: dict[str, Any]) -> None:
    for one in clusters["cluster_statuses"]:
        for host in one.get("host_statuses", ()) if one["name"] == V2 else ():
            host["health_status"] = state


@pytest.mark.parametrize(
    ("part", "change", "why", "health"),
    [
        ("clusters.json", drain, "EDS says DRAINING", "EDS says DRAINING"),
        ("clusters.json", eject, "ejected as an outlier", "ejected as an outlier"),
        ("config_dump.json", empty, "is ready and has the labels of subset v2 (version=v2), but the proxy has no", ""),
    ],
)
def test_why_no_host_may_be_chosen(mesh: Mesh, part: str, change: Any, why: str, health: str) -> None:
    mesh.edit("client", part, change)
    if change is empty:
        mesh.edit("client", "clusters.json", lambda clusters: clusters["cluster_statuses"].clear())
    found = mesh.ask("http://backend:9080/api/x", headers=("end-user=jason",))
    assert (found.outcome.end.status, found.outcome.end.flags) == (503, "UH")
    assert why in found.outcome.end.why
    (share,) = found.outcome.clusters
    assert [one.health for one in share.endpoints] == ([health] if health else [])


@pytest.mark.parametrize(
    ("name", "told"), [("shop.example.com", False), ("192.0.2.7", True), ("x.y.svc.cluster.local", False)]
)
def test_the_first_address_of_a_name_is_not_its_last(mesh: Mesh, name: str, told: bool) -> None:
    def by_name(dump: dict[str, Any]) -> None:
        for part in dump["configs"]:
            for one in part.get("dynamic_active_clusters", ()):
                if (cluster := one["cluster"])["name"] == V2:
                    cluster.pop("eds_cluster_config")
                    place = {"address": {"socket_address": {"address": name, "port_value": 9081}}}
                    assignment = {"cluster_name": V2, "endpoints": [{"lb_endpoints": [{"endpoint": place}]}]}
                    cluster.update(type="LOGICAL_DNS", load_assignment=assignment)

    def nobody_there(clusters: dict[str, Any]) -> None:
        for one in clusters["cluster_statuses"]:
            for host in one.get("host_statuses", ()) if one["name"] == V2 else ():
                host["hostname"] = name
                host["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": 9081}

    mesh.edit("client", "config_dump.json", by_name)
    mesh.edit("client", "clusters.json", nobody_there)
    end = mesh.ask("http://backend:9080/api/x", headers=("end-user=jason",)).outcome.end
    assert end.delivered is (False if told else None)
    assert end.flags == ("URX,UF" if told else "")
    assert any("the proxy goes on to the next" in reason for reason in end.undecided) is not told

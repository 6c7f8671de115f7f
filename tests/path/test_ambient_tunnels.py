"""Ambient: packets go to the tunnel's port, dry runs decide nothing, and waypoints are not passed over."""

import json
from pathlib import Path
from typing import Any

import pytest

from meshctl.path.model import End
from tests.path.made import Mesh, endpoints, pod, service

AMBIENT = """*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:ISTIO_OUTPUT - [0:0]
:ISTIO_PRERT - [0:0]
-A PREROUTING -j ISTIO_PRERT
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -j ACCEPT
-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001
-A ISTIO_PRERT ! -d 127.0.0.1/32 -p tcp -m tcp ! --dport 15008 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006
COMMIT
"""
NO_REDIRECT = "".join(line for line in AMBIENT.splitlines(keepends=True) if "15006" not in line)


def dropping(rule: str) -> str:
    chains = ":INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
    return f"{AMBIENT}*filter\n{chains}-A {rule} -j DROP\nCOMMIT\n"


def ambient_pod(name: str, ip: str, **labels: str) -> dict[str, Any]:
    """A pod whose connections ztunnel takes."""
    made = pod(name, ip)
    made["metadata"] |= {"annotations": {"ambient.istio.io/redirection": "enabled"}}
    made["metadata"]["labels"] |= labels
    made["spec"]["containers"] = made["spec"]["containers"][:1]
    del made["spec"]["initContainers"]
    return made


def end(
    folder: Path,
    target: str = "web:80",
    *,
    caller: str = AMBIENT,
    callee: str = AMBIENT,
    listening: tuple[str, ...] = ("0.0.0.0:8080", "*:15008"),
    ztunnel: dict[str, Any] | None = None,
    labels: dict[str, str] | None = None,
    namespace: dict[str, str] | None = None,
    waypoint: dict[str, str] | None = None,
) -> End:
    web = service("web", "10.96.0.6", 80, 8080)
    web["metadata"]["labels"] = labels or {}
    services = [web]
    if waypoint is not None:
        services.append(service("waypoint", "10.96.0.9", 15008, 15008))
        services[-1]["metadata"]["labels"] = waypoint
    shop = {"metadata": {"name": "shop", "labels": namespace or {}}}
    files = {"resources/namespaces.json": json.dumps({"kind": "List", "items": [shop]})}
    pods = [ambient_pod("client", "10.0.0.5"), ambient_pod("web", "10.0.0.6")]
    if ztunnel is not None:
        node = pod("ztunnel-1", "10.0.0.2", namespace="istio-system")
        node["metadata"]["labels"] = {"app": "ztunnel"}
        pods.append(node)
        files["pods/istio-system/ztunnel-1/ztunnel/config_dump.json"] = json.dumps(ztunnel)
    mesh = Mesh(
        pods=pods,
        services=services,
        slices=[endpoints("web", 8080, "10.0.0.6")],
        listening={"web": listening},
        rules={"client": caller, "web": callee},
        files=files,
    )
    return mesh.trace(folder / "s", target, "client").outcome.end


def told(policy: dict[str, Any] | None = None, **of_web: Any) -> dict[str, Any]:
    """ztunnel's configuration with both workloads."""
    names = (("client", "10.0.0.5"), ("web", "10.0.0.6"))
    workloads = [{"name": n, "namespace": "shop", "workloadIps": [ip], "protocol": "HBONE"} for n, ip in names]
    workloads[1] |= of_web
    return {"workloads": workloads, "policies": [policy] if policy else [], "services": []}


def test_a_tunnel_needs_no_redirection_of_the_port_inside_it(tmp_path: Path) -> None:
    assert end(tmp_path, callee=NO_REDIRECT).delivered


@pytest.mark.parametrize(
    "broken",
    [
        {"callee": dropping("INPUT -p tcp -m tcp --dport 15008")},
        {"callee": dropping("INPUT -i lo -p tcp -m tcp --dport 8080")},
        {"caller": dropping("OUTPUT -p tcp -m tcp --dport 15008")},
        {"listening": ("0.0.0.0:8080",)},
    ],
)
def test_a_tunnel_needs_its_own_port(tmp_path: Path, broken: dict[str, Any]) -> None:
    found = end(tmp_path, **broken)
    assert (found.delivered, found.broken) == (False, "reset")


def test_rules_about_the_port_inside_do_not_see_the_tunnel(tmp_path: Path) -> None:
    assert end(tmp_path, callee=dropping("INPUT -i eth0 -p tcp -m tcp --dport 8080")).delivered


@pytest.mark.parametrize("dry", [True, False])
def test_ztunnel_only_logs_a_dry_run(tmp_path: Path, dry: bool) -> None:
    policy = {"name": "none", "namespace": "shop", "action": "Deny", "scope": "Namespace", "dryRun": dry}
    policy["rules"] = [[[{"destinationPorts": [8080]}]]]
    assert end(tmp_path, ztunnel=told(policy)).delivered is dry


NAME = "istio.io/use-waypoint"
FOR = "istio.io/waypoint-for"


@pytest.mark.parametrize(
    ("asked", "target", "delivered"),
    [
        ({"labels": {NAME: "waypoint"}, "waypoint": {}}, "web:80", None),
        ({"namespace": {NAME: "waypoint"}, "waypoint": {}}, "web:80", None),
        ({"namespace": {NAME: "waypoint"}, "labels": {NAME: "none"}, "waypoint": {}}, "web:80", True),
        ({"namespace": {NAME: "waypoint"}}, "web:80", True),
        ({"namespace": {NAME: "waypoint"}, "waypoint": {}}, "http://10.0.0.6:8080", True),
        ({"namespace": {NAME: "waypoint"}, "waypoint": {FOR: "all"}}, "http://10.0.0.6:8080", None),
        ({"namespace": {NAME: "waypoint"}, "waypoint": {FOR: "workload"}}, "web:80", True),
        ({"ztunnel": told(waypoint={"destination": "shop/waypoint"})}, "http://10.0.0.6:8080", None),
        ({"ztunnel": told(waypoint={"destination": "shop/waypoint"})}, "web:80", True),
    ],
)
def test_whom_a_waypoint_serves(tmp_path: Path, asked: dict[str, Any], target: str, delivered: bool | None) -> None:
    found = end(tmp_path, target, **asked)
    assert found.delivered is delivered
    assert ("waypoint" in " ".join(found.undecided)) is (delivered is None)

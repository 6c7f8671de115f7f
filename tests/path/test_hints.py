"""EndpointSlices with hints: whose kube-proxy prefers which endpoints, where the node's rules are not recorded."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.path.made import Mesh, endpoints, plain, service

ZONES = {"one": "a", "two": "b"}
NODES = [{"metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone}}} for name, zone in ZONES.items()]


def chosen(folder: Path, hints: list[dict[str, Any] | None], policy: str = "Cluster", nodes: Any = NODES) -> list[str]:
    """Which of two endpoints (10.0.0.6 in zone a, 10.0.1.7 in zone b) may get a request of a pod in zone a."""
    made = service("web", "10.96.0.7", 80, 8080)
    made["spec"]["internalTrafficPolicy"] = policy
    slice_ = endpoints("web", 8080, "10.0.0.6", "10.0.1.7", pods=("web", "far"))
    for end, node, hint in zip(slice_["endpoints"], ZONES, hints, strict=True):
        end["nodeName"] = node
        end.update({"hints": hint} if hint is not None else {})
    mesh = Mesh(
        pods=[plain("client", "10.0.0.5"), plain("web", "10.0.0.6"), plain("far", "10.0.1.7", on="two")],
        services=[made],
        slices=[slice_],
        listening={"web": ["0.0.0.0:8080"], "far": ["0.0.0.0:8080"]},
        files={"resources/nodes.json": json.dumps({"kind": "List", "items": nodes})},
    )
    found = mesh.trace(folder, "web", "client").kube_proxy.choice
    return [word.partition(":")[0] for word in found.split(", ")]


def zone(*names: str) -> dict[str, Any]:
    return {"forZones": [{"name": name} for name in names]}


def node(*names: str) -> dict[str, Any]:
    return {"forNodes": [{"name": name} for name in names]}


BOTH = ["10.0.0.6", "10.0.1.7"]


@pytest.mark.parametrize(
    ("hints", "expected"),
    [
        ([None, None], BOTH),
        ([zone("a"), zone("b")], BOTH[:1]),
        ([zone("b"), zone("a")], BOTH[1:]),
        ([zone("a", "b"), zone("a")], BOTH),
        ([zone("a"), None], BOTH),
        ([zone("c"), zone("c")], BOTH),
        ([node("one"), node("two")], BOTH[:1]),
        ([zone("b") | node("one"), zone("a") | node("two")], BOTH[:1]),
        ([zone("a") | node("three"), zone("b") | node("three")], BOTH[:1]),
    ],
)
def test_hints_are_followed_where_all_endpoints_have_them(
    hints: list[dict[str, Any] | None], expected: list[str], tmp_path: Path
) -> None:
    assert chosen(tmp_path, hints) == expected


def test_the_policy_local_is_stronger(tmp_path: Path) -> None:
    assert chosen(tmp_path, [zone("b"), zone("b")], "Local") == BOTH[:1]


def test_a_zone_that_is_not_known_is_nobodys(tmp_path: Path) -> None:
    assert chosen(tmp_path, [zone("a"), zone("b")], nodes=[]) == BOTH

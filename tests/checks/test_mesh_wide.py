from typing import Any

import pytest

from meshctl.checks import mesh_wide
from meshctl.checks.mesh_wide import Cluster
from meshctl.istio import mesh
from meshctl.istio.mesh_config import MeshConfig
from meshctl.kube import pods
from tests.injection import build


def cluster(namespaces: frozenset[str] = frozenset({"shop"}), **kinds: Any) -> Cluster:
    named = {
        plural: ("m.yaml", [{"metadata": {"name": "x", "namespace": "shop"}, "spec": spec} for spec in specs])
        for plural, specs in kinds.items()
    }
    labels = {"app": "web", "security.istio.io/tlsMode": "istio"}
    return Cluster(
        mesh=mesh.read(named, MeshConfig()),
        services=(build.service(),),
        pods=(pods.pod(build.plain(labels=labels)),),
        namespaces=namespaces,
    )


def route(host: str) -> dict[str, Any]:
    return {"hosts": ["web"], "http": [{"route": [{"destination": {"host": host}}]}]}


STRICT = {"mtls": {"mode": "STRICT"}}
PLAIN = {"host": "web", "trafficPolicy": {"tls": {"mode": "DISABLE"}}}
GATEWAY = {"selector": {"istio": "ingressgateway"}, "servers": []}


@pytest.mark.parametrize(
    ("id", "triggers", "near"),
    [
        ("MC503", {"virtualservices": [route("wep")]}, {"virtualservices": [route("web")]}),
        (
            "MC503",
            {"virtualservices": [route("api.example.com")]},
            {"virtualservices": [route("api.example.com")], "serviceentries": [{"hosts": ["api.example.com"]}]},
        ),
        (
            "MC504",
            {"virtualservices": [{"hosts": ["a"], "gateways": ["other/x"]}], "gateways": [GATEWAY]},
            {"virtualservices": [{"hosts": ["a"], "gateways": ["x", "mesh"]}], "gateways": [GATEWAY]},
        ),
        (
            "MC505",
            {"destinationrules": [PLAIN], "peerauthentications": [STRICT]},
            {"destinationrules": [PLAIN], "peerauthentications": [{"mtls": {"mode": "PERMISSIVE"}}]},
        ),
        (
            "MC505",
            {"destinationrules": [PLAIN], "peerauthentications": [STRICT]},
            {
                "destinationrules": [{"host": "web", "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}}],
                "peerauthentications": [STRICT],
            },
        ),
    ],
)
def test_each_rule(id: str, triggers: Any, near: Any) -> None:
    assert {f.id for f in mesh_wide.run(cluster(**triggers))} == {id}
    assert mesh_wide.run(cluster(**near)) == ()


def test_a_near_miss_is_suggested() -> None:
    (found,) = mesh_wide.run(cluster(virtualservices=[route("wep")]))
    assert found.fix == "did you mean web.shop.svc.cluster.local?"
    assert found.subject == "virtualservice/shop/x"


def test_only_the_namespaces_asked_about() -> None:
    assert mesh_wide.run(cluster(frozenset({"other"}), virtualservices=[route("wep")])) == ()

from typing import Any

import pytest

from meshctl.checks import mesh_wide
from meshctl.checks.mesh_wide import Cluster
from meshctl.istio import gateway_api, mesh
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


def route(host: str, **more: str) -> dict[str, Any]:
    return {"hosts": ["web"], "http": [{"route": [{"destination": {"host": host, **more}}]}]}


MUTUAL = {"host": "web", "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}}
OUTSIDE = {"hosts": ["api.example.com"]}


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
            "MC507",
            {"destinationrules": [MUTUAL], "peerauthentications": [{"mtls": {"mode": "DISABLE"}}]},
            {"destinationrules": [MUTUAL], "peerauthentications": [{"mtls": {"mode": "PERMISSIVE"}}]},
        ),
        (
            "MC502",
            {"virtualservices": [route("api.example.com", subset="v1")], "serviceentries": [OUTSIDE]},
            {
                "virtualservices": [route("api.example.com", subset="v1")],
                "serviceentries": [OUTSIDE],
                "destinationrules": [{"host": "api.example.com", "subsets": [{"name": "v1"}]}],
            },
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


def test_a_named_target_port_is_resolved_by_each_pod() -> None:
    from dataclasses import replace

    pod = pods.pod(
        build.plain(
            labels={"app": "web", "security.istio.io/tlsMode": "istio"},
            app={"ports": [{"containerPort": 8080, "name": "web"}]},
        )
    )
    strict = {"selector": {"matchLabels": {"app": "web"}}, "portLevelMtls": {"8080": {"mode": "STRICT"}}}
    other = {"selector": {"matchLabels": {"app": "web"}}, "portLevelMtls": {"8081": {"mode": "STRICT"}}}
    named = replace(cluster(destinationrules=[PLAIN], peerauthentications=[strict]), pods=(pod,))
    named = replace(named, services=(build.service(targetPort="web"),))
    assert [f.id for f in mesh_wide.run(named)] == ["MC505"]
    near = replace(named, mesh=cluster(destinationrules=[PLAIN], peerauthentications=[other]).mesh)
    assert mesh_wide.run(near) == ()


def test_a_service_that_selects_no_pod() -> None:
    from dataclasses import replace

    nobody = replace(cluster(), services=(build.service(selector={"app": "nobody"}),))
    assert [f.id for f in mesh_wide.run(nobody)] == ["MC506"]
    assert mesh_wide.run(replace(nobody, endpoints=lambda _service: 1)) == ()  # its pods were not recorded
    assert mesh_wide.run(cluster()) == ()


def test_mutual_tls_towards_a_pod_without_a_proxy() -> None:
    from dataclasses import replace

    outside = replace(cluster(destinationrules=[MUTUAL]), pods=(pods.pod(build.plain()),))
    assert [f.id for f in mesh_wide.run(outside)] == ["MC507"]
    carried = pods.pod(build.plain({"ambient.istio.io/redirection": "enabled"}))
    assert mesh_wide.run(replace(outside, pods=(carried,))) == ()


def test_nothing_is_said_of_namespaces_that_were_not_looked_at() -> None:
    from dataclasses import replace

    far = cluster(virtualservices=[route("web.elsewhere.svc.cluster.local")])
    assert [f.id for f in mesh_wide.run(far)] == ["MC503"]
    assert mesh_wide.run(replace(far, covered=frozenset({"shop"}))) == ()


def test_an_httproute_to_a_service_that_is_not_there() -> None:
    from dataclasses import replace

    def api(backend: str) -> gateway_api.GatewayApi:
        spec = {"rules": [{"backendRefs": [{"name": backend}, {"name": "x", "kind": "InferencePool"}]}]}
        raw = {"metadata": {"name": "r", "namespace": "shop"}, "spec": spec}
        return gateway_api.GatewayApi((), (gateway_api.parse_route(raw, "r.yaml", 0),))

    (found,) = mesh_wide.run(replace(cluster(), api=api("wep")))
    assert (found.id, found.subject) == ("MC503", "httproute/shop/r")
    assert mesh_wide.run(replace(cluster(), api=api("web"))) == ()

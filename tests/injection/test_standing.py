"""A pod among the mesh's resources. The names of many tests are known defects of istioctl's describe."""

from typing import Any

import pytest

from meshctl.injection import standing
from meshctl.injection.exposure import Reach
from meshctl.injection.mode import recognise
from meshctl.injection.standing import Standing
from meshctl.istio import gateway_api, mesh
from meshctl.istio.gateway_api import GatewayApi
from meshctl.istio.mesh_config import MeshConfig
from meshctl.kube import pods
from tests.injection import build

HOST = "web.shop.svc.cluster.local"


def resource(spec: Any, name: str = "x", namespace: str = "shop", **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec, **more}


def standing_of(
    raw: Any = None, *, services: Any = None, routes: Any = (), api_gateways: Any = (), reach: Any = None, **kinds: Any
) -> Standing:
    pod = pods.pod(raw or build.injected())
    named = {plural: ("m.yaml", [each if "spec" in each else resource(each) for each in found]) for plural, found in
             kinds.items()}  # fmt: skip
    api = GatewayApi(
        tuple(gateway_api.parse_gateway(g, "g.yaml", i) for i, g in enumerate(api_gateways)),
        tuple(gateway_api.parse_route(r, "r.yaml", i) for i, r in enumerate(routes)),
    )
    return standing.of(
        pod,
        recognise(pod),
        services or (build.service(),),
        mesh.read(named, MeshConfig()),
        lambda _service, _labels: 1,
        api,
        lambda _labels, _port: reach,
    )


def to(*destinations: Any, hosts: Any = ("web",), **rule: Any) -> dict[str, Any]:
    return {"hosts": list(hosts), "http": [{"route": list(destinations), **rule}]}


def destination(host: str = "web", weight: int | None = None, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"destination": {"host": host, **more}}
    return found if weight is None else {**found, "weight": weight}


def test_a_destination_rule_is_found_by_its_whole_host_not_by_a_part_of_it() -> None:
    found = standing_of(
        destinationrules=[{"host": "my-web"}, {"host": "web", "trafficPolicy": {"tls": {"mode": "DISABLE"}}}]
    )
    assert [(r.host, r.policy.tls) for r in found.rules] == [(HOST, "DISABLE")]


def test_every_authorization_policy_is_told_whatever_its_action() -> None:
    policies = [
        resource({"action": action, "rules": [{}]}, action.lower()) for action in ("CUSTOM", "DENY", "ALLOW", "AUDIT")
    ]
    found = standing_of(authorizationpolicies=policies)
    assert [p.meta.name for p in found.policies] == ["custom", "deny", "allow", "audit"]


def test_a_route_is_found_by_what_was_written_whatever_the_proxys_tables_are_called() -> None:
    headless = build.service(port_name="")
    found = standing_of(services=(headless,), virtualservices=[to(destination())])
    assert [(r.host, r.share, r.leads_here) for r in found.routes] == [(HOST, 100, True)]


def test_tls_and_tcp_routes_are_found_too() -> None:
    spec = {
        "hosts": ["web"],
        "tls": [{"match": [{"sniHosts": ["a"]}], "route": [destination()]}],
        "tcp": [{"route": [destination()]}],
    }
    assert [(r.name, r.when) for r in standing_of(virtualservices=[spec]).routes] == [
        ("tcp[0]", "every connection"),
        ("tls[0]", "a"),
    ]


def test_a_destination_without_weight_beside_others_gets_nothing() -> None:
    found = standing_of(virtualservices=[to(destination(weight=0), destination("other", 100))])
    assert [r.share for r in found.routes] == [0]
    shares = standing_of(virtualservices=[to(destination(weight=1), destination("other", 3))]).routes
    assert [(r.weight, r.share) for r in shares] == [(1, 25)]


def test_faults_timeouts_and_retries_are_told() -> None:
    rule = {
        "fault": {"abort": {"percentage": {"value": 10}, "httpStatus": 500}},
        "timeout": "3s",
        "retries": {"attempts": 2},
    }
    (found,) = standing_of(virtualservices=[to(destination(), **rule)]).routes
    assert found.also == ("10% get status 500 instead (injected fault)", "timeout 3s", "2 retries")


GATEWAY = {"selector": {"gw": "mine"}, "servers": [{"port": {"number": 80, "protocol": "HTTP"}, "hosts": ["*"]}]}
BOUND = {**to(destination(), hosts=("shop.example.com",)), "gateways": ["istio-system/gw"]}


def exposed(*, pods: int = 1, hosts: Any = ("*",), **rule: Any) -> Standing:
    server = {**GATEWAY["servers"][0], "hosts": list(hosts)}  # type: ignore[index]
    gateway = resource({**GATEWAY, "servers": [server]}, "gw", "istio-system")
    spec = {**BOUND, **rule}
    return standing_of(virtualservices=[spec], gateways=[gateway], reach=Reach(pods, ("10.0.0.5",), 30080))


def test_a_gateway_of_any_label_exposes_the_pod() -> None:
    (found,) = exposed().exposures
    assert found.hosts == ("shop.example.com",)
    assert (found.gateway.name, found.server.port, found.reach) == ("gw", 80, Reach(1, ("10.0.0.5",), 30080))


def test_a_route_without_a_share_exposes_nothing() -> None:
    spec = [destination(weight=0), destination("other", 100)]
    assert exposed(http=[{"route": spec}]).exposures == ()


@pytest.mark.parametrize(
    ("hosts", "number"),
    [
        (["shop/*"], 1),
        (["other/*"], 0),
        (["./*"], 0),
        (["*/shop.example.com"], 1),
        (["x.org"], 0),
        (["*.example.com"], 1),
    ],
)
def test_a_servers_host_may_be_for_one_namespace_only(hosts: list[str], number: int) -> None:
    assert len(exposed(hosts=hosts).exposures) == number


def http_route(parent: Any = None, status: Any = None, **spec: Any) -> dict[str, Any]:
    rules = [
        {"matches": [{"path": {"type": "PathPrefix", "value": "/a"}}], "backendRefs": [{"name": "web", "port": 80}]}
    ]
    found = resource({"parentRefs": [parent or {"name": "gw"}], "rules": rules, **spec}, "route")
    return {**found, "status": status} if status else found


def api_gateway(namespace: str = "shop", **listener: Any) -> dict[str, Any]:
    first = {"name": "http", "port": 80, "protocol": "HTTP", **listener}
    status = {"addresses": [{"value": "192.0.2.1"}]}
    return resource({"gatewayClassName": "istio", "listeners": [first]}, "gw", namespace, status=status)


def test_an_httproute_is_a_route_of_its_own_and_no_stale_virtual_service() -> None:
    found = standing_of(routes=[http_route()])
    assert [(r.meta.kind, r.name, r.when, r.share, r.gateways) for r in found.routes] == [
        ("HTTPRoute", "rules[0]", "path begins with /a", 100, ("shop/gw",))
    ]


def test_weights_of_an_httproute_are_shares_of_its_rule() -> None:
    backends = [{"name": "web", "weight": 1}, {"name": "other", "weight": 3}, {"name": "web", "weight": 0}]
    found = standing_of(routes=[http_route(rules=[{"backendRefs": backends}])])
    assert [(r.share, r.when) for r in found.routes] == [(25, "every request"), (0, "every request")]


def test_a_gateway_api_gateway_exposes_the_pod() -> None:
    found = standing_of(routes=[http_route()], api_gateways=[api_gateway()], reach=Reach(1))
    (exposure,) = found.exposures
    assert (exposure.hosts, exposure.server.port, exposure.certain) == (("*",), 80, True)
    assert exposure.reach == Reach(1, ("192.0.2.1",))


FAR = {"name": "gw", "namespace": "infra"}
ALL = {"namespaces": {"from": "All"}}
SELECTOR = {"namespaces": {"from": "Selector"}}
REFUSED = {"parents": [{"parentRef": {"name": "gw"}, "conditions": [{"type": "Accepted", "status": "False"}]}]}


@pytest.mark.parametrize(
    ("route", "gateway", "certain"),
    [
        (http_route(FAR), api_gateway("infra"), None),
        (http_route(FAR), api_gateway("infra", allowedRoutes=ALL), True),
        (http_route(FAR), api_gateway("infra", allowedRoutes=SELECTOR), False),
        (http_route(status=REFUSED), api_gateway(), None),
        (http_route({"name": "gw", "sectionName": "https"}), api_gateway(), None),
        (http_route({"name": "gw", "port": 81}), api_gateway(), None),
        (http_route(hostnames=["a.org"]), api_gateway(hostname="b.org"), None),
        (http_route(hostnames=["a.org"]), api_gateway(hostname="*.org"), True),
        (http_route({"kind": "Service", "group": "", "name": "web"}), api_gateway(), None),
    ],
)
def test_a_listener_takes_only_some_routes(route: Any, gateway: Any, certain: bool | None) -> None:
    found = standing_of(routes=[route], api_gateways=[gateway]).exposures
    assert [e.certain for e in found] == ([] if certain is None else [certain])


def test_a_route_that_its_parent_refused_says_so() -> None:
    (found,) = standing_of(routes=[http_route(status=REFUSED)]).routes
    assert found.also == ("not accepted by Gateway gw",)


def test_a_subset_of_two_rules_for_one_host_leads_here_if_any_does() -> None:
    rules = [
        {"host": "web", "subsets": [{"name": "v1", "labels": {"version": "v1"}}]},
        {"host": "*.shop.svc.cluster.local", "subsets": [{"name": "v1", "labels": {"version": "v9"}}]},
    ]
    found = standing_of(destinationrules=rules, virtualservices=[to(destination(subset="v1"))])
    assert [r.leads_here for r in found.routes] == [True]


def test_other_settings_of_a_destination_rule_are_named() -> None:
    policy = {"connectionPool": {}, "outlierDetection": {}, "loadBalancer": {"consistentHash": {}}}
    (found,) = standing_of(destinationrules=[{"host": "web", "trafficPolicy": policy}]).rules
    assert found.policy.also == ("connectionPool", "outlierDetection")
    assert found.policy.load_balancer == "consistentHash"

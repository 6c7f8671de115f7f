"""Paths that no recording has: egress and ingress gateways, TLS origination, AUTO_PASSTHROUGH, IPv6."""

from pathlib import Path
from typing import Any

import pytest

from meshctl.envoy.match import match
from meshctl.envoy.query import Query
from meshctl.path.model import Trace
from tests.envoy.dumps import (
    INSPECTORS,
    cluster,
    document,
    dump,
    host,
    http_chain,
    listener,
    route_config,
    tcp_chain,
    typed,
)
from tests.path.made import Mesh, endpoints, pod, service

UPSTREAM_TLS = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
CATCH_ALL = tcp_chain("virtualOutbound-catchall-tcp", "PassthroughCluster")
OUTSIDE = "203.0.113.80"


def to(cluster_name: str, prefix: str = "/", name: str = "default", **action: Any) -> dict[str, Any]:
    return {"match": {"prefix": prefix}, "route": {"cluster": cluster_name, **action}, "name": name}


def at(name: str, port: int, *addresses: str, **more: Any) -> dict[str, Any]:
    """A cluster with hosts on a port."""
    made: dict[str, Any] = cluster(name, *addresses, **more)
    for group in made["load_assignment"]["endpoints"]:
        for each in group["lb_endpoints"]:
            each["endpoint"]["address"]["socket_address"]["port_value"] = port
    return made


def tls_to(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "typed_config": typed(UPSTREAM_TLS, common_tls_context={}, **fields)}


def sidecar(routes: list[Any], clusters: list[Any], port: int = 80, any_address: str = "0.0.0.0") -> Any:
    """A sidecar whose only outbound HTTP port is `port`."""
    entry = listener("virtualOutbound", any_address, 15001, CATCH_ALL, use_original_dst=True)
    entry["traffic_direction"] = "OUTBOUND"
    http = listener(f"{any_address}_{port}", any_address, port, http_chain(rds=str(port)), listener_filters=INSPECTORS)
    http |= {"bind_to_port": False, "traffic_direction": "OUTBOUND"}
    passthrough = {"name": "PassthroughCluster", "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED"}
    return document([entry, http], routes, [*clusters, passthrough])


def entry(name: str, address: str, host_name: str, port: int = 80) -> dict[str, Any]:
    spec = {"hosts": [host_name], "addresses": [address], "resolution": "STATIC", "location": "MESH_EXTERNAL"}
    ports = [{"number": port, "name": "http", "protocol": "HTTP"}]
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": {**spec, "ports": ports}}


EGRESS = "outbound|80||egress.istio-system.svc.cluster.local"
EXTERNAL = "outbound|443||api.example.com"


def through_egress(gateway_host: str = "api.example.com") -> Mesh:
    client_routes = route_config(
        "80", host("api.example.com:80", ["api.example.com", "api.example.com:80"], to(EGRESS))
    )
    gateway_routes = route_config("http.8080", host(f"{gateway_host}:80", [gateway_host], to(EXTERNAL)))
    external = at(EXTERNAL, 443, OUTSIDE, transport_socket=tls_to("tls", sni="api.example.com"))
    gateway = document(
        [listener("0.0.0.0_8080", "0.0.0.0", 8080, http_chain(rds="http.8080"))], [gateway_routes], [external]
    )
    return Mesh(
        pods=[pod("client", "10.0.0.5"), pod("egress", "10.0.0.9", gateway=True, namespace="istio-system")],
        services=[service("egress", "10.96.0.9", 80, 8080, namespace="istio-system")],
        slices=[endpoints("egress", 8080, "10.0.0.9", namespace="istio-system")],
        entries=[entry("api", "240.240.0.1", "api.example.com")],
        dumps={"client": sidecar([client_routes], [at(EGRESS, 8080, "10.0.0.9")]), "egress": gateway},
        listening={"egress": ["0.0.0.0:8080"]},
    )


def said(found: Trace) -> str:
    return "\n".join("\n".join((hop.title, hop.decision, *hop.facts)) for hop in found.hops)


def test_an_egress_gateway_routes_on_to_the_outside_and_originates_tls(tmp_path: Path) -> None:
    found = through_egress().trace(tmp_path / "s", "http://240.240.0.1/", "client", host="api.example.com")
    assert found.outcome.clusters[0].name == EGRESS
    assert found.outcome.end.through_client is True
    assert [hop.at for hop in found.hops if hop.kind == "route"] == ["shop/client", "istio-system/egress"]
    words = said(found)
    assert EXTERNAL in words
    assert f"{OUTSIDE}:443" in words
    # What is outside of the cluster is not known to answer.
    assert found.outcome.end.delivered is None
    assert OUTSIDE in found.outcome.end.undecided[0]


def test_an_egress_gateway_that_does_not_know_the_host_answers_404(tmp_path: Path) -> None:
    found = through_egress("other.example.com").trace(
        tmp_path / "s", "http://240.240.0.1/", "client", host="api.example.com"
    )
    assert found.outcome.end.status == 404
    assert found.outcome.end.delivered is False


@pytest.mark.parametrize("sni", ["api.example.com", None])
def test_a_sidecar_originates_tls_to_the_outside(tmp_path: Path, sni: str | None) -> None:
    routes = route_config("80", host("api.example.com:80", ["api.example.com"], to(EXTERNAL)))
    fields = {"sni": sni} if sni else {}
    external = at(EXTERNAL, 443, OUTSIDE, transport_socket=tls_to("tls", **fields))
    mesh = Mesh(
        pods=[pod("client", "10.0.0.5")],
        entries=[entry("api", "240.240.0.1", "api.example.com")],
        dumps={"client": sidecar([routes], [external])},
    )
    found = mesh.trace(tmp_path / "s", "http://240.240.0.1/", "client", host="api.example.com")
    wire = next(hop for hop in found.hops if hop.kind == "wire")
    assert "TLS" in wire.decision
    assert "mutual" not in wire.decision
    assert found.outcome.end.mtls == "none"
    assert found.outcome.end.delivered is None


def ingress() -> Mesh:
    hosts = [
        host("shop.example.com:80", ["shop.example.com"], to("outbound|80||web.shop.svc.cluster.local")),
        host("*.api.example.com:80", ["*.api.example.com"], to("outbound|80||gone.shop.svc.cluster.local")),
        host(
            "old.example.com:80", ["old.example.com"], {"match": {"prefix": "/"}, "redirect": {"https_redirect": True}}
        ),
    ]
    gateway = document(
        [listener("0.0.0.0_8080", "0.0.0.0", 8080, http_chain(rds="http.8080"))],
        [route_config("http.8080", *hosts)],
        [
            at("outbound|80||web.shop.svc.cluster.local", 8080, "10.0.0.7"),
            cluster("outbound|80||gone.shop.svc.cluster.local"),
        ],
    )
    inbound = listener("virtualInbound", "0.0.0.0", 15006, tcp_chain("0.0.0.0_8080", "inbound|8080||"))
    inbound["traffic_direction"] = "INBOUND"
    local = {"name": "inbound|8080||", "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED"}
    return Mesh(
        pods=[pod("web", "10.0.0.7"), pod("istio-ingressgateway", "10.0.0.8", gateway=True, namespace="istio-system")],
        services=[
            service("web", "10.96.0.7", 80, 8080),
            service("istio-ingressgateway", "10.96.0.8", 80, 8080, namespace="istio-system"),
        ],
        slices=[
            endpoints("web", 8080, "10.0.0.7"),
            endpoints("istio-ingressgateway", 8080, "10.0.0.8", namespace="istio-system"),
        ],
        dumps={"istio-ingressgateway": gateway, "web": document([inbound], [], [local])},
        listening={"web": ["0.0.0.0:8080"], "istio-ingressgateway": ["0.0.0.0:8080"]},
    )


@pytest.mark.parametrize(
    ("name", "status", "delivered"),
    [
        ("shop.example.com", None, True),
        ("v1.api.example.com", 503, False),
        ("api.example.com", 404, False),
        ("old.example.com", 301, False),
        ("nobody.example.com", 404, False),
    ],
)
def test_an_ingress_gateway_with_several_hosts(tmp_path: Path, name: str, status: int | None, delivered: bool) -> None:
    found = ingress().trace(tmp_path / "s", "web:80", "ingress", host=name)
    assert (found.outcome.end.status, found.outcome.end.delivered) == (status, delivered)
    if status is not None:
        assert found.outcome.end.answered_by == "gateway"


@pytest.mark.parametrize(
    ("listening", "rules", "ends", "said"),
    [
        (["0.0.0.0:8080"], "", (True, ""), ""),
        (["*:8080"], "", (True, ""), ""),
        (["0.0.0.0:8443"], "", (False, "refused"), "nothing listens on 10.0.0.8:8080 in istio-ingressgateway"),
        (["127.0.0.1:8080"], "", (False, "refused"), "port 8080 is open on 127.0.0.1 only"),
        (["0.0.0.0:8080"], "INPUT -p tcp -m tcp --dport 8080 -j DROP", (False, "timeout"), "dropped by filter/INPUT"),
        (["0.0.0.0:8080"], "OUTPUT -p tcp -m tcp --sport 8080 -j DROP", (False, "timeout"), "the answers are dropped"),
        (["0.0.0.0:8080"], "INPUT -p tcp -m tcp --dport 22 -j DROP", (True, ""), ""),
        (["0.0.0.0:8080"], "INPUT -m set --match-set no src -j DROP", (None, ""), "match-set"),
    ],
)
def test_a_gateway_has_to_listen(
    tmp_path: Path, listening: list[str], rules: str, ends: tuple[bool | None, str], said: str
) -> None:
    made = ingress()
    made.listening = {**made.listening, "istio-ingressgateway": listening}
    if rules:
        chains = ":INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
        made.rules = {"istio-ingressgateway": f"*filter\n{chains}-A {rules}\nCOMMIT\n"}
    found = made.trace(tmp_path / "s", "web:80", "ingress", host="shop.example.com")
    end = found.outcome.end
    assert (end.delivered, end.broken) == ends
    assert said in end.why
    assert bool(found.outcome.clusters) is (end.delivered is True)


@pytest.mark.parametrize(
    ("rules", "delivered", "said"),
    [
        (("INPUT -p tcp -m tcp --dport 22 -j ACCEPT",), None, "does not let in what is for 10.0.0.8:8080: dropped by"),
        (("INPUT -p tcp -m tcp --dport 8080 -j ACCEPT", "INPUT -s 10.0.0.0/16 -j ACCEPT"), True, ""),
        (("INPUT -s 203.0.113.0/24 -j ACCEPT",), None, "`-s 203.0.113.0/24`"),
        (("INPUT ! -i lo -j ACCEPT",), True, ""),
        (("INPUT -i eth0 -j ACCEPT",), None, "`-i eth0`"),
    ],
)
def test_a_gateway_on_its_nodes_network_is_behind_the_nodes_firewall(
    tmp_path: Path, rules: tuple[str, ...], delivered: bool | None, said: str
) -> None:
    made = ingress()
    gateway = next(each for each in made.pods if each["metadata"]["name"] == "istio-ingressgateway")
    gateway["spec"]["hostNetwork"] = True
    chains = ":INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
    text = f"*filter\n{chains}{''.join(f'-A {rule}{chr(10)}' for rule in rules)}COMMIT\n"
    made.files = {"nodes/one/netns/iptables-save.txt": text, "nodes/one/netns/ip-route.json": ROUTES}
    end = made.trace(tmp_path / "s", "web:80", "ingress", host="shop.example.com").outcome.end
    assert end.delivered is delivered
    assert said in end.why


ROUTES = '[{"dst": "default", "dev": "eth0"}, {"dst": "10.0.0.0/24", "dev": "eth0"}]'


def test_what_another_program_takes_the_gateway_does_not_get(tmp_path: Path) -> None:
    made = ingress()
    line = 'tcp LISTEN 0 128 0.0.0.0:8080 0.0.0.0:* users:(("nginx",pid=3,fd=3)) uid:0\n'
    made.files = {"pods/istio-system/istio-ingressgateway/netns/sockets.txt": line}
    end = made.trace(tmp_path / "s", "web:80", "ingress", host="nobody.example.com").outcome.end
    assert (end.answered_by, end.why) == ("app", "nginx answers")


def test_another_program_of_the_gateway_answers_where_its_configuration_has_no_listener(tmp_path: Path) -> None:
    made = ingress()
    line = 'tcp LISTEN 0 128 *:15020 *:* users:(("pilot-agent",pid=3,fd=3)) uid:1337\n'
    made.files = {"pods/istio-system/istio-ingressgateway/netns/sockets.txt": line}
    end = made.trace(tmp_path / "s", "http://istio-ingressgateway.istio-system:15020/", "ingress").outcome.end
    assert (end.answered_by, end.why) == ("app", "pilot-agent answers")
    end = made.trace(tmp_path / "t", "http://istio-ingressgateway.istio-system:15030/", "ingress").outcome.end
    assert (end.answered_by, end.delivered) == ("nobody", False)


SNI_CLUSTER = "outbound_.9080_._.reviews.shop.svc.cluster.local"


@pytest.mark.parametrize(
    ("sni", "alpn", "expected"),
    [
        (SNI_CLUSTER, ("istio",), SNI_CLUSTER),
        ("outbound_.9080_.v1_.reviews.shop.svc.cluster.local", ("istio",), None),
        ("reviews.shop.svc.cluster.local", ("istio",), None),
    ],
)
def test_auto_passthrough_chooses_the_cluster_by_the_sni(sni: str, alpn: tuple[str, ...], expected: str | None) -> None:
    chain = tcp_chain(
        "sni", SNI_CLUSTER, filter_chain_match={"server_names": [SNI_CLUSTER], "transport_protocol": "tls"}
    )
    place = listener("0.0.0.0_15443", "0.0.0.0", 15443, chain, listener_filters=INSPECTORS)
    found = match(
        dump([place], [], [at(SNI_CLUSTER, 9080, "10.0.0.11")]),
        Query(direction="gateway", address="10.0.0.9", port=15443, protocol="tcp", tls="mtls", sni=sni, alpn=alpn),
    )
    assert found.cluster == expected
    assert found.error == (None if expected else "no-filter-chain")


REVIEWS = "outbound|9080||reviews.shop.svc.cluster.local"


@pytest.mark.parametrize("listens", ["[::]:9080", "*:9080", "[fd00:10::7]:9080"])
def test_an_ipv6_service_is_reached_over_ipv6(tmp_path: Path, listens: str) -> None:
    routes = route_config(
        "9080", host("reviews", ["reviews", "reviews:9080", "fd00:96::7", "[fd00:96::7]:9080"], to(REVIEWS))
    )
    client = sidecar([routes], [at(REVIEWS, 9080, "fd00:10::7")], 9080, "::")
    inbound = listener("virtualInbound", "::", 15006, tcp_chain("reviews", "inbound|9080||"))
    inbound["traffic_direction"] = "INBOUND"
    local = {"name": "inbound|9080||", "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED"}
    mesh = Mesh(
        pods=[pod("client", "fd00:10::5"), pod("reviews", "fd00:10::7")],
        services=[service("reviews", "fd00:96::7", 9080, 9080)],
        slices=[endpoints("reviews", 9080, "fd00:10::7")],
        dumps={"client": client, "reviews": document([inbound], [], [local])},
        listening={"reviews": [listens]},
    )
    for number, target in enumerate(("reviews:9080", "http://[fd00:96::7]:9080/")):
        found = mesh.trace(tmp_path / str(number), target, "client")
        assert found.aim.address == "fd00:96::7"
        assert found.outcome.end.delivered is True, said(found)
        assert found.outcome.end.through_client is True
        assert found.outcome.end.through_server is True
        assert found.kube_proxy.used is False
        assert "[fd00:96::7]:9080" in said(found)


def test_an_ipv6_service_of_a_caller_outside_of_the_mesh_is_chosen_by_kube_proxy(tmp_path: Path) -> None:
    plain = pod("plain", "fd00:10::5")
    plain["metadata"]["annotations"] = {}
    plain["spec"] = {"nodeName": "one", "containers": [{"name": "plain", "image": "x"}]}
    server = pod("reviews", "fd00:10::7")
    server["spec"] = {"nodeName": "one", "containers": [{"name": "reviews", "image": "x"}]}
    server["metadata"]["annotations"] = {}
    mesh = Mesh(
        pods=[plain, server],
        services=[service("reviews", "fd00:96::7", 9080, 9080)],
        slices=[endpoints("reviews", 9080, "fd00:10::7")],
        listening={"reviews": ["*:9080"]},
    )
    found = mesh.trace(tmp_path / "s", "reviews:9080", "plain")
    assert found.kube_proxy.used is True
    assert found.kube_proxy.choice.startswith("fd00:10::7")
    assert found.outcome.end.delivered is True


def test_several_clusters_that_fail_are_told_apart_and_one_reason_is_told_once(tmp_path: Path) -> None:
    one, two = (f"outbound|80|{subset}|web.shop.svc.cluster.local" for subset in ("v1", "v2"))
    shares = {"clusters": [{"name": one, "weight": 80}, {"name": two, "weight": 20}]}
    routes = route_config(
        "80", host("web:80", ["web"], {"match": {"prefix": "/"}, "route": {"weighted_clusters": shares}})
    )
    found = Mesh(
        pods=[pod("client", "10.0.0.5")],
        services=[service("web", "10.96.0.1", 80, 8080)],
        dumps={"client": sidecar([routes], [at(one, 80), at(two, 80)])},
    ).trace(tmp_path, "web:80", "client")
    ends = [(b.probability, b.cluster, b.end.status, b.end.flags) for b in found.outcome.branches]
    assert ends == [(0.8, one, 503, "UH"), (0.2, two, 503, "UH")]
    (finding,) = found.findings
    assert finding.text.startswith("web.shop:80: Service web has no endpoints")


def test_without_the_node_s_rules_the_service_s_own_policy_counts(tmp_path: Path) -> None:
    plain = pod("client", "10.0.0.5")
    plain["spec"] = {"nodeName": "one", "containers": plain["spec"]["containers"][:1]}
    plain["metadata"]["annotations"] = {}
    local, udp = service("web", "10.96.0.1", 80, 8080), service("dns", "10.96.0.2", 53, 53)
    local["spec"]["internalTrafficPolicy"] = "Local"
    udp["spec"]["ports"][0]["protocol"] = "UDP"
    ends = endpoints("web", 8080, "10.0.0.9")
    ends["endpoints"][0]["nodeName"] = "two"
    mesh = Mesh(pods=[plain], services=[local, udp], slices=[ends])
    away = mesh.trace(tmp_path / "a", "web:80", "client").outcome.end
    assert (away.broken, away.cause) == ("timeout", "kube-proxy")
    assert "on this node, so kube-proxy drops" in away.why
    lost = mesh.trace(tmp_path / "b", "dns:53", "client").outcome.end
    assert lost.broken == "timeout"
    assert "not for TCP (it has 53/UDP)" in lost.why


COPIES = "outbound|81||log.shop.svc.cluster.local"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ([], f"the proxy has no cluster {COPIES}"),
        ([at(COPIES, 81)], f"{COPIES} has no endpoints"),
        ([at(COPIES, 81, "10.0.0.8")], ""),
    ],
)
def test_a_mirror_that_leads_nowhere_is_said(tmp_path: Path, more: list[Any], reason: str) -> None:
    web = "outbound|80||web.shop.svc.cluster.local"
    share = {"default_value": {"numerator": 25, "denominator": "HUNDRED"}}
    mirror = [{"cluster": COPIES, "runtime_fraction": share}]
    routes = route_config("80", host("web:80", ["web"], to(web, request_mirror_policies=mirror)))
    found = Mesh(
        pods=[pod("client", "10.0.0.5"), pod("web", "10.0.0.9")],
        services=[service("web", "10.96.0.1", 80, 8080)],
        slices=[endpoints("web", 8080, "10.0.0.9")],
        dumps={"client": sidecar([routes], [at(web, 8080, "10.0.0.9"), *more])},
        listening={"web": ["0.0.0.0:8080"]},
    ).trace(tmp_path, "web:80", "client")
    assert found.outcome.mirrors == (f"{COPIES} 25%",)
    (route,) = [hop for hop in found.hops if hop.kind == "route"]
    told = [f.text for f in found.findings if f.id == "MT111"]
    assert told == ([f"web.shop:80: the copies for {COPIES} are dropped: {reason}"] if reason else [])
    assert any(fact.endswith(f"every copy is dropped: {reason}") for fact in route.facts) == bool(reason)
    assert (route.mood == "warn") == bool(reason)


WEB = "outbound|80||web.shop.svc.cluster.local"


def with_state(made: Any, state: str) -> Any:
    """A sidecar's dump whose listener for the Service is only warming, or was rejected."""
    (part,) = [c for c in made["configs"] if c["@type"].endswith("ListenersConfigDump")]
    holders = [*part.get("static_listeners", []), *part.get("dynamic_listeners", [])]
    found = [(h, h.get("listener") or h["active_state"]["listener"]) for h in holders]
    ((holder, config),) = [(h, one) for h, one in found if one["name"] == "0.0.0.0_80"]
    for key in ("static_listeners", "dynamic_listeners"):
        part[key] = [h for h in part.get(key, []) if h is not holder]
    states = {
        "warming": {"warming_state": {"listener": config}},
        "rejected": {"error_state": {"failed_configuration": config, "details": "it does not fit"}},
        "older": {"active_state": {"listener": config}, "error_state": {"details": "it does not fit"}},
    }
    part["dynamic_listeners"].append({"name": config["name"], **states[state]})
    return made


@pytest.mark.parametrize(
    ("state", "id", "severity", "words"),
    [
        ("warming", "MT112", "error", "it is still warming"),
        ("rejected", "MT112", "error", "Envoy rejected it: it does not fit"),
        ("older", "MT109", "warning", "Envoy rejected a newer version of it: it does not fit"),
    ],
)
def test_a_listener_that_does_not_run_is_the_first_reason(
    tmp_path: Path, state: str, id: str, severity: str, words: str
) -> None:
    routes = route_config("80", host("web:80", ["web"], to(WEB)))
    found = Mesh(
        pods=[pod("client", "10.0.0.5"), pod("web", "10.0.0.9")],
        services=[service("web", "10.96.0.1", 80, 8080)],
        slices=[endpoints("web", 8080, "10.0.0.9")],
        dumps={"client": with_state(sidecar([routes], [at(WEB, 8080, "10.0.0.9")]), state)},
        listening={"web": ["0.0.0.0:8081" if id == "MT112" else "0.0.0.0:8080"]},
    ).trace(tmp_path, "web:80", "client")
    assert (found.findings[0].id, found.findings[0].severity) == (id, severity)
    assert words in found.findings[0].text
    (taken,) = [hop for hop in found.hops if hop.kind == "listener" and hop.where == "caller"]
    assert any(words in fact for fact in taken.facts)
    if id == "MT112":
        assert found.outcome.end.why.startswith("listener 0.0.0.0_80, which is meant for this destination")


def test_a_cluster_that_is_still_warming_is_not_said_to_be_missing(tmp_path: Path) -> None:
    routes = route_config("80", host("web:80", ["web"], to(WEB)))
    made = sidecar([routes], [at(WEB, 8080, "10.0.0.9")])
    (part,) = [c for c in made["configs"] if c["@type"].endswith("ClustersConfigDump")]
    for key in ("static_clusters", "dynamic_active_clusters"):
        waiting = [c for c in part.get(key, []) if c["cluster"]["name"] == WEB]
        part[key] = [c for c in part.get(key, []) if c not in waiting]
        part["dynamic_warming_clusters"] = [*part.get("dynamic_warming_clusters", []), *waiting]
    found = Mesh(
        pods=[pod("client", "10.0.0.5")], services=[service("web", "10.96.0.1", 80, 8080)], dumps={"client": made}
    ).trace(tmp_path, "web:80", "client")
    assert (found.outcome.end.status, found.outcome.end.flags) == (503, "NC")
    assert found.outcome.end.why.startswith(f"cluster {WEB} is still warming")


def test_the_route_says_what_it_changes_and_how_it_chooses(tmp_path: Path) -> None:
    retry = {"retry_on": "5xx", "num_retries": 2, "per_try_timeout": "0.500s"}
    hashes = [{"header": {"header_name": "x-user"}}]
    action: dict[str, Any] = {
        "prefix_rewrite": "/v2",
        "host_rewrite_literal": "inner",
        "retry_policy": retry,
        "hash_policy": hashes,
    }
    routes = route_config("80", host("web:80", ["web"], to(WEB, "/api", **action)))
    found = Mesh(
        pods=[pod("client", "10.0.0.5"), pod("web", "10.0.0.9")],
        services=[service("web", "10.96.0.1", 80, 8080)],
        slices=[endpoints("web", 8080, "10.0.0.9")],
        dumps={"client": sidecar([routes], [at(WEB, 8080, "10.0.0.9")])},
        listening={"web": ["0.0.0.0:8080"]},
    ).trace(tmp_path, "web:80", "client", path="/api/list")
    (route,) = [hop for hop in found.hops if hop.kind == "route"]
    assert "the path becomes /v2/list (the matched prefix replaced by /v2)" in route.facts
    assert "Host becomes inner" in route.facts
    assert "retries 2 on 5xx, each try at most 0.5s" in route.facts
    assert any("the same header x-user" in fact for fact in route.facts)
    assert "connects to the pod's own address" in found.kube_proxy.why


@pytest.mark.parametrize(
    ("target", "said"),
    [("https://web:80", "sends GET / over TLS to web:80"), ("tls://web:80", "sends a TLS connection to web:80")],
)
def test_what_the_application_sends_is_said_once(tmp_path: Path, target: str, said: str) -> None:
    mesh = Mesh(pods=[pod("client", "10.0.0.5")], services=[service("web", "10.96.0.1", 80, 8080)])
    assert mesh.trace(tmp_path, target, "client").hops[0].decision == said


def test_an_endpoint_without_a_recorded_pod_is_not_outside_of_the_cluster(tmp_path: Path) -> None:
    ends = endpoints("web", 8080, "172.17.1.52")
    del ends["endpoints"][0]["targetRef"]
    plain = pod("client", "10.0.0.5")
    plain["spec"] = {"nodeName": "one", "containers": plain["spec"]["containers"][:1]}
    mesh = Mesh(pods=[plain], services=[service("web", "10.96.0.1", 80, 8080)], slices=[ends])
    end = mesh.trace(tmp_path, "http://172.17.1.52:8080/", "client").outcome.end
    assert end.delivered is None
    assert end.why.startswith("172.17.1.52 is an endpoint of Service shop/web, and no pod that was recorded has it")


FAULT = "envoy.extensions.filters.http.fault.v3.HTTPFault"
HELD = {"delay": {"fixed_delay": "0.5s", "percentage": {"numerator": 100}}}
HALF = {"abort": {"http_status": 555, "percentage": {"numerator": 50}}}
ALL = {"abort": {"http_status": 555, "percentage": {"numerator": 100}}}
AWAY = {"redirect": {"path_redirect": "/x"}}
LOST = {"route": {"cluster": "outbound|80||web.shop.svc.cluster.local"}}
GONE = {"route": {"cluster": "outbound|80||nowhere"}}


@pytest.mark.parametrize(
    ("fault", "action", "ends"),
    [
        (HELD | ALL, LOST, [(1, 555, "DI,FI")]),
        (HELD, AWAY, [(1, 301, "DI")]),
        (HELD, LOST, [(1, 503, "DI,UH")]),
        (HELD, GONE, [(1, 503, "DI,NC")]),
        (HALF, AWAY, [(0.5, 301, ""), (0.5, 555, "FI")]),
        (HALF, LOST, [(0.5, 503, "UH"), (0.5, 555, "FI")]),
        (HELD | HALF, AWAY, [(0.5, 301, "DI"), (0.5, 555, "DI,FI")]),
    ],
)
def test_faults_come_before_what_the_proxy_answers_itself(
    tmp_path: Path, fault: dict[str, Any], action: dict[str, Any], ends: list[object]
) -> None:
    own = {
        "match": {"prefix": "/"},
        **action,
        "typed_per_filter_config": {"envoy.filters.http.fault": typed(FAULT, **fault)},
    }
    filters = [{"name": "envoy.filters.http.fault", "typed_config": typed(FAULT)}]
    chain = http_chain("http", route_config("80", host("web:80", ["web"], own)), filters=filters)
    outbound = listener("0.0.0.0_80", "0.0.0.0", 80, chain, bind_to_port=False)
    virtual = listener("virtualOutbound", "0.0.0.0", 15001, CATCH_ALL, use_original_dst=True)
    found = Mesh(
        pods=[pod("client", "10.0.0.5")],
        services=[service("web", "10.96.0.1", 80, 8080)],
        dumps={"client": document([outbound, virtual], [], [at("outbound|80||web.shop.svc.cluster.local", 80)])},
    ).trace(tmp_path, "web:80", "client")
    told = [(b.probability, b.end.status, b.end.flags) for b in found.outcome.branches]
    assert told == ends

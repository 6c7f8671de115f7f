"""Decisions from the mesh's resources alone: each case is what istiod makes of them, found by reading its source."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from meshctl.istio import mesh as istio_mesh
from meshctl.istio.mesh_config import MeshConfig, parse
from meshctl.kube import pods as kube_pods
from meshctl.kube import services as kube_services
from meshctl.path import auto_mtls, gateway_resources, policies, registry, resource_hosts, resources
from meshctl.path.decision import Decision
from meshctl.path.model import Request
from meshctl.path.scene import NodeView, Scene, Station
from meshctl.path.wire import Connection, by_application
from tests.envoy.cases_tokens import public, token

PLURALS = {
    "VirtualService": "virtualservices",
    "DestinationRule": "destinationrules",
    "Sidecar": "sidecars",
    "ServiceEntry": "serviceentries",
    "Gateway": "gateways",
    "PeerAuthentication": "peerauthentications",
    "AuthorizationPolicy": "authorizationpolicies",
    "RequestAuthentication": "requestauthentications",
    "ApiGateway": "gateways.gateway.networking.k8s.io",
    "HTTPRoute": "httproutes.gateway.networking.k8s.io",
    "GRPCRoute": "grpcroutes.gateway.networking.k8s.io",
    "TCPRoute": "tcproutes.gateway.networking.k8s.io",
    "TLSRoute": "tlsroutes.gateway.networking.k8s.io",
}


def a(kind: str, name: str, spec: Any, namespace: str = "shop", created: str = "") -> dict[str, Any]:
    return {
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": created},
        "spec": spec,
    }


def service(name: str, ip: str, *ports: tuple[int, str], namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    listed = [{"name": label, "port": number, "targetPort": number} for number, label in ports]
    whole = {"clusterIP": ip, "ports": listed, "selector": {"app": name}, **spec}
    return {"metadata": {"name": name, "namespace": namespace}, "spec": whole}


def pod(name: str, ip: str, namespace: str = "shop", **labels: str) -> dict[str, Any]:
    marks = {"app": name, "security.istio.io/tlsMode": "istio", **labels}
    ready = [{"type": "Ready", "status": "True"}]
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": marks},
        "spec": {"containers": [{"name": name, "image": "app:1"}], "serviceAccountName": name},
        "status": {"phase": "Running", "podIP": ip, "conditions": ready},
    }


def endpoints(name: str, *ends: tuple[str, str], port: int = 80, label: str = "http") -> dict[str, Any]:
    made = [{"addresses": [ip], "targetRef": {"kind": "Pod", "namespace": "shop", "name": p}} for p, ip in ends]
    labels = {"kubernetes.io/service-name": name}
    return {
        "metadata": {"namespace": "shop", "labels": labels},
        "endpoints": made,
        "ports": [{"name": label, "port": port}],
    }


WEB, DB, RAW = (
    service("web", "10.96.0.1", (80, "http"), (81, "http-b")),
    service("db", "10.96.0.2", (80, "tcp-db")),
    service("raw", "10.96.0.3", (90, "")),
)
FAR = service("far", "10.96.0.4", (80, "http"), namespace="other")


def scene(
    *objects: dict[str, Any],
    services: Any = (WEB, RAW, FAR),
    slices: Any = (),
    pods: Any = (),
    config: MeshConfig | None = None,
) -> Scene:
    kinds: dict[str, Any] = {plural: ("", []) for plural in PLURALS.values()}
    for each in objects:
        kinds[PLURALS[each["kind"]]][1].append(each)
    known = [kube_pods.pod(raw, "pods.json") for raw in (pod("client", "10.0.0.5", team="red"), *pods)]
    return Scene(
        pods=known,
        services=kube_services.read(services, slices),
        mesh=istio_mesh.read(kinds, config or MeshConfig()),
        namespaces=("shop", "other", "istio-system"),
        recorded=(),
        load_station=lambda one: Station(pod=one, mode="sidecar"),
        load_node=lambda name: NodeView(name, (), ()),
    )


def ask(place: Scene, address: str, port: int, host: str = "", **request: Any) -> Decision:
    made = Request(host=host, **request)
    return resources.outbound(place, place.station(place.pods[0]), address, port, made)


def clusters(decision: Decision) -> list[str]:
    return [option.cluster.replace(".svc.cluster.local", "") for option in decision.options]


class TestListeners:
    def test_the_host_header_chooses_the_virtual_host_not_the_address(self) -> None:
        assert clusters(ask(scene(), "10.96.0.1", 80, "web")) == ["outbound|80||web.shop"]
        assert clusters(ask(scene(), "10.96.0.1", 80, "far.other:80")) == ["outbound|80||far.other"]
        assert clusters(ask(scene(), "203.0.113.9", 80, "web.shop.svc.cluster.local.")) == ["outbound|80||web.shop"]
        assert clusters(ask(scene(), "10.96.0.1", 80, "far")) == ["PassthroughCluster"]  # of another namespace
        assert clusters(ask(scene(), "10.96.0.1", 80, "web.shop.example.com")) == ["PassthroughCluster"]

    def test_paths_are_normalised_first(self) -> None:
        match = [{"uri": {"prefix": "/api"}}]
        http = [route("raw", 90, match=match), route("web", 80)]
        place = scene(a("VirtualService", "web", {"hosts": ["web"], "http": http}))
        for path, name in (("/api/x", "raw"), ("/api/../x", "web"), ("/x/%2e%2e/api", "raw"), ("//api", "web")):
            assert clusters(ask(place, "10.96.0.1", 80, "web", path=path))[0].endswith(f"||{name}.shop")
        place.mesh = replace(place.mesh, config=MeshConfig(path_normalization="NONE"))
        assert clusters(ask(place, "10.96.0.1", 80, "web", path="/api/../x")) == ["outbound|90||raw.shop"]
        place.mesh = replace(place.mesh, config=MeshConfig(path_normalization="DECODE_AND_MERGE_SLASHES"))
        assert clusters(ask(place, "10.96.0.1", 80, "web", path="/%2Fapi")) == ["outbound|90||raw.shop"]

    def test_what_is_no_http_goes_through_a_port_for_http_as_it_is(self) -> None:
        found = ask(scene(), "10.96.0.1", 80, "web", tls=True)
        assert (clusters(found), found.tcp, found.route) == (["PassthroughCluster"], True, None)
        assert clusters(ask(scene(), "10.96.0.1", 80, "web", protocol="tcp")) == ["PassthroughCluster"]

    def test_an_address_of_its_own_comes_before_the_port(self) -> None:
        place = scene(services=(WEB, DB))
        assert clusters(ask(place, "10.96.0.2", 80, "web")) == ["outbound|80||db.shop"]
        assert clusters(ask(place, "10.96.0.1", 80, "db")) == ["PassthroughCluster"]

    def test_a_port_without_a_protocol_is_told_by_its_bytes(self) -> None:
        found = ask(scene(), "10.96.0.3", 90, "anything.example.com")
        assert (clusters(found), found.tcp) == (["outbound|90||raw.shop"], False)
        found = ask(scene(), "10.96.0.3", 90, protocol="tcp")
        assert (clusters(found), found.tcp) == (["outbound|90||raw.shop"], True)
        assert clusters(ask(scene(), "10.0.0.77", 90, "raw")) == ["PassthroughCluster"]

    def test_names_in_tls_choose_among_service_entries(self) -> None:
        ports = [{"number": 443, "name": "tls", "protocol": "TLS"}]
        one = a("ServiceEntry", "one", {"hosts": ["one.example.com"], "ports": ports, "resolution": "DNS"})
        all = a("ServiceEntry", "all", {"hosts": ["*.example.com"], "ports": ports, "resolution": "NONE"})
        place = scene(one, all)
        assert clusters(ask(place, "203.0.113.9", 443, "one.example.com", tls=True)) == [
            "outbound|443||one.example.com"
        ]
        assert clusters(ask(place, "203.0.113.9", 443, "two.example.com", tls=True)) == ["outbound|443||*.example.com"]
        assert clusters(ask(place, "203.0.113.9", 443, "example.org", tls=True)) == ["PassthroughCluster"]

    def test_a_service_that_is_exported_nowhere_is_not_known(self) -> None:
        hidden = service("far", "10.96.0.4", (80, "http"), namespace="other")
        hidden["metadata"]["annotations"] = {"networking.istio.io/exportTo": "."}
        assert clusters(ask(scene(services=(WEB, hidden)), "10.96.0.4", 80, "far.other")) == ["PassthroughCluster"]

    def test_an_external_name_is_another_name_of_its_service(self) -> None:
        def named(name: str, to: str) -> dict[str, Any]:
            spec = {"type": "ExternalName", "externalName": to}
            return {"metadata": {"name": name, "namespace": "shop"}, "spec": spec}

        more = [named("ext", "web.shop.svc.cluster.local"), named("twice", "ext.shop.svc.cluster.local")]
        more += [named("out", "example.com"), named("loop", "loop.shop.svc.cluster.local")]
        place = scene(services=(WEB, *more))
        for host in ("ext", "ext.shop", "twice.shop.svc.cluster.local:80"):
            assert clusters(ask(place, "10.96.0.1", 80, host)) == ["outbound|80||web.shop"]
        for host in ("out", "loop", "ext.other"):
            assert clusters(ask(place, "10.96.0.1", 80, host)) == ["PassthroughCluster"]
        old = replace(place.station(place.pods[0]), version="1.19.3")
        found = resources.outbound(place, old, "10.96.0.1", 80, Request(host="ext"))
        assert "before Istio 1.20" in found.undecided[0]

    @pytest.mark.parametrize("port", [15021, 15090])
    def test_a_port_of_the_proxy_itself_is_undecided(self, port: int) -> None:
        assert "listens on itself" in ask(scene(), "10.0.0.77", port).undecided[0]


class TestSidecars:
    def test_an_egress_entry_for_a_port_stands_for_that_port_alone(self) -> None:
        egress = [{"port": {"number": 80}, "hosts": ["./web.shop.svc.cluster.local"]}, {"hosts": ["other/*"]}]
        more = service("more", "10.96.0.9", (81, "http"), namespace="other")
        place = scene(
            a("Sidecar", "default", {"egress": egress, "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}),
            services=(WEB, FAR, more),
        )
        assert clusters(ask(place, "10.96.0.1", 80, "web")) == ["outbound|80||web.shop"]
        far = ask(place, "10.96.0.4", 80, "far.other")
        assert far.refusal is not None
        assert (far.refusal.status, far.refusal.cause) == (502, "registry-only")
        assert "does not tell this proxy of far.other" in far.steps[0].because
        assert clusters(ask(place, "10.96.0.9", 81, "more.other")) == ["outbound|81||more.other"]
        assert ask(place, "10.96.0.1", 81, "web").refusal is not None  # the port's entry is for port 80

    @pytest.mark.parametrize(
        ("entry", "found"),
        [
            ({"bind": "127.0.0.1"}, "PassthroughCluster"),
            ({"captureMode": "NONE"}, "PassthroughCluster"),
            ({"bind": "0.0.0.0"}, "outbound|80||web.shop"),
            ({"captureMode": "IPTABLES"}, "outbound|80||web.shop"),
        ],
    )
    def test_where_an_egress_entry_listens(self, entry: dict[str, str], found: str) -> None:
        egress = [{"port": {"number": 80}, "hosts": ["./*"], **entry}]
        assert clusters(ask(scene(a("Sidecar", "default", {"egress": egress})), "10.96.0.1", 80, "web")) == [found]

    def test_the_oldest_of_two_sidecars_counts(self) -> None:
        closed, open_ = {"egress": [{"hosts": ["~/*"]}]}, {"egress": [{"hosts": ["*/*"]}]}
        place = scene(a("Sidecar", "a", closed, created="2026-02-02"), a("Sidecar", "b", open_, created="2026-01-01"))
        assert clusters(ask(place, "10.96.0.1", 80, "web")) == ["outbound|80||web.shop"]


def route(host: str, port: int | None = None, **more: Any) -> dict[str, Any]:
    to = {"host": host, **({"port": {"number": port}} if port else {})}
    return {"route": [{"destination": to}], **more}


class TestRules:
    def test_a_destination_without_a_port_is_the_listener_s(self) -> None:
        """As recorded for a mirror of ``policies``: ``outbound|9080||slow``, a cluster that does not exist."""
        rules = a("VirtualService", "web", {"hosts": ["web"], "http": [route("raw", mirror={"host": "raw"})]})
        found = ask(scene(rules), "10.96.0.1", 80, "web")
        assert clusters(found) == ["outbound|80||raw.shop"]
        assert found.mirrors == ("outbound|80||raw.shop.svc.cluster.local 100%",)
        rules = a("VirtualService", "far", {"hosts": ["far.other.svc.cluster.local"], "http": [route("web")]})
        assert clusters(ask(scene(rules), "10.96.0.4", 80, "far.other")) == ["outbound|80||web.shop"]

    def test_a_host_that_is_no_service_may_have_rules(self) -> None:
        rules = a("VirtualService", "v", {"hosts": ["shop.example.com"], "http": [route("web", 80)]})
        assert clusters(ask(scene(rules), "203.0.113.9", 80, "shop.example.com")) == ["outbound|80||web.shop"]

    def test_the_older_of_two_for_one_host_counts_alone(self) -> None:
        young = a("VirtualService", "a", {"hosts": ["web"], "http": [route("raw")]}, created="2026-02-02")
        old = a(
            "VirtualService",
            "b",
            {"hosts": ["web"], "http": [route("far.other.svc.cluster.local", match=[{"uri": {"exact": "/x"}}])]},
            created="2026-01-01",
        )
        found = ask(scene(young, old), "10.96.0.1", 80, "web")
        assert found.refusal is not None
        assert (found.refusal.status, found.refusal.flags) == (404, "NR")
        assert clusters(ask(scene(young, old), "10.96.0.1", 80, "web", path="/x")) == ["outbound|80||far.other"]

    def test_a_delegate_brings_its_rules(self) -> None:
        root = a(
            "VirtualService",
            "root",
            {"hosts": ["web"], "http": [{"match": [{"uri": {"prefix": "/a"}}], "delegate": {"name": "part"}}]},
        )
        rules = [route("raw", 90, match=[{"uri": {"prefix": "/a/b"}}], timeout="2s"), route("web", 80)]
        place = scene(root, a("VirtualService", "part", {"http": rules}))
        found = ask(place, "10.96.0.1", 80, "web", path="/a/b/c")
        assert (clusters(found), found.timeout_s) == (["outbound|90||raw.shop"], 2.0)
        assert clusters(ask(place, "10.96.0.1", 80, "web", path="/a/x")) == ["outbound|80||web.shop"]
        assert ask(place, "10.96.0.1", 80, "web", path="/b").refusal is not None

    def test_a_token_s_claim_is_not_a_header(self) -> None:
        match = [{"headers": {"@request.auth.claims.group": {"exact": "admin"}}}]
        rules = a("VirtualService", "web", {"hosts": ["web"], "http": [route("raw", match=match)]})
        assert "not modelled" in ask(scene(rules), "10.96.0.1", 80, "web").undecided[0]

    def test_rewrites(self) -> None:
        regex = {"uriRegexRewrite": {"match": "^/a/([^/]+)", "rewrite": r"/b/\1"}, "authority": "inner.example.com"}
        rules = a("VirtualService", "web", {"hosts": ["web"], "http": [route("raw", rewrite=regex)]})
        sent = ask(scene(rules), "10.96.0.1", 80, "web", path="/a/7/x?q=1").forwarded
        assert sent is not None
        assert (sent.path, sent.host) == ("/b/7/x?q=1", "inner.example.com")

    @pytest.mark.parametrize(
        ("origin", "policy", "status"),
        [
            ("http://a", {"allowOrigins": [{"exact": "http://a"}]}, 200),
            ("http://b", {"allowOrigins": [{"exact": "http://a"}]}, None),
            ("http://b", {"allowOrigins": [{"exact": "http://a"}], "unmatchedPreflights": "IGNORE"}, 200),
            ("http://b", {"allowOrigin": ["*"]}, 200),
            ("http://b", {"allowOrigins": [{"regex": "http://[ab]"}]}, 200),
        ],
    )
    def test_a_preflight_request(self, origin: str, policy: Any, status: int | None) -> None:
        rules = a("VirtualService", "web", {"hosts": ["web"], "http": [route("web", corsPolicy=policy)]})
        headers = (("Origin", origin), ("Access-Control-Request-Method", "GET"))
        found = ask(scene(rules), "10.96.0.1", 80, "web", method="OPTIONS", headers=headers)
        assert (found.refusal.status if found.refusal else None) == status
        for request in ({"method": "GET", "headers": headers}, {"method": "OPTIONS", "headers": headers[:1]}):
            assert clusters(ask(scene(rules), "10.96.0.1", 80, "web", **request)) == ["outbound|80||web.shop"]

    def test_faults_come_before_preflight_requests(self) -> None:
        policy, headers = {"allowOrigin": ["*"]}, (("origin", "http://a"), ("access-control-request-method", "GET"))
        for percent, undecided in ((50, True), (100, False)):
            fault = {"abort": {"httpStatus": 418, "percentage": {"value": percent}}}
            rules = route("web", corsPolicy=policy, fault=fault)
            place = scene(a("VirtualService", "web", {"hosts": ["web"], "http": [rules]}))
            found = ask(place, "10.96.0.1", 80, "web", method="OPTIONS", headers=headers)
            assert (bool(found.undecided), found.refusal) == (undecided, None)

    def test_retries(self) -> None:
        def retry(retries: Any) -> Any:
            rules = a("VirtualService", "web", {"hosts": ["web"], "http": [route("web", retries=retries)]})
            return ask(scene(rules), "10.96.0.1", 80, "web").retry

        found = retry({"attempts": 3, "perTryTimeout": "500ms", "retryOn": "reset, 503"})
        assert (found.attempts, found.per_try_timeout_s, found.status_codes) == (3, 0.5, (503,))
        assert found.on == ("reset", "retriable-status-codes")
        assert retry({"perTryTimeout": "2s"}) is None
        assert retry({"attempts": 1}).on == retry(None).on


class TestHosts:
    SLICE = endpoints("web", ("web-1", "10.0.0.11"), ("web-2", "10.0.0.12"))
    PODS = (pod("web-1", "10.0.0.11", version="v1"), pod("web-2", "10.0.0.12", version="v2"))

    def rule(self, name: str, spec: Any, created: str = "") -> dict[str, Any]:
        return a("DestinationRule", name, {"host": "web", **spec}, created=created)

    def hosts(self, place: Scene, cluster: str, address: str = "10.96.0.1") -> Any:
        return resource_hosts.hosts(place, place.station(place.pods[0]), cluster, address, 80)

    def test_rules_for_one_host_count_together(self) -> None:
        subsets = {"subsets": [{"name": "v1", "labels": {"version": "v1"}}]}
        place = scene(
            self.rule("tls", {"trafficPolicy": {"tls": {"mode": "DISABLE"}}}, "2026-01-01"),
            self.rule("subsets", subsets, "2026-02-02"),
            slices=(self.SLICE,),
            pods=self.PODS,
        )
        found = self.hosts(place, "outbound|80|v1|web.shop.svc.cluster.local")
        assert [h.address for h in found.chosen] == ["10.0.0.11"]
        opened = auto_mtls.opened(
            place,
            place.station(place.pods[0]),
            "outbound|80|v1|web.shop.svc.cluster.local",
            found.chosen[0],
            Request(),
            1,
            False,
        )
        assert opened.layer == "plaintext"

    def test_a_rule_for_some_callers(self) -> None:
        spec = {"workloadSelector": {"matchLabels": {"team": "blue"}}, "subsets": [{"name": "v1"}]}
        place = scene(self.rule("blue", spec), slices=(self.SLICE,), pods=self.PODS)
        found = self.hosts(place, "outbound|80|v1|web.shop.svc.cluster.local")
        assert (found.flag, found.chosen) == ("NC", ())

    def test_what_there_is_no_cluster_for(self) -> None:
        assert self.hosts(scene(), "outbound|99||web.shop.svc.cluster.local").flag == "NC"
        assert self.hosts(scene(), "outbound|80||nowhere.example.com").flag == "NC"

    def test_labels_of_a_pod_that_was_not_recorded(self) -> None:
        rule = self.rule("v", {"subsets": [{"name": "v1", "labels": {"version": "v1"}}]})
        found = self.hosts(scene(rule, slices=(self.SLICE,)), "outbound|80|v1|web.shop.svc.cluster.local")
        assert "is not recorded" in found.undecided

    def test_a_headless_service_is_reached_where_the_name_led(self) -> None:
        bare = service("web", "None", (80, "http"))
        place = scene(services=(bare,), slices=(self.SLICE,), pods=self.PODS)
        found = self.hosts(place, "outbound|80||web.shop.svc.cluster.local", "10.0.0.12")
        assert [h.address for h in found.chosen] == ["10.0.0.12"]

    def test_endpoints_of_the_caller_s_node_only(self) -> None:
        local = service("web", "10.96.0.1", (80, "http"), internalTrafficPolicy="Local")
        ends = endpoints("web", ("web-1", "10.0.0.11"), ("web-2", "10.0.0.12"))
        ends["endpoints"][0]["nodeName"], ends["endpoints"][1]["nodeName"] = "here", "there"
        place = scene(services=(local,), slices=(ends,), pods=self.PODS)
        station = place.station(place.pods[0])
        for node, addresses in (("here", ["10.0.0.11"]), ("nowhere", [])):
            on = replace(station, pod=replace(station.pod, node=node))
            found = resource_hosts.hosts(place, on, "outbound|80||web.shop.svc.cluster.local", "10.96.0.1", 80)
            assert [h.address for h in found.chosen] == addresses
        assert "on node nowhere" in found.why

    def test_an_endpoint_without_a_name_is_the_pod_of_its_address(self) -> None:
        ends = endpoints("web", ("web-1", "10.0.0.11"), ("web-2", "10.0.0.12"))
        del ends["endpoints"][0]["targetRef"]
        found = self.hosts(scene(slices=(ends,), pods=self.PODS), "outbound|80||web.shop.svc.cluster.local")
        assert [h.pod for h in found.chosen] == ["shop/web-1", "shop/web-2"]

    def random(self, host: str) -> dict[str, Any]:
        return a("DestinationRule", "r", {"host": host, "trafficPolicy": {"loadBalancer": {"simple": "RANDOM"}}})

    @pytest.mark.parametrize("key", ["tunnel", "proxyProtocol"])
    @pytest.mark.parametrize("subset", [False, True])
    def test_a_rule_that_changes_where_bytes_go_leaves_it_open(self, key: str, subset: bool) -> None:
        policy = {key: {"targetHost": "x", "targetPort": 1}}
        subsets = [{"name": "v1", "labels": {}, "trafficPolicy": policy}, {"name": "v2", "labels": {}}]
        spec = {"host": "web", **({"subsets": subsets} if subset else {"trafficPolicy": policy})}
        place = scene(a("DestinationRule", "web", spec), slices=(self.SLICE,), pods=self.PODS)
        name = "web.shop.svc.cluster.local"
        found = self.hosts(place, f"outbound|80|{'v1' if subset else ''}|{name}")
        assert f"DestinationRule web.shop has {key}" in found.undecided
        if subset:
            assert not self.hosts(place, f"outbound|80|v2|{name}").undecided

    def test_a_service_entry_s_endpoints(self) -> None:
        spec = {
            "hosts": ["db.example.com"],
            "ports": [{"number": 80, "name": "tcp", "protocol": "TCP", "targetPort": 81}],
            "resolution": "STATIC",
        }
        listed = [{"address": "10.9.0.1", "ports": {"tcp": 8081}}, {"address": "10.9.0.2"}]
        place = scene(a("ServiceEntry", "db", {**spec, "endpoints": listed}))
        assert [(h.address, h.port) for h in self.hosts(place, "outbound|80||db.example.com").chosen] == [
            ("10.9.0.1", 8081),
            ("10.9.0.2", 81),
        ]
        weighed = [{"address": "10.9.0.1", "weight": 3}, {"address": "10.9.0.2"}]
        for objects, shares in (((), [0.75, 0.25]), ((self.random("db.example.com"),), [0.5, 0.5])):
            place = scene(a("ServiceEntry", "db", {**spec, "endpoints": weighed}), *objects)
            found = self.hosts(place, "outbound|80||db.example.com")
            assert [h.probability for h in found.chosen] == shares
        selected = {**spec, "workloadSelector": {"labels": {"version": "v1"}}}
        place = scene(a("ServiceEntry", "db", selected), pods=self.PODS)
        assert [h.pod for h in self.hosts(place, "outbound|80||db.example.com").chosen] == ["shop/web-1"]
        place = scene(a("ServiceEntry", "db", {**spec, "endpoints": [{"address": "db-1.example.com"}]}))
        assert "resolves to" in self.hosts(place, "outbound|80||db.example.com").undecided


def test_what_comes_in_may_be_sent_to_localhost() -> None:
    place = scene(services=(WEB,), pods=(pod("web", "10.0.0.11"),))
    told = parse({"data": {"mesh": "inboundTrafficPolicy: {mode: LOCALHOST}"}}, "x")
    asked = by_application(Request(), None)
    assert not policies.inbound(place, place.station(place.pods[0]), 80, asked).undecided
    place.mesh = replace(place.mesh, config=told)
    found = policies.inbound(place, place.station(place.pods[0]), 80, asked)
    assert "inboundTrafficPolicy LOCALHOST" in found.undecided[0]


FORWARDED = {"headers": (("x-forwarded-for", "10.1.1.1, 192.0.2.7"),)}


class TestInbound:
    def ask(
        self, *objects: dict[str, Any], port: int = 80, services: Any = (WEB,), now: Any = None, **conn: Any
    ) -> Decision:
        place = scene(*objects, services=services, pods=(pod("web", "10.0.0.11"),))
        place.now = now
        given = {"source": "10.0.0.5", "sender": None, "layer": "mtls", "request": Request(), **conn}
        if given["layer"] == "mtls":
            given["principal"] = "spiffe://cluster.local/ns/shop/sa/client"
        return policies.inbound(place, place.station(place.pods[1]), port, Connection(**given))

    def policy(self, action: str, *rules: Any) -> dict[str, Any]:
        return a("AuthorizationPolicy", "p", {"action": action, "rules": list(rules)})

    @pytest.mark.parametrize(
        ("mode", "layer", "protocol", "port", "flags", "cause"),
        [
            ("STRICT", "plaintext", "http", 80, "NR", "strict"),
            ("STRICT", "tls", "http", 80, "", "strict"),
            ("DISABLE", "mtls", "http", 80, "", "mutual-tls"),
            ("PERMISSIVE", "tls", "http", 80, "NR", "no-route"),
            ("PERMISSIVE", "plaintext", "tcp", 80, "DPE", ""),
            ("PERMISSIVE", "tls", "http", 99, None, None),
            ("PERMISSIVE", "plaintext", "tcp", 99, None, None),
            ("DISABLE", "plaintext", "http", 80, None, None),
        ],
    )
    def test_transport(self, mode: str, layer: str, protocol: Any, port: int, flags: Any, cause: Any) -> None:
        peer = a("PeerAuthentication", "default", {"mtls": {"mode": mode}})
        found = self.ask(peer, port=port, layer=layer, request=Request(protocol=protocol)).refusal
        assert (found.flags, found.cause) == (flags, cause) if found is not None else flags is None

    @pytest.mark.parametrize(
        ("action", "rule", "request_", "status"),
        [
            ("ALLOW", {"to": [{"operation": {"paths": ["/a/{*}/c"]}}]}, {"path": "/a/b/c"}, None),
            ("ALLOW", {"to": [{"operation": {"paths": ["/a/{*}/c"]}}]}, {"path": "/a/b/b/c"}, 403),
            ("ALLOW", {"to": [{"operation": {"paths": ["/a/{**}"]}}]}, {"path": "/a/b/b/c"}, None),
            ("ALLOW", {"from": [{"source": {"serviceAccounts": ["client"]}}]}, {}, None),
            ("ALLOW", {"from": [{"source": {"serviceAccounts": ["shop/client"]}}]}, {}, None),
            ("DENY", {"from": [{"source": {"notServiceAccounts": ["shop/client"]}}]}, {}, None),
            ("DENY", {"from": [{"source": {"notServiceAccounts": ["other/client"]}}]}, {}, 403),
            ("ALLOW", {"from": [{"source": {"serviceAccounts": ["shop/other"]}}]}, {}, 403),
            ("ALLOW", {"from": [{"source": {"remoteIpBlocks": ["10.0.0.0/8"]}}]}, {}, None),
            ("ALLOW", {"from": [{"source": {"remoteIpBlocks": ["10.0.0.0/8"]}}]}, FORWARDED, 403),
            ("DENY", {"when": [{"key": "remote.ip", "values": ["192.0.2.7"]}]}, FORWARDED, 403),
            ("DENY", {"from": [{"source": {"notRequestPrincipals": ["*"]}}]}, {}, 403),
            ("ALLOW", {"from": [{"source": {"requestPrincipals": ["*"]}}]}, {}, 403),
            ("ALLOW", {"when": [{"key": "request.auth.claims[iss]", "values": ["x"]}]}, {}, 403),
            ("ALLOW", {"when": [{"key": "request.headers[X-A]", "values": ["1"]}]}, {"headers": (("x-a", "1"),)}, None),
            ("DENY", {"to": [{"operation": {"notMethods": ["GET"]}}]}, {"method": "POST"}, 403),
        ],
    )
    def test_policies(self, action: str, rule: Any, request_: Any, status: int | None) -> None:
        found = self.ask(self.policy(action, rule), request=Request(**request_))
        assert not found.undecided
        assert (found.refusal.status if found.refusal else None) == status

    @pytest.mark.parametrize(
        ("bearer", "more", "status", "undecided"),
        [
            (None, {}, None, False),
            ("not.a.token", {}, 401, False),
            (token({"iss": "other@test", "sub": "me"}), {}, 401, False),
            (token({"iss": "one@test", "sub": "me", "exp": 1}), {}, 401, False),
            (token({"iss": "one@test", "sub": "me", "aud": "b"}), {"audiences": ["a"]}, 403, False),
            (token({"iss": "one@test", "sub": "me"}), {}, None, False),
            (token({"iss": "one@test", "sub": "me"}, which=1), {}, 401, False),
            (token({"iss": "one@test", "sub": "me"}), {"jwks": "", "jwksUri": "https://one.test/keys"}, None, True),
            ("not.a.token", {"fromHeaders": [{"name": "x-token"}]}, None, False),
        ],
    )
    def test_tokens(self, bearer: str | None, more: Any, status: int | None, undecided: bool) -> None:
        rule = {"issuer": "one@test", "jwks": json.dumps({"keys": [public("RS256")]}), **more}
        checks = a("RequestAuthentication", "r", {"jwtRules": [rule]})
        headers = (("authorization", f"Bearer {bearer}"),) if bearer else ()
        found = self.ask(checks, request=Request(headers=headers), now=datetime(2026, 11, 23, tzinfo=UTC))
        assert bool(found.undecided) is undecided
        assert (found.refusal.status if found.refusal else None) == status

    @pytest.mark.parametrize(("wanted", "status"), [("one@test/me", None), ("one@test/you", 403)])
    def test_whose_token_a_policy_asks_for(self, wanted: str, status: int | None) -> None:
        rule = {"issuer": "one@test", "jwks": json.dumps({"keys": [public("RS256")]})}
        policy = self.policy("ALLOW", {"from": [{"source": {"requestPrincipals": [wanted]}}]})
        headers = (("authorization", f"Bearer {token({'iss': 'one@test', 'sub': 'me'})}"),)
        found = self.ask(
            a("RequestAuthentication", "r", {"jwtRules": [rule]}), policy, request=Request(headers=headers)
        )
        assert not found.undecided
        assert (found.refusal.status if found.refusal else None) == status
        without = self.ask(policy, request=Request(headers=headers)).refusal  # nothing reads the token
        assert without is not None

    def test_tls_of_the_application_s_own_inside_mutual_tls_is_no_http(self) -> None:
        found = self.ask(request=Request(tls=True)).refusal
        assert found is not None
        assert (found.status, found.flags) == (400, "DPE")
        assert self.ask(request=Request(tls=True), port=99).refusal is None

    @pytest.mark.parametrize(("said", "refused"), [("true", False), ("1", False), ("false", True), ("yes", True)])
    def test_a_dry_run_refuses_nothing(self, said: str, refused: bool) -> None:
        for policy in (self.policy("DENY", {}), self.policy("ALLOW")):
            policy["metadata"]["annotations"] = {"istio.io/dry-run": said}
            assert (self.ask(policy).refusal is not None) is refused

    @pytest.mark.parametrize(("action", "refused"), [("ALLOW", True), ("DENY", True)])
    def test_http_in_a_rule_for_a_tcp_port(self, action: str, refused: bool) -> None:
        tcp = service("web", "10.96.0.1", (80, "tcp"))
        rule = {"to": [{"operation": {"methods": ["POST"], "ports": ["80"]}}]}
        found = self.ask(self.policy(action, rule), services=(tcp,), request=Request(protocol="tcp"))
        assert (found.refusal is not None) is refused
        assert found.refusal is None or found.refusal.status is None
        assert self.ask(self.policy("DENY", rule), services=(tcp,), port=81).refusal is None

    def test_a_sidecar_s_ingress_says_where_a_port_leads(self) -> None:
        ingress = [{"port": {"number": 80, "protocol": "HTTP"}, "defaultEndpoint": "127.0.0.1:8080"}]
        assert self.ask(a("Sidecar", "default", {"ingress": ingress})).endpoint == "127.0.0.1:8080"
        assert self.ask().endpoint == ""


HTTP = {"port": {"number": 80, "protocol": "HTTP"}, "hosts": ["*.example.com"]}


class TestGateways:
    GATEWAY = pod("gw", "10.0.0.9", "istio-system")

    def ask(self, *objects: dict[str, Any], port: int = 80, **request: Any) -> Decision:
        place = scene(*objects, pods=(self.GATEWAY,))
        return gateway_resources.decide(
            place, place.station(place.pods[1]), port, by_application(Request(**request), None)
        )

    def gateway(self, *servers: dict[str, Any]) -> dict[str, Any]:
        return a("Gateway", "gw", {"selector": {"app": "gw"}, "servers": list(servers)}, "istio-system")

    def rules(self, name: str, *http: Any, host: str = "a.example.com", created: str = "") -> dict[str, Any]:
        spec = {"hosts": [host], "gateways": ["istio-system/gw"], "http": list(http)}
        return a("VirtualService", name, spec, created=created)

    def test_all_virtual_services_of_a_host_count_and_what_fits_all_comes_last(self) -> None:
        objects = (
            self.gateway(HTTP),
            self.rules("all", route("web", 80), created="2026-01-01"),
            self.rules("part", route("raw", match=[{"uri": {"prefix": "/raw"}}]), created="2026-02-02"),
        )
        assert clusters(self.ask(*objects, host="a.example.com", path="/raw")) == ["outbound|90||raw.shop"]
        assert clusters(self.ask(*objects, host="a.example.com", path="/")) == ["outbound|80||web.shop"]

    def test_hosts_of_the_server(self) -> None:
        found = self.ask(self.gateway(HTTP), self.rules("v", route("web"), host="*"), host="a.example.org").refusal
        assert found is not None
        assert (found.status, found.flags) == (404, "NR")

    def test_transport(self) -> None:
        port = {"number": 443, "protocol": "HTTPS"}
        secure = {"port": port, "hosts": ["a.example.com"], "tls": {"mode": "SIMPLE", "credentialName": "c"}}
        objects = (self.gateway(HTTP, secure), self.rules("v", route("web", 80)))
        assert clusters(self.ask(*objects, port=443, host="a.example.com", tls=True)) == ["outbound|80||web.shop"]
        inside = self.ask(*objects, port=443, host="a.example.com", tls=True)
        assert inside.terminated
        assert inside.forwarded is not None
        assert inside.forwarded.tls is False
        for request in ({"host": "a.example.com"}, {"host": "b.example.com", "tls": True}):
            refused = self.ask(*objects, port=443, **request).refusal
            assert refused is not None
            assert (refused.status, refused.flags) == (None, "NR")
        plain = self.ask(*objects, host="a.example.com", tls=True).refusal
        assert plain is not None
        assert plain.flags == "DPE"
        closed = self.ask(*objects, port=81).refusal
        assert closed is not None
        assert closed.kind == "connection"

    def test_a_redirect_to_https(self) -> None:
        found = self.ask(self.gateway({**HTTP, "tls": {"httpsRedirect": True}}), host="a.example.com").refusal
        assert found is not None
        assert found.status == 301


class TestGatewayApi:
    POD = pod("gw", "10.0.0.9", **{"gateway.networking.k8s.io/gateway-name": "gw"})
    GATEWAY = a(
        "ApiGateway",
        "gw",
        {
            "gatewayClassName": "istio",
            "listeners": [
                {"name": "web", "port": 80, "protocol": "HTTP", "hostname": "*.example.com"},
                {"name": "tls", "port": 443, "protocol": "TLS", "tls": {"mode": "Passthrough"}},
                {"name": "raw", "port": 90, "protocol": "TCP"},
            ],
        },
    )

    def ask(self, *objects: dict[str, Any], port: int = 80, **request: Any) -> Decision:
        place = scene(self.GATEWAY, *objects, pods=(self.POD,))
        return gateway_resources.decide(
            place, place.station(place.pods[1]), port, by_application(Request(**request), None)
        )

    def route(self, kind: str, *rules: Any, name: str = "r", parent: Any = None, **spec: Any) -> dict[str, Any]:
        return a(kind, name, {"parentRefs": [parent or {"name": "gw"}], "rules": list(rules), **spec})

    def to(self, name: str, port: int, *matches: Any, **more: Any) -> dict[str, Any]:
        return {"matches": list(matches), "backendRefs": [{"name": name, "port": port, **more}]}

    def test_the_most_specific_match_of_all_routes_wins(self) -> None:
        wide = self.route("HTTPRoute", self.to("web", 80), name="wide")
        prefix = self.to("raw", 90, {"path": {"value": "/a"}}, {"path": {"value": "/longer"}})
        narrow = self.route("HTTPRoute", prefix, self.to("web", 81, {"path": {"type": "Exact", "value": "/a"}}))
        found = {
            path: clusters(self.ask(wide, narrow, host="x.example.com", path=path))
            for path in ("/", "/a", "/a/b", "/ab", "/longer/")
        }
        assert found == {
            "/": ["outbound|80||web.shop"],
            "/a": ["outbound|81||web.shop"],
            "/a/b": ["outbound|90||raw.shop"],
            "/ab": ["outbound|80||web.shop"],
            "/longer/": ["outbound|90||raw.shop"],
        }

    def test_hosts_of_route_and_listener(self) -> None:
        route = self.route("HTTPRoute", self.to("web", 80), hostnames=["a.example.com", "a.example.org"])
        assert clusters(self.ask(route, host="a.example.com")) == ["outbound|80||web.shop"]
        for host in ("a.example.org", "b.example.com"):
            refused = self.ask(route, host=host).refusal
            assert refused is not None
            assert refused.status == 404

    def test_filters_and_backends(self) -> None:
        redirect = {"filters": [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}}]}
        rewrite = {"urlRewrite": {"hostname": "in", "path": {"replaceFullPath": "/z"}}, "type": "URLRewrite"}
        odd = {"filters": [{"type": "ExtensionRef"}], **self.to("web", 80)}
        host = "x.example.com"
        for rule, status in ((redirect, 302), ({}, 500), (self.to("web", 80, weight=0), 500)):
            refused = self.ask(self.route("HTTPRoute", rule), host=host).refusal
            assert refused is not None
            assert refused.status == status
        sent = self.ask(self.route("HTTPRoute", {**self.to("web", 80), "filters": [rewrite]}), host=host, path="/a")
        assert sent.forwarded is not None
        assert (sent.forwarded.path, sent.forwarded.host) == ("/z", "in")
        assert self.ask(self.route("HTTPRoute", odd), host=host).undecided
        assert self.ask(self.route("HTTPRoute", self.to("far", 80, namespace="other")), host=host).undecided

    def test_grpc_tcp_and_tls(self) -> None:
        method = {"method": {"service": "shop.Cart", "method": "Add"}}
        grpc = self.route(
            "GRPCRoute", self.to("raw", 90, method), self.to("web", 80, {"method": {"service": "shop.Cart"}})
        )
        assert clusters(self.ask(grpc, host="x.example.com", path="/shop.Cart/Add")) == ["outbound|90||raw.shop"]
        assert clusters(self.ask(grpc, host="x.example.com", path="/shop.Cart/Get")) == ["outbound|80||web.shop"]
        assert self.ask(grpc, host="x.example.com", path="/shop.Other/Get").refusal is not None
        tcp = self.route("TCPRoute", self.to("raw", 90), parent={"name": "gw", "sectionName": "raw"})
        assert clusters(self.ask(tcp, port=90, protocol="tcp")) == ["outbound|90||raw.shop"]
        for weights in ((0, 0), (0, 1)):
            backends = [{"name": n, "port": 90, "weight": w} for n, w in zip(("web", "raw"), weights, strict=True)]
            weighed = self.route("TCPRoute", {"backendRefs": backends}, parent={"name": "gw", "sectionName": "raw"})
            found = self.ask(weighed, port=90, protocol="tcp")
            nowhere = "outbound|65535|zero-weight|internal.cluster.local"
            assert clusters(found) == (["outbound|90||raw.shop"] if any(weights) else [nowhere])
        tls = self.route(
            "TLSRoute", self.to("web", 81), parent={"name": "gw", "sectionName": "tls"}, hostnames=["s.example.com"]
        )
        assert clusters(self.ask(tls, port=443, tls=True, host="s.example.com")) == ["outbound|81||web.shop"]
        assert self.ask(tls, port=443, tls=True, host="t.example.com").refusal is not None

    def test_a_service_for_a_parent(self) -> None:
        parent = {"kind": "Service", "group": "", "name": "web", "port": 80}
        route = self.route("HTTPRoute", self.to("raw", 90, {"path": {"value": "/raw"}}), parent=parent)
        place = scene(route)
        assert clusters(ask(place, "10.96.0.1", 80, "web", path="/raw/1")) == ["outbound|90||raw.shop"]
        assert ask(place, "10.96.0.1", 80, "web", path="/").refusal is not None
        refused = {
            **route,
            "status": {"parents": [{"parentRef": parent, "conditions": [{"type": "Accepted", "status": "False"}]}]},
        }
        assert clusters(ask(scene(refused), "10.96.0.1", 80, "web", path="/raw/1")) == ["outbound|80||web.shop"]

    def test_a_route_of_another_namespace_needs_to_be_let_in(self) -> None:
        route = a(
            "HTTPRoute",
            "r",
            {"parentRefs": [{"name": "gw", "namespace": "shop"}], "rules": [self.to("web", 80)]},
            "other",
        )
        refused = self.ask(route, host="x.example.com").refusal
        assert refused is not None
        assert refused.status == 404


def test_a_host_in_full_names_its_service() -> None:
    place = scene()
    assert registry.service_of(place, "web.shop.svc.cluster.local") is not None
    assert registry.service_of(place, "web.shop.example.com") is None
    assert registry.service_of(place, "web") is None

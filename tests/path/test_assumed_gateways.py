"""A gateway whose configuration was not recorded: what istiod makes of Gateways, policies and rules for it."""

from dataclasses import replace
from typing import Any, ClassVar

import pytest

from meshctl.envoy.model.sockets import Tls
from meshctl.istio.mesh_config import MeshConfig, Retries
from meshctl.origin import NOWHERE
from meshctl.path import gateway_resources, netns
from meshctl.path.decision import Decision
from meshctl.path.model import Request
from meshctl.path.scene import Scene
from meshctl.path.wire import Connection, by_application
from tests.path.test_assumed import FAR, RAW, WEB, a, clusters, pod, route, scene, service

HTTP: dict[str, Any] = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
GATEWAY_POD = pod("gw", "10.0.0.9", "istio-system")


def server(protocol: str, *hosts: str, mode: str = "", port: int = 443, name: str = "") -> dict[str, Any]:
    named = {"number": port, "name": name or f"{protocol}-{'-'.join(hosts)}", "protocol": protocol}
    tls = {"tls": {"mode": mode, **({"credentialName": "c"} if mode == "SIMPLE" else {})}} if mode else {}
    return {"port": named, "hosts": list(hosts), **tls}


def gateway(*servers: dict[str, Any], name: str = "gw", namespace: str = "istio-system", **more: str) -> dict[str, Any]:
    return a("Gateway", name, {"selector": {"app": "gw"}, "servers": list(servers)}, namespace, **more)


def rules(
    name: str, *hosts: str, to: str = "http", gateways: Any = ("istio-system/gw",), **more: Any
) -> dict[str, Any]:
    spec = {"hosts": list(hosts), "gateways": list(gateways), to: more.pop("rules")}
    return a("VirtualService", name, spec, **more)


def request(conn: Connection | None = None, **asked: Any) -> Connection:
    """What the application of a pod of the mesh sends to the gateway, or what is put into `conn`."""
    made = replace(by_application(Request(**asked), None), source="10.0.0.5")
    return made if conn is None else replace(conn, request=made.request)


def mutual(sni: str, **asked: Any) -> Connection:
    """What the proxy of a pod sends through the mesh's mutual TLS."""
    who = "spiffe://cluster.local/ns/shop/sa/client"
    given = {"source": "10.0.0.5", "sender": None, "layer": "mtls", "by_proxy": True}
    return Connection(request=Request(**asked), sni=sni, principal=who, **given)  # type: ignore[arg-type]


def at(place: Scene, conn: Connection, port: int = 80) -> Decision:
    return gateway_resources.decide(place, place.station(place.pods[1]), port, conn)


def ask(
    *objects: dict[str, Any], port: int = 80, services: Any = (WEB, RAW), own: Any = GATEWAY_POD, **asked: Any
) -> Decision:
    conn = asked.pop("conn", None) or request(**asked)
    return at(scene(*objects, services=services, pods=(own,)), conn, port)


def status(decision: Decision) -> int | str | None:
    """The gateway's own answer; the flags where it closes the connection, None where it sends on."""
    assert not decision.undecided
    refusal = decision.refusal
    return None if refusal is None else (refusal.status or refusal.flags or refusal.cause)


class TestPolicies:
    RULES = rules("v", "*", rules=[route("web", 80)])
    ADMIN: ClassVar[dict[str, Any]] = {"action": "DENY", "rules": [{"to": [{"operation": {"paths": ["/admin*"]}}]}]}

    def policy(self, namespace: str = "istio-system", **spec: Any) -> dict[str, Any]:
        return a("AuthorizationPolicy", "p", {**self.ADMIN, **spec}, namespace)

    @pytest.mark.parametrize(
        ("path", "namespace", "spec", "answer"),
        [
            ("/admin/x", "istio-system", {}, 403),
            ("/admin/x", "istio-system", {"selector": {"matchLabels": {"app": "gw"}}}, 403),
            ("/admin/x", "istio-system", {"selector": {"matchLabels": {"app": "other"}}}, None),
            ("/admin/x", "shop", {}, None),
            ("/x", "istio-system", {}, None),
            ("/x", "istio-system", {"action": "ALLOW"}, 403),
        ],
    )
    def test_by_selector(self, path: str, namespace: str, spec: Any, answer: int | None) -> None:
        found = ask(gateway(HTTP), self.RULES, self.policy(namespace, **spec), host="a.com", path=path)
        assert status(found) == answer

    @pytest.mark.parametrize(
        ("ref", "answer"),
        [
            ({"name": "gw"}, 403),
            ({"name": "other"}, None),
            ({"name": "gw", "namespace": "other"}, None),
            ({"name": "gw", "kind": "Service", "group": ""}, None),
        ],
    )
    @pytest.mark.parametrize("key", ["targetRefs", "targetRef"])
    def test_by_the_gateway_that_they_target(self, key: str, ref: Any, answer: int | None) -> None:
        whole = {"group": "gateway.networking.k8s.io", "kind": "Gateway", **ref}
        spec: dict[str, Any] = {key: [whole] if key == "targetRefs" else whole}
        policy = self.policy(**spec)
        for label in ("gateway.networking.k8s.io/gateway-name", "istio.io/gateway-name"):
            own = pod("gw", "10.0.0.9", "istio-system", **{label: "gw"})
            assert status(ask(gateway(HTTP), self.RULES, policy, own=own, host="a.com", path="/admin")) == answer
        assert status(ask(gateway(HTTP), self.RULES, policy, host="a.com", path="/admin")) is None

    def test_they_come_before_the_route(self) -> None:
        redirects = {**HTTP, "tls": {"httpsRedirect": True}}
        for objects in ((gateway(HTTP),), (gateway(redirects), self.RULES)):
            assert status(ask(*objects, self.policy(), host="a.com", path="/admin")) == 403

    def test_tokens(self) -> None:
        check = a("RequestAuthentication", "r", {"jwtRules": [{"issuer": "x", "jwks": '{"keys":[]}'}]}, "istio-system")
        need = self.policy(action="ALLOW", rules=[{"from": [{"source": {"requestPrincipals": ["*"]}}]}])
        asked: dict[str, Any] = {"host": "a.com", "headers": (("authorization", "Bearer not.a.token"),)}
        assert status(ask(gateway(HTTP), self.RULES, check, need, host="a.com")) == 403
        assert status(ask(gateway(HTTP), self.RULES, check, **asked)) == 401
        assert status(ask(gateway(HTTP), self.RULES, check, host="a.com")) is None

    def test_tokens_that_are_checked_for_the_gateway_alone(self) -> None:
        ref = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gw"}
        spec = {"targetRefs": [ref], "jwtRules": [{"issuer": "x", "jwks": '{"keys":[]}'}]}
        check = a("RequestAuthentication", "r", spec, "istio-system")
        own = pod("gw", "10.0.0.9", "istio-system", **{"gateway.networking.k8s.io/gateway-name": "gw"})
        asked: dict[str, Any] = {"host": "a.com", "headers": (("authorization", "Bearer not.a.token"),)}
        assert status(ask(gateway(HTTP), self.RULES, check, own=own, **asked)) == 401
        assert status(ask(gateway(HTTP), self.RULES, check, **asked)) is None

    def test_proxies_before_the_gateway_may_know_the_client(self) -> None:
        policy = self.policy(rules=[{"from": [{"source": {"remoteIpBlocks": ["10.0.0.0/8"]}}]}])
        place = scene(gateway(HTTP), self.RULES, policy, pods=(GATEWAY_POD,))
        place.mesh = replace(place.mesh, config=MeshConfig(trusted_proxies=1))
        assert at(place, request(host="a.com")).undecided
        own = pod("gw", "10.0.0.9", "istio-system")
        own["metadata"]["annotations"] = {"proxy.istio.io/config": '{"gatewayTopology":{"numTrustedProxies":1}}'}
        assert ask(gateway(HTTP), self.RULES, policy, own=own, host="a.com").undecided

    @pytest.mark.parametrize(("blocks", "answer"), [("10.0.0.0/8", 403), ("192.0.2.0/24", None)])
    def test_the_client_is_who_opened_the_connection_whatever_it_says(self, blocks: str, answer: int | None) -> None:
        policy = self.policy(rules=[{"from": [{"source": {"remoteIpBlocks": [blocks]}}]}])
        asked: dict[str, Any] = {"host": "a.com", "headers": (("x-forwarded-for", "192.0.2.7"),)}
        assert status(ask(gateway(HTTP), self.RULES, policy, **asked)) == answer

    def test_the_next_proxy_is_told_who_the_client_is(self) -> None:
        sent = ask(gateway(HTTP), self.RULES, host="a.com", headers=(("x-forwarded-for", "192.0.2.7"),)).forwarded
        assert sent is not None
        assert dict(sent.headers)["x-forwarded-for"] == "192.0.2.7,10.0.0.5"
        sent = ask(gateway(HTTP), self.RULES, conn=by_application(Request(host="a.com"), None)).forwarded
        assert sent is not None
        assert "x-forwarded-for" in sent.unsure

    def test_of_a_client_outside_the_address_is_not_known(self) -> None:
        policy = self.policy(rules=[{"from": [{"source": {"remoteIpBlocks": ["10.0.0.0/8"]}}]}])
        conn = by_application(Request(host="a.com"), None)
        assert ask(gateway(HTTP), self.RULES, policy, conn=conn).undecided

    def test_a_connection_that_is_not_http_is_closed(self) -> None:
        policy = self.policy(rules=[{"to": [{"operation": {"ports": ["443"]}}]}])
        tcp = rules("t", "*", to="tcp", rules=[route("raw", 90)])
        found = ask(gateway(server("TCP", "*")), tcp, policy, port=443, protocol="tcp")
        assert (found.tcp, status(found)) == (True, "policy")
        assert clusters(ask(gateway(server("TCP", "*")), tcp, port=443, protocol="tcp")) == ["outbound|90||raw.shop"]

    def test_policies_that_could_not_be_read_decide_nothing(self) -> None:
        place = scene(gateway(HTTP), self.RULES, pods=(GATEWAY_POD,))
        place.unread = frozenset({"authorizationpolicies"})
        assert at(place, request(host="a.com")).undecided


class TestMutualTls:
    EGRESS = gateway(server("HTTPS", "db.internal", mode="ISTIO_MUTUAL"))
    RULES = rules("v", "db.internal", rules=[route("web", 80)])

    def test_the_mesh_s_own_ends_at_the_gateway(self) -> None:
        found = ask(self.EGRESS, self.RULES, port=443, conn=mutual("db.internal", host="db.internal"))
        assert (status(found), clusters(found), found.terminated) == (None, ["outbound|80||web.shop"], True)

    def test_what_else_is_refused(self) -> None:
        named = "outbound_.443_._.gw.istio-system.svc.cluster.local"
        assert status(ask(self.EGRESS, self.RULES, port=443, conn=mutual(named, host="db.internal"))) == "NR"
        assert status(ask(self.EGRESS, self.RULES, port=443, host="db.internal")) == "NR"
        found = ask(self.EGRESS, self.RULES, port=443, host="db.internal", tls=True).refusal
        assert found is not None
        assert (found.kind, found.late) == ("handshake", True)

    def test_who_calls_is_known_to_the_policies(self) -> None:
        spec = {"action": "ALLOW", "rules": [{"from": [{"source": {"namespaces": ["shop"]}}]}]}
        policy = a("AuthorizationPolicy", "p", spec, "istio-system")
        conn = mutual("db.internal", host="db.internal")
        assert status(ask(self.EGRESS, self.RULES, policy, port=443, conn=conn)) is None
        secure = gateway(server("HTTPS", "db.internal", mode="SIMPLE"))
        assert status(ask(secure, self.RULES, policy, port=443, host="db.internal", tls=True)) == 403

    def test_the_application_s_own_tls_inside_goes_on(self) -> None:
        tcp = rules("t", "db.internal", to="tcp", rules=[route("raw", 90)])
        through = gateway(server("TLS", "db.internal", mode="ISTIO_MUTUAL"))
        found = ask(through, tcp, port=443, conn=mutual("db.internal", host="db.internal", tls=True))
        assert clusters(found) == ["outbound|90||raw.shop"]
        assert found.forwarded is not None
        assert found.forwarded.tls
        inner = ask(self.EGRESS, self.RULES, port=443, conn=mutual("db.internal", host="db.internal", tls=True))
        assert status(inner) == 400

    def test_where_it_cannot_be_told_who_ends_it(self) -> None:
        for mode in ("SIMPLE", "PASSTHROUGH"):
            tls = rules("t", "db.internal", to="tls", rules=[route("raw", 90, match=[{"sniHosts": ["db.internal"]}])])
            objects = (gateway(server("HTTPS", "db.internal", mode=mode)), self.RULES, tls)
            assert ask(*objects, port=443, conn=mutual("db.internal", host="db.internal")).undecided


class TestClientCertificates:
    RULES = rules("v", "a.com", rules=[route("web", 80)])

    @pytest.mark.parametrize(
        ("mode", "refused"), [("SIMPLE", False), ("OPTIONAL_MUTUAL", False), ("MUTUAL", True), ("ISTIO_MUTUAL", True)]
    )
    def test_a_client_without_one(self, mode: str, refused: bool) -> None:
        found = ask(gateway(server("HTTPS", "a.com", mode=mode)), self.RULES, port=443, host="a.com", tls=True)
        assert found.undecided == ()
        assert (found.refusal is not None) is refused
        if found.refusal is not None:
            assert (found.refusal.kind, found.refusal.late) == ("handshake", True)
            assert found.refusal.status is None

    @pytest.mark.parametrize("mode", ["MUTUAL", "ISTIO_MUTUAL"])
    def test_whose_certificates_are_trusted_is_not_known(self, mode: str) -> None:
        shown = Tls(certificates=("/etc/c.pem",), trust="", sans=(), versions=("", ""), origin=NOWHERE)
        conn = replace(request(host="a.com", tls=True), tls=shown)
        found = ask(gateway(server("HTTPS", "a.com", mode=mode)), self.RULES, port=443, conn=conn)
        assert "/etc/c.pem" in found.undecided[0]

    @pytest.mark.parametrize("mode", ["SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL"])
    def test_nor_whether_the_mesh_s_is(self, mode: str) -> None:
        objects = (gateway(server("HTTPS", "a.com", mode=mode)), self.RULES)
        assert ask(*objects, port=443, conn=mutual("a.com", host="a.com")).undecided


class TestAutoPassthrough:
    GATE = gateway(server("TLS", "*.shop.svc.cluster.local", mode="AUTO_PASSTHROUGH", port=15443))
    HOST = "web.shop.svc.cluster.local"
    SUBSET = a("DestinationRule", "d", {"host": HOST, "subsets": [{"name": "v1", "labels": {}}]})

    def ask(self, name: str, *objects: dict[str, Any], **more: Any) -> Decision:
        return ask(self.GATE, *objects, port=15443, services=(WEB, FAR), conn=mutual(name), **more)

    @pytest.mark.parametrize("name", ["a.com", f"outbound_.80_._.{HOST}", f"outbound_.80_.v1_.{HOST}", HOST])
    def test_other_tls_is_refused_whatever_its_name(self, name: str) -> None:
        conn = replace(request(host="a.com", tls=True), sni=name)
        assert status(ask(self.GATE, self.SUBSET, port=15443, conn=conn)) == "NR"
        assert status(ask(self.GATE, port=15443, host="a.com")) == "NR"

    @pytest.mark.parametrize(
        ("name", "there"),
        [
            (f"outbound_.80_._.{HOST}", True),
            (f"outbound_.80_.v1_.{HOST}", True),
            (f"outbound_.80_.v2_.{HOST}", False),
            (f"outbound_.99_._.{HOST}", False),
            ("outbound_.80_._.far.other.svc.cluster.local", False),
            ("outbound_.80_._.gone.shop.svc.cluster.local", False),
            ("a.com", False),
        ],
    )
    def test_the_mesh_s_own_goes_to_the_cluster_it_names(self, name: str, there: bool) -> None:
        found = self.ask(name, self.SUBSET)
        if there:
            assert name in found.undecided[0]
        else:
            assert status(found) == "NR"

    def test_beside_other_servers(self) -> None:
        both = gateway(
            server("TLS", "*.shop.svc.cluster.local", mode="AUTO_PASSTHROUGH"), server("HTTPS", "a.com", mode="SIMPLE")
        )
        web = rules("v", "a.com", rules=[route("web", 80)])
        assert clusters(ask(both, web, port=443, host="a.com", tls=True)) == ["outbound|80||web.shop"]

    def test_entries_are_among_them_where_they_are_of_the_mesh(self) -> None:
        ports = [{"number": 80, "name": "http", "protocol": "HTTP"}]
        for location, there in (("MESH_INTERNAL", True), ("MESH_EXTERNAL", False)):
            spec = {"hosts": ["x.shop.svc.cluster.local"], "ports": ports, "location": location, "resolution": "STATIC"}
            found = self.ask("outbound_.80_._.x.shop.svc.cluster.local", a("ServiceEntry", "x", spec))
            assert bool(found.undecided) is there

    def test_what_was_not_recorded(self) -> None:
        everywhere = gateway(server("TLS", "*.svc.cluster.local", mode="AUTO_PASSTHROUGH"))
        place = scene(everywhere, services=(WEB,), pods=(GATEWAY_POD,))
        place.recorded = ("shop", "istio-system")
        far = "outbound_.80_._.far.other.svc.cluster.local"
        assert "was not recorded" in at(place, mutual(far), 443).undecided[0]
        place.recorded = ()
        assert status(at(place, mutual(far), 443)) == "NR"


class TestBinds:
    RULES = rules("v", "*", rules=[route("web", 80)])

    def ask(self, *binds: str, address: str = "10.0.0.9", host_network: bool = False) -> Decision:
        """Servers with these addresses; the second one and later have no rules."""
        own = pod("gw", "10.0.0.9", "istio-system")
        own["spec"]["hostNetwork"] = host_network
        made = [
            gateway({**HTTP, "bind": bind}, name=f"g{number}", created=str(number)) for number, bind in enumerate(binds)
        ]
        only = rules("v", "*", gateways=["istio-system/g0"], rules=[route("web", 80)])
        place = scene(*made, only, services=(WEB,), pods=(own,))
        return gateway_resources.decide(place, place.station(place.pods[1]), 80, request(host="a.com"), address)

    @pytest.mark.parametrize("bind", ["", "0.0.0.0", "10.0.0.9"])
    def test_an_address_that_is_reached(self, bind: str) -> None:
        assert status(self.ask(bind)) is None

    @pytest.mark.parametrize("bind", ["127.0.0.1", "::", "10.0.0.7", "unix:///var/run/gw.sock"])
    def test_an_address_that_is_not(self, bind: str) -> None:
        found = self.ask(bind).refusal
        assert found is not None
        assert found.details == "no_listener"
        assert bind in found.why

    def test_each_address_has_a_listener_of_its_own(self) -> None:
        assert status(self.ask("", "127.0.0.1")) is None
        assert status(self.ask("127.0.0.1", "")) == 404
        assert status(self.ask("", "10.0.0.9")) == 404
        assert status(self.ask("10.0.0.9", "")) is None
        assert self.ask("", "0.0.0.0").undecided

    def test_a_node_may_have_more_addresses(self) -> None:
        assert self.ask("192.0.2.7", host_network=True).undecided
        assert not self.ask("127.0.0.1", host_network=True).undecided

    def test_a_port_that_begins_with_tls_has_nothing_plain(self) -> None:
        secure = gateway({**server("HTTPS", "a.com", mode="SIMPLE"), "bind": "127.0.0.1"}, name="g0", created="0")
        plain = gateway({**HTTP, "port": {**HTTP["port"], "number": 443}, "bind": "10.0.0.9"}, created="1")
        found = ask(secure, plain, rules("v", "*", rules=[route("web", 80)]), port=443, host="a.com").refusal
        assert found is not None
        assert found.details == "no_listener"


class TestNames:
    PASS: ClassVar[dict[str, Any]] = {"match": [{"sniHosts": ["db.example.com"]}]}

    def test_the_most_specific_name_wins(self) -> None:
        both = gateway(
            server("HTTPS", "*.example.com", mode="SIMPLE"), server("TLS", "db.example.com", mode="PASSTHROUGH")
        )
        http = rules("v", "*.example.com", rules=[route("web", 80)])
        tls = rules("t", "db.example.com", to="tls", rules=[route("raw", 90, **self.PASS)])
        found = ask(both, http, tls, port=443, host="db.example.com", tls=True)
        assert (found.tcp, clusters(found)) == (True, ["outbound|90||raw.shop"])
        assert clusters(ask(both, http, tls, port=443, host="web.example.com", tls=True)) == ["outbound|80||web.shop"]

    def test_of_all_virtual_services_too(self) -> None:
        through = gateway(server("TLS", "*.example.com", mode="PASSTHROUGH"))
        wide = [route("web", 80, match=[{"sniHosts": ["*.example.com"]}])]
        old = rules("a", "*.example.com", to="tls", rules=wide, created="2026-01-01")
        young = rules("b", "db.example.com", to="tls", rules=[route("raw", 90, **self.PASS)], created="2026-02-02")
        asked = {"port": 443, "tls": True}
        assert clusters(ask(through, old, young, host="db.example.com", **asked)) == ["outbound|90||raw.shop"]
        assert clusters(ask(through, old, young, host="x.example.com", **asked)) == ["outbound|80||web.shop"]
        assert status(ask(through, young, host="x.example.com", **asked)) == "NR"

    def test_two_chains_for_one_name_are_no_listener(self) -> None:
        both = gateway(server("HTTPS", "*.example.com", mode="SIMPLE"), server("TLS", "*", mode="PASSTHROUGH"))
        tls = rules("t", "*", to="tls", rules=[route("raw", 90, match=[{"sniHosts": ["*.example.com"]}])])
        assert "several filter chains" in ask(both, tls, port=443, host="x.example.com", tls=True).undecided[0]

    def test_servers_that_end_tls_share_no_hosts(self) -> None:
        one = gateway(server("HTTPS", "a.com", mode="SIMPLE"), name="g1")
        two = gateway(server("HTTPS", "*", mode="SIMPLE"), name="g2")
        mine = rules(
            "v1", "a.com", gateways=["istio-system/g1"], rules=[route("web", 80, match=[{"uri": {"exact": "/"}}])]
        )
        other = rules("v2", "a.com", gateways=["istio-system/g2"], rules=[route("raw", 90)])
        assert status(ask(one, two, mine, other, port=443, host="a.com", path="/other", tls=True)) == 404
        assert clusters(ask(one, two, mine, other, port=443, host="a.com", tls=True)) == ["outbound|80||web.shop"]

    def test_bytes_of_tls_go_through_a_server_for_tcp(self) -> None:
        tcp = rules("t", "*", to="tcp", rules=[route("raw", 90)])
        found = ask(gateway(server("TCP", "*")), tcp, port=443, host="a.com", tls=True)
        assert (clusters(found), found.terminated) == (["outbound|90||raw.shop"], False)
        assert found.forwarded is not None
        assert found.forwarded.tls


class TestMerging:
    def test_the_oldest_gateway_says_what_a_port_is(self) -> None:
        plain = gateway({**HTTP, "port": {**HTTP["port"], "number": 443}}, name="g1", created="2026-01-01")
        secure = gateway(server("HTTPS", "a.com", mode="SIMPLE"), name="g2", created="2026-02-02")
        both = rules("v", "a.com", gateways=["istio-system/g1", "istio-system/g2"], rules=[route("web", 80)])
        assert status(ask(plain, secure, both, port=443, host="a.com", tls=True)) == "DPE"
        assert status(ask(plain, secure, both, port=443, host="a.com")) is None
        plain["metadata"]["creationTimestamp"] = "2026-03-03"
        assert status(ask(plain, secure, both, port=443, host="a.com", tls=True)) is None
        assert status(ask(plain, secure, both, port=443, host="a.com")) == "NR"

    def test_a_host_twice_leaves_the_younger_server_out(self) -> None:
        one = gateway(server("HTTPS", "a.com", mode="SIMPLE"), name="g1", created="2026-01-01")
        two = gateway(server("HTTPS", "a.com", "b.com", mode="SIMPLE"), name="g2", created="2026-02-02")
        assert status(ask(one, two, port=443, host="b.com", tls=True)) == "NR"

    def test_a_service_says_which_port_is_meant(self) -> None:
        own = service("gw", "10.96.0.9", (80, "http"), namespace="istio-system")
        own["spec"]["ports"][0]["targetPort"] = 8080
        objects = (gateway(HTTP), rules("v", "*", rules=[route("web", 80)]))
        assert status(ask(*objects, services=(WEB, own), port=8080, host="a.com")) is None
        closed = ask(*objects, services=(WEB, own), port=80, host="a.com").refusal
        assert closed is not None
        assert closed.details == "no_listener"


class TestHosts:
    @pytest.mark.parametrize(
        ("host", "namespace", "answer"),
        [
            ("shop/*", "shop", None),
            ("other/*", "shop", 404),
            ("./*", "shop", 404),
            ("./*", "istio-system", None),
            ("*/*", "shop", None),
            ("*/a.com", "shop", None),
            ("shop/b.com", "shop", 404),
        ],
    )
    def test_a_server_s_hosts_may_be_for_one_namespace(self, host: str, namespace: str, answer: int | None) -> None:
        found = ask(
            gateway({**HTTP, "hosts": [host]}),
            rules("v", "a.com", rules=[route("web.shop.svc.cluster.local", 80)], namespace=namespace),
            host="a.com",
        )
        assert status(found) == answer

    def test_hosts_in_common_are_put_together(self) -> None:
        """The older one's rules for ``*.example.com`` are for the server's only host, too."""
        wide = rules("a", "*.example.com", rules=[route("raw", 90, match=[{"uri": {"prefix": "/raw"}}])], created="1")
        narrow = rules("b", "a.example.com", rules=[route("web", 80)], created="2")
        objects = (gateway({**HTTP, "hosts": ["a.example.com"]}), wide, narrow)
        assert clusters(ask(*objects, host="a.example.com", path="/raw")) == ["outbound|90||raw.shop"]
        assert clusters(ask(*objects, host="a.example.com", path="/")) == ["outbound|80||web.shop"]

    def test_what_fits_all_ends_its_own_rules_and_comes_last(self) -> None:
        every = route("web", 80, match=[{"uri": {"prefix": "/"}}])
        hidden = route("raw", 90, match=[{"uri": {"prefix": "/x"}}])
        one = rules("a", "*", rules=[every, hidden], created="1")
        two = rules("b", "*", rules=[route("raw", 90, match=[{"uri": {"prefix": "/y"}}])], created="2")
        assert clusters(ask(gateway(HTTP), one, two, host="a.com", path="/x")) == ["outbound|80||web.shop"]
        assert clusters(ask(gateway(HTTP), one, two, host="a.com", path="/y")) == ["outbound|90||raw.shop"]

    def test_delegates_bring_their_rules(self) -> None:
        root = rules(
            "root", "*", rules=[{"match": [{"uri": {"prefix": "/a"}}], "delegate": {"name": "part"}}], created="1"
        )
        part = a("VirtualService", "part", {"http": [route("raw", 90)]})
        other = rules("b", "*", rules=[route("web", 80)], created="2")
        assert clusters(ask(gateway(HTTP), root, part, other, host="a.com", path="/a/b")) == ["outbound|90||raw.shop"]
        assert clusters(ask(gateway(HTTP), root, part, other, host="a.com", path="/b")) == ["outbound|80||web.shop"]

    @pytest.mark.parametrize(("hosts", "told"), [("shop/*", True), ("*", False)])
    def test_what_was_not_recorded_counts_where_it_could_have_rules(self, hosts: str, told: bool) -> None:
        place = scene(gateway({**HTTP, "hosts": [hosts]}), pods=(GATEWAY_POD,))
        place.recorded = ("shop", "istio-system")
        found = at(place, request(host="a.com"))
        assert bool(found.undecided) is not told
        assert not told or status(found) == 404

    def test_names_in_tls_and_bytes_may_be_for_gateways_that_were_not_recorded(self) -> None:
        secure, raw = gateway(server("HTTPS", "a.com", mode="SIMPLE")), gateway(server("TCP", "*", port=90))
        place = scene(secure, raw, services=(WEB, RAW), pods=(GATEWAY_POD,))
        for conn, port in ((request(host="b.com", tls=True), 443), (request(protocol="tcp"), 90)):
            place.recorded = ("shop", "istio-system")
            assert "what namespace other has was not recorded" in at(place, conn, port).undecided[0]
            place.recorded = ()
            assert status(at(place, conn, port)) == "NR"

    def test_the_mesh_s_own_retries(self) -> None:
        place = scene(gateway(HTTP), rules("v", "*", rules=[route("web", 80)]), pods=(GATEWAY_POD,))
        place.mesh = replace(place.mesh, config=MeshConfig(retries=Retries(0)))
        assert at(place, request(host="a.com")).retry is None

    def test_a_redirect_is_of_one_host(self) -> None:
        secure = {**HTTP, "hosts": ["a.com"], "tls": {"httpsRedirect": True}}
        objects = (
            gateway(secure, {**HTTP, "hosts": ["b.com"]}),
            rules("v", "a.com", "b.com", rules=[route("web", 80)]),
        )
        assert [status(ask(*objects, host=host)) for host in ("a.com", "b.com", "c.com")] == [301, None, 404]

    def test_rules_for_another_gateway_are_not_there(self) -> None:
        only = route("web", 80, match=[{"gateways": ["mesh"]}])
        exact = rules("a", "a.com", rules=[only], created="1")
        wide = rules("b", "*", rules=[route("raw", 90)], created="2")
        assert clusters(ask(gateway(HTTP), exact, wide, host="a.com")) == ["outbound|90||raw.shop"]


@pytest.mark.parametrize("port", [15021, 15090])
def test_listeners_of_its_own(port: int) -> None:
    assert "its proxy has a listener of its own there" in ask(gateway(HTTP), port=port).undecided[0]


@pytest.mark.parametrize(
    ("line", "open_"),
    [
        ('tcp LISTEN 0 128 0.0.0.0:9000 0.0.0.0:* users:(("envoy",pid=3,fd=3))', True),
        ("tcp LISTEN 0 128 0.0.0.0:9000 0.0.0.0:*", True),
        ('tcp LISTEN 0 128 0.0.0.0:9000 0.0.0.0:* users:(("pilot-agent",pid=3,fd=3))', False),
        ('tcp LISTEN 0 128 127.0.0.1:9000 0.0.0.0:* users:(("envoy",pid=3,fd=3))', False),
        ('tcp LISTEN 0 128 0.0.0.0:80 0.0.0.0:* users:(("envoy",pid=3,fd=3))', False),
    ],
)
def test_a_socket_of_the_proxy_that_no_gateway_asks_for(line: str, open_: bool) -> None:
    place = scene(gateway(HTTP), pods=(GATEWAY_POD,))
    station = replace(place.station(place.pods[1]), sockets=netns.sockets(line))
    for address in ("", "10.0.0.9"):
        found = gateway_resources.decide(place, station, 9000, request(), address)
        assert ("but its proxy listens there" in " ".join(found.undecided)) is open_
        assert (found.refusal is None) is open_

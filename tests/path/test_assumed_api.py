"""The Gateway API at a gateway whose configuration was not recorded: each case is what istiod makes of it."""

from dataclasses import replace
from typing import Any

import pytest

from meshctl.istio import api_routes
from meshctl.path import client
from meshctl.path.decision import Decision
from meshctl.path.gateway_resources import decide
from meshctl.path.model import Request
from meshctl.path.scene import Scene
from meshctl.path.wire import Connection, by_application
from tests.path.test_assumed import FAR, PLURALS, RAW, WEB, a, clusters, pod, scene, service

NAMED = "gateway.networking.k8s.io/gateway-name"
POD = pod("gw", "10.0.0.9", **{NAMED: "gw"})
LISTENER = {"name": "web", "port": 80, "protocol": "HTTP"}
ALL = {"allowedRoutes": {"namespaces": {"from": "All"}}}


def gateway(*listeners: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return a("ApiGateway", "gw", {"gatewayClassName": "istio", "listeners": list(listeners or (LISTENER,)), **spec})


def to(name: str, port: int = 80, *matches: Any, **more: Any) -> dict[str, Any]:
    return {"matches": list(matches), "backendRefs": [{"name": name, "port": port}], **more}


def at(kind: str, value: str) -> dict[str, Any]:
    return {"path": {"type": kind, "value": value}}


def route(
    *rules: Any, kind: str = "HTTPRoute", parent: Any = None, namespace: str = "shop", **spec: Any
) -> dict[str, Any]:
    refs = [{"name": "gw", "namespace": "shop", **(parent or {})}]
    return a(kind, "r", {"parentRefs": refs, "rules": list(rules), **spec}, namespace)


def place(*objects: dict[str, Any], own: Any = POD, services: Any = (WEB, RAW, FAR), more: Any = None) -> Scene:
    made = scene(*objects, services=services, pods=(own,))
    if more is not None:
        kinds: dict[str, Any] = {plural: ("", []) for plural in PLURALS.values()}
        for each in objects:
            kinds[PLURALS[each["kind"]]][1].append(each)
        made.mesh = replace(made.mesh, api=api_routes.convert({**kinds, **more}))
    return made


def conn(**asked: Any) -> Connection:
    return by_application(Request(host=asked.pop("host", "x.example.com"), **asked), None)


def ask(
    *objects: dict[str, Any], own: Any = POD, services: Any = (WEB, RAW, FAR), more: Any = None, **asked: Any
) -> Decision:
    scenery, port = place(*objects, own=own, services=services, more=more), asked.pop("port", 80)
    return decide(scenery, scenery.station(scenery.pods[1]), port, conn(**asked))


def status(decision: Decision) -> int | None:
    assert not decision.undecided
    return decision.refusal.status if decision.refusal is not None else None


class TestRules:
    @pytest.mark.parametrize(
        ("path", "found"),
        [
            ("/api/v1/x", "web"),  # a prefix comes before any expression, however long that is
            ("/exact", "raw"),
            ("/long/er/x", "raw"),
        ],
    )
    def test_exact_paths_come_first_then_prefixes_then_expressions(self, path: str, found: str) -> None:
        rules = route(
            to("raw", 90, at("RegularExpression", "/api/v[0-9]+/x"), at("PathPrefix", "/long/er")),
            to("web", 80, at("PathPrefix", "/api"), at("PathPrefix", "/exact"), at("PathPrefix", "/long")),
            to("raw", 90, at("Exact", "/exact")),
        )
        assert clusters(ask(gateway(), rules, path=path))[0].endswith(f"||{found}.shop")

    @pytest.mark.parametrize(
        ("prefix", "new", "path", "sent"),
        [
            ("/foo", "/", "/foo/bar", "/bar"),
            ("/foo", "/", "/foo", "/"),
            ("/foo", "/", "/foo/bar?a=/foo", "/bar?a=/foo"),
            ("/foo/", "/xyz/", "/foo/bar", "/xyz/bar"),
            ("/foo", "/xyz", "/foo", "/xyz"),
            ("/", "/", "/foo", "/foo"),
            ("/", "/xyz", "/foo", "/xyzfoo"),  # as the matched prefix is the slash alone
            ("/a.b", "/", "/a.b/c", "/c"),
        ],
    )
    def test_a_replaced_prefix(self, prefix: str, new: str, path: str, sent: str) -> None:
        rewrite = {
            "type": "URLRewrite",
            "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": new}},
        }
        found = ask(gateway(), route(to("web", 80, at("PathPrefix", prefix), filters=[rewrite])), path=path).forwarded
        assert found is not None
        assert found.path == sent

    @pytest.mark.parametrize(("names", "answers"), [(("nosuch",), {500}), (("nosuch", "web"), {500, 503})])
    def test_a_backend_that_is_not_there(self, names: tuple[str, ...], answers: set[int]) -> None:
        """503 is for the Service that is there and has no endpoints."""
        refs = [{"name": name, "port": 80} for name in names]
        scenery = place(gateway(), route({"backendRefs": refs}))
        found = client.through_proxy(scenery, scenery.station(scenery.pods[1]), "gateway", "10.0.0.9", 80, conn())
        assert {course.end.status for course in found.courses} == answers

    @pytest.mark.parametrize(
        ("rule", "timeout", "tries"),
        [
            ({"timeouts": {"backendRequest": "3s"}}, 3.0, (2, None)),
            ({"timeouts": {"request": "5s", "backendRequest": "3s"}}, 3.0, (2, None)),
            ({"timeouts": {"request": "5s", "backendRequest": "3s"}, "retry": {}}, 5.0, (2, 3.0)),
            ({"timeouts": {"request": "0s"}}, None, (2, None)),
            ({"retry": {"attempts": 0}}, None, None),
            ({"retry": {"attempts": 4}}, None, (4, None)),
        ],
    )
    def test_timeouts_and_retries(self, rule: Any, timeout: float | None, tries: Any) -> None:
        found = ask(gateway(), route({**to("web"), **rule}))
        assert found.timeout_s == timeout
        assert (found.retry and (found.retry.attempts, found.retry.per_try_timeout_s)) == tries

    def test_what_is_tried_again(self) -> None:
        found = ask(gateway(), route(to("web", retry={"codes": [500, 503]}))).retry
        assert found is not None
        assert found.status_codes == (500, 503)
        assert found.on == ("connect-failure", "refused-stream", "unavailable", "cancelled", "retriable-status-codes")

    def test_rules_are_named(self) -> None:
        rules = route(to("raw", 90, at("Exact", "/x")), to("web"), {**to("web", 80, at("Exact", "/y")), "name": "mine"})
        assert [ask(gateway(), rules, path=path).route for path in ("/x", "/", "/y")] == [
            "shop.r.0",
            "shop.r.1",
            "mine",
        ]

    def test_changed_headers(self) -> None:
        change = {
            "set": [{"name": "X-Env", "value": "prod"}, {"name": "x-env", "value": "late"}],
            "add": [{"name": "x-more", "value": "1"}],
            "remove": ["X-Old"],
        }
        modify = {"type": "RequestHeaderModifier", "requestHeaderModifier": change}
        whole = route(to("web", filters=[modify]))
        backend = route({"backendRefs": [{"name": "web", "port": 80, "filters": [modify]}]})
        for rules in (whole, backend):
            found = ask(gateway(), rules, headers=(("x-env", "dev"), ("x-old", "1"))).forwarded
            assert found is not None
            headers = dict(found.headers)
            assert (headers["x-env"], headers["x-more"]) == ("prod", "1")
            assert "x-old" not in headers


class TestAttachment:
    @pytest.mark.parametrize(
        ("labels", "answer"), [({"shared": "yes"}, None), ({"shared": "no"}, 404), ({}, 404), (None, "unknown")]
    )
    def test_namespaces_by_their_labels(self, labels: Any, answer: Any) -> None:
        selector = {"matchExpressions": [{"key": "shared", "operator": "In", "values": ["yes"]}]}
        only = {**LISTENER, "allowedRoutes": {"namespaces": {"from": "Selector", "selector": selector}}}
        known = [] if labels is None else [{"metadata": {"name": "shop", "labels": labels}}]
        found = ask(gateway(only), route(to("web")), more={"namespaces": ("", known)})
        assert "unknown" if found.undecided else (status(found) == answer)
        assert bool(found.undecided) is (answer == "unknown")

    def test_of_a_namespace_that_is_not_listed_the_status_tells(self) -> None:
        only = {
            **LISTENER,
            "allowedRoutes": {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"a": "b"}}}},
        }
        taken = route(to("web"))
        conditions = [{"type": "Accepted", "status": "True"}]
        taken["status"] = {"parents": [{"parentRef": taken["spec"]["parentRefs"][0], "conditions": conditions}]}
        known = {"namespaces": ("", [{"metadata": {"name": "elsewhere"}}])}
        assert clusters(ask(gateway(only), taken, more=known)) == ["outbound|80||web.shop"]

    def test_a_namespace_may_be_chosen_by_its_name(self) -> None:
        selector = {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}
        only = {**LISTENER, "allowedRoutes": {"namespaces": {"from": "Selector", "selector": selector}}}
        known = {"namespaces": ("", [{"metadata": {"name": "shop"}}])}
        assert status(ask(gateway(only), route(to("web")), more=known)) is None

    def test_a_gateway_that_is_deployed_by_hand(self) -> None:
        plain, own = pod("ingress", "10.0.0.9"), service("ingress", "10.96.0.9", (80, "http"))
        own["spec"]["ports"][0]["targetPort"] = 8080
        services = (WEB, RAW, own)
        for name in ("ingress", "ingress.shop.svc.cluster.local"):
            manual = gateway(addresses=[{"type": "Hostname", "value": name}])
            found = ask(manual, route(to("web")), own=plain, services=services, port=8080)
            assert clusters(found) == ["outbound|80||web.shop"]
        other = gateway(addresses=[{"type": "Hostname", "value": "other"}])
        for elsewhere in (other, gateway(addresses=[{"type": "IPAddress", "value": "192.0.2.1"}])):
            closed = ask(elsewhere, route(to("web")), own=plain, services=services, port=8080).refusal
            assert closed is not None
            assert closed.details == "no_listener"

    def test_listeners_that_end_tls_have_their_own_routes(self) -> None:
        tls = {"protocol": "HTTPS", "port": 443, "tls": {"certificateRefs": [{"name": "c"}]}}
        both = gateway({**tls, "name": "one", "hostname": "a.example.com"}, {**tls, "name": "two"})
        second = route(to("web"), parent={"sectionName": "two"})
        asked = {"port": 443, "tls": True}
        assert status(ask(both, second, host="a.example.com", **asked)) == 404
        assert status(ask(both, second, host="b.example.com", **asked)) is None

    def test_a_host_belongs_to_the_most_specific_listener_of_the_port(self) -> None:
        """As the Gateway API's conformance test ``GatewayHTTPListenerIsolation`` has it."""
        names = ("", "*.example.com", "*.foo.example.com", "abc.foo.example.com")
        listeners = [
            {**LISTENER, "name": f"l{number}", **({"hostname": name} if name else {})}
            for number, name in enumerate(names)
        ]
        every = ["bar.com", *names[1:]]

        def of(number: int, *hosts: str) -> dict[str, Any]:
            rule = to("web", 80, at("PathPrefix", f"/l{number}"))
            made = route(rule, parent={"sectionName": f"l{number}"}, **({"hostnames": list(hosts)} if hosts else {}))
            return {**made, "metadata": {**made["metadata"], "name": f"r{number}"}}

        for given in ((), tuple(every)):
            routes = [of(number, *given) for number in range(4)]
            for host, mine in (
                ("bar.com", 0),
                ("bar.example.com", 1),
                ("bar.foo.example.com", 2),
                ("abc.foo.example.com", 3),
            ):
                found = [status(ask(gateway(*listeners), *routes, host=host, path=f"/l{n}")) for n in range(4)]
                assert found == [None if n == mine else 404 for n in range(4)], (given, host)
        elsewhere = [{**listeners[0]}, {**listeners[3], "port": 81}]
        assert status(ask(gateway(*elsewhere), of(0, *every), host=names[3], path="/l0")) is None

    def test_listeners_may_ask_for_the_mesh_s_mutual_tls(self) -> None:
        options = {"tls": {"mode": "Terminate", "options": {"gateway.istio.io/tls-terminate-mode": "ISTIO_MUTUAL"}}}
        found = ask(
            gateway({"name": "tls", "port": 443, "protocol": "HTTPS", **options}), route(to("web")), port=443, tls=True
        )
        assert found.refusal is not None
        assert found.refusal.kind == "handshake"


@pytest.mark.parametrize(
    ("said", "share"),
    [
        ({}, 100),
        ({"percent": 30}, 30),
        ({"fraction": {"numerator": 1, "denominator": 4}}, 25),
        ({"fraction": {"numerator": 5}}, 5),
    ],
)
def test_the_share_of_copies(said: dict[str, Any], share: int) -> None:
    copy = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "raw", "port": 90}, **said}}
    (found,) = place(gateway(), route(to("web", filters=[copy]))).mesh.api.routes
    assert [mirror.weight for mirror in found.http[0].mirrors] == [share]


GRANT = {
    "metadata": {"name": "g", "namespace": "other"},
    "spec": {
        "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "shop"}],
        "to": [{"group": "", "kind": "Service", "name": "far"}],
    },
}


class TestGrants:
    RULE = {"backendRefs": [{"name": "far", "namespace": "other", "port": 80}]}  # noqa: RUF012
    GRANTS = "referencegrants.gateway.networking.k8s.io"

    @pytest.mark.parametrize(
        ("change", "granted"),
        [
            (("to", {"name": "far"}), True),
            (("to", {"name": ""}), True),
            (("to", {"name": "near"}), False),
            (("to", {"kind": "Secret"}), False),
            (("from", {"namespace": "other"}), False),
            (("from", {"kind": "TCPRoute"}), False),
        ],
    )
    def test_backends_of_other_namespaces_need_one(self, change: tuple[str, Any], granted: bool) -> None:
        spec = {key: [dict(entries[0])] for key, entries in GRANT["spec"].items()}  # type: ignore[attr-defined]
        spec[change[0]][0] |= change[1]
        found = ask(gateway(), route(self.RULE), more={self.GRANTS: ("", [{**GRANT, "spec": spec}])})
        assert (clusters(found) == ["outbound|80||far.other"]) is granted
        assert granted or clusters(found) == ["outbound|80||"]  # a cluster that there is none of: 500

    def test_where_they_were_not_recorded_it_cannot_be_told(self) -> None:
        assert ask(gateway(), route(self.RULE)).undecided
        tcp = route(self.RULE, kind="TCPRoute")
        assert ask(gateway({"name": "t", "port": 90, "protocol": "TCP"}), tcp, port=90, protocol="tcp").options == ()

    def test_with_a_service_for_a_parent_they_need_none(self) -> None:
        parent = {"kind": "Service", "group": "", "name": "web", "port": 80}
        mesh = place(route(self.RULE, parent=parent)).mesh
        assert [d.host for r in mesh.api.routes for h in r.http for d in h.destinations] == [
            "far.other.svc.cluster.local"
        ]
        assert all(not match.other for r in mesh.api.routes for h in r.http for match in h.matches)

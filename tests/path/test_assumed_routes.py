"""What a sidecar does with routes where its configuration was not recorded: each case is what istiod makes of them."""

import json
from dataclasses import replace
from typing import Any

import pytest

from meshctl.istio.mesh_config import MeshConfig, Retries, parse
from meshctl.path import auto_mtls, policies, resources
from meshctl.path.decision import Decision
from meshctl.path.hosts import Host
from meshctl.path.model import Request
from meshctl.path.wire import Connection
from tests.path.test_assumed import FAR, RAW, WEB, a, ask, clusters, endpoints, pod, route, scene, service

GRPC = {"headers": (("content-type", "application/grpc"),)}


def virtual(*http: Any, **spec: Any) -> dict[str, Any]:
    return a("VirtualService", "web", {"hosts": ["web"], "http": list(http), **spec})


class TestFaults:
    @pytest.mark.parametrize(
        ("fault", "shares"),
        [
            ({"abort": {"httpStatus": 503}}, []),
            ({"abort": {"httpStatus": 503, "percentage": {}}}, []),
            ({"abort": {"httpStatus": 503, "percent": 50}}, []),  # was never read
            ({"abort": {"httpStatus": 503, "percentage": {"value": 12.5}}}, [0.125]),
            ({"delay": {"fixedDelay": "5s"}}, []),
            ({"delay": {"fixedDelay": "5s", "percentage": {}}}, []),
            ({"delay": {"fixedDelay": "5s", "percentage": {}, "percent": 50}}, []),
            ({"delay": {"fixedDelay": "5s", "percent": 50}}, [0.5]),
        ],
    )
    def test_without_a_percentage_nothing_is_injected(self, fault: Any, shares: list[float]) -> None:
        found = ask(scene(virtual(route("web", fault=fault))), "10.96.0.1", 80, "web")
        assert [one.share for one in found.injected] == shares

    @pytest.mark.parametrize(
        ("abort", "request_", "told"),
        [
            ({"grpcStatus": "UNAVAILABLE"}, GRPC, (200, 14)),
            ({"grpcStatus": "UNAVAILABLE"}, {}, (200, None)),
            ({"httpStatus": 418}, GRPC, (418, None)),
        ],
    )
    def test_a_grpc_status(self, abort: Any, request_: Any, told: tuple[int, int | None]) -> None:
        fault = {"abort": {**abort, "percentage": {"value": 100}}}
        found = ask(scene(virtual(route("web", fault=fault))), "10.96.0.1", 80, "web", **request_)
        assert [(one.status, one.grpc_status, one.flags) for one in found.injected] == [(*told, "FI")]

    @pytest.mark.parametrize("instead", [{"redirect": {"uri": "/x"}}, {"directResponse": {"status": 299}}])
    def test_faults_are_of_redirects_and_direct_answers_too(self, instead: Any) -> None:
        fault = {"abort": {"httpStatus": 503, "percentage": {"value": 12.5}}}
        found = ask(scene(virtual({**instead, "fault": fault})), "10.96.0.1", 80, "web")
        assert found.refusal is not None
        assert [(one.share, one.status) for one in found.injected] == [(0.125, 503)]


class TestWithheld:
    def test_a_secret_that_was_taken_out_of_a_rule_leaves_it_open(self) -> None:
        keyed = {"match": [{"headers": {"authorization": {"exact": "Bearer REDACTED"}}}], **route("other")}
        place = scene(virtual(keyed, route("web")))
        assert ask(place, "10.96.0.1", 80, "web", headers=(("authorization", "Bearer abc"),)).undecided
        for headers in ((), (("authorization", "Basic abc"),)):
            assert not ask(place, "10.96.0.1", 80, "web", headers=headers).undecided


def changes(**request: Any) -> dict[str, Any]:
    return {"headers": {"request": request}}


class TestHeaders:
    """A policy of the callee that looks at a header sees what the caller's proxy made of it."""

    def sent(self, *http: Any, **spec: Any) -> Request:
        found = ask(scene(virtual(*http, **spec)), "10.96.0.1", 80, "web", headers=(("X-A", "1"), ("x-b", "2")))
        assert found.forwarded is not None
        return found.forwarded

    def judged(self, request: Request) -> Decision:
        rule = {"when": [{"key": "request.headers[x-a]", "values": ["1"]}]}
        place = scene(a("AuthorizationPolicy", "p", {"rules": [rule]}), pods=(pod("web", "10.0.0.11"),))
        conn = Connection(source="10.0.0.5", sender=None, layer="plaintext", request=request)
        return policies.inbound(place, place.station(place.pods[1]), 80, conn)

    @pytest.mark.parametrize(
        ("said", "values"),
        [
            (changes(remove=["x-a"]), []),
            (changes(set={"X-a": "3"}), ["3"]),
            (changes(add={"x-a": "3"}), ["1", "3"]),
            (changes(remove=["x-a"], add={"x-a": "100%%"}), ["100%"]),
            (changes(set={"x-a": "3"}, add={"x-a": "4"}), ["3", "4"]),
            (changes(remove=[":path"], set={":path": "/z"}), ["1"]),
            (changes(set={"x-a": ""}, add={"x-a": ""}), ["1"]),
        ],
    )
    def test_of_a_rule_and_of_its_only_destination(self, said: Any, values: list[str]) -> None:
        to = route("web")
        for one in ({**to, **said}, {"route": [{**to["route"][0], **said}]}):
            sent = self.sent(one)
            assert [value for name, value in sent.headers if name.lower() == "x-a"] == values
            assert ("x-b", "2") in sent.headers
            assert not sent.unsure
            found = self.judged(sent)
            if len(values) > 1 and "1" in values:  # older proxies join what comes twice
                assert found.undecided
            else:
                assert (found.refusal is None) is (values == ["1"])

    def test_the_host(self) -> None:
        assert self.sent({**route("web"), **changes(set={"Host": "a.example.com"})}).host == "a.example.com"
        both = {**changes(set={":authority": "a.example.com"}), "rewrite": {"authority": "b.example.com"}}
        assert self.sent({**route("web"), **both}).host == "b.example.com"

    @pytest.mark.parametrize(
        "http",
        [
            {**route("web"), **changes(set={"x-a": "%DOWNSTREAM_REMOTE_ADDRESS%"})},
            {"route": [{**route(host)["route"][0], "weight": 50, **changes(set={"x-a": host})} for host in "ab"]},
        ],
    )
    def test_what_cannot_be_told_decides_nothing(self, http: Any) -> None:
        sent = self.sent(http)
        assert sent.unsure == ("x-a",)
        assert self.judged(sent).undecided

    def test_a_rule_comes_after_one_of_several_destinations(self) -> None:
        several = [{**route(host)["route"][0], "weight": 50, **changes(add={"x-a": host})} for host in "ab"]
        sent = self.sent({"route": several, **changes(set={"x-a": "3"})})
        assert (sent.headers, sent.unsure) == ((("x-b", "2"), ("x-a", "3")), ())

    def test_a_delegate_has_those_of_its_root_where_it_says_none(self) -> None:
        root = {"match": [{"uri": {"prefix": "/"}}], "delegate": {"name": "part"}, **changes(set={"x-a": "root"})}
        for more, value in (({}, "root"), (changes(set={"x-a": "own"}), "own"), ({"headers": {}}, "1")):
            part = a("VirtualService", "part", {"http": [{**route("web"), **more}]})
            found = ask(scene(virtual(root), part), "10.96.0.1", 80, "web", headers=(("x-a", "1"),))
            assert found.forwarded is not None
            assert found.forwarded.headers == (("x-a", value),)
            assert clusters(found) == ["outbound|80||web.shop"]


def named(name: str, *hosts: str, to: str = "raw", namespace: str = "shop", created: str = "", **spec: Any) -> Any:
    """A VirtualService with one rule for these hosts."""
    whole = {"hosts": list(hosts), "http": [route(f"{to}.shop.svc.cluster.local", 90)], **spec}
    return a("VirtualService", name, whole, namespace, created)


TO_RAW, TO_WEB = ["outbound|90||raw.shop"], ["outbound|80||web.shop"]
PASSED = ["PassthroughCluster"]


class TestHostsWithoutService:
    """Source: ``buildSidecarVirtualHostsForVirtualService`` and ``separateVSHostsAndServices``."""

    def test_have_rules_on_port_80_alone(self) -> None:
        place = scene(named("v", "a.example.com"))
        assert clusters(ask(place, "10.96.0.1", 80, "a.example.com")) == TO_RAW
        assert clusters(ask(place, "10.96.0.1", 81, "a.example.com")) == PASSED
        assert clusters(ask(scene(named("v", "far.other.svc.cluster.local")), "10.96.0.1", 81, "far.other")) == PASSED

    def test_or_where_a_service_of_the_port_is_among_the_hosts(self) -> None:
        place = scene(named("v", "a.example.com", "web"))
        assert clusters(ask(place, "10.96.0.1", 81, "a.example.com")) == TO_RAW
        tcp = service("web", "10.96.0.1", (81, "tcp"))
        other = service("http", "10.96.0.7", (81, "http"))
        place = scene(named("v", "a.example.com", "web"), services=(tcp, other, RAW))
        assert clusters(ask(place, "10.96.0.7", 81, "a.example.com")) == PASSED

    def test_a_wildcard_that_covers_services_stands_for_these(self) -> None:
        place = scene(named("v", "*.shop.svc.cluster.local"))
        assert clusters(ask(place, "10.96.0.1", 80, "web")) == TO_RAW
        assert clusters(ask(place, "10.96.0.1", 80, "gone.shop.svc.cluster.local")) == PASSED
        assert clusters(ask(scene(named("v", "*.example.com")), "10.96.0.1", 80, "a.example.com")) == TO_RAW

    def test_the_more_specific_host_wins(self) -> None:
        ports = [{"number": 80, "name": "http", "protocol": "HTTP"}]
        wide = a("ServiceEntry", "e", {"hosts": ["*.example.com"], "ports": ports, "resolution": "NONE"})
        place = scene(wide, named("v", "a.example.com"))
        assert clusters(ask(place, "203.0.113.9", 80, "a.example.com")) == TO_RAW
        assert clusters(ask(place, "203.0.113.9", 80, "b.example.com")) == ["outbound|80||*.example.com"]

    @pytest.mark.parametrize(("age", "found"), [("2026-01-01", TO_RAW), ("2026-03-03", TO_WEB)])
    def test_a_short_name_belongs_to_whoever_has_it_first(self, age: str, found: list[str]) -> None:
        place = scene(named("v", "web.shop", created=age))
        assert clusters(ask(place, "10.96.0.1", 80, "web.shop")) == TO_RAW
        own = a("VirtualService", "w", {"hosts": ["web"], "http": [route("web", 80)]}, created="2026-02-02")
        place = scene(named("v", "web.shop", created=age), own)
        assert clusters(ask(place, "10.96.0.1", 80, "web.shop")) == found
        assert clusters(ask(place, "10.96.0.1", 80, "web")) == TO_WEB


class TestVisibility:
    @pytest.mark.parametrize(
        ("hosts", "seen"),
        [
            ((), True),
            (("*/*",), True),
            (("./*", "other/*"), True),
            (("./*",), False),
            (("./*", "other/far.other.svc.cluster.local"), False),
            (("./*", "other/web.shop.svc.cluster.local"), True),
            (("./*", "other/*.local"), True),
        ],
    )
    def test_a_sidecar_imports_virtual_services_by_their_namespace(self, hosts: Any, seen: bool) -> None:
        sidecar = a("Sidecar", "default", {"egress": [{"hosts": list(hosts)}]} if hosts else {})
        place = scene(sidecar, named("v", "web.shop.svc.cluster.local", namespace="other"))
        assert clusters(ask(place, "10.96.0.1", 80, "web")) == (TO_RAW if seen else TO_WEB)

    def test_the_mesh_says_what_is_visible_without_export_to(self) -> None:
        def said(**keys: Any) -> MeshConfig:
            return parse({"data": {"mesh": json.dumps(keys)}}, "mesh")

        def place(config: MeshConfig, *objects: Any, **more: Any) -> Any:
            return scene(*objects, config=config, **more)

        rule = named("v", "web.shop.svc.cluster.local", namespace="other")
        for value, found in ((["."], TO_WEB), (["*"], TO_RAW), (["~"], TO_WEB), ([], TO_RAW)):
            asked = place(said(defaultVirtualServiceExportTo=value), rule)
            assert clusters(ask(asked, "10.96.0.1", 80, "web")) == found
        asked = place(said(defaultVirtualServiceExportTo=["."]), named("v", "web"))
        assert clusters(ask(asked, "10.96.0.1", 80, "web")) == TO_RAW
        hidden = place(said(defaultServiceExportTo=["."]))
        assert clusters(ask(hidden, "10.96.0.4", 80, "far.other")) == PASSED
        assert clusters(ask(hidden, "10.96.0.1", 80, "web")) == TO_WEB
        ports = [{"number": 80, "name": "http", "protocol": "HTTP"}]
        entry = a("ServiceEntry", "e", {"hosts": ["a.example.com"], "ports": ports, "resolution": "DNS"}, "other")
        for config, seen in ((said(), True), (said(defaultServiceExportTo=["."]), False)):
            found = clusters(ask(place(config, entry), "203.0.113.9", 80, "a.example.com"))
            assert found == (["outbound|80||a.example.com"] if seen else PASSED)

    def test_destination_rules_of_another_namespace(self) -> None:
        off = {"host": "far.other.svc.cluster.local", "trafficPolicy": {"tls": {"mode": "DISABLE"}}}
        for value, layer in ((["."], "mtls"), (["*"], "plaintext")):
            config = parse({"data": {"mesh": f"defaultDestinationRuleExportTo: {value}"}}, "mesh")
            place = scene(a("DestinationRule", "r", off, "other"), config=config, pods=(pod("far", "10.0.0.9"),))
            host = Host(address="10.0.0.9", port=80, pod="shop/far", health="healthy")
            name = "outbound|80||far.other.svc.cluster.local"
            assert auto_mtls.opened(place, place.station(place.pods[0]), name, host, Request(), 1, False).layer == layer

    def test_what_no_other_namespace_sees_comes_first(self) -> None:
        old = named("old", "web", to="web", created="2026-01-01", http=[route("web", 80)])
        for export, found in ((["."], TO_RAW), (["shop"], TO_RAW), (["*"], TO_WEB), ([], TO_WEB)):
            young = named("young", "web", created="2026-02-02", exportTo=export)
            assert clusters(ask(scene(old, young), "10.96.0.1", 80, "web")) == found

    @pytest.mark.parametrize(
        ("spec", "found"),
        [
            ({}, TO_RAW),
            ({"exportTo": ["."]}, TO_WEB),
            ({"exportTo": ["shop"]}, TO_RAW),
            ({"hosts": ["x.example.com"]}, TO_WEB),
        ],
    )
    def test_a_delegate_has_no_hosts_and_is_visible(self, spec: Any, found: list[str]) -> None:
        root = named("root", "web", http=[{"delegate": {"name": "part", "namespace": "other"}}])
        part = named("part", namespace="other", **spec)
        assert clusters(ask(scene(root, part), "10.96.0.1", 80, "web")) == found


class TestRoutes:
    def test_rules_for_others_leave_a_host_as_it_is(self) -> None:
        """A VirtualService without a route for this proxy is none for it (``buildSidecarVirtualHosts...``)."""
        others: tuple[Any, ...] = ({"port": 81}, {"sourceLabels": {"team": "blue"}}, {"sourceNamespace": "x"})
        for match in (*others, {"gateways": ["gw"]}):
            place = scene(named("v", "web", http=[route("raw", 90, match=[match])]))
            assert clusters(ask(place, "10.96.0.1", 80, "web")) == TO_WEB
        place = scene(named("v", "web", http=[route("raw", 90, match=[{"uri": {"prefix": "/a"}}])]))
        assert ask(place, "10.96.0.1", 80, "web").refusal is not None
        match = {"gateways": ["mesh"], **others[1]}
        place = scene(named("v", "web", http=[route("raw", 90, match=[match])]))
        assert clusters(ask(place, "10.96.0.1", 80, "web")) == TO_RAW  # with gateways the source is not looked at

    def test_the_name_of_a_route_has_that_of_its_match(self) -> None:
        matches = [{"uri": {"exact": "/x"}}, {"uri": {"prefix": "/"}, "name": "all"}]
        place = scene(named("v", "web", http=[route("raw", 90, name="r", match=matches)]))
        assert ask(place, "10.96.0.1", 80, "web").route == "r.all"
        assert ask(place, "10.96.0.1", 80, "web", path="/x").route == "r"

    def test_names_of_a_headless_service_s_pods(self) -> None:
        bare = service("web", "None", (80, "http"))
        place = scene(services=(bare, FAR), slices=(endpoints("web", ("web-0", "10.0.0.11")),))
        for host in (
            "web-0.web",
            "web-0.web.shop",
            "web-0.web.shop.svc",
            "web-0.web.shop.svc.cluster.local",
            "a.b.web",
        ):
            assert clusters(ask(place, "10.0.0.11", 80, host)) == TO_WEB
        assert clusters(ask(place, "10.0.0.11", 80, "web-0web.shop")) == PASSED
        assert clusters(ask(place, "10.96.0.4", 80, "x.far.other")) == PASSED

    def test_the_mesh_s_own_retries(self) -> None:
        def asked(said: Retries | None, version: str = "", **rule: Any) -> Any:
            place = scene(named("v", "web", http=[route("web", 80, **rule)]) if rule else named("v", "x.example.com"))
            place.mesh = replace(place.mesh, config=MeshConfig(retries=said))
            station = replace(place.station(place.pods[0]), version=version)
            return resources.outbound(place, station, "10.96.0.1", 80, Request(host="web")).retry

        rules: tuple[Any, ...] = ({}, {"timeout": "1s"})
        for rule in rules:
            assert asked(None, **rule).attempts == 2
            assert asked(Retries(0), **rule) is None
            assert asked(Retries(5, "503"), **rule).status_codes == (503,)
            for version, codes in (("1.23.1", (503,)), ("1.24.0", ()), ("", ())):
                assert asked(None, version, **rule).status_codes == codes
        own: Any = {"retries": {"attempts": 1}}
        assert asked(Retries(0), **own).attempts == 1
        assert asked(None, "1.20.0", **own).status_codes == (503,)
        assert asked(None, **own).host_predicates == ("previous_hosts",)
        own["retries"]["retryIgnorePreviousHosts"] = False
        assert asked(None, **own).host_predicates == ()
        read = parse({"data": {"mesh": "defaultHttpRetryPolicy: {attempts: 0}"}}, "mesh").retries
        assert read == Retries(0)


class TestBytes:
    """Source: ``buildSidecarOutboundTLSFilterChainOpts`` and ``buildSidecarOutboundTCPFilterChainOpts``."""

    def spec(self, *tls: tuple[str, str], tcp: Any = ()) -> dict[str, Any]:
        rules = [{"match": [{"sniHosts": [sni]}], **route(to, 90)} for sni, to in tls]
        return {"hosts": ["db", "db.example.com", "*.example.com"], "tls": rules, "tcp": list(tcp)}

    def place(self, port: str, *specs: Any) -> Any:
        rules = [a("VirtualService", f"v{n}", spec, created=f"2026-01-0{n + 1}") for n, spec in enumerate(specs)]
        return scene(*rules, services=(service("db", "10.96.0.2", (443, port)), RAW, WEB))

    def found(self, place: Any, sni: str) -> list[str]:
        return clusters(ask(place, "10.96.0.2", 443, sni, tls=bool(sni), protocol="tcp"))

    def test_the_declared_protocol_says_which_rules_count(self) -> None:
        spec = self.spec(("db.example.com", "raw"), tcp=[route("web", 81)])
        assert self.found(self.place("https", spec), "db.example.com") == TO_RAW
        assert self.found(self.place("tls", spec), "db.example.com") == TO_RAW
        assert self.found(self.place("tcp", spec), "db.example.com") == ["outbound|81||web.shop"]
        assert self.found(self.place("tcp", spec), "") == ["outbound|81||web.shop"]

    def test_what_fits_no_rule_about_tls_is_not_the_service_s(self) -> None:
        spec = self.spec(("db.example.com", "raw"))
        for sni in ("x.example.com", ""):
            assert self.found(self.place("https", spec), sni) == PASSED
        assert self.found(self.place("https"), "x.example.com") == ["outbound|443||db.shop"]
        other = {**spec, "tls": [{"match": [{"sniHosts": ["db"], "port": 81}], **route("raw", 90)}]}
        assert self.found(self.place("https", other), "x.example.com") == ["outbound|443||db.shop"]

    def test_the_most_specific_name_wins_whatever_its_place(self) -> None:
        wide, narrow = ("*.example.com", "web"), ("db.example.com", "raw")
        for specs in ((self.spec(wide, narrow),), (self.spec(narrow, wide),), (self.spec(wide), self.spec(narrow))):
            place = self.place("https", *specs)
            assert self.found(place, "db.example.com") == TO_RAW
            assert self.found(place, "x.example.com") == ["outbound|90||web.shop"]
        again = self.spec(("db.example.com", "raw"), ("db.example.com", "web"))
        assert self.found(self.place("https", again), "db.example.com") == TO_RAW

    def test_the_narrowest_range_of_addresses_wins(self) -> None:
        def rule(to: str, *subnets: str) -> dict[str, Any]:
            return {**({"match": [{"destinationSubnets": list(subnets)}]} if subnets else {}), **route(to, 90)}

        for rules, found in (
            ((rule("web", "10.0.0.0/8"), rule("raw", "10.96.0.0/16")), TO_RAW),
            ((rule("web", "192.0.2.0/24"), rule("raw")), TO_RAW),
            ((rule("raw", "10.96.0.2/32"), rule("web")), TO_RAW),
            ((rule("raw"), rule("web", "10.96.0.2/32")), TO_RAW),
            ((rule("web", "192.0.2.0/24"),), ["outbound|443||db.shop"]),
        ):
            assert self.found(self.place("tcp", self.spec(tcp=rules)), "") == found


class TestRepeated:
    """What comes twice in a request, and is matched by a rule."""

    def found(self, match: Any, version: str, path: str = "/", **asked: Any) -> list[str] | None:
        place = scene(virtual(route("raw", 90, match=[match]), route("web")))
        station = replace(place.station(place.pods[0]), version=version)
        made = Request(host="web", path=path, **asked)
        decision = resources.outbound(place, station, "10.96.0.1", 80, made)
        return None if decision.undecided else clusters(decision)

    @pytest.mark.parametrize(
        ("wanted", "one_by_one", "together"),
        [
            ({"exact": "1"}, True, False),
            ({"exact": "2"}, True, False),
            ({"exact": "1,2"}, False, True),
            ({"prefix": "1"}, True, True),
            ({"prefix": "2"}, True, False),
            ({"regex": "3.*"}, False, False),
        ],
    )
    def test_headers(self, wanted: Any, one_by_one: bool, together: bool) -> None:
        headers = (("x-v", "1"), ("X-V", " 2"))
        for version, fits in (("1.31.0", one_by_one), ("1.29.1", together)):
            found = self.found({"headers": {"x-v": wanted}}, version, headers=headers)
            assert found == (TO_RAW if fits else TO_WEB)
            found = self.found({"withoutHeaders": {"x-v": wanted}}, version, headers=headers)
            assert found == (TO_WEB if fits else TO_RAW)
        for version in ("", "1.30.3"):
            found = self.found({"headers": {"x-v": wanted}}, version, headers=headers)
            assert found == (None if one_by_one is not together else TO_RAW if together else TO_WEB)

    @pytest.mark.parametrize(
        ("wanted", "one_by_one", "together"), [("1", True, False), ("1,2", False, True), ("*2", True, True)]
    )
    def test_headers_in_policies(self, wanted: str, one_by_one: bool, together: bool) -> None:
        rule = {"when": [{"key": "request.headers[x-v]", "values": [wanted]}]}
        place = scene(a("AuthorizationPolicy", "p", {"rules": [rule]}), pods=(pod("web", "10.0.0.11"),))
        request = Request(headers=(("x-v", "1"), ("X-V", "2")))
        conn = Connection(source="10.0.0.5", sender=None, layer="plaintext", request=request)
        judged = (("1.30.3", one_by_one), ("1.28.5", one_by_one), ("1.28.4", together), ("1.26.0", together))
        for version, fits in (*judged, ("", None), ("1.28", None), ("1.12-1.13", None)):
            station = replace(place.station(place.pods[1]), version=version)
            found = policies.inbound(place, station, 80, conn)
            if fits is None and one_by_one is not together:
                assert found.undecided
            else:
                assert (found.refusal is None) is (together if fits is None else fits)

    def test_headers_that_envoy_joins(self) -> None:
        match, headers = {"headers": {"via": {"exact": "a,b"}}}, (("via", "a"), ("via", "b"))
        assert self.found(match, "1.30.3", headers=headers) == TO_RAW

    def test_of_a_parameter_the_first_counts(self) -> None:
        for path, found in (("/?v=1&v=2", TO_RAW), ("/?v=2&v=1", TO_WEB)):
            assert self.found({"queryParams": {"v": {"exact": "1"}}}, "1.30.3", path) == found

"""The smaller decisions: chains, hosts, routes, strings, hosts of a cluster, paths, predicates."""

import json
from typing import Any

import pytest

from meshctl.envoy import (
    clusters_json,
    filter_chain,
    listener,
    rewrite,
    route,
    route_match,
    strings,
    tls,
    upstream,
    virtual_host,
)
from meshctl.envoy.model.basics import Opaque, Status
from meshctl.envoy.model.listeners import AnyOf, Not, PortsDisabled
from meshctl.envoy.model.matching import NamedMatch, PresentMatch, RangeMatch, StringMatch
from meshctl.envoy.model.routes import Redirect
from meshctl.envoy.network_filters import manager
from meshctl.envoy.reading import Json
from meshctl.envoy.request import Request
from tests.envoy import dumps


def request(host: str = "a.com", path: str = "/", headers: Any = None, **more: Any) -> Request:
    fields = {"address": "10.0.0.1", "port": 80, "source": None, "remote": None, "server_name": "", "tls": "plaintext"}
    fields |= {"terminated": False, "principal": "", "http": True, "host": host, "path": path, "headers": headers or {}}
    return Request(**{**fields, **more})


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("foo.com", "exact"),
        ("FOO.com", "exact"),
        ("x.foo.com", "suffix"),
        ("y.x.foo.com", "longer"),
        (".foo.com", "all"),
        ("foo.org", "prefix"),
        ("foo.com:80", "port"),
        ("foo.com:81", "prefix"),
        ("other", "all"),
        ("", "all"),
    ],
)
def test_virtual_hosts_by_exact_name_then_longest_suffix_then_longest_prefix(host: str, expected: str) -> None:
    domains = {"exact": "foo.com", "suffix": "*.foo.com", "longer": "*.x.foo.com", "prefix": "foo.*", "all": "*"}
    hosts = [dumps.host(name, [domain]) for name, domain in {**domains, "port": "foo.com:80"}.items()]
    config = route.config(Json(dumps.route_config("r", *hosts), "t"), Status("active"))
    found, because = virtual_host.choose(config, request(host))
    assert found is not None, because
    assert found.name == expected


def test_ports_of_hosts_are_ignored_where_the_configuration_says_so() -> None:
    config = {**dumps.route_config("r", dumps.host("v", ["a.com"])), "ignore_port_in_host_matching": True}
    assert virtual_host.choose(route.config(Json(config, "t"), Status("active")), request("a.com:99"))[0] is not None


@pytest.mark.parametrize(
    ("match", "path", "expected"),
    [
        ({"prefix": "/a"}, "/ab?x", True),
        ({"path": "/a"}, "/a?x=1", True),
        ({"path": "/a"}, "/a/", False),
        ({"path_separated_prefix": "/a"}, "/ab", False),
        ({"path_separated_prefix": "/a"}, "/a/b", True),
        ({"prefix": "/A", "case_sensitive": False}, "/abc", True),
        ({"safe_regex": {"regex": "/a.*"}}, "/xa", False),
        ({"safe_regex": {"regex": "/a|/b"}}, "/b", True),
        ({"safe_regex": {"regex": "("}}, "/b", None),
        ({"connect_matcher": {}}, "/", False),
        ({"path_match_policy": {"name": "x"}}, "/", None),
        ({}, "/", None),
        ({"prefix": "/", "dynamic_metadata": [{}]}, "/", None),
        ({"prefix": "/", "query_parameters": [{"name": "x", "string_match": {"exact": "1"}}]}, "/?y=2&x=1", True),
        ({"prefix": "/", "query_parameters": [{"name": "x", "present_match": True}]}, "/?x", True),
        ({"prefix": "/", "query_parameters": [{"name": "x"}]}, "/?y", False),
    ],
)
def test_routes_by_path_and_query(match: Any, path: str, expected: bool | None) -> None:
    assert route_match.holds(route_match.parse(Json(match, "t")), request(path=path)) is expected


@pytest.mark.parametrize(
    ("match", "values", "expected"),
    [
        (NamedMatch("h", StringMatch("exact", "a")), ("a",), True),
        (NamedMatch("h", StringMatch("exact", "a"), invert=True), (), False),
        (NamedMatch("h", StringMatch("exact", "a"), invert=True, missing_is_empty=True), (), True),
        (NamedMatch("h", StringMatch("exact", "A", ignore_case=True)), ("a",), True),
        (NamedMatch("h", RangeMatch(-1, 5)), ("-1",), True),
        (NamedMatch("h", RangeMatch(0, 5)), ("5",), False),
        (NamedMatch("h", RangeMatch(0, 5)), ("x",), False),
        (NamedMatch("h", PresentMatch(False)), (), True),
        (NamedMatch("h", PresentMatch(), invert=True), ("x",), False),
        (NamedMatch("h", StringMatch("unknown")), ("x",), None),
    ],
)
def test_headers(match: NamedMatch, values: tuple[str, ...], expected: bool | None) -> None:
    assert strings.named_holds(match, values) is expected


def test_a_header_that_came_twice_is_judged_by_the_release() -> None:
    exact = NamedMatch("h", StringMatch("exact", "a"))
    assert [strings.named_holds(exact, ("a", "b"), each=each) for each in (True, False, None)] == [True, False, None]
    assert strings.named_holds(NamedMatch("h", StringMatch("contains", "a")), ("a", "ab"), each=None) is True


def test_inspectors_may_be_turned_off_for_some_ports() -> None:
    assert listener.disabled_on(PortsDisabled(80, 81), 80) is True
    assert listener.disabled_on(PortsDisabled(80, 81), 81) is False
    assert listener.disabled_on(Not(AnyOf((PortsDisabled(80, 81), PortsDisabled(90, 91)))), 90) is False
    assert listener.disabled_on(Opaque("x"), 90) is None


def chain(name: str, **match: Any) -> Any:
    return filter_chain.chain(Json({"name": name, "filter_chain_match": match}, "t"))


def connection(**more: Any) -> filter_chain.Connection:
    return filter_chain.Connection(**{"address": "10.0.0.1", "port": 80, **more})


def chosen(chains: Any, **more: Any) -> str | None:
    choice = filter_chain.choose(chains, None, connection(**more))
    return choice.chain.name if choice.chain else None


def test_a_narrower_criterion_wins_and_is_not_given_up() -> None:
    chains = [chain("port", destination_port=80, transport_protocol="tls"), chain("any")]
    assert chosen(chains, transport="tls") == "port"
    assert chosen(chains) is None
    assert chosen(chains, port=81) == "any"


def test_the_longest_prefix_wins() -> None:
    def prefixed(name: str, length: int) -> Any:
        return chain(name, prefix_ranges=[{"address_prefix": "10.0.0.0", "prefix_len": length}])

    chains = [prefixed("eight", 8), prefixed("thirty", 30), chain("any")]
    assert [chosen(chains, address=a) for a in ("10.0.0.1", "10.9.9.9", "11.0.0.1")] == ["thirty", "eight", "any"]


def test_server_names_by_exact_name_then_longest_wildcard() -> None:
    chains = [chain("exact", server_names=["a.b.com"]), chain("wild", server_names=["*.b.com", "*.com"]), chain("any")]
    names = ("a.b.com", "x.b.com", "b.com", "com", "")
    assert [chosen(chains, server_name=name) for name in names] == ["exact", "wild", "wild", "any", "any"]


def test_application_protocols_in_the_clients_order() -> None:
    chains = [chain("istio", application_protocols=["istio"]), chain("h2", application_protocols=["h2"]), chain("any")]
    assert [chosen(chains, protocols=p) for p in (("h2", "istio"), ("istio", "h2"), ("x",))] == ["h2", "istio", "any"]


def test_what_depends_on_an_unknown_client_is_undecided() -> None:
    chains = [chain("here", source_prefix_ranges=[{"address_prefix": "10.0.0.0", "prefix_len": 8}]), chain("any")]
    choice = filter_chain.choose(chains, None, connection())
    assert choice.chain is None
    assert "not given" in choice.undecided
    assert chosen(chains, source="10.1.1.1") == "here"


@pytest.mark.parametrize(
    ("mutual", "client", "fits"),
    [
        (True, "mtls", True),
        (True, "tls", False),
        (False, "tls", True),
        (False, "mtls", True),
        (False, "plaintext", False),
    ],
)
def test_handshakes(mutual: bool, client: Any, fits: bool) -> None:
    assert tls.client_fits(tls.transport_socket(Json(dumps.tls_socket(mutual=mutual), "t")), client)[0] is fits


def test_a_transport_socket_that_is_not_known_is_not_guessed_about() -> None:
    socket = tls.transport_socket(Json({"name": "x", "typed_config": dumps.typed("my.Socket")}, "t"))
    assert tls.client_fits(socket, "tls")[0] is None


def ends(*health: str, priority: int = 0) -> Any:
    return {
        "priority": priority,
        "lb_endpoints": [
            {
                "endpoint": {"address": {"socket_address": {"address": f"10.0.{priority}.{n}", "port_value": 80}}},
                "health_status": h,
            }
            for n, h in enumerate(health)
        ],
    }


def upstream_of(*groups: Any, **more: Any) -> upstream.Upstream:
    found = {"name": "c", "type": "STATIC", "load_assignment": {"cluster_name": "c", "endpoints": list(groups)}, **more}
    return upstream.choose(dumps.dump(clusters=[found]), "c")


NO_PANIC = {"common_lb_config": {"healthy_panic_threshold": {}}}


def test_only_healthy_hosts_get_requests() -> None:
    found = upstream_of(ends("HEALTHY", "UNHEALTHY"), **NO_PANIC)
    assert [(h.endpoint.address.host, h.share) for h in found.hosts] == [("10.0.0.0", 1.0)]
    assert [e.because for e in found.out] == ["EDS says UNHEALTHY"]


def test_without_healthy_hosts_panic_decides() -> None:
    assert upstream_of(ends("UNHEALTHY"), **NO_PANIC).verdict == "no-host"
    panic = upstream_of(ends("UNHEALTHY", "DRAINING"))
    assert (panic.verdict, panic.panic, len(panic.hosts)) == ("ok", True, 2)


def test_a_lower_priority_takes_over_what_the_higher_cannot() -> None:
    found = upstream_of(ends("UNHEALTHY"), ends("HEALTHY", priority=1), **NO_PANIC)
    assert [(h.endpoint.address.host, h.share) for h in found.hosts] == [("10.0.1.0", 1.0)]
    spill = upstream_of(ends("HEALTHY", "UNHEALTHY"), ends("HEALTHY", priority=1), **NO_PANIC)
    assert [round(h.share, 2) for h in spill.hosts] == [0.7, 0.3]


def test_the_transport_follows_the_endpoints_metadata() -> None:
    client = dumps.recorded("policies", "policies", "client")
    found = upstream.choose(client, "outbound|9080|v3|backend.policies.svc.cluster.local")
    (host,) = found.hosts
    assert (host.socket_name, host.socket.tls is not None and host.socket.tls.istio_mutual) == ("tlsMode-istio", True)
    assert host.socket.tls is not None
    assert host.socket.tls.sni == "outbound_.9080_.v3_.backend.policies.svc.cluster.local"


@pytest.mark.parametrize(
    ("extension", "single", "verdict"),
    [
        ("envoy.clusters.dns", False, "unresolved"),
        ("envoy.cluster.static", False, "ok"),
        ("my.cluster", False, "undecided"),
    ],
)
def test_cluster_types_that_are_extensions(extension: str, single: bool, verdict: str) -> None:
    config = dumps.typed("x.y", all_addresses_in_single_endpoint=single)
    found = upstream_of(ends("HEALTHY"), cluster_type={"name": extension, "typed_config": config})
    assert found.verdict == verdict


def test_an_ejected_host_is_out() -> None:
    def seen(address: str, **health: Any) -> Any:
        return {"address": {"socket_address": {"address": address, "port_value": 80}}, "health_status": health}

    hosts = [seen("10.0.0.0", failed_outlier_check=True), seen("10.0.0.1", eds_health_status="HEALTHY")]
    text = json.dumps({"cluster_statuses": [{"name": "c", "host_statuses": hosts}]})
    live = clusters_json.parse(text, "clusters.json")
    group = {
        "name": "c",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "c", "endpoints": [ends("HEALTHY", "HEALTHY")]},
    }
    found = upstream.choose(dumps.dump(clusters=[{**group, **NO_PANIC}]), "c", live=live)
    assert [h.endpoint.address.host for h in found.hosts] == ["10.0.0.1"]
    assert found.out[0].because == "ejected as an outlier"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a/../b", "/b"),
        ("/a/./b", "/a/b"),
        ("/%61%2fb", "/a%2fb"),
        ("/a\\b", "/a/b"),
        ("/..", "/"),
        ("/a/..?x=../y", "/?x=../y"),
    ],
)
def test_paths_are_normalised(path: str, expected: str) -> None:
    config = {"normalize_path": True}
    assert rewrite.path_seen(manager(Json(config, "t")), path) == expected


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (Redirect(https=True), "https://a.com/x?q=1"),
        (Redirect(https=True, port=8443), "https://a.com:8443/x?q=1"),
        (Redirect(host="b.org", path="/y"), "http://b.org/y?q=1"),
        (Redirect(path="/y?z"), "http://a.com:80/y?z"),
        (Redirect(prefix_rewrite="/n", strip_query=True), "http://a.com:80/nx"),
        (Redirect(regex_rewrite=("x", "yy")), "http://a.com:80/yy?q=1"),
    ],
)
def test_redirects(action: Redirect, expected: str) -> None:
    match = route_match.parse(Json({"prefix": "/"}, "t"))
    assert rewrite.location(action, match, request("a.com:80", "/x?q=1")) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [("a:80", "a"), ("a", "a"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("::1", "::1"), ("a:x", "a:x")],
)
def test_hosts_without_their_ports(host: str, expected: str) -> None:
    assert rewrite.without_port(host) == expected


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        (dumps.http_chain("a"), False),
        (dumps.http_chain("a", filter_chain_match={"source_prefix_ranges": [{"address_prefix": "10.0.0.0"}]}), True),
        (
            dumps.http_chain("a", filter_chain_match={"direct_source_prefix_ranges": [{"address_prefix": "10.0.0.0"}]}),
            True,
        ),
        (
            dumps.http_chain(
                "a", filters=[{"name": "r", "typed_config": dumps.typed("envoy.extensions.filters.http.rbac.v3.RBAC")}]
            ),
            True,
        ),
    ],
)
def test_whether_a_listener_asks_who_connects(chain: Any, expected: bool) -> None:
    place = {**dumps.listener("virtualInbound", "0.0.0.0", 15006, chain), "traffic_direction": "INBOUND"}
    assert dumps.dump([place]).asks_who("inbound") is expected


def test_without_the_listener_it_is_taken_to_ask() -> None:
    assert dumps.dump([]).asks_who("inbound")


@pytest.mark.parametrize(
    ("kind", "value", "text", "expected"),
    [
        ("exact", "Bearer REDACTED", "Bearer abc", None),
        ("exact", "Bearer REDACTED", "Basic abc", False),
        ("prefix", "Bearer REDACTED", "Bearer abc", None),
        ("regex", "Bearer REDACTED", "Bearer abc", None),
        ("contains", "REDACTED", "abc", None),
        ("exact", "abc", "abc", True),
    ],
)
def test_what_a_recording_took_out_of_a_matcher_decides_nothing(
    kind: Any, value: str, text: str, expected: bool | None
) -> None:
    assert strings.holds(StringMatch(kind, value), text) is expected

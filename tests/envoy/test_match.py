"""From a request to its listener, filter chain, route and cluster; every kind of failure; what cannot be told."""

from typing import Any

import pytest

from meshctl.envoy import ask
from meshctl.envoy.match import Match, Query, match
from meshctl.views import proxy_match
from tests.envoy import dumps
from tests.envoy.dumps import cluster, dump, host, http_chain, listener, route_config, tcp_chain, tls_socket

PASSTHROUGH = {"name": "PassthroughCluster", "type": "ORIGINAL_DST"}
ENTRY = listener(
    "virtualOutbound", "0.0.0.0", 15001, tcp_chain("pass", "PassthroughCluster"),
    use_original_dst=True, traffic_direction="OUTBOUND",
)  # fmt: skip
INBOUND_TYPE = dumps.typed("envoy.extensions.filters.listener.original_dst.v3.OriginalDst")


def outbound(*listeners: Any, routes: Any = (), **asked: Any) -> Match:
    found = dump([ENTRY, *listeners], routes, [PASSTHROUGH, cluster("app", "10.0.0.1"), cluster("none")])
    return match(found, Query(**{"direction": "outbound", "address": "10.1.1.1", "port": 80, **asked}))


def gateway(*chains: Any, clusters: Any = None, more: Any = None, routes: Any = (), **asked: Any) -> Match:
    found = dump([listener("g", "0.0.0.0", 80, *chains, **(more or {}))], routes, clusters)
    return match(found, Query(**{"direction": "gateway", "address": "10.1.1.1", "port": 80, "host": "a.com", **asked}))


def test_a_redirected_connection_is_handed_to_the_listener_for_its_destination() -> None:
    exact = listener("10.1.1.1_80", "10.1.1.1", 80, tcp_chain("exact", "app"), bind_to_port=False)
    wild = listener("0.0.0.0_80", "0.0.0.0", 80, tcp_chain("wild", "app"), bind_to_port=False)
    assert [m.listener.name for m in (outbound(wild, exact), outbound(wild), outbound()) if m.listener] == [
        "10.1.1.1_80",
        "0.0.0.0_80",
        "virtualOutbound",
    ]


def test_what_no_listener_is_for_goes_to_its_original_destination() -> None:
    found = outbound(protocol="tcp")
    assert (found.cluster, found.action, found.forwards) == ("PassthroughCluster", "tcp", True)
    assert "10.1.1.1:80" in found.steps[-1].because


def test_ipv6_needs_a_listener_for_ipv6() -> None:
    wild = listener("0.0.0.0_80", "0.0.0.0", 80, tcp_chain("wild", "app"))
    extra = {"additional_addresses": [{"address": {"socket_address": {"address": "::", "port_value": 80}}}]}
    dual = listener("0.0.0.0_80", "0.0.0.0", 80, tcp_chain("wild", "app"), **extra)
    assert outbound(wild, address="fd00::1").error == "no-listener"
    assert outbound(dual, address="fd00::1").cluster == "app"


def test_a_listener_that_does_not_bind_gets_nothing_without_a_hand_over() -> None:
    hidden = listener("x", "0.0.0.0", 80, tcp_chain("x", "app"), bind_to_port=False)
    found = match(dump([hidden]), Query(direction="gateway", address="1.2.3.4", port=80))
    assert (found.error, found.listener) == ("no-listener", None)


def test_inbound_connections_stay_at_virtual_inbound() -> None:
    inbound = listener(
        "virtualInbound", "0.0.0.0", 15006,
        tcp_chain("hole", "none", filter_chain_match={"destination_port": 15006}),
        http_chain("0.0.0.0_80", filter_chain_match={"destination_port": 80}),
        traffic_direction="INBOUND", listener_filters=[{"name": "o", "typed_config": INBOUND_TYPE}],
    )  # fmt: skip
    wild = listener("0.0.0.0_80", "0.0.0.0", 80, tcp_chain("wild", "app"), bind_to_port=False)
    found = match(dump([inbound, wild]), Query(direction="inbound", address="10.0.0.9", port=80))
    assert (found.listener and found.listener.name, found.filter_chain and found.filter_chain.name) == (
        "virtualInbound",
        "0.0.0.0_80",
    )
    assert (found.route_config_name, found.cluster, found.forwards) == ("inline", "app", True)


@pytest.mark.parametrize(
    ("asked", "error", "status"),
    [
        ({"port": 81}, "no-listener", None),
        ({"tls": "tls"}, "tls-mismatch", None),
        ({"tls": "plaintext"}, "no-filter-chain", None),
        ({"tls": "mtls", "protocol": "tcp"}, "protocol-error", 400),
        ({"tls": "mtls", "host": "b.com"}, "no-virtual-host", 404),
        ({"tls": "mtls", "path": "/none"}, "no-route", 404),
        ({"tls": "mtls", "path": "/a"}, None, None),
    ],
)
def test_each_kind_of_failure(asked: Any, error: str | None, status: int | None) -> None:
    routes = route_config("r", host("v", ["a.com"], {"match": {"prefix": "/a"}, "route": {"cluster": "app"}}))
    chain = http_chain(
        "c", routes, filter_chain_match={"transport_protocol": "tls"}, transport_socket=tls_socket(mutual=True)
    )
    found = gateway(chain, more={"listener_filters": dumps.INSPECTORS}, **asked)
    assert (found.error, found.status, found.undecided_because) == (error, status, ())
    assert found.forwards is (error is None)


def test_tls_bytes_are_no_http_where_nothing_ends_tls() -> None:
    assert gateway(http_chain("c"), tls="tls").error == "protocol-error"
    assert gateway(tcp_chain("c", "app"), tls="tls").cluster == "app"


@pytest.mark.parametrize(("state", "forwards"), [("dynamic_warming_secrets", False), ("dynamic_active_secrets", True)])
def test_a_chain_whose_certificate_has_not_come_refuses_every_handshake(state: str, forwards: bool) -> None:
    chain = http_chain("tls", transport_socket=tls_socket(secret="kubernetes://a"))
    found = dump([listener("g", "0.0.0.0", 443, chain)], Secrets={state: [{"name": "kubernetes://a"}]})
    told = match(found, Query(direction="gateway", address="10.1.1.1", port=443, host="a.com", tls="tls"))
    assert told.forwards is forwards
    assert told.error == (None if forwards else "tls-mismatch")


def test_plaintext_to_a_host_that_requires_tls_is_redirected() -> None:
    routes = route_config(
        "r", host("v", ["*"], {"match": {"prefix": "/"}, "route": {"cluster": "app"}}, require_tls="ALL")
    )
    found = gateway(http_chain("c", routes), path="/x?y=1")
    assert (found.error, found.status, found.location) == ("tls-redirect", 301, "https://a.com/x?y=1")


def chain_by(kind: str, **tree: Any) -> Any:
    config = dumps.typed(f"envoy.extensions.matching.common_inputs.network.v3.{kind}")
    return {"matcher_tree": {"input": {"name": "i", "typed_config": config}, **tree}}


def named(chain: str) -> Any:
    return {"action": {"name": chain, "typed_config": dumps.typed("google.protobuf.StringValue", value=chain)}}


def test_a_matcher_tree_names_the_chain() -> None:
    by_port = {"matcher": chain_by("DestinationPortInput", exact_match_map={"map": {"80": named("one")}})}
    ranges = [{"ranges": [{"address_prefix": "10.1.0.0", "prefix_len": 16}], "on_match": by_port}]
    custom = {"name": "ip", "typed_config": dumps.typed("xds.type.matcher.v3.IPMatcher", range_matchers=ranges)}
    tree = {**chain_by("DestinationIPInput", custom_match=custom), "on_no_match": named("two")}
    chains = (tcp_chain("one", "app"), tcp_chain("two", "app"))
    more = {"filter_chain_matcher": tree}
    found = [gateway(*chains, more=more, address=a).filter_chain for a in ("10.1.2.3", "10.2.0.1")]
    assert [c.name for c in found if c] == ["one", "two"]
    unknown = {"filter_chain_matcher": chain_by("SourceIPInput", exact_match_map={"map": {}})}
    assert "source address" in gateway(*chains, more=unknown).undecided_because[0]
    opaque = {"filter_chain_matcher": {"matcher_list": {}}}
    assert "matcher_list" in gateway(*chains, more=opaque).undecided_because[0]


def test_two_chains_for_the_same_connections_are_rejected() -> None:
    assert gateway(tcp_chain("a", "app"), tcp_chain("b", "app")).error == "config-rejected"


def test_a_listener_that_envoy_rejected_is_the_reason_for_a_refused_connection() -> None:
    failed = {
        "failed_configuration": listener("bad", "0.0.0.0", 80, tcp_chain("a", "app")),
        "details": "no such filter",
    }
    found = dump(Listeners={"dynamic_listeners": [{"name": "bad", "error_state": failed}]})
    result = match(found, Query(direction="gateway", address="1.1.1.1", port=80))
    assert result.error == "config-rejected"
    assert "no such filter" in result.steps[-1].because


@pytest.mark.parametrize(
    ("name", "flags", "details"),
    [("nowhere", "NC", "cluster_not_found"), ("none", "UH", "no_healthy_upstream")],
)
def test_a_cluster_that_cannot_take_it(name: str, flags: str, details: str) -> None:
    routes = route_config("r", host("v", ["*"], {"match": {"prefix": "/"}, "route": {"cluster": name}}))
    found = gateway(http_chain("c", routes), clusters=[cluster("app", "10.0.0.1"), cluster("none")])
    assert (found.cluster, found.status, found.flags, found.details) == (name, 503, flags, details)
    tcp = gateway(tcp_chain("c", name), clusters=[cluster("none")], protocol="tcp")
    assert (tcp.cluster, tcp.status, tcp.flags, tcp.forwards) == (name, None, flags, False)


def test_weighted_clusters_share_the_requests() -> None:
    weighted = {"clusters": [{"name": "app", "weight": 3}, {"name": "none", "weight": 1}]}
    routes = route_config("r", host("v", ["*"], {"match": {"prefix": "/"}, "route": {"weighted_clusters": weighted}}))
    found = gateway(http_chain("c", routes))
    assert found.cluster is None
    assert [(s.name, s.weight, s.probability) for s in found.clusters] == [("app", 3, 0.75), ("none", 1, 0.25)]


def test_routes_that_chance_decides_become_alternatives() -> None:
    half = {"default_value": {"numerator": 25, "denominator": "HUNDRED"}}
    first = {"name": "some", "match": {"prefix": "/", "runtime_fraction": half}, "direct_response": {"status": 418}}
    rest = {"name": "rest", "match": {"prefix": "/"}, "route": {"cluster": "app"}}
    found = gateway(http_chain("c", route_config("r", host("v", ["*"], first, rest))))
    assert (found.route and found.route.name, found.cluster, found.probability) == ("rest", "app", 0.75)
    (other,) = found.alternatives
    assert (other.route and other.route.name, other.status, other.probability) == ("some", 418, 0.25)
    said = str(proxy_match.page("p", found))
    assert "75% of the requests" in said
    assert "By chance, 25% of the requests" in said


def test_a_filter_that_is_not_known_leaves_it_undecided_and_is_named() -> None:
    lua = {"name": "lua", "typed_config": dumps.typed("envoy.extensions.filters.http.lua.v3.Lua")}
    found = gateway(http_chain("c", filters=[lua]))
    assert (found.cluster, found.forwards, found.status) == ("app", None, None)
    assert "lua" in found.undecided_because[0]
    assert found.verdicts[0].decision == "not-modelled"


def test_what_a_filter_may_have_answered_is_not_told_as_the_cluster_s_failure() -> None:
    lua = {"name": "lua", "typed_config": dumps.typed("envoy.extensions.filters.http.lua.v3.Lua")}
    for clusters, flag in (([], "NC"), ([cluster("app")], "UH")):
        sure = gateway(http_chain("c"), clusters=clusters)
        assert (sure.status, sure.flags, sure.forwards) == (503, flag, False)
        found = gateway(http_chain("c", filters=[lua]), clusters=clusters)
        assert (found.status, found.flags, found.forwards) == (None, None, False)
        assert found.undecided_because
    unknown = {"name": "own", "typed_config": dumps.typed("my.Filter")}
    chain = tcp_chain("c", "app")
    assert gateway(chain, clusters=[], protocol="tcp").flags == "NC"
    chain["filters"].insert(0, unknown)
    assert gateway(chain, clusters=[], protocol="tcp").flags is None


def test_a_policy_refuses_before_the_route_is_asked_and_names_itself() -> None:
    policy = {"permissions": [{"url_path": {"path": {"prefix": "/admin"}}}], "principals": [{"any": True}]}
    rules = {"action": "DENY", "policies": {"ns[shop]-policy[no-admin]-rule[2]": policy}}
    rbac = {"name": "rbac", "typed_config": dumps.typed("envoy.extensions.filters.http.rbac.v3.RBAC", rules=rules)}
    found = gateway(http_chain("c", filters=[rbac]), path="/admin/x")
    assert (found.status, found.cluster, found.forwards) == (403, "app", False)
    assert str(found.verdicts[0].policy) == "AuthorizationPolicy shop/no-admin rule 2"
    assert gateway(http_chain("c", filters=[rbac]), path="/other").forwards is True


def test_a_network_policy_closes_the_connection_before_any_http() -> None:
    rules = {"action": "DENY", "policies": {"p": {"permissions": [{"any": True}], "principals": [{"any": True}]}}}
    config = dumps.typed("envoy.extensions.filters.network.rbac.v3.RBAC", rules=rules)
    for chain, action in ((http_chain("c"), None), (tcp_chain("c", "app"), "tcp")):
        chain["filters"].insert(0, {"name": "rbac", "typed_config": config})
        found = gateway(chain)
        assert (found.forwards, found.status, found.flags, found.action) == (False, None, None, action)
        assert found.details == "rbac_access_denied_matched_policy[p]"


def test_a_route_configuration_that_the_proxy_has_not_got_is_a_404() -> None:
    found = gateway(http_chain("c", rds="missing"))
    assert (found.error, found.status, found.route_config_name) == ("no-virtual-host", 404, "missing")


def test_a_grpc_client_gets_a_refusal_as_200_with_a_grpc_status() -> None:
    routes = route_config("r", host("v", ["*"], {"match": {"prefix": "/a"}, "route": {"cluster": "app"}}))
    found = gateway(http_chain("c", routes), path="/x", headers=(("content-type", "application/grpc"),))
    assert (found.error, found.status, found.grpc_status) == ("no-route", 200, 12)


def test_sni_names_the_cluster_where_the_filter_for_it_stands_before() -> None:
    chain = tcp_chain("c", "BlackHoleCluster")
    kind = "envoy.extensions.filters.network.sni_cluster.v3.SniCluster"
    chain["filters"].insert(0, {"name": "s", "typed_config": dumps.typed(kind)})
    found = gateway(chain, more={"listener_filters": dumps.INSPECTORS}, tls="mtls", sni="outbound_.80_._.A.com")
    assert found.cluster == "outbound_.80_._.a.com"


def test_the_recorded_policies_are_judged_as_the_server_judged_them() -> None:
    server = dumps.recorded("policies", "policies", "backend-v3")

    def asked(path: str, method: str = "GET", account: str = "client") -> Match:
        return match(
            server,
            Query(
                direction="inbound", address="172.17.0.116", port=9080, tls="mtls", host="backend:9080", path=path,
                method=method, principal=f"spiffe://cluster.local/ns/policies/sa/{account}",
            ),
        )  # fmt: skip

    assert asked("/api/list").forwards is True
    assert asked("/api/x", "POST").details == "rbac_access_denied_matched_policy[none]"
    assert asked("/api/list", account="intruder").status == 403
    denied = "rbac_access_denied_matched_policy[ns[policies]-policy[backend-deny-admin]-rule[0]]"
    assert asked("/api/admin/x").details == denied


@pytest.mark.parametrize(
    ("method", "path", "details"),
    [("get", "/", "http1.codec_error"), ("GET", "api", "http1.codec_error"), ("GET", "*", "http1.invalid_url")],
)
def test_methods_and_paths_are_sent_as_they_are_written(method: str, path: str, details: str) -> None:
    chain = http_chain("h")
    found = dump([listener("g", "0.0.0.0", 80, chain)], (), [cluster("app", "10.0.0.1")])
    asked = ask.query(found.bootstrap(), direction="gateway", address=None, port=80, method=method, path=path)
    decided = match(found, asked)
    assert (decided.status, decided.flags, decided.details) == (400, "DPE", details)
    assert ("GET is one" in decided.steps[-1].because) == (method == "get")


@pytest.mark.parametrize(
    ("header", "status", "details"),
    [
        (("host", "a b"), 400, "http.invalid_authority"),
        (("host", "user@a"), None, ""),
        (("host", "a/b"), 400, "http.invalid_authority"),
        (("host", "a_b:80"), None, ""),
        (("host", "[fd00::1]:80"), None, ""),
        (("transfer-encoding", "gzip, chunked"), 501, "http1.invalid_transfer_encoding"),
        (("transfer-encoding", "chunked"), None, ""),
        (("content-length", "5, 5"), 400, "http1.codec_error"),
        (("content-length", "5"), None, ""),
    ],
)
def test_headers_that_http_1_refuses(header: tuple[str, str], status: int | None, details: str) -> None:
    """As seen of Envoy 1.36 to 1.40."""
    name, value = header
    found = dump([listener("g", "0.0.0.0", 80, http_chain("h"))], (), [cluster("app", "10.0.0.1")])
    asked = ask.query(
        found.bootstrap(),
        direction="gateway",
        address=None,
        port=80,
        host=value if name == "host" else "a",
        headers=() if name == "host" else (f"{name}={value}",),
    )
    decided = match(found, asked)
    assert (decided.status, decided.details) == (status, details)
    assert (decided.flags or "") == ("DPE" if status else "")


def test_without_the_peers_identity_a_policy_on_it_is_undecided() -> None:
    server = dumps.recorded("policies", "policies", "backend-v3")
    query = Query(direction="inbound", address="172.17.0.116", port=9080, tls="mtls", host="x", path="/api/a")
    found = match(server, query)
    assert (found.forwards, found.cluster) == (None, "inbound|9080||")
    assert "identity" in found.undecided_because[0]


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({}, "waits here 15 s, then is closed"),
        ({"listener_filters_timeout": "0.1s", "continue_on_listener_filters_timeout": True}, "0.1 s, then goes on"),
        ({"listener_filters_timeout": "0s", "continue_on_listener_filters_timeout": True}, "waits here for good"),
    ],
)
def test_it_says_how_long_the_inspectors_wait_for_a_client_that_says_nothing(limits: Any, said: str) -> None:
    found = gateway(tcp_chain("t", "app"), more={"listener_filters": dumps.INSPECTORS, **limits}, protocol="tcp")
    (step,) = (each for each in found.steps if each.what == "listener filters")
    assert said in step.because


def test_a_header_that_is_not_known_decides_nothing() -> None:
    match = {"prefix": "/", "headers": [{"name": "x-a", "string_match": {"exact": "1"}}]}
    routes = dumps.route_config("r", dumps.host("all", ["*"], {"match": match, "route": {"cluster": "app"}}))
    found = gateway(http_chain("c", routes=routes), headers=(("x-a", "1"),))
    assert found.forwards is True
    found = gateway(http_chain("c", routes=routes), headers=(("x-a", "1"),), unsure=("x-a",))
    assert (found.forwards, bool(found.undecided_because)) == (None, True)

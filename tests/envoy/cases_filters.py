"""HTTP filters: CORS, faults, policies, limits, what a route says to a filter, and filters that are only named."""

from dataclasses import replace
from itertools import product
from typing import Any

from tests.envoy import real_envoy as real
from tests.envoy.asking import (
    Ask,
    Case,
    case,
    chain,
    discovered,
    host,
    http,
    http_filter,
    listen,
    network_filter,
    says,
    tcp,
    tls,
    to,
    typed,
    web,
)

ME = "spiffe://cluster.local/ns/a/sa/me"


def share(numerator: int) -> dict[str, Any]:
    return {"numerator": numerator, "denominator": "HUNDRED"}


def chance(numerator: int) -> dict[str, Any]:
    return {"default_value": share(numerator), "runtime_key": "nothing"}


# --- CORS

CORS = http_filter("cors.v3.Cors")
PREFLIGHTS = tuple(
    Ask(path=path, method=method, headers=(*origin, *asked))
    for path, method, origin, asked in product(
        ("/", "/other"),
        ("OPTIONS", "GET"),
        ((), (("origin", "https://a.com"),), (("origin", "https://x.b.org"),), (("origin", ""),)),
        ((), (("access-control-request-method", "GET"),)),
    )
)


def policy(*origins: Any, **more: Any) -> dict[str, Any]:
    return {"allow_origin_string_match": list(origins), "allow_methods": "GET", **more}


def cors(name: str, of_route: Any = None, of_host: Any = None, *, legacy: bool = False, **more: Any) -> Case:
    """A policy on the route and on its virtual host, as filter configuration or (as Istio 1.12 has it) as a field."""
    route, vhost = dict(more.pop("route", to())), {}
    if of_route is not None and legacy:
        route["route"] = {**route["route"], "cors": of_route}
    elif of_route is not None:
        route["typed_per_filter_config"] = {"envoy.filters.http.cors": typed("cors.v3.CorsPolicy", **of_route)}
    if of_host is not None and legacy:
        vhost["cors"] = of_host
    elif of_host is not None:
        vhost["typed_per_filter_config"] = {"envoy.filters.http.cors": typed("cors.v3.CorsPolicy", **of_host)}
    other = {**to("two", "other", {"prefix": "/other"})}
    return web(name, *PREFLIGHTS, hosts=[host("all", ["*"], other, route, **vhost)], filters=[CORS], **more)


A, B = {"exact": "https://a.com"}, {"suffix": ".b.org"}
CROSS: tuple[Case, ...] = (
    *(
        made
        for legacy in (False, True)
        for kind in ("legacy" if legacy else "typed",)
        for made in (
            cors(f"cors-{kind}-exact", policy(A), legacy=legacy),
            cors(f"cors-{kind}-suffix", policy(B), legacy=legacy),
            cors(f"cors-{kind}-regex", policy({"safe_regex": {"regex": "https://.*\\.org"}}), legacy=legacy),
            cors(f"cors-{kind}-star", policy({"exact": "*"}), legacy=legacy),
            cors(f"cors-{kind}-prefix", policy({"prefix": "https://"}), legacy=legacy),
            cors(f"cors-{kind}-nobody", policy(), legacy=legacy),
            cors(f"cors-{kind}-host", None, policy(A), legacy=legacy),
            cors(f"cors-{kind}-both", policy(A), policy(B), legacy=legacy),
            cors(f"cors-{kind}-route-without-origins", policy(), policy(B), legacy=legacy),
            cors(f"cors-{kind}-answers-others", policy(A, forward_not_matching_preflights=False), legacy=legacy),
            cors(f"cors-{kind}-host-answers", policy(A), policy(forward_not_matching_preflights=False), legacy=legacy),
            cors(f"cors-{kind}-off", policy(A, filter_enabled=chance(0)), legacy=legacy),
            cors(f"cors-{kind}-on", policy(A, filter_enabled=chance(100)), legacy=legacy),
            cors(f"cors-{kind}-shadow", policy(A, filter_enabled=chance(0), shadow_enabled=chance(100)), legacy=legacy),
            cors(f"cors-{kind}-off-by-route", policy(A, filter_enabled=chance(0)), policy(A), legacy=legacy),
            cors(f"cors-{kind}-off-by-host", policy(A), policy(A, filter_enabled=chance(0)), legacy=legacy),
        )
    ),
    cors("cors-redirect", policy(A), route={"match": {"prefix": "/"}, "redirect": {"path_redirect": "/z"}}),
    cors("cors-direct", None, policy(A), route=says(200)),
    web("cors-mixed", *PREFLIGHTS, filters=[CORS], hosts=[
        host("all", ["*"], to("two", "other", {"prefix": "/other"}),
             to(per={"envoy.filters.http.cors": typed("cors.v3.CorsPolicy", **policy(A))}), cors=policy(B))]),
    web("cors-not-there", *PREFLIGHTS, hosts=[host("all", ["*"], to(), cors=policy(A))]),
    web("cors-no-route", *PREFLIGHTS, filters=[CORS], hosts=[
        host("all", ["*"], to(match={"path": "/x"}), cors=policy(A))]),
)  # fmt: skip

# --- faults

FAULT = "envoy.filters.http.fault"
ASKED = (
    Ask(), Ask(path="/other"),
    *(Ask(headers=h) for h in (
        (("x-envoy-fault-abort-request", "418"),), (("x-envoy-fault-abort-request", "999"),),
        (("x-envoy-fault-abort-request", "abc"),), (("x-envoy-fault-abort-request", "100"),),
        (("x-envoy-fault-abort-request", "418"), ("x-envoy-fault-abort-request-percentage", "0")),
        (("x-envoy-fault-abort-request", "418"), ("x-envoy-fault-abort-request-percentage", "200")),
        (("x-envoy-fault-abort-request", "418"), ("x-envoy-fault-abort-request-percentage", "abc")),
        (("x-envoy-fault-delay-request", "5"),),
        (("x-envoy-fault-delay-request", "5"), ("x-envoy-fault-abort-request", "418")),
        (("x-envoy-fault-abort-grpc-request", "5"),), (("x-envoy-fault-abort-grpc-request", "99"),),
        (("x-envoy-fault-abort-request", "418"), ("x-envoy-fault-abort-grpc-request", "5")),
        (("x-envoy-downstream-service-node", "n"),), (("content-type", "application/grpc"),),
    )),
)  # fmt: skip


def fault(name: str, own: Any = None, of_route: Any = None, of_host: Any = None, **more: Any) -> Case:
    per = {FAULT: typed("fault.v3.HTTPFault", **of_route)} if of_route is not None else None
    other = to("two", "other", {"prefix": "/other"})
    vhost: dict[str, Any] = {}
    if of_host is not None:
        vhost["typed_per_filter_config"] = {FAULT: typed("fault.v3.HTTPFault", **of_host)}
    routes = more.pop("routes", [other, to(per=per)])
    filters = [http_filter("fault.v3.HTTPFault", **(own or {}))]
    return web(name, *ASKED, hosts=[host("all", ["*"], *routes, **vhost)], filters=filters, **more)


def abort(numerator: int, **more: Any) -> dict[str, Any]:
    return {"abort": {"http_status": 503, "percentage": share(numerator)}, **more}


def weighted(name: str, *parts: tuple[int, dict[str, Any]]) -> dict[str, Any]:
    """A route to several clusters, each with a fault of its own."""
    clusters = [
        {"name": cluster, "weight": weight, "typed_per_filter_config": {FAULT: typed("fault.v3.HTTPFault", **config)}}
        for cluster, (weight, config) in zip(("one", "two"), parts, strict=True)
    ]
    return {"name": name, "match": {"prefix": f"/{name}"}, "route": {"weighted_clusters": {"clusters": clusters}}}


FAULTS: tuple[Case, ...] = (
    fault("fault-none"), fault("fault-all", abort(100)), fault("fault-zero", abort(0)),
    fault("fault-no-percentage", {"abort": {"http_status": 503}}),
    fault("fault-route", abort(0), abort(100)), fault("fault-route-off", abort(100), {}),
    fault("fault-host", None, None, abort(100)), fault("fault-host-and-route", None, abort(0), abort(100)),
    fault("fault-grpc", {"abort": {"grpc_status": 5, "percentage": share(100)}}),
    fault("fault-header", {"abort": {"header_abort": {}, "percentage": share(100)}}),
    fault("fault-header-half", {"abort": {"header_abort": {}, "percentage": share(0)}}),
    fault("fault-header-bare", {"abort": {"header_abort": {}}}),
    fault("fault-delay", {"delay": {"fixed_delay": "0.01s", "percentage": share(100)}}),
    fault("fault-delay-and-abort", abort(100, delay={"fixed_delay": "0.01s", "percentage": share(100)})),
    fault("fault-header-delay", {"delay": {"header_delay": {}, "percentage": share(100)}}),
    fault("fault-nodes", abort(100, downstream_nodes=["n"])),
    fault("fault-cluster", abort(100, upstream_cluster="one")),
    fault("fault-max", abort(100, max_active_faults=0)),
    fault("fault-headers", abort(100, headers=[{"name": "x-envoy-fault-delay-request", "present_match": True}])),
    fault("fault-cluster-header", abort(100, upstream_cluster="one"), routes=[
        {"match": {"prefix": "/"}, "route": {"cluster_header": "x-c"}}]),
    fault("fault-direct", abort(100), routes=[says(200)]), fault("fault-no-route", abort(100), routes=[]),
    fault("fault-disabled", abort(100), routes=[
        to(per={FAULT: {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}})]),
    fault("fault-wrapped", abort(0), routes=[
        to(per={FAULT: {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
                        "config": typed("fault.v3.HTTPFault", **abort(100))}})]),
    web("fault-weighted", Ask(path="/one"), Ask(path="/both"), Ask(path="/mixed", times=20), Ask(path="/delay"),
        filters=[http_filter("fault.v3.HTTPFault")], routes=[
            weighted("one", (100, abort(100)), (0, {})), weighted("both", (1, abort(100)), (1, abort(100))),
            weighted("mixed", (1, abort(100)), (1, {})),
            weighted("delay", (1, {"delay": {"fixed_delay": "0.01s", "percentage": share(100)}}), (0, abort(100)))]),
)  # fmt: skip

# --- RBAC

RBAC = "envoy.filters.http.rbac"
PERMISSIONS: tuple[dict[str, Any], ...] = (
    {"any": True}, {"header": {"name": "x-a", "string_match": {"exact": "1"}}}, {"header": {"name": "x-a"}},
    {"header": {"name": "x-a", "present_match": False}},
    {"header": {"name": "x-a", "string_match": {"exact": "1"}, "invert_match": True}},
    {"url_path": {"path": {"prefix": "/p"}}}, {"url_path": {"path": {"suffix": "q"}}},
    {"url_path": {"path": {"safe_regex": {"regex": "/p/[a-z]+"}}}},
    {"url_path": {"path": {"exact": "/P", "ignore_case": True}}},
    {"destination_ip": {"address_prefix": "127.0.0.1", "prefix_len": 32}},
    {"destination_ip": {"address_prefix": "127.0.0.2", "prefix_len": 32}},
    {"destination_port": "$PORT"}, {"destination_port": 1}, {"destination_port_range": {"start": 1, "end": 65535}},
    {"destination_port_range": {"start": 1, "end": 2}},
    {"requested_server_name": {"exact": "a.com"}}, {"requested_server_name": {"exact": ""}},
    {"requested_server_name": {"suffix": ".com"}},
    {"not_rule": {"url_path": {"path": {"prefix": "/p"}}}},
    {"and_rules": {"rules": [{"any": True}, {"url_path": {"path": {"prefix": "/p"}}}]}},
    {"or_rules": {"rules": [{"header": {"name": "x-a"}}, {"url_path": {"path": {"prefix": "/p"}}}]}},
    {"metadata": {"filter": "f", "path": [{"key": "k"}], "value": {"present_match": True}}},
    {"metadata": {"filter": "f", "path": [{"key": "k"}], "value": {"present_match": True}, "invert": True}},
    {"metadata": {"filter": "f", "path": [{"key": "k"}], "value": {"null_match": {}}}},
    {"metadata": {"filter": "f", "path": [{"key": "k"}], "value": {"present_match": False}}},
    {"sourced_metadata": {"metadata_matcher": {
        "filter": "f", "path": [{"key": "k"}], "value": {"present_match": True}, "invert": True}}},
    {"header": {"name": ":method", "string_match": {"exact": "GET"}}},
    {"header": {"name": ":path", "string_match": {"exact": "/p/q?x"}}},
    {"header": {"name": ":authority", "string_match": {"exact": "a.com"}}},
    {"header": {"name": "host", "string_match": {"exact": "a.com"}}},
    {"header": {"name": ":scheme", "string_match": {"exact": "http"}}},
    {"uri_template": {"name": "t", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig",
        "path_template": "/p/{x}"}}},
)  # fmt: skip
PRINCIPALS: tuple[dict[str, Any], ...] = (
    {"any": True}, {"authenticated": {}}, {"authenticated": {"principal_name": {"exact": ME}}},
    {"authenticated": {"principal_name": {"prefix": "spiffe://"}}},
    {"authenticated": {"principal_name": {"safe_regex": {"regex": ".*"}}}},
    {"authenticated": {"principal_name": {"safe_regex": {"regex": ".+"}}}},
    {"authenticated": {"principal_name": {"suffix": "/sa/other"}}},
    {"authenticated": {"principal_name": {"prefix": ""}}},
    {"source_ip": {"address_prefix": "127.0.0.5", "prefix_len": 32}},
    {"direct_remote_ip": {"address_prefix": "127.0.0.5", "prefix_len": 32}},
    {"remote_ip": {"address_prefix": "10.9.0.0", "prefix_len": 16}},
    {"remote_ip": {"address_prefix": "127.0.0.5", "prefix_len": 32}},
    {"header": {"name": "x-a", "string_match": {"exact": "1"}}},
    {"url_path": {"path": {"exact": "/p"}}},
    {"not_id": {"authenticated": {"principal_name": {"exact": ME}}}},
    {"not_id": {"authenticated": {}}},
    {"and_ids": {"ids": [{"any": True}, {"source_ip": {"address_prefix": "127.0.0.0", "prefix_len": 8}}]}},
    {"or_ids": {"ids": [{"header": {"name": "x-a"}}, {"authenticated": {}}]}},
    {"metadata": {"filter": "f", "path": [{"key": "k"}], "value": {"string_match": {"exact": "x"}}}},
    {"sourced_metadata": {"metadata_source": "DYNAMIC", "metadata_matcher": {
        "filter": "f", "path": [{"key": "k"}], "value": {"string_match": {"exact": "x"}}, "invert": True}}},
)  # fmt: skip
PLAIN_ASKS = (
    Ask(path="/p"), Ask(path="/p/q?x"), Ask(path="/P"), Ask(headers=(("x-a", "1"),)), Ask(headers=(("x-a", "2"),)),
    Ask(headers=(("x-a", "1"), ("x-a", "2"))), Ask(method="POST", host="A.com"), Ask(source="127.0.0.5"),
    Ask(headers=(("x-forwarded-for", "10.9.1.1"),)), Ask(path="/p", protocol="http2"),
    Ask(path="/p", address="127.0.0.2"), Ask(headers=(("content-type", "application/grpc"),)),
)  # fmt: skip
TLS_ASKS = (
    Ask(path="/p", tls="tls", sni="a.com"), Ask(path="/p", tls="mtls", sni="x.com", client=ME),
    Ask(path="/", tls="mtls", sni="b.org", client="spiffe://cluster.local/ns/a/sa/other"),
    Ask(path="/", tls="mtls", source="127.0.0.5", client=ME, headers=(("x-a", "1"),)),
)  # fmt: skip


def policies(permission: Any = None, principal: Any = None, action: str = "ALLOW") -> dict[str, Any]:
    one = {"permissions": [permission or {"any": True}], "principals": [principal or {"any": True}]}
    return {"action": action, "policies": {"ns[a]-policy[b]-rule[0]": one}}


def guarded(name: str, rules: Any, **more: Any) -> tuple[Case, Case]:
    """The same policy over plain text, and over TLS that asks for a certificate."""
    filters = [http_filter("rbac.v3.RBAC", rules=rules, **more)]
    secured = listen(chain(f"tls-{name}", http(to(), filters=filters), tls=tls(ask=True)))
    return web(name, *PLAIN_ASKS, filters=filters), case(f"{name}-tls", secured, *TLS_ASKS)


def network_guarded(name: str, rules: Any) -> Case:
    guard = network_filter("rbac.v3.RBAC", rules=rules, stat_prefix="x")
    asks = (Ask(protocol="tcp"), Ask(protocol="tcp", source="127.0.0.5"), Ask(protocol="tcp", address="127.0.0.2"))
    secure = tuple(replace(ask, protocol="tcp", host="a.com") for ask in TLS_ASKS)
    plain = chain(f"guarded-{name}", guard, tcp("one"), match={"transport_protocol": "raw_buffer"})
    secured = chain(f"secured-{name}", guard, tcp("one"), match={"transport_protocol": "tls"}, tls=tls(ask=True))
    return case(name, listen(plain, secured, listener_filters=[real.inspector("tls")]), *asks, *secure)


POLICIES: tuple[Case, ...] = (
    *(c for n, rule in enumerate(PERMISSIONS) for c in guarded(f"permission-{n}", policies(rule))),
    *(c for n, rule in enumerate(PRINCIPALS) for c in guarded(f"principal-{n}", policies(None, rule))),
    *(c for n, rule in enumerate(PRINCIPALS) for c in guarded(f"denied-{n}", policies(None, rule, "DENY"))),
    *(network_guarded(f"network-permission-{n}", policies(rule)) for n, rule in enumerate(PERMISSIONS)
      if "metadata" not in rule),
    *(network_guarded(f"network-principal-{n}", policies(None, rule)) for n, rule in enumerate(PRINCIPALS)),
    *(network_guarded(f"network-denied-{n}", policies(None, rule, "DENY")) for n, rule in enumerate(PRINCIPALS)),
    *guarded("nobody", {"action": "ALLOW"}), *guarded("log-only", policies(action="LOG")),
    *guarded("nobody-denied", {"action": "DENY"}), *guarded("empty-rules", {}),
    web("shadow", Ask(), filters=[http_filter("rbac.v3.RBAC", shadow_rules=policies(action="DENY"))]),
    web("rbac-none", Ask(), filters=[http_filter("rbac.v3.RBAC")]),
    web("rbac-route", Ask(), Ask(path="/open"), Ask(path="/shut"), Ask(path="/off"),
        filters=[http_filter("rbac.v3.RBAC", rules=policies(action="DENY"))],
        routes=[
            to("one", "open", {"path": "/open"}, per={RBAC: typed("rbac.v3.RBACPerRoute", rbac={"rules": policies()})}),
            to("one", "shut", {"path": "/shut"}, per={RBAC: typed(
                "rbac.v3.RBACPerRoute", rbac={"rules": policies({"header": {"name": "x-z"}})})}),
            to("one", "off", {"path": "/off"}, per={RBAC: typed("rbac.v3.RBACPerRoute")}), to()]),
    web("rbac-before-redirect", Ask(), filters=[http_filter("rbac.v3.RBAC", rules=policies(action="DENY"))],
        routes=[{"name": "moved", "match": {"prefix": "/"}, "redirect": {"path_redirect": "/n"}}]),
    web("rbac-before-404", Ask(), filters=[http_filter("rbac.v3.RBAC", rules=policies(action="DENY"))],
        routes=[to(match={"path": "/x"})]),
    web("rbac-before-no-cluster", Ask(), filters=[http_filter("rbac.v3.RBAC", rules=policies(action="DENY"))],
        routes=[to("nowhere")], config={"validate_clusters": False}),
    web("rbac-twice", Ask(), filters=[
        http_filter("rbac.v3.RBAC", "deny", rules=policies({"header": {"name": "x-z"}}, action="DENY")),
        http_filter("rbac.v3.RBAC", "allow", rules=policies({"header": {"name": "x-z"}}))]),
)  # fmt: skip

# --- limits and filters that ask others

LIMIT = "envoy.filters.http.local_ratelimit"
BUCKET = {"token_bucket": {"max_tokens": 1, "fill_interval": "3600s"}, "stat_prefix": "x"}
ENABLED = {"filter_enabled": chance(100), "filter_enforced": chance(100)}


def limit(**more: Any) -> dict[str, Any]:
    return http_filter("local_ratelimit.v3.LocalRateLimit", **{"stat_prefix": "x", **more})


def lua(text: str = "function envoy_on_request(h) end") -> dict[str, Any]:
    return http_filter("lua.v3.Lua", default_source_code={"inline_string": text})


GRPC = {"envoy_grpc": {"cluster_name": "empty"}}
SERVED = http_filter(
    "ratelimit.v3.RateLimit", domain="x", rate_limit_service={"grpc_service": GRPC, "transport_api_version": "V3"}
)
OTHERS: tuple[Case, ...] = (
    web("limit-not-enabled", Ask(), Ask(), filters=[limit(**BUCKET)]),
    web("limit-enabled-not-enforced", Ask(), Ask(), filters=[limit(**BUCKET, filter_enabled=chance(100))]),
    web("limit-enforced-not-enabled", Ask(), Ask(), filters=[limit(**BUCKET, filter_enforced=chance(100))]),
    web("limit-on", Ask(open=True), filters=[limit(**BUCKET, **ENABLED)]),
    web("limit-no-bucket", Ask(), filters=[limit()]),
    web("limit-route", Ask(open=True), Ask(path="/free"), filters=[limit()], routes=[
        to("two", "free", {"path": "/free"}),
        to(per={LIMIT: typed("local_ratelimit.v3.LocalRateLimit", **BUCKET, **ENABLED)})]),
    web("limit-route-off", Ask(), filters=[limit(**BUCKET, **ENABLED)], routes=[to(per={
        LIMIT: typed("local_ratelimit.v3.LocalRateLimit", stat_prefix="x")})]),
    web("lua", Ask(open=True), filters=[lua()]),
    web("lua-off", Ask(), filters=[lua()], routes=[
        to(per={"envoy.filters.http.lua": typed("lua.v3.LuaPerRoute", disabled=True)})]),
    web("ext-authz", Ask(open=True), filters=[http_filter("ext_authz.v3.ExtAuthz", grpc_service=GRPC)]),
    web("ext-authz-route-off", Ask(), filters=[http_filter("ext_authz.v3.ExtAuthz", grpc_service=GRPC)], routes=[
        to(per={"envoy.filters.http.ext_authz": typed("ext_authz.v3.ExtAuthzPerRoute", disabled=True)})]),
    web("ext-authz-zero", Ask(), filters=[
        http_filter("ext_authz.v3.ExtAuthz", grpc_service=GRPC, filter_enabled=chance(0))]),
    web("ext-authz-custom", Ask(), Ask(path="/admin", open=True), Ask(path="/admin/x", open=True), Ask(path="/admins"),
        filters=[
            http_filter("rbac.v3.RBAC", shadow_rules={"action": "DENY", "policies": {
                "istio-ext-authz-ns[a]-policy[c]-rule[0]": {
                    "permissions": [{"url_path": {"path": {"exact": "/admin"}}},
                                    {"url_path": {"path": {"prefix": "/admin/"}}}],
                    "principals": [{"any": True}]}}}, shadow_rules_stat_prefix="istio_ext_authz_"),
            http_filter("ext_authz.v3.ExtAuthz", grpc_service=GRPC, filter_enabled_metadata={
                "filter": "envoy.filters.http.rbac",
                "path": [{"key": "istio_ext_authz_shadow_effective_policy_id"}],
                "value": {"string_match": {"prefix": "istio-ext-authz"}}}),
        ]),
    web("rate-limit-unused", Ask(), filters=[SERVED]),
    web("rate-limit-used", Ask(open=True), filters=[SERVED], routes=[
            to(rate_limits=[{"actions": [{"request_headers": {"header_name": ":path", "descriptor_key": "p"}}]}])]),
    web("rate-limit-of-host", Ask(open=True), filters=[SERVED], hosts=[host("all", ["*"], to(), rate_limits=[
            {"actions": [{"remote_address": {}}]}])]),
    *(web(f"grpc-{status}", Ask(headers=(("content-type", "application/grpc"),)), routes=[says(status)])
      for status in (200, 400, 401, 403, 404, 408, 429, 500, 502, 503, 504, 418)),
    case("network-custom", listen(chain(
        "network-custom-chain",
        network_filter("rbac.v3.RBAC", stat_prefix="x", shadow_rules={"action": "DENY", "policies": {
            "istio-ext-authz-x": {"permissions": [{"any": True}], "principals": [
                {"direct_remote_ip": {"address_prefix": "127.0.0.5", "prefix_len": 32}}]}}},
            shadow_rules_stat_prefix="istio_ext_authz_"),
        network_filter("ext_authz.v3.ExtAuthz", stat_prefix="x", grpc_service=GRPC, transport_api_version="V3",
                       filter_enabled_metadata={
            "filter": "envoy.filters.network.rbac",
            "path": [{"key": "istio_ext_authz_shadow_effective_policy_id"}],
            "value": {"string_match": {"prefix": "istio-ext-authz"}}}),
        tcp("one"))), Ask(protocol="tcp"), Ask(protocol="tcp", source="127.0.0.5", open=True)),
    web("lua-after-deny", Ask(), filters=[http_filter("rbac.v3.RBAC", rules=policies(action="DENY")), lua()]),
    web("deny-after-lua", Ask(open=True), filters=[lua(), http_filter("rbac.v3.RBAC", rules=policies(action="DENY"))]),
    web("disabled", Ask(), filters=[{**lua("x"), "disabled": True}]),
    web("header-mutation", Ask(), Ask(headers=(("x-a", "1"),)), filters=[
        http_filter("header_mutation.v3.HeaderMutation", mutations={"request_mutations": [{"remove": "x-a"}]})],
        routes=[to("two", "a", {"prefix": "/", "headers": [{"name": "x-a"}]}), to()]),
    web("discovered-deny", Ask(), Ask(path="/open"), filters=[discovered("deny", "rbac.v3.RBAC")], extensions=[
        http_filter("rbac.v3.RBAC", "deny", rules=policies({"not_rule": {"url_path": {"path": {"exact": "/open"}}}},
                                                           action="DENY"))]),
    web("discovered-never", Ask(), filters=[discovered("never", "rbac.v3.RBAC")], extensions=[
        http_filter("buffer.v3.Buffer", "never", max_request_bytes=100)]),
    web("discovered-default", Ask(), filters=[discovered("later", "rbac.v3.RBAC", default_config=typed(
        "rbac.v3.RBAC", rules=policies(action="DENY")))], extensions=[
            http_filter("buffer.v3.Buffer", "later", max_request_bytes=100)]),
    web("discovered-lua", Ask(open=True), filters=[discovered("script", "lua.v3.Lua")], extensions=[
        {**lua(), "name": "script"}]),
    web("discovered-buffer", Ask(), filters=[discovered("waits", "buffer.v3.Buffer")], extensions=[
        http_filter("buffer.v3.Buffer", "waits", max_request_bytes=100)]),
    web("buffer", Ask(), filters=[http_filter("buffer.v3.Buffer", max_request_bytes=100)]),
    web("csrf", *(Ask(method=m, headers=h, open=True) for m in ("GET", "POST") for h in ((), (("origin", "http://b"),))),
        filters=[http_filter("csrf.v3.CsrfPolicy", filter_enabled=chance(100))]),
)  # fmt: skip

CASES: tuple[Case, ...] = (*CROSS, *FAULTS, *POLICIES, *OTHERS)

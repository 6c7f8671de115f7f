"""What a route says besides its cluster (mirrors, hashes, limits of time, rewrites), and filters that answer alone."""

from dataclasses import replace
from itertools import product
from typing import Any

from tests.envoy import real_envoy as real
from tests.envoy.asking import HTTP, Ask, Case, cluster, host, hosts, http_filter, says, to, typed, web

UNCHECKED = {"config": {"validate_clusters": False}}
HEADER = (("x-user", "me"),)


def share(numerator: int) -> dict[str, Any]:
    return {"default_value": {"numerator": numerator, "denominator": "HUNDRED"}}


# --- copies and hashes

COPIED: tuple[Case, ...] = (
    *(
        web(f"mirror-{name}", Ask(), routes=[to(request_mirror_policies=policies)], **UNCHECKED)
        for name, policies in (
            ("one", [{"cluster": "two"}]), ("empty", [{"cluster": "empty"}]), ("missing", [{"cluster": "nowhere"}]),
            ("never", [{"cluster": "two", "runtime_fraction": share(0)}]),
            ("several", [{"cluster": "two"}, {"cluster": "three"}]), ("by-header", [{"cluster_header": "x-to"}]),
        )
    ),
    web("mirror-of-nothing", Ask(), routes=[to("empty", request_mirror_policies=[{"cluster": "two"}])]),
    web("mirror-of-a-missing", Ask(), routes=[to("nowhere", request_mirror_policies=[{"cluster": "two"}])],
        **UNCHECKED),
)  # fmt: skip
HASHES: tuple[tuple[str, list[dict[str, Any]], Ask], ...] = (
    ("header", [{"header": {"header_name": "x-user"}}], Ask(headers=HEADER, times=40)),
    ("header-missing", [{"header": {"header_name": "x-user"}}], Ask(times=40)),
    ("cookie", [{"cookie": {"name": "who"}}], Ask(headers=(("cookie", "who=me"),), times=40)),
    ("cookie-missing", [{"cookie": {"name": "who"}}], Ask(times=40)),
    ("cookie-made", [{"cookie": {"name": "who", "ttl": "0s"}}], Ask(times=40)),
    ("source", [{"connection_properties": {"source_ip": True}}], Ask(times=40)),
    ("query", [{"query_parameter": {"name": "q"}}], Ask(path="/?q=me", times=40)),
    ("query-missing", [{"query_parameter": {"name": "q"}}], Ask(times=40)),
    ("second", [{"header": {"header_name": "x-user"}}, {"connection_properties": {"source_ip": True}}], Ask(times=40)),
    ("none", [], Ask(times=40)),
)
HASHED = tuple(
    web(f"hash-{name}-{kind.lower()}", ask, routes=[to(f"hash-{name}-{kind.lower()}", hash_policy=policies)], clusters=[
        cluster(f"hash-{name}-{kind.lower()}", hosts(".1", ".2", ".3"), lb_policy=kind)])
    for (name, policies, ask), kind in product(HASHES, ("RING_HASH", "MAGLEV", "ROUND_ROBIN"))
)  # fmt: skip

# --- limits of time, with a filter that holds requests

HELD = http_filter("fault.v3.HTTPFault", delay={"fixed_delay": "0.5s", "percentage": {"numerator": 100}})
LIMITS: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("timeout", {"timeout": "0.1s"}, {}),
    ("per-try", {"retry_policy": {"retry_on": "5xx", "per_try_timeout": "0.1s"}}, {}),
    ("idle", {"idle_timeout": "0.1s"}, {}),
    ("idle-longer", {"idle_timeout": "9s"}, {"stream_idle_timeout": "0.1s"}),
    ("idle-off", {"idle_timeout": "0s"}, {"stream_idle_timeout": "0.1s"}),
    ("stream", {"max_stream_duration": {"max_stream_duration": "0.1s"}}, {}),
    ("of-manager-idle", {}, {"stream_idle_timeout": "0.1s"}),
    ("of-manager-request", {}, {"request_timeout": "0.1s"}),
    ("of-manager-stream", {}, {"common_http_protocol_options": {"max_stream_duration": "0.1s"}}),
    ("of-manager-longer", {"max_stream_duration": {"max_stream_duration": "9s"}},
     {"common_http_protocol_options": {"max_stream_duration": "0.1s"}}),
    ("two", {"idle_timeout": "0.2s"}, {"request_timeout": "0.1s"}),
    ("long", {"idle_timeout": "5s", "timeout": "5s"}, {"request_timeout": "5s"}),
)  # fmt: skip
TIMED = tuple(
    web(f"limit-{name}{'-held' if held else ''}", Ask(), routes=[to(**route)], filters=[HELD] if held else [], **more)
    for (name, route, more), held in product(LIMITS, (False, True))
)

# --- routes of other shapes

REWRITE = "envoy.path.rewrite.uri_template.uri_template_rewriter"
MATCHER = {
    "matcher_tree": {
        "input": {"name": "path", "typed_config": real.any_type(
            "envoy.type.matcher.v3.HttpRequestHeaderMatchInput", header_name=":path")},
        "exact_match_map": {"map": {"/a": {"action": {"name": "route", "typed_config": real.any_type(
            "envoy.config.route.v3.Route", **to("two"))}}}},
    }
}  # fmt: skip
SHAPED: tuple[Case, ...] = (
    web("rewrite-policy", Ask(path="/a/b"), Ask(path="/c"), routes=[
        to(match={"path_match_policy": {"name": "t", "typed_config": real.any_type(
            "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig", path_template="/a/{x}")}},
           path_rewrite_policy={"name": REWRITE, "typed_config": real.any_type(
            "envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig",
            path_template_rewrite="/{x}")})]),
    web("host-matcher", Ask(path="/a", open=True), Ask(path="/b", open=True),
        hosts=[{"name": "all", "domains": ["*"], "matcher": MATCHER}]),
    web("internal-redirect", Ask(), routes=[to(internal_redirect_policy={"max_internal_redirects": 2})]),
    web("retries", Ask(), Ask(headers=(("x-envoy-retry-on", "5xx"), ("x-envoy-max-retries", "3"))), routes=[
        to(retry_policy={"retry_on": "5xx,reset,connect-failure", "num_retries": 3})]),
    web("retries-of-host", Ask(), hosts=[host("all", ["*"], to("empty"), retry_policy={"retry_on": "5xx"})]),
    web("retries-of-nothing", Ask(), routes=[to("empty", retry_policy={"retry_on": "5xx", "num_retries": 0})]),
)  # fmt: skip

# --- filters that answer by themselves

HEALTH = "health_check.v3.HealthCheck"


OPEN = ("caches", "of-clusters", "of-a-missing", "of-good-clusters")


def path_is(value: str) -> dict[str, Any]:
    return {"name": ":path", "string_match": {"exact": value}}


CHECKS = (Ask(path="/healthz"), Ask(path="/healthz?x"), Ask(path="/other"),
          Ask(path="/healthz", headers=HEADER), Ask(path="/healthz", method="POST"))  # fmt: skip
HEALTHY = tuple(
    web(f"health-{name}", *(replace(ask, open=name in OPEN) for ask in CHECKS), filters=[http_filter(HEALTH, **fields)])
    for name, fields in (
        ("answers", {"pass_through_mode": False, "headers": [path_is("/healthz")]}),
        ("passes", {"pass_through_mode": True, "headers": [path_is("/healthz")]}),
        ("caches", {"pass_through_mode": True, "cache_time": "5s", "headers": [path_is("/healthz")]}),
        ("everything", {"pass_through_mode": False}),
        ("two", {"pass_through_mode": False, "headers": [path_is("/healthz"), {"name": "x-user"}]}),
        ("of-clusters", {"pass_through_mode": False, "headers": [path_is("/healthz")],
                         "cluster_min_healthy_percentages": {"empty": {"value": 10}}}),
        ("of-a-missing", {"pass_through_mode": False, "headers": [path_is("/healthz")],
                          "cluster_min_healthy_percentages": {"nowhere": {"value": 10}}}),
        ("of-good-clusters", {"pass_through_mode": False, "headers": [path_is("/healthz")],
                              "cluster_min_healthy_percentages": {"one": {"value": 100}}}),
    )
)  # fmt: skip
CSRF = "envoy.filters.http.csrf"
FORGED = tuple(
    Ask(method=method, headers=headers, **place)
    for method, headers, place in product(
        ("GET", "POST", "DELETE"),
        ((), (("origin", "http://a.com"),), (("origin", "https://evil.org"),), (("referer", "http://a.com/x"),),
         (("origin", "null"),), (("origin", "http://a.com:81"),), (("origin", "http://x.good.org"),),
         (("origin", "null"), ("referer", "http://a.com/x")), (("origin", "http://A.com"),),
         (("origin", "a.com"), ("referer", "http://a.com/x")), (("origin", ""), ("referer", "http://a.com/x")),
         (("origin", "http://a.com:80"),), (("origin", "https://a.com"),), (("origin", "http://a.com/p?q"),),
         (("referer", "a.com"),), (("origin", "ftp://a.com"),), (("origin", "http://u@a.com"),)),
        ({}, {"path": "/off"}),
    )
)  # fmt: skip
POLICIES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("on", {"filter_enabled": share(100)}),
    ("off", {"filter_enabled": share(0)}),
    ("shadow", {"filter_enabled": share(0), "shadow_enabled": share(100)}),
    ("more", {"filter_enabled": share(100), "additional_origins": [{"suffix": ".good.org"}]}),
    ("null", {"filter_enabled": share(100), "additional_origins": [{"exact": "null"}]}),
    ("nowhere", {"filter_enabled": share(100), "additional_origins": [{"exact": ""}, {"prefix": "e"}]}),
)
SAFE = tuple(
    web(f"csrf-{name}", *FORGED, filters=[http_filter("csrf.v3.CsrfPolicy", **fields)], routes=[
        to("two", "off", {"path": "/off"}, per={CSRF: typed("csrf.v3.CsrfPolicy", filter_enabled=share(0))}), to()])
    for name, fields in POLICIES
)  # fmt: skip
TREE = {
    "matcher_tree": {
        "input": {"name": "h", "typed_config": real.any_type(
            "envoy.type.matcher.v3.HttpRequestHeaderMatchInput", header_name="x-user")},
        "exact_match_map": {"map": {"me": {"action": {"name": "action", "typed_config": real.any_type(
            "envoy.config.rbac.v3.Action", name="allow-me", action="ALLOW")}}}},
    },
    "on_no_match": {"action": {"name": "action", "typed_config": real.any_type(
        "envoy.config.rbac.v3.Action", name="deny-all", action="DENY")}},
}  # fmt: skip
ALONE: tuple[Case, ...] = (
    web("rbac-matcher", Ask(open=True), Ask(headers=HEADER, open=True),
        filters=[{"name": "rbac", "typed_config": real.any_type(f"{HTTP}.rbac.v3.RBAC", matcher=TREE)}]),
    web("health-before-a-direct-answer", *CHECKS, routes=[says(200)], filters=[
        http_filter(HEALTH, pass_through_mode=False, headers=[path_is("/healthz")])]),
)  # fmt: skip

CASES: tuple[Case, ...] = (*COPIED, *HASHED, *TIMED, *SHAPED, *HEALTHY, *SAFE, *ALONE)

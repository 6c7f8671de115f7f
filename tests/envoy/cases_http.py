"""Hosts, paths, routes, redirects and what else a connection manager decides before any filter."""

from dataclasses import replace
from typing import Any

from tests.envoy import real_envoy as real
from tests.envoy.asking import Ask, Case, case, chain, host, http, listen, says, tcp, tls, to, web


def when(*headers: Any, name: str = "fits", **match: Any) -> Any:
    return to("one", name, {"prefix": "/", "headers": list(headers), **match})


ELSE = to("two", "else")
SENT = (
    (),
    (("x-one", "12"),),
    (("x-one", "abc"),),
    (("x-one", "ABC"),),
    (("x-one", ""),),
    (("x-one", "1_0"),),
    (("x-one", "+5"),),
    (("x-one", " 7"),),
    (("x-one", "1"), ("x-one", "12")),
)
STRINGS: tuple[dict[str, Any], ...] = (
    {"exact": "abc"}, {"exact": "abc", "ignore_case": True}, {"prefix": "a"}, {"suffix": "c"}, {"contains": "b"},
    {"contains": "B", "ignore_case": True}, {"safe_regex": {"regex": "[a-c]+"}},
)  # fmt: skip
MATCHERS: tuple[dict[str, Any], ...] = (
    *({"string_match": each} for each in STRINGS),
    {"string_match": {"exact": "abc"}, "invert_match": True},
    {"range_match": {"start": 1, "end": 20}},
    {"range_match": {"start": 1, "end": 20}, "invert_match": True},
    {"present_match": True},
    {"present_match": False},
    {"present_match": True, "invert_match": True},
    {"present_match": False, "invert_match": True},
    {"present_match": False, "treat_missing_header_as_empty": True},
    {"string_match": {"exact": "abc"}, "treat_missing_header_as_empty": True},
    {"string_match": {"safe_regex": {"regex": ".*"}}, "treat_missing_header_as_empty": True},
    {"string_match": {"exact": "abc"}, "treat_missing_header_as_empty": True, "invert_match": True},
    {},
)

HEADERS = tuple(
    web(f"header-{n}", *(Ask(headers=h) for h in SENT), routes=[when({"name": "x-one", **m}), ELSE])
    for n, m in enumerate(MATCHERS)
)

NAMED = tuple(
    web(
        f"named-{n}",
        *(
            replace(ask, open="x-envoy" in name)
            for ask in (
                Ask(),
                Ask(headers=(("x-forwarded-for", "10.1.2.3"),)),
                Ask(headers=(("x-forwarded-for", "192.0.2.3"), ("connection", "x"))),
                Ask(headers=(("user-agent", "a"), ("te", "trailers"), ("keep-alive", "5"), ("proxy-connection", "x"))),
                Ask(headers=(("x-envoy-retry-on", "5xx"), ("x-envoy-internal", "true"), ("x-forwarded-proto", "a"))),
                Ask(headers=(("x-request-id", "1"), ("x-forwarded-client-cert", "a"), ("te", "gzip"))),
                Ask(protocol="http2"),
            )
        ),
        routes=[when({"name": name, "present_match": True}), ELSE],
        use_remote_address=remote,
    )
    for n, (name, remote) in enumerate(
        (name, remote)
        for name in (
            ":method", ":scheme", ":authority", "host", ":path", "connection", "te", "keep-alive", "proxy-connection",
            "x-envoy-retry-on", "x-forwarded-proto", "transfer-encoding", "user-agent", "x-envoy-internal",
            "x-forwarded-for", "content-length", "x-request-id", "x-envoy-external-address",
            "x-envoy-expected-rq-timeout-ms", "x-envoy-attempt-count", "x-forwarded-client-cert",
        )
        for remote in (False, True)
    )
)  # fmt: skip

TWICE = tuple(
    web(f"twice-{name}", Ask(headers=((name, "a"), (name, "b"))), Ask(headers=((name, "b"),)),
        Ask(open=name == "x-request-id"), routes=[when({"name": name, "string_match": {"exact": "b"}}),
                when({"name": name, "string_match": {"exact": "a,b"}}, name="joined"), ELSE])
    for name in (
        "accept", "accept-encoding", "access-control-request-headers", "access-control-request-method", "authorization",
        "cache-control", "content-type", "cookie", "grpc-timeout", "if-match", "origin", "pragma", "range", "referer",
        "user-agent", "via", "x-forwarded-for", "x-forwarded-proto", "x-request-id", "x-anything", "date", "expect",
        "forwarded", "baggage", "traceparent", "x-b3-traceid", "x-ot-span-context", "accept-language", "from",
    )
)  # fmt: skip

HOSTS = ("a.com", "A.COM", "a.com.", "a.com:80", "a.com:8080", "x.a.com", "x.y.a.com", ".a.com", "shop.org", "shop.",
         "other", "other:1", "a.com:abc", "[::1]", "[::1]:80", "::1", "10.0.0.1", "10.0.0.1:80", "x.a.com:8080",
         "user@a.com", "a.com:", "*", "*.a.com", "a..com")  # fmt: skip
DOMAINS = [
    host("exact", ["a.com", "10.0.0.1", "[::1]"], to("one", "exact")),
    host("port", ["a.com:8080"], to("two", "port")),
    host("suffix", ["*.a.com"], to("three", "suffix")),
    host("shorter", ["*com"], to("one", "shorter")),
    host("prefix", ["shop.*"], to("two", "prefix")),
]
ANY = host("any", ["*"], to("three", "any"))
VIRTUAL = tuple(
    web(f"hosts-{n}", *(Ask(host=h) for h in HOSTS), *(Ask(host=h, protocol="http2") for h in HOSTS[:9]),
        hosts=[*DOMAINS, ANY] if n % 2 else DOMAINS, **options)
    for n, options in enumerate((
        {}, {"strip_any_host_port": True}, {"strip_matching_host_port": True}, {"strip_trailing_host_dot": True},
        {"config": {"ignore_port_in_host_matching": True}},
        {"strip_trailing_host_dot": True, "strip_any_host_port": True},
    ))
)  # fmt: skip


PATHS = ("/", "/a", "/a/", "/a/b", "/a//b", "//a/b", "/a%2Fb", "/a%2fb", "/a%5cb", "/a\\b", "/a/../b", "/a/%2e%2e/b",
         "/a/./b", "/a/..", "/..", "/%61", "/a?x=%2F", "/a?x=/../b", "/a;b=1", "/a%00b", "/a%zz", "/a%", "/A",
         "/a/b?q=1#f", "/a#f", "/é", "/a%C3%A9", "/a b", "/a/b/..?x=1", "///", "/a?", "/a?x&y=2", "/./", "/a/.../b",
         "/a%20b", "/a%2525", "/%2F", "/%2e%2e/%2e%2e/a")  # fmt: skip
PATH_ROUTES = [
    to("one", "exact-b", {"path": "/b"}),
    to("one", "deep", {"path": "/a/b"}),
    to("one", "regex", {"safe_regex": {"regex": "/a/[^/]*/b"}}),
    to("one", "sep", {"path_separated_prefix": "/a"}),
    to("two", "pre", {"prefix": "/a"}),
    to("three", "any-case", {"prefix": "/a", "case_sensitive": False}),
    to("three", "escaped", {"safe_regex": {"regex": "/%.*"}}),
    to("three", "root", {"path": "/"}),
]
PATHED = tuple(
    web(f"paths-{n}", *(Ask(path=p) for p in PATHS), Ask(path="*", method="OPTIONS"), routes=PATH_ROUTES, **options)
    for n, options in enumerate((
        {}, {"normalize_path": True}, {"merge_slashes": True}, {"normalize_path": True, "merge_slashes": True},
        *(
            {"path_with_escaped_slashes_action": action, "normalize_path": normal, "merge_slashes": merge}
            for action in ("REJECT_REQUEST", "UNESCAPE_AND_REDIRECT", "UNESCAPE_AND_FORWARD")
            for normal, merge in ((False, False), (True, True))
        ),
    ))
)  # fmt: skip

NO_PATHS = ("api", "api/x?y=1", "?x=1", "*", "*x", "a.com:80", "ftp://a.com/x", "http:/x", "/a b")
REFUSED = (
    *((path, "GET") for path in NO_PATHS),
    *(("/", method) for method in ("get", "Post", "FOO", "PURGE")), ("*", "OPTIONS"), ("api", "OPTIONS"),
)  # fmt: skip
REFUSED_ASKS = tuple(Ask(path=p, method=m, protocol=v) for v in ("http", "http2") for p, m in REFUSED)
MALFORMED = (
    web("malformed", *REFUSED_ASKS, routes=[to("one", "all")]),
    case(
        "malformed-behind-inspector",
        listen(
            chain("http", http(to("one", "all")), match={"application_protocols": ["http/1.1", "h2c"]}),
            chain("else", tcp("one")),
            listener_filters=[real.inspector("http")],
        ),
        *REFUSED_ASKS,
    ),
)

ODD_HOSTS = tuple(
    Ask(host=f"a{char}b.com", protocol=protocol)
    for char in "\"#/<>?@\\^`{|}!$&'()*+,;=%~_-.:" for protocol in ("http", "http2")
)  # fmt: skip
ODD_HEADERS = tuple(
    Ask(headers=((name, value),), protocol=protocol)
    for protocol in ("http", "http2")
    for name, value in (
        ("transfer-encoding", "gzip"), ("transfer-encoding", "identity"), ("transfer-encoding", "gzip, chunked"),
        ("content-length", "x"), ("content-length", "-1"), ("content-length", "0x1"),
        ("content-length", "0"), ("content-length", "00"),
    )
)  # fmt: skip
ODD_HOSTS += tuple(Ask(host=host, protocol=p) for host in ("user@a", "@", "a@b:80") for p in ("http", "http2"))
STRANGE = (
    web("odd-host", *ODD_HOSTS, routes=[to("one", "all")]),
    web("odd-headers", *ODD_HEADERS, routes=[to("one", "all")]),
)

TEMPLATES = ("/a/*", "/a/**", "/**", "/a/{x}/b", "/a/{x=*}/{y=**}", "/{x=a/*}/b", "/a.b/*", "/*/b", "/a/*.txt", "/a")
TEMPLATED = tuple(
    web(f"template-{n}", *(Ask(path=p) for p in (
        "/a", "/a/", "/a/b", "/a/b/c", "/a/x/b", "/a/x/y/b", "/", "/b/b", "/a.b/c", "/aXb/c", "/a/f.txt", "/a/b?x=/c",
        "/a/%20", "/a/=", "/a/*", "/a/(b)", "/a/b:c@d", "/a//b", "/a/[b]", "/a/b;c=d,e", "/a/b|c")),
        routes=[to("one", "fits", {"path_match_policy": {"name": "envoy.path.match.uri_template.uri_template_matcher",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.path.match.uri_template.v3."
                                      "UriTemplateMatchConfig", "path_template": t}}}), ELSE])
    for n, t in enumerate(TEMPLATES)
)  # fmt: skip

QUERIES: tuple[dict[str, Any], ...] = (
    {"string_match": {"exact": "1"}}, {"string_match": {"safe_regex": {"regex": "[0-9]+"}}}, {"present_match": True},
    {"present_match": False}, {"string_match": {"prefix": "%2"}}, {"string_match": {"contains": " "}}, {},
)  # fmt: skip
QUERIED = tuple(
    web(f"query-{n}", *(Ask(path=p) for p in ("/", "/?x=1", "/?x=2&x=1", "/?x", "/?x=", "/?X=1", "/?y=1&x=1#x=2",
                                              "/?x=%201", "/?%78=1", "/?x=1;y=2", "/?x=+1", "/?x=1=2", "/a?x=1?x=3")),
        routes=[when(query_parameters=[{"name": "x", **m}]), ELSE])
    for n, m in enumerate(QUERIES)
)  # fmt: skip

COOKIED = tuple(
    web(f"cookie-{n}",
        *(Ask(headers=(("cookie", c),)) for c in ("k=1", "a=2; k=1", 'k="1"', "k=2; k=1", "k = 1", "K=1", "k", "k=",
                                                  ";k=1", "kk=1", "k=1,2", "a=1;k=1")),
        Ask(), Ask(headers=(("cookie", "a=1"), ("cookie", "k=1"))),
        routes=[to("one", "fits", {"prefix": "/", "cookies": [{"name": "k", **m}]}), ELSE])
    for n, m in enumerate(({"string_match": {"exact": "1"}}, {"string_match": {"prefix": ""}, "invert_match": True},
                           {"string_match": {"safe_regex": {"regex": ".*"}}},
                           {"string_match": {"exact": "1"}, "invert_match": True}))
)  # fmt: skip

REDIRECTS: tuple[dict[str, Any], ...] = (
    {"https_redirect": True}, {"scheme_redirect": "https", "port_redirect": 8443}, {"host_redirect": "new.com"},
    {"path_redirect": "/new"}, {"path_redirect": "/new?a=b"}, {"prefix_rewrite": "/p/"},
    {"regex_rewrite": {"pattern": {"regex": "/(a)(/?)"}, "substitution": "/\\2\\1\\0"}},
    {"port_redirect": 80}, {"https_redirect": True, "port_redirect": 443}, {"strip_query": True},
    {"response_code": "SEE_OTHER"}, {"response_code": "TEMPORARY_REDIRECT"}, {"response_code": "PERMANENT_REDIRECT"},
    {"host_redirect": "new.com", "https_redirect": True, "path_redirect": "/n", "strip_query": True},
    {"scheme_redirect": "ftp"}, {"prefix_rewrite": ""},
)  # fmt: skip
REDIRECTED = tuple(
    web(f"redirect-{n}",
        Ask(path="/a/b?x=1"), Ask(path="/a", host="a.com:80"), Ask(path="/a", host="a.com:443"),
        Ask(path="/a", host="a.com:8080"), Ask(path="/a", host="[::1]:80"), Ask(path="/a", host="10.0.0.1:80"),
        Ask(path="/a", headers=(("x-forwarded-proto", "https"),)),
        Ask(path="/a", host="a.com:443", headers=(("x-forwarded-proto", "https"),)),
        Ask(path="/a", headers=(("x-forwarded-proto", "HTTPS"),)),
        Ask(path="/a", headers=(("x-forwarded-proto", "ws"),)), Ask(path="/a#f"),
        routes=[{"name": "moved", "match": {"prefix": "/a"}, "redirect": r}], use_remote_address=bool(n % 2))
    for n, r in enumerate(REDIRECTS)
)  # fmt: skip
FRACTIONS = tuple(
    web(f"fraction-{n}", Ask(), routes=[
        to("one", "chance", {"prefix": "/", "runtime_fraction": {"default_value": v, "runtime_key": "none"}}), ELSE])
    for n, v in enumerate(({"numerator": 0}, {"numerator": 100}, {"numerator": 10_000, "denominator": "TEN_THOUSAND"},
                           {"numerator": 200}, {}))
)  # fmt: skip

TLS_REQUIRED = [
    web(f"require-{kind}-{remote}".lower(), *(replace(ask, open=remote and kind == "EXTERNAL_ONLY") for ask in (
        Ask(), Ask(headers=(("x-forwarded-proto", "https"),)),
        Ask(headers=(("x-forwarded-proto", "HTTPS"),)), Ask(path="/a?b", host="a.com:80"),
        Ask(headers=(("x-forwarded-proto", "zz"),)), Ask(protocol="http2"),
        Ask(headers=(("content-type", "application/grpc"),)))),
        hosts=[host("all", ["*"], to(), require_tls=kind)], use_remote_address=remote)
    for kind in ("ALL", "EXTERNAL_ONLY") for remote in (False, True)
]  # fmt: skip
ODD: tuple[Case, ...] = (
    web("websocket-off", *(ws := (
        Ask(headers=(("connection", "Upgrade"), ("upgrade", "websocket"))),
        Ask(headers=(("connection", "keep-alive, upgrade"), ("upgrade", "WebSocket"))),
        Ask(headers=(("upgrade", "websocket"),)), Ask(headers=(("connection", "upgrade"),)),
        Ask(headers=(("connection", "Upgrade"), ("upgrade", "spdy/3"))),
        Ask(headers=(("connection", "Upgrade"), ("upgrade", "h2c"))),
    ))),
    web("websocket-on", *ws, upgrade_configs=[{"upgrade_type": "websocket"}]),
    web("websocket-disabled", *ws, upgrade_configs=[{"upgrade_type": "websocket", "enabled": False}]),
    web("websocket-route", *ws, routes=[to(upgrade_configs=[{"upgrade_type": "websocket"}])]),
    web("websocket-route-off", *ws, upgrade_configs=[{"upgrade_type": "websocket"}],
        routes=[to(upgrade_configs=[{"upgrade_type": "websocket", "enabled": False}])]),
    web("websocket-direct", *ws, routes=[says(200)]),
    web("websocket-none", *ws, routes=[to(match={"path": "/zz"})]),
    web("connect", *(connects := (Ask(method="CONNECT", path="a.com:443", host="a.com:443"), Ask(),
                      Ask(method="CONNECT", path="b.com:1", host="b.com:1"))),
        routes=[to("one", "plain", {"prefix": "/"}), to("two", "tunnel", {"connect_matcher": {}})]),
    web("connect-on", *connects, upgrade_configs=[{"upgrade_type": "CONNECT"}],
        routes=[to("one", "plain", {"prefix": "/"}), to("two", "tunnel", {"connect_matcher": {}})]),
    web("connect-route", *connects, routes=[
        to("one", "plain", {"prefix": "/"}),
        to("two", "tunnel", {"connect_matcher": {}}, upgrade_configs=[{"upgrade_type": "CONNECT"}])]),
    web("connect-none", *connects, upgrade_configs=[{"upgrade_type": "CONNECT"}]),
    web("absolute", Ask(target="http://b.com/x?y", host="b.com", path="/x?y"), Ask(target="http://b.com", host="b.com"),
        Ask(target="HTTP://b.com:80/x", host="b.com:80", path="/x"), hosts=[
            host("b", ["b.com", "b.com:80"], to("two", "b-x", {"prefix": "/x"}), to("two", "b")), host("any", ["*"],
                to())]),
    web("odd-paths-of-http2", *(Ask(path=p, protocol="http2") for p in ("/é", "/a b", "/a\tb", "/a#b", "/~")),
        routes=[to()]),
    web("methods", Ask(method="OPTIONS"), Ask(method="PATCH"), Ask(method="FOO"), Ask(method="HEAD"), Ask(method="get"),
        routes=[when({"name": ":method", "string_match": {"exact": "GET"}}), ELSE]),
    web("no-route", Ask(), Ask(path="/a"), routes=[to("one", "a", {"path": "/a"})]),
    web("no-action-cluster", Ask(), routes=[to("")]),
    web("codec-1", Ask(), Ask(protocol="http2"), codec_type="HTTP1"),
    web("codec-2", Ask(), Ask(protocol="http2"), codec_type="HTTP2"),
    web("codec-auto", Ask(), Ask(protocol="http2"), Ask(protocol="tcp")),
    case("tls-context", listen(chain("mutual", http(
        to("one", "valid", {"prefix": "/v", "tls_context": {"validated": True}}),
        to("two", "given", {"prefix": "/p", "tls_context": {"presented": True}}),
        to("two", "not-given", {"prefix": "/n", "tls_context": {"presented": False}}), to("three", "else")),
        tls=tls(ask=True))),
        *(Ask(path=p, tls=t, client=c, sni="a.com") for p in ("/v", "/p", "/n")
          for t, c in (("tls", ""), ("mtls", "spiffe://cluster.local/ns/a/sa/b")))),
    case("tls-context-not-asked", listen(chain("one-way", http(
        to("one", "valid", {"prefix": "/v", "tls_context": {"validated": True}}),
        to("two", "given", {"prefix": "/p", "tls_context": {"presented": True}}),
        to("two", "none", {"prefix": "/n", "tls_context": {"presented": False}}), to("three", "else")), tls=tls())),
        *(Ask(path=p, tls=t, client=c, sni="a.com") for p in ("/v", "/p", "/n")
          for t, c in (("tls", ""), ("mtls", "spiffe://cluster.local/ns/a/sa/b")))),
)  # fmt: skip

LIMITED = (
    *(
        web(f"underscores-{n}",
            *(Ask(headers=(("x_one", "a"), ("x-two", "b")), protocol=p) for p in ("http", "http2")), Ask(),
            routes=[when({"name": "x_one", "present_match": True}), ELSE],
            common_http_protocol_options={"headers_with_underscores_action": action})
        for n, action in enumerate(("ALLOW", "REJECT_REQUEST", "DROP_HEADER"))
    ),
    web("large-headers", *(Ask(headers=(("x-one", "a" * size),)) for size in (100, 4000)), max_request_headers_kb=2),
    web("many-headers", *(Ask(headers=tuple((f"x-{n}", "a") for n in range(count))) for count in (3, 30)),
        common_http_protocol_options={"max_headers_count": 20}),
)  # fmt: skip

CASES: tuple[Case, ...] = (
    *HEADERS, *NAMED, *TWICE,
    *VIRTUAL, *PATHED, *MALFORMED, *STRANGE,
    *TEMPLATED, *QUERIED, *COOKIED, *REDIRECTED, *FRACTIONS, *TLS_REQUIRED, *ODD, *LIMITED,
)  # fmt: skip

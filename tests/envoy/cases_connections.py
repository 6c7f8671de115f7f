"""Connections: SNI chains, TLS and mutual TLS, ALPN, TCP, what redirects hand over, matcher trees, scoped routes."""

from typing import Any

from tests.envoy import real_envoy as real
from tests.envoy.asking import (
    Ask,
    Case,
    case,
    chain,
    host,
    http,
    listen,
    network_filter,
    tcp,
    tls,
    to,
    web,
)

ME = "spiffe://cluster.local/ns/a/sa/me"
INSPECTORS = {"listener_filters": [real.inspector("tls"), real.inspector("http")]}
TLS_ONLY = {"listener_filters": [real.inspector("tls")]}
NAMES = ("a.com", "A.com", "x.a.com", "x.y.a.com", "b.org", "com", "other", "")


def named(*names: str, **more: Any) -> dict[str, Any]:
    return {"server_names": list(names), **more}


def site(name: str, *names: str, **more: Any) -> dict[str, Any]:
    """A chain of a gateway: one certificate, one route configuration."""
    hosts = [host("site", [*(n for n in names or ["*"])], to("one", f"route-of-{name}"))]
    return chain(name, http(hosts=hosts), match=named(*names) if names else None, tls=tls(), **more)


KINDS = (
    Ask(), Ask(protocol="http2"), Ask(protocol="tcp"), Ask(tls="tls", sni="a.com"), Ask(tls="tls", sni=""),
    Ask(tls="tls", sni="a.com", alpn=("h2", "http/1.1")), Ask(tls="tls", sni="a.com", alpn=("http/1.1",)),
    Ask(tls="mtls", client=ME, alpn=("istio-http/1.1", "istio", "http/1.1"), sni="a.com"),
    Ask(tls="mtls", client=ME, alpn=("istio",), protocol="tcp"), Ask(tls="tls", sni="b.org", protocol="tcp"),
)  # fmt: skip
ISTIO = ["istio-http/1.0", "istio-http/1.1", "istio-h2"]
PEERS = ["istio", "istio-peer-exchange"]
WEB = ["http/1.0", "http/1.1", "h2c"]


def permissive(*, strict: bool = False, http_too: bool = True) -> dict[str, Any]:
    """The chains of an inbound port, as Istio writes them for PERMISSIVE and STRICT."""
    chains = []
    if http_too:
        chains.append(chain("istio-http", http(), tls=tls(mutual=True),
                            match={"application_protocols": ISTIO, "transport_protocol": "tls"}))  # fmt: skip
    chains.append(chain("istio-tcp", tcp("one"), tls=tls(mutual=True),
                        match={"application_protocols": PEERS, "transport_protocol": "tls"}))  # fmt: skip
    if not strict:
        if http_too:
            chains.append(chain("plain-http", http(), match={"application_protocols": WEB,
                                                             "transport_protocol": "raw_buffer"}))  # fmt: skip
        chains.append(chain("plain-tcp", tcp("two"), match={"transport_protocol": "raw_buffer"}))
        chains.append(chain("any-tls", tcp("three"), match={"transport_protocol": "tls"}))
    return listen(*chains, **INSPECTORS)


GATEWAYS: tuple[Case, ...] = (
    case("sites", listen(
        site("exact", "a.com"), site("wild", "*.a.com"), site("org", "b.org"), site("rest"), **TLS_ONLY),
         *(Ask(tls="tls", sni=sni, host=sni or "none") for sni in NAMES)),
    case("sites-no-rest", listen(site("exact", "a.com"), site("wild", "*.a.com"), site("deep", "*.com"), **TLS_ONLY),
         *(Ask(tls="tls", sni=sni, host=sni or "none") for sni in NAMES), Ask(), Ask(protocol="tcp")),
    case("sites-no-inspector", listen(site("exact", "a.com"), site("rest")), *(Ask(tls="tls", sni=s) for s in NAMES)),
    case("site-other-host", listen(site("exact", "a.com"), **TLS_ONLY), Ask(tls="tls", sni="a.com", host="b.com"),
         Ask(tls="tls", sni="a.com", host="a.com:443"), Ask(tls="tls", sni="a.com", host="A.com.")),
    case("sni-to-clusters", listen(
        chain("a", tcp("one"), match=named("a.com")),
        chain("b", tcp("two"), match=named("*.a.com", "b.org")), **TLS_ONLY),
        *(Ask(tls="tls", sni=s, protocol="tcp") for s in NAMES), *(Ask(tls="tls", sni=s) for s in NAMES)),
    case("mutual-gateway", listen(chain("mutual", http(), tls=tls(mutual=True))), *KINDS),
    case("optional-mutual-gateway", listen(chain("asked", http(), tls=tls(ask=True))), *KINDS),
    case("one-way-gateway", listen(chain("one-way", http(), tls=tls())), *KINDS),
    case("plain-gateway", listen(chain("plain", http())), *KINDS),
    case("plain-tcp-gateway", listen(chain("plain", tcp("one"))), *KINDS),
    case("tls-to-tcp", listen(chain("ended", tcp("one"), tls=tls())), *KINDS),
    case("tls-offers-h2", listen(chain("offers", http(), tls=tls(alpn_protocols=["h2", "http/1.1"]))),
         Ask(tls="tls", alpn=("h2",), protocol="http2"), Ask(tls="tls", alpn=("http/1.1",)), Ask(tls="tls"),
         Ask(tls="tls", alpn=("foo",))),
)  # fmt: skip

SIDECARS: tuple[Case, ...] = (
    case("permissive", permissive(), *KINDS), case("strict", permissive(strict=True), *KINDS),
    case("permissive-tcp", permissive(http_too=False), *KINDS),
    case("strict-tcp", permissive(strict=True, http_too=False), *KINDS),
    case("outbound-auto", listen(
        chain("http", http(), match={"application_protocols": WEB, "transport_protocol": "raw_buffer"}),
        default_filter_chain=chain("rest", tcp("one")), **INSPECTORS), *KINDS),
    case("http-inspector-only", listen(
        chain("http", http(), match={"application_protocols": WEB}), default_filter_chain=chain("rest", tcp("one")),
        listener_filters=[real.inspector("http")]), *KINDS),
    case("tls-inspector-only", listen(
        chain("tls", tcp("one"), match={"transport_protocol": "tls"}), chain("raw", tcp("two")), **TLS_ONLY), *KINDS),
)  # fmt: skip


def stopped(name: str, *filters: Any, asks: tuple[Ask, ...] = (Ask(protocol="tcp"),)) -> Case:
    return case(name, listen(chain(f"{name}-chain", *filters)), *asks)


NETWORK: tuple[Case, ...] = (
    case("sni-cluster", listen(chain("sni", {"name": "envoy.filters.network.sni_cluster"}, tcp("unused")), **TLS_ONLY),
         Ask(tls="tls", sni="one", protocol="tcp"), Ask(tls="tls", sni="nowhere", protocol="tcp"),
         Ask(tls="tls", sni="empty", protocol="tcp")),
    stopped("no-filters"),
    stopped("connection-limit", network_filter(
        "connection_limit.v3.ConnectionLimit", stat_prefix="x", max_connections=9), tcp("one")),
    stopped("direct", network_filter("direct_response.v3.Config", response={"inline_string": "hi"}),
            asks=(Ask(protocol="tcp", open=True),)),
    stopped("local-limit", network_filter("local_ratelimit.v3.LocalRateLimit", stat_prefix="x", token_bucket={
        "max_tokens": 1, "fill_interval": "3600s"}), tcp("one"), asks=(Ask(protocol="tcp", open=True),)),
    stopped("local-limit-off", network_filter("local_ratelimit.v3.LocalRateLimit", stat_prefix="x", token_bucket={
        "max_tokens": 1, "fill_interval": "3600s"}, runtime_enabled={"default_value": False, "runtime_key": "none"}),
        tcp("one"), asks=(Ask(protocol="tcp"), Ask(protocol="tcp"))),
    case("ipv6", listen(chain("six", http()), address={"socket_address": {"address": "::1", "port_value": "$PORT"}}),
         Ask(address="::1", source="::1")),
    case("dual", listen(chain("dual", http()), additional_addresses=[
        {"address": {"socket_address": {"address": "::1", "port_value": "$PORT"}}}]),
        Ask(), Ask(address="::1", source="::1")),
    case("compat", listen(chain("compat", http()), address={"socket_address": {
        "address": "::", "port_value": "$PORT", "ipv4_compat": True}}), Ask(), Ask(address="::1", source="::1")),
    case("only-v6", listen(chain("only-v6", http()), address={"socket_address": {
        "address": "::", "port_value": "$PORT"}}), Ask(), Ask(address="::1", source="::1")),
    case("only-one-address", listen(chain("here", http()), address={"socket_address": {
        "address": "127.0.0.3", "port_value": "$PORT"}}), Ask(), Ask(address="127.0.0.3")),
)  # fmt: skip


def scoped(*fragments: Any, **scopes: Any) -> dict[str, Any]:
    listed = [
        {"name": name, "key": {"fragments": [{"string_key": word} for word in words]}, "route_configuration": {
            "name": f"routes-of-{name}", "virtual_hosts": [host("all", ["*"], to("one", f"route-of-{name}"))]}}
        for name, words in scopes.items()
    ]  # fmt: skip
    return {"name": "scopes", "scope_key_builder": {"fragments": list(fragments)},
            "scoped_route_configurations_list": {"scoped_route_configurations": listed}}  # fmt: skip


def from_header(name: str, separator: str = "", **which: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, **which}
    return {"header_value_extractor": found | ({"element_separator": separator} if separator else {})}


SCOPED = tuple(
    web(f"scoped-{n}", Ask(), *(Ask(headers=(("x-scope", text),)) for text in (
        "a", "b", "c", "a,b", "b;a", "k=a", "k=b,z=1", "z=1;k=a", ",a", "", "k", "a;", "k=a=b")),
        Ask(headers=(("x-scope", "a"), ("x-scope", "b"))), Ask(headers=(("x-scope", "a"), ("x-more", "b"))),
        Ask(headers=(("x-scope", "a"), ("x-more", "c"))), scoped_routes=found)
    for n, found in enumerate((
        scoped(from_header("X-Scope", index=0), a=["a"], b=["b"]),
        scoped(from_header("x-scope", ",", index=0), a=["a"], b=["b"]),
        scoped(from_header("x-scope", ";", index=1), a=["a"], b=["b"]),
        scoped(from_header("x-scope", index=0), a=["a"], b=["b"]),
        scoped(from_header("x-scope", ",", element={"separator": "=", "key": "k"}), a=["a"], b=["b"]),
        scoped(from_header("x-scope", ";", element={"separator": "=", "key": "k"}), a=["a"], b=["b"]),
        scoped(from_header("x-scope", index=0), from_header("x-more", index=0), a=["a", "b"], b=["a", "c"]),
        scoped(from_header("x-scope", index=0), a=[""]),
    ))
)  # fmt: skip

TREES: tuple[Case, ...] = (
    *(
        case(f"tree-{n}", listen(
            chain("one", http()), chain("two", tcp("two")), default_filter_chain=chain("rest", tcp("three")),
            filter_chain_matcher=tree, **INSPECTORS),
             *KINDS, Ask(address="127.0.0.2"), Ask(source="127.0.0.5"), Ask(tls="tls", sni="x.a.com"))
        for n, tree in enumerate((
            {"matcher_tree": {"input": {"name": "x", "typed_config": real.any_type(
                f"envoy.extensions.matching.common_inputs.network.v3.{kind}")},
                "exact_match_map": {"map": {key: {"action": {"name": "a", "typed_config": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue", "value": name}}}
                    for key, name in keys.items()}}}}
            for kind, keys in (
                ("DestinationPortInput", {"1": "one"}), ("TransportProtocolInput", {"tls": "two", "raw_buffer": "one"}),
                ("ServerNameInput", {"a.com": "two"}), ("SourceIPInput", {"127.0.0.5": "one"}),
                ("DestinationIPInput", {"127.0.0.2": "one", "127.0.0.1": "nowhere"}),
                ("ApplicationProtocolInput", {"'http/1.1'": "one", "'h2','http/1.1'": "two", "'h2c'": "two"}),
            )
        ))
    ),
)  # fmt: skip

CASES: tuple[Case, ...] = (*GATEWAYS, *SIDECARS, *NETWORK, *SCOPED, *TREES)

"""Redirected connections, as in a pod: a listener that hands over, one that keeps, and the original destination."""

from typing import Any

from tests.envoy import real_envoy as real
from tests.envoy.asking import Ask, Case, case, chain, cluster, host, http, listen, tcp, tls, to

ME = "spiffe://cluster.local/ns/a/sa/me"
INSPECTORS = [real.inspector("tls"), real.inspector("http")]
PASSTHROUGH = cluster("PassthroughCluster", type="ORIGINAL_DST", lb_policy="CLUSTER_PROVIDED")
HEADED = cluster("by-header", type="ORIGINAL_DST", lb_policy="CLUSTER_PROVIDED",
                 original_dst_lb_config={"use_http_header": True, "upstream_port_override": "$UP"})  # fmt: skip
WEB = {"application_protocols": ["http/1.0", "http/1.1", "h2c"], "transport_protocol": "raw_buffer"}


def at(address: str, port: int, *chains: Any, **more: Any) -> dict[str, Any]:
    """A listener that only gets what is handed over to it."""
    place = {"socket_address": {"address": address, "port_value": port}}
    return listen(*chains, address=place, bind_to_port=False, traffic_direction="OUTBOUND", **more)


def out(address: str, port: int | str, **more: Any) -> Ask:
    return Ask(direction="outbound", address=address, port=port, **more)


def into(port: int | str, **more: Any) -> Ask:
    return Ask(direction="inbound", address="10.2.0.9", port=port, **more)


OUTBOUND = (
    case("virtualOutbound", listen(
        chain("passthrough", tcp("PassthroughCluster")), address={"socket_address": {
            "address": "0.0.0.0", "port_value": 15001}}, use_original_dst=True, traffic_direction="OUTBOUND",
        listener_filters=[real.inspector("tls")],
        additional_addresses=[{"address": {"socket_address": {"address": "::", "port_value": 15001}}}]),
        out("10.1.0.3", 7777), out("10.1.0.3", 7777, protocol="tcp"), out("10.1.0.1", 9001),
        clusters=[PASSTHROUGH]),
    case("10.1.0.1_9000", at("10.1.0.1", 9000, chain("exact", tcp("one"))), out("10.1.0.1", 9000, protocol="tcp"),
         out("10.1.0.2", 9000), out("10.1.0.1", 9000, tls="tls", sni="a.com", protocol="tcp")),
    case("0.0.0.0_9000", at("0.0.0.0", 9000, chain("any-address", http())), out("10.1.0.9", 9000), out("10.1.0.2",
        9000)),
    case("0.0.0.0_8080", at(
        "0.0.0.0", 8080, chain("web", http(hosts=[
            host("known", ["a.com", "a.com:8080"], to("two", "known")), host("allow_any", ["*"],
                to("PassthroughCluster", "any")),
        ]), match=WEB), default_filter_chain=chain("rest", tcp("three")), listener_filters=INSPECTORS),
        out("10.1.0.4", 8080), out("10.1.0.4", 8080, host="x"), out("10.1.0.4", 8080, protocol="tcp"),
        out("10.1.0.4", 8080, tls="tls", sni="a.com", protocol="tcp"), out("10.1.0.4", 8080, protocol="http2")),
    case("looked-at-before", at(
        "10.1.0.5", 9100, chain("tls-found", tcp("two"), match={"transport_protocol": "tls"}), chain("raw",
            tcp("one"))),
        out("10.1.0.5", 9100, protocol="tcp"), out("10.1.0.5", 9100, tls="tls", sni="a.com", protocol="tcp"),
        out("10.1.0.5", 9100)),
    case("[::]_8080", at("::", 8080, chain("six", http())), out("fd00::5", 8080, source="::1")),
    case("by-header-listener", at("10.1.0.7", 8081, chain("headed", http(to("by-header")))),
         out("10.1.0.7", 8081), out("10.1.0.7", 8081, headers=(("x-envoy-original-dst-host", "10.1.0.8:1"),)),
         out("10.1.0.7", 8081, headers=(("x-envoy-original-dst-host", "[fd00::5]:1"),)), clusters=[HEADED]),
    case("keeps-http", listen(chain("kept", http()), address={"socket_address": {
        "address": "10.1.0.1", "port_value": 9443}}), Ask(direction="gateway", address="10.1.0.1", port=9443,
            source="10.1.0.1")),
)  # fmt: skip

INBOUND = (
    case("virtualInbound", listen(
        chain("app-mtls", http(to("one", "mtls")), tls=tls(mutual=True), match={
            "destination_port": 8080, "transport_protocol": "tls", "application_protocols": ["istio",
                "istio-http/1.1"]}),
        chain("app-plain", http(to("one", "plain")), match={"destination_port": 8080,
            "transport_protocol": "raw_buffer"}),
        chain("tcp-port", tcp("two"), match={"destination_port": 3306}),
        chain("other-mtls", tcp("PassthroughCluster"), tls=tls(mutual=True), match={"transport_protocol": "tls",
              "application_protocols": ["istio"], "prefix_ranges": [{"address_prefix": "0.0.0.0", "prefix_len": 0}]}),
        chain("blackhole", tcp("empty"), match={"destination_port": 15006}),
        chain("other", tcp("PassthroughCluster"), match={
            "transport_protocol": "raw_buffer", "prefix_ranges": [{"address_prefix": "0.0.0.0", "prefix_len": 0}]}),
        address={"socket_address": {"address": "0.0.0.0", "port_value": 15006}}, traffic_direction="INBOUND",
        listener_filters=[{"name": "envoy.filters.listener.original_dst", "typed_config": real.any_type(
            "envoy.extensions.filters.listener.original_dst.v3.OriginalDst")}, *INSPECTORS]),
        into(8080), into(8080, tls="mtls", client=ME, alpn=("istio-http/1.1", "istio", "http/1.1")),
        into(8080, tls="tls", sni="a.com", protocol="tcp"), into(3306, protocol="tcp"), into(3306, tls="tls",
            protocol="tcp"),
        into("$UP", protocol="tcp"), into("$UP"), into(9999, protocol="tcp"),
        into(9999, tls="mtls", client=ME, alpn=("istio",), protocol="tcp"), into(15006, protocol="tcp")),
)  # fmt: skip

CASES: tuple[Case, ...] = (*OUTBOUND, *INBOUND)
NETWORK = (
    "link set lo up", "addr add 10.9.9.9/32 dev lo", "addr add fd00::9/128 dev lo nodad",
    "route add local 10.0.0.0/8 dev lo src 10.9.9.9", "-6 route add local fd00::/16 dev lo src fd00::9",
)  # fmt: skip
"""Every address of two networks is this host's own; what the proxy opens itself comes from another address."""
RULES = (
    ("iptables", "OUTPUT", "-s", "127.0.0.1", "-d", "10.1.0.0/16", "-j", "REDIRECT", "--to-ports", "15001"),
    ("iptables", "OUTPUT", "-s", "127.0.0.1", "-d", "10.2.0.0/16", "-j", "REDIRECT", "--to-ports", "15006"),
    ("ip6tables", "OUTPUT", "-s", "::1", "-d", "fd00::/16", "-j", "REDIRECT", "--to-ports", "15001"),
)
"""Only the clients' connections are redirected: those have the source that a client of a test has."""

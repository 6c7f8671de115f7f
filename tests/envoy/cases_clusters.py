"""Clusters: which hosts may get a request (health, priorities, panic, subsets, localities) and which never do."""

from typing import Any

from tests.envoy.asking import Ask, Case, case, chain, cluster, hosts, listen, tcp, to, web

MANY = Ask(times=40)


def picks(name: str, *groups: Any, asks: tuple[Ask, ...] = (MANY,), route: Any = None, **more: Any) -> Case:
    """A route to a cluster of that name."""
    return web(name, *asks, routes=[route or to(name)], clusters=[cluster(name, *groups, **more)])


def panic(percent: float) -> dict[str, Any]:
    return {"common_lb_config": {"healthy_panic_threshold": {"value": percent}}}


HEALTH: tuple[Case, ...] = (
    picks("all-healthy", hosts(".1", ".2", ".3")),
    picks("one-unhealthy", hosts(".1", ".2", ".3!")),
    picks("half-unhealthy", hosts(".1", ".2!")),
    picks("most-unhealthy", hosts(".1", ".2!", ".3!")),
    picks("all-unhealthy", hosts(".1!", ".2!")),
    picks("no-panic", hosts(".1", ".2!", ".3!"), **panic(0)),
    picks("no-panic-all-unhealthy", hosts(".1!", ".2!"), **panic(0)),
    picks("panic-at-70", hosts(".1", ".2", ".3!"), **panic(70)),
    picks("panic-at-66", hosts(".1", ".2", ".3!"), **panic(66)),
    picks("degraded-beside", hosts(".1", ".2~")),
    picks("degraded-only", hosts(".1~", ".2~")),
    picks("degraded-and-dead", hosts(".1~", ".2!")),
    picks("degraded-dead-healthy", hosts(".1~", ".2!", ".3!", ".4")),
    picks("degraded-no-panic", hosts(".1~", ".2!", ".3!"), **panic(0)),
    picks("fail-over", hosts(".1!"), hosts(".2", priority=1)),
    picks("fail-over-not-yet", hosts(".1", ".2"), hosts(".3", priority=1)),
    picks("fail-over-partly", hosts(".1", ".2!"), hosts(".3", priority=1)),
    picks("fail-over-enough", hosts(".1", ".2", ".3", ".4!"), hosts(".5", priority=1)),
    picks("fail-over-slightly", hosts(".1", ".2", ".3!"), hosts(".5", priority=1)),
    picks("fail-over-factor", hosts(".1", ".2!"), hosts(".3", priority=1), policy={"overprovisioning_factor": 200}),
    picks("fail-over-factor-100", hosts(".1", ".2", ".3", ".4!"), hosts(".5", priority=1),
          policy={"overprovisioning_factor": 100}),
    picks("three-levels", hosts(".1!"), hosts(".2!", priority=1), hosts(".3", priority=2)),
    picks("all-levels-dead", hosts(".1!"), hosts(".2!", priority=1)),
    picks("all-levels-dead-no-panic", hosts(".1!"), hosts(".2!", priority=1), **panic(0)),
    picks("little-everywhere", hosts(".1", ".2!", ".3!", ".4!"), hosts(".5", ".6!", ".7!", ".8!", priority=1)),
    picks("little-no-panic", hosts(".1", ".2!", ".3!", ".4!"), hosts(".5", ".6!", ".7!", ".8!", priority=1),
          **panic(0)),
    picks("little-and-none", hosts(".1", ".2!", ".3!", ".4!"), hosts(".5!", priority=1)),
    picks("panic-in-second", hosts(".1!"), hosts(".2", ".3!", ".4!", ".5!", priority=1)),
    picks("panic-first-only", hosts(".1", ".2!", ".3!", ".4!", ".9!"), hosts(".5", ".6", priority=1)),
    picks("degraded-before-second", hosts(".1~"), hosts(".2", priority=1)),
    picks("degraded-in-second", hosts(".1!"), hosts(".2~", priority=1)),
    picks("degraded-both", hosts(".1~", ".2!"), hosts(".3~", priority=1)),
    picks("empty-first", hosts(), hosts(".2", priority=1)),
    picks("empty-cluster"),
    picks("panic-fails", hosts(".1", ".2!", ".3!"), common_lb_config={
        "healthy_panic_threshold": {"value": 50}, "zone_aware_lb_config": {"fail_traffic_on_panic": True}}),
    picks("random", hosts(".1", ".2!", ".3"), lb_policy="RANDOM"),
    picks("least-request", hosts(".1", ".2!", ".3"), lb_policy="LEAST_REQUEST"),
    picks("drop-all", hosts(".1"), policy={"drop_overloads": [
        {"category": "x", "drop_percentage": {"numerator": 100, "denominator": "HUNDRED"}}]}),
)  # fmt: skip

NEAR, FAR = {"locality": {"zone": "near"}}, {"locality": {"zone": "far"}}
WEIGHTED = {"common_lb_config": {"locality_weighted_lb_config": {}}}
LOCAL: tuple[Case, ...] = (
    picks("zones", hosts(".1", **NEAR), hosts(".2", **FAR)),
    picks("zones-weighted", hosts(".1", weight=1, **NEAR), hosts(".2", weight=1, **FAR), **WEIGHTED),
    picks("zones-zero", hosts(".1", weight=1, **NEAR), hosts(".2", **FAR), **WEIGHTED),
    picks("zones-none-weighted", hosts(".1", **NEAR), hosts(".2", **FAR), **WEIGHTED),
    picks("zones-one-dead", hosts(".1!", weight=1, **NEAR), hosts(".2", weight=1, **FAR), **WEIGHTED),
    picks("zones-dead-zero", hosts(".1!", weight=1, **NEAR), hosts(".2", **FAR), **WEIGHTED),
    picks("zones-dead-zero-no-panic", hosts(".1!", weight=1, **NEAR), hosts(".2", **FAR), common_lb_config={
        "locality_weighted_lb_config": {}, "healthy_panic_threshold": {"value": 0}}),
    picks("zones-panic", hosts(".1!", ".2!", weight=1, **NEAR), hosts(".3", weight=1, **FAR), **WEIGHTED),
)  # fmt: skip


def by(version: str, name: str, **more: Any) -> Any:
    metadata = dict(pair.partition("=")[::2] for pair in version.split(",") if pair)
    return to(name, metadata_match={"filter_metadata": {"envoy.lb": metadata}}, **more)


VERSIONS = hosts(".1#v1", ".2#v2", ".3#v2", ".4")
STAGES = hosts(".1#version=v1,stage=a", ".2#version=v1,stage=b", ".3#version=v2,stage=a", ".4#stage=c")


def subset(
    name: str, wanted: str, group: Any, fallback: str, selectors: Any, asks: tuple[Ask, ...] = (MANY,), **more: Any
) -> Case:
    config = {"fallback_policy": fallback, "subset_selectors": selectors, **more}
    return picks(name, group, asks=asks, route=by(wanted, name) if wanted else to(name), lb_subset_config=config)


KEYS = [{"keys": ["version"]}]
BOTH = [{"keys": ["version"]}, {"keys": ["stage", "version"]}, {"keys": ["stage"]}]
SUBSETS: tuple[Case, ...] = (
    *(
        subset(f"subset-{fallback}-{wanted or 'none'}".lower().replace("=", "-"), wanted, VERSIONS, fallback, KEYS,
               default_subset={"version": "v1"})
        for fallback in ("NO_FALLBACK", "ANY_ENDPOINT", "DEFAULT_SUBSET")
        for wanted in ("version=v1", "version=v2", "version=v9", "", "other=1", "version=v1,other=1")
    ),
    *(
        subset(f"stages-{wanted}".replace("=", "-").replace(",", "-"), wanted, STAGES, "NO_FALLBACK", BOTH)
        for wanted in ("stage=a", "stage=a,version=v1", "version=v1", "stage=c", "stage=c,version=v1")
    ),
    subset("default-subset-missing", "", VERSIONS, "DEFAULT_SUBSET", KEYS, default_subset={"version": "v9"}),
    subset("default-subset-empty", "", VERSIONS, "DEFAULT_SUBSET", KEYS),
    *(
        subset(f"own-fallback-{policy}-{fallback}-{wanted.partition('=')[2]}".lower(), wanted, STAGES, fallback, [
            {"keys": ["version", "stage"], "fallback_policy": policy,
             **({"fallback_keys_subset": ["stage"]} if policy == "KEYS_SUBSET" else {})}, {"keys": ["stage"]}],
            default_subset={"version": "v2"})
        for policy in ("NOT_DEFINED", "NO_FALLBACK", "ANY_ENDPOINT", "DEFAULT_SUBSET", "KEYS_SUBSET")
        for fallback in ("NO_FALLBACK", "ANY_ENDPOINT")
        for wanted in ("stage=a,version=v9",)
    ),
    subset("list-as-any", "version=v1", VERSIONS, "NO_FALLBACK", KEYS, list_as_any=True),
    subset("subset-dead", "version=v1", hosts(".1!#v1", ".2#v2"), "ANY_ENDPOINT", KEYS),
    subset("subset-half-dead", "version=v1", hosts(".1!#v1", ".3#v1", ".4#v1", ".2#v2"), "ANY_ENDPOINT", KEYS),
    subset("subset-panic-any", "version=v9", hosts(".1!#v1", ".2!#v2"), "NO_FALLBACK", KEYS, asks=(Ask(open=True),),
           panic_mode_any=True),
    subset("subset-single", "version=v1", hosts(".1#v1", ".2#v2"), "NO_FALLBACK",
           [{"keys": ["version"], "single_host_per_subset": True}]),
    picks("subset-unused", VERSIONS, route=by("version=v1", "subset-unused")),
    picks("subset-policy", VERSIONS, route=by("version=v2", "subset-policy"), load_balancing_policy={"policies": [{
        "typed_extension_config": {"name": "subset", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.load_balancing_policies.subset.v3.Subset",
            "subset_selectors": KEYS, "subset_lb_policy": {"policies": [{"typed_extension_config": {
                "name": "rr", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin",
                }}}]}}}}]}),
    picks("subset-weighted", VERSIONS, lb_subset_config={"subset_selectors": KEYS}, asks=(Ask(times=40, open=False),),
          route={"name": "w", "match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": [
              {"name": "subset-weighted", "weight": 1,
               "metadata_match": {"filter_metadata": {"envoy.lb": {"version": "v1"}}}}]}}}),
)  # fmt: skip


def breaker(name: str, asks: tuple[Ask, ...] = (Ask(),), **limits: int) -> Case:
    return picks(name, hosts(".1"), asks=asks, circuit_breakers={"thresholds": [limits]})


LIMITS: tuple[Case, ...] = (
    breaker("no-requests", max_requests=0), breaker("no-pending", max_pending_requests=0),
    breaker("no-connections", max_connections=0), breaker("no-retries", max_retries=0),
    picks("no-requests-high", hosts(".1"), circuit_breakers={"thresholds": [{"priority": "HIGH", "max_requests": 0}]},
          asks=(Ask(),)),
    picks("no-requests-high-used", hosts(".1"), route=to("no-requests-high-used", priority="HIGH"), asks=(Ask(),),
          circuit_breakers={"thresholds": [{"priority": "HIGH", "max_requests": 0}]}),
    picks("no-requests-default", hosts(".1"), route=to("no-requests-default", priority="HIGH"), asks=(Ask(),),
          circuit_breakers={"thresholds": [{"max_requests": 0}]}),
    picks("no-requests-empty", asks=(Ask(),), circuit_breakers={"thresholds": [{"max_requests": 0}]}),
    *(case(f"tcp-{key}", listen(chain(f"tcp-of-{key}", tcp(f"tcp-{key}"))), Ask(protocol="tcp"), clusters=[
        cluster(f"tcp-{key}", hosts(".1"), circuit_breakers={"thresholds": [{key: 0}]})])
      for key in ("max_connections", "max_requests", "max_pending_requests")),
    case("tcp-empty", listen(chain("tcp-of-empty", tcp("empty"))), Ask(protocol="tcp")),
    case("tcp-nowhere", listen(chain("tcp-of-nowhere", tcp("nowhere"))), Ask(protocol="tcp")),
    case("tcp-dead", listen(chain("tcp-of-dead", tcp("tcp-dead"))), Ask(protocol="tcp"),
         clusters=[cluster("tcp-dead", hosts(".1!"), **panic(0))]),
    case("tcp-weighted", listen(chain("tcp-of-weighted", tcp(weighted_clusters={"clusters": [
        {"name": "one", "weight": 1}, {"name": "two", "weight": 1}]}))), Ask(protocol="tcp", times=10)),
    case("tcp-subset", listen(chain("tcp-of-subset", tcp("tcp-subset", metadata_match={
        "filter_metadata": {"envoy.lb": {"version": "v2"}}}))), Ask(protocol="tcp", times=20),
        clusters=[cluster("tcp-subset", VERSIONS, lb_subset_config={"subset_selectors": KEYS})]),
)  # fmt: skip


def aggregate(name: str, *parts: str, **more: Any) -> dict[str, Any]:
    kind = "envoy.extensions.clusters.aggregate.v3.ClusterConfig"
    typed = {"@type": f"type.googleapis.com/{kind}", "clusters": list(parts)}
    return cluster(name, lb_policy="CLUSTER_PROVIDED", cluster_type={
        "name": "envoy.clusters.aggregate", "typed_config": typed}, **more)  # fmt: skip


def original(name: str, **config: Any) -> dict[str, Any]:
    return cluster(name, type="ORIGINAL_DST", lb_policy="CLUSTER_PROVIDED", original_dst_lb_config=config)


HEADED = (
    Ask(), Ask(headers=(("x-envoy-original-dst-host", "127.9.9.7:$UP"),)),
    Ask(headers=(("x-envoy-original-dst-host", "zz"),)), Ask(headers=(("x-other", "127.9.9.7:$UP"),)),
)  # fmt: skip
KINDS: tuple[Case, ...] = (
    web("aggregate", MANY, routes=[to("aggregate")], clusters=[
        cluster("a1", hosts(".1", ".2")), cluster("a2", hosts(".3")), aggregate("aggregate", "a1", "a2")]),
    web("aggregate-fails-over", MANY, routes=[to("aggregate-2")], clusters=[
        cluster("b1", hosts(".1!"), **panic(0)), cluster("b2", hosts(".3")), aggregate("aggregate-2", "b1", "b2")]),
    web("aggregate-partly", MANY, routes=[to("aggregate-3")], clusters=[
        cluster("c1", hosts(".1", ".2!")), cluster("c2", hosts(".3")), aggregate("aggregate-3", "c1", "c2")]),
    web("aggregate-empty", MANY, routes=[to("aggregate-4")], clusters=[
        cluster("d1"), cluster("d2"), aggregate("aggregate-4", "d1", "d2")]),
    web("aggregate-missing", MANY, routes=[to("aggregate-5")], clusters=[
        cluster("e2", hosts(".3")), aggregate("aggregate-5", "nowhere", "e2")]),
    web("aggregate-levels", MANY, routes=[to("aggregate-6")], clusters=[
        cluster("f1", hosts(".1!"), hosts(".2!", priority=1)), cluster("f2", hosts(".3!"), hosts(".4", priority=1)),
        aggregate("aggregate-6", "f1", "f2")]),
    web("original", *HEADED, routes=[to("original")], clusters=[original("original")]),
    web("original-header", *HEADED, routes=[to("original-header")], clusters=[
        original("original-header", use_http_header=True)]),
    web("original-other", *HEADED, routes=[to("original-other")], clusters=[
        original("original-other", use_http_header=True, http_header_name="x-other")]),
    case("original-tcp", listen(chain("original-tcp-chain", tcp("original-tcp"))), Ask(protocol="tcp"),
         clusters=[original("original-tcp")]),
)  # fmt: skip

ORIGINATED = {
    "name": "envoy.transport_sockets.tls",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "sni": "a.com",
    },
}
PLAIN = {"name": "envoy.transport_sockets.raw_buffer", "typed_config": {
    "@type": "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"}}  # fmt: skip


def socket(name: str, config: Any, **metadata: str) -> dict[str, Any]:
    return {"name": name, "match": metadata, "transport_socket": config}


MIXED = hosts(".1#v1", ".2#v2", ".3")
TRANSPORTS: tuple[Case, ...] = (
    picks("originates", hosts(".1"), transport_socket=ORIGINATED),
    picks("by-metadata", MIXED, transport_socket_matches=[
        socket("tls", ORIGINATED, version="v1"), socket("raw", PLAIN)]),
    picks("by-metadata-two", MIXED, transport_socket_matches=[
        socket("raw", PLAIN, version="v1"), socket("tls", ORIGINATED, version="v2")]),
    picks("by-metadata-none", MIXED, transport_socket_matches=[socket("raw", PLAIN, version="v9")]),
    picks("by-metadata-else-tls", MIXED, transport_socket=ORIGINATED, transport_socket_matches=[
        socket("raw", PLAIN, version="v2")]),
    picks("by-metadata-first", MIXED, transport_socket_matches=[
        socket("any", PLAIN), socket("tls", ORIGINATED, version="v2")]),
    picks("by-metadata-both", hosts(".1#version=v1,kind=a", ".2#version=v1,kind=b"), transport_socket_matches=[
        socket("tls", ORIGINATED, version="v1", kind="b"), socket("raw", PLAIN)]),
)  # fmt: skip

CASES: tuple[Case, ...] = (*HEALTH, *LOCAL, *SUBSETS, *LIMITS, *KINDS, *TRANSPORTS)

"""Clusters and their endpoints, read from JSON."""

from collections.abc import Mapping
from typing import Any, Literal

from meshctl.envoy import addresses, strings, tls
from meshctl.envoy.metadata import filter_metadata, istio_config
from meshctl.envoy.model.basics import Opaque, Status
from meshctl.envoy.model.clusters import Balance, Cluster, Endpoint, Health, SocketMatch, Subsets
from meshctl.envoy.reading import Deferred, Json, type_name, typed

_TYPES = ("STATIC", "STRICT_DNS", "LOGICAL_DNS", "EDS", "ORIGINAL_DST")
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_HEALTH: Mapping[str, Health] = {
    "UNKNOWN": "healthy",
    "HEALTHY": "healthy",
    "UNHEALTHY": "unhealthy",
    "DRAINING": "unhealthy",
    "TIMEOUT": "unhealthy",
    "DEGRADED": "degraded",
}


def cluster(message: Json, status: Status) -> Cluster:
    """Read a ``Cluster``; TLS and inline endpoints are parsed when they are asked for."""
    common = message.below("common_lb_config")
    policy = _Policy(message)
    custom, kind = _type(message)
    timeout = message.seconds("connect_timeout")
    panic = common.below("healthy_panic_threshold")
    return Cluster(
        name=message.text("name"),
        type=kind,
        service_name=message.below("eds_cluster_config").text("service_name"),
        policy=policy.name,
        connect_timeout_s=5.0 if timeout is None else timeout,
        inline_endpoints=Deferred(lambda: assignment(message.below("load_assignment"))),
        inline_balance=Deferred(lambda: balance(message.below("load_assignment"))),
        socket=Deferred(lambda: tls.transport_socket(message.below("transport_socket"))),
        socket_matches=Deferred(lambda: tuple(_socket_match(m) for m in message.each("transport_socket_matches"))),
        subsets=_subsets(policy.subsets),
        ejects=message.has("outlier_detection"),
        panic_percent=(panic.number("value") or 0.0) if common.has("healthy_panic_threshold") else 50.0,
        fails_in_panic=common.below("zone_aware_lb_config").flag("fail_traffic_on_panic"),
        locality_weighted=policy.locality_weighted or common.has("locality_weighted_lb_config"),
        http=_http(message),
        bind_address=message.at("upstream_bind_config", "source_address").text("address"),
        port_override=message.below("original_dst_lb_config").whole("upstream_port_override") or None,
        destination_header=_destination_header(message.below("original_dst_lb_config")),
        members=_members(message),
        refuses=_refuses(message),
        services=_services(filter_metadata(message.below("metadata"), "istio")),
        opaque=Opaque(f"cluster type {custom}", message.origin) if custom else policy.opaque,
        status=status,
        istio=istio_config(message.below("metadata")),
        origin=message.origin,
    )


def _type(message: Json) -> tuple[str, str]:
    """The name of a type that meshctl does not know, else empty; and the type: some extensions are built-in ones."""
    extension = message.below("cluster_type")
    name = extension.text("name")
    if not name:
        return "", message.choice("type", "STATIC", *_TYPES)
    if name in ("envoy.cluster.dns", "envoy.clusters.dns"):
        single = typed(extension.below("typed_config")).flag("all_addresses_in_single_endpoint")
        return "", "LOGICAL_DNS" if single else "STRICT_DNS"
    if name == _AGGREGATE:
        return "", "AGGREGATE"
    known = name.removeprefix("envoy.cluster.").upper()
    return ("", known) if known in _TYPES else (name, name)


_AGGREGATE = "envoy.clusters.aggregate"
_POLICIES = "envoy.extensions.load_balancing_policies."
_KNOWN_POLICIES = (
    "round_robin", "least_request", "random", "ring_hash", "maglev", "client_side_weighted_round_robin", "wrr_locality",
    "cluster_provided", "subset",
)  # fmt: skip


class _Policy:
    """How a cluster balances: in the old fields, or as the first extension of its ``load_balancing_policy``."""

    def __init__(self, message: Json) -> None:
        self.name = message.choice("lb_policy", "ROUND_ROBIN")
        self.subsets = message.below("lb_subset_config")
        self.locality_weighted = False
        self.opaque: Opaque | None = None
        for each in message.below("load_balancing_policy").each("policies"):
            extension = each.below("typed_extension_config").below("typed_config")
            kind = type_name(extension).removeprefix(_POLICIES).partition(".")[0]
            self.name = kind.upper() or self.name
            self.subsets = typed(extension) if kind == "subset" else self.subsets
            own = typed(extension).below("locality_lb_config")
            self.locality_weighted = kind == "wrr_locality" or own.has("locality_weighted_lb_config")
            if kind not in _KNOWN_POLICIES:
                self.opaque = Opaque(f"the load balancing policy {type_name(extension)}", extension.origin)
            break


def _members(message: Json) -> tuple[str, ...]:
    extension = message.below("cluster_type")
    if extension.text("name") != _AGGREGATE:
        return ()
    return typed(extension.below("typed_config")).texts("clusters")


def _destination_header(config: Json) -> str:
    if not config.flag("use_http_header"):
        return ""
    return config.text("http_header_name").lower() or "x-envoy-original-dst-host"


def _refuses(message: Json) -> frozenset[tuple[str, str]]:
    """Where circuit breakers are set to nothing; a limit of connections always lets one be made for HTTP."""
    found = set()
    for each in message.below("circuit_breakers").each("thresholds"):
        priority = each.choice("priority", "DEFAULT", "DEFAULT", "HIGH")
        if any(each.has(key) and each.whole(key) == 0 for key in ("max_requests", "max_pending_requests")):
            found.add((priority, "http"))
        if each.has("max_pending_requests") and each.whole("max_pending_requests") == 0:
            found.add((priority, "tcp pending"))
        if each.has("max_connections") and each.whole("max_connections") == 0:
            found.add((priority, "tcp"))
    return frozenset(found)


def _services(istio: Json) -> tuple[str, ...]:
    return tuple(service.text("host") for service in istio.each("services"))


def _http(message: Json) -> Literal["", "http1", "http2", "downstream", "auto", "http3"]:
    """Which HTTP the cluster speaks to its hosts."""
    options = message.below("typed_extension_protocol_options").below(_HTTP_OPTIONS)
    explicit = options.below("explicit_http_config")
    if explicit.has("http2_protocol_options") or message.has("http2_protocol_options"):
        return "http2"
    if explicit.has("http3_protocol_options"):
        return "http3"
    if explicit.has("http_protocol_options"):
        return "http1"
    if (
        options.has("use_downstream_protocol_config")
        or message.choice("protocol_selection", "") == "USE_DOWNSTREAM_PROTOCOL"
    ):
        return "downstream"
    return "auto" if options.has("auto_config") else ""


def _socket_match(message: Json) -> SocketMatch:
    socket = tls.transport_socket(message.below("transport_socket"))
    return SocketMatch(message.text("name"), dict(message.below("match").raw), socket)


def _subsets(message: Json) -> Subsets | None:
    if not message:
        return None
    odd = [k for k in ("locality_weight_aware", "scale_locality_weight", "panic_mode_any") if message.flag(k)]
    odd += [k for k in ("metadata_fallback_policy",) if message.choice(k, "METADATA_NO_FALLBACK") in _FALLBACK_LIST]
    policies = ("NO_FALLBACK", "ANY_ENDPOINT", "DEFAULT_SUBSET")
    own = ("NOT_DEFINED", *policies, "KEYS_SUBSET")
    return Subsets(
        selectors={
            tuple(sorted(s.texts("keys"))): (
                s.choice("fallback_policy", "NOT_DEFINED", *own),
                tuple(sorted(s.texts("fallback_keys_subset"))),
            )
            for s in message.each("subset_selectors")
        },
        fallback=message.choice("fallback_policy", "NO_FALLBACK", *policies),
        default=dict(message.below("default_subset").raw),
        list_as_any=message.flag("list_as_any"),
        opaque=Opaque(f"{', '.join(odd)} of its subsets", message.origin) if odd else None,
    )


_FALLBACK_LIST = ("FALLBACK_LIST", "1")


def assignment(message: Json) -> tuple[Endpoint, ...]:
    """Read a ``ClusterLoadAssignment``: every host with its place, weight and configured health."""
    return tuple(
        endpoint
        for group in message.each("endpoints")
        for each in group.each("lb_endpoints")
        if (endpoint := _endpoint(each, group)) is not None
    )


def balance(assignment: Json) -> Balance:
    """Read a ``ClusterLoadAssignment.Policy``."""
    policy = assignment.below("policy")
    kept = 1.0
    for each in policy.each("drop_overloads"):
        kept *= 1.0 - (strings.percent(each.below("drop_percentage")) or 0.0)
    return Balance(policy.whole("overprovisioning_factor", 140), 1.0 - kept)


def _endpoint(message: Json, group: Json) -> Endpoint | None:
    inner = message.below("endpoint")
    address = addresses.address(inner.below("address"))
    if address is None:
        return None
    metadata = message.below("metadata")
    told = message.choice("health_status", "UNKNOWN", *_HEALTH)
    health = _HEALTH.get(told, "unknown")
    return Endpoint(
        address=address,
        hostname=inner.text("hostname"),
        health=health,
        because="" if health == "healthy" else f"EDS says {told}",
        weight=message.whole("load_balancing_weight", 1),
        priority=group.whole("priority"),
        locality=addresses.locality(group.below("locality")),
        locality_weight=group.whole("load_balancing_weight") if group.has("load_balancing_weight") else None,
        workload=filter_metadata(metadata, "istio").text("workload"),
        socket_match=_raw(filter_metadata(metadata, "envoy.transport_socket_match")),
        subset=_raw(filter_metadata(metadata, "envoy.lb")),
        origin=message.origin,
    )


def _raw(message: Json) -> Mapping[str, Any]:
    return dict(message.raw)

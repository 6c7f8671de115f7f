"""Clusters and their endpoints, read from JSON."""

from collections.abc import Mapping
from typing import Any, Literal

from meshctl.envoy import listener, tls
from meshctl.envoy.metadata import filter_metadata, istio_config
from meshctl.envoy.model import Cluster, Endpoint, Health, Opaque, Outlier, SocketMatch, Status, Subsets
from meshctl.envoy.reading import Deferred, Json, typed

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
    thresholds = next(
        (
            t
            for t in message.below("circuit_breakers").each("thresholds")
            if t.choice("priority", "DEFAULT", "DEFAULT") == "DEFAULT"
        ),
        Json({}, message.source),
    )
    custom, kind = _type(message)
    timeout = message.seconds("connect_timeout")
    panic = common.below("healthy_panic_threshold")
    return Cluster(
        name=message.text("name"),
        type=kind,
        service_name=message.below("eds_cluster_config").text("service_name"),
        policy=message.choice("lb_policy", "ROUND_ROBIN"),
        connect_timeout_s=5.0 if timeout is None else timeout,
        inline_endpoints=Deferred(lambda: assignment(message.below("load_assignment"))),
        socket=Deferred(lambda: tls.transport_socket(message.below("transport_socket"))),
        socket_matches=Deferred(lambda: tuple(_socket_match(m) for m in message.each("transport_socket_matches"))),
        subsets=_subsets(message.below("lb_subset_config")),
        outlier=_outlier(message.below("outlier_detection")) if message.has("outlier_detection") else None,
        panic_percent=(panic.number("value") or 0.0) if common.has("healthy_panic_threshold") else 50.0,
        http=_http(message),
        bind_address=message.at("upstream_bind_config", "source_address").text("address"),
        port_override=message.below("original_dst_lb_config").whole("upstream_port_override") or None,
        max_connections=_limit(thresholds, "max_connections"),
        max_pending=_limit(thresholds, "max_pending_requests"),
        max_requests=_limit(thresholds, "max_requests"),
        services=_services(filter_metadata(message.below("metadata"), "istio")),
        opaque=Opaque(f"cluster type {custom}", message.origin) if custom else None,
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
    known = name.removeprefix("envoy.cluster.").upper()
    return ("", known) if known in _TYPES else (name, name)


def _limit(thresholds: Json, key: str) -> int | None:
    return thresholds.whole(key) if thresholds.has(key) else None


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
    return Subsets(
        selectors=tuple(tuple(sorted(s.texts("keys"))) for s in message.each("subset_selectors")),
        fallback=message.choice("fallback_policy", "NO_FALLBACK", "NO_FALLBACK", "ANY_ENDPOINT", "DEFAULT_SUBSET"),
        default=dict(message.below("default_subset").raw),
        opaque=Opaque(", ".join(odd), message.origin) if odd else None,
    )


def _outlier(message: Json) -> Outlier:
    def seconds(key: str, default: float) -> float:
        found = message.seconds(key)
        return default if found is None else found

    return Outlier(
        consecutive_5xx=message.whole("consecutive_5xx", 5),
        interval_s=seconds("interval", 10.0),
        ejection_s=seconds("base_ejection_time", 30.0),
        max_percent=message.whole("max_ejection_percent", 10),
    )


def assignment(message: Json) -> tuple[Endpoint, ...]:
    """Read a ``ClusterLoadAssignment``: every host with its place, weight and configured health."""
    return tuple(
        endpoint
        for group in message.each("endpoints")
        for each in group.each("lb_endpoints")
        if (endpoint := _endpoint(each, group)) is not None
    )


def locality(message: Json) -> str:
    """A locality as Istio writes it: ``region/zone/sub_zone``."""
    return "/".join(filter(None, (message.text(key) for key in ("region", "zone", "sub_zone"))))


def _endpoint(message: Json, group: Json) -> Endpoint | None:
    inner = message.below("endpoint")
    address = listener.address(inner.below("address"))
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
        locality=locality(group.below("locality")),
        locality_weight=group.whole("load_balancing_weight") if group.has("load_balancing_weight") else None,
        workload=filter_metadata(metadata, "istio").text("workload"),
        socket_match=_raw(filter_metadata(metadata, "envoy.transport_socket_match")),
        subset=_raw(filter_metadata(metadata, "envoy.lb")),
        origin=message.origin,
    )


def _raw(message: Json) -> Mapping[str, Any]:
    return dict(message.raw)

"""Network filters: connection managers, TCP proxies, policies; others are named and kept."""

from collections.abc import Callable

from meshctl.envoy import elsewhere, http_filters, rbac, route, scoped
from meshctl.envoy.model.basics import Opaque, Status
from meshctl.envoy.model.filters import Passes
from meshctl.envoy.model.listeners import NetworkFilter
from meshctl.envoy.model.managers import HttpManager, NetworkConfig, TcpProxy
from meshctl.envoy.model.routes import Target
from meshctl.envoy.reading import Deferred, Json, type_name, typed

_PASSES = {
    "MetadataExchange": "exchanges the workloads' names",
    "envoy.filters.network.set_filter_state.v3.Config": "notes facts for later filters",
    "envoy.extensions.filters.network.set_filter_state.v3.Config": "notes facts for later filters",
    "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit": "limits the number of connections",
    "envoy.extensions.filters.network.mongo_proxy.v3.MongoProxy": "counts MongoDB's messages",
    "envoy.extensions.filters.network.mysql_proxy.v3.MySQLProxy": "counts MySQL's messages",
    "envoy.extensions.filters.network.postgres_proxy.v3alpha.PostgresProxy": "counts PostgreSQL's messages",
    "stats.PluginConfig": "counts connections",
    "io.istio.network.peer_metadata.Config": "exchanges the workloads' names",
}
_PASSES_BY_NAME = {
    "istio.metadata_exchange": "exchanges the workloads' names",
    "istio.stats": "counts connections",
    "envoy.filters.network.metadata_exchange": "exchanges the workloads' names",
}
_UNSUPPORTED = (
    "early_header_mutation_extensions",
    "original_ip_detection_extensions",
    "path_normalization_options",
    "scheme_header_transformation",
    "typed_header_validation_config",
)
_UNDERSCORES = ("ALLOW", "ALLOW", "REJECT_REQUEST", "DROP_HEADER")
SNI_CLUSTER = "envoy.extensions.filters.network.sni_cluster.v3.SniCluster"
_NAMES = {"envoy.filters.network.sni_cluster": SNI_CLUSTER}


def network_filter(message: Json) -> NetworkFilter:
    """Read a filter of a filter chain."""
    name = message.text("name")
    kind = type_name(message.below("typed_config")) or _NAMES.get(name, "")
    config = message.below("typed_config")
    return NetworkFilter(name, kind, Deferred(lambda: _config(kind, name, config)), message.origin)


def _config(kind: str, name: str, config: Json) -> NetworkConfig:
    short = kind.rpartition(".")[2]
    if kind in _PASSES or short in _PASSES or name in _PASSES_BY_NAME:
        return Passes(_PASSES.get(kind) or _PASSES.get(short) or _PASSES_BY_NAME[name])
    read = _READERS.get(kind)
    return read(typed(config)) if read else Opaque(kind or name, config.origin)


def manager(config: Json) -> HttpManager:
    """Read ``HttpConnectionManager``."""
    common = config.below("common_http_protocol_options")
    inline = config.below("route_config")
    rds = config.below("rds").text("route_config_name")
    strip = (
        "any" if config.flag("strip_any_host_port") else "matching" if config.flag("strip_matching_host_port") else ""
    )
    return HttpManager(
        rds=rds,
        inline_routes=Deferred(
            lambda: route.config(inline, Status("active"), inline=True) if config.has("route_config") else None
        ),
        scoped=scoped.config(message) if (message := config.below("scoped_routes")) else None,
        filters=Deferred(lambda: tuple(http_filters.http_filter(f) for f in config.each("http_filters"))),
        codec=config.choice("codec_type", "AUTO", "AUTO", "HTTP1", "HTTP2", "HTTP3"),
        use_remote_address=config.flag("use_remote_address"),
        trusted_hops=config.whole("xff_num_trusted_hops"),
        normalize_path=config.flag("normalize_path"),
        merge_slashes=config.flag("merge_slashes"),
        escaped_slashes=config.choice(
            "path_with_escaped_slashes_action",
            "KEEP_UNCHANGED",
            "KEEP_UNCHANGED",
            "KEEP_UNCHANGED",
            "REJECT_REQUEST",
            "UNESCAPE_AND_REDIRECT",
            "UNESCAPE_AND_FORWARD",
        ),
        strip_port=strip,  # type: ignore[arg-type]
        strip_trailing_dot=config.flag("strip_trailing_host_dot"),
        upgrades=http_filters.upgrades(config),
        client_cert=config.choice("forward_client_cert_details", "SANITIZE"),
        append_forwarded_for=not config.flag("skip_xff_append"),
        generate_request_id=config.flag("generate_request_id", True),
        preserve_request_id=config.flag("preserve_external_request_id"),
        internal_ranges=_internal_ranges(config.below("internal_address_config")),
        idle_timeout_s=300.0 if (idle := config.seconds("stream_idle_timeout")) is None else idle,
        request_timeout_s=config.seconds("request_timeout") or 0.0,
        max_stream_s=common.seconds("max_stream_duration") or 0.0,
        underscores=common.choice("headers_with_underscores_action", *_UNDERSCORES),
        most_header_kb=config.whole("max_request_headers_kb", 60),
        most_headers=common.whole("max_headers_count", 100),
        unsupported=tuple(key for key in _UNSUPPORTED if config.has(key)),
        origin=config.origin,
    )


def _internal_ranges(config: Json) -> tuple[str, ...] | None:
    if not config.has("cidr_ranges"):
        return None
    return tuple(f"{r.text('address_prefix')}/{r.whole('prefix_len')}" for r in config.each("cidr_ranges"))


def _tcp_proxy(config: Json) -> TcpProxy:
    subset = route.subset_metadata(config.below("metadata_match"))
    if config.has("weighted_clusters"):
        targets = tuple(
            Target(
                cluster=c.text("name"),
                weight=c.whole("weight"),
                metadata={**subset, **route.subset_metadata(c.below("metadata_match"))},
            )
            for c in config.below("weighted_clusters").each("clusters")
        )
    else:
        targets = (Target(cluster=config.text("cluster"), metadata=subset),)
    return TcpProxy(
        targets=targets,
        weighted=config.has("weighted_clusters"),
        tunnel=config.below("tunneling_config").text("hostname"),
        origin=config.origin,
    )


_FILTERS = "envoy.extensions.filters.network"
_READERS: dict[str, Callable[[Json], NetworkConfig]] = {
    f"{_FILTERS}.http_connection_manager.v3.HttpConnectionManager": manager,
    f"{_FILTERS}.tcp_proxy.v3.TcpProxy": _tcp_proxy,
    f"{_FILTERS}.rbac.v3.RBAC": rbac.config,
    f"{_FILTERS}.ext_authz.v3.ExtAuthz": elsewhere.external,
    f"{_FILTERS}.local_ratelimit.v3.LocalRateLimit": elsewhere.counted_connections,
}

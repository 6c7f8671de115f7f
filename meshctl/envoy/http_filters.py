"""HTTP filters: which configuration each has, and which of them let every request pass."""

from collections.abc import Callable

from meshctl.envoy import cors, csrf, elsewhere, fault, health_check, jwt_config, rbac
from meshctl.envoy.model.basics import Opaque
from meshctl.envoy.model.filters import AlpnOverride, HttpConfig, Passes
from meshctl.envoy.model.managers import HttpFilter
from meshctl.envoy.model.routes import PerFilter
from meshctl.envoy.reading import Deferred, Json, type_name, typed

ROUTER = "envoy.extensions.filters.http.router.v3.Router"
_HTTP = "envoy.extensions.filters.http"
_PASSES = {
    ROUTER: "sends the request on",
    f"{_HTTP}.grpc_stats.v3.FilterConfig": "counts gRPC messages",
    f"{_HTTP}.compressor.v3.Compressor": "compresses answers",
    f"{_HTTP}.decompressor.v3.Decompressor": "decompresses bodies",
    f"{_HTTP}.grpc_web.v3.GrpcWeb": "translates gRPC-Web",
    f"{_HTTP}.set_filter_state.v3.Config": "notes facts for later filters",
    f"{_HTTP}.on_demand.v3.OnDemand": "fetches routes on demand",
    f"{_HTTP}.buffer.v3.Buffer": "waits for whole bodies",
    f"{_HTTP}.buffer.v3.BufferPerRoute": "waits for whole bodies",
    f"{_HTTP}.file_system_buffer.v3.FileSystemBufferFilterConfig": "keeps bodies in files",
    f"{_HTTP}.bandwidth_limit.v3.BandwidthLimit": "slows bodies down",
    f"{_HTTP}.tap.v3.Tap": "records requests",
    f"{_HTTP}.stateful_session.v3.StatefulSession": "keeps a session on one host",
    f"{_HTTP}.stateful_session.v3.StatefulSessionPerRoute": "keeps a session on one host",
    f"{_HTTP}.aws_request_signing.v3.AwsRequestSigning": "signs requests",
    f"{_HTTP}.grpc_http1_bridge.v3.Config": "translates gRPC",
    "stats.PluginConfig": "counts requests",
    "io.istio.http.peer_metadata.Config": "exchanges the workloads' names",
    "envoy.tcp.metadataexchange.config.MetadataExchange": "exchanges the workloads' names",
}
_PASSES_BY_NAME = {
    "istio.metadata_exchange": "exchanges the workloads' names",
    "istio.stats": "counts requests",
    "istio_authn": "notes the peer's identity and the token's claims",
    "istio.stackdriver": "reports requests",
    "waypoint_downstream_peer_metadata": "exchanges the workloads' names",
    "waypoint_upstream_peer_metadata": "exchanges the workloads' names",
}
_BY_NAME = {
    "envoy.filters.http.router": ROUTER,
    "envoy.router": ROUTER,
    "envoy.filters.http.cors": f"{_HTTP}.cors.v3.Cors",
    "envoy.cors": f"{_HTTP}.cors.v3.Cors",
    "envoy.filters.http.fault": f"{_HTTP}.fault.v3.HTTPFault",
    "envoy.fault": f"{_HTTP}.fault.v3.HTTPFault",
}


def http_filter(message: Json) -> HttpFilter:
    """Read a filter of a connection manager; one that comes by ECDS is known by its type URLs only."""
    name = message.text("name")
    config = message.below("typed_config")
    kind = type_name(config) or _BY_NAME.get(name, "")
    if not kind and message.has("config_discovery"):
        discovery = message.below("config_discovery")
        urls = discovery.texts("type_urls")
        kind = urls[0].rpartition("/")[2] if urls else ""
        default = discovery.below("default_config")
        unread = Opaque(f"{name} (its configuration comes by ECDS)", discovery.origin)
        return HttpFilter(
            name,
            kind,
            message.flag("disabled"),
            Deferred(lambda: _config(type_name(default), name, default) if default else unread),
            message.origin,
            discovered=True,
            has_default=bool(default),
        )
    return HttpFilter(
        name, kind, message.flag("disabled"), Deferred(lambda: _config(kind, name, config)), message.origin
    )


def extension(message: Json) -> HttpConfig:
    """Read a filter's configuration that came by itself (``TypedExtensionConfig``)."""
    config = message.below("typed_config")
    return _config(type_name(config), message.text("name"), config)


def per_filter(name: str, message: Json) -> PerFilter:
    """Read what a route says to one filter; ``FilterConfig`` wraps it or turns the filter off."""
    config, disabled = message, False
    if type_name(message) == "envoy.config.route.v3.FilterConfig":
        disabled = message.flag("disabled")
        config = message.below("config")
    kind = type_name(config)
    return PerFilter(kind, disabled, Deferred(lambda: _config(kind, name, config)), message.origin)


def _config(kind: str, name: str, message: Json) -> HttpConfig:
    if kind in _PASSES or name in _PASSES_BY_NAME:
        return Passes(_PASSES.get(kind) or _PASSES_BY_NAME[name])
    read = _READERS.get(kind)
    return read(typed(message)) if read else Opaque(kind or name, message.origin)


def upgrades(message: Json) -> dict[str, bool]:
    """Which upgrades a connection manager or a route allows, by their type in lower case."""
    return {u.text("upgrade_type").lower(): u.flag("enabled", True) for u in message.each("upgrade_configs")}


def _alpn(message: Json) -> AlpnOverride:
    return AlpnOverride(
        {
            each.choice("upstream_protocol", "HTTP10", "HTTP10", "HTTP11", "HTTP2"): each.texts("alpn_override")
            for each in message.each("alpn_override")
        }
    )


_READERS: dict[str, Callable[[Json], HttpConfig]] = {
    f"{_HTTP}.rbac.v3.RBAC": rbac.config,
    f"{_HTTP}.rbac.v3.RBACPerRoute": lambda message: rbac.config(message.below("rbac")),
    f"{_HTTP}.jwt_authn.v3.JwtAuthentication": jwt_config.config,
    f"{_HTTP}.jwt_authn.v3.PerRouteConfig": jwt_config.per_route,
    f"{_HTTP}.fault.v3.HTTPFault": fault.config,
    f"{_HTTP}.cors.v3.Cors": cors.config,
    f"{_HTTP}.cors.v3.CorsPolicy": cors.config,
    f"{_HTTP}.csrf.v3.CsrfPolicy": csrf.config,
    f"{_HTTP}.health_check.v3.HealthCheck": health_check.config,
    **{f"{_HTTP}.{kind}": read for kind, read in elsewhere.READERS.items()},
    "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig": _alpn,
}

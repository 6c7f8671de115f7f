"""Which resources a user asks for: by address, port, name, host, direction; as rows with what belongs together."""

from collections.abc import Iterator
from typing import Any

from meshctl.envoy.clusters_json import ClusterHosts
from meshctl.envoy.config_dump import ConfigDump
from meshctl.envoy.model.basics import Opaque
from meshctl.envoy.model.clusters import Cluster, Endpoint
from meshctl.envoy.model.filters import Rbac
from meshctl.envoy.model.listeners import FilterChain, Listener
from meshctl.envoy.model.managers import HttpManager, TcpProxy
from meshctl.envoy.model.routes import Forward, Route, RouteConfig, VirtualHost
from meshctl.envoy.upstream import Live, as_seen
from meshctl.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A filter on rows; None wants everything. Hosts and names fit by part, addresses and ports exactly."""

    address: str | None = None
    port: int | None = None
    name: str | None = None
    fqdn: str | None = None
    subset: str | None = None
    direction: str | None = None
    cluster: str | None = None
    status: str | None = None
    type: str | None = None


def _part(wanted: str | None, text: str) -> bool:
    return wanted is None or wanted.lower() in text.lower()


def _same(wanted: Any, value: Any) -> bool:
    return wanted is None or wanted == value


@dataclass(frozen=True, slots=True)
class ChainRow:
    """A filter chain with its listener; `manager` and `proxy` are its end, `policies` the RBAC filters before it."""

    listener: Listener
    chain: FilterChain | None
    manager: HttpManager | None = None
    proxy: TcpProxy | None = None
    unknown: tuple[Opaque, ...] = ()
    policies: int = 0

    @property
    def kind(self) -> str:
        """HTTP, TCP, or what cannot be told."""
        return "HTTP" if self.manager else "TCP" if self.proxy else "unknown"


def chains(dump: ConfigDump, wanted: Wanted) -> Iterator[ChainRow]:
    """Every filter chain of the listeners; `port` finds the chains behind virtualInbound by their own port as well."""
    for listener in dump.listeners():
        if not _part(wanted.name, listener.name) or not _same(wanted.direction, listener.direction):
            continue
        if wanted.address is not None and wanted.address not in {a.host for a in listener.addresses}:
            continue
        bound = wanted.port is None or any(a.port == wanted.port for a in listener.addresses)
        for row in _rows(listener):
            own = row.chain is not None and row.chain.match.destination_port == wanted.port
            if (bound or own) and _part(wanted.type, row.kind):
                yield row


def _rows(listener: Listener) -> Iterator[ChainRow]:
    default = listener.default_chain.get()
    found = (*listener.chains.get(), *((default,) if default is not None else ()))
    for chain in found:
        yield _row(listener, chain)
    if not found:
        yield ChainRow(listener, None)


def _row(listener: Listener, chain: FilterChain) -> ChainRow:
    configs = [each.config.get() for each in chain.filters.get()]
    return ChainRow(
        listener,
        chain,
        next((c for c in configs if isinstance(c, HttpManager)), None),
        next((c for c in configs if isinstance(c, TcpProxy)), None),
        tuple(c for c in configs if isinstance(c, Opaque)),
        sum(isinstance(c, Rbac) for c in configs),
    )


@dataclass(frozen=True, slots=True)
class RouteRow:
    """A route with its virtual host and configuration; `route` None is a virtual host without routes (404)."""

    config: RouteConfig
    host: VirtualHost
    route: Route | None


def routes(dump: ConfigDump, wanted: Wanted) -> Iterator[RouteRow]:
    """Every route of the route configurations, inline ones included."""
    for config in dump.route_configs():
        if wanted.name is not None and wanted.name != config.name:
            continue
        for host in config.virtual_hosts:
            if wanted.fqdn is not None and not any(_part(wanted.fqdn, d) for d in (host.name, *host.domains)):
                continue
            found = host.routes.get()
            for route in found:
                if wanted.cluster is None or any(_part(wanted.cluster, name) for name in targets(route)):
                    yield RouteRow(config, host, route)
            if not found and wanted.cluster is None:
                yield RouteRow(config, host, None)


def targets(route: Route) -> tuple[str, ...]:
    """The clusters that a route may send to, mirrors included."""
    if not isinstance(route.action, Forward):
        return ()
    sent = tuple(t.cluster or f"(header {t.from_header})" for t in route.action.targets)
    return sent + tuple(m.cluster for m in route.action.mirrors)


def clusters(dump: ConfigDump, wanted: Wanted) -> Iterator[Cluster]:
    """Every cluster whose name has the wanted parts."""
    for cluster in dump.clusters():
        direction, port, subset, host = cluster.parts or ("", "", "", cluster.name)
        if not _part(wanted.fqdn, host) or not _same(wanted.subset, subset) or not _same(wanted.direction, direction):
            continue
        if wanted.port is not None and str(wanted.port) != port:
            continue
        if _part(wanted.name, cluster.name) and (wanted.type is None or wanted.type.upper() == cluster.type):
            yield cluster


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """A host with its cluster; `seen` is what the proxy says of it now."""

    cluster: Cluster
    endpoint: Endpoint


def endpoints(dump: ConfigDump, live: Live | None, wanted: Wanted) -> Iterator[EndpointRow]:
    """Every host of every cluster, with the health of now where that is known."""
    for cluster in dump.clusters():
        host = (cluster.parts or ("", "", "", cluster.name))[3]
        if not _part(wanted.cluster, cluster.name) or not _part(wanted.fqdn, host):
            continue
        for endpoint in _hosts(dump, cluster, live.get(cluster.name) if live is not None else None):
            place = endpoint.address
            here = _same(wanted.address, place.host) and _same(wanted.port, place.port)
            if here and _same(wanted.status, endpoint.health):
                yield EndpointRow(cluster, endpoint)


def _hosts(dump: ConfigDump, cluster: Cluster, seen: ClusterHosts | None) -> tuple[Endpoint, ...]:
    configured = dump.endpoints(cluster) or ()
    return as_seen(configured, seen) if seen is not None else configured


def healthy(dump: ConfigDump, live: Live | None, cluster: Cluster) -> tuple[int, int] | None:
    """How many of a cluster's endpoints are healthy, and how many there are; None where that is not known."""
    seen = live.get(cluster.name) if live is not None else None
    if cluster.type == "ORIGINAL_DST" or (seen is None and dump.endpoints(cluster) is None):
        return None
    hosts = _hosts(dump, cluster, seen)
    return sum(host.health != "unhealthy" for host in hosts), len(hosts)


def chain_shown(chain: FilterChain) -> str:
    """When a filter chain is chosen, in words."""
    match = chain.match
    if chain.default:
        return "everything else"
    parts = [f"port {match.destination_port}"] if match.destination_port is not None else []
    parts += [", ".join(match.prefixes)] if match.prefixes else []
    parts += [f"SNI {', '.join(match.server_names)}"] if match.server_names else []
    parts += [{"raw_buffer": "plaintext", "tls": "TLS"}.get(match.transport_protocol, match.transport_protocol)]
    parts += [f"ALPN {', '.join(match.application_protocols)}"] if match.application_protocols else []
    parts += [f"from {', '.join(match.source_prefixes)}"] if match.source_prefixes else []
    parts += [f"directly from {', '.join(match.direct_source_prefixes)}"] if match.direct_source_prefixes else []
    parts += [match.source_type.lower()] if match.source_type != "ANY" else []
    parts += [f"source port {', '.join(map(str, match.source_ports))}"] if match.source_ports else []
    return "; ".join(p for p in parts if p) or "everything"

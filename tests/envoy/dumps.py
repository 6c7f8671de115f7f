"""Small config dumps for tests, and the recorded ones."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from meshctl.envoy import config_dump
from meshctl.envoy.config_dump import ConfigDump
from meshctl.sources.snapshot import open_snapshot

RECORDED = Path(__file__).parents[2] / "fixtures" / "trace"
HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
TCP = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
TLS = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
INSPECTORS = [
    {"name": f"i{kind}", "typed_config": {"@type": f"type.googleapis.com/envoy.extensions.filters.listener.{path}"}}
    for kind, path in (("tls", "tls_inspector.v3.TlsInspector"), ("http", "http_inspector.v3.HttpInspector"))
]


def typed(kind: str, **fields: Any) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/{kind}", **fields}


def http_chain(name: str = "", routes: Any = None, rds: str = "", filters: Sequence[Any] = (), **more: Any) -> Any:
    config = typed(HCM, stat_prefix="x", http_filters=list(filters))
    config |= {"rds": {"route_config_name": rds}} if rds else {"route_config": routes or route_config()}
    return {"name": name, "filters": [{"name": "hcm", "typed_config": config}], **more}


def tcp_chain(name: str, cluster: str, **more: Any) -> Any:
    return {"name": name, "filters": [{"name": "tcp", "typed_config": typed(TCP, cluster=cluster)}], **more}


def tls_socket(*, mutual: bool = False, secret: str = "default") -> Any:
    common = {"tls_certificate_sds_secret_configs": [{"name": secret}]}
    return {"name": "tls", "typed_config": typed(TLS, common_tls_context=common, require_client_certificate=mutual)}


def route_config(name: str = "inline", *hosts: Any) -> Any:
    found = hosts or (host("all", ["*"], {"match": {"prefix": "/"}, "route": {"cluster": "app"}, "name": "default"}),)
    return {"name": name, "virtual_hosts": list(found)}


def host(name: str, domains: Sequence[str], *routes: Any, **more: Any) -> Any:
    return {"name": name, "domains": list(domains), "routes": list(routes), **more}


def listener(name: str, address: str, port: int, *chains: Any, **more: Any) -> Any:
    place = {"socket_address": {"address": address, "port_value": port}}
    return {"name": name, "address": place, "filter_chains": list(chains), **more}


def cluster(name: str, *addresses: str, kind: str = "STATIC", **more: Any) -> Any:
    ends = [{"endpoint": {"address": {"socket_address": {"address": a, "port_value": 80}}}} for a in addresses]
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": ends}]}
    return {"name": name, "type": kind, "load_assignment": assignment, **more}


def dump(
    listeners: Sequence[Any] = (),
    routes: Sequence[Any] = (),
    clusters: Sequence[Any] | None = None,
    **sections: Any,
) -> ConfigDump:
    """A dump with these active resources."""
    return config_dump.read(document(listeners, routes, clusters, **sections), "test")


def document(
    listeners: Sequence[Any] = (), routes: Sequence[Any] = (), clusters: Sequence[Any] | None = None, **sections: Any
) -> Mapping[str, Any]:
    admin = "envoy.admin.v3"
    found = clusters if clusters is not None else [cluster("app", "10.0.0.1")]
    active = [{"name": each["name"], "active_state": {"listener": each}} for each in listeners]
    parts = {
        "Clusters": {"dynamic_active_clusters": [{"cluster": each} for each in found]},
        "Listeners": {"dynamic_listeners": active},
        "Routes": {"dynamic_route_configs": [{"route_config": each} for each in routes]},
        "Endpoints": {},
        **sections,
    }
    return {"configs": [typed(f"{admin}.{name}ConfigDump", **fields) for name, fields in parts.items()]}


@cache
def recorded(snapshot: str, namespace: str, prefix: str) -> ConfigDump:
    """The dump of a recorded pod."""
    return config_dump.parse(*part(snapshot, namespace, prefix, "envoy/config_dump.json"))


@cache
def part(snapshot: str, namespace: str, prefix: str, name: str) -> tuple[bytes, str]:
    """A named part of the first recorded pod whose name starts so."""
    from meshctl.sources import kinds

    world = open_snapshot(str(RECORDED / f"{snapshot}.tar.gz"))
    pods = [item["metadata"]["name"] for item in world.objects(kinds.PODS, namespace).items]
    found = world.part(namespace, next(pod for pod in sorted(pods) if pod.startswith(prefix)), name)
    assert found.content is not None, found.gap
    return found.content, found.source

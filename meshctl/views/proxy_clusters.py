"""A proxy's clusters: host, port, subset, TLS, how many endpoints are healthy, and the DestinationRule."""

from collections.abc import Sequence
from typing import Any

from meshctl.blocks import Column, Line, Page, Span
from meshctl.envoy import strings
from meshctl.envoy.model.clusters import Cluster
from meshctl.envoy.model.sockets import TransportSocket
from meshctl.views.proxy import istio_shown, object_document, path, table, titled


def upstream_tls(socket: TransportSocket) -> str:
    """The transport towards a host in words: plain text, TLS, the mesh's mutual TLS or its tunnel."""
    if socket.opaque is not None:
        return f"({socket.opaque.text})"
    if socket.tls is None:
        return "HBONE" if any("internal_upstream" in name for name in socket.through) else "plaintext"
    return "Istio mutual TLS" if socket.tls.istio_mutual else "mutual TLS" if socket.tls.certificates else "TLS"


def cluster_tls(cluster: Cluster) -> str:
    """What a cluster does about TLS: one way for all its hosts, or by each host's metadata."""
    matches = cluster.socket_matches.get()
    if not matches:
        return upstream_tls(cluster.socket.get())
    kinds = dict.fromkeys(upstream_tls(m.socket) for m in matches)
    return " or ".join(kinds) + " by endpoint" if len(kinds) > 1 else next(iter(kinds))


def document(name: str, rows: Sequence[tuple[Cluster, tuple[int, int] | None]]) -> dict[str, Any]:
    """``meshctl.proxy-clusters/v1``: one item a cluster, with healthy and all endpoints where they are known."""
    return {"schema": "meshctl.proxy-clusters/v1", "proxy": name, "items": [_cluster_document(c, h) for c, h in rows]}


def _cluster_document(cluster: Cluster, hosts: tuple[int, int] | None) -> dict[str, Any]:
    direction, port, subset, host = cluster.parts or (None, None, None, None)
    sockets = (cluster.socket.get(), *(m.socket for m in cluster.socket_matches.get()))
    return {
        "name": cluster.name,
        "direction": direction,
        "port": int(port) if port and port.isdecimal() else None,
        "subset": subset or None,
        "host": host or None,
        "type": cluster.type,
        "state": cluster.status.state,
        "tls": cluster_tls(cluster),
        "sni": next((s.tls.sni for s in sockets if s.tls is not None and s.tls.sni), None),
        "sans": [strings.shown(m.matcher) for s in sockets if s.tls is not None for m in s.tls.sans],
        "lb_policy": cluster.policy,
        "connect_timeout_seconds": cluster.connect_timeout_s,
        "outlier_detection": cluster.ejects,
        "endpoints": {"healthy": hosts[0], "total": hosts[1]} if hosts else None,
        "object": object_document(cluster.istio),
        "path": path(cluster.origin),
        "rejected": cluster.status.failure.details if cluster.status.failure else None,
    }


def page(name: str, rows: Sequence[tuple[Cluster, tuple[int, int] | None]]) -> Page:
    """A row a cluster: host, port, subset, TLS, how many endpoints are healthy, and the DestinationRule."""
    columns = (
        Column("HOST", keep=9),
        Column("PORT", right=True, keep=8, wrap=False),
        Column("SUBSET", keep=7),
        Column("DIRECTION", keep=4),
        Column("TYPE", keep=5),
        Column("TLS", keep=6),
        Column("LB", keep=2),
        Column("ENDPOINTS", right=True, keep=7, wrap=False),
        Column("ISTIO OBJECT", keep=5),
    )
    rejected = ((f"cluster {cluster.name}", cluster.status.failure) for cluster, _ in rows)
    lines = (_cluster_line(cluster, hosts) for cluster, hosts in rows)
    return titled("Clusters", name, table(columns, lines, rejected), "no cluster fits")


def _cluster_line(cluster: Cluster, hosts: tuple[int, int] | None) -> tuple[Line, ...]:
    direction, port, subset, host = cluster.parts or ("", "", "", cluster.name)
    healthy: Line = ""
    if hosts is not None:
        healthy = Span(f"{hosts[0]}/{hosts[1]}", "" if hosts[0] else "bad")
    named: Line = host or cluster.name
    if cluster.status.state == "warming":
        named = (host or cluster.name, " ", Span("(warming)", "warn"))
    return (
        named,
        port,
        subset,
        direction,
        cluster.type,
        cluster_tls(cluster),
        cluster.policy,
        healthy,
        istio_shown(cluster.istio),
    )

"""A proxy's endpoints: health, weight, locality, TLS, workload, cluster."""

from collections.abc import Sequence
from typing import Any

from meshctl.blocks import Column, Line, Note, Page, Span
from meshctl.envoy.select import EndpointRow
from meshctl.envoy.upstream import socket
from meshctl.views.proxy import path, table, titled
from meshctl.views.proxy_clusters import upstream_tls


def document(name: str, rows: Sequence[EndpointRow], live: bool) -> dict[str, Any]:
    """``meshctl.proxy-endpoints/v1``; `live` is false where health is only what EDS configured."""
    items = [_endpoint_document(r) for r in rows]
    return {"schema": "meshctl.proxy-endpoints/v1", "proxy": name, "health_is_live": live, "items": items}


def _endpoint_document(row: EndpointRow) -> dict[str, Any]:
    endpoint = row.endpoint
    return {
        "address": str(endpoint.address),
        "hostname": endpoint.hostname or None,
        "cluster": row.cluster.name,
        "health": endpoint.health,
        "because": endpoint.because or None,
        "weight": endpoint.weight,
        "priority": endpoint.priority,
        "locality": endpoint.locality or None,
        "tls": _endpoint_tls(row),
        "workload": endpoint.workload or None,
        "path": path(endpoint.origin),
    }


def page(name: str, rows: Sequence[EndpointRow], live: bool) -> Page:
    """A row an endpoint: health, weight, locality, TLS, workload, cluster."""
    columns = (
        Column("ENDPOINT", keep=9),
        Column("HEALTH", keep=8),
        Column("TLS", keep=6),
        Column("WEIGHT", right=True, keep=3),
        Column("PRIORITY", right=True, keep=2),
        Column("LOCALITY", keep=1),
        Column("WORKLOAD", keep=5),
        Column("CLUSTER", keep=7),
    )
    note = () if live else (Note("health as configured: what the proxy found out itself is not recorded", "info"),)
    return titled(
        "Endpoints", name, (*note, *table(columns, map(_endpoint_line, rows))) if rows else (), "no endpoint fits"
    )


def _endpoint_line(row: EndpointRow) -> tuple[Line, ...]:
    endpoint = row.endpoint
    health = Span(endpoint.health, {"healthy": "good", "unhealthy": "bad"}.get(endpoint.health, "warn"))  # type: ignore[arg-type]
    return (
        str(endpoint.address),
        (health, f" ({endpoint.because})") if endpoint.because else health,
        _endpoint_tls(row),
        str(endpoint.weight),
        str(endpoint.priority),
        endpoint.locality,
        endpoint.workload.partition(";")[0],
        row.cluster.name,
    )


def _endpoint_tls(row: EndpointRow) -> str:
    return upstream_tls(socket(row.cluster, row.endpoint)[0])

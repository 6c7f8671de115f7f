"""A proxy's filter chains: when each is chosen, and where its bytes go."""

from collections.abc import Sequence
from typing import Any

from meshctl.blocks import Column, Line, Page, Span
from meshctl.envoy import select
from meshctl.envoy.model.routes import RouteConfig
from meshctl.envoy.model.sockets import TransportSocket
from meshctl.envoy.select import ChainRow
from meshctl.views.proxy import istio_shown, object_document, path, table, titled
from meshctl.views.proxy_routes import targets_shown


def destination(row: ChainRow) -> str:
    """Where a chain's bytes go: a route configuration or clusters."""
    if row.manager is not None:
        if row.manager.rds:
            return f"routes {row.manager.rds}"
        inline = row.manager.inline_routes.get()
        return f"inline routes {inline.name} -> {_inline_targets(inline)}" if inline else "routes by scope"
    if row.proxy is not None:
        return "cluster " + targets_shown(row.proxy.targets, row.proxy.weighted)
    return f"({', '.join(o.text for o in row.unknown) or 'no filter'})"


def _inline_targets(config: RouteConfig) -> str:
    names = (name for host in config.virtual_hosts for route in host.routes.get() for name in select.targets(route))
    return ", ".join(dict.fromkeys(names)) or "no cluster"


def tls_shown(socket: TransportSocket) -> str:
    """The transport in words: plaintext, TLS, mutual TLS."""
    if socket.opaque is not None:
        return f"({socket.opaque.text})"
    if socket.tls is None:
        return "plaintext"
    mutual = socket.tls.require_client_certificate
    return f"{'mutual TLS' if mutual else 'TLS'} ({', '.join(socket.tls.certificates) or 'no certificate'})"


def document(name: str, rows: Sequence[ChainRow]) -> dict[str, Any]:
    """``meshctl.proxy-listeners/v1``: one item a filter chain."""
    return {"schema": "meshctl.proxy-listeners/v1", "proxy": name, "items": [_chain_document(r) for r in rows]}


def _chain_document(row: ChainRow) -> dict[str, Any]:
    listener, chain = row.listener, row.chain
    return {
        "listener": listener.name,
        "addresses": [str(a) for a in listener.addresses],
        "direction": listener.direction,
        "state": listener.status.state,
        "chain": (chain.name or None) if chain else None,
        "default": bool(chain and chain.default),
        "match": select.chain_shown(chain) if chain else None,
        "tls": tls_shown(chain.transport_socket.get()) if chain else None,
        "kind": row.kind,
        "destination": destination(row),
        "route_config": row.manager.rds or None if row.manager else None,
        "clusters": [t.cluster for t in row.proxy.targets] if row.proxy else [],
        "object": object_document((chain.istio if chain else None) or listener.istio),
        "path": path(chain.origin if chain else listener.origin),
        "rejected": listener.status.failure.details if listener.status.failure else None,
    }


def page(name: str, rows: Sequence[ChainRow]) -> Page:
    """A row a filter chain, those behind virtualInbound among them."""
    columns = (
        Column("LISTENER", keep=6),
        Column("ADDRESS", keep=7),
        Column("CHAIN", keep=3),
        Column("MATCH", keep=8),
        Column("TLS", keep=5),
        Column("KIND", keep=4),
        Column("DESTINATION", keep=9),
        Column("ISTIO OBJECT", keep=2),
    )
    rejected = ((f"listener {row.listener.name}", row.listener.status.failure) for row in rows)
    return titled("Listeners", name, table(columns, map(_chain_line, rows), rejected), "no listener fits")


def _chain_line(row: ChainRow) -> tuple[Line, ...]:
    chain, state = row.chain, row.listener.status.state
    shown: Line = row.listener.name
    if state in ("warming", "draining", "rejected"):
        shown = (row.listener.name, " ", Span(f"({state})", "bad"))
    return (
        shown,
        ", ".join(str(a) for a in row.listener.addresses),
        chain.name if chain else "",
        select.chain_shown(chain) if chain else "",
        tls_shown(chain.transport_socket.get()) if chain else "",
        row.kind,
        Span(destination(row), "name"),
        istio_shown((chain.istio if chain else None) or row.listener.istio),
    )

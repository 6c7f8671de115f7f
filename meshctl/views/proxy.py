"""A proxy's configuration as tables and documents: what a match looks at, with the Istio object behind each row."""

from collections.abc import Iterable, Sequence
from typing import Any

from meshctl.blocks import Block, Column, Facts, Heading, Line, Note, Page, Span, Table
from meshctl.envoy import route_match, select, strings
from meshctl.envoy.config_dump import ConfigDump
from meshctl.envoy.model import (
    Cluster,
    DirectResponse,
    Failure,
    Forward,
    IstioConfig,
    Opaque,
    Redirect,
    Route,
    RouteConfig,
    Secret,
    Target,
    TransportSocket,
)
from meshctl.envoy.select import ChainRow, EndpointRow, RouteRow
from meshctl.envoy.server_info import Certificate, ServerInfo
from meshctl.origin import Origin

_OBJECTS = {
    "virtual-service": "VirtualService",
    "destination-rule": "DestinationRule",
    "service-entry": "ServiceEntry",
    "sidecar": "Sidecar",
    "gateway": "Gateway",
    "envoyfilter": "EnvoyFilter",
}


def istio_shown(config: IstioConfig | None) -> str:
    """The object behind a resource: ``VirtualService reviews.default``; empty where it names none."""
    if config is None:
        return ""
    return f"{_OBJECTS.get(config.kind, config.kind)} {config.name}.{config.namespace}"


def _object(config: IstioConfig | None) -> dict[str, str] | None:
    if config is None:
        return None
    return {"kind": _OBJECTS.get(config.kind, config.kind), "namespace": config.namespace, "name": config.name}


def _path(origin: Origin | None) -> str | None:
    return origin.path if origin is not None else None


def _page(title: str, name: str, blocks: Iterable[Block], empty: str) -> Page:
    found = tuple(blocks)
    heading = Heading((f"{title} of ", Span(name, "name")), 1)
    return Page(f"{title} of {name}", (heading, *(found or (Note(empty),))))


def _failures(found: Iterable[tuple[str, Failure]]) -> tuple[Note, ...]:
    return tuple(Note(f"Envoy rejected {what}: {failure.details}", "bad") for what, failure in dict(found).items())


# --- listeners ------------------------------------------------------------------------------------------------------


def destination(row: ChainRow) -> str:
    """Where a chain's bytes go: a route configuration or clusters."""
    if row.manager is not None:
        if row.manager.rds:
            return f"routes {row.manager.rds}"
        inline = row.manager.inline_routes.get()
        return f"inline routes {inline.name} -> {_inline_targets(inline)}" if inline else "routes by scope"
    if row.proxy is not None:
        return "cluster " + _targets(row.proxy.targets, row.proxy.weighted)
    return f"({', '.join(o.text for o in row.unknown) or 'no filter'})"


def _inline_targets(config: RouteConfig) -> str:
    names = (name for host in config.virtual_hosts for route in host.routes.get() for name in select.targets(route))
    return ", ".join(dict.fromkeys(names)) or "no cluster"


def _targets(targets: Sequence[Target], weighted: bool) -> str:
    shown = (t.cluster or f"(from header {t.from_header})" for t in targets)
    if not weighted:
        return ", ".join(shown)
    total = sum(t.weight for t in targets) or 1
    return ", ".join(f"{100 * t.weight / total:.4g}% {name}" for t, name in zip(targets, shown, strict=True))


def tls_shown(socket: TransportSocket) -> str:
    """The transport in words: plaintext, TLS, mutual TLS."""
    if socket.opaque is not None:
        return f"({socket.opaque.text})"
    if socket.tls is None:
        return "plaintext"
    mutual = socket.tls.require_client_certificate
    return f"{'mutual TLS' if mutual else 'TLS'} ({', '.join(socket.tls.certificates) or 'no certificate'})"


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
        "object": _object((chain.istio if chain else None) or listener.istio),
        "path": _path(chain.origin if chain else listener.origin),
        "rejected": listener.status.failure.details if listener.status.failure else None,
    }


def listeners_document(name: str, rows: Sequence[ChainRow]) -> dict[str, Any]:
    """``meshctl.proxy-listeners/v1``: one item a filter chain."""
    return {"schema": "meshctl.proxy-listeners/v1", "proxy": name, "items": [_chain_document(r) for r in rows]}


def listeners_page(name: str, rows: Sequence[ChainRow]) -> Page:
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
    lines = tuple(_chain_line(row) for row in rows)
    failed = ((f"listener {r.listener.name}", f) for r in rows if (f := r.listener.status.failure) is not None)
    blocks: tuple[Block, ...] = (*_failures(failed), Table(columns, lines)) if rows else ()
    return _page("Listeners", name, blocks, "no listener fits")


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


# --- routes ---------------------------------------------------------------------------------------------------------


def action_shown(route: Route) -> str:
    """What a route does, in words."""
    match route.action:
        case Forward() as forward:
            return _targets(forward.targets, forward.weighted) or "(no cluster)"
        case Redirect() as redirect:
            where = "".join((redirect.host, f":{redirect.port}" if redirect.port else "", redirect.path))
            scheme = "https " if redirect.https else ""
            return f"redirect {redirect.status} {scheme}{where or redirect.prefix_rewrite}".rstrip()
        case DirectResponse(status):
            return f"answer {status}"
        case Opaque(text):
            return f"({text})"


def extras_shown(route: Route) -> str:
    """Timeout, retries, mirrors, rewrites and filters of a route, in words."""
    if not isinstance(route.action, Forward):
        return ""
    action = route.action
    parts = [] if action.timeout_s in (0.0, 15.0) else [f"timeout {action.timeout_s:g}s"]
    if action.retry is not None:
        parts.append(f"{action.retry.attempts} retries on {','.join(action.retry.on)}")
    parts += [f"mirror {m.cluster}" for m in action.mirrors]
    parts += [f"rewrite {action.prefix_rewrite}"] if action.prefix_rewrite else []
    parts += [f"hash by {', '.join(action.hash_policy)}"] if action.hash_policy else []
    parts += [name.rpartition(".")[2] for name in route.filter_config]
    return "; ".join(parts)


def _route_document(row: RouteRow) -> dict[str, Any]:
    route = row.route
    forward = route.action if route is not None and isinstance(route.action, Forward) else None
    return {
        "route_config": row.config.name or None,
        "inline": row.config.inline,
        "virtual_host": row.host.name,
        "domains": list(row.host.domains),
        "require_tls": row.host.require_tls,
        "route": (route.name or None) if route else None,
        "match": route_match.shown(route.match) if route else None,
        "action": action_shown(route) if route else "answer 404",
        "clusters": [{"name": t.cluster, "weight": t.weight} for t in forward.targets] if forward else [],
        "mirrors": [m.cluster for m in forward.mirrors] if forward else [],
        "timeout_seconds": forward.timeout_s if forward else None,
        "retries": forward.retry.attempts if forward and forward.retry else None,
        "retry_on": list(forward.retry.on) if forward and forward.retry else [],
        "filters": sorted(route.filter_config) if route else [],
        "object": _object(route.istio) if route else None,
        "path": _path(route.origin if route else row.host.origin),
    }


def routes_document(name: str, rows: Sequence[RouteRow]) -> dict[str, Any]:
    """``meshctl.proxy-routes/v1``: one item a route."""
    return {"schema": "meshctl.proxy-routes/v1", "proxy": name, "items": [_route_document(r) for r in rows]}


def routes_page(name: str, rows: Sequence[RouteRow]) -> Page:
    """A row a route: its hosts, its match, its clusters with their shares, and the VirtualService."""
    columns = (
        Column("ROUTES", keep=7),
        Column("VIRTUAL HOST", keep=6),
        Column("DOMAINS", keep=3),
        Column("ROUTE", keep=4),
        Column("MATCH", keep=8),
        Column("ACTION", keep=9),
        Column("MORE", keep=2),
        Column("ISTIO OBJECT", keep=5),
    )
    failed = ((f"routes {r.config.name}", f) for r in rows if (f := r.config.status.failure) is not None)
    lines = tuple(_route_line(row) for row in rows)
    blocks: tuple[Block, ...] = (*_failures(failed), Table(columns, lines)) if rows else ()
    return _page("Routes", name, blocks, "no route fits")


def _route_line(row: RouteRow) -> tuple[Line, ...]:
    route, domains = row.route, row.host.domains
    more = f" + {len(domains) - 2} more" if len(domains) > 2 else ""
    return (
        row.config.name or "(inline)",
        row.host.name,
        ", ".join(domains[:2]) + more,
        route.name if route else "",
        route_match.shown(route.match) if route else "no routes",
        Span(action_shown(route) if route else "answer 404", "name"),
        extras_shown(route) if route else "",
        istio_shown(route.istio) if route else "",
    )


# --- clusters -------------------------------------------------------------------------------------------------------


def cluster_tls(cluster: Cluster) -> str:
    """What a cluster does about TLS: one way for all its hosts, or by each host's metadata."""
    matches = cluster.socket_matches.get()
    if not matches:
        return _upstream_tls(cluster.socket.get())
    kinds = dict.fromkeys(_upstream_tls(m.socket) for m in matches)
    return " or ".join(kinds) + " by endpoint" if len(kinds) > 1 else next(iter(kinds))


def _upstream_tls(socket: TransportSocket) -> str:
    if socket.opaque is not None:
        return f"({socket.opaque.text})"
    if socket.tls is None:
        return "HBONE" if any("internal_upstream" in name for name in socket.through) else "plaintext"
    return "Istio mutual TLS" if socket.tls.istio_mutual else "mutual TLS" if socket.tls.certificates else "TLS"


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
        "sans": [strings.shown(m) for s in sockets if s.tls is not None for m in s.tls.sans],
        "lb_policy": cluster.policy,
        "connect_timeout_seconds": cluster.connect_timeout_s,
        "outlier_detection": cluster.outlier is not None,
        "endpoints": {"healthy": hosts[0], "total": hosts[1]} if hosts else None,
        "object": _object(cluster.istio),
        "path": _path(cluster.origin),
        "rejected": cluster.status.failure.details if cluster.status.failure else None,
    }


def clusters_document(name: str, rows: Sequence[tuple[Cluster, tuple[int, int] | None]]) -> dict[str, Any]:
    """``meshctl.proxy-clusters/v1``: one item a cluster, with healthy and all endpoints where they are known."""
    return {"schema": "meshctl.proxy-clusters/v1", "proxy": name, "items": [_cluster_document(c, h) for c, h in rows]}


def clusters_page(name: str, rows: Sequence[tuple[Cluster, tuple[int, int] | None]]) -> Page:
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
    failed = ((f"cluster {c.name}", f) for c, _ in rows if (f := c.status.failure) is not None)
    lines = tuple(_cluster_line(cluster, hosts) for cluster, hosts in rows)
    blocks: tuple[Block, ...] = (*_failures(failed), Table(columns, lines)) if rows else ()
    return _page("Clusters", name, blocks, "no cluster fits")


def _cluster_line(cluster: Cluster, hosts: tuple[int, int] | None) -> tuple[Line, ...]:
    direction, port, subset, host = cluster.parts or ("", "", "", cluster.name)
    healthy: Line = ""
    if hosts is not None:
        healthy = Span(f"{hosts[0]}/{hosts[1]}", "" if hosts[0] else "bad")
    named: Line = host or cluster.name
    if cluster.status.state == "warming":
        named = (host or cluster.name, " ", Span("(warming)", "warn"))
    kind = cluster.type
    return (
        named,
        port,
        subset,
        direction,
        kind,
        cluster_tls(cluster),
        cluster.policy,
        healthy,
        istio_shown(cluster.istio),
    )


# --- endpoints ------------------------------------------------------------------------------------------------------


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
        "path": _path(endpoint.origin),
    }


def _endpoint_tls(row: EndpointRow) -> str:
    from meshctl.envoy.upstream import socket

    return _upstream_tls(socket(row.cluster, row.endpoint)[0])


def endpoints_document(name: str, rows: Sequence[EndpointRow], live: bool) -> dict[str, Any]:
    """``meshctl.proxy-endpoints/v1``; `live` is false where health is only what EDS configured."""
    items = [_endpoint_document(r) for r in rows]
    return {"schema": "meshctl.proxy-endpoints/v1", "proxy": name, "health_is_live": live, "items": items}


def endpoints_page(name: str, rows: Sequence[EndpointRow], live: bool) -> Page:
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
    lines = tuple(_endpoint_line(row) for row in rows)
    note = () if live else (Note("health as configured: what the proxy found out itself is not recorded", "info"),)
    return _page("Endpoints", name, (*note, Table(columns, lines)) if rows else (), "no endpoint fits")


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


# --- secrets and bootstrap ------------------------------------------------------------------------------------------


def secrets_document(name: str, secrets: Sequence[Secret], certificates: Sequence[Certificate]) -> dict[str, Any]:
    """``meshctl.proxy-secrets/v1``: names and states, and the certificates in use; never their content."""
    return {
        "schema": "meshctl.proxy-secrets/v1",
        "proxy": name,
        "items": [
            {"name": s.name, "kind": s.kind, "state": s.state, "updated": s.updated or None, "path": _path(s.origin)}
            for s in secrets
        ],
        "certificates": [
            {
                "kind": c.kind,
                "serial": c.serial,
                "names": list(c.names),
                "not_before": c.not_before,
                "not_after": c.not_after,
            }
            for c in certificates
        ],
    }


def secrets_page(name: str, secrets: Sequence[Secret], certificates: Sequence[Certificate]) -> Page:
    """A row a secret, then a row a certificate in use."""
    blocks: list[Block] = []
    if secrets:
        columns = (Column("SECRET", keep=9), Column("KIND"), Column("STATE"), Column("UPDATED", keep=2))
        blocks.append(Table(columns, tuple((s.name, s.kind, s.state, s.updated) for s in secrets)))
    if certificates:
        columns = (
            Column("CERTIFICATE", keep=9),
            Column("SERIAL", keep=2),
            Column("FROM", keep=3),
            Column("UNTIL", keep=8),
        )
        rows = tuple((", ".join(c.names) or c.kind, c.serial, c.not_before, c.not_after) for c in certificates)
        blocks += [Heading("Certificates in use"), Table(columns, rows)]
    return _page("Secrets", name, blocks, "the dump names no secret")


def bootstrap_document(name: str, dump: ConfigDump, info: ServerInfo | None) -> dict[str, Any]:
    """``meshctl.proxy-bootstrap/v1``: who the proxy is, its versions, and what it rejected or waits for."""
    found = dump.bootstrap()
    return {
        "schema": "meshctl.proxy-bootstrap/v1",
        "proxy": name,
        "node": found.node_id or None,
        "type": found.proxy_type or None,
        "ips": list(found.ips),
        "namespace": found.namespace or None,
        "service_account": found.service_account or None,
        "istio_version": found.istio_version or None,
        "envoy_version": (info.envoy_release if info else "") or found.envoy_version or None,
        "state": info.state if info else None,
        "interception_mode": found.interception_mode or None,
        "admin_port": found.admin_port,
        "labels": dict(found.labels),
        "static_clusters": list(found.clusters),
        "static_listeners": list(found.listeners),
        "versions": dict(dump.versions()),
        "troubles": [
            {
                "kind": kind,
                "name": what,
                "state": status.state,
                "details": status.failure.details if status.failure else None,
            }
            for kind, what, status in dump.troubles()
        ],
    }


def bootstrap_page(name: str, dump: ConfigDump, info: ServerInfo | None) -> Page:
    """Who the proxy says it is, and what it rejected or waits for."""
    document = bootstrap_document(name, dump, info)
    left_out = ("schema", "proxy", "labels", "versions", "troubles")
    shown = {k: v for k, v in document.items() if k not in left_out and v not in (None, [])}
    rows = tuple((k.replace("_", " "), ", ".join(v) if isinstance(v, list) else str(v)) for k, v in shown.items())
    rows += tuple((f"version of {k.lower()}", v) for k, v in document["versions"].items())
    rows += tuple((f"label {k}", v) for k, v in sorted(document["labels"].items()))
    notes = tuple(
        Note(f"{t['kind']} {t['name']} is {t['state']}{': ' + t['details'] if t['details'] else ''}", "bad")
        for t in document["troubles"]
    )
    return _page("Bootstrap", name, (*notes, Facts(rows)), "the dump has no bootstrap")

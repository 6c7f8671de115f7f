"""A proxy's routes: hosts, match, clusters with their shares, and the VirtualService behind each."""

from collections.abc import Sequence
from typing import Any

from meshctl.blocks import Column, Line, Page, Span
from meshctl.envoy import route_match
from meshctl.envoy.model.basics import Opaque
from meshctl.envoy.model.routes import DirectResponse, Forward, Redirect, Route, Target
from meshctl.envoy.select import RouteRow
from meshctl.views.proxy import istio_shown, object_document, path, table, titled


def targets_shown(targets: Sequence[Target], weighted: bool) -> str:
    """The clusters that are chosen from, with their shares where chance chooses."""
    shown = (t.cluster or f"(from header {t.from_header})" for t in targets)
    if not weighted:
        return ", ".join(shown)
    total = sum(t.weight for t in targets) or 1
    return ", ".join(f"{100 * t.weight / total:.4g}% {name}" for t, name in zip(targets, shown, strict=True))


def action_shown(route: Route) -> str:
    """What a route does, in words."""
    match route.action:
        case Forward() as forward:
            return targets_shown(forward.targets, forward.weighted) or "(no cluster)"
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
    parts += [f"hash by {', '.join(map(str, action.hash_policy))}"] if action.hash_policy else []
    parts += [name.rpartition(".")[2] for name in route.filter_config]
    return "; ".join(parts)


def document(name: str, rows: Sequence[RouteRow]) -> dict[str, Any]:
    """``meshctl.proxy-routes/v1``: one item a route."""
    return {"schema": "meshctl.proxy-routes/v1", "proxy": name, "items": [_route_document(r) for r in rows]}


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
        "object": object_document(route.istio) if route else None,
        "path": path(route.origin if route else row.host.origin),
    }


def page(name: str, rows: Sequence[RouteRow]) -> Page:
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
    rejected = ((f"routes {row.config.name}", row.config.status.failure) for row in rows)
    return titled("Routes", name, table(columns, map(_route_line, rows), rejected), "no route fits")


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

"""Which routes are for a request: what of it is seen, the route configuration and the virtual host."""

from dataclasses import replace

from meshctl.envoy import codec, headers, rewrite, scoped, sending, virtual_host
from meshctl.envoy.journal import Journal, Stop
from meshctl.envoy.model.basics import Opaque
from meshctl.envoy.model.managers import HttpManager, ScopedRoutes
from meshctl.envoy.model.routes import Forward, Route, RouteConfig, VirtualHost
from meshctl.envoy.request import Request
from meshctl.origin import Origin


def decoded(walk: Journal, manager: HttpManager, raw: Request) -> Request:
    """The request as routes see it; stops where the bytes are no HTTP."""
    query = walk.query
    if query.tls != "plaintext" and not raw.terminated:
        because = "TLS bytes reach an HTTP connection manager that does not end TLS: they are no HTTP"
        raise walk.fail("protocol-error", "http", because, manager.origin, flags="DPE")
    unspoken = {"HTTP1": "http2", "HTTP2": "http"}.get(manager.codec) == query.protocol
    because = codec.refuses(query.protocol, query.method, query.path)
    if because or unspoken:
        because = because or f"the connection manager only speaks {manager.codec}"
        by_http2 = manager.codec == "HTTP2" or (query.protocol == "http2" and not unspoken)
        details = "http1.codec_error" if unspoken else codec.details(query.method, query.path)
        told = {} if by_http2 else {"status": 400, "details": details}
        raise walk.fail("protocol-error", "http", because, manager.origin, flags="DPE", **told)
    for odd in manager.unsupported:
        walk.undecided(f"{odd} of the connection manager is not modelled")
    odd_header = codec.malformed(query.protocol, raw.host, raw.headers)
    if odd_header is not None and query.protocol == "http2":
        because = f"{odd_header.why}: the stream is reset"
        raise walk.fail("protocol-error", "http", because, manager.origin, flags="DPE")
    if odd_header is not None:
        walk.step("http", "", odd_header.why, manager.origin)
        walk.answer(odd_header.status, "DPE", odd_header.details)
        raise Stop
    raw = _within_limits(walk, manager, raw)
    if raw.path.startswith("*") and raw.method != "CONNECT":
        walk.step("http", "", f"the path {raw.path} does not start with a slash", manager.origin)
        walk.answer(404, None, "absolute_path_rejected")
        raise Stop
    path = rewrite.path_seen(manager, raw.path)
    if path is None:
        walk.step("http", "", f"the path {raw.path} is refused by path normalisation", manager.origin)
        walk.answer(400, None, "path_normalization_failed")
        raise Stop
    if rewrite.unescapes(manager, raw.path):
        walk.step("http", f"redirect to {path}", "escaped slashes are unescaped by a redirect", manager.origin)
        walk.note(action="redirect", location=path)
        walk.answer(307, None, "path_normalization_failed")
        raise Stop
    found = headers.seen(manager, raw, http2=query.protocol == "http2")
    walk.is_grpc = found.is_grpc
    return replace(found, host=rewrite.host_seen(manager, raw.host, raw.port), path=path)


def _within_limits(walk: Journal, manager: HttpManager, raw: Request) -> Request:
    """The request without headers that are dropped; stops where it has more, or others, than the manager takes."""
    lines = [(name, value) for name, values in raw.headers.items() for value in values]
    if sum(len(name) + len(value) for name, value in lines) > manager.most_header_kb * 1024:
        because = f"its headers are larger than {manager.most_header_kb} KB"
        raise _undecodable(walk, because, manager.origin, 431, "headers_too_large")
    if len(lines) > manager.most_headers:
        because = f"it has more than {manager.most_headers} headers"
        raise _undecodable(walk, because, manager.origin, 431, "too_many_headers")
    odd = sorted(name for name in raw.headers if "_" in name)
    if odd and manager.underscores == "REJECT_REQUEST":
        because = f"the header {odd[0]} has an underscore in its name"
        raise _undecodable(walk, because, manager.origin, 400, "unexpected_underscore")
    if not odd or manager.underscores == "ALLOW":
        return raw
    return replace(raw, headers={name: values for name, values in raw.headers.items() if "_" not in name})


def _undecodable(walk: Journal, because: str, origin: Origin, status: int, details: str) -> Stop:
    """What the codec refuses: HTTP/1.1 gets an answer, a stream of HTTP/2 is reset."""
    walk.step("http", "", because, origin)
    if walk.query.protocol == "http2":
        walk.note(forwards=False, flags="DR", details=f"http2.{details}")
    else:
        walk.answer(status, "DPE", f"http1.{details}")
    return Stop()


def refuse_upgrade(walk: Journal, manager: HttpManager, chosen: Route, request: Request) -> None:
    """Refuse a request to change the protocol, or to tunnel, that neither the route nor the manager allows."""
    wanted = request.upgrade
    of_route = chosen.action.upgrades if isinstance(chosen.action, Forward) else {}
    if not wanted or of_route.get(wanted, manager.upgrades.get(wanted, False)):
        return
    walk.step("http", "", f"an upgrade to {wanted} is not allowed here", manager.origin)
    if isinstance(chosen.action, Forward):
        walk.note(
            action="http", clusters=sending.shared(tuple(sending.resolved(t, request) for t in chosen.action.targets))
        )
    walk.answer(403, None, "upgrade_failed")
    raise Stop


def routes_of(walk: Journal, manager: HttpManager, request: Request) -> RouteConfig:
    """The route configuration of a connection manager."""
    found: RouteConfig | None
    if manager.scoped is not None:
        found, because = _scope(walk, manager.scoped, request)
    elif manager.rds:
        found = _by_name(walk, manager.rds, manager.origin)
        because = "the connection manager gets its routes by this name (RDS)"
        if found.status.failure is not None:
            because += f"; a newer version was rejected: {found.status.failure.details}"
    else:
        found = manager.inline_routes.get()
        if found is None:
            raise walk.give_up("route config", "the connection manager has no routes that are known", manager.origin)
        because = "it stands in the connection manager"
    walk.step("route config", found.name, because, found.origin)
    walk.note(route_config=found, route_config_name=found.name or manager.rds or None)
    if found.ignores_parameters and ";" in request.path:
        raise walk.give_up("route config", "ignore_path_parameters_in_path_matching is not modelled", found.origin)
    return found


def _by_name(walk: Journal, name: str, origin: Origin) -> RouteConfig:
    """A route configuration that came by RDS."""
    walk.note(route_config_name=name)
    found = walk.dump.route_config(name)
    if found is None and not walk.dump.has("Routes"):
        raise walk.give_up("route config", "the dump has no route configurations", origin)
    if found is None:
        raise _unrouted(walk, f"the proxy has not got a route configuration {name}: it answers 404", origin)
    return found


def _unrouted(walk: Journal, because: str, origin: Origin) -> Stop:
    """Journal that there is no route configuration for a request; to be raised."""
    walk.answer(404, "NR", "route_not_found")
    return walk.fail("no-virtual-host", "route config", because, origin)


def _scope(walk: Journal, routes: ScopedRoutes, request: Request) -> tuple[RouteConfig, str]:
    """The route configuration of the scope that the request's headers name."""
    scopes = routes.scopes if routes.scopes is not None else walk.dump.scopes(routes.name)
    if scopes is None:
        raise walk.give_up("route config", f"the dump has no scopes of {routes.name}", routes.origin)
    key = scoped.key(routes.fragments, request)
    if isinstance(key, Opaque):
        raise walk.give_up("route config", f"the scope of routes depends on {key.text}", routes.origin)
    shown = "none" if key is None else ", ".join(key)
    chosen = next((each for each in scopes if each.key == key), None)
    if chosen is None:
        raise _unrouted(walk, f"no scope of routes is for the key that its headers make ({shown})", routes.origin)
    because = f"the scope {chosen.name} is for the key that the request's headers make ({shown})"
    found = chosen.inline.get()
    if found is None and chosen.on_demand and walk.dump.route_config(chosen.routes) is None:
        raise walk.give_up("route config", f"{chosen.routes} is fetched when it is first asked for", chosen.origin)
    return found if found is not None else _by_name(walk, chosen.routes, chosen.origin), because


def host_of(walk: Journal, manager: HttpManager, config: RouteConfig, request: Request) -> VirtualHost | None:
    """Choose the virtual host."""
    found, because = virtual_host.choose(config, request)
    if found is None and config.vhds and any(f.type.endswith("OnDemand") for f in manager.filters.get()):
        raise walk.give_up("virtual host", "virtual hosts are fetched when first asked for (VHDS)", config.origin)
    if found is None:
        walk.step("virtual host", "", because, config.origin)
        walk.note(error="no-virtual-host", forwards=False)
        return None
    walk.step("virtual host", found.name, because, found.origin)
    walk.note(virtual_host=found)
    return found


def wants_tls(walk: Journal, host: VirtualHost | None, request: Request) -> bool:
    """Whether the virtual host wants TLS and the client has none."""
    if host is None or host.require_tls == "NONE" or request.forwarded_proto == "https":
        return False
    if host.require_tls == "EXTERNAL_ONLY" and request.internal is not False:
        if request.internal is None:
            walk.undecided("the virtual host requires TLS of external clients: whether this one is, is not known")
        return False
    because = "the virtual host requires TLS: the proxy redirects to https"
    walk.step("route", "", because, host.origin)
    place = f"https://{request.host}{request.path}"
    walk.note(error="tls-redirect", forwards=False, action="redirect", location=place)
    return True

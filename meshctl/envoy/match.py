"""What one proxy does with one request: listener, filter chain, route, cluster, as Envoy decides it.

`match` is pure and total: it answers for every query, and where the configuration or the query leaves something open
it says so in `Match.undecided_because` and stops there.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from meshctl.envoy import (
    client,
    filter_chain,
    filters,
    headers,
    ip,
    listener,
    matcher_tree,
    rewrite,
    route_match,
    scoped,
    tls,
    upstream,
)
from meshctl.envoy import virtual_host as hosts
from meshctl.envoy.config_dump import ConfigDump
from meshctl.envoy.filters import Verdict
from meshctl.envoy.model.basics import Address, Opaque
from meshctl.envoy.model.clusters import Cluster
from meshctl.envoy.model.filters import Elsewhere, Passes, Rbac
from meshctl.envoy.model.listeners import FilterChain, Listener
from meshctl.envoy.model.managers import HttpManager, ScopedRoutes, TcpProxy
from meshctl.envoy.model.routes import (
    DirectResponse,
    Forward,
    HashPolicy,
    Redirect,
    Route,
    RouteConfig,
    Target,
    VirtualHost,
)
from meshctl.envoy.query import Error, Match, Query, Share, Step
from meshctl.envoy.request import Request
from meshctl.origin import Origin

__all__ = ["Error", "Match", "Query", "Share", "Step", "match"]


# Envoy, Grpc::Utility::httpToGrpcStatus; every other status is UNKNOWN.
_GRPC = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}


class _Stop(Exception):
    """Nothing after this decision is reached."""


class _Walk:
    """One request on its way through one proxy; collects what becomes a Match."""

    def __init__(
        self,
        dump: ConfigDump,
        query: Query,
        live: upstream.Live | None,
        passed_over: frozenset[str] = frozenset(),
        pins: Mapping[str, int] | None = None,
        *,
        alone: bool = False,
    ) -> None:
        self.dump = dump
        self.query = query
        self.live = live
        self.passed_over = passed_over
        self.pins = pins or {}
        self.alone = alone
        self.target: Target | None = None
        self.again: tuple[VirtualHost | None, Route | None] | None = None
        self.others: tuple[Match, ...] = ()
        self.found: dict[str, Any] = {}
        self.steps: list[Step] = []
        self.open: list[str] = []
        self.verdicts: list[Verdict] = []
        self.is_grpc = False
        self.hashes: tuple[HashPolicy, ...] = ()

    # --- recording

    def step(self, what: str, chosen: str, because: str, origin: Origin | None = None) -> None:
        """Record a decision."""
        self.steps.append(Step(what, chosen, because, origin))

    def note(self, **fields: object) -> None:
        """Record what was reached."""
        self.found.update(fields)

    def fail(self, error: Error, what: str, because: str, origin: Origin | None = None, **fields: object) -> _Stop:
        """Record where matching fails; to be raised."""
        self.step(what, "", because, origin)
        self.note(error=error, forwards=False, **fields)
        return _Stop()

    def undecided(self, because: str) -> None:
        """Record what cannot be told."""
        if because not in self.open:
            self.open.append(because)
        self.note(forwards=None)

    def give_up(self, what: str, because: str, origin: Origin | None = None) -> _Stop:
        """Record that what follows depends on something unknown; to be raised."""
        self.step(what, "", because, origin)
        self.undecided(because)
        return _Stop()

    def result(self) -> Match:
        """What was found, complete."""
        return Match(
            query=self.query,
            **self.found,
            steps=tuple(self.steps),
            verdicts=tuple(self.verdicts),
            undecided_because=tuple(self.open),
            alternatives=self.others,
        )

    # --- the connection

    def run(self) -> Match:
        """Walk until something ends it."""
        try:
            where = self.listener()
            connection = self.inspect(where)
            chain = self.chain(where, connection)
            terminated = self.handshake(chain)
            self.network(chain, self.request(connection, chain, terminated))
        except _Stop:
            pass
        return self.result()

    def listener(self) -> Listener:
        """Choose the listener."""
        query = self.query
        found, because, entry = _listener(self.dump, query)
        self.note(entry=entry)
        rejected = next(
            (one for one in self.dump.rejected() if listener.at((one,), query.address, query.port)[0] is not None), None
        )
        if found is None and not self.dump.has("Listeners"):
            raise self.give_up("listener", "the dump has no listeners")
        if found is None:
            if rejected is not None and rejected.status.failure is not None:
                why = f"Envoy rejected {rejected.name}: {rejected.status.failure.details}"
                raise self.fail("config-rejected", "listener", why, rejected.origin)
            raise self.fail("no-listener", "listener", because)
        if rejected is not None and rejected.status.failure is not None and found is entry:
            because += f"; Envoy rejected {rejected.name}, which was meant for it: {rejected.status.failure.details}"
        elif found.status.failure is not None:
            because += f"; this is an older version, since Envoy rejected a newer one: {found.status.failure.details}"
        self.step("listener", found.name, because, found.origin)
        self.note(listener=found)
        return found

    def inspect(self, where: Listener) -> filter_chain.Connection:
        """What the listener filters find out before a chain is chosen."""
        query = self.query
        looks = listener.inspectors(where, query.port)
        entry = self.found.get("entry")
        if entry is not None and entry is not where:
            looks = listener.both(listener.inspectors(entry, query.port), looks)
        for unknown in looks.unknown:
            self.undecided(f"the listener filter {unknown} is not modelled")
        transport, name, protocols, because = client.inspected(query, looks)
        if looks.tls or looks.http or looks.tls is None or looks.http is None:
            shown = " ".join(filter(None, (transport or "unknown", name, ",".join(protocols or ()))))
            self.step("listener filters", shown, because, where.origin)
        return filter_chain.Connection(
            address=query.address,
            port=query.port,
            server_name=name,
            transport=transport,
            protocols=protocols,
            source=query.source,
            source_port=query.source_port,
        )

    def chain(self, where: Listener, connection: filter_chain.Connection) -> FilterChain:
        """Choose the filter chain."""
        choice = _chain(where, connection)
        if choice.undecided:
            raise self.give_up("filter chain", choice.undecided, where.origin)
        if choice.rejected:
            raise self.fail("config-rejected", "filter chain", choice.because, where.origin)
        if choice.chain is None:
            raise self.fail("no-filter-chain", "filter chain", choice.because, where.origin, flags="NR")
        chosen = choice.chain
        shown = chosen.name or ("(the default chain)" if chosen.default else "(unnamed)")
        self.step("filter chain", shown, choice.because, chosen.origin)
        self.note(filter_chain=chosen)
        return chosen

    def handshake(self, chain: FilterChain) -> bool:
        """Whether the chain ends the client's TLS; stops where the handshake fails."""
        socket = chain.transport_socket.get()
        if socket.tls is None and socket.opaque is None:
            if self.query.tls != "plaintext":
                self.step("tls", "passed on", "the chain does not end TLS: it sees encrypted bytes", chain.origin)
            return False
        fits, because = tls.client_fits(socket, self.query.tls)
        if fits is None:
            raise self.give_up("tls", because, chain.origin)
        if not fits:
            raise self.fail("tls-mismatch", "tls", because, chain.origin)
        certificate = ", ".join(socket.tls.certificates) if socket.tls is not None else ""
        self.step("tls", f"ended here with {certificate or 'a certificate'}", because, chain.origin)
        return True

    def network(self, chain: FilterChain, request: Request) -> None:
        """The network filters in order, up to the one that takes the bytes."""
        sni_cluster = closed = False
        metadata: dict[str, object] | None = {}
        for each in chain.filters.get():
            config = each.config.get()
            match config:
                case HttpManager():
                    self.note(manager=config)
                    if not closed:
                        self.http(config, request)
                    return
                case TcpProxy():
                    self.tcp(config, request, request.server_name if sni_cluster else "", closed)
                    return
                case Rbac():
                    judged = tuple(filters.rbac_verdicts(each.name, each.type, config, request, metadata, each.origin))
                    metadata = filters.with_shadow(metadata, config, judged, filters.NETWORK_RBAC)
                    closed = any(self.judge(verdict) for verdict in judged) or closed
                case Elsewhere():
                    self.judge(filters.elsewhere(each, config, metadata))
                case Passes():
                    continue
                case Opaque():
                    if each.type == filters.SNI_CLUSTER:
                        sni_cluster = True
                        continue
                    self.verdicts.append(filters.not_modelled(each.name, each.type, each.origin))
                    self.undecided(f"the network filter {each.name} ({each.type or 'no type'}) is not modelled")
        if self.open:
            return
        self.step("network filters", "", "the chain has no filter that takes the bytes: Envoy closes it", chain.origin)
        self.note(forwards=False)

    def request(self, connection: filter_chain.Connection, chain: FilterChain, terminated: bool) -> Request:
        """The request as filters see it, its host and path not yet normalised."""
        query = self.query
        sent: dict[str, tuple[str, ...]] = {}
        for name, value in query.headers:
            sent[name.lower()] = (*sent.get(name.lower(), ()), value.strip(" \t"))
        socket = chain.transport_socket.get().tls
        presented = terminated and query.tls == "mtls" and socket is not None and socket.asks_for_certificate
        principal = query.principal if presented else ""
        return Request(
            address=query.address,
            port=query.port,
            source=query.source,
            remote=query.source,
            server_name=connection.server_name,
            tls=query.tls,
            terminated=terminated,
            presented=presented,
            principal=principal,
            http=False,
            method=query.method,
            host=query.host or "",
            path=query.path,
            headers=sent,
            each_value=self.since((1, 39), (1, 39)),
            each_value_in_policies=self.since((1, 38), (1, 35)),
        )

    def since(self, surely: tuple[int, int], maybe: tuple[int, int]) -> bool | None:
        """Whether this Envoy has what came with a release; None where it may be a fix in an older one."""
        release = self.dump.bootstrap().release
        return None if release is None or maybe <= release < surely else release >= surely

    def judge(self, verdict: Verdict) -> bool:
        """Record a filter's verdict; whether it ends the request for sure."""
        self.verdicts.append(verdict)
        if verdict.shadow or verdict.decision in ("passes", "delays"):
            return False
        if verdict.decision in ("undecided", "not-modelled"):
            self.undecided(verdict.because)
            return False
        if verdict.share < 1.0:
            return False
        sure = not self.open
        if self.found.get("forwards") is not False or self.found.get("status") is None:
            self.step("filter", verdict.filter, verdict.because, verdict.origin)
        if sure and not self.answered():
            if verdict.status is not None:
                self.replies(verdict.status, verdict.flags, verdict.details, verdict.grpc_status)
            else:
                self.note(flags=verdict.flags, details=verdict.details)
        self.note(forwards=False)
        return True

    def answered(self) -> bool:
        """Whether a filter has answered for sure already."""
        return any(v.decision == "answers" and v.share == 1.0 and not v.shadow for v in self.verdicts[:-1])

    # --- TCP

    def tcp(self, proxy: TcpProxy, request: Request, server_name: str, closed: bool) -> None:
        """Send the bytes on, unless a filter has closed the connection."""
        self.note(tcp_proxy=proxy, action="tcp")
        targets = proxy.targets
        if server_name:
            targets = (Target(cluster=server_name),)
            self.step("cluster", server_name, "the sni_cluster filter takes the server name for it", proxy.origin)
        if closed:
            self.note(clusters=_shared(targets))
        else:
            self.send(targets, proxy.origin, request, ("DEFAULT", "tcp"))

    # --- HTTP

    def http(self, manager: HttpManager, raw: Request) -> None:
        """A connection manager: host, route, filters."""
        request = self.decoded(manager, raw)
        config = self.routes(manager, request)
        host = self.virtual_host(manager, config, request)
        refused = self.refused_for_plaintext(host, request)
        chosen = None if refused else self.route(host, request)
        if chosen is not None:
            chosen = self.pinned(manager, request, config, host, chosen)
            self.upgraded(manager, chosen, request)
        answered = self.filter(manager, request, config, host, chosen)
        if self.again is not None:
            host, chosen = self.again
        if refused:
            self.answer(301, None, "direct_response", answered)
        elif host is None or chosen is None:
            self.answer(404, "NR", "route_not_found", answered)
        else:
            self.act(chosen, request, answered)

    def decoded(self, manager: HttpManager, raw: Request) -> Request:
        """The request as routes see it; stops where the bytes are no HTTP."""
        query = self.query
        if query.tls != "plaintext" and not raw.terminated:
            because = "TLS bytes reach an HTTP connection manager that does not end TLS: they are no HTTP"
            raise self.fail("protocol-error", "http", because, manager.origin, flags="DPE")
        unspoken = {"HTTP1": "http2", "HTTP2": "http"}.get(manager.codec) == query.protocol
        because = _no_http(query)
        if because or unspoken:
            because = because or f"the connection manager only speaks {manager.codec}"
            by_http2 = manager.codec == "HTTP2" or (query.protocol == "http2" and not unspoken)
            told = {} if by_http2 else {"status": 400, "details": "http1.codec_error"}
            raise self.fail("protocol-error", "http", because, manager.origin, flags="DPE", **told)
        for odd in manager.unsupported:
            self.undecided(f"{odd} of the connection manager is not modelled")
        if raw.path.startswith("*") and raw.method != "CONNECT":
            self.step("http", "", f"the path {raw.path} does not start with a slash", manager.origin)
            self.answer(404, None, "absolute_path_rejected")
            raise _Stop
        path = rewrite.path_seen(manager, raw.path)
        if path is None:
            self.step("http", "", f"the path {raw.path} is refused by path normalisation", manager.origin)
            self.answer(400, None, "path_normalization_failed")
            raise _Stop
        if rewrite.unescapes(manager, raw.path):
            self.step("http", f"redirect to {path}", "escaped slashes are unescaped by a redirect", manager.origin)
            self.note(action="redirect", location=path)
            self.answer(307, None, "path_normalization_failed")
            raise _Stop
        found = headers.seen(manager, raw, http2=query.protocol == "http2")
        self.is_grpc = found.is_grpc
        return replace(found, host=rewrite.host_seen(manager, raw.host, raw.port), path=path)

    def upgraded(self, manager: HttpManager, chosen: Route, request: Request) -> None:
        """Refuse a request to change the protocol, or to tunnel, that neither the route nor the manager allows."""
        wanted = request.upgrade
        of_route = chosen.action.upgrades if isinstance(chosen.action, Forward) else {}
        if not wanted or of_route.get(wanted, manager.upgrades.get(wanted, False)):
            return
        self.step("http", "", f"an upgrade to {wanted} is not allowed here", manager.origin)
        if isinstance(chosen.action, Forward):
            self.note(action="http", clusters=_shared(tuple(_resolved(t, request) for t in chosen.action.targets)))
        self.answer(403, None, "upgrade_failed")
        raise _Stop

    def routes(self, manager: HttpManager, request: Request) -> RouteConfig:
        """The route configuration of a connection manager."""
        found: RouteConfig | None
        if manager.scoped is not None:
            found, because = self.scope(manager.scoped, request)
        elif manager.rds:
            found = self.by_name(manager.rds, manager.origin)
            because = "the connection manager gets its routes by this name (RDS)"
            if found.status.failure is not None:
                because += f"; a newer version was rejected: {found.status.failure.details}"
        else:
            found = manager.inline_routes.get()
            if found is None:
                raise self.give_up(
                    "route config", "the connection manager has no routes that are known", manager.origin
                )
            because = "it stands in the connection manager"
        self.step("route config", found.name, because, found.origin)
        self.note(route_config=found, route_config_name=found.name or manager.rds or None)
        return found

    def by_name(self, name: str, origin: Origin) -> RouteConfig:
        """A route configuration that came by RDS."""
        self.note(route_config_name=name)
        found = self.dump.route_config(name)
        if found is None and not self.dump.has("Routes"):
            raise self.give_up("route config", "the dump has no route configurations", origin)
        if found is None:
            raise self.unrouted(f"the proxy has not got a route configuration {name}: it answers 404", origin)
        return found

    def unrouted(self, because: str, origin: Origin) -> _Stop:
        """Record that there is no route configuration for a request; to be raised."""
        self.answer(404, "NR", "route_not_found")
        return self.fail("no-virtual-host", "route config", because, origin)

    def scope(self, routes: ScopedRoutes, request: Request) -> tuple[RouteConfig, str]:
        """The route configuration of the scope that the request's headers name."""
        scopes = routes.scopes if routes.scopes is not None else self.dump.scopes(routes.name)
        if scopes is None:
            raise self.give_up("route config", f"the dump has no scopes of {routes.name}", routes.origin)
        key = scoped.key(routes.fragments, request)
        if isinstance(key, Opaque):
            raise self.give_up("route config", f"the scope of routes depends on {key.text}", routes.origin)
        shown = "none" if key is None else ", ".join(key)
        chosen = next((each for each in scopes if each.key == key), None)
        if chosen is None:
            raise self.unrouted(f"no scope of routes is for the key that its headers make ({shown})", routes.origin)
        because = f"the scope {chosen.name} is for the key that the request's headers make ({shown})"
        found = chosen.inline.get()
        if found is None and chosen.on_demand and self.dump.route_config(chosen.routes) is None:
            raise self.give_up("route config", f"{chosen.routes} is fetched when it is first asked for", chosen.origin)
        return found if found is not None else self.by_name(chosen.routes, chosen.origin), because

    def virtual_host(self, manager: HttpManager, config: RouteConfig, request: Request) -> VirtualHost | None:
        """Choose the virtual host."""
        found, because = hosts.choose(config, request)
        if found is None and config.vhds and any(f.type.endswith("OnDemand") for f in manager.filters.get()):
            raise self.give_up("virtual host", "virtual hosts are fetched when first asked for (VHDS)", config.origin)
        if found is None:
            self.step("virtual host", "", because, config.origin)
            self.note(error="no-virtual-host", forwards=False)
            return None
        self.step("virtual host", found.name, because, found.origin)
        self.note(virtual_host=found)
        return found

    def refused_for_plaintext(self, host: VirtualHost | None, request: Request) -> bool:
        """Whether the virtual host wants TLS and the client has none."""
        if host is None or host.require_tls == "NONE" or request.forwarded_proto == "https":
            return False
        if host.require_tls == "EXTERNAL_ONLY" and request.internal is not False:
            if request.internal is None:
                self.undecided("the virtual host requires TLS of external clients: whether this one is, is not known")
            return False
        because = "the virtual host requires TLS: the proxy redirects to https"
        self.step("route", "", because, host.origin)
        place = f"https://{request.host}{request.path}"
        self.note(error="tls-redirect", forwards=False, action="redirect", location=place)
        return True

    def route(self, host: VirtualHost | None, request: Request) -> Route | None:
        """Choose the route; where chance decides, the other ways become alternatives."""
        if host is None:
            return None
        for odd in host.unsupported:
            raise self.give_up("route", f"the virtual host's {odd} is not modelled", host.origin)
        passed = 0
        for each in host.routes.get():
            fits = route_match.holds(each.match, request)
            if fits is None:
                because = f"whether the route {each.name} ({route_match.shown(each.match)}) fits cannot be told"
                raise self.give_up("route", because, each.origin)
            share = route_match.chance(each.match) if fits else 0.0
            if share == 0.0 or each.origin.path in self.passed_over:
                passed += 1
                continue
            if share < 1.0 and not self.alone:
                self.branch(each, share)
            because = f"the route for {route_match.shown(each.match)}{_passed(passed)}"
            self.step("route", each.name or "(unnamed)", because, each.origin)
            self.note(route=each)
            return each
        self.step("route", "", f"none of its {passed} routes fits {request.path}", host.origin)
        self.note(error="no-route", forwards=False)
        return None

    def branch(self, chosen: Route, share: float) -> None:
        """Chance decides about a route: follow the requests that it leaves as well."""
        passed = self.passed_over | {chosen.origin.path}
        self.follow(_Walk(self.dump, self.query, self.live, passed, self.pins), 1.0 - share)
        self.note(probability=self.found.get("probability", 1.0) * share)

    def follow(self, other: "_Walk", share: float) -> None:
        """Keep what another walk finds, for a share of the requests that this one is about."""
        found = other.run()
        share *= self.found.get("probability", 1.0)
        self.others += (replace(found, probability=found.probability * share, alternatives=()),)
        self.others += tuple(replace(each, probability=each.probability * share) for each in found.alternatives)

    def pinned(
        self, manager: HttpManager, request: Request, config: RouteConfig, host: VirtualHost | None, chosen: Route
    ) -> Route:
        """The route with one cluster, where filters treat the requests to its clusters differently.

        Envoy rolls for the cluster before any filter: each is followed by itself then.
        """
        action = chosen.action
        if not isinstance(action, Forward) or not any(target.filter_config for target in action.targets):
            return chosen
        targets = [t for t in action.targets if t.weight or len(action.targets) == 1]
        place = filters.Place(config=config, host=host, route=chosen, at=self.query.at, extension=self.dump.extension)
        judged = [tuple(filters.judge(manager, request, replace(place, target=target))) for target in targets]
        number = self.pins.get(chosen.origin.path)
        if number is None and len({tuple(map(_effect, verdicts)) for verdicts in judged}) > 1:
            shares = _shared(tuple(targets))
            for other, share in list(enumerate(shares))[1:]:
                pins = {**self.pins, chosen.origin.path: other}
                self.follow(
                    _Walk(self.dump, self.query, self.live, self.passed_over, pins, alone=True), share.probability
                )
            self.note(probability=self.found.get("probability", 1.0) * shares[0].probability)
            number = 0
        self.target = targets[number or 0] if targets else None
        if number is None or self.target is None:
            return chosen
        return replace(chosen, action=replace(action, targets=(self.target,), weighted=False))

    def filter(
        self,
        manager: HttpManager,
        request: Request,
        config: RouteConfig,
        host: VirtualHost | None,
        chosen: Route | None,
    ) -> bool:
        """The HTTP filters in order, up to the router; whether one answers for sure."""

        def again(seen: Request) -> tuple[VirtualHost | None, Route | None]:
            self.step("route", "", "a filter has found out what routes may depend on, so they are looked at again")
            self.forget()
            self.again = (self.virtual_host(manager, config, seen), None)
            self.again = (self.again[0], self.route(self.again[0], seen))
            return self.again

        place = filters.Place(
            config=config,
            host=host,
            route=chosen,
            target=self.target,
            at=self.query.at,
            extension=self.dump.extension,
            again=again,
        )
        return any(self.judge(verdict) for verdict in filters.judge(manager, request, place))

    def forget(self) -> None:
        """Take back what was found of a route."""
        for name in ("virtual_host", "route", "error", "forwards"):
            self.found.pop(name, None)

    def answer(self, status: int, flags: str | None, details: str, answered: bool = False) -> None:
        """The proxy answers by itself, unless a filter before has, or may have."""
        if not self.open and not answered:
            self.replies(status, flags, details)
        self.note(forwards=False)

    def replies(self, status: int, flags: str | None, details: str, grpc_status: int | None = None) -> None:
        """Record an answer; a gRPC client gets 200 and the status in a header (Envoy, ``sendLocalReply``)."""
        if self.is_grpc:
            told = _GRPC.get(status, 2) if grpc_status is None else grpc_status
            self.note(status=200, grpc_status=told, flags=flags, details=details)
        else:
            self.note(status=status, flags=flags, details=details)

    def act(self, chosen: Route, request: Request, answered: bool) -> None:
        """Do what the route says; where a filter has answered already, only say what it would have been."""
        match chosen.action:
            case Redirect() as redirect:
                place = rewrite.location(redirect, chosen.match, request)
                self.step("action", f"redirect to {place}", "the route says so", chosen.origin)
                self.note(action="redirect", location=None if answered else place)
                self.answer(redirect.status, None, "direct_response", answered)
            case DirectResponse(status):
                self.step("action", f"answer {status}", "the route says so", chosen.origin)
                self.note(action="direct_response")
                self.answer(status, None, "direct_response", answered)
            case Opaque(text):
                raise self.give_up("action", f"{text} is not modelled", chosen.origin)
            case Forward() as forward:
                self.note(action="http")
                if forward.opaque is not None:
                    raise self.give_up("cluster", f"{forward.opaque.text} is not modelled", chosen.origin)
                targets = tuple(_resolved(t, request) for t in forward.targets)
                if answered:
                    self.note(clusters=_shared(targets))
                else:
                    self.hashes = forward.hash_policy
                    limit = (forward.priority, "http")
                    self.send(targets, chosen.origin, request, limit, forward.not_found_status)

    # --- upstream

    def send(
        self,
        targets: tuple[Target, ...],
        origin: Origin,
        request: Request,
        limit: tuple[str, str],
        missing: int = 503,
    ) -> None:
        """Which clusters get it, and whether any can."""
        shares = _shared(targets)
        self.note(clusters=shares)
        http = request.http
        ends = [
            self.upstream(t, share, request, limit)
            for t, share in zip(targets, shares, strict=True)
            if share.probability > 0
        ]
        self.note(upstreams=tuple(ends))
        if not ends:
            self.step("cluster", "", "no cluster has any weight", origin)
            return
        dead = [end for end in ends if end.flags is not None]
        if len(dead) == len(ends):
            status = (missing if dead[0].verdict == "no-cluster" else 503) if http else None
            if not self.open and status is not None:
                self.replies(status, dead[0].flags, dead[0].details)
            elif not self.open:
                self.note(flags=dead[0].flags)
            self.note(forwards=False)
        elif any(end.verdict == "undecided" for end in ends):
            self.note(forwards=None)
        elif not self.open:
            self.note(forwards=True)

    def destination(self, cluster: Cluster | None, request: Request) -> Address | None:
        """Where an ORIGINAL_DST cluster sends to: where a header says, else where a redirected connection went."""
        if cluster is not None and cluster.destination_header:
            told = next(iter(request.values(cluster.destination_header)), "")
            host, _, port = told.rpartition(":")
            if ip.parsed(host) is not None and port.isdecimal():
                return Address(ip.canonical(host.strip("[]")), int(port))
        if self.query.direction == "gateway" or self.found.get("entry") is None:
            return None
        return Address(self.query.address, self.query.port)

    def upstream(self, target: Target, share: Share, request: Request, limit: tuple[str, str]) -> upstream.Upstream:
        """What becomes of the requests that one cluster gets; `limit` is whose circuit breakers count."""
        cluster = self.dump.cluster(target.cluster)
        place = self.destination(cluster, request)
        end = upstream.choose(
            self.dump,
            target.cluster,
            destination=place,
            criteria=target.metadata,
            live=self.live,
            redirected=False,
        )
        if end.verdict in ("ok", "unresolved", "undecided") and cluster is not None and limit in cluster.refuses:
            end = replace(end, verdict="overflow", because="its circuit breakers are set to let nothing through")
        elif end.verdict == "ok" and cluster is not None and (limit[0], f"{limit[1]} pending") in cluster.refuses:
            end = replace(end, verdict="gives-up", because="its circuit breakers let no connection wait")
        elif end.verdict == "ok" and (by := upstream.hashed_by(cluster, self.hashes, request)) and len(end.hosts) > 1:
            end = replace(end, by_hash=by, because=f"{end.because}, the same one again for the same {by}")
        if end.verdict == "undecided":
            self.undecided(f"{target.cluster}: {end.because}")
        part = f"{share.probability:.4g} of the requests; " if share.probability < 1 else ""
        self.step("cluster", target.cluster, f"{part}{end.because}", end.cluster.origin if end.cluster else None)
        return end


def _effect(verdict: Verdict) -> tuple[object, ...]:
    """What a verdict does to a request, without the words."""
    return (verdict.filter, verdict.decision, verdict.status, verdict.share, verdict.delay_s, verdict.shadow)


def _passed(count: int) -> str:
    if not count:
        return ""
    return f" ({count} earlier route{'s do' if count > 1 else ' does'} not fit)"


def _listener(dump: ConfigDump, query: Query) -> tuple[Listener | None, str, Listener | None]:
    """The listener for a query, why, and the one through which a redirected connection came in."""
    serving = dump.serving(query.port)
    if query.direction == "gateway":
        found, because = listener.at((one for one in serving if one.bind), query.address, query.port)
        return found, because, None
    entry = dump.entry(query.direction)
    if entry is None:
        found, because = listener.at((one for one in serving if one.bind), query.address, query.port)
        return found, f"no listener takes redirected connections; {because}", None
    reachable = any(a.host == ip.wildcard(query.address) for a in entry.addresses) or query.direction == "inbound"
    if query.direction == "inbound":
        return entry, "redirected inbound connections come in here, and it keeps them", entry
    found, because = listener.at(serving, query.address, query.port)
    if found is not None:
        return found, f"{because} ({entry.name} hands it over by its original destination)", entry
    if not reachable:
        return None, f"{because}, and {entry.name} does not listen on {ip.wildcard(query.address)}", entry
    return entry, f"{because}, so {entry.name} keeps it", entry


def _chain(where: Listener, connection: filter_chain.Connection) -> filter_chain.Choice:
    """The filter chain by the listener's matcher tree, where it has one, else by what the chains say themselves."""
    chains, default = where.chains.get(), where.default_chain.get()
    if where.matcher is None:
        return filter_chain.choose(chains, default, connection)
    named = matcher_tree.evaluate(where.matcher, connection)
    if isinstance(named, Opaque):
        return filter_chain.Choice(None, "", undecided=f"the filter_chain_matcher depends on {named.text}")
    found = next((c for c in chains if named is not None and c.name == named), None)
    if found is not None:
        return filter_chain.Choice(found, "the filter_chain_matcher names it")
    because = f"the filter_chain_matcher names {named or 'no chain'}"
    if named is not None:
        return filter_chain.Choice(None, f"{because}, and there is no chain of that name")
    if default is not None:
        return filter_chain.Choice(default, f"{because}, so the default chain takes it")
    return filter_chain.Choice(None, because)


# What Envoy's HTTP/1 parsers know (http-parser, and Balsa without ``allow_custom_methods``).
_METHODS = frozenset(
    (
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "COPY", "LOCK", "MKCOL", "MOVE",
        "PROPFIND", "PROPPATCH", "SEARCH", "UNLOCK", "BIND", "REBIND", "UNBIND", "ACL", "REPORT", "MKACTIVITY",
        "CHECKOUT", "MERGE", "M-SEARCH", "NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE", "PURGE", "MKCALENDAR", "LINK", "UNLINK",
        "SOURCE",
    )
)  # fmt: skip


def _no_http(query: Query) -> str:
    """Why a parser of HTTP refuses the bytes; empty where it takes them."""
    if query.protocol == "tcp":
        return "bytes that are no HTTP reach an HTTP connection manager"
    if query.protocol == "http" and query.method not in _METHODS:
        return f"HTTP/1 has no method {query.method} that Envoy knows"
    if query.protocol == "http" and not all("!" <= char <= "~" for char in query.path):
        return "the path has a character that HTTP/1 does not allow"
    if query.protocol == "http2" and any(char <= " " or char == "\x7f" for char in query.path):
        return "the path has a character that HTTP/2 does not allow: the stream is reset"
    return ""


def _shared(targets: tuple[Target, ...]) -> tuple[Share, ...]:
    """Targets with the probability that their weights make."""
    total = sum(t.weight for t in targets) or 1
    return tuple(Share(t.cluster, t.weight, t.weight / total) for t in targets)


def _resolved(target: Target, request: Request) -> Target:
    """A target whose cluster a header names."""
    if not target.from_header:
        return target
    return replace(target, cluster=next(iter(request.values(target.from_header)), ""))


def match(dump: ConfigDump, query: Query, *, live: upstream.Live | None = None) -> Match:
    """Follow a request through one proxy's configuration; `live` is what ``/clusters`` said of its endpoints."""
    return _Walk(dump, query, live).run()

"""What one proxy does with one request: listener, filter chain, route, cluster, as Envoy decides it.

`match` is pure and total: it answers for every query, and where the configuration or the query leaves something open
it says so in `Match.undecided_because` and stops there.
"""

from collections.abc import Mapping
from dataclasses import replace

from meshctl.envoy import (
    arrival,
    filter_verdicts,
    filters,
    header_changes,
    network_filters,
    rewrite,
    route_match,
    routing,
    sending,
)
from meshctl.envoy.config_dump import ConfigDump
from meshctl.envoy.journal import Journal, Stop
from meshctl.envoy.model.basics import Opaque
from meshctl.envoy.model.filters import Elsewhere, Passes, Rbac
from meshctl.envoy.model.listeners import FilterChain
from meshctl.envoy.model.managers import HttpManager, TcpProxy
from meshctl.envoy.model.routes import DirectResponse, Forward, Redirect, Route, RouteConfig, Target, VirtualHost
from meshctl.envoy.place import Place
from meshctl.envoy.query import Error, Match, Query, Share, Step
from meshctl.envoy.request import Request
from meshctl.envoy.upstream import Live
from meshctl.envoy.verdict import Verdict, not_modelled

__all__ = ["Error", "Match", "Query", "Share", "Step", "match"]


class _Walk(Journal):
    """One request on its way through one proxy."""

    def __init__(
        self,
        dump: ConfigDump,
        query: Query,
        live: Live | None,
        passed_over: frozenset[str] = frozenset(),
        pins: Mapping[str, int] | None = None,
        *,
        alone: bool = False,
    ) -> None:
        super().__init__(dump, query, live)
        self.passed_over = passed_over
        self.pins = pins or {}
        self.alone = alone
        self.target: Target | None = None
        self.again: tuple[VirtualHost | None, Route | None] | None = None
        self.left: Request | None = None

    def run(self) -> Match:
        """Walk until something ends it."""
        try:
            where = arrival.listener_of(self)
            connection = arrival.inspected(self, where)
            chain = arrival.chain_of(self, where, connection)
            terminated = arrival.handshake(self, chain)
            self.network(chain, arrival.request_of(self, connection, chain, terminated))
        except Stop:
            pass
        return self.result()

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
                    judged = tuple(
                        filter_verdicts.rbac_verdicts(each.name, each.type, config, request, metadata, each.origin)
                    )
                    metadata = filter_verdicts.with_shadow(metadata, config, judged, filter_verdicts.NETWORK_RBAC)
                    closed = any(self.judge(verdict) for verdict in judged) or closed
                case Elsewhere():
                    self.judge(filter_verdicts.elsewhere(each, config, metadata))
                case Passes():
                    continue
                case Opaque():
                    if each.type == network_filters.SNI_CLUSTER:
                        sni_cluster = True
                        continue
                    self.verdicts.append(not_modelled(each.name, each.type, each.origin))
                    self.undecided(f"the network filter {each.name} ({each.type or 'no type'}) is not modelled")
        if self.open:
            return
        self.step("network filters", "", "the chain has no filter that takes the bytes: Envoy closes it", chain.origin)
        self.note(forwards=False)

    def tcp(self, proxy: TcpProxy, request: Request, server_name: str, closed: bool) -> None:
        """Send the bytes on, unless a filter has closed the connection."""
        self.note(tcp_proxy=proxy, action="tcp")
        targets = proxy.targets
        if server_name:
            targets = (Target(cluster=server_name),)
            self.step("cluster", server_name, "the sni_cluster filter takes the server name for it", proxy.origin)
        if closed:
            self.note(clusters=sending.shared(targets))
        else:
            sending.send(self, targets, proxy.origin, request, ("DEFAULT", "tcp"))

    def http(self, manager: HttpManager, raw: Request) -> None:
        """A connection manager: host, route, filters."""
        request = routing.decoded(self, manager, raw)
        config = routing.routes_of(self, manager, request)
        host = routing.host_of(self, manager, config, request)
        refused = routing.wants_tls(self, host, request)
        chosen = None if refused else self.route(host, request)
        if chosen is not None:
            chosen = self.pinned(manager, request, config, host, chosen)
            routing.refuse_upgrade(self, manager, chosen, request)
        answered = self.filter(manager, request, config, host, chosen)
        if self.again is not None:
            host, chosen = self.again
        if refused:
            self.answer(301, None, "direct_response", answered)
        elif host is None or chosen is None:
            self.answer(404, "NR", "route_not_found", answered)
        else:
            self.act(chosen, request, answered)

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
        place = Place(config=config, host=host, route=chosen, at=self.query.at, extension=self.dump.extension)
        judged = [tuple(filters.judge(manager, request, replace(place, target=target))) for target in targets]
        number = self.pins.get(chosen.origin.path)
        if number is None and len({tuple(map(_effect, verdicts)) for verdicts in judged}) > 1:
            shares = sending.shared(tuple(targets))
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
            self.again = (routing.host_of(self, manager, config, seen), None)
            self.again = (self.again[0], self.route(self.again[0], seen))
            return self.again

        place = Place(
            config=config,
            host=host,
            route=chosen,
            target=self.target,
            at=self.query.at,
            extension=self.dump.extension,
            again=again,
            leave=self.leave,
        )
        return any(self.judge(verdict) for verdict in filters.judge(manager, request, place))

    def leave(self, request: Request) -> None:
        """Keep the request as the last filter leaves it."""
        self.left = request

    def forget(self) -> None:
        """Take back what was found of a route."""
        for name in ("virtual_host", "route", "error", "forwards"):
            self.found.pop(name, None)

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
                targets = tuple(sending.resolved(t, request) for t in forward.targets)
                if answered:
                    self.note(clusters=sending.shared(targets))
                else:
                    limit = (forward.priority, "http")
                    missing, hashes = forward.not_found_status, forward.hash_policy
                    sending.send(self, targets, chosen.origin, request, limit, missing, hashes)
                    self.note(sent=tuple(self.sent(each, chosen, request) for each in targets if each.weight))

    def sent(self, target: Target, chosen: Route, request: Request) -> Request:
        """The request as a cluster gets it."""
        left, host = self.left or request, self.found.get("virtual_host")
        return header_changes.sent(left, target, chosen, host, self.found["route_config"])


def _effect(verdict: Verdict) -> tuple[object, ...]:
    """What a verdict does to a request, without the words."""
    return (verdict.filter, verdict.decision, verdict.status, verdict.share, verdict.delay_s, verdict.shadow)


def _passed(count: int) -> str:
    if not count:
        return ""
    return f" ({count} earlier route{'s do' if count > 1 else ' does'} not fit)"


def match(dump: ConfigDump, query: Query, *, live: Live | None = None) -> Match:
    """Follow a request through one proxy's configuration; `live` is what ``/clusters`` said of its endpoints.

    Where a runtime fraction chooses, the likeliest way is the result, and the others are its alternatives.
    """
    found = _Walk(dump, query, live).run()
    if not found.alternatives:
        return found
    ways = sorted((replace(found, alternatives=()), *found.alternatives), key=lambda way: -way.probability)
    return replace(ways[0], alternatives=tuple(ways[1:]))

"""Which rules a gateway has for a host: those of all VirtualServices that share it with one of the servers.

Followed is ``buildGatewayHTTPRouteConfig`` (``pilot/pkg/networking/core/gateway.go``, 1.30): plain servers of a port
have their hosts in common, each server that ends TLS has its own.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field, replace

from meshctl.frozen import dataclass
from meshctl.istio.resource import host_fits, selects
from meshctl.istio.virtual_service import HttpMatch, HttpRule, VirtualService
from meshctl.path.gateway_servers import Served, common, is_at, services_of
from meshctl.path.route_rules import rules_of
from meshctl.path.scene import Scene, Station


@dataclass(frozen=True, slots=True)
class Routes:
    """What a gateway has for a host: VirtualServices of one rule each, in the order in which Envoy looks at them.

    `shown` are the names of the Gateways that have it, `port` is the one that the Gateway has, and `redirects` the
    Gateway that sends plain requests on to https, empty for none.
    """

    shown: tuple[str, ...] = ()
    port: int = 0
    redirects: str = ""
    services: tuple[VirtualService, ...] = ()


@dataclass(slots=True)
class _Found:
    """One virtual host while it is put together."""

    services: list[tuple[VirtualService, Served]] = field(default_factory=list)
    redirects: str = ""


def routes_of(scene: Scene, station: Station, served: Sequence[Served], host: str) -> Routes:
    """The rules for a host; there is none of them where no virtual host fits."""
    hosts: dict[str, _Found] = {}
    for one in served:
        for service in services_of(scene, station, one.gateway):
            if any(True for rule in _rules(scene, service) for _ in _here(rule, one, service, station)):
                for name in common(one, service):
                    known = hosts.setdefault(name, _Found())
                    if all(service is not other for other, _ in known.services):
                        known.services.append((service, one))
                    known.redirects = str(one.gateway.meta) if one.server.redirects else known.redirects
        for name in one.hosts if one.server.redirects else ():
            hosts.setdefault(name, _Found()).redirects = str(one.gateway.meta)
    best = max((name for name in hosts if host_fits(name, host)), key=_specific, default=None)
    if best is None:
        return Routes(_shown(served))
    found = hosts[best]
    port = (found.services[0][1] if found.services else served[0]).server.port
    shown = _shown([one for _, one in found.services] or served)
    return Routes(shown, port, found.redirects, tuple(_ordered(scene, found.services, station)))


def _shown(served: Iterable[Served]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.gateway.shown for one in served))


def _rules(scene: Scene, service: VirtualService) -> list[HttpRule]:
    return rules_of(service, scene.told.virtual_services)


def _specific(name: str) -> tuple[bool, int]:
    return not name.startswith("*"), len(name)


def _ordered(
    scene: Scene, found: Iterable[tuple[VirtualService, Served]], station: Station
) -> Iterator[VirtualService]:
    """One VirtualService for each route: what fits all requests ends its own one's, and comes after all others'.

    Source: ``BuildHTTPRoutesForVirtualService`` and ``SortVHostRoutes``, 1.30. The Gateway API's are ordered by rank.
    """
    last: list[VirtualService] = []
    for service, served in found:
        rules = _rules(scene, service)
        for rule, match in ((r, m) for r in rules for m in _here(r, served, service, station)):
            one = replace(service, http=(replace(rule, matches=(match,)),))
            if not rule.rank and _fits_all(match):
                last.append(one)
                break
            yield one
    yield from last


def _here(rule: HttpRule, served: Served, service: VirtualService, station: Station) -> Iterator[HttpMatch]:
    """The matches of a rule that may fit on this server; what only they ask of it is left out."""
    for match in rule.matches or (HttpMatch(),):
        if not is_at(match.gateways, match.port, served, service):
            continue
        if match.gateways or (
            selects(match.source_labels, station.pod.labels) and match.source_namespace in ("", station.pod.namespace)
        ):
            yield replace(match, gateways=(), port=None, source_labels=(), source_namespace="")


def _fits_all(match: HttpMatch) -> bool:
    uri = match.uri
    every = (
        uri is None or (uri.how in ("prefix", "path") and uri.value == "/") or (uri.how, uri.value) == ("regex", ".*")
    )
    return every and replace(match, uri=None, name="") == HttpMatch()

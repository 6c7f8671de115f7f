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
from meshctl.path.scene import Scene, Station


@dataclass(frozen=True, slots=True)
class Routes:
    """What a gateway has for a host: VirtualServices of one rule each, in the order in which Envoy looks at them.

    `keys` are the Gateways that have it, `names` how rules may call them, `port` is the one that the Gateway has, and
    `redirects` the Gateway that sends plain requests on to https, empty for none.
    """

    keys: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
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
            if any(True for rule in service.http for _ in _here(rule, one, service, station)):
                for name in common(one, service):
                    known = hosts.setdefault(name, _Found())
                    if all(service is not other for other, _ in known.services):
                        known.services.append((service, one))
                    known.redirects = str(one.gateway.meta) if one.server.redirects else known.redirects
        for name in one.hosts if one.server.redirects else ():
            hosts.setdefault(name, _Found()).redirects = str(one.gateway.meta)
    keys = tuple(dict.fromkeys(one.gateway.key for one in served))
    best = max((name for name in hosts if host_fits(name, host)), key=_specific, default=None)
    if best is None:
        return Routes(keys)
    found = hosts[best]
    gateways = tuple(dict.fromkeys(one.gateway for _, one in found.services)) or (served[0].gateway,)
    keys = tuple(gateway.key for gateway in gateways)
    port = found.services[0][1].server.port if found.services else served[0].server.port
    names = (*keys, *(gateway.meta.name for gateway in gateways))
    return Routes(keys, names, port, found.redirects, tuple(_ordered(found.services, station)))


def _specific(name: str) -> tuple[bool, int]:
    return not name.startswith("*"), len(name)


def _ordered(found: Iterable[tuple[VirtualService, Served]], station: Station) -> Iterator[VirtualService]:
    """One VirtualService for each route: what fits all requests ends its own one's, and comes after all others'.

    Source: ``BuildHTTPRoutesForVirtualService`` and ``SortVHostRoutes``, 1.30. The Gateway API's are ordered by rank.
    """
    last: list[VirtualService] = []
    for service, served in found:
        for rule, match in ((r, m) for r in service.http for m in _here(r, served, service, station)):
            one = replace(service, http=(replace(rule, matches=(match,)),))
            if not rule.rank and rule.delegate is None and _fits_all(match):
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
            yield replace(match, gateways=(), source_labels=(), source_namespace="")


def _fits_all(match: HttpMatch) -> bool:
    uri = match.uri
    every = (
        uri is None or (uri.how in ("prefix", "path") and uri.value == "/") or (uri.how, uri.value) == ("regex", ".*")
    )
    return every and replace(match, uri=None, port=None) == HttpMatch()

"""The filter chains of a gateway's port: those of servers that end TLS, and one for each rule about TLS or TCP.

Followed is ``buildGatewayTCPBasedFilterChains`` (``pilot/pkg/networking/core/gateway.go``, 1.30). Of the chains Envoy
takes the one with the most specific name, whichever Gateway or VirtualService it comes from.
"""

from collections.abc import Iterator, Sequence

from meshctl.frozen import dataclass
from meshctl.istio.resource import host_fits
from meshctl.istio.virtual_service import L4Rule, VirtualService
from meshctl.path.gateway_servers import Served, common, is_at, passes_on, services_of
from meshctl.path.scene import Scene, Station


@dataclass(frozen=True, slots=True)
class Chain:
    """A filter chain: for connections with one of the `names` in TLS; `rule` says where bytes go, None for HTTP."""

    names: tuple[str, ...]
    served: Served
    rule: tuple[VirtualService, L4Rule] | None = None

    @property
    def passes_on(self) -> bool:
        """Whether the client's TLS goes on as it is."""
        return passes_on(self.served.server)


def of_servers(scene: Scene, station: Station, served: Sequence[Served]) -> list[Chain]:
    """The filter chains of servers that begin with TLS."""
    taken: set[str] = set()
    found: list[Chain] = []
    for one in served:
        if passes_on(one.server):
            found += _passing(scene, station, one, taken)
        elif one.server.protocol == "HTTPS":
            found.append(Chain(one.names, one))
        elif (rule := _first(scene, station, one)) is not None:
            found.append(Chain(one.names, one, rule))
    return found


def plain_tcp(scene: Scene, station: Station, served: Served) -> Chain | None:
    """The filter chain of a server for plain bytes, which takes TLS as it takes all others."""
    rule = _first(scene, station, served)
    return Chain((), served, rule) if rule is not None else None


def _passing(scene: Scene, station: Station, served: Served, taken: set[str]) -> Iterator[Chain]:
    """A chain for each match of a ``tls`` rule; one that repeats a name is left out."""
    if served.server.tls == "AUTO_PASSTHROUGH":  # see meshctl/path/gateway_passthrough.py
        return
    for service in services_of(scene, station, served.gateway):
        if not common(served, service):
            continue
        for rule in (rule for rule in service.tls if rule.destinations or service.meta.kind != "VirtualService"):
            for match in rule.matches:
                names = tuple(name.lower() for name in match.sni)
                if is_at(match.gateways, match.port, served, service) and not taken.intersection(names):
                    taken.update(names)
                    yield Chain(names, served, (service, rule))


def _first(scene: Scene, station: Station, served: Served) -> tuple[VirtualService, L4Rule] | None:
    """The first ``tcp`` rule for a server; a TLSRoute's rules count where the server ends the TLS."""
    for service in services_of(scene, station, served.gateway):
        if not common(served, service):
            continue
        for rule in (*service.tcp, *(service.tls if service.meta.kind == "TLSRoute" and served.secure else ())):
            if not rule.matches or any(is_at(m.gateways, m.port, served, service) for m in rule.matches):
                return service, rule
    return None


def fitting(chains: Sequence[Chain], sni: str) -> list[Chain]:
    """The chains with the most specific name that fits; several where chains have the same one."""
    ranked = [
        ((name != "*", not name.startswith("*"), len(name)), chain)
        for chain in chains
        for name in (chain.names or ("*",))
        if host_fits(name, sni)
    ]
    best = max((rank for rank, _ in ranked), default=None)
    return [chain for rank, chain in ranked if rank == best]

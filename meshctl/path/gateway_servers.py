"""Which servers of Gateways a gateway's pod has on a port, merged as istiod merges them.

Followed is ``mergeGateways`` (``pilot/pkg/model/gateway.go``, 1.30): the oldest Gateway's first server says whether a
port is plain or TLS, and servers that do not go with it, or repeat a host of another one's TLS, are left out.
"""

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address

from meshctl.envoy import ip
from meshctl.frozen import dataclass
from meshctl.istio.entries import Gateway, GatewayServer
from meshctl.istio.mesh import virtual_services_of
from meshctl.istio.resource import by_age, host_fits, host_overlaps, selects
from meshctl.istio.virtual_service import VirtualService
from meshctl.kube.pods import Pod
from meshctl.path.hosts import ANYWHERE, is_address
from meshctl.path.scene import Scene, Station

_HTTP = ("HTTP", "HTTP2", "HTTP_PROXY", "GRPC", "GRPC-WEB")
_NO_TRANSLATION = "experimental.istio.io/disable-gateway-port-translation"
"""A label of Services whose ports Gateways do not mean."""


@dataclass(frozen=True, slots=True)
class Served:
    """A server of a Gateway on a port."""

    gateway: Gateway
    server: GatewayServer

    @property
    def speaks_http(self) -> bool:
        """Whether it takes plain HTTP; what is said of TLS does not count there, but for a redirect."""
        return self.server.protocol in _HTTP

    @property
    def secure(self) -> bool:
        """Whether a connection must begin with TLS, which it ends or passes on."""
        return bool(self.server.tls) and not self.speaks_http

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts with the namespace they are limited to: ``ns/host``, or the host alone."""
        found = []
        for host in self.server.hosts:
            place, slash, name = host.lower().rpartition("/")
            if (place, name) == ("*", "*"):
                return ("*",)
            here = self.gateway.meta.namespace if place == "." else place
            found.append(f"{here}/{name}" if slash and here != "*" else name)
        return tuple(found)

    @property
    def names(self) -> tuple[str, ...]:
        """The hosts without a namespace, as they are compared with a name in TLS."""
        return tuple(dict.fromkeys(host.rpartition("/")[2] for host in self.hosts))

    def hosts_for(self, namespace: str) -> tuple[str, ...]:
        """The hosts for which a VirtualService of a namespace may have rules."""
        split = (host.rpartition("/") for host in self.hosts)
        return tuple(name for place, slash, name in split if not slash or place == namespace)


@dataclass(frozen=True, slots=True)
class OnPort:
    """The servers that a connection reaches; without any, `closed` or `undecided` may say more of it."""

    served: tuple[Served, ...] = ()
    closed: str = ""
    undecided: str = ""


def on_port(scene: Scene, station: Station, port: int, address: str = "") -> OnPort:
    """The servers that a connection to a gateway's pod reaches on a port; `address` is where the connection is to.

    All take plain HTTP, or all begin with TLS, or there is one.
    """
    gateways = sorted((*scene.told.gateways, *scene.told.api.gateways), key=lambda each: by_age(each.meta))
    named = [
        Served(gateway, server)
        for gateway in gateways
        if configures(scene, station.pod, gateway)
        for server in gateway.servers
        if port in _ports(scene, station, gateway, server.port)
    ]
    if any(one.server.bind for one in named):
        return _bound(station.pod, address, port, named)
    return OnPort(tuple(_merged(named)))


def _bound(pod: Pod, address: str, port: int, named: Sequence[Served]) -> OnPort:
    """The servers of one listener, where some listen on an address of their own: that takes what is sent there.

    A port whose first server begins with TLS has nothing plain, whatever the address (``mergeGateways``).
    """
    to = address if is_address(address) and address not in ANYWHERE else pod.ip
    own = [one for one in named if one.server.bind == to]
    rest = [one for one in named if one.server.bind in ("", ip.wildcard(to))]
    others = [one for one in named if one not in own and one not in rest]
    unclear = next((one for one in others if pod.host_network and is_address(one.server.bind)), None)
    if unclear is not None and not own and not ip_address(unclear.server.bind).is_loopback:
        why = f"{unclear.gateway.meta} listens on {unclear.server.bind}: whether the connection is to that is not known"
        return OnPort(undecided=why)
    if not own and len({one.server.bind for one in rest}) > 1:
        why = f"servers of port {port} with bind {ip.wildcard(to)} and without share a listener: that is not modelled"
        return OnPort(undecided=why)
    found = tuple(_merged(one for one in own or rest if one.secure or not named[0].secure))
    binds = ", ".join(dict.fromkeys(one.server.bind for one in others))
    return OnPort(found, "" if found else f"{named[0].gateway.meta} has port {port} on {binds} only, not on {to}")


def configures(scene: Scene, pod: Pod, gateway: Gateway) -> bool:
    """Whether a Gateway is for a pod: by its labels or, where the Gateway names Services, by these."""
    if not gateway.services:
        return selects(gateway.selector, pod.labels)
    return gateway.meta.namespace == pod.namespace and any(
        service.full_name in gateway.services and service.selects(pod.labels)
        for service in scene.services.services
        if service.namespace == pod.namespace
    )


def _merged(named: Iterable[Served]) -> Iterator[Served]:
    first: Served | None = None
    hosts: set[str] = set()
    routes: set[tuple[int, str, str]] = set()
    for one in named:
        if one.server.tls or one.server.redirects:
            if hosts.intersection(one.hosts):
                continue
            hosts.update(one.hosts)
        if first is not None and not _together(first, one):
            continue
        if one.secure and one.server.protocol == "HTTPS" and not passes_on(one.server):
            route = (one.server.port, one.server.name, one.gateway.key)
            if one.server.name and route in routes:
                continue
            routes.add(route)
        first = first or one
        yield one


def _together(first: Served, one: Served) -> bool:
    return one.secure if first.secure else first.speaks_http and one.speaks_http


def passes_on(server: GatewayServer) -> bool:
    """Whether a server passes the client's TLS on as it is."""
    return server.tls in ("PASSTHROUGH", "AUTO_PASSTHROUGH")


def _ports(scene: Scene, station: Station, gateway: Gateway, written: int) -> tuple[int, ...]:
    """The pod's ports that a Gateway's port stands for: what a Service maps it to, else the port itself."""
    found = tuple(
        station.pod.port_of(entry.target) or 0
        for service in scene.services.of_pod(station.pod.namespace, station.pod.labels)
        if (service.full_name in gateway.services if gateway.services else _NO_TRANSLATION not in dict(service.labels))
        for entry in service.ports
        if entry.number == written and entry.protocol == "TCP"
    )
    return found if found or gateway.services else (written,)


def services_of(scene: Scene, station: Station, gateway: Gateway) -> list[VirtualService]:
    """The VirtualServices that name a Gateway, in istiod's order."""
    return virtual_services_of(scene.told, station.pod.namespace, gateway.key)


def _in_full(gateway: str, service: VirtualService) -> str:
    return gateway if "/" in gateway or gateway == "mesh" else f"{service.meta.namespace}/{gateway}"


def is_at(gateways: tuple[str, ...], port: int | None, served: Served, service: VirtualService) -> bool:
    """Whether a match with these gateways and this port is for a server (``l4SingleMatch``, ``sourceMatchHTTP``)."""
    return port in (None, served.server.port) and (
        not gateways or served.gateway.key in {_in_full(name, service) for name in gateways}
    )


def common(served: Served, service: VirtualService) -> tuple[str, ...]:
    """The hosts that a server and a VirtualService have in common: of two that fit the narrower one."""
    pairs = ((ours, theirs.lower()) for ours in served.hosts_for(service.meta.namespace) for theirs in service.hosts)
    narrower = (ours if host_fits(theirs, ours) else theirs for ours, theirs in pairs if host_overlaps(theirs, ours))
    return tuple(dict.fromkeys(narrower))

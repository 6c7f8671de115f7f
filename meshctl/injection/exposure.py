"""From where outside of the mesh a pod can be reached: gateways and the routes that they serve."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from meshctl.frozen import dataclass
from meshctl.injection.routes_here import RouteHere
from meshctl.istio.entries import Gateway, GatewayServer
from meshctl.istio.gateway_api import GatewayApi, admitted, parent_gateway
from meshctl.istio.mesh import Mesh
from meshctl.istio.resource import Labels, Meta, host_fits


@dataclass(frozen=True, slots=True)
class Reach:
    """Where a gateway can be reached: how many pods of it run, its addresses, and its port on each node."""

    pods: int
    addresses: tuple[str, ...] = ()
    node_port: int | None = None


@dataclass(frozen=True, slots=True)
class Exposure:
    """A gateway's server through which requests can get to the pod.

    `certain` is False where the gateway's namespace selector would have to be asked; `reach` is None where the
    gateway's pods could not be looked at.
    """

    gateway: Meta
    server: GatewayServer
    hosts: tuple[str, ...]
    by: Meta
    reach: Reach | None = None
    certain: bool = True


Reached: TypeAlias = Callable[[Labels, int], Reach | None]
"""Where the gateway pods with labels can be reached for a port of theirs."""


def exposures(routes: Sequence[RouteHere], mesh: Mesh, reached: Reached) -> Iterator[Exposure]:
    """Through Istio's own gateways."""
    services = {(s.meta.namespace, s.meta.name): s for s in mesh.virtual_services}
    seen = set()
    for route in routes:
        service = services.get((route.meta.namespace, route.meta.name))
        if route.meta.kind != "VirtualService" or service is None or route.leads_here is False or not route.share:
            continue
        for name in route.gateways:
            gateway = _gateway(name, route.meta.namespace, mesh)
            for server in gateway.servers if gateway is not None else ():
                assert gateway is not None
                hosts = tuple(
                    h for h in service.hosts if any(_admits(p, h, gateway, route.meta.namespace) for p in server.hosts)
                )
                key = (gateway.meta, server.port, route.meta)
                if hosts and key not in seen:
                    seen.add(key)
                    reach = reached(gateway.selector, server.port)
                    yield Exposure(gateway.meta, server, hosts, route.meta, reach)


def api_exposures(routes: Sequence[RouteHere], api: GatewayApi, reached: Reached) -> Iterator[Exposure]:
    """Through gateways of the Gateway API."""
    here = {(r.meta.namespace, r.meta.name) for r in routes if r.meta.kind == "HTTPRoute" and r.share}
    for route in api.routes:
        if (route.meta.namespace, route.meta.name) not in here:
            continue
        for parent in route.parents:
            gateway = parent_gateway(api, parent)
            for listener in gateway.listeners if gateway is not None else ():
                assert gateway is not None
                taken = admitted(listener, gateway, route, parent)
                hosts = tuple(h for h in route.hosts or (listener.host or "*",) if _fits(listener.host, h))
                if taken is False or not hosts:
                    continue
                tls = "SIMPLE" if listener.protocol in ("HTTPS", "TLS") else ""
                server = GatewayServer(listener.port, listener.protocol, hosts, tls, False)
                reach = reached((("gateway.networking.k8s.io/gateway-name", gateway.meta.name),), listener.port)
                if gateway.addresses and reach is not None:
                    reach = Reach(reach.pods, gateway.addresses, reach.node_port)
                yield Exposure(gateway.meta, server, hosts, route.meta, reach, taken is True)


def _fits(pattern: str, host: str) -> bool:
    """Whether a listener's host name (empty: all) and a route's have something in common."""
    return not pattern or host_fits(pattern, host) or host_fits(host, pattern)


def _gateway(name: str, namespace: str, mesh: Mesh) -> Gateway | None:
    if name == "mesh":
        return None
    place, slash, own = name.partition("/")
    wanted = (place, own) if slash else (namespace, name)
    return next((g for g in mesh.gateways if (g.meta.namespace, g.meta.name) == wanted), None)


def _admits(pattern: str, host: str, gateway: Gateway, namespace: str) -> bool:
    """Whether a server's host (``ns/host``, ``./host``, ``*/host`` or only the host) takes one of a namespace."""
    place, slash, pattern = pattern.rpartition("/")
    wanted = gateway.meta.namespace if place == "." else place
    if slash and wanted not in ("*", namespace):
        return False
    return host_fits(pattern, host) or host_fits(host, pattern)

"""Which VirtualServices a sidecar was told of, and what they make of a request, where its dump was not recorded.

Followed is ``pilot/pkg/networking/core`` (1.12 to 1.30): ``SelectVirtualServices``, ``BuildSidecarVirtualHostWrapper``
for HTTP, ``buildSidecarOutboundTLSFilterChainOpts`` and its sibling for TCP.
"""

from collections.abc import Iterator, Sequence

from meshctl.envoy.match import Step
from meshctl.istio.entries import imports_rules
from meshctl.istio.mesh import Mesh, about, best_host, virtual_services_of
from meshctl.istio.resource import host_overlaps
from meshctl.istio.virtual_service import VirtualService
from meshctl.path import registry, retries, route_rules, unrecorded
from meshctl.path.assumed import only_port, step
from meshctl.path.decision import Decision, Option
from meshctl.path.hosts import is_address
from meshctl.path.model import Request
from meshctl.path.registry import Known
from meshctl.path.rule_fits import Setting, each_value
from meshctl.path.scene import Scene, Station

_PLAIN_PORT = 80
"""The one port on which hosts have rules although no Service of that port is among them."""


def _mesh(scene: Scene, station: Station) -> Mesh:
    """The resources to decide by: those of the Gateway API only where no configuration of the proxy is at hand."""
    return scene.told if station.proxy is None else scene.mesh


def _told(scene: Scene, station: Station, port: int) -> list[VirtualService]:
    """The VirtualServices for sidecars that the proxy's namespace sees, and that its Sidecar imports for a port."""
    found = virtual_services_of(_mesh(scene, station), station.pod.namespace)
    sidecar = registry.sidecar_of(scene, station)
    if sidecar is None:
        return found
    return [s for s in found if imports_rules(sidecar, s.meta.namespace, s.hosts, port)]


def _setting(scene: Scene, station: Station, port: int, address: str = "") -> Setting:
    retrying = retries.of_mesh(scene.settings(station), station.version)
    each, pod = each_value(station.version), station.pod
    return Setting(port, pod.namespace, pod.labels, ("mesh",), address, retrying, each)


def _with_routes(
    scene: Scene, station: Station, services: Sequence[VirtualService], port: int
) -> Iterator[VirtualService]:
    """Those of which the proxy gets a route at all."""
    others = scene.mesh.virtual_services
    return (s for s in services if s.http and route_rules.applies(s, others, _setting(scene, station, port)))


def unlisted(
    scene: Scene, station: Station, host: str, port: int, known: Sequence[Known]
) -> tuple[tuple[bool, int], VirtualService] | None:
    """The VirtualService with rules for a host that is no Service of the port, and how specific its pattern is.

    There is a virtual host for it on port 80, elsewhere only where the same VirtualService is about a Service (or
    ServiceEntry) of that port as well. A wildcard that covers some of them stands for these alone.
    """
    names = {k.host.lower() for k in known}
    found = []
    for service in _with_routes(scene, station, _told(scene, station, port), port):
        if service.meta.kind != "VirtualService":  # a route of the Gateway API has no hosts but Services
            continue
        loose = [h for h in service.hosts if not _listed(h, names) and (h == host.lower() or not is_address(host))]
        best = best_host(loose, host)
        if best is not None and (port == _PLAIN_PORT or _covers(service, known)):
            found.append((best, service))
    return max(found, key=lambda pair: pair[0], default=None)


def _listed(pattern: str, names: set[str]) -> bool:
    if pattern.startswith("*"):
        return any(host_overlaps(name, pattern) for name in names)
    return pattern in names


def _covers(service: VirtualService, known: Sequence[Known]) -> bool:
    """Whether a VirtualService is about an HTTP port among these."""
    return any(_listed(host, {k.host.lower()}) for k in known if k.speaks != "tcp" for host in service.hosts)


def comes_first(scene: Scene, station: Station, port: int, one: VirtualService, other: str) -> bool:
    """Whether a VirtualService's virtual hosts are made before those of a Service: the first one gets a domain."""
    told = _told(scene, station, port)
    own = next(_with_routes(scene, station, about(told, other), port), None)
    return own is None or told.index(one) <= told.index(own)


def of_host(scene: Scene, station: Station, host: str, port: int, request: Request, said: Step) -> Decision:
    """What the VirtualService of a Service says, else that the request goes there."""
    services = about(_told(scene, station, port), host)
    service = next(_with_routes(scene, station, services, port), None)
    if service is not None:
        return by(scene, station, service, port, request, said)
    elsewhere = unrecorded.of_mesh(scene, lambda name: name == registry.home_of(scene, host, name)[0])
    told = f"no recorded VirtualService is about this host, but {elsewhere}" if elsewhere else ""
    return Decision(
        options=(Option(f"outbound|{port}||{host}", 1, 1.0),),
        route="default",
        retry=retries.of_mesh(scene.settings(station), station.version).default,
        forwarded=request,
        steps=(said, step("route", "default", told or "no VirtualService is about this host")),
        assumed=True,
    )


def by(scene: Scene, station: Station, service: VirtualService, port: int, request: Request, said: Step) -> Decision:
    """What the rules of the one VirtualService that counts for a host do (a sidecar takes no more)."""
    # Of the Services, istiod looks only at those with the listener's port here, and only at that port of theirs: a
    # destination without a port is that port, too (``BuildSidecarOutboundVirtualHosts``, 1.30).
    others = scene.mesh.virtual_services
    return route_rules.http((service,), others, _setting(scene, station, port), request, said)


def of_bytes(
    scene: Scene, station: Station, known: Known, address: str, request: Request, said: Step
) -> Decision | None:
    """What happens to bytes for a host; None where rules about TLS leave no filter chain for these.

    On a port that is declared to speak TLS only ``tls`` rules count, on others only ``tcp`` rules; here all
    VirtualServices of a host do, in istiod's order.
    """
    setting, port = _setting(scene, station, known.port, address), known.port
    services = [s for s in _told(scene, station, port) if best_host(s.hosts, known.host) is not None]
    found = route_rules.tcp(services, setting, request, said, only_port(scene), "tls" if known.tls else "tcp")
    if found is not None:
        return found
    if known.tls and any(route_rules.tls_rules(services, setting)):
        return None
    options = (Option(f"outbound|{port}||{known.host}", 1, 1.0),)
    return Decision(tcp=True, options=options, steps=(said,), assumed=True, forwarded=request)

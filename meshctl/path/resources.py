"""A sending proxy's decisions from the mesh's resources alone, where its configuration was not recorded.

All are marked assumed. What istiod makes of Services, ServiceEntries, VirtualServices, DestinationRules and Sidecars is
followed for the usual cases (``pilot/pkg/networking/core``, 1.30); a match that is not modelled makes the decision
undecided, never a guess.
"""

from typing import Literal

from meshctl.envoy.match import Step
from meshctl.istio.mesh import Mesh, virtual_services_for
from meshctl.istio.resource import host_fits
from meshctl.istio.virtual_service import VirtualService
from meshctl.path import gateway_resources, registry, route_rules
from meshctl.path.assumed import REFUSED_PATH, normalised, only_port, step, unparsed, with_unread
from meshctl.path.decision import BLACK_HOLE, Decision, Option, Refusal
from meshctl.path.hosts import ANYWHERE, is_address
from meshctl.path.model import Request
from meshctl.path.registry import Known
from meshctl.path.route_rules import DEFAULT_RETRY
from meshctl.path.rule_fits import Setting
from meshctl.path.scene import Scene, Station
from meshctl.path.wire import bare, by_application, server_name

_OWN_LISTENERS = (15021, 15090)
"""Ports of listeners that every sidecar has for itself, on all addresses (health, statistics): they come first."""

_ROUTING = frozenset({"virtualservices", "destinationrules", "serviceentries", "sidecars"})


def outbound(
    scene: Scene,
    station: Station,
    direction: Literal["outbound", "gateway"],
    address: str,
    port: int,
    request: Request,
) -> Decision:
    """What the sending proxy is likely to have been told."""
    if (seen := normalised(scene, request)) is None:
        return Decision(refusal=Refusal(400, "", "path_normalization_failed", REFUSED_PATH), assumed=True)
    request = seen
    if direction == "gateway":
        decision = gateway_resources.decide(scene, station, port, by_application(request, None))
    else:
        decision = _outbound(scene, station, address, port, request)
    return with_unread(scene, _ROUTING, decision)


def _mesh(scene: Scene, station: Station) -> Mesh:
    """The resources to decide by: those of the Gateway API only where no configuration of the proxy is at hand."""
    return scene.told if station.proxy is None else scene.mesh


def _outbound(scene: Scene, station: Station, address: str, port: int, request: Request) -> Decision:
    if port in _OWN_LISTENERS:
        why = f"port {port} is one that the caller's proxy listens on itself, and its configuration was not recorded"
        return Decision(undecided=(why,), assumed=True)
    taken = registry.listener(scene, station, "" if address == ANYWHERE else address, port)
    match taken.kind:
        case "unclear":
            return Decision(undecided=(taken.why,), assumed=True)
        case "none":
            return _unknown(scene, station, address, port, request, http=False, because=taken.why)
        case "http" if _is_http(request) and (refusal := unparsed(request)) is not None:
            return Decision(refusal=refusal, assumed=True)
        case "http" if _is_http(request):
            return _by_host(scene, station, address, port, request, taken.known)
        case "http":
            why = f"port {port} is declared HTTP, and this is not: it is passed through as it is"
            return _unknown(scene, station, address, port, request, http=False, because=why)
        case "names":
            return _by_name(scene, station, address, port, request, taken.known)
        case "own":
            return _own(scene, station, port, request, taken.known)


def _is_http(request: Request) -> bool:
    return request.protocol != "tcp" and not request.tls


def _by_host(
    scene: Scene, station: Station, address: str, port: int, request: Request, known: tuple[Known, ...]
) -> Decision:
    """The port's HTTP listener: the Host header says which host it is, wherever the connection was to."""
    host, namespace = bare(request.host), station.pod.namespace
    found = registry.by_host(known, host, namespace)
    if found is None and (target := registry.alias(scene, host, namespace)) is not None:
        found = next((k for k in known if k.host == target.full_name and k.speaks != "tcp"), None)
        if found is not None and station.version and _older(station.version, 20):
            why = f"{host} is an ExternalName Service, which proxies before Istio 1.20 reach by a cluster of its own"
            return Decision(undecided=(why,), assumed=True)
    if found is not None:
        said = step("host", found.host, f"the mesh knows {found.host}", found.origin)
        return _routed(scene, station, found.host, port, request, said)
    loose = [s for s in virtual_services_for(_mesh(scene, station), host, namespace) if s.http]
    if loose and not is_address(host):
        said = step("host", host, f"{loose[0].meta} is about {host}", loose[0].meta.origin)
        return _http(loose, station, host, port, request, said)
    sidecar = registry.sidecar_of(scene, station)
    because = ""
    if (
        sidecar is not None
        and registry.by_host(registry.there(scene, station, port, None), host, namespace) is not None
    ):
        because = f"{sidecar.meta} does not tell this proxy of {host}"
    return _unknown(scene, station, address, port, request, http=True, because=because)


def _older(version: str, minor: int) -> bool:
    """Whether a release is older than 1.`minor`."""
    parts = version.split(".")
    return len(parts) > 1 and parts[0] == "1" and parts[1].isdecimal() and int(parts[1]) < minor


def _routed(scene: Scene, station: Station, host: str, port: int, request: Request, said: Step) -> Decision:
    services = virtual_services_for(_mesh(scene, station), host, station.pod.namespace)
    return _http(services, station, host, port, request, said, scene)


def _own(scene: Scene, station: Station, port: int, request: Request, known: tuple[Known, ...]) -> Decision:
    """A listener of the host's own address: TCP, or (where nothing is declared) what the bytes are."""
    names = [k for k in known if k.sniffs_name]
    if names:
        return _by_name(scene, station, names[0].addresses[0], port, request, tuple(names))
    return _by_bytes(scene, station, port, request, known[0])


def _by_name(
    scene: Scene, station: Station, address: str, port: int, request: Request, known: tuple[Known, ...]
) -> Decision:
    """Hosts without an address of their own: told apart by SNI where they speak TLS, else the first takes all."""
    named = [k for k in known if k.sniffs_name]
    sni = server_name(request)
    fitting = [k for k in named if sni and host_fits(k.host, sni)]
    found = max(fitting, key=lambda k: (not k.host.startswith("*"), len(k.host)), default=None)
    found = found or next((k for k in known if not k.sniffs_name), None)
    if found is None:
        why = (
            f"no host of port {port} has the name {sni}"
            if sni
            else f"port {port} is for TLS by name, and this has none"
        )
        return _unknown(scene, station, address, port, request, http=False, because=why)
    return _by_bytes(scene, station, port, request, found)


def _by_bytes(scene: Scene, station: Station, port: int, request: Request, found: Known) -> Decision:
    """A host whose port declares nothing is HTTP where the bytes are; else it is TCP."""
    said = step("host", found.host, f"the mesh knows {found.host}", found.origin)
    if found.speaks == "any" and _is_http(request):
        if (refusal := unparsed(request)) is not None:
            return Decision(refusal=refusal, steps=(said,), assumed=True)
        return _routed(scene, station, found.host, port, request, said)
    return _tcp(scene, station, found.host, port, request, said)


def _unknown(
    scene: Scene, station: Station, address: str, port: int, request: Request, *, http: bool, because: str
) -> Decision:
    """A destination that the mesh does not know: passed through, or refused with REGISTRY_ONLY."""
    sidecar = registry.sidecar_of(scene, station)
    mode = (sidecar.outbound_mode if sidecar else "") or scene.mesh.config.outbound_mode
    steps = (step("host", "", because, sidecar.meta.origin if sidecar else None),) if because else ()
    if mode == "REGISTRY_ONLY":
        origin = sidecar.meta.origin if sidecar and sidecar.outbound_mode else None
        told = "outboundTrafficPolicy is REGISTRY_ONLY and the mesh does not know it"
        steps = (*steps, step("route", "block_all", told, origin))
        if not http:
            return Decision(tcp=True, options=(Option(BLACK_HOLE, 1, 1.0),), steps=steps, assumed=True)
        why = "the mesh does not know this host, and outboundTrafficPolicy is REGISTRY_ONLY"
        refusal = Refusal(502, "", "direct_response", why, cause="registry-only")
        return Decision(refusal=refusal, route="block_all", steps=steps, assumed=True)
    shown = "it" if address in ("", ANYWHERE) else f"{address}:{port}"
    told = f"the mesh does not know {bare(request.host) if http else shown}, so it is passed through"
    return Decision(
        tcp=not http,
        options=(Option("PassthroughCluster", 1, 1.0),),
        route="allow_any" if http else None,
        steps=(*steps, step("route", "allow_any", told)),
        assumed=True,
        forwarded=request,
    )


# --- rules -----------------------------------------------------------------------------------------------------------


def _http(
    services: list[VirtualService],
    station: Station,
    host: str,
    port: int,
    request: Request,
    said: Step,
    scene: Scene | None = None,
) -> Decision:
    """The rules of the first VirtualService that is about the host (a sidecar takes no more), else the host itself."""
    service = next((s for s in services if s.http), None)
    if service is None:
        return Decision(
            options=(Option(f"outbound|{port}||{host}", 1, 1.0),),
            route="default",
            retry=DEFAULT_RETRY,
            forwarded=request,
            steps=(said, step("route", "default", "no VirtualService is about this host")),
            assumed=True,
        )
    setting = Setting(port, station.pod.namespace, station.pod.labels, ("mesh",))
    others = scene.mesh.virtual_services if scene is not None else ()
    # Of the Services, istiod looks only at those with the listener's port here, and only at that port of theirs: a
    # destination without a port is that port, too (``BuildSidecarOutboundVirtualHosts``, 1.30).
    return route_rules.http((service,), others, setting, request, said)


def _tcp(scene: Scene, station: Station, host: str, port: int, request: Request, said: Step) -> Decision:
    setting = Setting(port, station.pod.namespace, station.pod.labels, ("mesh",))
    services = virtual_services_for(_mesh(scene, station), host, station.pod.namespace)
    found = route_rules.tcp(services, setting, request, said, only_port(scene))
    if found is not None:
        return found
    options = (Option(f"outbound|{port}||{host}", 1, 1.0),)
    return Decision(tcp=True, options=options, steps=(said,), assumed=True, forwarded=request)

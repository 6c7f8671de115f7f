"""A sidecar's decisions from the mesh's resources alone, where its configuration was not recorded.

All are marked assumed. What istiod makes of Services, ServiceEntries, VirtualServices, DestinationRules and Sidecars is
followed for the usual cases (``pilot/pkg/networking/core``, 1.30); a match that is not modelled makes the decision
undecided, never a guess.
"""

from meshctl.istio.resource import host_fits
from meshctl.istio.virtual_service import VirtualService
from meshctl.path import registry, retries, sidecar_rules, unrecorded
from meshctl.path.assumed import REFUSED_PATH, normalised, step, unparsed, with_doubts
from meshctl.path.decision import BLACK_HOLE, Decision, Option, Refusal
from meshctl.path.hosts import ANYWHERE
from meshctl.path.model import Request
from meshctl.path.registry import Known
from meshctl.path.scene import Scene, Station
from meshctl.path.wire import bare, server_name
from meshctl.words import show_address

OWN_LISTENERS = (15021, 15090)
"""Ports of listeners that every proxy has for itself, on all addresses (health, statistics): they come first."""

_ROUTING = frozenset({"virtualservices", "destinationrules", "serviceentries", "sidecars"})


def outbound(
    scene: Scene,
    station: Station,
    address: str,
    port: int,
    request: Request,
) -> Decision:
    """What a sidecar is likely to have been told."""
    if (seen := normalised(scene, station, request)) is None:
        return Decision(refusal=Refusal(400, "", "path_normalization_failed", REFUSED_PATH), assumed=True)
    return with_doubts(
        scene, station, _ROUTING, "SIDECAR_OUTBOUND", port, _outbound(scene, station, address, port, seen)
    )


def _outbound(scene: Scene, station: Station, address: str, port: int, request: Request) -> Decision:
    if port in OWN_LISTENERS:
        why = f"port {port} is one that the caller's proxy listens on itself, and its configuration was not recorded"
        return Decision(undecided=(why,), assumed=True)
    taken = registry.listener(scene, station, "" if address in ANYWHERE else address, port)
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
            return _own(scene, station, address, port, request, taken.known)


def _is_http(request: Request) -> bool:
    return request.protocol != "tcp" and not request.tls


def _by_host(
    scene: Scene, station: Station, address: str, port: int, request: Request, known: tuple[Known, ...]
) -> Decision:
    """The port's HTTP listener: the Host header says which host it is, wherever the connection was to."""
    host, namespace = bare(request.host), station.pod.namespace
    rank, found = registry.fitting(known, host, namespace) or ((True, len(host)), None)
    if found is None and (target := registry.alias(scene, host, namespace)) is not None:
        found = next((k for k in known if k.host == target.full_name and k.speaks != "tcp"), None)
        if found is not None and retries.older(station.version, 20):
            why = f"{host} is an ExternalName Service, which proxies before Istio 1.20 reach by a cluster of its own"
            return Decision(undecided=(why,), assumed=True)
    loose = sidecar_rules.unlisted(scene, station, host, port, known)
    if loose is not None and (found is None or _is_before(scene, station, port, loose, (rank, found))):
        service = loose[1]
        said = step("host", host, f"{service.meta} is about {host}", service.meta.origin)
        return sidecar_rules.by(scene, station, service, port, request, said)
    if found is not None:
        said = step("host", found.host, f"the mesh knows {found.host}", found.origin)
        return sidecar_rules.of_host(scene, station, found.host, port, request, said)
    sidecar = registry.sidecar_of(scene, station)
    because = ""
    if (
        sidecar is not None
        and registry.by_host(registry.there(scene, station, port, None), host, namespace) is not None
    ):
        because = f"{sidecar.meta} does not tell this proxy of {host}"
    return _unknown(scene, station, address, port, request, http=True, because=because, hidden=bool(because))


def _is_before(
    scene: Scene,
    station: Station,
    port: int,
    loose: tuple[tuple[bool, int], VirtualService],
    listed: tuple[tuple[bool, int], Known],
) -> bool:
    """Whether a VirtualService's own host comes before one of the mesh: the more specific, else the first made."""
    if loose[0] != listed[0]:
        return loose[0] > listed[0]
    return sidecar_rules.comes_first(scene, station, port, loose[1], listed[1].host)


def _own(
    scene: Scene, station: Station, address: str, port: int, request: Request, known: tuple[Known, ...]
) -> Decision:
    """A listener of the host's own address: TCP, or (where nothing is declared) what the bytes are."""
    names = [k for k in known if k.sniffs_name]
    if names:
        return _by_name(scene, station, address, port, request, tuple(names))
    return _by_bytes(scene, station, address, port, request, known[0])


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
    return _by_bytes(scene, station, address, port, request, found)


def _by_bytes(scene: Scene, station: Station, address: str, port: int, request: Request, found: Known) -> Decision:
    """A host whose port declares nothing is HTTP where the bytes are; else it is TCP."""
    said = step("host", found.host, f"the mesh knows {found.host}", found.origin)
    if found.speaks == "any" and _is_http(request):
        return sidecar_rules.of_host(scene, station, found.host, port, request, said)
    decision = sidecar_rules.of_bytes(scene, station, found, address, request, said)
    if decision is not None:
        return decision
    why = f"no rule about TLS of {found.host} fits {server_name(request) or 'bytes without a server name'}"
    return _unknown(scene, station, address, port, request, http=False, because=why)


def _unknown(
    scene: Scene,
    station: Station,
    address: str,
    port: int,
    request: Request,
    *,
    http: bool,
    because: str,
    hidden: bool = False,
) -> Decision:
    """A destination that the mesh does not know: passed through, or refused with REGISTRY_ONLY.

    `hidden`: it is known to others, but not to this proxy.
    """
    sidecar = registry.sidecar_of(scene, station)
    mode = (sidecar.outbound_mode if sidecar else "") or scene.settings(station).outbound_mode
    steps = (step("host", "", because, sidecar.meta.origin if sidecar else None),) if because else ()
    asked = bare(request.host) if _is_http(request) or address in ("", *ANYWHERE) else ""
    if not hidden and (elsewhere := unrecorded.of_destination(scene, station, address, asked)):
        why = f"no recorded Service or ServiceEntry is {asked or f'at {show_address(address, port)}'}, but {elsewhere}"
        return Decision(undecided=(why,), steps=steps, tcp=not http, assumed=True)
    if not mode:
        why = f"the mesh does not know {asked or 'it'}, and its settings, which say what becomes of that, are not known"
        return Decision(undecided=(why,), steps=steps, tcp=not http, assumed=True)
    if mode == "REGISTRY_ONLY":
        origin = sidecar.meta.origin if sidecar and sidecar.outbound_mode else None
        told = "outboundTrafficPolicy is REGISTRY_ONLY and the mesh does not know it"
        steps = (*steps, step("route", "block_all", told, origin))
        if not http:
            return Decision(tcp=True, options=(Option(BLACK_HOLE, 1, 1.0),), steps=steps, assumed=True)
        why = "the mesh does not know this host, and outboundTrafficPolicy is REGISTRY_ONLY"
        refusal = Refusal(502, "", "direct_response", why, cause="registry-only")
        return Decision(refusal=refusal, route="block_all", steps=steps, assumed=True)
    shown = "it" if address in ("", *ANYWHERE) else show_address(address, port)
    told = f"the mesh does not know {bare(request.host) if http else shown}, so it is passed through"
    return Decision(
        tcp=not http,
        options=(Option("PassthroughCluster", 1, 1.0),),
        route="allow_any" if http else None,
        steps=(*steps, step("route", "allow_any", told)),
        assumed=True,
        forwarded=request,
    )

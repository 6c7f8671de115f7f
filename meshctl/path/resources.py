"""A sending proxy's decisions from the mesh's resources alone, where its configuration was not recorded.

All are marked assumed. What istiod makes of Services, ServiceEntries, VirtualServices, DestinationRules and Sidecars is
followed for the usual cases (``pilot/pkg/networking/core``, 1.30); a match that is not modelled makes the decision
undecided, never a guess.
"""

from dataclasses import replace
from typing import Literal

from meshctl.envoy.match import Step
from meshctl.envoy.model import RetryPolicy
from meshctl.envoy.rewrite import path_by_setting
from meshctl.istio.destination_rule import DestinationRule, rule_for
from meshctl.istio.mesh import Mesh, virtual_services_for
from meshctl.istio.resource import host_fits
from meshctl.istio.security import peer_mode
from meshctl.istio.virtual_service import VirtualService
from meshctl.kube.pods import Pod
from meshctl.kube.services import Service
from meshctl.origin import Origin
from meshctl.path import registry, route_rules
from meshctl.path.decision import BLACK_HOLE, Decision, Option, Refusal
from meshctl.path.hosts import ANYWHERE, Host, Picked, is_address
from meshctl.path.model import Request
from meshctl.path.registry import Known
from meshctl.path.route_rules import Setting
from meshctl.path.scene import Scene, Station
from meshctl.path.wire import Connection, bare

DEFAULT_RETRY = RetryPolicy(
    on=("connect-failure", "refused-stream", "unavailable", "cancelled", "retriable-status-codes"),
    attempts=2,
    host_predicates=("previous_hosts",),
)
"""Istio's retry policy where a VirtualService says nothing (``retry.DefaultPolicy``)."""

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
        from meshctl.path import gateway_resources

        decision = gateway_resources.decide(scene, station, port, request)
    else:
        decision = _outbound(scene, station, address, port, request)
    return with_unread(scene, _ROUTING, decision)


REFUSED_PATH = "proxies refuse a path with a NUL in it"


def normalised(scene: Scene, request: Request) -> Request | None:
    """The request with its path as proxies see it; None where they answer 400."""
    if request.protocol == "tcp" or request.tls:
        return request
    path = path_by_setting(scene.mesh.config.path_normalization, request.path)
    return None if path is None else replace(request, path=path)


def with_unread(scene: Scene, kinds: frozenset[str], decision: Decision) -> Decision:
    """A decision that rests on resources which could not be read is none."""
    unread = ", ".join(sorted(scene.unread & kinds))
    if not unread:
        return decision
    return replace(decision, undecided=(*decision.undecided, f"{unread} could not be read, and may decide otherwise"))


def step(what: str, chosen: str, because: str, origin: object = None) -> Step:
    """A step of a decision that rests on a resource."""
    return Step(what, chosen, because, origin if isinstance(origin, Origin) else None)


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
    found = known[0]
    said = step("host", found.host, f"the mesh knows {found.host}", found.origin)
    if found.speaks == "any" and _is_http(request):
        return _routed(scene, station, found.host, port, request, said)
    return _tcp(scene, station, found.host, port, request, said)


def _by_name(
    scene: Scene, station: Station, address: str, port: int, request: Request, known: tuple[Known, ...]
) -> Decision:
    """Hosts without an address of their own: told apart by SNI where they speak TLS, else the first takes all."""
    named = [k for k in known if k.sniffs_name]
    sni = bare(request.host).lower() if request.tls else ""
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
    said = step("host", found.host, f"the mesh knows {found.host}", found.origin)
    if found.speaks == "any" and _is_http(request):
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
    return route_rules.http((service,), others, setting, request, said, only_port(scene) if scene else None)


def only_port(scene: Scene) -> route_rules.PortOf:
    """The port that a destination without one stands for: the Service's only one, else the port asked for."""

    def port_of(host: str) -> int | None:
        service = registry.service_of(scene, host)
        if service is not None and len(service.ports) == 1:
            return service.ports[0].number
        entry = next((e for e in scene.mesh.service_entries if host in e.hosts), None)
        return entry.ports[0].number if service is None and entry is not None and len(entry.ports) == 1 else None

    return port_of


def _tcp(scene: Scene, station: Station, host: str, port: int, request: Request, said: Step) -> Decision:
    setting = Setting(port, station.pod.namespace, station.pod.labels, ("mesh",))
    services = virtual_services_for(_mesh(scene, station), host, station.pod.namespace)
    found = route_rules.tcp(services, setting, request, said, only_port(scene))
    if found is not None:
        return found
    options = (Option(f"outbound|{port}||{host}", 1, 1.0),)
    return Decision(tcp=True, options=options, steps=(said,), assumed=True, forwarded=request)


# --- hosts and wire --------------------------------------------------------------------------------------------------


def hosts(scene: Scene, station: Station, cluster: str, address: str, port: int) -> Picked:
    """The hosts of a cluster by Istio's name for it, from EndpointSlices and ServiceEntries."""
    if cluster == "PassthroughCluster":
        return _as_asked(scene, address, port)
    if cluster == BLACK_HOLE:
        return Picked(why="BlackHoleCluster has no endpoints on purpose: this destination is not allowed")
    _, number, subset, host = cluster.split("|", 3)
    rule = _destination_rule(scene, station, host)
    if subset and (rule is None or rule.subset(subset) is None):
        return Picked(why=f"no DestinationRule defines subset {subset} of {host}", flag="NC")
    labels = found.labels if rule and subset and (found := rule.subset(subset)) else ()
    service = registry.service_of(scene, host)
    if service is None:
        return _entry_hosts(scene, station, host, int(number), labels, address, port)
    if service.port(int(number)) is None:
        return Picked(
            why=f"Service {service.name} has no port {number}, so the proxy has no cluster {cluster}", flag="NC"
        )
    if service.headless:
        return _as_asked(scene, address, port)
    return _service_hosts(scene, station, service, int(number), subset, labels)


def _as_asked(scene: Scene, address: str, port: int) -> Picked:
    """A cluster that connects to where the connection was to."""
    if address in ("", ANYWHERE):
        return Picked(undecided="the address that the name resolves to is not recorded")
    one = Host(address=address, port=port, pod=_key(scene.pod_at(address)), health="not checked", probability=1.0)
    return Picked(all=(one,), chosen=(one,), policy="the connection's original destination")


def _service_hosts(
    scene: Scene, station: Station, service: Service, number: int, subset: str, labels: tuple[tuple[str, str], ...]
) -> Picked:
    entry, host = service.port(number), service.full_name
    assert entry is not None
    here = station.pod.node if service.internal_policy == "Local" else ""
    ends = [e for e in scene.services.endpoints(service) if not here or e.node == here]
    pods = {e.address: e.pod or _by_address(scene, service, e.address) for e in ends}
    unknown = [e.pod for e in ends if labels and e.pod and scene.pod_named(e.pod) is None]
    if unknown:
        return Picked(
            undecided=f"whether {unknown[0]} has the labels of subset {subset} is not known: it is not recorded"
        )
    found = [
        Host(address=e.address, port=target, pod=pods[e.address], health="healthy" if e.ready else "not ready")
        for e in ends
        if (target := e.port(entry.name)) is not None and _has_labels(scene, pods[e.address], labels)
    ]
    if not found and scene.endpoints_gap:
        return Picked(undecided=f"the endpoints of {host} are not known: {scene.endpoints_gap}")
    good = [h for h in found if h.health == "healthy"]
    chosen = tuple(replace(h, probability=1 / len(good)) for h in good)
    why = "" if chosen else f"{host} has no ready endpoints{f' with the labels of subset {subset}' if subset else ''}"
    why += f" on node {here} (internalTrafficPolicy Local)" if why and here else ""
    return Picked(all=tuple(found), chosen=chosen, why=why, policy="the EndpointSlices")


def _by_address(scene: Scene, service: Service, address: str) -> str:
    """The pod of an endpoint that names none: that of its address, in the Service's namespace (istiod, ``getPod``)."""
    pod = scene.pod_at(address)
    return _key(pod) if pod is not None and pod.namespace == service.namespace else ""


def _key(pod: Pod | None) -> str:
    return f"{pod.namespace}/{pod.name}" if pod is not None else ""


def _has_labels(scene: Scene, key: str, labels: tuple[tuple[str, str], ...]) -> bool:
    pod = scene.pod_named(key)
    return not labels or (pod is not None and all(pod.labels.get(name) == value for name, value in labels))


def _entry_hosts(
    scene: Scene,
    station: Station,
    host: str,
    number: int,
    labels: tuple[tuple[str, str], ...],
    address: str,
    port: int,
) -> Picked:
    known = next((k for k in registry.known_on(scene, station, number) if k.host == host and k.entry is not None), None)
    entry = known.entry if known is not None else None
    if entry is None:
        return Picked(why=f"the mesh does not know {host} with port {number}", flag="NC")
    if entry.resolution == "NONE":
        return _as_asked(scene, address, port)
    written = next(p for p in entry.ports if p.number == number)
    if entry.selector:
        found = [
            Host(address=pod.ip, port=written.target, pod=_key(pod), health="healthy" if pod.ready else "not ready")
            for pod in scene.pods_in(entry.meta.namespace)
            if pod.ip and all(pod.labels.get(name) == value for name, value in (*entry.selector, *labels))
        ]
        good = [h for h in found if h.health == "healthy"]
        why = "" if good else f"no ready pod fits the workloadSelector of {entry.meta}"
        return Picked(all=tuple(found), chosen=tuple(replace(h, probability=1 / len(good)) for h in good), why=why)
    ends = [e for e in entry.endpoints if all(pair in e.labels for pair in labels)]
    if entry.resolution != "STATIC" or any(not is_address(e.address) for e in ends):
        return Picked(undecided=f"what {host} resolves to is not recorded", through_server=False)
    found = [
        Host(
            address=e.address,
            port=dict(e.ports).get(written.name, written.target),
            pod=_key(scene.pod_at(e.address)),
            health="healthy",
        )
        for e in ends
    ]
    why = "" if found else f"{entry.meta} lists no endpoints{' with the labels of the subset' if labels else ''}"
    chosen = tuple(replace(h, probability=1 / len(found)) for h in found)
    return Picked(all=tuple(found), chosen=chosen, why=why, policy="STATIC")


def _destination_rule(scene: Scene, station: Station, host: str) -> DestinationRule | None:
    home, _ = registry.home_of(scene, host, station.pod.namespace)
    root = scene.mesh.config.root_namespace
    return rule_for(scene.mesh.destination_rules, host, station.pod.namespace, home, root, station.pod.labels)


def opened(
    scene: Scene, station: Station, cluster: str, host: Host, request: Request, depth: int, tcp: bool
) -> Connection:
    """The connection that the sending proxy is likely to open: the DestinationRule's TLS, else auto mTLS."""
    layer: Literal["plaintext", "tls", "mtls"] = "tls" if request.tls else "plaintext"
    sni = bare(request.host) if request.tls else ""
    alpn: tuple[str, ...] = ()
    if cluster.count("|") == 3:
        _, number, subset, name = cluster.split("|")
        rule = _destination_rule(scene, station, name)
        part = rule.subset(subset) if rule and subset else None
        asked = (part.policy.tls_on(int(number)) if part and part.policy else "") or (
            rule.policy.tls_on(int(number)) if rule else ""
        )
        mutual = asked == "ISTIO_MUTUAL" or (
            not asked and scene.mesh.config.auto_mtls and _takes_mtls(scene, name, host)
        )
        if mutual:
            layer, sni = "mtls", f"outbound_.{number}_.{subset}_.{name}"
            alpn = _offers(request, tcp)
        elif asked in ("SIMPLE", "MUTUAL"):
            layer, sni = "tls", rule.policy.sni if rule else ""
    return Connection(
        source=station.pod.ip or None,
        sender=station,
        layer=layer,
        request=request,
        sni=sni,
        alpn=alpn,
        principal=scene.principal(station) if layer == "mtls" else None,
        by_proxy=True,
        depth=depth,
    )


def _offers(request: Request, tcp: bool) -> tuple[str, ...]:
    """The ALPN of a sidecar's mutual TLS (``istio.alpn`` for HTTP, the cluster's own for TCP)."""
    if tcp:
        return ("istio-peer-exchange", "istio")
    return ("istio-h2", "istio", "h2") if request.protocol == "http2" else ("istio-http/1.1", "istio", "http/1.1")


def _takes_mtls(scene: Scene, name: str, host: Host) -> bool:
    """Auto mTLS towards an endpoint; a headless Service's endpoints all get it, or none does.

    Source: ``BestEffortInferServiceMTLSMode`` and the endpoint's ``tlsMode`` label, 1.30.
    """
    service = registry.service_of(scene, name)
    if service is not None and service.headless:
        pods = [scene.pod_named(e.pod) for e in scene.services.endpoints(service)]
        return bool(pods) and all(_ready_for_mtls(scene, pod, host.port) for pod in pods)
    return _ready_for_mtls(scene, scene.pod_named(host.pod), host.port)


def _ready_for_mtls(scene: Scene, pod: Pod | None, port: int) -> bool:
    if pod is None or pod.labels.get("security.istio.io/tlsMode") != "istio":
        return False
    root = scene.mesh.config.root_namespace
    return peer_mode(scene.mesh.peer_authentications, pod.namespace, pod.labels, port, root).mode != "DISABLE"

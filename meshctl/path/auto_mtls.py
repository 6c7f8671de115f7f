"""The connection that a sending proxy is likely to open: the DestinationRule's TLS, else auto mTLS."""

from collections.abc import Mapping
from typing import Literal

from meshctl.envoy.model.matching import StringMatch
from meshctl.envoy.model.sockets import OWN, ROOT, SanMatch, Tls
from meshctl.istio.destination_rule import Certificates, DestinationRule
from meshctl.istio.entries import ServiceEntry
from meshctl.istio.security import namespace_mode, peer_mode
from meshctl.kube.services import Service
from meshctl.origin import NOWHERE
from meshctl.path import registry, unrecorded
from meshctl.path.hosts import Host
from meshctl.path.model import Request
from meshctl.path.scene import Scene, Station
from meshctl.path.wire import Connection, server_name


def opened(
    scene: Scene, station: Station, cluster: str, host: Host, request: Request, depth: int, tcp: bool
) -> Connection:
    """The connection that the sending proxy is likely to open: the DestinationRule's TLS, else auto mTLS."""
    layer: Literal["plaintext", "tls", "mtls"] = "tls" if request.tls else "plaintext"
    sni = server_name(request)
    alpn: tuple[str, ...] = ()
    context: Tls | None = None
    unsure = upgraded = False
    if cluster.count("|") == 3:
        _, number, subset, name = cluster.split("|")
        rule = registry.destination_rule(scene, station, name)
        asked = rule.tls_on(int(number), subset) if rule else ""
        said = rule.certificates_on(int(number), subset) if rule and asked else Certificates()
        mutual = asked == "ISTIO_MUTUAL"
        upgraded = (
            request.protocol == "http" and not tcp and not request.tls and _upgrades(scene, station, rule, subset)
        )
        if not asked and scene.settings(station).auto_mtls:
            automatic, _ = takes(scene, station, name, int(number), host)
            mutual, unsure = automatic is True, automatic is None
        if rule is None and unrecorded.of_rules(scene, station, name):
            unsure = True
        if mutual:
            layer, sni = "mtls", said.sni or f"outbound_.{number}_.{subset}_.{name}"
            alpn = _offers(request, tcp)
            context = _context(OWN, ROOT, said.names)
        elif asked in ("SIMPLE", "MUTUAL"):
            layer, sni = "tls", said.sni
            context = _context(said.own if asked == "MUTUAL" else "", "", ())
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
        tls=context,
        unsure=unsure,
        upgraded=upgraded,
    )


def _upgrades(scene: Scene, station: Station, rule: DestinationRule | None, subset: str) -> bool:
    """Whether a DestinationRule, else the mesh, lets HTTP/1.1 become HTTP/2 (``shouldH2Upgrade``, 1.30)."""
    said = rule.upgrades(subset) if rule is not None else None
    return scene.settings(station).upgrades if said is None else said


def _context(certificate: str, trust: str, names: tuple[str, ...]) -> Tls:
    """The TLS context that istiod makes: names are compared as they are (``StringToExactMatch``, 1.30)."""
    return Tls(
        certificates=(certificate,) if certificate else (),
        trust=trust,
        sans=tuple(SanMatch(StringMatch("exact", name)) for name in names),
        versions=("TLSv1_2", "TLSv1_3"),
        origin=NOWHERE,
    )


def _offers(request: Request, tcp: bool) -> tuple[str, ...]:
    """The ALPN of a sidecar's mutual TLS (``istio.alpn`` for HTTP, the cluster's own for TCP)."""
    if tcp:
        return ("istio-peer-exchange", "istio")
    return ("istio-h2", "istio", "h2") if request.protocol == "http2" else ("istio-http/1.1", "istio", "http/1.1")


def takes(scene: Scene, station: Station, name: str, number: int, host: Host) -> tuple[bool | None, str]:
    """Whether auto mTLS is used towards an endpoint of a host in the mesh, and why; None where that is not known.

    Source: ``BestEffortInferServiceMTLSMode``, ``buildUpstreamTLSSettings`` and the endpoint's ``tlsMode``, 1.12 to
    1.30: a headless Service's endpoints all get it, or none does.
    """
    service, root = registry.service_of(scene, name), scene.mesh.config.root_namespace
    entry = registry.entry_of(scene, station, name, number) if service is None else None
    if entry is not None and not entry.internal:
        return False, f"{entry.meta} is no part of the mesh (MESH_EXTERNAL)"
    home = service.namespace if service is not None else entry.meta.namespace if entry is not None else ""
    if not home:
        return False, "the mesh does not know the host"
    if namespace_mode(scene.mesh.peer_authentications, home, root) == "DISABLE":
        return False, f"namespace {home} takes none (DISABLE)"
    if service is not None and service.headless:
        return _all_have_proxies(scene, service)
    if entry is not None and not entry.selector:
        return _of_entry(scene, entry, host)
    return _of_pod(scene, host.pod, host.port)


def _all_have_proxies(scene: Scene, service: Service) -> tuple[bool | None, str]:
    """Of a headless Service's endpoints only the labels count."""
    found = [(e.pod, scene.pod_named(e.pod)) for e in scene.services.endpoints(service)]
    for key, pod in found:
        if pod is not None and not _is_labelled(pod.labels):
            return False, f"{key} is without a proxy, and {service.name} is headless"
    unknown = next((key for key, pod in found if pod is None), None)
    if unknown is not None:
        return (None, f"{unknown} was not recorded") if unknown else (False, "an endpoint is no pod")
    return bool(
        found
    ), "all endpoints of the headless Service are pods with a proxy" if found else "it has no endpoints"


def _of_entry(scene: Scene, entry: ServiceEntry, host: Host) -> tuple[bool, str]:
    """The label (or account) of a listed endpoint counts, whatever is at its address."""
    root, policies = scene.mesh.config.root_namespace, scene.mesh.peer_authentications
    if entry.resolution == "NONE":
        every = bool(entry.endpoints) and all(end.takes_mtls for end in entry.endpoints)
        return every, f"{entry.meta} {'says so of all its endpoints' if every else 'lists endpoints without a label'}"
    end = next((end for end in entry.endpoints if end.address == host.address), None)
    if end is None or not end.takes_mtls:
        return False, f"{entry.meta} does not label the endpoint tlsMode=istio"
    mode = peer_mode(policies, entry.meta.namespace, dict(end.labels), host.port, root)
    if mode.mode == "DISABLE":
        return False, f"it takes none (DISABLE, {mode.decided_by})"
    return True, f"{entry.meta} labels the endpoint tlsMode=istio"


def _of_pod(scene: Scene, key: str, port: int) -> tuple[bool | None, str]:
    pod = scene.pod_named(key)
    if pod is None:
        return (None, f"{key} was not recorded") if key else (False, "the endpoint is no pod with a proxy")
    if not _is_labelled(pod.labels):
        return False, "the endpoint is no pod with a proxy"
    root = scene.mesh.config.root_namespace
    mode = peer_mode(scene.mesh.peer_authentications, pod.namespace, pod.labels, port, root)
    if mode.mode == "DISABLE":
        return False, f"the endpoint's pod takes none (DISABLE, {mode.decided_by})"
    return True, "the endpoint's pod has a proxy"


def _is_labelled(labels: Mapping[str, str]) -> bool:
    return labels.get("security.istio.io/tlsMode") == "istio"

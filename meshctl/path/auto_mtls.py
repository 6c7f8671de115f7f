"""The connection that a sending proxy is likely to open: the DestinationRule's TLS, else auto mTLS."""

from typing import Literal

from meshctl.envoy.model.matching import StringMatch
from meshctl.envoy.model.sockets import OWN, ROOT, SanMatch, Tls
from meshctl.istio.security import peer_mode
from meshctl.kube.pods import Pod
from meshctl.origin import NOWHERE
from meshctl.path import registry
from meshctl.path.hosts import Host
from meshctl.path.model import Request
from meshctl.path.scene import Scene, Station
from meshctl.path.wire import Connection, bare


def opened(
    scene: Scene, station: Station, cluster: str, host: Host, request: Request, depth: int, tcp: bool
) -> Connection:
    """The connection that the sending proxy is likely to open: the DestinationRule's TLS, else auto mTLS."""
    layer: Literal["plaintext", "tls", "mtls"] = "tls" if request.tls else "plaintext"
    sni = bare(request.host) if request.tls else ""
    alpn: tuple[str, ...] = ()
    context: Tls | None = None
    if cluster.count("|") == 3:
        _, number, subset, name = cluster.split("|")
        rule = registry.destination_rule(scene, station, name)
        asked = rule.tls_on(int(number), subset) if rule else ""
        mutual = asked == "ISTIO_MUTUAL" or (
            not asked and scene.mesh.config.auto_mtls and _takes_mtls(scene, name, host)
        )
        if mutual:
            layer, sni = "mtls", f"outbound_.{number}_.{subset}_.{name}"
            alpn = _offers(request, tcp)
            context = _context(OWN, ROOT, rule.certificates_on(int(number), subset).names if rule else ())
        elif asked in ("SIMPLE", "MUTUAL"):
            layer, sni = "tls", rule.policy.sni if rule else ""
            own = rule.certificates_on(int(number), subset).own if rule and asked == "MUTUAL" else ""
            context = _context(own, "", ())
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
    )


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

"""The connection that a sending proxy is likely to open: the DestinationRule's TLS, else auto mTLS."""

from typing import Literal

from meshctl.istio.security import peer_mode
from meshctl.kube.pods import Pod
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

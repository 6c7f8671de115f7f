"""What the callee's proxy does, from the mesh's resources alone, where its configuration was not recorded.

PeerAuthentication first, then what `meshctl.path.authorization` says.
"""

from dataclasses import replace

from meshctl.istio.entries import Ingress
from meshctl.istio.security import peer_mode
from meshctl.path import registry, retries
from meshctl.path.assumed import REFUSED_PATH, normalised, step, unparsed, with_doubts
from meshctl.path.authorization import guard
from meshctl.path.decision import Decision, Option, Refusal
from meshctl.path.registry import Speaks
from meshctl.path.scene import Scene, Station
from meshctl.path.target import protocol_of
from meshctl.path.wire import Connection

_POLICIES = frozenset({"peerauthentications", "authorizationpolicies", "requestauthentications"})


def inbound(scene: Scene, station: Station, port: int, conn: Connection) -> Decision:
    """What the callee's proxy is likely to do with a connection to a port of its pod."""
    seen = normalised(scene, station, conn.request)
    if seen is None:
        return Decision(refusal=Refusal(400, "", "path_normalization_failed", REFUSED_PATH), assumed=True)
    return with_doubts(
        scene,
        station,
        _POLICIES,
        "SIDECAR_INBOUND",
        port,
        _inbound(scene, station, port, replace(conn, request=seen)),
    )


def _declared(scene: Scene, station: Station, port: int, ingress: Ingress | None) -> Speaks:
    """What the port of the pod is declared to speak, by the Services that lead there; ``any`` without one."""
    if ingress is not None:
        return registry.speaks(ingress.protocol.lower())
    for service in scene.services.of_pod(station.pod.namespace, station.pod.labels):
        for entry in service.ports:
            if entry.protocol == "TCP" and station.pod.port_of(entry.target) == port:
                return registry.speaks(protocol_of(entry))
    return "any"


def _inbound(scene: Scene, station: Station, port: int, conn: Connection) -> Decision:
    pod, mesh = station.pod, scene.mesh
    sidecar = registry.sidecar_of(scene, station)
    ingress = next((i for i in sidecar.ingress if i.port == port), None) if sidecar is not None else None
    mode = peer_mode(mesh.peer_authentications, pod.namespace, pod.labels, port, mesh.config.root_namespace)
    said = f"{mode.mode} by {mode.decided_by}" if mode.decided_by else "PERMISSIVE by default"
    origin = mode.decided_by.origin if mode.decided_by else None
    steps = [step("filter chain", mode.mode, f"mutual TLS is {said}", origin)]
    declared = _declared(scene, station, port, ingress)
    if (refusal := _transport(mode.mode, said, declared, conn)) is not None:
        return Decision(refusal=refusal, steps=tuple(steps), assumed=True)
    tcp = conn.request.protocol == "tcp" or conn.request.tls or declared == "tcp"
    base = Decision(
        tcp=tcp,
        options=(Option(f"inbound|{port}||", 1, 1.0),),
        route=None if tcp else "default",
        retry=None if retries.older(station.version, 24) else retries.INBOUND,
        steps=tuple(steps),
        assumed=True,
        endpoint=ingress.endpoint if ingress is not None else "",
    )
    found = guard(scene, station, port, conn, tcp=tcp)
    if found.undecided:
        return replace(base, undecided=(found.undecided,))
    if found.refusal is not None and found.said is not None:
        return replace(base, refusal=found.refusal, steps=(*base.steps, found.said))
    return base


def _transport(mode: str, said: str, declared: Speaks, conn: Connection) -> Refusal | None:
    """What the callee's filter chains refuse before any filter: the wrong transport for the mode or the port."""
    if mode == "STRICT" and conn.layer == "tls":
        why = f"the callee accepts mutual TLS only ({said}), and this TLS shows no certificate of the mesh"
        return Refusal(None, "", "", why, "handshake", "strict", late=True)
    if mode == "STRICT" and conn.layer == "plaintext":
        why = f"the callee accepts mutual TLS only ({said}), and this is plain text"
        return Refusal(None, "NR", "filter_chain_not_found", why, "connection", "strict")
    if mode == "DISABLE" and conn.layer == "mtls":
        why = f"the callee takes no mutual TLS ({said}), and this is mutual TLS"
        return Refusal(None, "", "", why, "handshake", "mutual-tls")
    if declared != "http":
        return None
    if conn.layer == "tls":
        added = conn.by_proxy and not conn.request.tls
        whose = "the TLS that the caller's proxy adds (not the mesh's)" if added else "TLS of the application's own"
        why = f"the port is declared HTTP, and {whose} fits none of its filter chains"
        return Refusal(None, "NR", "filter_chain_not_found", why, "handshake", "no-route")
    if conn.request.tls:
        why = "the port is declared HTTP, and what the mutual TLS carries is TLS of the application's own"
        return Refusal(400, "DPE", "", why, "connection")
    if conn.request.protocol == "tcp":
        return Refusal(400, "DPE", "", "bytes that are no HTTP reach a port that is declared HTTP", "connection")
    return unparsed(conn.request)

"""Where a proxy's configuration is not what the recorded resources say: it was not told, refused them, or is older.

The configuration decides, since it is what runs. What the resources would make of the same request is found beside it
(``path/resources.py``, ``path/policies.py``) and only compared where both are decided.
"""

from collections.abc import Iterable

from meshctl.frozen import dataclass
from meshctl.path import policies, registry, resources
from meshctl.path.decision import Decision
from meshctl.path.hosts import Host, Picked
from meshctl.path.model import Request
from meshctl.path.scene import Scene, Station
from meshctl.path.wire import Connection


@dataclass(frozen=True, slots=True)
class _Said:
    """What a decision comes to, in a form that two of them can be compared in."""

    status: int | None
    refused: bool
    clusters: tuple[tuple[str, float], ...]
    faults: tuple[tuple[int, float], ...]

    def __str__(self) -> str:
        if self.refused:
            return f"an answer {self.status}" if self.status else "a closed connection"
        shares = ", ".join(f"{name} {share:.0%}" if share < 1 else name for name, share in self.clusters)
        faults = ", ".join(f"{status or 'a delay'} for {share:.0%}" for status, share in self.faults)
        return f"{shares or 'no cluster'}{f' with {faults}' if faults else ''}"


def _said(decision: Decision) -> _Said:
    refusal = decision.refusal
    if refusal is not None and "UH" not in refusal.flags and "NC" not in refusal.flags:
        return _Said(refusal.status, True, (), ())
    clusters = tuple(sorted((o.cluster, round(o.probability, 3)) for o in decision.options))
    faults = tuple(sorted((i.status or 0, round(i.share, 3)) for i in decision.injected if i.share > 0))
    return _Said(None, False, clusters, faults)


def _covered(scene: Scene, namespace: str, plural: str) -> bool:
    """Whether resources of a kind in a namespace were recorded, so that one that is not there is gone."""
    return plural not in scene.unread and (not scene.recorded or namespace in scene.recorded)


def of_route(scene: Scene, station: Station, decision: Decision, address: str, port: int, request: Request) -> str:
    """What the VirtualService behind a sidecar's route says otherwise now; empty where nothing does."""
    if not scene.compares or station.proxy is None or decision.undecided:
        return ""
    if decision.refusal is not None and decision.refusal.cause == "registry-only":
        return _of_mode(scene, station)
    config = decision.istio
    if config is None or config.kind != "virtual-service":
        return ""
    place = (config.namespace, config.name)
    known = next((s for s in scene.mesh.virtual_services if (s.meta.namespace, s.meta.name) == place), None)
    if known is None:
        gone = _covered(scene, config.namespace, "virtualservices")
        return f"there is no VirtualService {config.name}.{config.namespace}, from which it is made" if gone else ""
    now = resources.outbound(scene, station, "outbound", address, port, request)
    if now.undecided or not any(str(known.meta) in step.because for step in now.steps):
        return ""
    then, said = _said(decision), _said(now)
    return f"{known.meta} says {said} now" if said != then else ""


def _of_mode(scene: Scene, station: Station) -> str:
    sidecar = registry.sidecar_of(scene, station)
    mode = (sidecar.outbound_mode if sidecar else "") or scene.mesh.config.outbound_mode
    told = bool(scene.mesh.config.source) and not {"sidecars"} & scene.unread
    if mode == "REGISTRY_ONLY" or not told:
        return ""
    return "no recorded Sidecar or MeshConfig says REGISTRY_ONLY"


def of_hosts(scene: Scene, station: Station, cluster: str, picked: Picked) -> str:
    """Which of the proxy's hosts the EndpointSlices do not (or no longer) have as ready; empty for none."""
    if not scene.compares or station.proxy is None or cluster.count("|") != 3 or not cluster.startswith("outbound|"):
        return ""
    service = registry.service_of(scene, cluster.rpartition("|")[2])
    if service is None or service.headless or scene.endpoints_gap or service.publishes_unready:
        return ""
    if not _covered(scene, service.namespace, "endpointslices") and not scene.services.endpoints(service):
        return ""
    ready = {e.address for e in scene.services.endpoints(service) if e.ready or (e.serving and e.terminating)}
    lost = [h.shown for h in picked.chosen if not h.tunnel and h.address not in ready]
    return (
        f"{_listed(lost)} of them {'is' if len(lost) == 1 else 'are'} not ready by the EndpointSlices" if lost else ""
    )


def _listed(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")


def of_transport(scene: Scene, station: Station, cluster: str, host: Host, opened: Connection, tcp: bool) -> str:
    """What DestinationRules and PeerAuthentications say of the transport otherwise; empty where nothing does."""
    if not scene.compares or station.proxy is None or cluster.count("|") != 3 or not cluster.startswith("outbound|"):
        return ""
    if {"destinationrules", "peerauthentications"} & scene.unread or host.tunnel or scene.pod_named(host.pod) is None:
        return ""
    home = registry.service_of(scene, cluster.rpartition("|")[2])
    if home is None or not _covered(scene, home.namespace, "destinationrules"):
        return ""
    now = resources.opened(scene, station, cluster, host, opened.request, opened.depth, tcp)
    if now.layer == opened.layer or (now.layer == "tls" and opened.request.tls):
        return ""
    words = {"plaintext": "plain text", "tls": "TLS", "mtls": "mutual TLS"}
    return (
        f"by the recorded resources it would be {words[now.layer]}, by the proxy's configuration {words[opened.layer]}"
    )


def of_inbound(scene: Scene, station: Station, port: int, conn: Connection, decision: Decision) -> str:
    """What PeerAuthentications and AuthorizationPolicies say of the callee's decision otherwise; empty if nothing."""
    if not scene.compares or station.proxy is None or decision.undecided or station.mode == "gateway":
        return ""
    space = station.pod.namespace
    if not all(_covered(scene, space, kind) for kind in ("peerauthentications", "authorizationpolicies")):
        return ""
    now = policies.inbound(scene, station, port, conn)
    found = decision.refusal
    if now.undecided or (now.refusal is None, now.refusal and now.refusal.status) == (
        found is None,
        found and found.status,
    ):
        return ""
    if found is not None and found.cause not in ("policy", "strict", "no-route", ""):
        return ""
    if now.refusal is None:
        return "the recorded resources would let it through"
    return f"by the recorded resources it would be refused: {now.refusal.why}"

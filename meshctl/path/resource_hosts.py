"""The hosts of a cluster from EndpointSlices and ServiceEntries, where the proxy's own were not recorded."""

from collections.abc import Sequence
from dataclasses import replace

from meshctl.kube.pods import Pod
from meshctl.kube.services import Service
from meshctl.path import registry, unrecorded
from meshctl.path.decision import BLACK_HOLE
from meshctl.path.hosts import ANYWHERE, Host, Picked, is_address
from meshctl.path.scene import Scene, Station


def hosts(scene: Scene, station: Station, cluster: str, address: str, port: int) -> Picked:
    """The hosts of a cluster by Istio's name for it, from EndpointSlices and ServiceEntries."""
    if cluster == "PassthroughCluster":
        return _as_asked(scene, address, port)
    if cluster == BLACK_HOLE:
        return Picked(why="BlackHoleCluster has no endpoints on purpose: this destination is not allowed")
    _, number, subset, host = cluster.split("|", 3)
    rule = registry.destination_rule(scene, station, host)
    if subset and (rule is None or rule.subset(subset) is None):
        if elsewhere := unrecorded.of_rules(scene, station, host):
            return Picked(undecided=f"no recorded DestinationRule defines subset {subset} of {host}, but {elsewhere}")
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
    chosen = _evenly(found)
    why = "" if chosen else f"{host} has no ready endpoints{f' with the labels of subset {subset}' if subset else ''}"
    why += f" on node {here} (internalTrafficPolicy Local)" if why and here else ""
    return Picked(all=tuple(found), chosen=chosen, why=why, policy="the EndpointSlices")


def _entry_hosts(
    scene: Scene,
    station: Station,
    host: str,
    number: int,
    labels: tuple[tuple[str, str], ...],
    address: str,
    port: int,
) -> Picked:
    entry = registry.entry_of(scene, station, host, number)
    if entry is None:
        if elsewhere := unrecorded.of_host(scene, station, host):
            return Picked(undecided=f"no recorded object is {host} with port {number}, but {elsewhere}")
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
        chosen = _evenly(found)
        why = "" if chosen else f"no ready pod fits the workloadSelector of {entry.meta}"
        return Picked(all=tuple(found), chosen=chosen, why=why)
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
    return Picked(all=tuple(found), chosen=_evenly(found), why=why, policy="STATIC")


def _evenly(hosts: Sequence[Host]) -> tuple[Host, ...]:
    """Those of the hosts that are healthy, each with the same chance."""
    good = [h for h in hosts if h.health == "healthy"]
    return tuple(replace(h, probability=1 / len(good)) for h in good)


def _by_address(scene: Scene, service: Service, address: str) -> str:
    """The pod of an endpoint that names none: that of its address, in the Service's namespace (istiod, ``getPod``)."""
    pod = scene.pod_at(address)
    return _key(pod) if pod is not None and pod.namespace == service.namespace else ""


def _has_labels(scene: Scene, key: str, labels: tuple[tuple[str, str], ...]) -> bool:
    pod = scene.pod_named(key)
    return not labels or (pod is not None and all(pod.labels.get(name) == value for name, value in labels))


def _key(pod: Pod | None) -> str:
    return f"{pod.namespace}/{pod.name}" if pod is not None else ""

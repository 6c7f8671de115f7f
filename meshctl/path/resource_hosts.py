"""The hosts of a cluster from EndpointSlices and ServiceEntries, where the proxy's own were not recorded."""

from collections.abc import Sequence
from dataclasses import replace

from meshctl.istio.destination_rule import DestinationRule
from meshctl.istio.resource import Labels
from meshctl.kube.pods import Pod
from meshctl.kube.services import Endpoint, Service
from meshctl.path import localities, registry, unrecorded
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
    if rule is not None and (odd := _unlike(rule, subset)):
        return Picked(undecided=f"{rule.meta} has {odd}, which is not modelled without the proxy's configuration")
    labels = found.labels if rule and subset and (found := rule.subset(subset)) else ()
    service = registry.service_of(scene, host)
    if service is None:
        return _entry_hosts(scene, station, rule, cluster, labels, address, port)
    entry = service.port(int(number))
    if entry is None:
        return Picked(
            why=f"Service {service.name} has no port {number}, so the proxy has no cluster {cluster}", flag="NC"
        )
    for policy in scene.told.api.backends:
        if policy.asks(service.namespace, service.name, entry.name):
            return Picked(
                undecided=f"{policy.meta} asks for TLS to it, which is not modelled without the configuration"
            )
    if service.headless:
        return _as_asked(scene, address, port)
    return _service_hosts(scene, station, rule, service, int(number), subset, labels)


def _unlike(rule: DestinationRule, subset: str) -> str:
    """What a rule asks of connections that changes where their bytes go, or how they begin; empty for nothing."""
    part = rule.subset(subset) if subset else None
    said = (*rule.policy.also, *(part.policy.also if part is not None and part.policy is not None else ()))
    return next((key for key in said if key in ("tunnel", "proxyProtocol")), "")


def _as_asked(scene: Scene, address: str, port: int) -> Picked:
    """A cluster that connects to where the connection was to."""
    if address in ("", *ANYWHERE):
        return Picked(undecided="the address that the name resolves to is not recorded")
    one = Host(address=address, port=port, pod=_key(scene.pod_at(address)), health="not checked", probability=1.0)
    return Picked(all=(one,), chosen=(one,), policy="the connection's original destination")


def _service_hosts(
    scene: Scene,
    station: Station,
    rule: DestinationRule | None,
    service: Service,
    number: int,
    subset: str,
    labels: tuple[tuple[str, str], ...],
) -> Picked:
    entry, host = service.port(number), service.full_name
    assert entry is not None
    if outside := _machines(scene, service.namespace, service.selector, labels):
        return Picked(undecided=outside)
    here = station.pod.node if service.internal_policy == "Local" else ""
    ends = _one_of_each(station, [e for e in scene.services.endpoints(service) if not here or e.node == here])
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
    shared = localities.shared(scene, station, rule, service, number, subset, _healthy(found))
    if not shared.hosts and not shared.why and not shared.undecided:
        why = f"{host} has no ready endpoints{f' with the labels of subset {subset}' if subset else ''}"
        why += f" on node {here} (internalTrafficPolicy Local)" if here else ""
        if not here and (others := _of_several(station)):
            return Picked(all=tuple(found), undecided=f"{why}, but other clusters of the mesh may have some ({others})")
        return Picked(all=tuple(found), why=why, policy="the EndpointSlices")
    return _of_shared(found, shared, "the EndpointSlices")


def _one_of_each(station: Station, ends: list[Endpoint]) -> list[Endpoint]:
    """The endpoints without the second address of a pod that has one of each family.

    For istiod such a pod is one host, whose addresses Envoy tries in turn (``ISTIO_DUAL_STACK``, 1.16 to 1.30).
    """
    six = ":" in station.pod.ip
    first = {e.pod for e in ends if e.pod and (":" in e.address) is six}
    return [e for e in ends if e.pod not in first or (":" in e.address) is six]


def _of_several(station: Station) -> str:
    """What tells that a pod's cluster is one of several in its mesh; empty for nothing.

    Istio's charts write these only where the installation names a cluster or a network (``global.multiCluster``,
    ``global.network``); a cluster alone is called Kubernetes.
    """
    proxy = station.pod.container("istio-proxy")
    told = (
        {name: proxy.env_value(name) or "" for name in ("ISTIO_META_CLUSTER_ID", "ISTIO_META_NETWORK")} if proxy else {}
    )
    return next((f"{name} is {value}" for name, value in told.items() if value not in ("", "Kubernetes")), "")


def _of_shared(found: Sequence[Host], shared: localities.Shared, policy: str) -> Picked:
    """What comes of it that hosts are shared by where they are."""
    if shared.undecided:
        return Picked(all=tuple(found), undecided=shared.undecided)
    preferred = shared.why if shared.hosts else ""
    return Picked(all=tuple(found), chosen=shared.hosts, why=shared.why, policy=policy, preferred=preferred)


def _entry_hosts(
    scene: Scene,
    station: Station,
    rule: DestinationRule | None,
    cluster: str,
    labels: tuple[tuple[str, str], ...],
    address: str,
    port: int,
) -> Picked:
    _, written_port, subset, host = cluster.split("|", 3)
    number = int(written_port)
    entry = registry.entry_of(scene, station, host, number)
    if entry is None:
        if elsewhere := unrecorded.of_host(scene, station, host):
            return Picked(undecided=f"no recorded object is {host} with port {number}, but {elsewhere}")
        return Picked(why=f"the mesh does not know {host} with port {number}", flag="NC")
    if entry.resolution == "NONE":
        return _as_asked(scene, address, port)
    written = next(p for p in entry.ports if p.number == number)
    if entry.selector:
        if scene.workload_entries() is None:
            return Picked(undecided=f"which WorkloadEntries {entry.meta} selects could not be read")
        if outside := _machines(scene, entry.meta.namespace, entry.selector, labels):
            return Picked(undecided=outside)
        found = [
            Host(address=pod.ip, port=written.target, pod=_key(pod), health="healthy" if pod.ready else "not ready")
            for pod in scene.pods_in(entry.meta.namespace)
            if pod.ip and all(pod.labels.get(name) == value for name, value in (*entry.selector, *labels))
        ]
        shared = localities.shared(scene, station, rule, None, number, subset, _healthy(found))
        if not _healthy(found):
            return Picked(all=tuple(found), why=f"no ready pod fits the workloadSelector of {entry.meta}")
        return _of_shared(found, shared, "the workloadSelector")
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
    if not found:
        why = f"{entry.meta} lists no endpoints{' with the labels of the subset' if labels else ''}"
        return Picked(why=why, policy="STATIC")
    listed = {end.address: end.locality for end in ends}
    shared = localities.shared(scene, station, rule, None, number, subset, found, listed)
    alike = rule is not None and rule.policy.load_balancer == "RANDOM"  # it looks at no weights
    if shared.undecided or alike or len({end.weight for end in ends}) == 1:
        return _of_shared(found, shared, "STATIC")
    if shared.why:
        return Picked(undecided=f"{entry.meta} has endpoints with weights, and {shared.why}: both are not modelled")
    whole = sum(end.weight for end in ends)
    weighed = tuple(replace(one, probability=end.weight / whole) for one, end in zip(found, ends, strict=True))
    return _of_shared(found, replace(shared, hosts=weighed), "STATIC, by weight")


def _machines(scene: Scene, namespace: str, selector: Labels, labels: Labels) -> str:
    """That machines outside of the cluster are among the hosts; empty where none is.

    A Service selects them as a ServiceEntry does (``PILOT_ENABLE_K8S_SELECT_WORKLOAD_ENTRIES``, on since 1.8).
    """
    known = (one for one in scene.workload_entries() or () if one.fits(namespace, selector))
    found = next((one for one in known if not labels or one.fits(namespace, labels)), None)
    return f"{found.meta} is among its hosts: machines outside of the cluster are not modelled" if found else ""


def _healthy(hosts: Sequence[Host]) -> list[Host]:
    return [host for host in hosts if host.health == "healthy"]


def _by_address(scene: Scene, service: Service, address: str) -> str:
    """The pod of an endpoint that names none: that of its address, in the Service's namespace (istiod, ``getPod``)."""
    pod = scene.pod_at(address)
    return _key(pod) if pod is not None and pod.namespace == service.namespace else ""


def _has_labels(scene: Scene, key: str, labels: tuple[tuple[str, str], ...]) -> bool:
    pod = scene.pod_named(key)
    return not labels or (pod is not None and all(pod.labels.get(name) == value for name, value in labels))


def _key(pod: Pod | None) -> str:
    return f"{pod.namespace}/{pod.name}" if pod is not None else ""

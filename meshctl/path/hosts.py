"""The hosts of a cluster: which the proxy may choose, with which chance, and who they are.

The choice itself is ``meshctl.envoy.upstream``'s; here hosts get their pods, and a lack of hosts its reason.
"""

from collections.abc import Iterable
from ipaddress import ip_address

from meshctl.envoy import upstream
from meshctl.envoy.model.basics import Address
from meshctl.envoy.model.clusters import Cluster, Endpoint
from meshctl.frozen import dataclass
from meshctl.kube.services import Service
from meshctl.path import not_running
from meshctl.path.model import Evidence, Hop
from meshctl.path.scene import Scene, Station
from meshctl.words import show_address

ANYWHERE = ("192.0.2.1", "2001:db8::1")
"""Stand for an address that is not known (RFC 5737, RFC 3849), of either family: some place outside of the cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host with its chance (0..1) among the chosen ones; `tunnel`: reached through HBONE, the mesh's tunnel."""

    address: str
    port: int
    pod: str
    health: str
    probability: float = 0.0
    tunnel: bool = False
    endpoint: Endpoint | None = None

    @property
    def shown(self) -> str:
        """``address:port``."""
        return show_address(self.address, self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """All hosts, those that may be chosen, and why there are none; `undecided` says why it cannot be told.

    `preferred` says why some of the healthy ones are chosen before others.
    """

    all: tuple[Host, ...] = ()
    chosen: tuple[Host, ...] = ()
    why: str = ""
    undecided: str = ""
    flag: str = "UH"
    policy: str = ""
    through_server: bool | None = None
    file: str = ""
    path: str = ""
    preferred: str = ""


def pick(
    scene: Scene, station: Station, name: str, address: str, port: int, found: upstream.Upstream | None = None
) -> Picked:
    """The hosts that a cluster may send to; `address`:`port` is the connection's original destination.

    `found` is what the proxy's decision came to already, the route's own criteria and limits taken in.
    """
    assert station.proxy is not None
    unknown = address in ("", *ANYWHERE)
    if found is None or (unknown and found.cluster is not None and found.cluster.type == "ORIGINAL_DST"):
        destination = None if unknown else Address(address, port)
        found = upstream.choose(station.proxy, name, destination=destination, live=station.live)
    cluster = found.cluster
    file, path = (cluster.origin.source, cluster.origin.path) if cluster is not None else ("", "")
    policy = cluster.policy if cluster is not None else ""
    shown = tuple(_host(scene, h.endpoint, h.share) for h in found.hosts)
    odd = next((h.shown for h in shown if not is_address(h.address)), "")
    if odd and found.verdict == "ok":
        return Picked(undecided=f"{name} is reached by {odd}, which is no address", file=file, path=path)
    everyone = (*shown, *unfit(scene, found))
    if found.verdict == "no-cluster":
        why = not_running.cluster(station, name) or f"the proxy has no cluster {name}"
        return Picked(why=why, flag="NC", file=station.proxy.source)
    if found.verdict == "no-host":
        why = _none(scene, name, found.cluster, len(everyone), found.because)
        return Picked(all=everyone, why=why, flag="UH", policy=policy, file=file, path=path)
    if found.verdict in ("overflow", "gives-up", "dropped"):
        why = f"{name}: {found.because}"
        return Picked(all=everyone, why=why, flag=found.flags or "", policy=policy, file=file, path=path)
    if found.verdict == "undecided" and cluster is not None and cluster.type == "ORIGINAL_DST":
        return Picked(undecided="the address that the name resolves to is not recorded", file=file, path=path)
    if found.verdict in ("undecided", "unresolved"):
        because = f"{found.because}, and the answer is not recorded" if found.verdict == "unresolved" else found.because
        through = False if found.verdict == "unresolved" else None
        return Picked(all=everyone, undecided=f"{name}: {because}", through_server=through, file=file, path=path)
    return Picked(all=everyone, chosen=shown, why=found.because, policy=policy, file=file, path=path)


def _host(scene: Scene, endpoint: Endpoint, share: float) -> Host:
    address, port, tunnel = endpoint.address.host, endpoint.address.port, False
    if endpoint.address.kind == "internal":
        inner, _, number = address.rpartition("/")[2].rpartition(":")
        address, port, tunnel = inner.strip("[]"), int(number) if number.isdecimal() else 0, True
    return Host(
        address=address,
        port=port,
        tunnel=tunnel,
        pod=_pod(scene, address),
        health=endpoint.because or endpoint.health if endpoint.health != "healthy" else "healthy",
        probability=share,
        endpoint=endpoint,
    )


def is_address(text: str) -> bool:
    """Whether a text is an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _pod(scene: Scene, address: str) -> str:
    pod = scene.pod_at(address)
    return f"{pod.namespace}/{pod.name}" if pod is not None else scene.endpoint_pod(address)


def _none(scene: Scene, name: str, cluster: Cluster | None, count: int, because: str) -> str:
    if name == "BlackHoleCluster":
        return "BlackHoleCluster has no endpoints on purpose: this destination is not allowed (or not known)"
    if count or cluster is None:
        return f"{name}: {because}"
    if cluster.type in ("STRICT_DNS", "LOGICAL_DNS"):
        return f"{name}: the proxy's own lookup of the name gave no address"
    return lacking(scene, name, cluster=False) or f"{name} has no endpoints"


def lacking(scene: Scene, name: str, *, cluster: bool) -> str:
    """Why a cluster of Istio's naming is not there (`cluster`), or has no endpoints; empty where nothing shows it."""
    if name == "BlackHoleCluster":
        return "the mesh does not know this destination, and outboundTrafficPolicy is REGISTRY_ONLY (BlackHoleCluster)"
    if name.count("|") != 3:
        return ""
    _, port, subset, host = name.split("|")
    rules = [rule for rule in scene.mesh.destination_rules if rule.host == host]
    short, _, rest = host.partition(".")
    service = scene.services.named(short, rest.partition(".")[0])
    defined = [found for rule in rules if (found := rule.subset(subset)) is not None]
    if cluster:
        return _no_cluster(name, subset, bool(defined), service, int(port) if port.isdecimal() else 0)
    if service is not None and not scene.endpoints_gap and not scene.services.endpoints(service):
        return f"Service {short} has no endpoints: no running pod has the labels of its selector"
    if subset:
        labels = ", ".join(f"{key}={value}" for key, value in defined[0].labels) if defined else ""
        words = f"the labels of subset {subset}{f' ({labels})' if labels else ''}"
        ready = [e.pod for e in scene.services.endpoints(service) if e.ready] if service is not None else []
        if fitting := [key for key in ready if defined and _has(scene, key, defined[0].labels)]:
            return f"{fitting[0]} is ready and has {words}, but the proxy has no endpoint in {name}"
        return f"no ready pod of {host} has {words}"
    if service is not None and not scene.endpoints_gap and not any(e.ready for e in scene.services.endpoints(service)):
        return f"no pod behind Service {short} is ready"
    return ""


def _has(scene: Scene, key: str, labels: Iterable[tuple[str, str]]) -> bool:
    pod = scene.pod_named(key)
    return pod is not None and all(pod.labels.get(name) == value for name, value in labels)


def unfit(scene: Scene, found: upstream.Upstream | None) -> tuple[Host, ...]:
    """The hosts of a cluster that get nothing now."""
    return tuple(_host(scene, endpoint, 0.0) for endpoint in found.out) if found is not None else ()


def _no_cluster(name: str, subset: str, defined: bool, service: Service | None, port: int) -> str:
    if subset and not defined:
        return f"no DestinationRule defines subset {subset}, so the proxy has no cluster {name}"
    if service is not None and service.port(port) is None:
        return f"Service {service.name} has no port {port}, so the proxy has no cluster {name}"
    return f"the proxy has no cluster {name}"


def told(host: Host) -> str:
    """A host with its pod, and its health where it is not healthy."""
    return f"{host.shown}{f' {host.pod}' if host.pod else ''}{'' if host.health == 'healthy' else f' ({host.health})'}"


def hop(station: Station, name: str, picked: Picked) -> Hop:
    """The cluster as a station of the path."""
    listed = list(map(told, picked.all))
    facts = tuple(listed[:6]) + ((f"and {len(listed) - 6} more",) if len(listed) > 6 else ())
    facts = (*facts, picked.preferred) if picked.preferred else facts
    found = (Evidence(picked.file, picked.path, name),) if picked.file else ()
    where = "callee" if station.mode == "gateway" else "caller"
    title = f"cluster {name}"
    if picked.undecided:
        return Hop("cluster", where, station.key, title, f"cannot be told: {picked.undecided}", facts, found, "warn")  # type: ignore[arg-type]
    if not picked.chosen:
        return Hop("cluster", where, station.key, title, picked.why, facts, found, "bad")  # type: ignore[arg-type]
    if len(picked.chosen) == 1:
        said = f"endpoint {picked.chosen[0].shown}"
    else:
        said = f"one of {len(picked.chosen)} healthy endpoints, by {picked.policy.lower().replace('_', ' ')}"
    return Hop("cluster", where, station.key, title, said, facts, found)  # type: ignore[arg-type]

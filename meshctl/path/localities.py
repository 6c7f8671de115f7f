"""Which of a cluster's hosts are preferred for where they are, where the proxy's own were not recorded.

Followed is istiod's endpoint builder (``pilot/pkg/networking/core/loadbalancer``, 1.30): with outlierDetection the
caller's own subzone, zone and region come first, with ``distribute`` each locality has its weight, and else all hosts
are alike. All that are ready are healthy, so that Envoy stays with the first priority.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from meshctl.frozen import dataclass
from meshctl.istio.destination_rule import DestinationRule
from meshctl.istio.locality import Balancing, LocalitySetting
from meshctl.kube.pods import Pod
from meshctl.kube.services import Service
from meshctl.path.hosts import Host
from meshctl.path.retries import older
from meshctl.path.scene import Scene, Station

Place = tuple[str, str, str]
"""Region, zone and subzone; empty where there is none."""

_REGION = ("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region")
_ZONE = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")
_SUBZONE, _NODE = ("topology.istio.io/subzone",), ("kubernetes.io/hostname",)
_ALIKE = ("topology.istio.io/network", "topology.istio.io/cluster")
"""Labels that all pods of one cluster have the same value of."""

_BY_DISTRIBUTION = {
    "PreferClose": (_REGION[0], _ZONE[0]),
    "PreferSameZone": (_REGION[0], _ZONE[0]),
    "PreferSameNode": (_REGION[0], _ZONE[0], _SUBZONE[0], _NODE[0]),
}


@dataclass(frozen=True, slots=True)
class Shared:
    """The hosts that may be chosen with their chances, what decides about them, and what leaves it open."""

    hosts: tuple[Host, ...] = ()
    why: str = ""
    undecided: str = ""


def shared(
    scene: Scene,
    station: Station,
    rule: DestinationRule | None,
    service: Service | None,
    port: int,
    subset: str,
    healthy: Sequence[Host],
    listed: Mapping[str, str] | None = None,
) -> Shared:
    """The chances of a cluster's healthy hosts; `listed` are the localities that a ServiceEntry says, by address."""
    even, now = Shared(_evenly(healthy)), _in_force(scene, station, rule, service, port, subset)
    seen = _Seen(scene, station, listed or {})
    if now is None or not healthy or (len(healthy) < 2 and not now.setting.distribute) or seen.one_node(healthy):
        return even
    unknown = next((name for host in healthy if (name := seen.unknown(host))), "") or seen.unknown_caller()
    if unknown:
        why = f"which endpoints are preferred depends on where they are ({now.says}), and {unknown} was not recorded"
        return Shared(undecided=why)
    if now.setting.distribute:
        return _distributed(now.setting, seen, healthy, now.says)
    first = _first([(_priority(now.setting, seen, host), host) for host in healthy])
    if len(first) == len(healthy):
        return even
    return Shared(undecided=now.unsure) if now.unsure else Shared(_evenly(first), f"{now.says}: the nearest come first")


@dataclass(frozen=True, slots=True)
class _InForce:
    """The setting that counts, what says so, and why that is not sure."""

    setting: LocalitySetting
    says: str
    unsure: str = ""


def _in_force(
    scene: Scene, station: Station, rule: DestinationRule | None, service: Service | None, port: int, subset: str
) -> _InForce | None:
    """The setting by which hosts are not alike, None where they are (``GetLocalityLbSetting``, 1.12 to 1.30)."""
    said = rule.balancing_on(port, subset) if rule is not None else Balancing()
    mesh = scene.settings(station).locality
    if rule is not None and said.locality is not None:
        counts = said.locality.enabled is not False and (said.outliers or bool(said.locality.distribute))
        return _InForce(said.locality, f"{rule.meta} has localityLbSetting") if counts else None
    wanted = _distribution(service)
    if wanted in _BY_DISTRIBUTION and not older(station.version, 23):
        says = f"trafficDistribution is {wanted}"
        unsure = (
            f"{says}: whether istiod before 1.27 looks at that is not modelled" if older(station.version, 27) else ""
        )
        return _InForce(LocalitySetting(priority=_BY_DISTRIBUTION[wanted]), says, unsure)
    if mesh.enabled is False or not (said.outliers or mesh.distribute):
        return None
    return _InForce(mesh, f"{rule.meta} has outlierDetection" if rule is not None and said.outliers else "MeshConfig")


def _distribution(service: Service | None) -> str:
    if service is None:
        return ""
    return service.distribution or dict(service.annotations).get("networking.istio.io/traffic-distribution", "")


@dataclass(frozen=True, slots=True)
class _Seen:
    """Where the caller and the hosts are."""

    scene: Scene
    station: Station
    listed: Mapping[str, str]

    def pod_of(self, host: Host) -> Pod | None:
        return self.scene.pod_named(host.pod) if host.pod else None

    def one_node(self, healthy: Iterable[Host]) -> bool:
        """Whether all of them are pods on the caller's node, without a locality of their own."""
        pods = [self.station.pod, *(self.pod_of(host) for host in healthy)]
        return not self.listed and all(
            pod is not None and pod.node == self.station.pod.node and "istio-locality" not in pod.labels for pod in pods
        )

    def unknown(self, host: Host) -> str:
        """What was not recorded of where a host is; empty where that is known."""
        if host.address in self.listed:
            return ""
        pod = self.pod_of(host)
        return self._lacking(pod) if pod is not None else f"the pod of {host.shown}"

    def unknown_caller(self) -> str:
        return self._lacking(self.station.pod)

    def _lacking(self, pod: Pod) -> str:
        known = "istio-locality" in pod.labels or pod.node in self.scene.node_labels
        return "" if known else f"node {pod.node or 'of ' + pod.name}"

    def place(self, host: Host) -> Place:
        if host.address in self.listed:
            return _split(self.listed[host.address])
        pod = self.pod_of(host)
        assert pod is not None  # `unknown` said nothing
        return self.place_of(pod)

    def place_of(self, pod: Pod) -> Place:
        """Source: ``getPodLocality``, 1.30: the pod's own label, else those of its node."""
        if own := pod.labels.get("istio-locality", ""):
            return _split(own if "/" in own else own.replace(".", "/"))
        labels = self.scene.node_labels.get(pod.node, {})
        return _label(labels, _REGION), _label(labels, _ZONE), _label(labels, _SUBZONE)

    def value(self, pod: Pod, label: str) -> str:
        """A label as istiod completes a pod's own by where it runs (``AugmentLabels``)."""
        region, zone, subzone = self.place_of(pod)
        where = {_REGION[0]: region, _ZONE[0]: zone, _SUBZONE[0]: subzone, _NODE[0]: pod.node}
        return where[label] if label in where else "" if label in _ALIKE else pod.labels.get(label, "")


def _label(labels: Mapping[str, str], names: Iterable[str]) -> str:
    return next((labels[name] for name in names if name in labels), "")


def _split(text: str) -> Place:
    region, zone, subzone = (*text.split("/"), "", "")[:3] if text else ("", "", "")
    return region, zone, subzone


def _first(ranked: Sequence[tuple[tuple[int, int], Host]]) -> list[Host]:
    best = min(rank for rank, _ in ranked)
    return [host for rank, host in ranked if rank == best]


def _priority(setting: LocalitySetting, seen: _Seen, host: Host) -> tuple[int, int]:
    """How far a host is: by labels in their order where these are given, else by region, zone and subzone."""
    by_labels = _by_labels(setting.priority, seen, host) if setting.priority else 0
    if setting.priority and not setting.failover:
        return by_labels, 0
    mine, its = seen.place_of(seen.station.pod), seen.place(host)
    same = next((number for number in range(3) if mine[number] != its[number]), 3)
    if same == 0:
        to = next((to for region, to in setting.failover if region == mine[0]), its[0])
        return by_labels, 3 if its[0] == to else 4
    return by_labels, 3 - same


def _by_labels(labels: Sequence[str], seen: _Seen, host: Host) -> int:
    """Source: ``applyFailoverPriorityPerLocality``: the first label that differs counts."""
    pod = seen.pod_of(host)
    for number, text in enumerate(labels):
        label, written, value = text.partition("=")
        mine = value if written else seen.value(seen.station.pod, label)
        if mine != (seen.value(pod, label) if pod is not None else ""):
            return len(labels) - number
    return 0


def _distributed(setting: LocalitySetting, seen: _Seen, healthy: Sequence[Host], says: str) -> Shared:
    """Source: ``applyLocalityWeights``: the first entry for the caller counts; who is in none of it gets nothing."""
    mine = seen.place_of(seen.station.pod)
    shares = next((to for place, to in setting.distribute if _covers(place, mine)), None)
    if shares is None:
        return Shared(_evenly(healthy))
    left = list(healthy)
    chances: list[tuple[Host, float]] = []
    for pattern, weight in shares:
        fitting = [host for host in left if _covers(pattern, seen.place(host))]
        left = [host for host in left if host not in fitting]
        chances += [(host, weight / len(fitting)) for host in fitting]
    total = sum(chance for _, chance in chances)
    if not total:
        return Shared(
            (), f"{says}: distribute leaves no endpoint to callers from {'/'.join(mine).rstrip('/') or 'here'}"
        )
    found = tuple(replace(host, probability=chance / total) for host, chance in chances if chance > 0)
    return Shared(found, f"{says}: distribute weighs the localities")


def _covers(pattern: str, place: Place) -> bool:
    """Source: ``util.LocalityMatch``: what a pattern leaves out fits all."""
    region, zone, subzone = _split(pattern)
    return region in ("*", place[0]) and zone in ("*", "", place[1]) and subzone in ("*", "", place[2])


def _evenly(hosts: Sequence[Host]) -> tuple[Host, ...]:
    return tuple(replace(host, probability=1 / len(hosts)) for host in hosts)

"""What is around the pods that `describe` and `check` tell of: each list of the cluster fetched and read once."""

from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from itertools import chain
from typing import Any

from meshctl.errors import BadInput, NotFound
from meshctl.frozen import dataclass
from meshctl.gather import mesh_settings
from meshctl.injection import release as releases
from meshctl.injection import settings as injection_settings
from meshctl.injection.exposure import Reach
from meshctl.injection.settings import MeshSettings
from meshctl.istio import domain, gateway_api
from meshctl.istio import mesh as istio_mesh
from meshctl.istio.gateway_api import GatewayApi
from meshctl.istio.mesh import Mesh
from meshctl.istio.mesh_config import MeshConfig
from meshctl.istio.resource import Labels, selects
from meshctl.kube import events, namespaces, owners, pods, webhooks
from meshctl.kube import services as kube_services
from meshctl.kube.namespaces import Namespace
from meshctl.kube.owners import Workload
from meshctl.kube.pods import Pod
from meshctl.kube.services import Service
from meshctl.kube.webhooks import Webhook
from meshctl.sources import kinds
from meshctl.sources.control_plane import INJECTOR, MESH
from meshctl.sources.world import Kind, World

Raw = Mapping[str, Any]
_OWNERS = {
    "ReplicaSet": kinds.REPLICA_SETS,
    "Deployment": kinds.DEPLOYMENTS,
    "StatefulSet": kinds.STATEFUL_SETS,
    "DaemonSet": kinds.DAEMON_SETS,
    "Job": kinds.JOBS,
    "CronJob": kinds.CRON_JOBS,
}


@dataclass(slots=True)
class Surroundings:
    """Everything around the pods, fetched once each when it is first asked for."""

    world: World
    _settings: dict[str, MeshSettings] = field(default_factory=dict)
    _lists: dict[tuple[str, str], Sequence[Raw]] = field(default_factory=dict)
    _gaps: dict[str, str] = field(default_factory=dict)
    _broken: set[str] = field(default_factory=set)
    _names: dict[str, frozenset[tuple[str, str]]] = field(default_factory=dict)
    _webhooks: tuple[Webhook, ...] | None = None
    _namespaces: dict[str, Namespace] | None = None
    _selectors: dict[str, dict[tuple[str, str], list[Service]]] = field(default_factory=dict)
    _services: dict[str, tuple[Service, ...]] = field(default_factory=dict)
    _control_planes: tuple[str, ...] | None = None
    _domain: str = ""
    _mesh: Mesh | None = None
    _workloads: dict[tuple[str, str, str], Workload] = field(default_factory=dict)
    _owners: dict[tuple[str, str], dict[owners.Name, Raw]] = field(default_factory=dict)
    _counts: dict[tuple[str, str, Labels], int] = field(default_factory=dict)
    _events: dict[str, dict[str, list[Raw]]] = field(default_factory=dict)
    _api: GatewayApi | None = None
    _reaches: dict[tuple[Labels, int], Reach | None] = field(default_factory=dict)
    _neighbours: dict[str, tuple[Pod, ...]] = field(default_factory=dict)

    def listed(self, kind: Kind, namespace: str) -> Sequence[Raw]:
        """All objects of a kind in a namespace; what could not be looked at is kept as a gap."""
        key = (kind.file_stem, namespace)
        if key not in self._lists:
            found = self.world.objects(kind, namespace or None)
            if not found.recorded:
                self._gaps[kind.plural] = found.gap
                self._broken |= {kind.plural} if found.broken else set()
            self._lists[key] = found.items
        return self._lists[key]

    def names(self, kind: Kind) -> frozenset[tuple[str, str]]:
        """Namespace and name of every object of a kind."""
        if kind.plural not in self._names:
            metadata = (raw.get("metadata") for raw in self.listed(kind, ""))
            found = (m for m in metadata if isinstance(m, Mapping))
            self._names[kind.plural] = frozenset((str(m.get("namespace")), str(m.get("name"))) for m in found)
        return self._names[kind.plural]

    def gap(self, kind: Kind) -> str:
        """Why a kind could not be looked at; empty where it could."""
        return self._gaps.get(kind.plural, "")

    def demand(self, kind: Kind) -> None:
        """Raise where a kind could not be looked at, before something is said not to be there: BadInput or NotFound."""
        if gap := self.gap(kind):
            raise (
                BadInput(gap) if kind.plural in self._broken else NotFound(f"no {kind.plural} can be looked at: {gap}")
            )

    def settings(self, revision: str) -> MeshSettings:
        """The mesh's settings of a revision; those of the default one where the revision has none of its own."""
        if revision not in self._settings:
            maps = (mesh_settings.config_map(self.world, name, revision) for name in (MESH, INJECTOR))
            self._settings[revision] = injection_settings.read(*maps)
        return self._settings[revision]

    def domain(self, namespace: str = "") -> str:
        """The cluster's domain, as istiod is told, else the proxies of a namespace (empty: of those looked at)."""
        if not self._domain:
            places = (
                [namespace] if namespace else [place for stem, place in self._lists if stem == kinds.PODS.file_stem]
            )
            near = (raw for place in places for raw in self.listed(kinds.PODS, place))
            self._domain = domain.of_pods(chain(self._istiods(), near))
        return self._domain

    def webhooks(self) -> tuple[Webhook, ...] | None:
        """All mutating webhooks; None where they could not be looked at."""
        if self._webhooks is None:
            listed = self.listed(kinds.WEBHOOKS, "")
            if self.gap(kinds.WEBHOOKS):
                return None
            self._webhooks = tuple(w for raw in listed for w in webhooks.configuration(raw))
        return self._webhooks

    def namespace(self, name: str) -> Namespace | None:
        """A namespace; None where it could not be looked at."""
        if self._namespaces is None:
            listed = self.listed(kinds.NAMESPACES, "")
            found = (namespaces.namespace(raw, f"{self.world.name}/resources/namespaces.json") for raw in listed)
            self._namespaces = {n.name: n for n in found}
        return self._namespaces.get(name)

    def namespace_names(self) -> tuple[str, ...]:
        """The namespaces that could be looked at."""
        self.namespace("")
        return tuple(sorted(self._namespaces or ()))

    def services(self, namespace: str) -> tuple[Service, ...] | None:
        """The Services of a namespace; None where they could not be looked at."""
        if namespace not in self._services:
            listed = self.listed(kinds.SERVICES, namespace)
            self._services[namespace] = tuple(
                kube_services.service(raw, domain=self.domain(namespace)) for raw in listed
            )
        return None if self.gap(kinds.SERVICES) else self._services[namespace]

    def selecting(self, pod: Pod) -> tuple[Service, ...] | None:
        """The Services that select a pod; None where they could not be looked at."""
        if pod.namespace not in self._selectors:
            found: dict[tuple[str, str], list[Service]] = {}
            for service in self.services(pod.namespace) or ():
                for pair in service.selector[:1]:
                    found.setdefault(pair, []).append(service)
            self._selectors[pod.namespace] = found
        if self.services(pod.namespace) is None:
            return None
        by_pair = self._selectors[pod.namespace]
        close = (service for pair in pod.labels.items() for service in by_pair.get(pair, ()))
        chosen = [service for service in close if service.selects(pod.labels)]
        return tuple(sorted(chosen, key=lambda service: service.name))

    def workload(self, pod: Pod) -> Workload:
        """What made the pod; pods of one owner share the answer."""
        owner = pod.controller
        if owner is None or owner.kind not in _OWNERS:
            return owners.workload(pod, ())
        key = (owner.kind, pod.namespace, owner.name)
        if key not in self._workloads:
            above = {"ReplicaSet": "Deployment", "Job": "CronJob"}.get(owner.kind)
            kinds_above = (owner.kind, above) if above else (owner.kind,)
            known = ChainMap(*(self._named(kind, pod.namespace) for kind in kinds_above))
            self._workloads[key] = owners.workload(pod, known)
        return self._workloads[key]

    def _named(self, kind: str, namespace: str) -> dict[owners.Name, Raw]:
        if (kind, namespace) not in self._owners:
            self._owners[kind, namespace] = owners.by_name(self._typed(kind, namespace))
        return self._owners[kind, namespace]

    def _typed(self, kind: str, namespace: str) -> Iterator[Raw]:
        for raw in self.listed(_OWNERS[kind], namespace):
            yield raw if raw.get("kind") else {"kind": kind, **raw}

    def count(self, service: Service, labels: Labels) -> int:
        """How many pods of a service have labels."""
        key = (service.namespace, service.name, labels)
        if key not in self._counts:
            metadata = (raw.get("metadata") for raw in self.listed(kinds.PODS, service.namespace))
            found = (m.get("labels") or {} for m in metadata if isinstance(m, Mapping))
            self._counts[key] = sum(1 for own in found if service.selects(own) and selects(labels, own))
        return self._counts[key]

    def control_planes(self) -> tuple[str, ...]:
        """The releases of the istiods that run, by their images."""
        if self._control_planes is None:
            images = (c.image for raw in self._istiods() for c in pods.pod(raw).app_containers if c.name == "discovery")
            self._control_planes = tuple(sorted({text for image in images if (text := releases.of_image(image))}))
        return self._control_planes

    def _istiods(self) -> Sequence[Raw]:
        return self.world.objects(kinds.PODS, None, "app=istiod").items

    def mesh(self) -> Mesh | None:
        """The mesh's resources; None where none of their kinds could be looked at."""
        if self._mesh is None:
            kinds_read = {k.plural: self.world.objects(k) for k in kinds.OF_THE_MESH}
            raw = {plural: (found.source, found.items) for plural, found in kinds_read.items() if found.recorded}
            try:
                config = mesh_settings.of_mesh(self.world, self._istiods())
            except BadInput:
                config = MeshConfig()  # said already among the settings' problems
            self._mesh = istio_mesh.read(raw, config, self.domain())
        return self._mesh

    def gateway_api(self) -> GatewayApi:
        """The Gateways and HTTPRoutes of the Gateway API."""
        if self._api is None:
            gateways, routes = self.world.objects(kinds.K8S_GATEWAYS), self.world.objects(kinds.HTTP_ROUTES)
            self._api = GatewayApi(
                tuple(gateway_api.parse_gateway(raw, gateways.source, i) for i, raw in enumerate(gateways.items)),
                tuple(gateway_api.parse_route(raw, routes.source, i) for i, raw in enumerate(routes.items)),
            )
        return self._api

    def reach(self, labels: Labels, port: int) -> Reach | None:
        """Where the gateway pods with labels can be reached from outside; None where they could not be looked at."""
        key = (labels, port)
        if key not in self._reaches:
            self._reaches[key] = self._reach(labels, port)
        return self._reaches[key]

    def _reach(self, labels: Labels, port: int) -> Reach | None:
        pods_here = self.listed(kinds.PODS, "")
        services = self.services("")
        if self.gap(kinds.PODS) or services is None:
            return None
        found = [pods.pod(raw) for raw in pods_here if _labelled(raw, labels)]
        mine = [(s, p) for s in services for p in found if s.namespace == p.namespace and s.selects(p.labels)]
        addresses = tuple(dict.fromkeys(a for s, _ in mine for a in s.external_addresses))
        ports = (o.node_port for s, p in mine for o in s.ports if port in (o.number, p.port_of(o.target, o.protocol)))
        return Reach(len(found), addresses, next(filter(None, ports), None))

    def neighbours(self, namespace: str) -> tuple[Pod, ...]:
        """The pods of a namespace."""
        if namespace not in self._neighbours:
            self._neighbours[namespace] = tuple(map(pods.pod, self.listed(kinds.PODS, namespace)))
        return self._neighbours[namespace]

    def events(self, pod: Pod) -> tuple[events.Event, ...]:
        """The events about a pod."""
        if pod.namespace not in self._events:
            by_name: dict[str, list[Raw]] = {}
            for raw in self.listed(kinds.EVENTS, pod.namespace):
                about = raw.get("involvedObject")
                name = about.get("name") if isinstance(about, Mapping) else None
                by_name.setdefault(str(name), []).append(raw)
            self._events[pod.namespace] = by_name
        return events.about(self._events[pod.namespace].get(pod.name, ()), "Pod", pod.namespace, pod.name)


def _labelled(raw: Raw, labels: Labels) -> bool:
    metadata = raw.get("metadata")
    return isinstance(metadata, Mapping) and selects(labels, metadata.get("labels") or {})

"""What is known about pods for `describe` and `check`: the pod, its surroundings, and the runtime's records."""

from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from meshctl.errors import BadInput, NotFound
from meshctl.frozen import dataclass
from meshctl.injection import release as releases
from meshctl.injection import settings as mesh_settings
from meshctl.injection.description import Subject
from meshctl.injection.exposure import Reach
from meshctl.injection.settings import MeshSettings
from meshctl.injection.timeline import Clues
from meshctl.istio import gateway_api, mesh_config
from meshctl.istio import mesh as istio_mesh
from meshctl.istio.gateway_api import GatewayApi
from meshctl.istio.mesh import Mesh
from meshctl.istio.mesh_config import MeshConfig
from meshctl.istio.resource import Labels, selects
from meshctl.json_text import left_out
from meshctl.kube import events, namespaces, owners, pods, runtime, webhooks
from meshctl.kube import services as kube_services
from meshctl.kube.namespaces import Namespace
from meshctl.kube.owners import Workload
from meshctl.kube.pods import Pod
from meshctl.kube.services import Service, ServicePort
from meshctl.kube.webhooks import Webhook
from meshctl.sources import kinds
from meshctl.sources.world import Kind, World
from meshctl.yaml_text import documents

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
    root: str = ""
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
    _mesh: Mesh | None = None
    _workloads: dict[tuple[str, str, str], Workload] = field(default_factory=dict)
    _owners: dict[tuple[str, str], dict[owners.Name, Raw]] = field(default_factory=dict)
    _counts: dict[tuple[str, str, Labels], int] = field(default_factory=dict)
    _events: dict[str, dict[str, list[Raw]]] = field(default_factory=dict)
    _api: GatewayApi | None = None
    _reaches: dict[tuple[Labels, int], Reach | None] = field(default_factory=dict)
    _neighbours: dict[str, tuple[Pod, ...]] = field(default_factory=dict)

    def root_namespace(self) -> str:
        """The control plane's namespace."""
        if not self.root:
            told = getattr(self.world, "root_namespace", None)
            self.root = (told() if callable(told) else "") or "istio-system"
        return self.root

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
            suffix = f"-{revision}" if revision not in ("", "default") else ""
            read = mesh_settings.read(self._config("istio", suffix), self._config("istio-sidecar-injector", suffix))
            self._settings[revision] = read
        return self._settings[revision]

    def _config(self, name: str, suffix: str) -> Raw | None:
        root = self.root_namespace()
        found = self.world.one(kinds.CONFIG_MAPS, root, f"{name}{suffix}") if suffix else None
        return found or self.world.one(kinds.CONFIG_MAPS, root, name)

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
            self._services[namespace] = tuple(map(kube_services.service, listed))
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
            found = self.world.objects(kinds.PODS, None, "app=istiod")
            images = (c.image for raw in found.items for c in pods.pod(raw).app_containers if c.name == "discovery")
            self._control_planes = tuple(sorted({text for image in images if (text := releases.of_image(image))}))
        return self._control_planes

    def mesh(self) -> Mesh | None:
        """The mesh's resources; None where none of their kinds could be looked at."""
        if self._mesh is None:
            kinds_read = {k.plural: self.world.objects(k) for k in kinds.OF_THE_MESH}
            raw = {plural: (found.source, found.items) for plural, found in kinds_read.items() if found.recorded}
            try:
                config = mesh_config.parse(self._config("istio", ""), "ConfigMap istio")
            except BadInput:
                config = MeshConfig()  # said already among the settings' problems
            self._mesh = istio_mesh.read(raw, config)
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
        metadata = [m for raw in pods_here if isinstance(m := raw.get("metadata"), Mapping)]
        found = [m for m in metadata if selects(labels, m.get("labels") or {})]
        mine = [s for s in services if any(s.namespace == m.get("namespace") and s.selects(m["labels"]) for m in found)]
        addresses = tuple(dict.fromkeys(a for s in mine for a in s.external_addresses))
        fitting = (p for s in mine for p in s.ports if port in (p.number, _target(p)))
        ports = (p.node_port for p in fitting if p.node_port)
        return Reach(len(found), addresses, next(ports, None))

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


def _target(port: ServicePort) -> int | None:
    return int(port.target) if port.target.isdigit() else None


def subject(around: Surroundings, pod: Pod, *, deep: bool = True) -> Subject:
    """Gather what there is about a pod that exists; without `deep` the runtime's records and logs are left out."""
    world = around.world
    revision = pod.annotations.get("istio.io/rev", "")
    gaps: list[str] = []
    clues = _clues(world, pod, gaps) if deep else Clues()
    if deep:
        clues = Clues(
            clues.sandbox, clues.runs, clues.processes, clues.proxy_log, clues.proxy_log_source, around.events(pod)
        )
    found = Subject(
        pod=pod,
        namespace=around.namespace(pod.namespace),
        services=around.selecting(pod),
        mesh_services=around.services("") if _opens_ports(pod) else None,
        webhooks=around.webhooks(),
        settings=around.settings(revision),
        workload=around.workload(pod),
        clues=clues,
        control_planes=around.control_planes(),
        now=world.now(),
    )
    missing = (kinds.NAMESPACES, kinds.SERVICES, kinds.WEBHOOKS, kinds.REPLICA_SETS, kinds.EVENTS)
    gaps += [text for kind in missing if (text := around.gap(kind))]
    return _with_gaps(found, gaps)


def _opens_ports(pod: Pod) -> bool:
    """Whether the proxy opens the services' ports itself, since nothing is captured."""
    return any(c.env_value("ISTIO_META_INTERCEPTION_MODE") == "NONE" for c in pod.containers)


def _with_gaps(found: Subject, gaps: Sequence[str]) -> Subject:
    return replace(found, gaps=tuple(dict.fromkeys(gaps)))


def _clues(world: World, pod: Pod, gaps: list[str]) -> Clues:
    """The runtime's records, the processes and the proxy's log; a part that cannot be read is a gap."""
    names = [f"runtime/{n}" for n in world.part_names(pod.namespace, pod.name, "runtime")]
    wanted = [*names, "netns/processes.json", "logs/istio-proxy.txt"]
    parts = world.parts(pod.namespace, pod.name, wanted)
    sandbox, runs = None, []
    processes: tuple[runtime.Process, ...] = ()
    for name in wanted:
        part = parts.get(name)
        if part is None or part.content is None:
            continue
        if name.startswith("logs/"):
            continue
        raw = left_out(part.content, part.source, gaps)
        if name == "runtime/sandbox.json" and isinstance(raw, Mapping):
            sandbox = runtime.sandbox(raw, name)
        elif name.startswith("runtime/container-") and isinstance(raw, Mapping):
            runs.append(runtime.run(raw, name))
        elif name == "netns/processes.json" and isinstance(raw, list):
            processes = runtime.processes(raw)
    log = parts.get("logs/istio-proxy.txt")
    text = log.content.decode("utf-8", "replace") if log and log.content else ""
    return Clues(sandbox, tuple(runs), processes, text, "logs/istio-proxy.txt")


def manifest(path: str, text: str, namespace: str | None, around: Surroundings | None) -> tuple[Subject, ...]:
    """The pods that a manifest asks for; `around` is the cluster that they would run in, None for none.

    Raises NotFound where the manifest holds no pod and no pod template.
    """
    found = pods.pods_in(documents(text, path), path, namespace or "")
    if not found:
        seen = [d.get("kind") for d in documents(text, path) if isinstance(d, Mapping) and d.get("kind")]
        what = f"it holds {', '.join(map(str, seen))}" if seen else "it holds no Kubernetes object"
        raise NotFound(
            f"{path} has no pod and nothing with a pod template: {what}",
            hint="give a Pod, Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob or a List of them",
        )
    return tuple(_planned(pod, namespace, around) for pod in found)


def _planned(pod: Pod, namespace: str | None, around: Surroundings | None) -> Subject:
    if around is None:
        return Subject(pod=pod)
    place = pod.namespace or namespace or around.world.default_namespace() or "default"
    return Subject(
        pod=pod,
        namespace=around.namespace(place),
        services=around.selecting(replace(pod, namespace=place)),
        webhooks=around.webhooks(),
        settings=around.settings(pod.annotations.get("istio.io/rev", "")),
        control_planes=around.control_planes(),
        now=around.world.now(),
    )


def read_manifest(path: str) -> str:
    """The text of a file, or of standard input for ``-``. Raises BadInput for binary noise, NotFound for no file."""
    import sys

    try:
        content = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"{path}: there is no such file") from error
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not a text file: byte {error.start} is not UTF-8") from error

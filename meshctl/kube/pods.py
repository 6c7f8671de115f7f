"""The slice of a Pod that meshctl reads: parsed once, tolerant of fields that are missing or of the wrong type.

`pod(raw)` reads one Pod object; `pods_in(documents)` finds the pods in a manifest: Pods themselves, and the template
inside a Deployment, StatefulSet, DaemonSet, ReplicaSet, ReplicationController, Job, CronJob, PodTemplate or List.
Facts are those of the Kubernetes API (core/v1 Pod); nothing here knows a mesh.
"""

from collections.abc import Iterable, Mapping
from dataclasses import field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from meshctl.frozen import dataclass
from meshctl.kube.fields import Fields, Flaw, shown
from meshctl.origin import Origin

NOWHERE = Origin("")

ContainerKind: TypeAlias = Literal["init", "sidecar", "app", "ephemeral"]
"""`sidecar` is Kubernetes' own notion: an init container with ``restartPolicy: Always``, which keeps running."""


@dataclass(frozen=True, slots=True)
class Owner:
    """An owner reference; `controller` marks the one that makes and deletes the pod."""

    kind: str
    name: str
    uid: str = ""
    controller: bool = False
    api_version: str = ""


@dataclass(frozen=True, slots=True)
class EnvVar:
    """An environment variable: `value` as written, or None with `source` saying where Kubernetes takes it from.

    `source` reads ``field metadata.name``, ``resource limits.cpu``, ``ConfigMap name key k``, ``Secret name key k`` or
    is empty; `reference` is what it refers to (``metadata.annotations['x']``, the ConfigMap's name).
    """

    name: str
    value: str | None
    source: str = ""
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume mounted into a container."""

    volume: str
    path: str
    read_only: bool = False
    sub_path: str = ""


@dataclass(frozen=True, slots=True)
class Port:
    """A port that the container declares; declaring opens nothing, and not declaring closes nothing."""

    number: int
    name: str = ""
    protocol: str = "TCP"
    host_port: int | None = None


@dataclass(frozen=True, slots=True)
class HttpGet:
    """``httpGet``: `port` is a number or the name of a declared port, as written; `headers` as (name, value)."""

    path: str
    port: str
    scheme: str = "HTTP"
    host: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class TcpSocket:
    """``tcpSocket``: succeeds when a connection opens."""

    port: str
    host: str = ""


@dataclass(frozen=True, slots=True)
class Grpc:
    """``grpc``: the gRPC health protocol."""

    port: str
    service: str = ""


@dataclass(frozen=True, slots=True)
class Exec:
    """``exec``: a command run inside the container."""

    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sleep:
    """``sleep`` (a lifecycle hook of Kubernetes 1.29 and later)."""

    seconds: int


@dataclass(frozen=True, slots=True)
class UnknownAction:
    """A probe or hook of a kind that this version does not know, kept verbatim."""

    text: str


Action: TypeAlias = HttpGet | TcpSocket | Grpc | Exec | Sleep | UnknownAction


@dataclass(frozen=True, slots=True)
class Probe:
    """A startup, readiness or liveness probe; times in seconds, None where the manifest leaves them out."""

    kind: Literal["startup", "readiness", "liveness"]
    action: Action
    initial_delay_s: int | None = None
    period_s: int | None = None
    timeout_s: int | None = None
    failure_threshold: int | None = None
    success_threshold: int | None = None


@dataclass(frozen=True, slots=True)
class Hook:
    """A lifecycle hook: ``postStart`` delays the next container's start, ``preStop`` runs before the stop signal."""

    kind: Literal["postStart", "preStop"]
    action: Action


@dataclass(frozen=True, slots=True)
class Security:
    """The security context of a pod or of one container; None where it is not set."""

    user: int | None = None
    group: int | None = None
    non_root: bool | None = None
    privileged: bool | None = None
    read_only_root: bool | None = None
    escalation: bool | None = None
    added: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    fs_group: int | None = None
    sysctls: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not started yet, or between two tries."""

    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """Running since."""

    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Terminated:
    """Ended."""

    exit_code: int | None = None
    reason: str = ""
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    signal: int | None = None


State: TypeAlias = Waiting | Running | Terminated


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """What the kubelet last said of a container; `state` None where it said nothing.

    `user` is the (uid, gid) that it was started as: Kubernetes 1.31 and newer say so (``user.linux``).
    """

    name: str
    ready: bool = False
    started: bool | None = None
    restarts: int = 0
    state: State | None = None
    last_state: State | None = None
    image: str = ""
    image_id: str = ""
    container_id: str = ""
    user: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container as the pod's specification has it, with its status where there is one."""

    name: str
    kind: ContainerKind
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    mounts: tuple[Mount, ...] = ()
    probes: tuple[Probe, ...] = ()
    hooks: tuple[Hook, ...] = ()
    security: Security = Security()
    requests: tuple[tuple[str, str], ...] = ()
    limits: tuple[tuple[str, str], ...] = ()
    restart_policy: str = ""
    status: ContainerStatus | None = None
    origin: Origin = NOWHERE

    def env_value(self, name: str) -> str | None:
        """The literal value of an environment variable (the last one of that name counts, as for the kubelet)."""
        return next((e.value for e in reversed(self.env) if e.name == name), None)

    def probe(self, kind: str) -> Probe | None:
        """The probe of a kind."""
        return next((p for p in self.probes if p.kind == kind), None)

    def hook(self, kind: str) -> Hook | None:
        """The lifecycle hook of a kind."""
        return next((h for h in self.hooks if h.kind == kind), None)


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume: `kind` is its source's key in the manifest (``emptyDir``, ``configMap``, ``projected``, ...)."""

    name: str
    kind: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    """A pod condition; `status` is ``True``, ``False`` or ``Unknown``."""

    kind: str
    status: str
    reason: str = ""
    message: str = ""
    changed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod, or the pod that a template asks for (`template_of` then names the workload, as ``Deployment/x``).

    `containers` holds all of them in the order init, app, ephemeral, each as the manifest orders them; the properties
    pick by kind. `flaws` are the fields that could not be read. `raw` is the object itself, for comparing and showing.
    """

    name: str
    namespace: str
    uid: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    created_at: datetime | None = None
    deleted_at: datetime | None = None
    owners: tuple[Owner, ...] = ()
    node: str = ""
    service_account: str = ""
    host_network: bool = False
    share_process_namespace: bool = False
    restart_policy: str = ""
    dns_policy: str = ""
    security: Security = Security()
    image_pull_secrets: tuple[str, ...] = ()
    containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    has_status: bool = False
    phase: str = ""
    reason: str = ""
    message: str = ""
    ip: str = ""
    ips: tuple[str, ...] = ()
    host_ip: str = ""
    started_at: datetime | None = None
    conditions: tuple[Condition, ...] = ()
    template_of: str = ""
    parent_labels: Mapping[str, str] = field(default_factory=dict)
    parent_annotations: Mapping[str, str] = field(default_factory=dict)
    flaws: tuple[Flaw, ...] = ()
    origin: Origin = NOWHERE
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def init_containers(self) -> tuple[Container, ...]:
        """Everything under ``initContainers``, sidecars of Kubernetes' own kind included, in start order."""
        return tuple(c for c in self.containers if c.kind in ("init", "sidecar"))

    @property
    def app_containers(self) -> tuple[Container, ...]:
        """Everything under ``containers``."""
        return tuple(c for c in self.containers if c.kind == "app")

    @property
    def ephemeral_containers(self) -> tuple[Container, ...]:
        """Containers that were added to debug the running pod."""
        return tuple(c for c in self.containers if c.kind == "ephemeral")

    def container(self, name: str) -> Container | None:
        """The first container of a name, of whatever kind."""
        return next((c for c in self.containers if c.name == name), None)

    def condition(self, kind: str) -> Condition | None:
        """The condition of a kind (``Ready``, ``Initialized``, ...)."""
        return next((c for c in self.conditions if c.kind == kind), None)

    @property
    def controller(self) -> Owner | None:
        """The owner that manages the pod; the only owner where none is marked as such."""
        marked = next((o for o in self.owners if o.controller), None)
        return marked or (self.owners[0] if len(self.owners) == 1 else None)

    @property
    def ready(self) -> bool | None:
        """The Ready condition; None where the pod has none."""
        condition = self.condition("Ready")
        return None if condition is None else condition.status == "True"


def pod(raw: Mapping[str, Any], source: str = "", path: str = "") -> Pod:
    """Read one Pod object as the API returns it; never raises for its content (see `Pod.flaws`)."""
    return _pod(raw, Origin(source, path=path), default_namespace="")


def pods_in(documents: Iterable[object], source: str, namespace: str = "") -> tuple[Pod, ...]:
    """Every pod and pod template in parsed manifest documents, Lists unpacked, in order.

    `namespace` is used where a document names none. Documents that hold no pod (Services, ...) are skipped.
    """
    found: list[Pod] = []
    for index, document in enumerate(documents):
        _collect(document, Origin(source, path=f"document {index + 1}"), namespace, found)
    return tuple(found)


_TEMPLATE_PATHS: Mapping[str, tuple[str, ...]] = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "DeploymentConfig": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "PodTemplate": ("template",),
}


def template_of(raw: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The pod template inside a workload object; None where the kind has none or it is not a mapping."""
    steps = _TEMPLATE_PATHS.get(str(raw.get("kind", "")), ("spec", "template"))
    inner: Any = raw
    for step in steps:
        inner = inner.get(step) if isinstance(inner, Mapping) else None
    if not isinstance(inner, Mapping):
        return None
    if raw.get("kind") not in _TEMPLATE_PATHS and not _looks_like_pod(inner):
        return None
    return inner


def template_pod(raw: Mapping[str, Any], source: str = "", namespace: str = "", path: str = "") -> Pod | None:
    """The pod that a workload's template asks for, named as the workload; None where it has no template."""
    template = template_of(raw)
    if template is None:
        return None
    flaws: list[Flaw] = []
    meta = Fields(raw.get("metadata"), "metadata", flaws)
    workload = f"{raw.get('kind') or 'workload'}/{meta.text('name') or meta.text('generateName')}"
    return _pod(template, Origin(source, path=path), default_namespace=namespace, parent=meta, workload=workload)


def _collect(document: object, origin: Origin, namespace: str, found: list[Pod]) -> None:
    if not isinstance(document, Mapping):
        if isinstance(document, list):
            for item in document:
                _collect(item, origin, namespace, found)
        return
    kind = str(document.get("kind") or "")
    items = document.get("items")
    if isinstance(items, list) and (kind.endswith("List") or not kind):
        for index, item in enumerate(items):
            if isinstance(item, Mapping) and not item.get("kind") and kind.endswith("List") and kind != "List":
                item = {"kind": kind.removesuffix("List"), **item}
            _collect(item, Origin(origin.source, path=f"{origin.path} items[{index}]"), namespace, found)
    elif kind == "Pod" or (not kind and _looks_like_pod(document)):
        found.append(_pod(document, origin, default_namespace=namespace))
    else:
        inner = template_pod(document, origin.source, namespace, origin.path)
        if inner is not None:
            found.append(inner)


def _looks_like_pod(raw: Mapping[str, Any]) -> bool:
    spec = raw.get("spec")
    return isinstance(spec, Mapping) and "containers" in spec


def _pod(
    raw: Mapping[str, Any],
    origin: Origin,
    *,
    default_namespace: str,
    parent: Fields | None = None,
    workload: str = "",
) -> Pod:
    flaws: list[Flaw] = parent.flaws if parent else []
    top = Fields(raw, "", flaws)
    meta, spec, status = top.below("metadata"), top.below("spec"), top.below("status")
    statuses = _statuses(status)
    own_name = meta.text("name") or meta.text("generateName")
    parent_name = parent.text("name") or parent.text("generateName") if parent else ""
    parent_namespace = parent.text("namespace") if parent else ""
    return Pod(
        name=parent_name or own_name,
        namespace=parent_namespace or meta.text("namespace") or default_namespace,
        uid=meta.text("uid"),
        labels=meta.strings("labels"),
        annotations=meta.strings("annotations"),
        created_at=meta.time("creationTimestamp"),
        deleted_at=meta.time("deletionTimestamp"),
        owners=tuple(map(_owner, meta.each("ownerReferences"))),
        node=spec.text("nodeName"),
        service_account=spec.text("serviceAccountName") or spec.text("serviceAccount"),
        host_network=bool(spec.flag("hostNetwork")),
        share_process_namespace=bool(spec.flag("shareProcessNamespace")),
        restart_policy=spec.text("restartPolicy"),
        dns_policy=spec.text("dnsPolicy"),
        security=_security(spec.below("securityContext")),
        image_pull_secrets=tuple(s.text("name") for s in spec.each("imagePullSecrets")),
        containers=_containers(spec, statuses, origin.source),
        volumes=tuple(map(_volume, spec.each("volumes"))),
        has_status=bool(status.raw),
        phase=status.text("phase"),
        reason=status.text("reason"),
        message=status.text("message"),
        ip=status.text("podIP"),
        ips=tuple(i.text("ip") for i in status.each("podIPs")),
        host_ip=status.text("hostIP"),
        started_at=status.time("startTime"),
        conditions=tuple(map(_condition, status.each("conditions"))),
        template_of=workload,
        parent_labels=parent.strings("labels") if parent else {},
        parent_annotations=parent.strings("annotations") if parent else {},
        flaws=tuple(flaws),
        origin=origin,
        raw=raw,
    )


def _owner(ref: Fields) -> Owner:
    return Owner(
        ref.text("kind"), ref.text("name"), ref.text("uid"), bool(ref.flag("controller")), ref.text("apiVersion")
    )


_LISTS: tuple[tuple[str, str, ContainerKind], ...] = (
    ("initContainers", "initContainerStatuses", "init"),
    ("containers", "containerStatuses", "app"),
    ("ephemeralContainers", "ephemeralContainerStatuses", "ephemeral"),
)


def _statuses(status: Fields) -> dict[tuple[str, str], ContainerStatus]:
    return {
        (kind, entry.text("name")): _container_status(entry) for _, key, kind in _LISTS for entry in status.each(key)
    }


def _containers(
    spec: Fields, statuses: Mapping[tuple[str, str], ContainerStatus], source: str
) -> tuple[Container, ...]:
    found: list[Container] = []
    for key, _, kind in _LISTS:
        for entry in spec.each(key):
            status = statuses.get((kind, entry.text("name")))
            found.append(_container(entry, kind, status, source))
    return tuple(found)


def _container(raw: Fields, kind: ContainerKind, status: ContainerStatus | None, source: str) -> Container:
    restart = raw.text("restartPolicy")
    resources = raw.below("resources")
    return Container(
        name=raw.text("name"),
        kind="sidecar" if kind == "init" and restart == "Always" else kind,
        image=raw.text("image"),
        command=raw.texts("command"),
        args=raw.texts("args"),
        env=tuple(map(_env, raw.each("env"))),
        env_from=tuple(map(_env_from, raw.each("envFrom"))),
        ports=tuple(p for p in map(_port, raw.each("ports")) if p is not None),
        mounts=tuple(map(_mount, raw.each("volumeMounts"))),
        probes=_probes(raw),
        hooks=_hooks(raw.below("lifecycle")),
        security=_security(raw.below("securityContext")),
        requests=_quantities(resources.below("requests")),
        limits=_quantities(resources.below("limits")),
        restart_policy=restart,
        status=status,
        origin=Origin(source, path=raw.path),
    )


def _quantities(raw: Fields) -> tuple[tuple[str, str], ...]:
    return tuple((str(name), shown(value)) for name, value in raw.raw.items())


def _env(raw: Fields) -> EnvVar:
    name = raw.text("name")
    origin = raw.below("valueFrom") if "valueFrom" in raw.raw else None
    if origin is None or not origin.raw:
        value = raw.raw.get("value")
        if value is not None and not isinstance(value, str):
            raw.wrong(raw.at("value"), "a string", value)
            return EnvVar(name, shown(value))
        return EnvVar(name, value or "")
    if origin.has("fieldRef"):
        path = origin.below("fieldRef").text("fieldPath")
        return EnvVar(name, None, f"field {path}", path)
    if origin.has("resourceFieldRef"):
        ref = origin.below("resourceFieldRef")
        return EnvVar(name, None, f"resource {ref.text('resource')}", ref.text("resource"))
    for key, label in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        if origin.has(key):
            ref = origin.below(key)
            return EnvVar(name, None, f"{label} {ref.text('name')} key {ref.text('key')}", ref.text("name"))
    return EnvVar(name, None, shown(origin.raw))


def _env_from(raw: Fields) -> str:
    for key, label in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
        if raw.has(key):
            return f"{label} {raw.below(key).text('name')}"
    return shown(raw.raw)


def _port(raw: Fields) -> Port | None:
    number = raw.number("containerPort")
    if number is None:
        return None
    return Port(number, raw.text("name"), raw.text("protocol") or "TCP", raw.number("hostPort"))


def _mount(raw: Fields) -> Mount:
    sub_path = raw.text("subPath") or raw.text("subPathExpr")
    return Mount(raw.text("name"), raw.text("mountPath"), bool(raw.flag("readOnly")), sub_path)


_PROBES: tuple[tuple[str, Literal["startup", "readiness", "liveness"]], ...] = (
    ("startupProbe", "startup"),
    ("readinessProbe", "readiness"),
    ("livenessProbe", "liveness"),
)


def _probes(container: Fields) -> tuple[Probe, ...]:
    found = []
    for key, kind in _PROBES:
        raw = container.below(key)
        if raw.raw:
            found.append(
                Probe(
                    kind,
                    _action(raw),
                    raw.number("initialDelaySeconds"),
                    raw.number("periodSeconds"),
                    raw.number("timeoutSeconds"),
                    raw.number("failureThreshold"),
                    raw.number("successThreshold"),
                )
            )
    return tuple(found)


def _hooks(lifecycle: Fields) -> tuple[Hook, ...]:
    found: list[Hook] = []
    if lifecycle.below("postStart").raw:
        found.append(Hook("postStart", _action(lifecycle.below("postStart"))))
    if lifecycle.below("preStop").raw:
        found.append(Hook("preStop", _action(lifecycle.below("preStop"))))
    return tuple(found)


def _action(raw: Fields) -> Action:
    if raw.has("httpGet"):
        get = raw.below("httpGet")
        headers = tuple((h.text("name"), h.text("value")) for h in get.each("httpHeaders"))
        return HttpGet(
            get.text("path") or "/", _port_text(get, "port"), get.text("scheme") or "HTTP", get.text("host"), headers
        )
    if raw.has("tcpSocket"):
        return TcpSocket(_port_text(raw.below("tcpSocket"), "port"), raw.below("tcpSocket").text("host"))
    if raw.has("grpc"):
        return Grpc(_port_text(raw.below("grpc"), "port"), raw.below("grpc").text("service"))
    if raw.has("exec"):
        return Exec(raw.below("exec").texts("command"))
    if raw.has("sleep"):
        return Sleep(raw.below("sleep").number("seconds") or 0)
    return UnknownAction(shown(raw.raw))


def _port_text(raw: Fields, key: str) -> str:
    value = raw.raw.get(key)
    if isinstance(value, str) or type(value) is int:
        return str(value)
    if value is not None:
        raw.wrong(raw.at(key), "a port number or name", value)
    return ""


def _security(raw: Fields) -> Security:
    if not raw.raw:
        return Security()
    capabilities = raw.below("capabilities")
    return Security(
        user=raw.number("runAsUser"),
        group=raw.number("runAsGroup"),
        non_root=raw.flag("runAsNonRoot"),
        privileged=raw.flag("privileged"),
        read_only_root=raw.flag("readOnlyRootFilesystem"),
        escalation=raw.flag("allowPrivilegeEscalation"),
        added=capabilities.texts("add"),
        dropped=capabilities.texts("drop"),
        fs_group=raw.number("fsGroup"),
        sysctls=tuple((s.text("name"), s.text("value")) for s in raw.each("sysctls")),
    )


def _volume(raw: Fields) -> Volume:
    kind = next((str(key) for key in raw.raw if key != "name"), "emptyDir")
    detail = raw.raw.get(kind)
    return Volume(raw.text("name"), kind, shown(detail) if detail else "")


def _condition(raw: Fields) -> Condition:
    return Condition(
        raw.text("type"), raw.text("status"), raw.text("reason"), raw.text("message"), raw.time("lastTransitionTime")
    )


def _container_status(raw: Fields) -> ContainerStatus:
    return ContainerStatus(
        name=raw.text("name"),
        ready=bool(raw.flag("ready")),
        started=raw.flag("started"),
        restarts=raw.number("restartCount") or 0,
        state=_state(raw.below("state")),
        last_state=_state(raw.below("lastState")),
        image=raw.text("image"),
        image_id=raw.text("imageID"),
        container_id=raw.text("containerID"),
        user=_user(raw.below("user").below("linux")) if raw.has("user") else None,
    )


def _user(raw: Fields) -> tuple[int, int] | None:
    uid, gid = raw.number("uid"), raw.number("gid")
    return (uid, gid) if uid is not None and gid is not None else None


def _state(raw: Fields) -> State | None:
    if raw.has("running"):
        return Running(raw.below("running").time("startedAt"))
    if raw.has("terminated"):
        ended = raw.below("terminated")
        return Terminated(
            ended.number("exitCode"),
            ended.text("reason"),
            ended.text("message"),
            ended.time("startedAt"),
            ended.time("finishedAt"),
            ended.number("signal"),
        )
    if raw.has("waiting"):
        return Waiting(raw.below("waiting").text("reason"), raw.below("waiting").text("message"))
    return None

"""The containers of a pod as its specification has them, with what the kubelet said of each.

Facts are those of the Kubernetes API (core/v1 Container); nothing here knows a mesh.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, TypeAlias

from meshctl.frozen import dataclass
from meshctl.kube.fields import Fields, shown
from meshctl.origin import NOWHERE, Origin

ContainerKind: TypeAlias = Literal["init", "sidecar", "app", "ephemeral"]
"""`sidecar` is Kubernetes' own notion: an init container with ``restartPolicy: Always``, which keeps running."""


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


_LISTS: tuple[tuple[str, str, ContainerKind], ...] = (
    ("initContainers", "initContainerStatuses", "init"),
    ("containers", "containerStatuses", "app"),
    ("ephemeralContainers", "ephemeralContainerStatuses", "ephemeral"),
)


def statuses(status: Fields) -> dict[tuple[str, str], ContainerStatus]:
    """What the kubelet said of each container, by kind (init, app, ephemeral) and name."""
    return {
        (kind, entry.text("name")): _container_status(entry) for _, key, kind in _LISTS for entry in status.each(key)
    }


def containers(spec: Fields, told: Mapping[tuple[str, str], ContainerStatus], source: str) -> tuple[Container, ...]:
    """All containers of a pod's specification in the order init, app, ephemeral."""
    found: list[Container] = []
    for key, _, kind in _LISTS:
        for entry in spec.each(key):
            status = told.get((kind, entry.text("name")))
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
        security=security_of(raw.below("securityContext")),
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


def security_of(raw: Fields) -> Security:
    """The security context of a pod or a container."""
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

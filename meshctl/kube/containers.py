"""The containers of a pod as its specification has them, with what the kubelet said of each.

Facts are those of the Kubernetes API (core/v1 Container); nothing here knows a mesh.
"""

from datetime import datetime
from typing import Literal, TypeAlias

from meshctl.frozen import dataclass
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
    host_ip: str = ""


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
    ports: tuple[Port, ...] = ()
    mounts: tuple[Mount, ...] = ()
    probes: tuple[Probe, ...] = ()
    hooks: tuple[Hook, ...] = ()
    security: Security = Security()
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

"""What the commands about nodes, access and recordings found: plain nouns between the sources and the views."""

from dataclasses import field
from typing import Literal, TypeAlias

from meshctl.frozen import dataclass

Grade: TypeAlias = Literal["good", "warn", "bad", "skip"]


@dataclass(frozen=True, slots=True)
class RunningProcess:
    """A process of a pod; `role` is pilot-agent, envoy, pause, ztunnel or app; `started_at` as ISO 8601."""

    pid: int
    command: str
    uid: int
    role: str
    started_at: str
    container: str


@dataclass(frozen=True, slots=True)
class NodeContainer:
    """A container as the runtime knows it; `namespace` is its network namespace, empty where it does not run."""

    name: str
    id: str
    pid: int
    state: str
    attempt: int
    image: str
    started_at: str
    found_by: str
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class NodePod:
    """A pod on this node; `entered_by` names the container whose PID leads into its network namespace."""

    name: str
    namespace: str
    uid: str
    runtime: str
    host_network: bool
    containers: tuple[NodeContainer, ...] = ()
    processes: tuple[RunningProcess, ...] = ()
    network_namespace: str = ""
    entered_by: str = ""
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class NodePods:
    """What was found on this node, and the ways that were asked in vain."""

    host: str
    way: str
    pods: tuple[NodePod, ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Probe:
    """One thing that the doctor looked at; `fix` says what to do where it is not good."""

    area: str
    what: str
    grade: Grade
    text: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """All probes, and what can be done from here."""

    probes: tuple[Probe, ...]
    ways: tuple[tuple[str, bool, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RecordedPod:
    """What a recording has of one pod: folder -> number of files."""

    namespace: str
    name: str
    parts: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a recording."""

    name: str
    captured_at: str
    namespaces: tuple[str, ...]
    versions: tuple[tuple[str, str], ...]
    resources: tuple[tuple[str, int], ...]
    pods: tuple[RecordedPod, ...]
    nodes: tuple[str, ...]
    redactions: tuple[tuple[str, str], ...] = ()
    left_out: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two recordings; `area` is pods, rules, proxy, mesh or resources."""

    area: str
    subject: str
    kind: Literal["added", "removed", "changed"]
    details: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Changes:
    """All differences between two recordings, and what could not be compared."""

    before: str
    after: str
    changes: tuple[Change, ...]
    gaps: tuple[str, ...] = ()

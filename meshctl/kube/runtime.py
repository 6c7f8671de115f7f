"""What the container runtime knows of a pod: CRI's inspect output, and the processes in the pod's network namespace.

Fields of ``crictl inspect`` / ``inspectp`` (cri-api v1 ContainerStatus, PodSandboxStatus); times to the nanosecond,
where Kubernetes' own statuses have whole seconds.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from meshctl.frozen import dataclass
from meshctl.kube.fields import Fields, Flaw


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The pod's sandbox: its network namespace and the pause process that holds it (`pid` 0 where there is none)."""

    id: str
    created_at: datetime | None
    pid: int
    attempt: int = 0
    source: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a container; `attempt` counts from 0."""

    container: str
    attempt: int
    id: str
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    exit_code: int | None
    reason: str
    message: str
    sandbox_id: str = ""
    pid: int = 0
    source: str = ""


@dataclass(frozen=True, slots=True)
class Process:
    """A process in the pod's network namespace; `start_ticks` since the node's boot, in hundredths of a second."""

    pid: int
    command: tuple[str, ...]
    uid: str
    container_id: str
    start_ticks: int | None

    @property
    def name(self) -> str:
        """The program's file name."""
        return self.command[0].rpartition("/")[2] if self.command else f"process {self.pid}"


def sandbox(raw: Mapping[str, Any], source: str = "") -> Sandbox:
    """Read ``crictl inspectp``."""
    flaws: list[Flaw] = []
    top = Fields(raw, "", flaws)
    status, info = top.below("status"), top.below("info")
    return Sandbox(
        status.text("id"),
        status.time("createdAt"),
        info.number("pid") or 0,
        status.below("metadata").number("attempt") or 0,
        source,
    )


def run(raw: Mapping[str, Any], source: str = "") -> Run:
    """Read ``crictl inspect``."""
    flaws: list[Flaw] = []
    top = Fields(raw, "", flaws)
    status, info = top.below("status"), top.below("info")
    finished = status.time("finishedAt")
    return Run(
        container=status.below("metadata").text("name"),
        attempt=status.below("metadata").number("attempt") or 0,
        id=status.text("id"),
        created_at=status.time("createdAt"),
        started_at=status.time("startedAt"),
        finished_at=finished,
        exit_code=status.number("exitCode") if finished else None,
        reason=status.text("reason"),
        message=status.text("message"),
        sandbox_id=info.text("sandboxID"),
        pid=info.number("pid") or 0,
        source=source,
    )


def processes(raw: Iterable[Any]) -> tuple[Process, ...]:
    """Read ``netns/processes.json``: pid, cmdline, cgroup, uid and starttime_ticks (field 22 of /proc/PID/stat)."""
    flaws: list[Flaw] = []
    found = []
    for entry in raw:
        if not isinstance(entry, Mapping):
            continue
        fields = Fields(entry, "", flaws)
        pid = fields.number("pid")
        if pid is None:
            continue
        uid = entry.get("uid")
        found.append(
            Process(
                pid,
                fields.texts("cmdline"),
                str(uid) if uid is not None else "",
                container_id(fields.text("cgroup")),
                fields.number("starttime_ticks"),
            )
        )
    return tuple(found)


def container_id(cgroup: str) -> str:
    """The container's id in a process's cgroup file; empty where none is there (``/proc/PID/cgroup``, cgroups(7)).

    The last path component, without a runtime's prefix (``cri-containerd-``) and ``.scope``, or after a colon.
    """
    for line in reversed(cgroup.strip().splitlines()):
        last = line.rpartition("/")[2].removesuffix(".scope").rpartition(":")[2].rpartition("-")[2]
        if len(last) == 64 and all(c in "0123456789abcdef" for c in last):
            return last
    return ""

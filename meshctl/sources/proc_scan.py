"""Processes, their network namespaces and their cgroups, read from /proc."""

import json
import os
import re
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from meshctl.frozen import dataclass

PROC = Path("/proc")


class NamespaceId(NamedTuple):
    """What makes a namespace itself: the inode alone repeats on another nsfs."""

    device: int
    inode: int

    def __str__(self) -> str:
        return f"net:[{self.inode}]"


@dataclass(frozen=True, slots=True)
class Process:
    """One process as /proc shows it; `started_ticks` in clock ticks since boot (proc(5), stat field 22)."""

    pid: int
    cmdline: tuple[str, ...]
    cgroup: str
    uid: int
    started_ticks: int
    namespace: NamespaceId | None


@dataclass(frozen=True, slots=True)
class CgroupOwner:
    """Whose a cgroup is: a pod's uid (dashes, lower case; empty where the path has none) and a container's id."""

    pod_uid: str
    container_id: str


@cache
def _pod_uid() -> re.Pattern[str]:
    # A pod's uid is a UUID; of a static pod it is the 32 digits of its manifest's hash.
    return re.compile(
        r"pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}|[0-9a-f]{32})(?![0-9a-f])"
    )


@cache
def _container_id() -> re.Pattern[str]:
    return re.compile(r"(?:^|[/:-])([0-9a-f]{64})(?:\.scope)?(?=/|$)")


def cgroup_owner(text: str) -> CgroupOwner | None:
    """Tell the pod and the container from the text of ``/proc/PID/cgroup``, or None where it does not say.

    Every line (one a controller in v1, a single ``0::`` in v2) is read for itself and those that say something must
    agree. Paths of both drivers, the colon form, nested nodes (kind, minikube) and the view from inside a cgroup
    namespace are understood; shapes from istio 1.30 cni/pkg/nodeagent/podcgroupns_linux.go.
    """
    owners = {owner for line in text.splitlines() if (owner := _line_owner(line))}
    uids = {owner.pod_uid for owner in owners} - {""}
    containers = {owner.container_id for owner in owners} - {""}
    if not owners or len(uids) > 1 or len(containers) > 1:
        return None
    return CgroupOwner("".join(uids), "".join(containers))


def _line_owner(line: str) -> CgroupOwner | None:
    fields = line.split(":", 2)
    if len(fields) != 3:
        return None
    path = fields[2]
    uids = list(_pod_uid().finditer(path))
    # A node that is itself a container has its own id further left: the innermost pod counts, and what follows it.
    rest = path[uids[-1].end() :] if uids else path
    containers = _container_id().findall(rest)
    uid = uids[-1].group(1).replace("_", "-") if uids else ""
    if not uid and not (containers and _names_a_runtime(path)):
        return None
    # Below a pod the first id is the container's own (what runs inside it may be a runtime again); else the innermost.
    return CgroupOwner(uid, containers[0 if uid else -1] if containers else "")


def _names_a_runtime(path: str) -> bool:
    return any(mark in path for mark in ("/docker-", "/docker/", "/cri-containerd-", "/crio-", "/libpod-"))


def started_ticks(stat_text: str) -> int:
    """The start time of ``/proc/PID/stat``; a command's name may hold spaces and parentheses, so count from its end."""
    return int(stat_text[stat_text.rindex(")") + 2 :].split()[19])


def namespace_of(pid: int | str, proc: Path = PROC) -> NamespaceId:
    """The network namespace of a process; OSError where it is gone or must not be looked at."""
    found = (proc / str(pid) / "ns" / "net").stat()
    return NamespaceId(found.st_dev, found.st_ino)


def host_namespaces(proc: Path = PROC) -> dict[NamespaceId, str]:
    """The namespaces that are not a pod's: that of process 1, and the one that meshctl itself runs in."""
    hosts: dict[NamespaceId, str] = {}
    for pid, whose in (("self", "meshctl's own"), ("1", "the node's")):
        try:
            hosts[namespace_of(pid, proc)] = whose
        except OSError:
            continue
    return hosts


def read_process(pid: int, proc: Path = PROC) -> Process | None:
    """One process, or None where it went away meanwhile."""
    folder = proc / str(pid)
    try:
        cmdline = (folder / "cmdline").read_bytes()
        cgroup = (folder / "cgroup").read_text(errors="replace")
        ticks = started_ticks((folder / "stat").read_text(errors="replace"))
        uid = folder.stat().st_uid
    except (OSError, ValueError, IndexError):
        return None
    try:
        namespace = namespace_of(pid, proc)
    except OSError:
        namespace = None
    words = tuple(cmdline.decode(errors="replace").rstrip("\0").split("\0")) if cmdline else ()
    return Process(pid, words, cgroup, uid, ticks, namespace)


def processes(proc: Path = PROC) -> Iterator[Process]:
    """Every process that can be looked at, by PID; kernel threads (no command line) are left out."""
    for pid in sorted(int(entry.name) for entry in proc.iterdir() if entry.name.isdigit()):
        found = read_process(pid, proc)
        if found and found.cmdline:
            yield found


def processes_in(namespace: NamespaceId, proc: Path = PROC) -> tuple[Process, ...]:
    """The processes that live in one network namespace, the oldest first."""
    inside = []
    for entry in proc.iterdir():
        # The namespace first: it is one stat, and on a busy node nearly every process fails it.
        if entry.name.isdigit() and _lives_in(entry.name, namespace, proc):
            found = read_process(int(entry.name), proc)
            if found and found.namespace == namespace:
                inside.append(found)
    return tuple(sorted(inside, key=lambda process: (process.started_ticks, process.pid)))


def _lives_in(pid: str, namespace: NamespaceId, proc: Path) -> bool:
    try:
        return namespace_of(pid, proc) == namespace
    except OSError:
        return False


def processes_json(found: tuple[Process, ...]) -> bytes:
    """The snapshot format's ``netns/processes.json``."""
    rows = [
        {
            "pid": process.pid,
            "cmdline": list(process.cmdline),
            "cgroup": process.cgroup.rstrip("\n"),
            "uid": str(process.uid),
            "starttime_ticks": process.started_ticks,
        }
        for process in found
    ]
    return (json.dumps(rows, indent=1) + "\n").encode()


def read_inside(pid: int, path: tuple[str, ...], proc: Path = PROC, limit: int = 1 << 16) -> bytes | None:
    """A small regular file as the process sees it; None where it is not there, or no longer.

    The file belongs to the container: no step follows a link (one to ``/etc/shadow`` would be read on the node).
    """
    directory = os.O_PATH | os.O_DIRECTORY
    try:
        at = os.open(proc / str(pid) / "root", directory)
    except OSError:
        return None
    try:
        for name in path[:-1]:
            below = os.open(name, directory | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = below
        found = os.open(path[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
    except OSError:
        return None
    finally:
        os.close(at)
    with os.fdopen(found, "rb") as file:
        return file.read(limit) if stat.S_ISREG(os.fstat(found).st_mode) else None

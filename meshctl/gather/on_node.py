"""Pods of this node with their containers, processes and namespaces, and how each was found."""

import os
import platform
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from meshctl.errors import MeshctlError, NoAccess
from meshctl.refs import parse_pod
from meshctl.reports import NodeContainer, NodePod, NodePods, RunningProcess
from meshctl.sources import node, proc_scan
from meshctl.sources.local_pods import LocalPod, Wanted, choose
from meshctl.sources.proc_scan import Process

_ROLES = {"pilot-agent": "pilot-agent", "envoy": "envoy", "pause": "pause", "ztunnel": "ztunnel", "catatonit": "pause"}


def pods(text: str | None, namespace: str | None, runtime: str) -> NodePods:
    """One pod by name with everything about it, or (None) all pods of this node.

    Raises NotFound, BadInput where a name may mean several, NoAccess where only root can see.
    """
    wanted, answer = Wanted(namespace or ""), None
    for name, tail in parse_pod(text).readings() if text else ():
        wanted = Wanted(tail or namespace or "", name)
        answer = node.look(runtime, wanted)
        if answer.pods:
            break
    answer = answer or node.look(runtime, wanted)
    if not answer.pods and answer.problems and (runtime != "auto" or isinstance(answer.problems[-1], NoAccess)):
        raise answer.problems[-1]
    problems = tuple(str(problem) for problem in answer.problems)
    if text is None:
        found = sorted(answer.pods, key=lambda pod: (pod.namespace, pod.name))
        return NodePods(platform.node(), answer.way, tuple(_shallow(pod) for pod in found), problems)
    return NodePods(platform.node(), answer.way, (_deep(choose(answer.pods, wanted, answer.way)),), problems)


def _shallow(pod: LocalPod) -> NodePod:
    containers = tuple(
        NodeContainer(c.name, c.id, c.pid, c.state, c.attempt, c.image, c.started_at, c.found_by, _space(c.pid))
        for c in pod.containers
    )
    return NodePod(pod.name, pod.namespace, pod.uid, pod.runtime, pod.host_network, containers)


def _space(pid: int) -> str:
    if pid <= 0:
        return ""
    try:
        return str(proc_scan.namespace_of(pid))
    except OSError:
        return ""


def _deep(pod: LocalPod) -> NodePod:
    shallow = _shallow(pod)
    try:
        container, namespace = node.entrance(node.checked(pod))
    except MeshctlError as error:
        processes = _processes(pod, _of_containers(pod))
        return _with(shallow, processes, "", "", str(error))
    processes = _processes(pod, proc_scan.processes_in(namespace))
    return _with(shallow, processes, str(namespace), f"{container.name} (PID {container.pid})", "")


def _with(pod: NodePod, processes: tuple[RunningProcess, ...], namespace: str, by: str, why_not: str) -> NodePod:
    from dataclasses import replace

    return replace(pod, processes=processes, network_namespace=namespace, entered_by=by, why_not=why_not)


def _of_containers(pod: LocalPod) -> Sequence[Process]:
    ids = {container.id for container in pod.containers if container.id}
    found = []
    for process in proc_scan.processes():
        owner = proc_scan.cgroup_owner(process.cgroup)
        if owner and owner.container_id in ids:
            found.append(process)
    return found


def _processes(pod: LocalPod, found: Sequence[Process]) -> tuple[RunningProcess, ...]:
    names = {container.id: container.name for container in pod.containers}
    pids = {container.pid: container.name for container in pod.containers}
    return tuple(
        RunningProcess(
            process.pid,
            " ".join(process.cmdline),
            process.uid,
            _ROLES.get(process.cmdline[0].rsplit("/", 1)[-1], "app") if process.cmdline else "app",
            _started(process.started_ticks),
            _container_of(process, names) or pids.get(process.pid, ""),
        )
        for process in found
    )


def _container_of(process: Process, names: dict[str, str]) -> str:
    owner = proc_scan.cgroup_owner(process.cgroup)
    return names.get(owner.container_id, "") if owner else ""


def _started(ticks: int) -> str:
    """The moment that a process began: ticks since boot, and when that was."""
    since_boot = time.clock_gettime(time.CLOCK_BOOTTIME)
    seconds = time.time() - since_boot + ticks / os.sysconf("SC_CLK_TCK")
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")

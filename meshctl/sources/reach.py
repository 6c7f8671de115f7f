"""How the inside of a remote pod is reached: on its own node, by exec in its proxy, by a debug pod or container.

``--via auto`` uses what adds nothing: the node, if this is it, else exec of the fixed read-only commands. Exec has the
rights of the container, so the packet rules usually stay closed to it; the gap then says what would open them.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from meshctl.errors import MeshctlError, NoAccess, NotFound
from meshctl.sources import envoy_admin, node, node_world
from meshctl.sources.connection import Connection, demand_way
from meshctl.sources.exec_parts import run_in, sockets_in
from meshctl.sources.kube_client import Api
from meshctl.sources.local_pods import LocalPod, Wanted, uids
from meshctl.sources.plain_request import PlainAnswer, PlainRequest
from meshctl.sources.readonly import BY_PART, PROCESSES, RESOLV_CONF
from meshctl.sources.world import Part

Raw = Mapping[str, Any]
MORE = "add --via ephemeral (a container in the pod) or --via debug-pod (a privileged pod on its node)"
_PARALLEL = 4
_SOCKETS = "netns/sockets.txt"
_RULES = tuple(part for part in BY_PART if "tables" in part or part.endswith("nft.json"))


def parts(api: Api, connection: Connection, pod: Raw, names: Sequence[str]) -> Mapping[str, Part]:
    """The parts of a pod's namespace (``netns/...``) and of its containers (``runtime/...``) by the way asked for.

    A way that the user named and that fails is an error; with ``auto`` it is a gap that says what else there is.
    """
    demand_way(connection.via)
    inside = [name for name in names if name.startswith("netns/")]
    why_not = _nothing_to_enter(pod)
    if why_not:
        return {**{name: Part(name, None, why_not) for name in names}, **_of_host(pod, names)}
    local = _local(pod, required=connection.via == "node")
    found = {name: _runtime(local, name) for name in names if name not in inside}
    if not inside:
        return found
    if connection.via in ("debug-pod", "ephemeral"):
        from meshctl.sources import debug_pod

        return {**found, **debug_pod.parts(api, connection, pod, inside)}
    if local is not None:
        try:
            return {**found, **node.netns_parts(local, inside)}
        except MeshctlError:
            if connection.via == "node":
                raise
    return {**found, **by_exec(api, pod, inside, connection.timeout_s)}


def _nothing_to_enter(pod: Raw) -> str:
    reference = f"{pod.get('metadata', {}).get('name')}"
    if pod.get("spec", {}).get("hostNetwork"):
        return f"{reference} uses its node's own network (hostNetwork): there is no namespace of a pod to look into"
    phase = pod.get("status", {}).get("phase")
    if phase in ("Succeeded", "Failed"):
        return f"{reference} has ended (phase {phase}): its network namespace is gone"
    if phase == "Pending" and not _any_running(pod):
        return f"{reference} is Pending: no container of it runs yet"
    return ""


def _of_host(pod: Raw, names: Sequence[str]) -> Mapping[str, Part]:
    """Who listens on a node, for a pod on its network, where meshctl is root in that very network; else nothing."""
    if _SOCKETS not in names or not pod.get("spec", {}).get("hostNetwork") or os.geteuid() != 0:
        return {}
    try:
        local = _local(pod, required=False)
        here = local is not None and node.is_beside(local)
    except MeshctlError:
        return {}
    return {_SOCKETS: node_world.own_part(_SOCKETS)} if here else {}


def _any_running(pod: Raw) -> bool:
    status = pod.get("status", {})
    lists = (status.get("initContainerStatuses"), status.get("containerStatuses"))
    return any("running" in (entry.get("state") or {}) for found in lists for entry in found or ())


def _local(pod: Raw, required: bool) -> LocalPod | None:
    """The pod on this machine, if this is its node; only root can use it, so others are not even asked."""
    if not required and os.geteuid() != 0:
        return None
    metadata = pod.get("metadata", {})
    wanted = Wanted(str(metadata.get("namespace", "")), str(metadata.get("name", "")), uids(pod))
    answer = node.look("auto", wanted)
    if answer.pods:
        return answer.pods[0]
    if required:
        if answer.problems and isinstance(answer.problems[-1], NoAccess):
            raise answer.problems[-1]
        raise NotFound(
            f"{wanted.name}.{wanted.namespace} does not run on this machine (asked: {answer.way})",
            hint=f"its node is {pod.get('spec', {}).get('nodeName') or 'unknown'}; from elsewhere {MORE}",
        )
    return None


def _runtime(local: LocalPod | None, name: str) -> Part:
    if local is None:
        return Part(name, None, f"{name}: only the runtime on the pod's node knows")
    return node_world.runtime_part(local, name)


def runtime_names(pod: Raw) -> tuple[str, ...]:
    """The runtime parts of a pod: those that this machine's runtime has, if it is the node."""
    local = _local(pod, required=False)
    return tuple(sorted(c.part.removeprefix("runtime/") for c in local.containers if c.inspect)) if local else ()


def send(pod: Raw, request: PlainRequest) -> PlainAnswer | str:
    """Send a request from inside a pod's namespace, if this machine is its node and meshctl is root; else why not."""
    metadata = pod.get("metadata", {})
    if os.geteuid() != 0:
        return "sending from inside its network namespace needs root on its node"
    local = _local(pod, required=False)
    if local is None:
        return f"{metadata.get('name')} does not run on this machine, so its network namespace cannot be entered"
    from meshctl.sources import netns

    container, namespace = node.entrance(node.checked(local))
    return netns.send(container.pid, request, same_as=namespace)


def node_part(node_name: str, name: str) -> Part:
    """A node's own rules, where this machine is that node and meshctl is root."""
    import platform

    if os.geteuid() == 0 and node.is_node() and node_name in (platform.node(), _kubelet_name()):
        return node_world.own_part(name)
    return Part(name, None, f"{name}: the rules of node {node_name} are only read on that node itself, as root")


def _kubelet_name() -> str:
    """What the kubelet on this machine calls its node: ``--hostname-override``, from its command line."""
    from meshctl.sources import proc_scan

    for process in proc_scan.processes():
        if process.cmdline[0].rsplit("/", 1)[-1] == "kubelet":
            for word in process.cmdline:
                if word.startswith("--hostname-override="):
                    return word.partition("=")[2]
    return ""


def by_exec(api: Api, pod: Raw, names: Sequence[str], timeout_s: float) -> Mapping[str, Part]:
    """What the proxy's container can see (the rules only as root with NET_ADMIN), else the application's."""
    container = envoy_admin.proxy_container(pod)
    if container is None:
        gap = f"not on this pod's node, and it has no proxy to exec in: {MORE}"
        return {name: _by_application(api, pod, name, timeout_s, gap) for name in names}
    rules = [name for name in names if name in _RULES]
    found: dict[str, Part] = {}
    if rules:
        first = _exec_one(api, pod, container, rules[0], timeout_s)
        found[rules[0]] = first
        if first.denied:
            return {name: Part(name, None, f"{first.gap}: {MORE}", denied=True) for name in names}
        if first.content is None:
            # As a user without NET_ADMIN none of them can be read: not worth asking for each.
            gap = f"the proxy's container cannot read packet rules ({first.gap}): {MORE}"
            found = {name: Part(name, None, gap) for name in rules}
    todo = [name for name in names if name not in found]
    pool = ThreadPoolExecutor(_PARALLEL)
    try:
        parts = pool.map(lambda name: _exec_one(api, pod, container, name, timeout_s), todo)
        found |= dict(zip(todo, parts, strict=True))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    for name in (_SOCKETS, RESOLV_CONF):
        if name in todo and found[name].content is None and not found[name].denied:
            found[name] = _by_application(api, pod, name, timeout_s, found[name].gap)
    return found


def _by_application(api: Api, pod: Raw, name: str, timeout_s: float, gap: str) -> Part:
    """What any container of a pod can show with ``cat``: who listens, and where names are asked; else the gap."""
    if name not in (_SOCKETS, RESOLV_CONF):
        return Part(name, None, gap)
    for container in (str(c.get("name")) for c in pod.get("spec", {}).get("containers") or ()):
        if container == envoy_admin.proxy_container(pod):
            continue
        if name == _SOCKETS:
            part = sockets_in(api, pod, container, timeout_s)
        else:
            part = run_in(api, pod, container, name, [("cat", "/etc/resolv.conf")], timeout_s)
        if part.content is not None or part.denied:
            return part
    return Part(name, None, gap)


def _exec_one(api: Api, pod: Raw, container: str, name: str, timeout_s: float) -> Part:
    if name == PROCESSES:
        return Part(name, None, "processes are only listed on the pod's node")
    argvs = [("cat", "/etc/resolv.conf")] if name == RESOLV_CONF else BY_PART[name].argvs
    return run_in(api, pod, container, name, argvs, timeout_s)

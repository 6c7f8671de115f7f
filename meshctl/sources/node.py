"""A node by itself: which runtime is there, which pods it has, and by which PID a pod's namespace is entered."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from meshctl.errors import BadInput, MeshctlError, NoAccess, NotFound, Unavailable
from meshctl.frozen import dataclass
from meshctl.sources import cri, crictl, docker, netns, podman, proc_pods, proc_scan
from meshctl.sources.local_pods import LocalContainer, LocalPod, Wanted, choose
from meshctl.sources.proc_scan import NamespaceId
from meshctl.sources.world import Part, World

TIMEOUT_S = 5.0
RUNTIMES = ("auto", "containerd", "crio", "crictl", "docker", "podman", "proc")


@dataclass(frozen=True, slots=True)
class Way:
    """One way to ask about pods: its name, and the question."""

    name: str
    ask: Callable[[Wanted], Sequence[LocalPod]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the ways that were asked said: the pods of the first that had any, and why the others had none."""

    pods: tuple[LocalPod, ...]
    way: str
    problems: tuple[MeshctlError, ...]


def ways(runtime: str, timeout_s: float = TIMEOUT_S) -> tuple[Way, ...]:
    """The ways to ask that a runtime's name, or the path of a CRI socket, stands for. Raises BadInput."""
    path = runtime.removeprefix("unix://")
    if path.startswith("/"):
        if "docker" in Path(path).name or "podman" in Path(path).name:
            return (Way(runtime, lambda wanted: docker.pods(path, wanted, timeout_s)),)
        return (_cri(path, timeout_s),)
    match runtime:
        case "containerd" | "crio":
            sockets = _there(cri.SOCKETS[runtime]) or cri.SOCKETS[runtime][:1]
            return tuple(_cri(socket, timeout_s) for socket in sockets)
        case "crictl":
            return (Way("crictl", lambda wanted: crictl.pods("", wanted, timeout_s)),)
        case "docker":
            socket = docker.default_socket()
            return (Way(f"docker {socket}", lambda wanted: docker.pods(socket, wanted, timeout_s)),)
        case "podman":
            return (Way("podman", lambda wanted: podman.pods(wanted, timeout_s)),)
        case "proc":
            return (Way("/proc", proc_pods.pods),)
        case "auto":
            return _every_way(timeout_s)
        case _:
            pass
    raise BadInput(f"there is no runtime '{runtime}'", hint=f"use one of {', '.join(RUNTIMES)}, or a socket's path")


def _every_way(timeout_s: float) -> tuple[Way, ...]:
    sockets = list(_there([socket for named in cri.SOCKETS.values() for socket in named]))
    named = os.environ.get("CONTAINER_RUNTIME_ENDPOINT", "").removeprefix("unix://")
    if named.startswith("/"):
        sockets = [named, *(socket for socket in sockets if socket != named)]
    found = [_cri(socket, timeout_s) for socket in sockets]
    if Path(docker.default_socket()).is_socket():
        found += ways("docker", timeout_s)
    if shutil.which("podman") and podman.is_used():
        found += ways("podman", timeout_s)
    return (*found, *ways("proc"))


def _there(sockets: Sequence[str]) -> tuple[str, ...]:
    return tuple(socket for socket in sockets if Path(socket).is_socket())


def _cri(socket: str, timeout_s: float) -> Way:
    def ask(wanted: Wanted) -> Sequence[LocalPod]:
        try:
            return cri.pods(socket, wanted, timeout_s)
        except Unavailable as error:
            if "grpcio" not in str(error) or shutil.which("crictl") is None:
                raise
            return crictl.pods(socket, wanted, timeout_s)

    return Way(f"CRI {socket}", ask)


def look(runtime: str, wanted: Wanted, timeout_s: float = TIMEOUT_S) -> Answer:
    """Ask one way after the other until one has what is wanted; a way that fails is a problem, not the end."""
    problems: list[MeshctlError] = []
    asked = []
    for way in ways(runtime, timeout_s):
        asked.append(way.name)
        try:
            found = way.ask(wanted)
        except MeshctlError as error:
            problems.append(error)
            continue
        if found:
            return Answer(tuple(found), way.name, tuple(problems))
    return Answer((), ", ".join(asked), tuple(problems))


def find(runtime: str, wanted: Wanted) -> LocalPod:
    """The one pod that is wanted. Raises NotFound, BadInput, or the problem of the only way that there was."""
    answer = look(runtime, wanted)
    if not answer.pods and answer.problems and (runtime != "auto" or isinstance(answer.problems[-1], NoAccess)):
        raise answer.problems[-1]
    return checked(choose(answer.pods, wanted, answer.way))


def checked(pod: LocalPod) -> LocalPod:
    """The pod, unless it has no namespace of its own. Raises BadInput for hostNetwork."""
    if pod.host_network:
        raise BadInput(
            f"{pod.reference} uses the node's own network (hostNetwork): it has no network namespace to look into",
            hint="Istio does not inject such pods; the node's rules are read with `iptables-save` on the node",
        )
    return pod


def is_beside(pod: LocalPod) -> bool:
    """Whether a pod on its node's network runs in the very namespace that meshctl runs in.

    A machine may be several nodes, each in a namespace of its own. Raises as `entrance`.
    """
    return pod.host_network and entrance(pod)[1] == proc_scan.namespace_of("self")


def entrance(pod: LocalPod) -> tuple[LocalContainer, NamespaceId]:
    """The container to enter a pod by, and its namespace, which the others must share.

    Raises NotFound where nothing of it runs, Unavailable where its containers do not agree.
    """
    spaces: dict[int, NamespaceId] = {}
    for container in pod.candidates():
        try:
            spaces[container.pid] = proc_scan.namespace_of(container.pid)
        except PermissionError:
            raise netns.needs_root(container.pid) from None
        except OSError:
            continue  # it ended since the runtime was asked
    if not spaces:
        states = ", ".join(f"{c.name} {c.state}" for c in pod.containers) or "it has no containers"
        raise NotFound(
            f"no container of {pod.reference} runs here ({states})", hint="a pod that ended has no namespace"
        )
    hosts = proc_scan.host_namespaces()
    chosen = next(c for c in pod.candidates() if c.pid in spaces)
    others = {space for pid, space in spaces.items() if space != spaces[chosen.pid] and space not in hosts}
    if others and not chosen.sandbox:
        listed = ", ".join(sorted(set(map(str, spaces.values()))))
        raise Unavailable(
            f"the containers of {pod.reference} are in different network namespaces: {listed}",
            hint="a sandboxed runtime (gVisor, Kata) keeps the pod's network elsewhere; use --pid PID",
        )
    return chosen, spaces[chosen.pid]


def netns_parts(pod: LocalPod, names: Sequence[str]) -> Mapping[str, Part]:
    """The parts of a pod's network namespace, entered by its best container."""
    container, namespace = entrance(pod)
    return netns.collect(container.pid, names, same_as=namespace)


def is_node() -> bool:
    """Whether this machine runs containers that may be looked into: root, and a runtime's socket."""
    return os.geteuid() == 0 and bool(_every_way(TIMEOUT_S)[:-1])


def open(runtime: str) -> World:
    """This machine as a World, by a runtime's name or socket."""
    from meshctl.sources import node_world

    return node_world.open(runtime)

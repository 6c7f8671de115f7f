"""This node as a `World`, without an API server: its pods by the runtime, their namespaces by PID, its own rules."""

import json
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from meshctl.errors import MeshctlError, NotFound, Unavailable
from meshctl.frozen import dataclass
from meshctl.sources import control_plane, envoy_admin, kinds, node
from meshctl.sources.local_pods import LocalPod, Wanted
from meshctl.sources.local_raw import raw_pod
from meshctl.sources.readonly import BY_PART, NETNS_PARTS
from meshctl.sources.selector import selects
from meshctl.sources.world import Kind, Objects, Part

Raw = Mapping[str, Any]
LOG_BYTES = 10 << 20
_ONLY_API = "only the API server knows; this is the node's runtime alone"


@dataclass(slots=True)
class Node:
    """The pods of one machine as its container runtime knows them."""

    runtime: str
    host: str
    live: bool = True
    _pods: tuple[LocalPod, ...] | None = None
    _way: str = ""
    _found: dict[tuple[str, str], LocalPod] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The machine's name."""
        return f"node {self.host}"

    def now(self) -> datetime:
        """The clock."""
        return datetime.now(UTC)

    def namespaces(self) -> tuple[str, ...]:
        """The namespaces of the pods that run here."""
        return tuple(sorted({pod.namespace for pod in self.pods() if pod.namespace}))

    def default_namespace(self) -> str:
        """None: a node's pods are of many namespaces, and a name is looked for in all of them."""
        return ""

    def root_namespace(self) -> str:
        """Where istiod usually runs: a node alone does not know."""
        return control_plane.USUAL

    def prefetch(self, *_wanted: object) -> None:
        """Nothing to do: a runtime tells all its pods at once."""

    def objects(self, kind: Kind, namespace: str | None = None, selector: str = "") -> Objects:
        """The pods of this node; of other kinds a runtime knows nothing."""
        if kind != kinds.PODS:
            return Objects(f"{self.name} {kind.file_stem}", (), False, f"{kind.plural}: {_ONLY_API}")
        items = [
            raw
            for raw in (raw_pod(pod, self.host) for pod in self.pods())
            if (namespace is None or raw["metadata"]["namespace"] == namespace)
            and (not selector or selects(selector, raw["metadata"]["labels"]))
        ]
        return Objects(f"{self.name}, {self._way}", items)

    def one(self, kind: Kind, namespace: str, name: str) -> Raw | None:
        """One pod of this node."""
        if kind != kinds.PODS:
            return None
        pod = self._pod(namespace, name)
        return raw_pod(pod, self.host) if pod else None

    def has_now(self, _kind: Kind, _namespace: str, _name: str) -> bool | None:
        """None: only the API server could say."""
        return None

    def user_of(self, _namespace: str, _pod: str, _container: str) -> tuple[int, int] | None:
        """None: the processes of a pod are among its parts here."""
        return None

    def part(self, namespace: str, pod: str, name: str) -> Part:
        """One named part of a pod."""
        return self.parts(namespace, pod, [name])[name]

    def parts(self, namespace: str, pod: str, names: Sequence[str]) -> Mapping[str, Part]:
        """Several parts of a pod: its namespace is entered once for all of them."""
        found = self._pod(namespace, pod)
        if found is None:
            return {name: Part(name, None, f"there is no pod {pod} on this node") for name in names}
        inside = [name for name in names if name in NETNS_PARTS]
        answers = dict(node.netns_parts(node.checked(found), inside)) if inside else {}
        return {name: answers.get(name) or self._outside(found, name) for name in names}

    def part_names(self, namespace: str, pod: str, folder: str) -> tuple[str, ...]:
        """The parts that can be asked for."""
        found = self._pod(namespace, pod)
        if found is None:
            return ()
        if folder == "netns":
            return tuple(sorted(name.removeprefix("netns/") for name in NETNS_PARTS))
        if folder == "runtime":
            return tuple(sorted(c.part.removeprefix("runtime/") for c in found.containers if c.inspect))
        return ()

    def node_part(self, node: str, name: str) -> Part:
        """This node's own rules."""
        return own_part(name) if node == self.host else Part(name, None, f"{node} is another node")

    def pods(self) -> tuple[LocalPod, ...]:
        """Every pod here, asked once. Raises the problem of the only way that there was."""
        if self._pods is None:
            answer = node.look(self.runtime, Wanted())
            if not answer.pods and answer.problems:
                raise answer.problems[-1]
            self._pods, self._way = answer.pods, answer.way
        return self._pods

    def _pod(self, namespace: str, name: str) -> LocalPod | None:
        known = [p for p in self.pods() if p.name == name and (p.namespace or "default") == namespace]
        return known[0] if known else None

    def _outside(self, pod: LocalPod, name: str) -> Part:
        if name.startswith("runtime/"):
            return runtime_part(pod, name)
        if name in envoy_admin.PATHS:
            return self._admin(pod, name)
        if name.startswith("logs/"):
            return log_part(pod, name)
        return Part(name, None, f"{name}: {_ONLY_API}")

    def _admin(self, pod: LocalPod, name: str) -> Part:
        from meshctl.sources import netns

        raw = raw_pod(pod, self.host)
        port, path = envoy_admin.admin_port(raw), envoy_admin.PATHS[name]
        source = f"{pod.reference}:{port}{path}"
        try:
            container, namespace = node.entrance(node.checked(pod))
            return Part(source, netns.http_get(container.pid, port, path, same_as=namespace))
        except MeshctlError as error:
            return Part(source, None, str(error))


def runtime_part(pod: LocalPod, name: str) -> Part:
    """What the runtime itself says about a container, in the snapshot format."""
    for container in pod.containers:
        if container.part == name and container.inspect:
            source = f"{pod.runtime} {container.id[:13]}"
            return Part(source, (json.dumps(container.inspect, indent=1) + "\n").encode())
    return Part(name, None, f"{name}: the runtime has no such container")


def log_part(pod: LocalPod, name: str) -> Part:
    """A container's log from the kubelet's folder, without the stamps that the runtime adds (CRI log format)."""
    container = name.removeprefix("logs/").removesuffix(".txt")
    folder = Path("/var/log/pods") / f"{pod.namespace}_{pod.name}_{pod.uid}" / container
    try:
        latest = max(folder.glob("*.log"), key=lambda path: path.stat().st_mtime)
        with latest.open("rb") as file:
            content = file.read(LOG_BYTES)
    except (ValueError, OSError):
        return Part(name, None, f"{folder}: there is no log that can be read")
    stamp = re.compile(rb"^\S+ (?:stdout|stderr) [FP] ", re.MULTILINE)
    return Part(str(latest), stamp.sub(b"", content))


def own_part(name: str) -> Part:
    """A part of the namespace that meshctl itself runs in, which on a node is the node's."""
    from meshctl.sources.netns import COMMAND_TIMEOUT_S, run_read_command

    if name not in BY_PART:
        return Part(name, None, f"{name} is not read from a node")
    source, content, gap = run_read_command(BY_PART[name], COMMAND_TIMEOUT_S)
    return Part(f"{source} on this node", None if gap else content, gap)


def open(runtime: str) -> Node:
    """Open this machine by a runtime's name or socket. Raises Unavailable where nothing can be asked at all."""
    node.ways(runtime)
    world = Node(runtime, platform.node())
    if not world.pods():
        raise NotFound(
            f"no pods run on this machine, as far as {world._way or runtime} can tell",
            hint="run meshctl on the node, or name the runtime: --runtime containerd, crio, docker, podman, proc",
        )
    return world


__all__ = ["Node", "Unavailable", "log_part", "open", "own_part", "runtime_part"]

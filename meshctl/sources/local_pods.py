"""Pods as a node's runtime knows them: containers with their PIDs, and which PID to enter the namespace by."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Literal, TypeAlias

from meshctl.errors import BadInput, NotFound
from meshctl.frozen import dataclass
from meshctl.refs import near_misses

State: TypeAlias = Literal["running", "exited", "created", "unknown"]


@dataclass(frozen=True, slots=True)
class LocalContainer:
    """A container; `pid` 0 where it does not run. `inspect` is the runtime's own answer, as ``crictl inspect`` prints.

    `found_by` says how the PID was learnt, for ``meshctl pod pids``.
    """

    name: str
    id: str
    pid: int
    state: State
    sandbox: bool = False
    attempt: int = 0
    image: str = ""
    started_at: str = ""
    found_by: str = ""
    inspect: Mapping[str, Any] = field(default_factory=dict)

    @property
    def part(self) -> str:
        """Its name among the parts of the snapshot format."""
        return "runtime/sandbox.json" if self.sandbox else f"runtime/container-{self.name}.{self.attempt}.json"


@dataclass(frozen=True, slots=True)
class LocalPod:
    """A pod on this node; `uids` may be two for a static pod (its mirror's and its manifest's hash)."""

    namespace: str
    name: str
    uid: str
    runtime: str
    host_network: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    containers: tuple[LocalContainer, ...] = ()

    @property
    def reference(self) -> str:
        """How to write it."""
        return f"{self.name}.{self.namespace}" if self.namespace else self.name

    def candidates(self) -> tuple[LocalContainer, ...]:
        """The running containers, the best to enter by first: the sandbox lives longest, then the proxy."""
        running = [c for c in self.containers if c.pid > 0 and c.state == "running"]
        return tuple(sorted(running, key=lambda c: (not c.sandbox, c.name != "istio-proxy")))


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which pods to look for; empty fields do not restrict. `name` is whole or a prefix of a pod's name."""

    namespace: str = ""
    name: str = ""
    uids: frozenset[str] = frozenset()

    def fits(self, namespace: str, name: str, uid: str) -> bool:
        """Whether a pod may be the one that is wanted; a namespace or name that the source cannot tell fits any."""
        if self.uids:
            return uid in self.uids
        return (not self.namespace or not namespace or namespace == self.namespace) and name.startswith(self.name)


def choose(found: Sequence[LocalPod], wanted: Wanted, where: str) -> LocalPod:
    """The one pod that is meant: an exact name wins over a prefix.

    Raises NotFound with near misses, BadInput where several fit.
    """
    exact = [pod for pod in found if pod.name == wanted.name] or list(found)
    running = [pod for pod in exact if pod.candidates()] or exact
    if len(running) == 1:
        return running[0]
    if not running:
        place = f" in namespace {wanted.namespace}" if wanted.namespace else ""
        raise NotFound(
            f"there is no pod '{wanted.name}'{place} on this node ({where})",
            hint="`meshctl pod pids` lists the pods of this node",
        )
    names = ", ".join(sorted(pod.reference for pod in running))
    raise BadInput(f"'{wanted.name}' may mean {len(running)} pods on this node", hint=f"choose one: {names}")


def near(name: str, pods: Sequence[LocalPod]) -> tuple[str, ...]:
    """The names on this node most like a misspelt one."""
    return near_misses(name, tuple(pod.name for pod in pods))


def uids(pod: Mapping[str, Any]) -> frozenset[str]:
    """The uids that a runtime may know the pod by: a static pod's is its manifest's hash."""
    metadata = pod.get("metadata", {})
    annotations = metadata.get("annotations") or {}
    keys = ("kubernetes.io/config.hash", "kubernetes.io/config.mirror")
    return frozenset(filter(None, [str(metadata.get("uid") or ""), *(str(annotations.get(key) or "") for key in keys)]))

"""A live cluster as a `World`: objects over the API, a pod's parts by whichever way is allowed, and nothing twice."""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field
from datetime import UTC, datetime
from typing import Any

from meshctl.errors import MeshctlError, NoAccess, NotFound
from meshctl.frozen import dataclass
from meshctl.sources import control_plane, envoy_admin, exec_parts, kinds, reach
from meshctl.sources.connection import Connection
from meshctl.sources.kube_client import Api, connect
from meshctl.sources.plain_request import PlainAnswer, PlainRequest
from meshctl.sources.readonly import NETNS_PARTS
from meshctl.sources.selector import selects
from meshctl.sources.world import Kind, Objects, Part, World

PARALLEL = 8
LOG_BYTES = 10 << 20
_NEEDED = (kinds.PODS,)
"""Without these nothing can be said: to be refused here is an error, elsewhere a gap."""

Raw = Mapping[str, Any]


@dataclass(slots=True)
class Cluster:
    """A cluster through its API server, read as one user sees it; every object is fetched at most once."""

    api: Api
    connection: Connection
    live: bool = True
    _lists: dict[tuple[Kind, str | None, str], Objects] = field(default_factory=dict)
    _single: dict[tuple[Kind, str, str], Raw | None] = field(default_factory=dict)
    _versions: dict[str, tuple[str, ...] | None] = field(default_factory=dict)
    _discoveries: dict[str, threading.Lock] = field(default_factory=dict)
    _root: str = ""
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def name(self) -> str:
        """The context's name."""
        return self.api.name

    def now(self) -> datetime:
        """The clock."""
        return datetime.now(UTC)

    def namespaces(self) -> tuple[str, ...]:
        """Empty: a cluster is seen whole."""
        return ()

    def default_namespace(self) -> str:
        """The namespace of the command line, else of the context."""
        return self.api.namespace

    def root_namespace(self) -> str:
        """The namespace of the command line, else that of istiod's pods."""
        if not self._root:
            self._root = self.connection.istio_namespace or control_plane.by_pods(self)
        return self._root

    def objects(self, kind: Kind, namespace: str | None = None, selector: str = "") -> Objects:
        """The objects of a kind; of a kind that the cluster does not serve there are none."""
        where = namespace if kind.namespaced else None
        known = self._known(kind, where, selector)
        if known is None:
            known = self._fetch(kind, where, selector)
            with self._lock:
                self._lists[kind, where, selector] = known
        return known

    def stream(self, kind: Kind, namespace: str | None) -> Iterator[Raw]:
        """The objects of a kind a page at a time, kept nowhere; raises where they may not be read."""
        what = f"list {kind.file_stem}"
        for version in self._served(kind):
            try:
                for page in self.api.pages(_path(kind, version, namespace if kind.namespaced else None), (), what):
                    yield from page
            except NotFound:
                self._discover(kind)
                continue
            return

    def adopt(self, raw: Raw) -> None:
        """Take a pod that was read elsewhere as known."""
        metadata = raw["metadata"]
        with self._lock:
            self._single[kinds.PODS, metadata["namespace"], metadata["name"]] = raw

    def prefetch(self, lists: Iterable[tuple[Kind, str | None]], singles: Iterable[tuple[Kind, str, str]] = ()) -> None:
        """Fetch lists (kind, namespace) and single objects (kind, namespace, name) side by side.

        Asking for them afterwards costs nothing.
        """
        todo: list[tuple[Any, ...]] = [
            (self.objects, kind, place)
            for kind, place in lists
            if self._known(kind, place if kind.namespaced else None, "") is None
        ]
        self._side_by_side([*todo, *((self.one, *single) for single in singles)])

    def one(self, kind: Kind, namespace: str, name: str) -> Raw | None:
        """One object by name, from a list that was read already or by a request of its own."""
        place = namespace if kind.namespaced else None
        listed = self._known(kind, place, "")
        if listed is not None and listed.recorded:
            return next((item for item in listed.items if item.get("metadata", {}).get("name") == name), None)
        key = (kind, namespace, name)
        with self._lock:
            if key in self._single:
                return self._single[key]
        found = self._get_one(kind, place, name)
        with self._lock:
            self._single[key] = found
        return found

    def has_now(self, kind: Kind, namespace: str, name: str) -> bool:
        """Whether an object is there at this moment, whatever a list said before. Raises NoAccess, Unavailable."""
        return self._get_one(kind, namespace if kind.namespaced else None, name) is not None

    def part(self, namespace: str, pod: str, name: str) -> Part:
        """One named part of a pod."""
        return self.parts(namespace, pod, [name])[name]

    def parts(self, namespace: str, pod: str, names: Sequence[str]) -> Mapping[str, Part]:
        """Several parts of a pod, fetched side by side."""
        raw = self.one(kinds.PODS, namespace, pod)
        if raw is None:
            return {name: Part(name, None, f"there is no pod {pod} in namespace {namespace}") for name in names}
        inside = [name for name in names if name in NETNS_PARTS or name.startswith("runtime/")]
        outside = [name for name in names if name not in inside]
        # In this thread: it may create something, and only the main thread hears Ctrl-C.
        entered = reach.parts(self.api, self.connection, raw, inside) if inside else {}
        answers = self._side_by_side([(self._outer_part, raw, name) for name in outside])
        return {**dict(zip(outside, answers, strict=True)), **entered}

    def part_names(self, namespace: str, pod: str, folder: str) -> tuple[str, ...]:
        """The parts that can be asked for; whether they are there shows when they are."""
        raw = self.one(kinds.PODS, namespace, pod)
        if raw is None:
            return ()
        match folder:
            case "logs":
                return tuple(f"{name}.txt" for name in _container_names(raw))
            case "netns":
                return tuple(sorted(name.removeprefix("netns/") for name in NETNS_PARTS))
            case "envoy":
                return tuple(sorted(n.removeprefix("envoy/") for n in envoy_admin.PATHS if n.startswith("envoy/")))
            case "runtime":
                return reach.runtime_names(raw)
            case _:
                return ()

    def recent_log(self, namespace: str, pod: str, container: str, seconds: int) -> Part:
        """What a container logged in the last seconds, by the clock of its node."""
        source = f"logs of {container} in {pod}.{namespace}"
        return self._log(source, namespace, pod, [("container", container), ("sinceSeconds", str(seconds))])

    def user_of(self, namespace: str, pod: str, container: str) -> tuple[int, int] | None:
        """The (uid, gid) of a container's main process, by reading its ``/proc/1/status``; None where nothing can."""
        raw = self.one(kinds.PODS, namespace, pod)
        return None if raw is None else exec_parts.user_of(self.api, raw, container, self.connection.timeout_s)

    def send_inside(self, namespace: str, pod: str, request: PlainRequest) -> PlainAnswer | str:
        """Send a request from inside a pod's network namespace, where this machine is its node; else why not."""
        raw = self.one(kinds.PODS, namespace, pod)
        return f"there is no pod {pod} in namespace {namespace}" if raw is None else reach.send(raw, request)

    def node_part(self, node: str, name: str) -> Part:
        """A node's own rules: only on that node itself."""
        return reach.node_part(node, name)

    def _outer_part(self, raw: Raw, name: str) -> Part:
        if name in envoy_admin.PATHS:
            return envoy_admin.fetch(self.api, raw, name, max(self.connection.timeout_s, 30.0))
        if name.startswith("logs/") and name.endswith(".txt"):
            return self._logs(raw, name.removeprefix("logs/").removesuffix(".txt"))
        return Part(name, None, f"{name} is not something that a live cluster offers")

    def _logs(self, raw: Raw, container: str) -> Part:
        metadata = raw.get("metadata", {})
        namespace, pod = metadata.get("namespace", "default"), metadata.get("name", "")
        source = f"logs of {container} in {pod}.{namespace}"
        return self._log(source, namespace, pod, [("container", container), ("timestamps", "false")])

    def _log(self, source: str, namespace: str, pod: str, query: list[tuple[str, str]]) -> Part:
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        query = [*query, ("limitBytes", str(LOG_BYTES))]
        try:
            return Part(source, self.api.get_bytes(path, query, f"read the {source}", LOG_BYTES))
        except MeshctlError as error:
            return Part(source, None, str(error))

    def _known(self, kind: Kind, namespace: str | None, selector: str) -> Objects | None:
        with self._lock:
            exact = self._lists.get((kind, namespace, selector))
            wider = [self._lists.get((kind, place, "")) for place in (namespace, None)]
        if exact is not None:
            return exact
        for listed in wider:
            if listed is not None and listed.recorded:
                items = [item for item in listed.items if _fits(item, namespace, selector)]
                return Objects(listed.source, items)
        return None

    def _fetch(self, kind: Kind, namespace: str | None, selector: str) -> Objects:
        place = f"namespace {namespace}" if namespace else "all namespaces"
        what = f"list {kind.file_stem}" + (f" in {place}" if kind.namespaced else "")
        query = [("labelSelector", selector)] if selector else []
        for version in self._served(kind):
            path = _path(kind, version, namespace)
            try:
                items = [item for page in self.api.pages(path, query, what) for item in page]
            except NotFound:
                self._discover(kind)
                continue
            except NoAccess as error:
                if kind in _NEEDED and not selector:
                    raise
                return Objects(f"{self.name}{path}", (), False, str(error))
            return Objects(f"{self.name}{path}", items)
        return Objects(f"{self.name} {kind.file_stem}", ())

    def _get_one(self, kind: Kind, namespace: str | None, name: str) -> Raw | None:
        what = f"get {kind.plural}/{name}" + (f" in namespace {namespace}" if namespace else "")
        for version in self._served(kind):
            try:
                found: Raw = self.api.get(f"{_path(kind, version, namespace)}/{name}", (), what)
            except NotFound:
                continue
            except NoAccess:
                if kind in _NEEDED:
                    raise
                return None
            return found
        return None

    def _served(self, kind: Kind) -> Iterable[str]:
        """The versions to try, one after the other; what the group's discovery says is used as soon as it was asked."""
        for version in kind.versions:
            with self._lock:
                served = self._versions.get(kind.group, ())
            if served == () or (served is not None and version in served):
                yield version

    def _discover(self, kind: Kind) -> None:
        """After a 404: one request tells which versions of the group there are, for all its kinds."""
        if not kind.group:
            return
        with self._lock:
            discovery = self._discoveries.setdefault(kind.group, threading.Lock())
        with discovery:
            self._ask_versions(kind)

    def _ask_versions(self, kind: Kind) -> None:
        with self._lock:
            if kind.group in self._versions:
                return
        served: tuple[str, ...] | None
        try:
            about = self.api.get(f"/apis/{kind.group}", (), f"discover {kind.group}")
            served = tuple(str(entry.get("version")) for entry in about.get("versions") or ())
        except NotFound:
            served = None
        except MeshctlError:
            served = ()
        with self._lock:
            self._versions[kind.group] = served

    def _side_by_side(self, jobs: Sequence[tuple[Any, ...]]) -> list[Any]:
        if len(jobs) < 2:
            return [job[0](*job[1:]) for job in jobs]
        pool = ThreadPoolExecutor(min(PARALLEL, len(jobs)))
        try:
            return [future.result() for future in [pool.submit(*job) for job in jobs]]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _fits(item: Raw, namespace: str | None, selector: str) -> bool:
    metadata = item.get("metadata", {})
    return (namespace is None or metadata.get("namespace") == namespace) and (
        not selector or selects(selector, metadata.get("labels"))
    )


def _path(kind: Kind, version: str, namespace: str | None) -> str:
    root = f"/apis/{kind.group}/{version}" if kind.group else f"/api/{version}"
    return f"{root}/namespaces/{namespace}/{kind.plural}" if namespace else f"{root}/{kind.plural}"


def _container_names(raw: Raw) -> tuple[str, ...]:
    spec = raw.get("spec", {})
    lists = (spec.get("initContainers"), spec.get("containers"), spec.get("ephemeralContainers"))
    return tuple(str(container.get("name")) for found in lists for container in found or ())


_NO_WORLD = (
    "name a cluster (KUBECONFIG, --kubeconfig FILE), a recording (--snapshot PATH), or try --demo; "
    "or run it on the pod's node (--runtime containerd, crio, docker, podman, proc)"
)


def open(connection: Connection) -> World:
    """Open a cluster by its kubeconfig; on a node without one, the node's own runtime (root only)."""
    from meshctl.sources import made, node
    from meshctl.sources.kubeconfig import kubeconfig_files

    if connection.via in ("debug-pod", "ephemeral"):
        made.arm()

    if not connection.kubeconfig and not connection.context and not kubeconfig_files(None) and node.is_node():
        from meshctl.sources import node_world

        try:
            return node_world.open("auto")
        except MeshctlError as error:
            raise type(error)(f"no cluster is named, and as a node: {error}", hint=_NO_WORLD) from error
    return Cluster(connect(connection), connection)

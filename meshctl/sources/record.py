"""Writes a recording in the snapshot format: piece by piece to disk, redacted, and under its name only when whole.

Everything goes to ``TARGET.partial`` first, each file whole or not at all, so a recording that was interrupted (Ctrl-C,
a full disk) goes on where it stopped when it is run again. Memory does not grow with the cluster: lists are streamed a
page at a time, and of each pod only what is needed to reach it is kept.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import field
from pathlib import Path
from typing import Any

from meshctl.errors import MeshctlError, NotFound, Unavailable
from meshctl.frozen import dataclass
from meshctl.sources import control_plane, kinds, recording_files
from meshctl.sources.readdress import Readdress
from meshctl.sources.readonly import NETNS_PARTS
from meshctl.sources.recording_files import Partial
from meshctl.sources.redact import Redactor
from meshctl.sources.world import Kind, World

Raw = Mapping[str, Any]
SCHEMA = "meshctl.snapshot/v1"
NODE_PARTS = ("netns/iptables-save.txt", "netns/ip6tables-save.txt", "netns/nft.json", "netns/ip-route.json")
ENVOY_PARTS = ("config_dump.json", "clusters.json", "server_info.json", "certs.json", "stats.txt")
_SOCKETS = "netns/sockets.txt"
_MESH_CONTAINERS = ("istio-proxy", "istio-init", "istio-validation", "ztunnel", "discovery", "install-cni")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to record: `namespaces` None means all, `pods` (namespace, name) None means all of those namespaces."""

    name: str
    namespaces: tuple[str, ...] | None
    pods: tuple[tuple[str, str], ...] | None = None
    root_namespace: str = control_plane.USUAL
    redact_addresses: bool = False
    parallel: int = 4

    def identity(self, world: World) -> dict[str, Any]:
        """What a recording that goes on must have in common with the one that stopped."""
        return {
            "world": world.name,
            "namespaces": self.namespaces,
            "pods": self.pods,
            "redact_addresses": self.redact_addresses,
        }


@dataclass(slots=True)
class Recorded:
    """What was written, and what was not and why."""

    path: str
    pods: int = 0
    files: int = 0
    resumed: int = 0
    redactions: Counter[str] = field(default_factory=Counter)
    left_out: list[tuple[str, str]] = field(default_factory=list)


Progress = Callable[[str, int, int], None]


def record(world: World, plan: Plan, target: Path, progress: Progress = lambda *_: None) -> Recorded:
    """Record into a .tar.gz (or a directory, where the name has no such ending).

    Raises BadInput where the target exists or is being written by another run, Unavailable where the disk is full
    (what was recorded stays for the next run), NoAccess where pods may not be listed.
    """
    with recording_files.open_partial(target, plan.identity(world)) as partial:
        work = _Work(world, plan, partial, Recorded(str(target)), progress)
        work.objects()
        work.parts()
        work.nodes()
        partial.write("snapshot.json", _json_bytes(work.about()), again=True)
        partial.finish()
    return work.done


@dataclass(slots=True)
class _Work:
    world: World
    plan: Plan
    partial: Partial
    done: Recorded
    progress: Progress
    targets: list[Raw] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    revisions: set[str] = field(default_factory=set)

    def redactor(self) -> Redactor:
        return Redactor(Readdress(self.partial.key) if self.plan.redact_addresses else None)

    def count(self, redactor: Redactor) -> None:
        self.done.redactions.update(redactor.counts)

    def objects(self) -> None:
        everything = (*kinds.KUBERNETES, *kinds.MESH)
        for number, kind in enumerate(everything):
            self.progress(f"resources: {kind.plural}", number, len(everything))
            self._kind(kind)
        if self.plan.pods is not None:
            missing = set(self.plan.pods) - {_place(raw) for raw in self.targets}
            if missing:
                raise NotFound(f"there is no pod {', '.join(f'{name}.{ns}' for ns, name in sorted(missing))}")
        for raw in self._config_maps():
            metadata = raw["metadata"]
            redactor = self.redactor()
            name = f"resources/configmap.{metadata['namespace']}.{metadata['name']}.json"
            self._store(name, _json_bytes(redactor.value(raw)), redactor)

    def _kind(self, kind: Kind) -> None:
        """One list file; what is needed later (pods, for their parts) is read even where the file is there already."""
        file = f"resources/{kind.file_stem}.json"
        if self.partial.has(file) and kind not in (kinds.PODS, kinds.NODES, kinds.NAMESPACES):
            self.done.resumed += 1
            return
        redactor = self.redactor()
        try:
            with self.partial.list_writer(file) as write:
                for raw in self._items(kind):
                    self._notice(kind, raw)
                    write(redactor.value(raw))
        except MeshctlError as error:
            if kind == kinds.PODS:
                raise
            self.done.left_out.append((file, str(error)))
            return
        self.done.files += 1
        self.count(redactor)

    def _items(self, kind: Kind) -> Iterator[Raw]:
        places: Sequence[str | None] = [None]
        if kind.namespaced and self.plan.namespaces is not None:
            places = list(dict.fromkeys([*self.plan.namespaces, self.plan.root_namespace]))
        for place in places:
            yield from stream(self.world, kind, place)

    def _notice(self, kind: Kind, raw: Raw) -> None:
        if kind == kinds.NODES:
            info = (raw.get("status") or {}).get("nodeInfo") or {}
            self._version("kubernetes", info.get("kubeletVersion"))
            runtime, _, version = str(info.get("containerRuntimeVersion") or "").partition("://")
            self._version(runtime, version)
            self._version("kernel", info.get("kernelVersion"))
        if kind == kinds.NAMESPACES:
            self.places.append(str((raw.get("metadata") or {}).get("name") or ""))
        if kind != kinds.PODS:
            return
        place = _place(raw)
        self.revisions.update(control_plane.revisions((raw,)))
        for container in (raw.get("spec") or {}).get("containers") or ():
            if container.get("name") == "discovery":
                self._version("istio", str(container.get("image") or "").rpartition(":")[2])
        wanted = self.plan.namespaces is None or place[0] in self.plan.namespaces
        if place in self.plan.pods if self.plan.pods is not None else wanted:
            self.targets.append(slim(raw))

    def _version(self, what: str, version: Any) -> None:
        if what and version:
            self.versions.setdefault(what, str(version))

    def _config_maps(self) -> Iterator[Raw]:
        root = self.plan.root_namespace
        for name in (control_plane.MESH, control_plane.INJECTOR):
            wanted = (name, *(f"{name}-{revision}" for revision in sorted(self.revisions)))
            found = [one for each in wanted if (one := self.world.one(kinds.CONFIG_MAPS, root, each)) is not None]
            if not found:
                file = f"resources/configmap.{root}.{name}.json"
                self.done.left_out.append((file, "it is not there, or may not be read"))
            yield from found

    def parts(self) -> None:
        """The parts of every pod, several pods side by side."""
        adopt = getattr(self.world, "adopt", None)
        total = len(self.targets)
        with ThreadPoolExecutor(self.plan.parallel) as pool:
            waiting = []
            for raw in self.targets:
                if adopt is not None:
                    adopt(raw)
                waiting.append(pool.submit(self._pod, raw))
            try:
                for number, future in enumerate(as_completed(waiting), start=1):
                    done = future.result()
                    self.done.files += done.files
                    self.done.resumed += done.resumed
                    self.done.redactions.update(done.redactions)
                    self.done.left_out.extend(done.left_out)
                    self.done.pods += 1
                    self.progress("pods", number, total)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _pod(self, raw: Raw) -> Recorded:
        """One pod's parts; a part at a time is in memory."""
        namespace, name = _place(raw)
        done = Recorded("")
        folder = f"pods/{namespace}/{name}"
        wanted = self._wanted(raw, namespace, name)
        todo = [part for part in wanted if not self.partial.has(f"{folder}/{part}")]
        done.resumed += len(wanted) - len(todo)
        for group in _grouped(todo):
            try:
                found = self.world.parts(namespace, name, group)
            except MeshctlError as error:
                done.left_out.extend((f"{folder}/{part}", str(error)) for part in group)
                continue
            for part in group:
                answer = found[part]
                if answer.content is None:
                    if part != _SOCKETS or not raw["spec"].get("hostNetwork"):  # only root on its node sees these
                        done.left_out.append((f"{folder}/{part}", answer.gap))
                    continue
                redactor = self.redactor()
                self.partial.write(f"{folder}/{part}", redactor.content(answer.content, part))
                done.redactions.update(redactor.counts)
                done.files += 1
        return done

    def _wanted(self, raw: Raw, namespace: str, name: str) -> list[str]:
        containers = [c["name"] for key in ("initContainers", "containers") for c in raw["spec"].get(key) or ()]
        wanted = list(NETNS_PARTS) if not raw["spec"].get("hostNetwork") else [_SOCKETS]
        if "istio-proxy" in containers:
            wanted += [f"envoy/{part}" for part in ENVOY_PARTS]
        if "ztunnel" in containers:
            wanted.append("ztunnel/config_dump.json")
        with suppress(MeshctlError):
            wanted += [f"runtime/{part}" for part in self.world.part_names(namespace, name, "runtime")]
        return wanted + [f"logs/{container}.txt" for container in containers if container in _MESH_CONTAINERS]

    def nodes(self) -> None:
        """The nodes' own rules, where they can be read."""
        names = {str(raw["spec"].get("nodeName") or "") for raw in self.targets} - {""}
        for node in sorted(names):
            for part in NODE_PARTS:
                found = self.world.node_part(node, part)
                if found.content is None:
                    self.done.left_out.append((f"nodes/{node}/{part}", found.gap))
                    continue
                redactor = self.redactor()
                self._store(f"nodes/{node}/{part}", redactor.content(found.content, part), redactor)

    def _store(self, name: str, content: bytes, redactor: Redactor) -> None:
        self.partial.write(name, content)
        self.done.files += 1
        self.count(redactor)

    def about(self) -> dict[str, Any]:
        """snapshot.json; of all namespaces those without a pod are recorded too."""
        every = self.world.namespaces() or {*self.places, *(_place(raw)[0] for raw in self.targets)}
        namespaces = self.plan.namespaces or tuple(sorted(every))
        return {
            "schema": SCHEMA,
            "name": self.plan.name,
            "captured_at": self.partial.started_at if self.world.live else self.world.now().isoformat(),
            "namespaces": list(dict.fromkeys([*namespaces, self.plan.root_namespace])),
            "versions": self.versions,
            "redactions": {
                "addresses": self.plan.redact_addresses,
                "found": dict(sorted(self.done.redactions.items())),
            },
            "left_out": _summed(self.done.left_out),
        }


def stream(world: World, kind: Kind, namespace: str | None) -> Iterator[Raw]:
    """The objects of a kind a page at a time where the world can; raises where they cannot be looked at."""
    paged = getattr(world, "stream", None)
    if paged is not None:
        yield from paged(kind, namespace)
        return
    found = world.objects(kind, namespace)
    if not found.recorded:
        raise Unavailable(found.gap)
    yield from found.items


def slim(raw: Raw) -> Raw:
    """Of a Pod only what it takes to reach its parts."""
    metadata, spec, status = (raw.get(key) or {} for key in ("metadata", "spec", "status"))
    annotations = metadata.get("annotations") or {}
    kept = ("kubernetes.io/config.hash", "kubernetes.io/config.mirror", "proxy.istio.io/config")
    return {
        "metadata": {
            "name": metadata.get("name"),
            "namespace": metadata.get("namespace", "default"),
            "uid": metadata.get("uid"),
            "annotations": {key: annotations[key] for key in kept if key in annotations},
        },
        "spec": {
            "nodeName": spec.get("nodeName"),
            "hostNetwork": spec.get("hostNetwork", False),
            "securityContext": spec.get("securityContext") or {},
            "containers": [_slim_container(c) for c in spec.get("containers") or ()],
            "initContainers": [_slim_container(c) for c in spec.get("initContainers") or ()],
        },
        "status": {
            "phase": status.get("phase"),
            "containerStatuses": [{"state": c.get("state")} for c in status.get("containerStatuses") or ()],
            "initContainerStatuses": [{"state": c.get("state")} for c in status.get("initContainerStatuses") or ()],
        },
    }


def _slim_container(container: Raw) -> Raw:
    env = [variable for variable in container.get("env") or () if variable.get("name") == "PROXY_CONFIG"]
    security = container.get("securityContext") or {}
    return {"name": container.get("name"), "image": container.get("image"), "env": env, "securityContext": security}


def _grouped(parts: Sequence[str]) -> list[list[str]]:
    """A namespace is entered once for all its parts; everything else may be large and goes one by one."""
    inside = [part for part in parts if part.startswith("netns/")]
    return ([inside] if inside else []) + [[part] for part in parts if part not in inside]


def _place(raw: Raw) -> tuple[str, str]:
    metadata = raw.get("metadata") or {}
    return str(metadata.get("namespace") or "default"), str(metadata.get("name") or "")


def _summed(left_out: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """One entry a reason, with what it kept out; a thousand pods with the same reason make one entry."""
    reasons: dict[str, list[str]] = {}
    for what, why in left_out:
        reasons.setdefault(why.replace(what, "it"), []).append(what)
    return [{"why": why, "count": len(what), "parts": sorted(what)[:20]} for why, what in reasons.items()]


def _json_bytes(document: Any) -> bytes:
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()

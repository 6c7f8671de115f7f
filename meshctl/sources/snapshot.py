"""A recording as a `World`: a directory or a .tar.gz in the format of DESIGN.md (schema ``meshctl.snapshot/v1``)."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from meshctl import json_text
from meshctl.errors import BadInput, NotFound
from meshctl.frozen import dataclass
from meshctl.sources import control_plane
from meshctl.sources.selector import selects
from meshctl.sources.world import Kind, Objects, Part

SCHEMA = "meshctl.snapshot/v1"
RECORD = "record it with: meshctl snapshot record"


class Files(Protocol):
    """Named bytes: a folder or an archive."""

    def read(self, name: str) -> bytes | None:
        """The content of a file, None where it is not there."""
        ...

    def names(self, folder: str) -> tuple[str, ...]:
        """The names directly under a folder, sorted."""
        ...


@dataclass(frozen=True, slots=True)
class Folder:
    """The files of a directory."""

    root: Path

    def read(self, name: str) -> bytes | None:
        """The content of a file, None where it is not there."""
        try:
            with open(f"{self.root}/{name}", "rb", 0) as file:  # noqa: PTH123 (a Path costs as much as this)
                return file.read()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise BadInput(f"{self.root / name}: cannot be read: {error.strerror}") from error

    def names(self, folder: str) -> tuple[str, ...]:
        """The names directly under a folder, sorted."""
        try:
            return tuple(sorted(os.listdir(f"{self.root}/{folder}")))  # noqa: PTH208 (as above)
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except OSError as error:
            raise BadInput(f"{self.root / folder}: cannot be read: {error.strerror}") from error


@dataclass(slots=True)
class Snapshot:
    """A recording; parts that it lacks are gaps, not errors.

    So are objects that cannot be read, of which `tell` hears once a file; pods are no gap, since all else needs them.
    `control_plane` is its namespace where the user names it.
    """

    name: str
    files: Files
    about: Mapping[str, Any]
    live: bool = False
    tell: Callable[[str], None] = lambda _text: None
    control_plane: str = ""
    _root: str = ""
    _documents: dict[str, Any] = field(default_factory=dict)
    _lists: dict[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    _broken: dict[str, str] = field(default_factory=dict)
    _absent: set[str] = field(default_factory=set)

    def now(self) -> datetime:
        """The moment of the recording; ages and expiries are judged at it."""
        text = str(self.about.get("captured_at", ""))
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise BadInput(f"{self.name}/snapshot.json: captured_at '{text}' is no time (ISO 8601)") from error
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def namespaces(self) -> tuple[str, ...]:
        """The namespaces that were recorded."""
        named = self.about.get("namespaces")
        if isinstance(named, list) and named:
            return tuple(str(n) for n in named)
        return self.files.names("pods")

    def root_namespace(self) -> str:
        """The namespace of the mesh's control plane: where its ConfigMaps were recorded, else where istiod runs."""
        if not self._root:
            words = (name.split(".") for name in self.files.names("resources"))
            maps = [parts for parts in words if parts[0] == "configmap" and len(parts) == 4 and _of_istiod(parts[2])]
            found = min(maps, key=lambda m: len(m[2]))[1] if maps else ""
            self._root = self.control_plane or found or control_plane.by_pods(self)
        return self._root

    def prefetch(self, *_wanted: object) -> None:
        """Nothing to do: all is here."""

    def default_namespace(self) -> str:
        """The only recorded namespace that is not the control plane's; empty where there are several."""
        root = self.root_namespace()
        others = [n for n in self.namespaces() if n != root]
        return others[0] if len(others) == 1 else ""

    def objects(self, kind: Kind, namespace: str | None = None, selector: str = "") -> Objects:
        """The recorded objects of a kind."""
        file = f"resources/{kind.file_stem}.json"
        items = self._items(file, whole=kind.plural == "pods")
        if items is None:
            broken = self._broken.get(file, "")
            gap = broken or f"{file} is not in the snapshot; {RECORD}"
            return Objects(f"{self.name}/{file}", (), False, gap, broken=bool(broken))
        chosen = [
            item
            for item in items
            if (namespace is None or not kind.namespaced or _metadata(item).get("namespace", "default") == namespace)
            and (not selector or selects(selector, _metadata(item).get("labels")))
        ]
        return Objects(f"{self.name}/{file}", chosen)

    def one(self, kind: Kind, namespace: str, name: str) -> Mapping[str, Any] | None:
        """One recorded object; a ConfigMap has a file of its own."""
        if kind.plural == "configmaps":
            file = f"resources/configmap.{namespace}.{name}.json"
            try:
                document = self._json(file)
            except BadInput as error:
                self._leave_out(file, error)
                return None
            return document if isinstance(document, dict) else None
        for item in self.objects(kind, namespace).items:
            if _metadata(item).get("name") == name:
                return item
        return None

    def has_now(self, _kind: Kind, _namespace: str, _name: str) -> bool | None:
        """None: a recording knows its own moment only."""
        return None

    def user_of(self, _namespace: str, _pod: str, _container: str) -> tuple[int, int] | None:
        """None: no process runs in a recording; the parts say what was recorded of it."""
        return None

    def part(self, namespace: str, pod: str, name: str) -> Part:
        """One recorded part of a pod."""
        return self._part(f"pods/{namespace}/{pod}/{name}")

    def parts(self, namespace: str, pod: str, names: Sequence[str]) -> Mapping[str, Part]:
        """Several recorded parts of a pod."""
        return {name: self.part(namespace, pod, name) for name in names}

    def part_names(self, namespace: str, pod: str, folder: str) -> tuple[str, ...]:
        """The recorded parts of a pod in one folder."""
        return self.files.names(f"pods/{namespace}/{pod}/{folder}")

    def node_part(self, node: str, name: str) -> Part:
        """One recorded part of a node."""
        return self._part(f"nodes/{node}/{name}")

    def _items(self, file: str, *, whole: bool) -> Sequence[Mapping[str, Any]] | None:
        """The objects of a file; None where it is not there or (unless it is needed as a `whole`) cannot be read."""
        if file in self._broken:
            return None
        if file not in self._lists:
            try:
                document = self._json(file)
                if file in self._absent:
                    return None
                self._lists[file] = _list(document, f"{self.name}/{file}", strict=not whole)
            except BadInput as error:
                if whole:
                    raise
                self._leave_out(file, error)
                return None
        return self._lists[file]

    def _leave_out(self, file: str, error: BadInput) -> None:
        if file not in self._broken:
            self._broken[file] = str(error)
            self.tell(f"{error}; left out")

    def _part(self, file: str) -> Part:
        content = self.files.read(file)
        gap = "" if content is not None else f"{file} is not in the snapshot; {RECORD}"
        return Part(f"{self.name}/{file}", content, gap)

    def _json(self, file: str) -> Any:
        if file not in self._documents:
            content = self.files.read(file)
            if content is None:
                self._absent.add(file)
            self._documents[file] = None if content is None else json_text.read(content, f"{self.name}/{file}")
        return self._documents[file]


def _of_istiod(name: str) -> bool:
    """Whether a ConfigMap has settings of the mesh: ``istio``, ``istio-sidecar-injector``, or a revision's of both."""
    return name == "istio" or (name.startswith("istio-") and name != "istio-ca-root-cert")


def _list(document: Any, source: str, *, strict: bool) -> Sequence[Mapping[str, Any]]:
    """The items of a Kubernetes List, with `strict` each an object whose main fields are objects; else BadInput."""
    items = document.get("items") if isinstance(document, dict) else None
    if not isinstance(items, list):
        raise BadInput(f"{source}: no Kubernetes List: it has no items")
    for index, item in enumerate(items if strict else ()):
        if not isinstance(item, dict):
            raise BadInput(f"{source}: items[{index}] should be an object, is {_kind(item)}")
        for key in ("metadata", "spec", "status"):
            if not isinstance(item.get(key) or {}, dict):
                raise BadInput(f"{source}: items[{index}].{key} should be an object, is {_kind(item[key])}")
    return [item for item in items if isinstance(item, dict)]


def _kind(value: object) -> str:
    return {str: "a string", list: "a list", int: "a number", float: "a number", bool: "a flag"}.get(
        type(value), "null"
    )


def _metadata(item: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = item.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def open_snapshot(place: str, name: str | None = None, tell: Callable[[str], None] = lambda _text: None) -> Snapshot:
    """Open a snapshot's directory or archive; `tell` hears of objects that cannot be read.

    Raises NotFound where nothing is there, BadInput where it is no snapshot or an archive that is cut off.
    """
    path = Path(place)
    if not path.exists():
        raise NotFound(f"there is no snapshot at {place}", hint=f"{RECORD} -o FILE.tar.gz, or try --demo")
    if not (path / "snapshot.json").is_file() and (around := _around(path)):
        raise BadInput(f"{place} is a part of a recording", hint=f"name the whole of it: --snapshot {around}")
    files: Files
    if path.is_dir():
        files = Folder(path)
    else:
        from meshctl.sources.archive import open_archive

        files = open_archive(path)
    return Snapshot(name or str(place).rstrip("/"), files, _about(files, place), tell=tell)


def _around(path: Path) -> Path | None:
    """The recording in whose folder something lies, unless it is an archive that was put there."""
    if path.suffix in (".gz", ".tgz", ".tar"):
        return None
    return next((folder for folder in path.absolute().parents if (folder / "snapshot.json").is_file()), None)


def _about(files: Files, place: str) -> Mapping[str, Any]:
    content = files.read("snapshot.json")
    if content is None:
        raise BadInput(f"{place} is no meshctl snapshot: it has no snapshot.json", hint=RECORD)
    about = json_text.read(content, f"{place}/snapshot.json")
    if not isinstance(about, dict) or about.get("schema") != SCHEMA:
        found = about.get("schema") if isinstance(about, dict) else about
        raise BadInput(f"{place}/snapshot.json: schema is {found!r}, not {SCHEMA!r}")
    return about


def open_demo() -> Snapshot:
    """The snapshot inside the package."""
    root = Path(__file__).parent.parent / "demo" / "snapshot"
    return open_snapshot(str(root), name="demo")

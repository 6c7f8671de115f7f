"""A recording's files while it is being made: each whole or absent, kept for a later run, and moved into place last."""

import errno
import fcntl
import gzip
import json
import os
import secrets
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from meshctl.errors import BadInput, MeshctlError, NoAccess, NotFound, Unavailable
from meshctl.frozen import dataclass

_PLAN = ".plan.json"
_LOCK = ".lock"


@dataclass(slots=True)
class Partial:
    """The folder beside the target in which a recording grows."""

    target: Path
    folder: Path
    started_at: str
    key: bytes

    def has(self, name: str) -> bool:
        """Whether a file was recorded already, by this run or one before."""
        return (self.folder / name).is_file()

    def write(self, name: str, content: bytes, again: bool = False) -> None:
        """Write a file, whole or not at all."""
        if not again and self.has(name):
            return
        with self._writing(name) as file:
            file.write(content)

    @contextmanager
    def list_writer(self, name: str) -> Iterator[Callable[[Mapping[str, Any]], None]]:
        """Write a Kubernetes List an item at a time."""
        with self._writing(name) as file:
            first = True

            def item(raw: Mapping[str, Any]) -> None:
                nonlocal first
                file.write(b"" if first else b",\n")
                file.write(json.dumps(raw, ensure_ascii=False).encode())
                first = False

            file.write(b'{"apiVersion": "v1", "kind": "List", "items": [\n')
            yield item
            file.write(b"\n]}\n")

    @contextmanager
    def _writing(self, name: str) -> Iterator[Any]:
        place = self.folder / name
        growing = place.with_name(f".{place.name}.{secrets.token_hex(3)}")
        with _disk(self.folder):
            place.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _disk(self.folder), growing.open("wb") as file:
                yield file
            with _disk(self.folder):
                growing.replace(place)
        except BaseException:
            growing.unlink(missing_ok=True)
            raise

    def finish(self) -> None:
        """Put everything under the target's name in one step, and take the partial folder away."""
        for hidden in (_PLAN,):
            (self.folder / hidden).unlink(missing_ok=True)
        with _disk(self.target.parent):
            if _is_archive(self.target):
                self._pack()
                shutil.rmtree(self.folder)
            else:
                (self.folder / _LOCK).unlink(missing_ok=True)
                self.folder.replace(self.target)

    def _pack(self) -> None:
        packed = self.target.with_name(f".{self.target.name}.{secrets.token_hex(3)}")
        moment = int(datetime.fromisoformat(self.started_at).timestamp())
        try:
            with (
                packed.open("wb") as raw,
                gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=moment) as zipped,
                tarfile.open(fileobj=zipped, mode="w|") as tar,
            ):
                for name in self._names():
                    path = self.folder / name
                    info = tarfile.TarInfo(name)
                    info.size, info.mtime, info.mode = path.stat().st_size, moment, 0o644
                    with path.open("rb") as file:
                        tar.addfile(info, file)
            packed.replace(self.target)
        except BaseException:
            packed.unlink(missing_ok=True)
            raise

    def _names(self) -> list[str]:
        found = sorted(
            str(path.relative_to(self.folder))
            for path in self.folder.rglob("*")
            if path.is_file() and not path.name.startswith(".")
        )
        return sorted(found, key=lambda name: name != "snapshot.json")


_OTHER_ARCHIVES = frozenset((".zip", ".7z", ".rar", ".tar", ".gz", ".bz2", ".xz", ".zst", ".tbz2", ".txz"))
"""Endings (of what is no .tar.gz) that nobody gives a directory."""


@contextmanager
def open_partial(target: Path, identity: Mapping[str, Any]) -> Iterator[Partial]:
    """The partial folder of a target: a fresh one, or that of a run with the same plan that did not end.

    Raises BadInput where the target is there already, is no name of a recording, or another run is writing it;
    NotFound where its folder is not there.
    """
    if target.exists():
        raise BadInput(f"{target} is there already", hint="choose another name with -o, or remove it first")
    if not _is_archive(target) and target.suffix in _OTHER_ARCHIVES:
        raise BadInput(f"{target}: a recording is a .tar.gz, a .tgz or a directory", hint="-o FILE.tar.gz")
    if not target.parent.is_dir():
        raise NotFound(f"there is no folder {target.parent}", hint="make it first, or choose another name with -o")
    folder = target.with_name(f"{target.name}.partial")
    with _disk(target.parent):
        folder.mkdir(mode=0o700, exist_ok=True)
        lock = (folder / _LOCK).open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BadInput(
                f"another meshctl is recording into {target}", hint="wait for it, or choose another -o"
            ) from None
        started_at, key = _plan(folder, json.loads(json.dumps(identity)))
        yield Partial(target, folder, started_at, key)


def _plan(folder: Path, identity: Mapping[str, Any]) -> tuple[str, bytes]:
    place = folder / _PLAN
    try:
        before = json.loads(place.read_text(encoding="utf-8"))
        if before["identity"] == identity:
            return str(before["started_at"]), bytes.fromhex(before["key"])
        raise BadInput(
            f"{folder} holds another recording that was not finished",
            hint="remove it, or choose another name with -o",
        )
    except (OSError, ValueError, KeyError, TypeError):
        pass
    leftovers = [path for path in folder.iterdir() if path.name != _LOCK]
    for path in leftovers:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    started_at, key = datetime.now(UTC).isoformat(timespec="seconds"), secrets.token_bytes(32)
    with _disk(folder):
        place.touch(mode=0o600)
        place.write_text(
            json.dumps({"identity": identity, "started_at": started_at, "key": key.hex()}), encoding="utf-8"
        )
    return started_at, key


def _is_archive(target: Path) -> bool:
    return target.name.endswith((".tar.gz", ".tgz"))


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """Turn what a disk may refuse into errors with a way on."""
    try:
        yield
    except MeshctlError:
        raise
    except OSError as error:
        raise _disk_error(error, folder) from error


def _disk_error(error: OSError, folder: Path) -> MeshctlError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unavailable(
            f"the disk is full: {folder}", hint="free some space and run the same command: it goes on where it stopped"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return NoAccess(f"{error.filename or folder} may not be written: {os.strerror(error.errno)}")
    return BadInput(f"{error.filename or folder} cannot be written: {error.strerror}")

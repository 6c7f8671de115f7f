"""A snapshot's .tar.gz as named bytes, read without unpacking to disk."""

import gzip
import tarfile
import zlib
from pathlib import Path

from meshctl.errors import BadInput
from meshctl.frozen import dataclass
from meshctl.words import counted


@dataclass(frozen=True, slots=True)
class Archive:
    """The regular files of an archive, in memory; names are relative to the folder that holds snapshot.json."""

    contents: dict[str, bytes]

    def read(self, name: str) -> bytes | None:
        """The content of a file, None where it is not there."""
        return self.contents.get(name)

    def names(self, folder: str) -> tuple[str, ...]:
        """The names directly under a folder, sorted."""
        start = f"{folder.rstrip('/')}/"
        return tuple(sorted({n[len(start) :].partition("/")[0] for n in self.contents if n.startswith(start)}))


def open_archive(path: Path) -> Archive:
    """Read a .tar.gz (or plain .tar). Raises BadInput where it is none, or is cut off, with what was read till then."""
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:*") as tar:
            for member in tar:
                stream = tar.extractfile(member) if member.isfile() else None
                if stream is not None:
                    contents[member.name.removeprefix("./")] = stream.read()
    except PermissionError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}", hint=f"ls -l {path}") from error
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, OSError) as error:
        said = "it is no tar file" if isinstance(error, tarfile.ReadError) and not contents else str(error)
        raise BadInput(
            f"{path}: not a whole snapshot archive: {said} (after {counted(len(contents), 'file')})",
            hint="copy or record it again; a snapshot is a directory, a .tar.gz or a .tar",
        ) from error
    return Archive(_below(contents))


def _below(contents: dict[str, bytes]) -> dict[str, bytes]:
    roots = sorted((n for n in contents if n == "snapshot.json" or n.endswith("/snapshot.json")), key=len)
    prefix = roots[0].removesuffix("snapshot.json") if roots else ""
    return {n[len(prefix) :]: c for n, c in contents.items() if n.startswith(prefix)}

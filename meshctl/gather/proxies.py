"""One proxy's own configuration, of a pod of the world or from a file, with what else it says of itself."""

import re
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from meshctl.envoy import clusters_json, config_dump, server_info
from meshctl.envoy.clusters_json import ClusterHosts
from meshctl.envoy.config_dump import ConfigDump
from meshctl.envoy.server_info import Certificate, ServerInfo
from meshctl.errors import BadInput, MeshctlError, NotFound, Unavailable
from meshctl.frozen import dataclass
from meshctl.gather import pods
from meshctl.gather.scope import Scope
from meshctl.sources.world import Part, World
from meshctl.words import counted
from meshctl.yaml_text import documents

T = TypeVar("T")
_DUMP, _CLUSTERS = "envoy/config_dump.json", "envoy/clusters.json"
_SERVER_INFO, _CERTS = "envoy/server_info.json", "envoy/certs.json"


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy's configuration; `live`, `info` and `certificates` are None where they could not be looked at."""

    name: str
    dump: ConfigDump
    at: datetime | None = None
    live: Mapping[str, ClusterHosts] | None = None
    info: ServerInfo | None = None
    certificates: tuple[Certificate, ...] | None = None
    gaps: tuple[str, ...] = ()


def from_file(path: str) -> Proxy:
    """Read a config dump from a file, or from stdin where the path is ``-``."""
    try:
        content = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"{path}: there is no such file") from error
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror or error}") from error
    source = "stdin" if path == "-" else path
    content = _unpacked(content, source)
    if not content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")) and _may_be_yaml(content):
        found = documents(content.decode(), source)
        return Proxy(source, config_dump.read(found[0] if len(found) == 1 else list(found), source), at=_now())
    return Proxy(source, config_dump.parse(content, source), at=_now())


def _now() -> datetime:
    """A file does not say when its proxy is asked: tokens expire by this machine's clock."""
    return datetime.now(UTC)


def _may_be_yaml(content: bytes) -> bool:
    """Whether a text that is no JSON has a line like ``key:`` or ``- key:``, and nothing that YAML does not have."""
    return re.search(rb"(?m)^(- )?\"?[\w@-]+\"?:( |$|\r)", content[:4096]) is not None and b"\0" not in content


def _unpacked(content: bytes, source: str) -> bytes:
    """What is in a gzip file, or in a zip file with one file in it."""
    import gzip
    import io
    import zipfile
    import zlib

    try:
        if content.startswith(b"\x1f\x8b"):
            found = gzip.decompress(content)
            if found[257:262] == b"ustar":
                hint = "read it as a snapshot: --snapshot FILE, with a POD"
                raise BadInput(f"{source}: it is an archive, no config dump", hint=hint)
            return found
        if content.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                names = [name for name in archive.namelist() if not name.endswith("/")]
                if len(names) == 1:
                    return archive.read(names[0])
                hint = "unpack it, and name the config dump"
                raise BadInput(f"{source}: it is a zip file of {counted(len(names), 'file')}", hint=hint)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError) as error:
        raise BadInput(f"{source}: cannot be unpacked: {error}") from error
    return content


def of_pod(world: World, text: str | None, scope: Scope) -> Proxy:
    """Fetch what a pod's proxy says of itself. Raises NotFound where the pod has no proxy that could be asked."""
    pod = pods.one(world, text, scope)
    names = (_DUMP, _CLUSTERS, _SERVER_INFO, _CERTS)
    parts = world.parts(pod.namespace, pod.name, names)
    dump = parts[_DUMP]
    if dump.content is None:
        missing = Unavailable if world.live else NotFound
        raise missing(f"{pod.namespace}/{pod.name} has no proxy configuration to look at: {dump.gap or 'not recorded'}")
    gaps = [f"{name}: {parts[name].gap}" for name in names if not parts[name].there and parts[name].gap]
    return Proxy(
        f"{pod.namespace}/{pod.name}",
        config_dump.parse(dump.content, dump.source),
        at=world.now(),
        live=_optional(parts[_CLUSTERS], clusters_json.parse, gaps),
        info=_optional(parts[_SERVER_INFO], server_info.parse, gaps),
        certificates=_optional(parts[_CERTS], server_info.certificates, gaps),
        gaps=tuple(gaps),
    )


def _optional(part: Part, parse: Callable[[bytes, str], T], gaps: list[str]) -> T | None:
    """A part that a command can do without: broken content becomes a gap."""
    if part.content is None:
        return None
    try:
        return parse(part.content, part.source)
    except MeshctlError as error:
        gaps.append(str(error))
        return None

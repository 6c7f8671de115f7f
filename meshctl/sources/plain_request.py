"""One request without curl: sent by the child that is in a pod's namespace, or by Python in a container."""

import inspect
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from meshctl import json_text
from meshctl.frozen import dataclass
from meshctl.sources import request_program


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainRequest:
    """What is sent where; `address` is an IP from outside of the container, since names mean something else there.

    The socket is owned by `uid` and `gid`, as the rules of a pod look at that. An empty `method` only connects, and
    watches for `timeout_s` whether the connection stays open. With `tls` no certificate is checked.
    """

    address: str
    port: int
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    uid: int | None = None
    gid: int | None = None
    timeout_s: float = 15.0
    tls: bool = False
    sni: str = ""
    http2: bool = False


@dataclass(frozen=True, slots=True)
class PlainAnswer:
    """`status` None where there was none; then `broken` is how it ended (``refused``, ``timeout``, ``reset`` ...).

    `local` is the client's own ``address:port`` by which a proxy's log knows the connection; `spoke`: the other end
    sent something that is no HTTP answer.
    """

    status: int | None = None
    broken: str = ""
    text: str = ""
    local: str = ""
    connected: bool = False
    spoke: bool = False


def from_json(raw: Mapping[str, Any]) -> PlainRequest:
    """The request that the parent wrote for the child."""
    return PlainRequest(**{**raw, "headers": tuple((name, value) for name, value in raw["headers"])})


def answer_of(content: bytes) -> PlainAnswer:
    """The answer that the child wrote for the parent, or that Python in a container printed. Raises ValueError."""
    raw = json_text.loads(content)
    if not isinstance(raw, dict):
        raise ValueError(f"not an answer: {content[:40]!r}")
    return PlainAnswer(**{name: raw[name] for name in PlainAnswer.__slots__ if name in raw})


def send(request: PlainRequest) -> PlainAnswer:
    """Send it from here; with a `uid` or `gid` this process has to be root."""
    return answer_of(json.dumps(request_program.send(asdict(request))).encode())


def program() -> str:
    """The text that sends a request where there is a Python 3.7 or newer: it takes the request as JSON, and prints."""
    return inspect.getsource(request_program)

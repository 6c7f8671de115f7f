"""One HTTP/1.1 request without curl, as the user of an application: sent by the child that is in its namespace."""

import errno
import json
import os
import socket
from collections.abc import Mapping
from typing import Any

from meshctl.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainRequest:
    """What is sent where; `address` is an IP, since names mean something else outside of the container.

    The socket is owned by `uid` and `gid`, as the rules of a pod look at that. An empty `method` only connects.
    """

    address: str
    port: int
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    uid: int | None
    gid: int | None
    timeout_s: float = 15.0


@dataclass(frozen=True, slots=True)
class PlainAnswer:
    """`status` None where there was none; then `broken` is how it ended (``refused``, ``timeout``, ``reset``)."""

    status: int | None = None
    broken: str = ""
    text: str = ""


_ENDS = {errno.ECONNREFUSED: "refused", errno.ECONNRESET: "reset", errno.ETIMEDOUT: "timeout", errno.EPIPE: "reset"}


def from_json(raw: Mapping[str, Any]) -> PlainRequest:
    """The request that the parent wrote for the child."""
    return PlainRequest(**{**raw, "headers": tuple((name, value) for name, value in raw["headers"])})


def answer_of(content: bytes) -> PlainAnswer:
    """The answer that the child wrote for the parent."""
    return PlainAnswer(**json.loads(content))


def send(request: PlainRequest) -> PlainAnswer:
    """Send it over a socket of the application's user; where one is given, this process has to be root."""
    family = socket.AF_INET6 if ":" in request.address else socket.AF_INET
    try:
        with _owned(family, request.uid, request.gid) as connection:
            connection.settimeout(request.timeout_s)
            connection.connect((request.address, request.port))
            if not request.method:
                return PlainAnswer(text="connected")
            connection.sendall(_written(request))
            return _read(connection)
    except TimeoutError:
        return PlainAnswer(None, "timeout", f"no answer within {request.timeout_s:.0f} s")
    except OSError as error:
        return PlainAnswer(None, _ENDS.get(error.errno or 0, ""), error.strerror or str(error))


def _owned(family: socket.AddressFamily, uid: int | None, gid: int | None) -> socket.socket:
    """A socket that belongs to a user and group: ``-m owner`` looks at who opened it (xt_owner.c, f_cred)."""
    own = (os.geteuid(), os.getegid(), os.getgroups())
    if uid is not None or gid is not None:
        os.setgroups([])
    try:
        if gid is not None:
            os.setegid(gid)
        if uid is not None:
            os.seteuid(uid)
        return socket.socket(family, socket.SOCK_STREAM)
    finally:
        if os.geteuid() != own[0]:
            os.seteuid(own[0])
        if os.getegid() != own[1]:
            os.setegid(own[1])
        if uid is not None or gid is not None:
            os.setgroups(own[2])


def _written(request: PlainRequest) -> bytes:
    lines = [f"{request.method} {request.path} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers)]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1", "replace")


def _read(connection: socket.socket) -> PlainAnswer:
    head = b""
    while b"\r\n" not in head and len(head) < 4096:
        more = connection.recv(4096)
        if not more:
            return PlainAnswer(None, "reset", "the connection was closed without an answer")
        head += more
    words = head.split(b"\r\n", 1)[0].split(b" ")
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        return PlainAnswer(None, "", f"what came is no HTTP answer: {head[:40]!r}")
    return PlainAnswer(int(words[1]))

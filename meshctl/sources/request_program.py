"""One HTTP/1.1 request or TCP connection with nothing but Python's own library; containers run it as a text."""

from __future__ import annotations

import json
import os
import socket
import ssl
import sys
import time
from typing import Any

_ENDS = {111: "refused", 104: "reset", 110: "timeout", 113: "timeout", 32: "reset"}


def send(asked: dict[str, Any]) -> dict[str, Any]:
    """The fields of a PlainRequest in, those of a PlainAnswer out. For Python 3.7 and newer."""
    found: dict[str, Any] = {"status": None, "broken": "", "text": ""}
    try:
        _exchange(asked, found)
    except socket.gaierror as error:
        found.update(broken="dns", text=str(error.strerror))
    except socket.timeout:  # noqa: UP041  the same only since 3.10
        found.update(broken="timeout", text=f"no answer within {asked['timeout_s']:g} s")
    except ssl.SSLError as error:
        found.update(broken="tls", text=str(error))
    except OSError as error:
        found.update(broken=_ENDS.get(error.errno or 0, ""), text=error.strerror or str(error))
    return found


def _exchange(asked: dict[str, Any], found: dict[str, Any]) -> None:
    with _opened(asked) as raw:
        host, port = raw.getsockname()[:2]
        found.update(connected=True, local=f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        with _secured(raw, asked["sni"]) if asked["tls"] else raw as stream:
            if asked["method"]:
                _ask(stream, asked)
                _listen(stream, found)
            else:
                _hold(stream, asked["timeout_s"], found)


def _opened(asked: dict[str, Any]) -> socket.socket:
    place, wait = (asked["address"], asked["port"]), asked["timeout_s"]
    if asked["uid"] is None and asked["gid"] is None:
        return socket.create_connection(place, wait)
    raw = _owned(socket.AF_INET6 if ":" in asked["address"] else socket.AF_INET, asked["uid"], asked["gid"])
    raw.settimeout(wait)
    try:
        raw.connect(place)
    except OSError:
        raw.close()
        raise
    return raw


def _owned(family: int, uid: int | None, gid: int | None) -> socket.socket:
    # -m owner looks at who opened the socket (xt_owner.c, f_cred).
    own = (os.geteuid(), os.getegid(), os.getgroups())
    os.setgroups([])
    try:
        if gid is not None:
            os.setegid(gid)
        if uid is not None:
            os.seteuid(uid)
        return socket.socket(family, socket.SOCK_STREAM)
    finally:
        os.seteuid(own[0])
        os.setegid(own[1])
        os.setgroups(own[2])


def _secured(raw: socket.socket, name: str) -> socket.socket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(raw, server_hostname=name or None)


def _hold(stream: socket.socket, seconds: float, found: dict[str, Any]) -> None:
    stream.settimeout(seconds)
    began = time.time()
    try:
        heard = stream.recv(1)
    except socket.timeout:  # noqa: UP041
        found["text"] = f"connected, and it stayed open for {seconds:g} s"
        return
    if heard:
        found.update(spoke=True, text="connected, and the other end spoke first")
    else:
        found.update(broken="reset", text=f"connected, and closed after {time.time() - began:.1f} s")


def _ask(stream: socket.socket, asked: dict[str, Any]) -> None:
    lines = [f"{asked['method']} {asked['path']} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in asked["headers"]]
    stream.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1", "replace"))


def _listen(stream: socket.socket, found: dict[str, Any]) -> None:
    head = b""
    while b"\r\n\r\n" not in head and len(head) < 65536:
        more = stream.recv(4096)
        if not more:
            break
        head += more
    first = head.split(b"\r\n", 1)[0].split(b" ")
    if not head:
        found.update(broken="reset", text="the connection was closed without an answer")
    elif len(first) < 2 or not first[0].startswith(b"HTTP/") or not first[1].isdigit():
        found.update(spoke=True, text=f"what came is no HTTP answer: {head[:40]!r}")
    else:
        found["status"] = int(first[1])


if __name__ == "__main__":
    print(json.dumps(send(json.loads(sys.argv[1]))))

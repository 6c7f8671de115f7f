"""One request without curl: what is sent, what comes back, and from whose namespace and user."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from meshctl.sources import netns, plain_request
from meshctl.sources.plain_request import PlainAnswer, PlainRequest

ASKED = PlainRequest(
    address="127.0.0.1",
    port=0,
    method="GET",
    path="/reviews/0",
    headers=(("Host", "reviews:9080"), ("x-request-id", "one")),
    uid=None,
    gid=None,
    timeout_s=2.0,
)


@contextmanager
def listening(answer: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """A server that reads one request and gives this answer."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                heard.append(connection.recv(65536))
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], heard
        thread.join(5)


def test_the_request_is_written_as_http_and_the_status_is_read() -> None:
    with listening(b"HTTP/1.1 503 Service Unavailable\r\n\r\n") as (port, heard):
        found = plain_request.send(replace(ASKED, port=port))
    assert (found.status, found.connected) == (503, True)
    assert found.local.startswith("127.0.0.1:")
    assert heard[0].startswith(b"GET /reviews/0 HTTP/1.1\r\nHost: reviews:9080\r\nx-request-id: one\r\n")


def test_a_connection_that_is_closed_without_an_answer_is_a_reset() -> None:
    with listening(b"") as (port, _):
        assert plain_request.send(replace(ASKED, port=port)).broken == "reset"


def test_what_is_no_http_is_said() -> None:
    with listening(b"SSH-2.0-x\r\n") as (port, _):
        found = plain_request.send(replace(ASKED, port=port))
    assert found.status is None
    assert "SSH-2.0" in found.text
    assert found.spoke


def test_a_connection_is_watched_as_long_as_it_stays_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        asked = replace(ASKED, port=server.getsockname()[1], method="", timeout_s=0.1)
        found = plain_request.send(asked)
    assert (found.connected, found.broken, found.spoke) == (True, "", False)
    assert "stayed open" in found.text


def test_a_connection_that_is_accepted_and_closed_is_a_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=lambda: server.accept()[0].close())
        thread.start()
        found = plain_request.send(replace(ASKED, port=server.getsockname()[1], method=""))
        thread.join(5)
    assert (found.connected, found.broken) == (True, "reset")


def test_the_other_end_may_speak_first() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"220 ready")

        thread = threading.Thread(target=greet)
        thread.start()
        found = plain_request.send(replace(ASKED, port=server.getsockname()[1], method=""))
        thread.join(5)
    assert (found.connected, found.broken, found.spoke) == (True, "", True)


def test_tls_that_fails_is_said() -> None:
    with listening(b"HTTP/1.1 400 plain\r\n\r\n") as (port, heard):
        found = plain_request.send(replace(ASKED, port=port, tls=True, sni="reviews"))
    assert (found.status, found.broken) == (None, "tls")
    assert heard[0][:1] == b"\x16"


def test_a_port_where_nobody_listens_refuses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert plain_request.send(replace(ASKED, port=port)).broken == "refused"


def test_parent_and_child_understand_each_other() -> None:
    assert plain_request.from_json({**{k: getattr(ASKED, k) for k in ASKED.__slots__}}) == ASKED
    assert plain_request.answer_of(b'{"status": 200}') == PlainAnswer(200)


INSIDE = """
import os, socket, subprocess, sys
subprocess.run([sys.argv[1], "link", "set", "lo", "up"], check=True)
server = socket.create_server(("127.0.0.1", 9080))
print("ready", flush=True)
connection, _ = server.accept()
connection.recv(65536)
local = connection.getpeername()[1]
uid = next(l.split()[7] for l in open("/proc/net/tcp") if l.split()[1].endswith(f":{local:04X}"))
connection.sendall(f"HTTP/1.1 {200 if uid == '1000' else 500} x\\r\\n\\r\\n".encode())
"""


@pytest.mark.kernel
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare")
def test_it_is_sent_from_inside_a_namespace_as_another_user(tmp_path: Path) -> None:
    script = tmp_path / "inside.py"
    script.write_text(INSIDE)
    argv = ["unshare", "--net", sys.executable, str(script), shutil.which("ip") or "ip"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            time.sleep(0.1)
            found = netns.send(server.pid, replace(ASKED, port=9080, uid=1000, gid=1000))
        finally:
            server.kill()
    assert found.status == 200

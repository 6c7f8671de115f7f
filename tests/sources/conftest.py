"""API servers for the tests of the live source: a served recording, and one that does what a test tells it."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from meshctl.sources.serve import SnapshotServer
from meshctl.sources.snapshot import open_demo


def kubeconfig(path: Path, server: str, **user: Any) -> str:
    """Write a kubeconfig for one server; returns its path."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u", "namespace": "classic"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(json.dumps(document))
    return str(path)


@pytest.fixture
def served() -> Iterator[SnapshotServer]:
    """The demo recording as an API server."""
    server = SnapshotServer(open_demo())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def served_config(served: SnapshotServer, tmp_path: Path) -> str:
    """A kubeconfig for the served recording."""
    return kubeconfig(tmp_path / "served.kubeconfig", served.url)


class Scripted(ThreadingHTTPServer):
    """Answers by a function of (method, path, body); it may return (status, JSON), raise to cut the connection, or
    sleep. `asked` lists (method, path)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _ScriptedHandler)
        self.answer: Callable[[str, str, Any], Any] = lambda *_: (404, {})
        self.asked: list[tuple[str, str]] = []
        self.headers_seen: list[Any] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up is what some tests are about."""


class _ScriptedHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Scripted

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.command, self.path))
        self.server.headers_seen.append(self.headers)
        try:
            answer = self.server.answer(self.command, self.path, json.loads(body) if body else None)
        except ConnectionAbortedError:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"half": ')
            self.close_connection = True
            return
        status, document, *headers = answer
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _any


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    server = Scripted()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait between tries."""
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)

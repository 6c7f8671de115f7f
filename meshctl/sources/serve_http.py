"""One HTTP connection of the served recording: whom it answers, and how answers are written."""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

from meshctl.errors import BadInput
from meshctl.sources import serve_streams

_LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


class Refused(Exception):
    """An answer that is a Status."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


class Answering(BaseHTTPRequestHandler):
    """Answers in JSON, in Kubernetes' own words for what is refused, and as a WebSocket."""

    protocol_version = "HTTP/1.1"
    server_version = "meshctl-snapshot"

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: stderr is for the user."""

    def _serve(self, answer: Callable[[], None]) -> None:
        try:
            self._check_host()
            answer()
        except Refused as refused:
            self._status(refused.code, refused.reason, str(refused))
        except BadInput as error:
            self._status(400, "BadRequest", str(error))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _check_host(self) -> None:
        """A web page must not reach the recording by a name of its own that points to 127.0.0.1 (DNS rebinding)."""
        host = self.headers.get("Host", "")
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        if name not in _LOOPBACK:
            raise Refused(403, "Forbidden", f"this server only answers to 127.0.0.1 and localhost, not to '{host}'")

    def _refuse(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(min(size, 1 << 24))
        raise Refused(405, "MethodNotAllowed", "this is a recording: it can be read, not changed")

    def _upgrade(self) -> serve_streams.Stream:
        key = self.headers.get("Sec-WebSocket-Key", "")
        if "websocket" not in self.headers.get("Upgrade", "").lower() or not key:
            raise Refused(400, "BadRequest", "a recording speaks WebSocket here, not SPDY")
        offered = [word.strip() for word in self.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        chosen = next((protocol for protocol in serve_streams.PROTOCOLS if protocol in offered), "")
        self.send_response(101, "Switching Protocols")
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", serve_streams.accept_key(key))
        if chosen:
            self.send_header("Sec-WebSocket-Protocol", chosen)
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True
        return serve_streams.Stream(self.rfile, self.wfile)

    def _status(self, code: int, reason: str, message: str) -> None:
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        self._json(code, {**status, "message": message, "reason": reason, "code": code})

    def _json(self, code: int, document: Any) -> None:
        self._send(code, json.dumps(document, ensure_ascii=False).encode(), "application/json")

    def _send(self, code: int, content: bytes, kind: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        self.wfile.flush()

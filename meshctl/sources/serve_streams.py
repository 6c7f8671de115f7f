"""exec and port-forward of a served snapshot: the recorded answer to the fixed read-only commands, and nothing else.

Enough of RFC 6455 to be the server's side of one WebSocket, and of Kubernetes' channel protocols (v4, v5).
"""

import base64
import hashlib
import json
import struct
from collections.abc import Callable, Sequence
from typing import Any

from meshctl.frozen import dataclass
from meshctl.sources.envoy_admin import PATHS
from meshctl.sources.readonly import BY_PART

_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CHUNK = 32 * 1024
PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")

Parts = Callable[[str], bytes | None]
"""A pod's recorded parts by name."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a command printed when it was recorded."""

    stdout: bytes
    problem: str = ""


def part_for_command(argv: Sequence[str]) -> str | None:
    """The part that a command's output was recorded in, if it is one of the fixed ones."""
    words = tuple(argv)
    for part, command in BY_PART.items():
        if words in command.argvs:
            return part
    if words == ("cat", "/etc/resolv.conf"):
        return "netns/resolv.conf"
    if words[:2] == ("pilot-agent", "request") and "GET" in words:
        return part_for_path(words[-1])
    return None


def part_for_path(path: str) -> str | None:
    """The part that an admin page was recorded in."""
    page = path.partition("?")[0]
    for part, known in PATHS.items():
        if part.startswith("envoy/") and known.partition("?")[0] == page:
            return part
    return None


def accept_key(key: str) -> str:
    """The handshake's answer (RFC 6455, 4.2.2)."""
    return base64.b64encode(hashlib.sha1(f"{key}{_MAGIC}".encode(), usedforsecurity=False).digest()).decode()


class Stream:
    """The server's side of a WebSocket after its handshake."""

    def __init__(self, reader: Any, writer: Any) -> None:
        self.reader, self.writer = reader, writer

    def send(self, channel: int, data: bytes) -> None:
        """Send bytes on a channel, in frames of a moderate size."""
        for start in range(0, len(data), _CHUNK) or (0,):
            self._frame(0x2, bytes([channel]) + data[start : start + _CHUNK])

    def close(self) -> None:
        """Say good-bye with the code for a normal end."""
        self._frame(0x8, struct.pack("!H", 1000))

    def _frame(self, code: int, payload: bytes) -> None:
        size = len(payload)
        head = bytes([0x80 | code])
        if size < 126:
            head += bytes([size])
        elif size < 1 << 16:
            head += bytes([126]) + struct.pack("!H", size)
        else:
            head += bytes([127]) + struct.pack("!Q", size)
        self.writer.write(head + payload)
        self.writer.flush()

    def receive(self) -> bytes | None:
        """The next message; None at the end, or for one that is too large for what is served here."""
        while True:
            head = self.reader.read(2)
            if len(head) < 2:
                return None
            code, size = head[0] & 0x0F, head[1] & 0x7F
            if size == 126:
                size = struct.unpack("!H", self.reader.read(2))[0]
            elif size == 127:
                size = struct.unpack("!Q", self.reader.read(8))[0]
            if size > 1 << 20:
                return None
            mask = self.reader.read(4) if head[1] & 0x80 else b"\0\0\0\0"
            body = self.reader.read(size)
            data = bytes(byte ^ mask[at % 4] for at, byte in enumerate(body))
            if code == 0x8:
                return None
            if code == 0x9:
                self._frame(0xA, data)
                continue
            if code in (0x1, 0x2):
                return data


def run_command(stream: Stream, argv: Sequence[str], parts: Parts) -> None:
    """Answer an exec of a fixed command."""
    part = part_for_command(argv)
    why = f"not recorded: {part}" if part else "a recording only answers the commands that meshctl records"
    answer(stream, parts(part) if part else None, why)


def answer(stream: Stream, content: bytes | None, why: str = "not recorded") -> None:
    """End an exec with what the command printed, or with exit code 1 and a reason."""
    if content is None:
        stream.send(2, f"meshctl: {why}\n".encode())
        causes = [{"reason": "ExitCode", "message": "1"}]
        status: dict[str, Any] = {"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": causes}}
    else:
        stream.send(1, content)
        status = {"status": "Success"}
    stream.send(3, json.dumps({"kind": "Status", "apiVersion": "v1", "metadata": {}, **status}).encode())
    stream.close()


def forward(stream: Stream, port: int, parts: Parts) -> None:
    """Answer one HTTP request through a port-forward, as the proxy's admin interface did."""
    number = struct.pack("<H", port)
    stream.send(0, number)
    stream.send(1, number)
    request = b""
    while b"\r\n\r\n" not in request:
        message = stream.receive()
        if message is None:
            return
        if message[:1] == b"\0":
            request += message[1:]
    words = request.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    part = part_for_path(words[1]) if len(words) == 3 and words[0] == "GET" else None
    content = parts(part) if part else None
    if content is None and part == "envoy/config_dump.json":
        content = parts("ztunnel/config_dump.json")
    if content is None:
        stream.send(1, f"connection refused: the recording has no {part or words[1:2]}".encode())
    else:
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(content)}\r\nconnection: close\r\n\r\n"
        stream.send(0, head.encode() + content)
    stream.close()

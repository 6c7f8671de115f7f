"""exec and port-forward: WebSockets through the API server, with the channels of Kubernetes' v4 and v5 protocols.

`kubernetes` has both, but its exec forgets the impersonation headers and its port-forward can hang without a limit.
"""

import re
import socket
import ssl
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit

from meshctl import json_text
from meshctl.errors import MeshctlError, Unavailable
from meshctl.frozen import dataclass
from meshctl.sources.kube_errors import error_for, read_refusal

_STDOUT, _STDERR, _ERROR, _CLOSE = 1, 2, 3, 255
_LARGEST = 512 << 20


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and as whom to open streams; `configuration` is kubernetes' Configuration (TLS files and proxy)."""

    server: str
    configuration: Any
    headers: tuple[tuple[str, str], ...]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Exit:
    """What a command in a container printed, and its exit code; `problem` where it could not even be started."""

    stdout: bytes
    stderr: bytes
    code: int
    problem: str = ""


def run(endpoint: Endpoint, path: str, query: Sequence[tuple[str, str]], what: str, timeout_s: float) -> Exit:
    """Run a command through pods/exec. Raises Unavailable where it does not end in time or the stream breaks."""
    stream = _open(endpoint, path, query, ["v5.channel.k8s.io", "v4.channel.k8s.io"], what)
    out: dict[int, list[bytes]] = {_STDOUT: [], _STDERR: [], _ERROR: []}
    deadline = time.monotonic() + timeout_s
    try:
        while not out[_ERROR]:
            channel, data = _receive(stream, deadline, what)
            if channel is None:
                break
            if channel in out:
                out[channel].append(data)
    finally:
        stream.close()
    return _exit(b"".join(out[_STDOUT]), b"".join(out[_STDERR]), b"".join(out[_ERROR]), what)


def _exit(stdout: bytes, stderr: bytes, status: bytes, what: str) -> Exit:
    if not status:
        raise Unavailable(f"the connection broke before the command ended ({what})")
    try:
        document = json_text.loads(status)
    except ValueError:
        return Exit(stdout, stderr, -1, status.decode(errors="replace"))
    if document.get("status") == "Success":
        return Exit(stdout, stderr, 0)
    causes = (document.get("details") or {}).get("causes") or []
    codes = [cause.get("message", "") for cause in causes if cause.get("reason") == "ExitCode"]
    if codes and codes[0].lstrip("-").isdigit():
        return Exit(stdout, stderr, int(codes[0]))
    message = str(document.get("message") or "it could not be started")
    missing = re.search(r'exec: "([^"]+)": (?:executable file not found|stat .*: no such file)', message)
    return Exit(
        stdout, stderr, -1, f"the image has no {missing[1]} (executable file not found)" if missing else message
    )


def get(endpoint: Endpoint, path: str, port: int, request: str, what: str, timeout_s: float) -> bytes:
    """One HTTP GET through pods/portforward: the body of a 200. Raises Unavailable for anything else."""
    stream = _open(endpoint, path, [("ports", str(port))], ["v4.channel.k8s.io"], what)
    deadline = time.monotonic() + timeout_s
    head = f"GET {request} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: meshctl\r\nConnection: close\r\n\r\n"
    received = bytearray()
    greeted: set[int] = set()
    try:
        stream.send_binary(b"\x00" + head.encode())
        while not _complete(received):
            channel, data = _receive(stream, deadline, what)
            if channel is None:
                break
            if channel not in greeted:
                # The first message of a channel repeats the port's number, two bytes, little-endian.
                greeted.add(channel)
                data = data[2:]
            if channel == 1 and data:
                raise Unavailable(f"cannot {what}: {_plainly(data.decode(errors='replace'), port)}")
            if channel == 0:
                received += data
    finally:
        stream.close()
    return _body(bytes(received), f"port {port} of {what.removeprefix('port-forward to ')}")


def _plainly(said: str, port: int) -> str:
    """The runtime's words are a paragraph of ids; what matters is at their end."""
    if "connection refused" in said:
        return f"nothing listens on port {port}"
    return " ".join(said.split())[-200:]


def _complete(received: bytearray) -> bool:
    """Whether the answer is whole by its own Content-Length: Envoy may keep the connection open."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return False
    for line in bytes(received[:end]).lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(received) - end - 4 >= int(line.partition(b":")[2])
    return bytes(received[:end]).lower().find(b"chunked") >= 0 and received.endswith(b"0\r\n\r\n")


class _Socket:
    """Bytes with the face of a socket, for http.client's parser."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def makefile(self, *_: Any, **__: Any) -> Any:
        import io

        return io.BytesIO(self.content)


def _body(answer: bytes, whom: str) -> bytes:
    import http.client

    if not answer:
        raise Unavailable(f"{whom} closed the connection without an answer", hint="is the proxy running?")
    response = http.client.HTTPResponse(_Socket(answer))  # type: ignore[arg-type]
    try:
        response.begin()
        content = response.read()
    except http.client.HTTPException as error:
        raise Unavailable(f"{whom} does not answer in HTTP, or the answer was cut: {error!r}") from error
    if response.status != 200:
        raise Unavailable(f"{whom} answered {response.status}")
    return content


def _receive(stream: Any, deadline: float, what: str) -> tuple[int | None, bytes]:
    """The next message as (channel, bytes); (None, b"") at the end of the stream."""
    import websocket

    left = deadline - time.monotonic()
    if left <= 0:
        raise Unavailable(f"no answer in time ({what})")
    stream.settimeout(left)
    try:
        code, frame = stream.recv_data_frame(True)
    except (TimeoutError, websocket.WebSocketTimeoutException) as error:
        raise Unavailable(f"no answer in time ({what})") from error
    except (websocket.WebSocketException, OSError):
        return None, b""
    if code == websocket.ABNF.OPCODE_CLOSE:
        return None, b""
    if code not in (websocket.ABNF.OPCODE_BINARY, websocket.ABNF.OPCODE_TEXT) or not frame.data:
        return -1, b""
    data = bytes(frame.data)
    return (-1, b"") if data[0] == _CLOSE else (data[0], data[1:])


def _open(endpoint: Endpoint, path: str, query: Sequence[tuple[str, str]], protocols: list[str], what: str) -> Any:
    import websocket

    parts = urlsplit(endpoint.server)
    scheme = "wss" if parts.scheme == "https" else "ws"
    url = f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}{path}?{urlencode(list(query))}"
    stream: Any = websocket.WebSocket(sslopt=_tls(endpoint.configuration), skip_utf8_validation=True)
    stream.settimeout(endpoint.timeout_s)
    header = [f"{name}: {value}" for name, value in endpoint.headers]
    try:
        stream.connect(url, header=header, subprotocols=protocols, suppress_origin=True, **_proxy(endpoint))
    except websocket.WebSocketBadStatusException as error:
        body = getattr(error, "resp_body", None) or b""
        raise _refused(int(error.status_code), bytes(body), what, endpoint.server) from error
    except (websocket.WebSocketException, OSError, ValueError) as error:
        if isinstance(error, TimeoutError | socket.timeout | websocket.WebSocketTimeoutException):
            raise Unavailable(f"{endpoint.server} did not answer within {endpoint.timeout_s:g} s ({what})") from error
        raise Unavailable(f"cannot {what}: {error}") from error
    return stream


def _refused(status: int, body: bytes, what: str, server: str) -> MeshctlError:
    return error_for(read_refusal(status, body, what), server)


def _tls(configuration: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"cert_reqs": ssl.CERT_NONE, "check_hostname": False}
    if configuration.verify_ssl:
        options = {"cert_reqs": ssl.CERT_REQUIRED}
        if configuration.ssl_ca_cert:
            options["ca_certs"] = configuration.ssl_ca_cert
        if configuration.assert_hostname is not None:
            options["check_hostname"] = configuration.assert_hostname
    if configuration.cert_file:
        options["certfile"] = configuration.cert_file
        options["keyfile"] = configuration.key_file
    if getattr(configuration, "tls_server_name", None):
        options["server_hostname"] = configuration.tls_server_name
    return options


def _proxy(endpoint: Endpoint) -> dict[str, Any]:
    proxy = getattr(endpoint.configuration, "proxy", None)
    if not proxy:
        return {}
    parts = urlsplit(proxy)
    options = {"http_proxy_host": parts.hostname, "http_proxy_port": parts.port, "proxy_type": parts.scheme or "http"}
    if parts.username:
        options["http_proxy_auth"] = (parts.username, parts.password or "")
    no_proxy = getattr(endpoint.configuration, "no_proxy", None)
    return {**options, "http_no_proxy": no_proxy.split(",")} if no_proxy else options

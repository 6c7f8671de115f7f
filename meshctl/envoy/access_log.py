"""Access-log lines in Istio's own formats, text and JSON; tolerant of lines cut short and of prefixes that tools add.

Source: pilot/pkg/model/telemetry_logging.go, ``EnvoyTextLogFormat`` and ``EnvoyJSONLogFormatIstio``; the fields are the
same since 1.9. ``-`` stands for "nothing".
"""

from collections.abc import Iterator
from datetime import datetime

from meshctl import json_text
from meshctl.frozen import dataclass
from meshctl.origin import Origin

_ORDER = (
    "response_code", "response_flags", "response_code_details", "connection_termination_details",
    "upstream_transport_failure_reason", "bytes_received", "bytes_sent", "duration", "upstream_service_time",
    "x_forwarded_for", "user_agent", "request_id", "authority", "upstream_host", "upstream_cluster",
    "upstream_local_address", "downstream_local_address", "downstream_remote_address", "requested_server_name",
    "route_name",
)  # fmt: skip
_LEAST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One request or connection as a proxy logged it; a field that is not there or ``-`` is empty.

    `status` 0 is no HTTP answer (a TCP connection, or the client went away). `flags` are short codes (``UF``, ``URX``).
    `names_cluster`: the format has a field for the cluster, and `cluster` is empty because none was chosen.
    """

    start: datetime | None = None
    method: str = ""
    path: str = ""
    protocol: str = ""
    status: int | None = None
    flags: tuple[str, ...] = ()
    details: str = ""
    termination: str = ""
    failure: str = ""
    bytes_received: int | None = None
    bytes_sent: int | None = None
    duration_ms: int | None = None
    upstream_ms: int | None = None
    forwarded_for: str = ""
    user_agent: str = ""
    request_id: str = ""
    authority: str = ""
    upstream_host: str = ""
    cluster: str = ""
    upstream_local: str = ""
    local: str = ""
    remote: str = ""
    server_name: str = ""
    route: str = ""
    names_cluster: bool = False
    text: str = ""
    origin: Origin | None = None

    @property
    def inbound(self) -> bool:
        """Whether the server's proxy wrote it (its clusters are named ``inbound|...``)."""
        return self.cluster.startswith(("inbound|", "InboundPassthroughCluster"))

    @property
    def is_http(self) -> bool:
        """Whether it is a request; else it is a TCP connection."""
        return bool(self.method)


def fields(line: LogLine) -> dict[str, str]:
    """What a line says by Envoy's own names, in the order of the text format; without what it leaves empty."""
    request = " ".join(word or "-" for word in (line.method, line.path, line.protocol)) if line.method else ""
    values = (
        ("start_time", line.start.isoformat() if line.start else ""),
        ("request", request),
        ("response_code", "" if line.status is None else str(line.status)),
        ("response_flags", ",".join(line.flags)),
        ("response_code_details", line.details),
        ("connection_termination_details", line.termination),
        ("upstream_transport_failure_reason", line.failure),
        ("bytes_received", _shown(line.bytes_received)),
        ("bytes_sent", _shown(line.bytes_sent)),
        ("duration", _shown(line.duration_ms)),
        ("upstream_service_time", _shown(line.upstream_ms)),
        ("x_forwarded_for", line.forwarded_for),
        ("user_agent", line.user_agent),
        ("request_id", line.request_id),
        ("authority", line.authority),
        ("upstream_host", line.upstream_host),
        ("upstream_cluster", line.cluster),
        ("upstream_local_address", line.upstream_local),
        ("downstream_local_address", line.local),
        ("downstream_remote_address", line.remote),
        ("requested_server_name", line.server_name),
        ("route_name", line.route),
    )
    return {name: value for name, value in values if value}


def _shown(number: int | None) -> str:
    return "" if number is None else str(number)


def parse_line(text: str, origin: Origin | None = None) -> LogLine | None:
    """Read one line; None where it is no access-log line."""
    line = text.strip()
    start = line.find("{")
    if start >= 0 and line.endswith("}") and '"response_code"' in line:
        return _from_json(line[start:], origin)
    start = line.find("[")
    while start >= 0:
        found = _from_text(line[start:], origin)
        if found is not None:
            return found
        start = line.find("[", start + 1)
    return None


def parse(text: str, source: str) -> Iterator[LogLine]:
    """The access-log lines among others (a proxy's own messages stand in the same stream)."""
    for number, line in enumerate(text.splitlines(), 1):
        found = parse_line(line, Origin(source, line=number))
        if found is not None:
            yield found


def _from_text(line: str, origin: Origin | None) -> LogLine | None:
    stamp, closed, rest = line[1:].partition("]")
    start = _moment(stamp)
    rest = rest.strip()
    if not closed or start is None or not rest.startswith('"'):
        return None
    request, words = _words(rest)
    if len(words) < _LEAST or not (words[0].isdecimal() or words[0] == "-"):
        return None
    return _line(dict(zip(_ORDER, words, strict=False)), request, start, line, origin)


def _words(text: str) -> tuple[str, list[str]]:
    """The request in quotes, then words: bare or in quotes (which may hold spaces)."""
    words: list[str] = []
    place = 0
    while place < len(text):
        if text[place] == " ":
            place += 1
        elif text[place] == '"':
            end = text.find('"', place + 1)
            end = len(text) if end < 0 else end
            words.append(text[place + 1 : end])
            place = end + 1
        else:
            end = text.find(" ", place)
            end = len(text) if end < 0 else end
            words.append(text[place:end])
            place = end
    return words[0], words[1:]


def _from_json(text: str, origin: Origin | None) -> LogLine | None:
    try:
        raw = json_text.loads(text)
    except ValueError:
        return None
    if not isinstance(raw, dict):
        return None
    fields = {key: "" if value is None else str(value) for key, value in raw.items()}
    request = " ".join(fields.get(key) or "-" for key in ("method", "path", "protocol"))
    return _line(fields, request, _moment(fields.get("start_time", "")), text, origin)


def _line(fields: dict[str, str], request: str, start: datetime | None, text: str, origin: Origin | None) -> LogLine:
    def word(key: str) -> str:
        found = fields.get(key, "")
        return "" if found == "-" else found

    def number(key: str) -> int | None:
        found = word(key)
        return int(found) if found.isdecimal() else None

    parts = request.split(" ")
    method, protocol = parts[0], parts[-1] if len(parts) > 1 else ""
    path = " ".join(parts[1:-1]) if len(parts) > 2 else ""
    return LogLine(
        start=start,
        method="" if method == "-" else method,
        path="" if path == "-" else path,
        protocol="" if protocol == "-" else protocol,
        status=number("response_code"),
        flags=tuple(flag for flag in word("response_flags").split(",") if flag),
        details=word("response_code_details"),
        termination=word("connection_termination_details"),
        failure=word("upstream_transport_failure_reason"),
        bytes_received=number("bytes_received"),
        bytes_sent=number("bytes_sent"),
        duration_ms=number("duration"),
        upstream_ms=number("upstream_service_time"),
        forwarded_for=word("x_forwarded_for"),
        user_agent=word("user_agent"),
        request_id=word("request_id"),
        authority=word("authority"),
        upstream_host=word("upstream_host"),
        cluster=word("upstream_cluster").removesuffix(";"),
        upstream_local=word("upstream_local_address"),
        local=word("downstream_local_address"),
        remote=word("downstream_remote_address"),
        server_name=word("requested_server_name"),
        route=word("route_name"),
        names_cluster="upstream_cluster" in fields,
        text=text,
        origin=origin,
    )


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if len(text) >= len("2026-01-01T00:00:00") and "T" in text else None
    except ValueError:
        return None

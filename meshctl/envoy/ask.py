"""From what a user says about a request to a Query, with the defaults filled in."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from meshctl.envoy import ip
from meshctl.envoy.model.state import Bootstrap
from meshctl.envoy.query import Query
from meshctl.errors import BadInput


def query(
    proxy: Bootstrap,
    *,
    direction: Literal["inbound", "outbound", "gateway"],
    address: str | None,
    port: int | None,
    host: str | None = None,
    path: str = "/",
    method: str = "GET",
    headers: Sequence[str] = (),
    protocol: Literal["http", "http2", "tcp"] = "http",
    tls: Literal["plaintext", "tls", "mtls"] = "plaintext",
    sni: str | None = None,
    alpn: Sequence[str] = (),
    source: str | None = None,
    source_port: int | None = None,
    principal: str | None = None,
    at: datetime | None = None,
) -> Query:
    """A query; BadInput where something is missing or malformed.

    Inbound and gateway: the proxy's own address is the default. A server name is only sent in a TLS handshake, so one
    that is given makes it TLS.
    """
    if port is None:
        raise BadInput("--port is missing", hint="the port that the client asked for, before any redirect")
    if address is None and direction == "outbound":
        raise BadInput("--address is missing", hint="the IP address that the client asked for, before any redirect")
    place = address or next(iter(proxy.ips), "0.0.0.0")
    for option, text in (("--address", place), ("--source", source)):
        if text is not None and ip.parsed(text) is None:
            raise BadInput(f"{option}: '{text}' is no IP address")
    pairs = tuple(header(text) for text in headers)
    absolute = _ABSOLUTE.fullmatch(path)
    if absolute is not None:
        host, path = absolute["host"], absolute["path"] or "/"
    named = next((value for name, value in pairs if name in ("host", ":authority")), None)
    return Query(
        direction=direction,
        address=ip.canonical(place.strip("[]")),
        port=port,
        protocol=protocol,
        tls="tls" if sni and tls == "plaintext" else tls,
        host=host if host is not None else named,
        path=path or "/",
        method=method,
        headers=tuple(pair for pair in pairs if pair[0] not in ("host", ":authority")),
        sni=sni,
        alpn=tuple(protocol for text in alpn for protocol in text.split(",") if protocol),
        source=source,
        source_port=source_port,
        principal=principal,
        at=at,
    )


_ABSOLUTE = re.compile(r"(?i)https?://(?P<host>[^/?#]+)(?P<path>.*)", re.DOTALL)
"""What clients of a forward proxy send: the host that it names goes before the Host header (RFC 9112, 3.2.2)."""


def header(text: str) -> tuple[str, str]:
    """A header as ``K=V`` or, as curl takes it, ``K: V``."""
    start = 1 if text.startswith(":") else 0
    place = min((found for mark in "=:" if (found := text.find(mark, start)) > 0), default=0)
    if place and " " not in text[:place].strip():
        return text[:place].strip().lower(), text[place + 1 :].strip()
    raise BadInput(f"--header: '{text}' is no header", hint="write it as NAME=VALUE")

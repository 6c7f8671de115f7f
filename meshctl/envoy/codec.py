"""What the parsers of HTTP in Envoy refuse before any filter: methods they do not know, and paths that are none."""

import re
from collections.abc import Mapping
from typing import Literal

from meshctl.frozen import dataclass

METHODS = frozenset(
    (
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "COPY", "LOCK", "MKCOL", "MOVE",
        "PROPFIND", "PROPPATCH", "SEARCH", "UNLOCK", "BIND", "REBIND", "UNBIND", "ACL", "REPORT", "MKACTIVITY",
        "CHECKOUT", "MERGE", "M-SEARCH", "NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE", "PURGE", "MKCALENDAR", "LINK", "UNLINK",
        "SOURCE",
    )
)  # fmt: skip
"""What Envoy's HTTP/1 parsers know (http-parser, and Balsa without ``allow_custom_methods``)."""


def refuses(protocol: Literal["http", "http2", "tcp"], method: str, path: str) -> str:
    """Why a parser of HTTP refuses the bytes; empty where it takes them."""
    if protocol == "tcp":
        return "bytes that are no HTTP reach an HTTP connection manager"
    if protocol == "http" and method not in METHODS:
        return f"HTTP/1 has no method {method} that Envoy knows{meant(method)}"
    if protocol == "http" and not _printable(path):
        return "the path has a character that HTTP/1 does not allow"
    if protocol == "http2" and any(char <= " " or char == "\x7f" for char in path):
        return "the path has a character that HTTP/2 does not allow: the stream is reset"
    if path.startswith("/") or method == "CONNECT" or (path, method) == ("*", "OPTIONS"):
        return ""
    return f"the path {path} does not start with a slash"


def meant(method: str) -> str:
    """A remark on a method that is one but for its case; empty for others (RFC 9110, 9.1: they are case-sensitive)."""
    usual = method.upper()
    return f" (case counts: {usual} is one)" if method not in METHODS and usual in METHODS else ""


def details(method: str, path: str) -> str:
    """What Envoy logs of a refused request of HTTP/1 (``response_code_details``; seen of Envoy 1.35)."""
    if method in METHODS and path.startswith("*"):
        return "http1.invalid_url"
    return "http1.invalid_scheme" if method in METHODS and _ABSOLUTE.match(path) else "http1.codec_error"


@dataclass(frozen=True, slots=True)
class Malformed:
    """What HTTP/1 refuses in the headers, with the answer and what Envoy logs of it."""

    why: str
    status: int
    details: str


def malformed(
    protocol: Literal["http", "http2", "tcp"], host: str, headers: Mapping[str, tuple[str, ...]]
) -> Malformed | None:
    """What Envoy refuses in the headers of a request, None where it takes them: seen of 1.36 to 1.40.

    `status` is what HTTP/1 answers; of HTTP/2 the stream is reset.
    """
    for coding in headers.get("transfer-encoding", ()):
        if coding.strip().lower() not in ("", "chunked"):
            why = f"the transfer encoding {coding} is not one that Envoy takes"
            return Malformed(why, 501, "http1.invalid_transfer_encoding")
    for length in headers.get("content-length", ()):
        if not (length.isascii() and length.isdecimal()):
            return Malformed(f"the content length {length} is no number", 400, "http1.codec_error")
    unfit = _NO_AUTHORITY | {"@"} if protocol == "http2" else _NO_AUTHORITY
    if odd := next((char for char in host if char in unfit or not "!" <= char <= "~"), ""):
        return Malformed(f"a host has no {odd!r} in it", 400, "http.invalid_authority")
    return None


_NO_AUTHORITY = frozenset('"#/<>?\\^`{|}')
"""Printable characters that Envoy refuses in an authority (``http.invalid_authority``)."""


def looks_like_http(
    protocol: Literal["http", "http2", "tcp"], method: str, path: str, any_method: bool | None
) -> bool | None:
    """Whether the HTTP inspector takes the first line for HTTP; not any path will do.

    `any_method`: nor will methods that the parsers do not know, before Envoy 1.39 (seen of 1.36 to 1.40); None is not
    known.
    """
    if protocol != "http":
        return protocol == "http2"
    if not _printable(path) or not (path.startswith(("/", "*")) or _ABSOLUTE.match(path)):
        return False
    return any_method if method not in METHODS else True


_ABSOLUTE = re.compile(r"[a-z]+://")


def _printable(path: str) -> bool:
    return all("!" <= char <= "~" for char in path)

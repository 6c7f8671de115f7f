"""A connection and the request on it as filters and routes see them."""

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from meshctl.envoy import grpc, strings
from meshctl.envoy.model.matching import NamedMatch, PresentMatch
from meshctl.frozen import dataclass

JOINED = frozenset(
    (
        "accept", "accept-encoding", "access-control-request-headers", "access-control-request-method", "authorization",
        "cache-control", "content-type", "expect", "grpc-timeout", "if-match", "if-modified-since", "if-none-match",
        "if-range", "if-unmodified-since", "origin", "pragma", "referer", "user-agent", "via", "x-forwarded-for",
        "x-forwarded-client-cert", "x-forwarded-proto", "x-request-id",
    )
)  # fmt: skip
"""Headers of which Envoy keeps one: it joins those that come twice (Envoy, inline headers of ``header_map_impl``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is known after a filter chain was chosen; `headers` by lower-case name, values in order.

    `terminated` is whether this proxy ended the client's TLS: only then does it know the peer. `presented` is whether
    the client showed it a certificate. `principal` is the peer's verified identity: empty for none, None where it is
    not known. `http` False is a raw connection. `unsettled` are headers that Envoy itself sets to what cannot be told
    beforehand: true where they are there for sure. `metadata` is what filters found out so far, None not known.
    `internal` is whether Envoy takes the client for internal.
    `each_value` is how this Envoy matches a header that came twice (see `strings.named_holds`).
    """

    address: str
    port: int
    source: str | None
    remote: str | None
    server_name: str
    tls: Literal["plaintext", "tls", "mtls"]
    terminated: bool
    presented: bool = False
    principal: str | None
    http: bool
    method: str = "GET"
    host: str = ""
    path: str = "/"
    scheme: str = "http"
    headers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unsettled: Mapping[str, bool | None] = field(default_factory=dict)
    internal: bool | None = None
    metadata: Mapping[str, object] | None = field(default_factory=dict)
    each_value: bool | None = None
    each_value_in_policies: bool | None = None

    @property
    def forwarded_proto(self) -> str:
        """``x-forwarded-proto``: as sent, else what the connection is."""
        forwarded = self.headers.get("x-forwarded-proto", ())
        return ",".join(forwarded) if forwarded else "https" if self.terminated else "http"

    @property
    def bare_path(self) -> str:
        """The path without query and fragment."""
        return self.path.partition("#")[0].partition("?")[0]

    @property
    def is_grpc(self) -> bool:
        """Whether the content type is gRPC's."""
        return grpc.is_grpc((self.values("content-type") or ("",))[0])

    @property
    def upgrade(self) -> str:
        """The protocol that the client asks to change to, in lower case; empty for none."""
        if self.method == "CONNECT":
            return "connect"
        wanted = ",".join(self.headers.get("upgrade", ())).strip().lower()
        words = {word.strip().lower() for value in self.headers.get("connection", ()) for word in value.split(",")}
        return wanted if "upgrade" in words and wanted != "h2c" else ""

    def values(self, name: str) -> tuple[str, ...]:
        """A header's values, pseudo headers included; none on a raw connection."""
        if not self.http:
            return ()
        match name:
            case ":path":
                return (self.path,)
            case ":method":
                return (self.method,)
            case ":authority" | "host":
                return (self.host,) if self.host else ()
            case ":scheme":
                return (self.scheme,)
            case "x-forwarded-proto":
                return (self.forwarded_proto,)
            case _ if name in JOINED and len(self.headers.get(name, ())) > 1:
                return (",".join(self.headers[name]),)
            case _:
                return self.headers.get(name, ())

    def header_holds(self, match: NamedMatch, *, policies: bool = False) -> bool | None:
        """Whether a header matcher holds; None where the value cannot be told. `policies` compare as RBAC does."""
        if self.http and match.name in self.unsettled:
            if isinstance(match.match, PresentMatch) and self.unsettled[match.name]:
                return match.match.present != match.invert
            return None
        each = self.each_value_in_policies if policies else self.each_value
        return strings.named_holds(match, self.values(match.name), each=each)

    def query(self, name: str) -> tuple[str, ...]:
        """The first value of a query parameter, as it is written (Envoy does not decode it)."""
        text = self.path.partition("#")[0].partition("?")[2]
        for pair in text.split("&") if text else ():
            key, _, value = pair.partition("=")
            if key == name:
                return (value,)
        return ()

    def cookie(self, name: str) -> tuple[str, ...]:
        """The first value of a cookie, without quotes."""
        for header in self.values("cookie"):
            for pair in header.split(";"):
                key, found, value = pair.strip().partition("=")
                if found and key == name:
                    return (value.strip('"'),)
        return ()

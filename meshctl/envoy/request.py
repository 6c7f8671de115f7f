"""A connection and the request on it as filters and routes see them."""

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from meshctl.frozen import dataclass

_SET_BY_ENVOY = ("x-request-id", "x-envoy-internal", "x-envoy-external-address", "x-forwarded-client-cert")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is known after a filter chain was chosen; `headers` by lower-case name, values in order.

    `terminated` is whether this proxy ended the client's TLS: only then does it know the peer. `principal` is the
    peer's verified identity: empty for none, None where it is not known. `http` False is a raw connection.
    `each_value` is how this Envoy matches a header that came twice (see `strings.named_holds`).
    """

    address: str
    port: int
    source: str | None
    remote: str | None
    server_name: str
    tls: Literal["plaintext", "tls", "mtls"]
    terminated: bool
    principal: str | None
    http: bool
    method: str = "GET"
    host: str = ""
    path: str = "/"
    headers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    each_value: bool | None = None
    each_value_in_policies: bool | None = None

    @property
    def scheme(self) -> str:
        """What Envoy takes the scheme for: the transport's, unless a trusted proxy in front said otherwise."""
        forwarded = self.headers.get("x-forwarded-proto", ())
        return forwarded[0] if forwarded else "https" if self.terminated else "http"

    @property
    def bare_path(self) -> str:
        """The path without query and fragment."""
        return self.path.partition("#")[0].partition("?")[0]

    @property
    def is_grpc(self) -> bool:
        """Whether the content type is gRPC's (Envoy, ``Grpc::Common::isGrpcRequestHeaders``)."""
        kind = (self.values("content-type") or ("",))[0]
        return kind == "application/grpc" or kind.startswith("application/grpc+")

    @property
    def certificate_presented(self) -> bool:
        """Whether the client proved who it is with a certificate."""
        return self.terminated and self.tls == "mtls"

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
            case ":scheme" | "x-forwarded-proto":
                return (self.scheme,)
            case _:
                return self.headers.get(name, ())

    def unknown(self, name: str) -> bool:
        """Whether Envoy itself sets this header to something that cannot be told beforehand."""
        return self.http and name in _SET_BY_ENVOY and name not in self.headers

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
                key, _, value = pair.strip().partition("=")
                if key == name:
                    return (value.strip('"'),)
        return ()

"""What a client sends before any HTTP, and what the inspectors of a listener make of it."""

from meshctl.envoy import codec, ip, listener, rewrite
from meshctl.envoy.query import Query


def inspected(
    query: Query, looks: listener.Inspectors, any_method: bool | None
) -> tuple[str | None, str, tuple[str, ...] | None, str]:
    """Transport, server name and application protocols as the inspectors report them; None is not known.

    `any_method`: see `codec.looks_like_http`.
    """
    if query.tls != "plaintext":
        if looks.tls:
            return "tls", server_name(query), offered_alpn(query), "the TLS inspector reads the ClientHello"
        if looks.tls is None:
            return None, server_name(query), None, "whether the TLS inspector runs for this port cannot be told"
        return "raw_buffer", "", (), "no TLS inspector runs for this port, so TLS is not noticed"
    is_http = codec.looks_like_http(query.protocol, query.method, query.path, any_method)
    if looks.http is False or is_http is False:
        because = "no inspector recognises an application protocol"
        if looks.http and any_method is False and query.protocol == "http" and query.method not in codec.METHODS:
            because = f"the HTTP inspector does not know the method {query.method}{codec.meant(query.method)}"
        elif looks.http:
            because = "the bytes are no HTTP"
        return "raw_buffer", "", (), because
    if looks.http is None:
        return "raw_buffer", "", None, "whether the HTTP inspector runs for this port cannot be told"
    if is_http is None:
        because = f"whether the HTTP inspector takes the method {query.method} depends on Envoy's release"
        return "raw_buffer", "", None, because
    protocol = "h2c" if query.protocol == "http2" else "http/1.1"
    return "raw_buffer", "", (protocol,), "the HTTP inspector recognises the first bytes"


def server_name(query: Query) -> str:
    """The server name that a TLS client sends: its own TLS names the host, unless told otherwise."""
    if query.sni is not None:
        return query.sni.lower()
    if query.tls == "tls" and query.host and ip.parsed(rewrite.without_port(query.host)) is None:
        return rewrite.without_port(query.host).lower()
    return ""


def offered_alpn(query: Query) -> tuple[str, ...]:
    """The application protocols that a TLS client offers: as given, else what Istio's proxies offer.

    Source: istio.alpn's overrides (pilot/pkg/xds/filters, 1.12 to 1.30). A client's own TLS offers none by default.
    """
    if query.alpn or query.tls != "mtls":
        return query.alpn
    return {"http": ("istio-http/1.1", "istio", "http/1.1"), "http2": ("istio-h2", "istio", "h2")}.get(
        query.protocol, ("istio",)
    )

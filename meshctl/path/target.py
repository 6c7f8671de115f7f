"""From what the user typed to what the application sends: port, protocol, host header."""

from dataclasses import replace

from meshctl.errors import BadInput
from meshctl.istio.port_protocol import declared
from meshctl.kube.services import Service, ServicePort
from meshctl.path.model import Request
from meshctl.refs import Target

TLS_SCHEMES = ("https", "wss", "tls")


def port_of(target: Target, service: Service | None, ports: tuple[int, ...] = ()) -> int:
    """The port that is called: the one given, else the Service's (or ServiceEntry's) only one.

    Raises BadInput with the ports to choose from where there are several or none is known.
    """
    if target.port is not None:
        return target.port
    known = tuple(port.number for port in service.ports if port.protocol != "UDP") if service else ports
    if len(known) == 1:
        return known[0]
    hint = f"{target.host} has the ports {', '.join(map(str, known))}" if known else f"for example {target.host}:80"
    raise BadInput(f"'{target.text}' names no port", hint=hint)


def protocol_of(port: ServicePort | None) -> str:
    """The protocol that Istio takes a Service port for; empty where the proxy looks at the first bytes."""
    return declared(port) if port is not None else ""


def request_for(target: Target, port: int, base: Request, declared: str) -> Request:
    """Complete a request: the scheme decides, then what the port declares; the host header is as curl writes it.

    A port that declares a TCP protocol is called with plain TCP only where the user gave no scheme and no path. With
    ``grpc://`` it says that it is gRPC, which is a POST. The server name of TLS is that of the URL, whatever the Host
    header says; an address is none (RFC 6066, 3).
    """
    path = base.path if base.path != "/" else (target.path or "/")
    host = base.host or _host_header(target, port)
    tls = target.scheme in TLS_SCHEMES or (not target.scheme and declared in ("https", "tls"))
    protocol = base.protocol
    no_http = not target.scheme and not target.path and base.path == "/"
    if target.scheme in ("tcp", "tls") or (no_http and declared in ("tcp", "tls", "mongo", "mysql", "redis")):
        protocol = "tcp"
    elif target.scheme == "grpc" or (not target.scheme and declared in ("grpc", "http2")):
        protocol = "http2"
    if target.scheme == "grpc" and not any(name.lower() == "content-type" for name, _ in base.headers):
        method = "POST" if base.method == "GET" else base.method
        base = replace(base, method=method, headers=(*base.headers, ("content-type", "application/grpc")))
    if base.sni is not None and not tls:
        raise BadInput(
            "--sni is the name in a TLS handshake, and this request has none", hint="call https:// or tls://"
        )
    sni = base.sni if base.sni is not None else "" if target.address else target.host
    return replace(base, path=path, host=host, protocol=protocol, tls=tls, sni=sni if tls else None)


def _host_header(target: Target, port: int) -> str:
    host = f"[{target.host}]" if ":" in target.host else f"{target.host}{'.' if target.absolute else ''}"
    usual = 443 if target.scheme in TLS_SCHEMES else 80
    return host if port == usual else f"{host}:{port}"

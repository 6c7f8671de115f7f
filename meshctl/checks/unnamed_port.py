"""A port without a protocol in its name makes the proxy guess from the first bytes."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC114"
TITLE = "A service port that does not name its protocol"


def check(it: Evidence) -> Iterator[Finding]:
    """A service port that does not name its protocol."""
    if it.description.injection.mode in ("none", "gateway"):
        return
    for service in it.description.services:
        for port in service.ports:
            if port.protocol != "TCP" or port.app_protocol or protocol_of(port.name):
                continue
            named = f"'{port.name}' names no protocol" if port.name else "it has no name"
            text = (
                f"port {port.number} of service {service.name}: {named}, so the proxy guesses from the first bytes; "
                "protocols in which the server speaks first (MySQL, SMTP) then hang"
            )
            fix = "call it http, http-..., grpc-..., tcp-... or set appProtocol"
            yield it.finding(ID, "info", text, evidence=f"service/{service.namespace}/{service.name}", fix=fix)


_PROTOCOLS = frozenset(
    ("http", "http2", "https", "grpc", "grpc-web", "tcp", "tls", "udp", "mongo", "mysql", "redis", "hbone", "auto")
)


def protocol_of(name: str) -> str:
    """The protocol in a port's name (``http-web`` is http, ``grpc-web-x`` is grpc-web); empty for none."""
    if name == "grpc-web" or name.startswith("grpc-web-"):
        return "grpc-web"
    first = name.partition("-")[0].lower()
    return first if first in _PROTOCOLS else ""

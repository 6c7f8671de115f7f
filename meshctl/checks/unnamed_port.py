"""A port without a protocol in its name makes the proxy guess from the first bytes."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.istio.port_protocol import declared

ID = "MC114"
TITLE = "A service port that does not name its protocol"


def check(it: Evidence) -> Iterator[Finding]:
    """A service port that does not name its protocol."""
    if it.description.injection.mode in ("none", "gateway"):
        return
    for service in it.description.services:
        for port in service.ports:
            if port.protocol != "TCP" or declared(port):
                continue
            named = f"'{port.name}' names no protocol" if port.name else "it has no name"
            if port.app_protocol:
                named = f"its appProtocol '{port.app_protocol}' is none that Istio knows"
            text = (
                f"port {port.number} of service {service.name}: {named}, so the proxy guesses from the first bytes; "
                "protocols in which the server speaks first then hang"
            )
            fix = "call it http, http-..., grpc-..., tcp-... or set appProtocol"
            yield it.finding(ID, "info", text, evidence=f"service/{service.namespace}/{service.name}", fix=fix)

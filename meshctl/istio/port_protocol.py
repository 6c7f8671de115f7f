"""The protocol that Istio takes a Service's port for: ``appProtocol``, else the name's prefix, else the number.

Source: ``pkg/config/kube/conversion.go`` and ``pkg/config/protocol``, Istio 1.12 to 1.30.
"""

from meshctl.kube.services import ServicePort

_OF_KUBERNETES = {"kubernetes.io/h2c": "http2", "kubernetes.io/ws": "http", "kubernetes.io/wss": "https"}
_WORDS = frozenset(
    ("http", "http_proxy", "http2", "https", "grpc", "tcp", "tls", "udp", "mongo", "mysql", "redis", "hbone")
)
WELL_KNOWN = (25, 53, 3306, 27017)
"""SMTP, DNS, MySQL and MongoDB: the server speaks first (or nothing HTTP is spoken), so these are TCP if unnamed."""


def word(port: ServicePort) -> str:
    """The protocol that a port's ``appProtocol`` or else its name says; empty where neither names one."""
    said = port.app_protocol or port.name
    if said in _OF_KUBERNETES:
        return _OF_KUBERNETES[said]
    if said.lower().startswith("grpc-web"):
        return "grpc-web"
    first = said.partition("-")[0].lower()
    return first if first in _WORDS else ""


def declared(port: ServicePort) -> str:
    """The protocol of a port; empty where the proxy has to look at the first bytes."""
    return word(port) or ("tcp" if port.number in WELL_KNOWN else "")

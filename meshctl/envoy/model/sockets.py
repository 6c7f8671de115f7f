"""TLS contexts and the sockets that bytes go through, on both sides."""

from meshctl.envoy.model.basics import Opaque
from meshctl.envoy.model.matching import StringMatch
from meshctl.frozen import dataclass
from meshctl.origin import Origin

OWN, ROOT = "default", "ROOTCA"
"""Istio's names for the secrets with a workload's own certificate and with the roots of the mesh."""


@dataclass(frozen=True, slots=True)
class SanMatch:
    """What a name in a peer's certificate must be; `kind` as in Envoy (``URI``, ``DNS`` ...), empty for any."""

    matcher: StringMatch
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """A TLS context. Names of secrets only: a dump holds no private keys, and meshctl never asks for them."""

    certificates: tuple[str, ...] = ()
    trust: str = ""
    sans: tuple[SanMatch, ...] = ()
    require_client_certificate: bool = False
    alpn: tuple[str, ...] = ()
    sni: str = ""
    auto_sni: bool = False
    versions: tuple[str, str] = ("", "")
    origin: Origin

    @property
    def asks_for_certificate(self) -> bool:
        """Whether a client is asked for its certificate, demanded or not."""
        return self.require_client_certificate or bool(self.trust or self.sans)

    @property
    def istio_mutual(self) -> bool:
        """Whether this is Istio's mutual TLS: the workload's own certificate, which Istio names ``default``."""
        return self.certificates[:1] == (OWN,)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportSocket:
    """How bytes are put on the wire; without `tls` it is plain TCP, unless `opaque` names a socket of another kind."""

    name: str = ""
    tls: Tls | None = None
    opaque: Opaque | None = None
    through: tuple[str, ...] = ()


PLAINTEXT = TransportSocket(name="raw_buffer")

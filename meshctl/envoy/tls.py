"""Transport sockets: TLS contexts on both sides, and whether a client fits a filter chain's."""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Literal

from meshctl.envoy import strings
from meshctl.envoy.model.basics import Opaque
from meshctl.envoy.model.matching import StringMatch
from meshctl.envoy.model.sockets import PLAINTEXT, SanMatch, Tls, TransportSocket
from meshctl.envoy.model.state import Secret
from meshctl.envoy.reading import Json, type_name, typed


def transport_socket(message: Json) -> TransportSocket:
    """Read a ``TransportSocket``; an absent one is plain TCP. Wrappers are looked through, and named."""
    if not message:
        return PLAINTEXT
    config = typed(message.below("typed_config"))
    kind = type_name(message.below("typed_config"))
    name = message.text("name")
    match kind.rpartition(".")[2]:
        case "UpstreamTlsContext" | "DownstreamTlsContext":
            return TransportSocket(name=name, tls=_context(config))
        case "RawBuffer":
            return TransportSocket(name=name)
        case "" if "raw_buffer" in name or name in ("", "tlsMode-disabled"):
            return TransportSocket(name=name)
    if config.has("transport_socket"):
        inner = transport_socket(config.below("transport_socket"))
        return TransportSocket(name=name, tls=inner.tls, opaque=inner.opaque, through=(kind, *inner.through))
    return TransportSocket(name=name, opaque=Opaque(kind or name, message.origin))


def _context(config: Json) -> Tls:
    common = config.below("common_tls_context")
    params = common.below("tls_params")
    combined = common.below("combined_validation_context")
    return Tls(
        certificates=_certificates(common),
        trust=_trust(common, combined),
        sans=_sans(combined.below("default_validation_context")) + _sans(common.below("validation_context")),
        require_client_certificate=config.flag("require_client_certificate"),
        alpn=common.texts("alpn_protocols"),
        sni=config.text("sni"),
        auto_sni=config.flag("auto_host_sni"),
        versions=(params.text("tls_minimum_protocol_version"), params.text("tls_maximum_protocol_version")),
        origin=config.origin,
    )


def _certificates(common: Json) -> tuple[str, ...]:
    named = tuple(secret.text("name") for secret in common.each("tls_certificate_sds_secret_configs"))
    files = tuple(
        cert.below("certificate_chain").text("filename") or "(inline)" for cert in common.each("tls_certificates")
    )
    return named + files


def _trust(common: Json, combined: Json) -> str:
    """The name of the secret, or the file, with the certificates of those that are trusted."""
    for secret in (combined, common):
        if name := secret.below("validation_context_sds_secret_config").text("name"):
            return name
    for context in (combined.below("default_validation_context"), common.below("validation_context")):
        anchor = context.below("trusted_ca")
        if anchor:
            return anchor.text("filename") or "(inline)"
    return ""


def _sans(context: Json) -> tuple[SanMatch, ...]:
    """The names that are asked for; with typed ones Envoy does not look at the others (``match_subject_alt_names``)."""
    named = ("verify_subject_alt_name", "match_subject_alt_names", "match_typed_subject_alt_names")
    exact = [SanMatch(StringMatch("exact", name)) for name in context.texts(named[0])]
    plain = [SanMatch(strings.string_match(m)) for m in context.each(named[1])]
    typed_ones = [
        SanMatch(strings.string_match(m.below("matcher")), m.text("san_type")) for m in context.each(named[2])
    ]
    return tuple(typed_ones or exact + plain)


def client_fits(socket: TransportSocket, client: Literal["plaintext", "tls", "mtls"]) -> tuple[bool | None, str]:
    """Whether a client's handshake with a filter chain succeeds, and why; None where the socket cannot be read.

    Certificates themselves are not in a dump: that each side trusts the other's is for ``path/handshake.py`` to say.
    """
    if socket.opaque is not None:
        return None, f"the transport socket {socket.opaque.text} is not modelled"
    tls = socket.tls
    if tls is None:
        return True, "the chain takes bytes as they come"
    if client == "plaintext":
        return False, "the chain expects a TLS handshake, and the client sends plaintext"
    if tls.require_client_certificate and client == "tls":
        return False, "the chain requires a client certificate, and one-way TLS has none"
    if client == "mtls":
        asked = "the chain requires" if tls.require_client_certificate else "the chain does not ask for"
        return True, f"{asked} a client certificate, and Istio's mutual TLS has one"
    return True, "the chain asks for no client certificate"


def awaited(context: Tls, secrets: Iterable[Secret]) -> str:
    """The secret without which a context refuses every handshake: asked for by SDS, and not there yet; empty for none.

    Source: Envoy, ``NotReadySslSocket``.
    """
    states = {secret.name: secret.state for secret in secrets}
    waiting = (name for name in (*context.certificates, context.trust) if states.get(name) == "warming")
    return next(waiting, "")


def san_fits(matchers: tuple[SanMatch, ...], names: tuple[str, ...]) -> bool | None:
    """Whether a peer's certificate with these names passes the SAN matchers; no matcher takes every name."""
    if not matchers:
        return True
    verdicts = [
        strings.holds(one.matcher, name) for one in matchers for name in names if one.kind in ("", _kind_of(name))
    ]
    if any(verdicts):
        return True
    return None if None in verdicts else False


def _kind_of(name: str) -> str:
    """What a name in a certificate is; ``/certs`` tells URIs, DNS names and addresses."""
    if "://" in name:
        return "URI"
    try:
        ip_address(name)
    except ValueError:
        return "DNS"
    return "IP_ADDRESS"

"""Secrets by name and state; of what is in them only the certificates of those that are trusted are told apart."""

import base64
import hashlib
from collections.abc import Iterator

from meshctl.envoy.model.basics import Failure, State
from meshctl.envoy.model.state import Secret
from meshctl.envoy.reading import Json

_LISTS: tuple[tuple[str, State], ...] = (
    ("static_secrets", "static"),
    ("dynamic_active_secrets", "active"),
    ("dynamic_warming_secrets", "warming"),
)


def secrets(section: Json) -> Iterator[Secret]:
    """The secrets of ``SecretsConfigDump``."""
    for key, state in _LISTS:
        for each in section.each(key):
            yield _secret(each, state)


def _secret(each: Json, state: State) -> Secret:
    message = each.below("secret")
    error = each.below("error_state")
    kind = "unknown"
    for key, word in (
        ("tls_certificate", "certificate"),
        ("validation_context", "trust"),
        ("session_ticket_keys", "key"),
        ("generic_secret", "key"),
    ):
        if message.has(key):
            kind = word
    return Secret(
        name=each.text("name") or message.text("name"),
        kind=kind,  # type: ignore[arg-type]
        state=state,
        updated=each.text("last_updated"),
        version=each.text("version_info"),
        failure=Failure(error.text("details")) if error else None,
        anchors=_anchors(message.below("validation_context").below("trusted_ca")),
        origin=each.origin,
    )


_BEGIN = "-----BEGIN CERTIFICATE-----"


def _anchors(source: Json) -> tuple[str, ...]:
    """A digest of each certificate that is trusted; none where they are not in the dump."""
    text = source.text("inline_string")
    if encoded := source.text("inline_bytes"):
        try:
            text = base64.b64decode(encoded).decode("ascii", "replace")
        except ValueError:
            return ()
    each = ("".join(part.partition("-----END")[0].split()) for part in text.split(_BEGIN)[1:])
    return tuple(hashlib.sha256(one.encode()).hexdigest() for one in each)

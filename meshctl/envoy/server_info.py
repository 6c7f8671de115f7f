"""What a proxy says of itself (``/server_info``) and of its certificates (``/certs``)."""

from typing import Any

from meshctl import json_text
from meshctl.envoy.reading import Json
from meshctl.errors import BadInput
from meshctl.frozen import dataclass
from meshctl.origin import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """State and versions."""

    version: str = ""
    state: str = ""
    node_id: str = ""
    istio_version: str = ""

    @property
    def envoy_release(self) -> str:
        """The release in a version like ``SHA/1.40.0/Clean/RELEASE/BoringSSL``."""
        parts = self.version.split("/")
        return parts[1] if len(parts) > 1 else self.version


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate by what ``/certs`` tells: names, serial number, validity (RFC 3339)."""

    kind: str
    path: str
    serial: str
    names: tuple[str, ...]
    not_before: str
    not_after: str
    origin: Origin

    @property
    def principal(self) -> str:
        """The SPIFFE id, empty where it has none."""
        return next((name for name in self.names if name.startswith("spiffe://")), "")


def _document(content: bytes | str, source: str) -> Json:
    try:
        return Json(json_text.loads(content), source)
    except ValueError as error:
        raise BadInput(f"{source}: not valid JSON: {error}") from error


def parse(content: bytes | str, source: str) -> ServerInfo:
    """Read ``/server_info``."""
    message = _document(content, source)
    node = message.below("node")
    return ServerInfo(
        version=message.text("version"),
        state=message.choice("state", "LIVE", "LIVE", "DRAINING", "PRE_INITIALIZING", "INITIALIZING"),
        node_id=node.text("id"),
        istio_version=node.below("metadata").text("ISTIO_VERSION"),
    )


def certificates(content: bytes | str, source: str) -> tuple[Certificate, ...]:
    """Read ``/certs``: each certificate once, though every TLS context lists its own."""
    found: dict[tuple[str, str], Certificate] = {}
    groups: list[dict[str, Any]] = []
    for group in _document(content, source).each("certificates"):
        if group.raw in groups:
            continue
        groups.append(group.raw)
        for kind, key in (("trust", "ca_cert"), ("certificate", "cert_chain")):
            for each in group.each(key):
                place = (kind, each.text("serial_number"))
                if place not in found:
                    found[place] = _certificate(each, kind)
    return tuple(found.values())


def _certificate(message: Json, kind: str) -> Certificate:
    names = tuple(
        name
        for san in message.each("subject_alt_names")
        for key in ("uri", "dns", "ip_address")
        if (name := san.text(key))
    )
    return Certificate(
        kind=kind,
        path=message.text("path"),
        serial=message.text("serial_number"),
        names=names,
        not_before=message.text("valid_from"),
        not_after=message.text("expiration_time"),
        origin=message.origin,
    )

"""The bootstrap: who a proxy says it is, and with what it was started."""

from collections.abc import Mapping

from meshctl.envoy import addresses
from meshctl.envoy.model.state import Bootstrap, Build
from meshctl.envoy.reading import Json


def bootstrap(section: Json) -> Bootstrap:
    """Read ``BootstrapConfigDump``; the node's metadata is what istio-proxy's environment made of the pod."""
    message = section.below("bootstrap")
    node = message.below("node")
    metadata = node.below("metadata")
    admin = addresses.address(message.below("admin").below("address"))
    static = message.below("static_resources")
    return Bootstrap(
        node_id=node.text("id"),
        cluster=node.text("cluster"),
        proxy_type=node.text("id").partition("~")[0],
        ips=tuple(ip for ip in str(metadata.value("INSTANCE_IPS") or "").split(",") if ip),
        namespace=_word(metadata, "NAMESPACE"),
        istio_version=_word(metadata, "ISTIO_VERSION"),
        envoy_version=".".join(map(str, told.version)) if (told := build(node.below(BUILD))) is not None else "",
        trust_domain=_word(metadata, "MESH_ID"),
        interception_mode=_word(metadata, "INTERCEPTION_MODE"),
        service_account=_word(metadata, "SERVICE_ACCOUNT"),
        labels=_words(metadata.value("LABELS")),
        metadata=dict(metadata.raw),
        admin_port=admin.port if admin is not None and admin.kind == "socket" else None,
        clusters=tuple(c.text("name") for c in static.each("clusters")),
        listeners=tuple(one.text("name") or "(unnamed)" for one in static.each("listeners")),
        origin=message.origin,
    )


BUILD = "user_agent_build_version"
"""The field of the node that has Envoy's version."""


def build(message: Json) -> Build | None:
    """Which Envoy it is, from a node's build version; None where it has none.

    Its label is what follows the number, ``dev`` between releases (``source/common/version``).
    """
    found = message.below("version")
    if not found:
        return None
    numbers = found.whole("major_number"), found.whole("minor_number"), found.whole("patch")
    return Build(numbers, not message.below("metadata").text("build.label"))


def _word(metadata: Json, key: str) -> str:
    found = metadata.raw.get(key)
    return found if isinstance(found, str) else ""


def _words(raw: object) -> Mapping[str, str]:
    if not isinstance(raw, dict):
        return {}
    return {str(key): str(value) for key, value in raw.items() if isinstance(value, str)}

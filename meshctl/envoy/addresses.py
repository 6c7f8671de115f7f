"""Where something is: its address, and its locality."""

from meshctl.envoy.ip import canonical
from meshctl.envoy.model.basics import Address
from meshctl.envoy.reading import Json


def address(message: Json) -> Address | None:
    """Read an ``Address``; None where it is absent or of a kind without a name."""
    if message.has("socket_address"):
        socket = message.below("socket_address")
        protocol = "UDP" if socket.choice("protocol", "TCP", "TCP", "UDP") == "UDP" else "TCP"
        return Address(canonical(socket.text("address")), socket.whole("port_value"), protocol=protocol)  # type: ignore[arg-type]
    if message.has("pipe"):
        return Address(message.below("pipe").text("path"), kind="pipe")
    if message.has("envoy_internal_address"):
        internal = message.below("envoy_internal_address")
        endpoint = internal.text("endpoint_id")
        name = internal.text("server_listener_name")
        return Address(f"{name}/{endpoint}" if endpoint else name, kind="internal")
    return None


def locality(message: Json) -> str:
    """A locality as Istio writes it: ``region/zone/sub_zone``."""
    return "/".join(filter(None, (message.text(key) for key in ("region", "zone", "sub_zone"))))

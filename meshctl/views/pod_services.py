"""The Services that lead to a pod, and the protocol that the mesh uses for their ports."""

from collections.abc import Iterator

from meshctl.blocks import Block, Column, Heading, Span, Table
from meshctl.injection.description import Description
from meshctl.istio.port_protocol import WELL_KNOWN, word
from meshctl.kube.services import ServicePort


def mesh_protocol(port: ServicePort) -> tuple[str, str]:
    """The protocol that the mesh uses for a port, and why."""
    if port.protocol != "TCP":
        return port.protocol.lower(), "not TCP: it does not pass through the proxy"
    named = word(port)
    if named:
        return named, "appProtocol" if port.app_protocol else f"the name '{port.name}'"
    if port.number in WELL_KNOWN:
        return "tcp", f"Istio takes port {port.number} for TCP where neither name nor appProtocol says otherwise"
    if port.app_protocol:
        return "auto", f"appProtocol '{port.app_protocol}' is none that Istio knows: guessed from the bytes"
    return "auto", "neither name nor appProtocol: guessed from the bytes"


def services_blocks(result: Description) -> Iterator[Block]:
    """The services that select the pod."""
    if not result.services:
        return
    yield Heading("Services that lead here")
    rows = [
        (
            Span(s.name, "name"),
            f"{p.number}/{p.protocol}",
            p.name or "-",
            Span(mesh_protocol(p)[0], "strong"),
            p.target,
            ", ".join(s.addresses) or ("headless" if s.headless else "-"),
        )
        for s in result.services
        for p in s.ports
    ]
    columns = (
        Column("service", keep=8),
        Column("port"),
        Column("name"),
        Column("taken as"),
        Column("port in the pod"),
        Column("address", keep=2),
    )
    yield Table(columns, tuple(rows))

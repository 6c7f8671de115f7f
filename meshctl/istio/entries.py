"""ServiceEntry, Sidecar and Gateway: what the mesh knows besides Services, and what each proxy is told of it.

Fields: ``networking/v1alpha3/{service_entry,sidecar,gateway}.proto`` (istio.io/api, 1.30).
"""

from collections.abc import Mapping
from typing import Any

from meshctl.frozen import dataclass
from meshctl.istio.resource import Labels, Meta, host_fits, labels_of, read, selects
from meshctl.kube.fields import Fields


@dataclass(frozen=True, slots=True)
class EntryPort:
    """A port; `protocol` as written, upper case; `target` is where the endpoint listens."""

    number: int
    name: str
    protocol: str
    target: int


@dataclass(frozen=True, slots=True)
class EntryEndpoint:
    """A listed endpoint; an address may be a name."""

    address: str
    ports: tuple[tuple[str, int], ...]
    labels: Labels


@dataclass(frozen=True, slots=True)
class ServiceEntry:
    """Hosts that the mesh was told of; `resolution` NONE, STATIC, DNS, DNS_ROUND_ROBIN or DYNAMIC_DNS.

    `assigned` are the addresses that istiod allocated and wrote into the status (1.23 and later).
    """

    meta: Meta
    hosts: tuple[str, ...]
    addresses: tuple[str, ...]
    assigned: tuple[tuple[str, str], ...]
    ports: tuple[EntryPort, ...]
    internal: bool
    resolution: str
    endpoints: tuple[EntryEndpoint, ...]
    selector: Labels
    export_to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What a proxy is told: `hosts` are the egress hosts (``ns/host``), `outbound_mode` empty where not said."""

    meta: Meta
    selector: Labels
    hosts: tuple[str, ...]
    outbound_mode: str


@dataclass(frozen=True, slots=True)
class GatewayServer:
    """One server of a Gateway; `tls` is its mode, empty for plain text."""

    port: int
    protocol: str
    hosts: tuple[str, ...]
    tls: str
    redirects: bool


@dataclass(frozen=True, slots=True)
class Gateway:
    """A Gateway: which gateway pods it configures, and for which hosts."""

    meta: Meta
    selector: Labels
    servers: tuple[GatewayServer, ...]


def parse_entry(raw: Mapping[str, Any], source: str, index: int) -> ServiceEntry:
    """Read one ServiceEntry."""
    meta, spec = read(raw, "ServiceEntry", source, index)
    ports = tuple(
        EntryPort(number, port.text("name"), port.text("protocol").upper(), port.number("targetPort") or number)
        for port in spec.each("ports")
        if (number := port.number("number")) is not None
    )
    status = Fields(raw.get("status"), f"items[{index}].status", [])
    assigned = tuple((entry.text("host"), entry.text("value")) for entry in status.each("addresses"))
    return ServiceEntry(
        meta,
        spec.texts("hosts"),
        spec.texts("addresses"),
        assigned,
        ports,
        spec.text("location") == "MESH_INTERNAL",
        spec.text("resolution") or "NONE",
        tuple(_endpoint(endpoint) for endpoint in spec.each("endpoints")),
        labels_of(spec.below("workloadSelector")),
        spec.texts("exportTo"),
    )


def _endpoint(endpoint: Fields) -> EntryEndpoint:
    ports = endpoint.below("ports")
    numbers = tuple((str(name), number) for name in ports.raw if (number := ports.number(name)) is not None)
    return EntryEndpoint(endpoint.text("address"), numbers, tuple(sorted(endpoint.strings("labels").items())))


def parse_sidecar(raw: Mapping[str, Any], source: str, index: int) -> Sidecar:
    """Read one Sidecar."""
    meta, spec = read(raw, "Sidecar", source, index)
    hosts = tuple(host for egress in spec.each("egress") for host in egress.texts("hosts"))
    mode = spec.below("outboundTrafficPolicy")
    written = (mode.text("mode") or "REGISTRY_ONLY") if spec.has("outboundTrafficPolicy") else ""
    return Sidecar(meta, labels_of(spec.below("workloadSelector")), hosts, written)


def parse_gateway(raw: Mapping[str, Any], source: str, index: int) -> Gateway:
    """Read one Istio Gateway (not the Gateway API's)."""
    meta, spec = read(raw, "Gateway", source, index)
    servers = tuple(
        GatewayServer(
            server.below("port").number("number") or 0,
            server.below("port").text("protocol").upper(),
            server.texts("hosts"),
            (server.below("tls").text("mode") or "PASSTHROUGH") if server.below("tls").has("mode") else "",
            server.below("tls").flag("httpsRedirect") or False,
        )
        for server in spec.each("servers")
    )
    return Gateway(meta, tuple(sorted(spec.strings("selector").items())), servers)


def sidecar_for(sidecars: tuple[Sidecar, ...], namespace: str, labels: Mapping[str, str], root: str) -> Sidecar | None:
    """The Sidecar in force for a workload: by selector, else the namespace's, else the root namespace's."""
    here = [s for s in sidecars if s.meta.namespace == namespace]
    for sidecar in here:
        if sidecar.selector and selects(sidecar.selector, labels):
            return sidecar
    for sidecar in (*here, *(s for s in sidecars if s.meta.namespace == root)):
        if not sidecar.selector:
            return sidecar
    return None


def imports(sidecar: Sidecar, home: str, host: str) -> bool:
    """Whether a Sidecar tells its proxies of a host of namespace `home`; one without egress hosts says nothing.

    Hosts are ``namespace/name``: ``.`` is the Sidecar's own namespace, ``*`` any, ``~`` none (sidecar.proto, 1.30).
    """
    if not sidecar.hosts:
        return True
    for text in sidecar.hosts:
        place, slash, name = text.partition("/")
        if not slash:
            place, name = "*", text
        named = {".": sidecar.meta.namespace}.get(place, place)
        if named in ("*", home) and host_fits(name, host):
            return True
    return False

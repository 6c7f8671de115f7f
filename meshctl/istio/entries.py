"""ServiceEntry, Sidecar and Gateway: what the mesh knows besides Services, and what each proxy is told of it.

Fields: ``networking/v1alpha3/{service_entry,sidecar,gateway}.proto`` (istio.io/api, 1.30).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from meshctl.frozen import dataclass
from meshctl.istio.resource import Labels, Meta, by_age, host_fits, host_overlaps, labels_of, read, selects
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
    """A listed endpoint; an address may be a name. `locality` is ``region/zone/subzone``, empty where not said.

    `weight` is its share among the others; those that say none have 1.
    """

    address: str
    ports: tuple[tuple[str, int], ...]
    labels: Labels
    account: str = ""
    locality: str = ""
    weight: int = 1

    @property
    def takes_mtls(self) -> bool:
        """Whether it has a proxy: its label says so, else that it has an account (``getTLSModeFromWorkloadEntry``)."""
        return dict(self.labels).get("security.istio.io/tlsMode", "istio" if self.account else "") == "istio"


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
class Egress:
    """Hosts (``ns/host``) that a proxy is told of, for one port or (`port` None) for all that have none of their own.

    `bind` is where the proxy listens for it, empty for where connections are captured.
    """

    port: int | None
    bind: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ingress:
    """A port of the workload, and the endpoint behind it (``127.0.0.1:8080``, ``unix:///...``), empty for the usual."""

    port: int
    protocol: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What a proxy is told: no `egress` means everything; `outbound_mode` is empty where not said."""

    meta: Meta
    selector: Labels
    egress: tuple[Egress, ...]
    outbound_mode: str
    ingress: tuple[Ingress, ...] = ()

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts of all ports."""
        return tuple(host for egress in self.egress for host in egress.hosts)


@dataclass(frozen=True, slots=True)
class GatewayServer:
    """One server of a Gateway; `tls` is its mode, empty for plain text; `hosts` may be ``ns/host``.

    `name` is that of its port. `bind` is the address that it listens on, empty for all of the pod's.
    """

    port: int
    protocol: str
    hosts: tuple[str, ...]
    tls: str
    redirects: bool
    name: str = ""
    bind: str = ""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A Gateway: which gateway pods it configures, and for which hosts.

    Pods are those with the labels of `selector` or, where there are any, those behind one of `services` (full names).
    `own_key` is the name by which routes know it, empty for the usual one.
    """

    meta: Meta
    selector: Labels
    servers: tuple[GatewayServer, ...]
    services: tuple[str, ...] = ()
    own_key: str = ""

    @property
    def key(self) -> str:
        """The name by which VirtualServices know it: ``namespace/name``."""
        return self.own_key or self.shown

    @property
    def shown(self) -> str:
        """The name that a user knows it by: ``namespace/name``."""
        return f"{self.meta.namespace}/{self.meta.name}"


@dataclass(frozen=True, slots=True)
class WorkloadEntry:
    """A machine outside of the cluster: `labels` are those by which Services and ServiceEntries select it."""

    meta: Meta
    address: str
    labels: tuple[tuple[str, str], ...]

    def fits(self, namespace: str, selector: Labels) -> bool:
        """Whether a selector of a namespace selects it; an empty one selects nothing."""
        return bool(selector) and self.meta.namespace == namespace and selects(selector, dict(self.labels))


def parse_workload(raw: Mapping[str, Any], source: str, index: int) -> WorkloadEntry:
    """Read one WorkloadEntry."""
    meta, spec = read(raw, "WorkloadEntry", source, index)
    return WorkloadEntry(meta, spec.text("address"), tuple(sorted(spec.strings("labels").items())))


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
    labels = tuple(sorted(endpoint.strings("labels").items()))
    return EntryEndpoint(
        endpoint.text("address"),
        numbers,
        labels,
        endpoint.text("serviceAccount"),
        endpoint.text("locality"),
        endpoint.number("weight") or 1,
    )


def parse_sidecar(raw: Mapping[str, Any], source: str, index: int) -> Sidecar:
    """Read one Sidecar."""
    meta, spec = read(raw, "Sidecar", source, index)
    egress = tuple(
        Egress(
            entry.below("port").number("number"),
            entry.text("bind") or ("127.0.0.1" if entry.text("captureMode") == "NONE" else ""),
            entry.texts("hosts"),
        )
        for entry in spec.each("egress")
    )
    ingress = tuple(
        Ingress(number, entry.below("port").text("protocol").upper(), entry.text("defaultEndpoint"))
        for entry in spec.each("ingress")
        if (number := entry.below("port").number("number")) is not None
    )
    mode = spec.below("outboundTrafficPolicy")
    written = (mode.text("mode") or "REGISTRY_ONLY") if spec.has("outboundTrafficPolicy") else ""
    return Sidecar(meta, labels_of(spec.below("workloadSelector")), egress, written, ingress)


def parse_gateway(raw: Mapping[str, Any], source: str, index: int) -> Gateway:
    """Read one Istio Gateway (not the Gateway API's)."""
    meta, spec = read(raw, "Gateway", source, index)
    servers = tuple(
        GatewayServer(
            server.below("port").number("number") or 0,
            server.below("port").text("protocol").upper(),
            server.texts("hosts"),
            _server_tls(server),
            server.below("tls").flag("httpsRedirect") or False,
            server.below("port").text("name"),
            server.text("bind"),
        )
        for server in spec.each("servers")
    )
    return Gateway(meta, tuple(sorted(spec.strings("selector").items())), servers)


def _server_tls(server: Fields) -> str:
    """The TLS mode of a server; settings without a mode that name a certificate count as SIMPLE, else PASSTHROUGH."""
    tls = server.below("tls")
    if mode := tls.text("mode"):
        return mode
    if tls.has("credentialName") or tls.has("serverCertificate") or tls.has("credentialNames"):
        return "SIMPLE"
    return "PASSTHROUGH" if server.below("port").text("protocol").upper() in ("HTTPS", "TLS") else ""


def sidecar_for(sidecars: tuple[Sidecar, ...], namespace: str, labels: Mapping[str, str], root: str) -> Sidecar | None:
    """The Sidecar in force for a workload: by selector, else the namespace's, else the root namespace's."""
    here = sorted((s for s in sidecars if s.meta.namespace == namespace), key=lambda s: by_age(s.meta))
    for sidecar in here:
        if sidecar.selector and selects(sidecar.selector, labels):
            return sidecar
    for sidecar in (*here, *(s for s in sidecars if s.meta.namespace == root)):
        if not sidecar.selector:
            return sidecar
    return None


def egress_for(sidecar: Sidecar, port: int | None) -> tuple[Egress, ...]:
    """What a Sidecar says of a port: the entry of the port alone, where there is one, else those without a port."""
    own = tuple(egress for egress in sidecar.egress if port is not None and egress.port == port)
    return own or tuple(egress for egress in sidecar.egress if egress.port is None or port is None)


def imports(sidecar: Sidecar, home: str, host: str, port: int | None = None) -> bool:
    """Whether a Sidecar tells its proxies of a host of namespace `home` (on a port); without egress it says nothing.

    Hosts are ``namespace/name``: ``.`` is the Sidecar's own namespace, ``*`` any, ``~`` none (sidecar.proto, 1.30).
    """
    return not sidecar.egress or any(host_fits(name, host) for name in _imported(sidecar, home, port))


def imports_rules(sidecar: Sidecar, home: str, hosts: tuple[str, ...], port: int | None = None) -> bool:
    """Whether a Sidecar tells its proxies of a VirtualService of namespace `home`: of all of it by any of its hosts.

    Source: ``SelectVirtualServices``, 1.12 to 1.30; a host and an import may be the wider one.
    """
    if not sidecar.egress:
        return True
    return any(host_overlaps(name, host) for name in _imported(sidecar, home, port) for host in hosts)


def imports_from(sidecar: Sidecar, home: str) -> bool:
    """Whether a Sidecar tells its proxies of anything in a namespace."""
    return not sidecar.egress or any(True for _ in _imported(sidecar, home, None))


def _imported(sidecar: Sidecar, home: str, port: int | None) -> Iterator[str]:
    """The names that a Sidecar imports from a namespace."""
    for text in (host for egress in egress_for(sidecar, port) for host in egress.hosts):
        place, slash, name = text.partition("/")
        if not slash:
            place, name = "*", text
        if {".": sidecar.meta.namespace}.get(place, place) in ("*", home):
            yield name

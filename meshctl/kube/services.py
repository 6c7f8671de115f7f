"""Services and EndpointSlices: which pods a name stands for, and at which addresses and ports.

Fields: core/v1 Service, discovery.k8s.io/v1 EndpointSlice.
"""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from meshctl.frozen import dataclass
from meshctl.kube.fields import Fields, Flaw
from meshctl.kube.names import USUAL_DOMAIN, service_host
from meshctl.origin import Origin


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port: `target` is a number or the name of a container port, as written; `app_protocol` may be empty."""

    number: int
    name: str
    protocol: str
    target: str
    node_port: int | None
    app_protocol: str


@dataclass(frozen=True, slots=True)
class Service:
    """A Service; `addresses` are its cluster IPs, empty where it is headless or an ExternalName.

    `distribution` is its ``trafficDistribution``, `domain` the cluster's.
    """

    name: str
    namespace: str
    kind: str
    addresses: tuple[str, ...]
    ports: tuple[ServicePort, ...]
    selector: tuple[tuple[str, str], ...]
    external_name: str
    external_addresses: tuple[str, ...]
    headless: bool
    internal_policy: str
    publishes_unready: bool
    labels: tuple[tuple[str, str], ...]
    annotations: tuple[tuple[str, str], ...]
    origin: Origin
    distribution: str = ""
    domain: str = USUAL_DOMAIN

    @property
    def full_name(self) -> str:
        """The name in full, as the mesh has it."""
        return service_host(self.name, self.namespace, self.domain)

    def port(self, number: int) -> ServicePort | None:
        """The TCP port of that number, else any of that number."""
        fitting = [port for port in self.ports if port.number == number]
        return next((port for port in fitting if port.protocol == "TCP"), fitting[0] if fitting else None)

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether the selector selects a pod with these labels; no selector selects nothing."""
        return bool(self.selector) and all(labels.get(key) == value for key, value in self.selector)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One backend of a Service port; `pod` is ``namespace/name`` or empty, `hostname` its name under the Service.

    `for_zones` and `for_nodes` are its hints: whose kube-proxy is to prefer it.
    """

    address: str
    ports: tuple[tuple[str, int], ...]
    pod: str
    node: str
    ready: bool
    serving: bool
    terminating: bool
    origin: Origin
    hostname: str = ""
    for_zones: tuple[str, ...] = ()
    for_nodes: tuple[str, ...] = ()

    def port(self, name: str) -> int | None:
        """The number behind a Service port's name."""
        return dict(self.ports).get(name)


@dataclass(frozen=True, slots=True)
class Slice:
    """An EndpointSlice with the Service that it belongs to."""

    namespace: str
    service: str
    family: str
    endpoints: tuple[Endpoint, ...]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False  # "None" of a headless Service, or what no API server lets through
    return True


def service(raw: Mapping[str, Any], source: str = "", path: str = "", domain: str = USUAL_DOMAIN) -> Service:
    """Read one Service; fields of the wrong type read as absent."""
    flaws: list[Flaw] = []
    top = Fields(raw, path, flaws)
    meta, spec = top.below("metadata"), top.below("spec")
    cluster_ips = tuple(ip for ip in (spec.texts("clusterIPs") or (spec.text("clusterIP"),)) if ip)
    ingress = top.below("status").below("loadBalancer").each("ingress")
    balancers = tuple(ip for entry in ingress if (ip := entry.text("ip")))
    kind = spec.text("type") or "ClusterIP"
    return Service(
        meta.text("name"),
        meta.text("namespace"),
        kind,
        tuple(filter(_is_address, cluster_ips)),
        tuple(_port(port) for port in spec.each("ports")),
        tuple(sorted(spec.strings("selector").items())),
        spec.text("externalName"),
        tuple(filter(_is_address, (*spec.texts("externalIPs"), *balancers))),
        "None" in cluster_ips,
        spec.text("internalTrafficPolicy") or "Cluster",
        spec.flag("publishNotReadyAddresses") or False,
        tuple(sorted(meta.strings("labels").items())),
        tuple(sorted(meta.strings("annotations").items())),
        Origin(source, path=path),
        spec.text("trafficDistribution"),
        domain,
    )


def _port(port: Fields) -> ServicePort:
    number = port.number("port") or 0
    target = port.raw.get("targetPort")
    return ServicePort(
        number,
        port.text("name"),
        port.text("protocol") or "TCP",
        str(target) if isinstance(target, str | int) else str(number),
        port.number("nodePort"),
        port.text("appProtocol"),
    )


def endpoint_slice(raw: Mapping[str, Any], source: str = "", path: str = "") -> Slice:
    """Read one EndpointSlice; a condition that is not given counts as the API defines (ready and serving)."""
    top = Fields(raw, path, [])
    meta = top.below("metadata")
    ports = tuple((port.text("name"), number) for port in top.each("ports") if (number := port.number("port")))
    endpoints = []
    for entry in top.each("endpoints"):
        conditions, target = entry.below("conditions"), entry.below("targetRef")
        ready = conditions.flag("ready") is not False
        serving = conditions.flag("serving")
        pod = f"{target.text('namespace')}/{target.text('name')}" if target.text("kind") == "Pod" else ""
        endpoints += [
            Endpoint(
                address,
                ports,
                pod,
                entry.text("nodeName"),
                ready,
                ready if serving is None else serving,
                conditions.flag("terminating") or False,
                Origin(source, path=entry.path),
                entry.text("hostname"),
                *_hints(entry),
            )
            for address in entry.texts("addresses")
        ]
    name = meta.strings("labels").get("kubernetes.io/service-name", "")
    return Slice(meta.text("namespace"), name, top.text("addressType"), tuple(endpoints))


def _hints(endpoint: Fields) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if "hints" not in endpoint.raw:
        return (), ()
    zones, nodes = (endpoint.below("hints").each(key) for key in ("forZones", "forNodes"))
    return tuple(each.text("name") for each in zones), tuple(each.text("name") for each in nodes)


@dataclass(frozen=True, slots=True)
class Services:
    """Every Service and slice of a cluster, looked up by name and by address."""

    services: tuple[Service, ...] = ()
    slices: tuple[Slice, ...] = ()
    by_name: Mapping[tuple[str, str], Service] | None = None
    by_address: Mapping[str, Service] | None = None
    by_owner: Mapping[tuple[str, str], tuple[Endpoint, ...]] | None = None

    def named(self, name: str, namespace: str) -> Service | None:
        """The Service of a name in a namespace."""
        return (self.by_name or {}).get((namespace, name))

    def at(self, address: str) -> Service | None:
        """The Service that has a cluster IP, external IP or load balancer address."""
        return (self.by_address or {}).get(address)

    def of_pod(self, namespace: str, labels: Mapping[str, str]) -> list[Service]:
        """The Services that select a pod of a namespace with these labels."""
        return [one for one in self.services if one.namespace == namespace and one.selects(labels)]

    def in_range(self, address: str) -> bool:
        """Whether an address lies between two cluster IPs, so in the range that these are taken from.

        The range is one prefix of at most 2^20 addresses (kube-apiserver, ``--service-cluster-ip-range``).
        """
        wanted = ip_address(address)
        own = sorted(
            int(ip)
            for one in self.services
            for text in one.addresses
            if (ip := ip_address(text)).version == wanted.version
        )
        if not own or (own[0] ^ own[-1]) >> 20:
            return False
        return own[0] < int(wanted) < own[-1]

    def at_node_port(self, port: int) -> tuple[Service, ServicePort] | None:
        """The Service behind a NodePort."""
        for found in self.services:
            for entry in found.ports:
                if entry.node_port == port:
                    return found, entry
        return None

    def endpoints(self, found: Service) -> tuple[Endpoint, ...]:
        """All endpoints of a Service, ready or not."""
        return (self.by_owner or {}).get((found.namespace, found.name), ())


def read(
    services: Iterable[Mapping[str, Any]],
    slices: Iterable[Mapping[str, Any]],
    sources: Sequence[str] = ("", ""),
    domain: str = USUAL_DOMAIN,
) -> Services:
    """Read the objects of both kinds and index them; `sources` are the names to cite, `domain` is the cluster's."""
    found = tuple(service(raw, sources[0], f"items[{index}]", domain) for index, raw in enumerate(services))
    parts = tuple(endpoint_slice(raw, sources[1], f"items[{index}]") for index, raw in enumerate(slices))
    owners: dict[tuple[str, str], tuple[Endpoint, ...]] = {}
    for part in parts:
        key = (part.namespace, part.service)
        owners[key] = owners.get(key, ()) + part.endpoints
    addresses = {address: one for one in reversed(found) for address in (*one.external_addresses, *one.addresses)}
    return Services(found, parts, {(one.namespace, one.name): one for one in found}, addresses, owners)

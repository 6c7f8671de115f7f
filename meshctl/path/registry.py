"""What a proxy was told of the mesh, where its configuration was not recorded: which hosts it knows on a port.

Followed is istiod's outbound half (``pilot/pkg/networking/core``, 1.30): Services and ServiceEntries that are visible
to the proxy's namespace and that its Sidecar imports, the listener that takes a connection, and the virtual host that
fits a Host header.
"""

from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

from meshctl.envoy import ip
from meshctl.frozen import dataclass
from meshctl.istio.destination_rule import DestinationRule, rule_for
from meshctl.istio.entries import EntryPort, ServiceEntry, Sidecar, egress_for, imports, sidecar_for
from meshctl.istio.resource import Meta, exported, host_fits
from meshctl.kube.services import Service
from meshctl.origin import Origin
from meshctl.path.scene import Scene, Station
from meshctl.path.target import protocol_of

Speaks: TypeAlias = Literal["http", "tcp", "any"]
"""What a port is declared to speak: ``any`` where nothing (known) is declared, so that the proxy looks at the bytes."""

_MOST_ALIASES = 8
_HTTP = ("http", "http_proxy", "http2", "grpc", "grpc-web")
_TCP = ("tcp", "tls", "https", "mongo", "mysql", "redis", "udp")


@dataclass(frozen=True, slots=True)
class Known:
    """A port of a host that a proxy was told of; `addresses` may be ranges, empty where the host has none.

    `sniffs_name`: connections are told apart by SNI (a ServiceEntry's port with TLS). `tls`: the port is declared to
    speak TLS.
    """

    host: str
    port: int
    speaks: Speaks
    addresses: tuple[str, ...]
    namespace: str
    origin: Origin
    service: Service | None = None
    entry: ServiceEntry | None = None
    sniffs_name: bool = False
    tls: bool = False


def speaks(protocol: str) -> Speaks:
    """The class of a declared protocol (as ``target.protocol_of`` says it)."""
    if protocol in _HTTP:
        return "http"
    return "tcp" if protocol in _TCP else "any"


def sidecar_of(scene: Scene, station: Station) -> Sidecar | None:
    """The Sidecar resource in force for a pod."""
    pod = station.pod
    return sidecar_for(scene.mesh.sidecars, pod.namespace, pod.labels, scene.mesh.config.root_namespace)


def known_on(scene: Scene, station: Station, port: int) -> tuple[Known, ...]:
    """Every host that the proxy knows with this port, found once."""
    labels = tuple(sorted(station.pod.labels.items()))
    key = ("known", station.pod.namespace, labels, _asks_the_agent(station), port)
    if key not in scene.cache:
        scene.cache[key] = tuple(there(scene, station, port, sidecar_of(scene, station)))
    found = scene.cache[key]
    assert isinstance(found, tuple)
    return found


def there(scene: Scene, station: Station, port: int, sidecar: Sidecar | None) -> Iterator[Known]:
    """The hosts with this port that the proxy's namespace sees, and that a Sidecar (None: no matter) imports."""
    here = station.pod.namespace
    for service in scene.services.services:
        entry = service.port(port)
        if entry is None or service.kind == "ExternalName" or not _visible(scene, station, service):
            continue
        if entry.protocol != "TCP" or (sidecar and not imports(sidecar, service.namespace, service.full_name, port)):
            continue
        word = protocol_of(entry)
        ends = scene.services.endpoints(service)
        addresses = tuple(e.address for e in ends) if service.headless else service.addresses
        yield Known(
            service.full_name,
            port,
            speaks(word),
            addresses,
            service.namespace,
            service.origin,
            service,
            tls=word in ("tls", "https"),
        )
    captured = _asks_the_agent(station)
    for known in scene.mesh.service_entries:
        if not exported(known.export_to, known.meta.namespace, here):
            continue
        for written in (p for p in known.ports if p.number == port):
            for host in known.hosts:
                if sidecar is None or imports(sidecar, known.meta.namespace, host, port):
                    yield _of_entry(known, written, host, captured=captured)


def _visible(scene: Scene, station: Station, service: Service) -> bool:
    told = dict(service.annotations).get("networking.istio.io/exportTo", "") or scene.settings(station).exports.services
    places = tuple(part.strip() for part in told.split(",") if part.strip())
    return exported(places, service.namespace, station.pod.namespace)


def _asks_the_agent(station: Station) -> bool:
    """Whether the proxy says that its agent answers names: only then istiod tells it the addresses that it allocated.

    Source: ``Service.GetAddressForProxy`` (``DNSCapture``), 1.30.
    """
    said = (c.env_value("ISTIO_META_DNS_CAPTURE") for c in station.pod.containers if c.name == "istio-proxy")
    return any(value is not None and value.lower() == "true" for value in said)


def _of_entry(entry: ServiceEntry, port: EntryPort, host: str, *, captured: bool) -> Known:
    said = speaks(entry_protocol(port))
    assigned = (value for name, value in entry.assigned if name == host and captured)
    own = (*entry.addresses, *assigned)
    by_name = port.protocol in ("TLS", "HTTPS")
    return Known(host, port.number, said, own, entry.meta.namespace, entry.meta.origin, None, entry, by_name, by_name)


def entry_protocol(port: EntryPort) -> str:
    """The protocol of a ServiceEntry's port in a Service's words; empty where it says none, so that bytes decide."""
    word = port.protocol.lower()
    return {"grpc-web": "grpc-web", "http_proxy": "http"}.get(word, word)


@dataclass(frozen=True, slots=True)
class Taken:
    """Which listener takes a connection: its own (`known`), the port's for HTTP, or the port's for names in TLS."""

    kind: Literal["own", "http", "names", "none", "unclear"]
    known: tuple[Known, ...] = ()
    why: str = ""


def listener(scene: Scene, station: Station, address: str, port: int) -> Taken:
    """The listener of the proxy that takes a connection to an address and port (``use_original_dst``).

    A listener for the address itself comes before one for all addresses of the port.
    """
    sidecar = sidecar_of(scene, station)
    if sidecar is not None and (bound := _bound_elsewhere(sidecar, address, port)):
        return Taken("none", (), bound)
    known = known_on(scene, station, port)
    own = tuple(k for k in known if k.speaks != "http" and address and any(_within(address, a) for a in k.addresses))
    if own:
        return Taken("own", own)
    http = tuple(k for k in known if k.speaks == "http")
    loose = tuple(k for k in known if k.speaks != "http" and not k.addresses)
    if http and loose:
        names = ", ".join(k.host for k in loose)
        why = f"{names} and {http[0].host} share port {port} without addresses that tell them apart"
        return Taken("unclear", (*http, *loose), why)
    if http:
        return Taken("http", known)
    return Taken("names", loose) if loose else Taken("none")


def _bound_elsewhere(sidecar: Sidecar, address: str, port: int) -> str:
    """Why a Sidecar's own entry for a port does not take captured connections to an address; empty if it does."""
    entries = [egress for egress in egress_for(sidecar, port) if egress.port == port]
    if not entries or any(e.bind in ("", "0.0.0.0", "::", address) for e in entries):
        return ""
    return f"{sidecar.meta} listens for port {port} on {entries[0].bind} only"


def _within(address: str, place: str) -> bool:
    return ip.within(address, place) is True if "/" in place else address == place


def by_host(found: Iterable[Known], host: str, namespace: str) -> Known | None:
    """The virtual host that fits a Host header: an exact domain before a wildcard, the longest of these first."""
    ranked = fitting(found, host, namespace)
    return ranked[1] if ranked is not None else None


def fitting(found: Iterable[Known], host: str, namespace: str) -> tuple[tuple[bool, int], Known] | None:
    """The virtual host that fits a Host header, and how specific its domain is (see `mesh.best_host`)."""
    wanted = host.lower()
    ranked: list[tuple[tuple[bool, int], Known]] = []
    for known in found:
        if known.speaks == "tcp":
            continue
        domains = _domains(known, namespace)
        if wanted in domains:
            ranked.append(((True, len(wanted)), known))
        elif known.entry is not None and known.host.startswith("*") and host_fits(known.host, wanted):
            ranked.append(((False, len(known.host)), known))
        elif known.service is not None and known.service.headless:
            below = [f"*.{domain}" for domain in domains if wanted.endswith(f".{domain}")]
            ranked += [((False, max(map(len, below))), known)] if below else []
    return max(ranked, key=lambda pair: pair[0], default=None)


def alias(scene: Scene, host: str, namespace: str) -> Service | None:
    """The Service that an ExternalName Service stands for, by one of its names; None where it is none, or leads out.

    Since Istio 1.20 the target's virtual host has the alias among its domains (``ENABLE_EXTERNAL_NAME_ALIAS``).
    """
    name, _, rest = host.lower().partition(".")
    space, _, tail = rest.partition(".")
    for _ in range(_MOST_ALIASES):
        found = scene.services.named(name, space or namespace)
        if found is None or tail not in ("", "svc", f"svc.{scene.mesh.domain}") or found.kind != "ExternalName":
            return None
        name, _, rest = found.external_name.rstrip(".").partition(".")
        space, _, tail = rest.partition(".")
        target = service_of(scene, found.external_name.rstrip("."))
        if target is not None and target.kind != "ExternalName":
            return target
    return None


def _domains(known: Known, namespace: str) -> tuple[str, ...]:
    """Source: ``generateVirtualHostDomains`` and ``GenerateAltVirtualHosts``, 1.30; ports are not looked at.

    A headless Service has ``*.`` before each as well: its pods have names below its own.
    """
    own = tuple(address for address in known.addresses if "/" not in address)
    service = known.service
    if service is None:
        return (known.host.lower(), f"{known.host.lower()}.", *own)
    short = f"{service.name}.{service.namespace}"
    alone = (service.name,) if service.namespace == namespace else ()
    addresses = () if service.headless else own
    return (service.full_name, f"{service.full_name}.", f"{short}.svc", short, *alone, *addresses)


def service_of(scene: Scene, host: str) -> Service | None:
    """The Service that a host in full stands for."""
    name, _, rest = host.partition(".")
    namespace, _, tail = rest.partition(".")
    if not namespace or not (tail == "svc" or tail.startswith("svc.")):
        return None
    return scene.services.named(name, namespace)


def named(scene: Scene, host: str, namespace: str) -> bool:
    """Whether a name, in short or in full, is one of a recorded object, as a pod of a namespace writes it."""
    if any(host_fits(pattern, host.rstrip(".")) for entry in scene.mesh.service_entries for pattern in entry.hosts):
        return True
    labels = host.rstrip(".").lower().split(".")
    match labels[: labels.index("svc")] if "svc" in labels else labels:
        case [name]:
            return scene.services.named(name, namespace) is not None
        case [*_, name, home]:
            return scene.services.named(name, home) is not None
        case _:
            return False


def owned(scene: Scene, address: str) -> bool:
    """Whether an address is one of a recorded pod, Service or ServiceEntry."""
    if (scene.pod_at(address) or scene.services.at(address)) is not None:
        return True
    return any(_within(address, place) for entry in scene.mesh.service_entries for place in entry.addresses)


def entry_of(scene: Scene, station: Station, host: str, port: int) -> ServiceEntry | None:
    """The ServiceEntry by which a proxy knows a host with a port."""
    return next((k.entry for k in known_on(scene, station, port) if k.host == host and k.entry is not None), None)


def home_of(scene: Scene, host: str, default: str) -> tuple[str, Meta | None]:
    """The namespace that a host belongs to, and the ServiceEntry that says so."""
    service = service_of(scene, host)
    if service is not None:
        return service.namespace, None
    entry = next((e for e in scene.mesh.service_entries if host in e.hosts), None)
    return (entry.meta.namespace, entry.meta) if entry is not None else (default, None)


def destination_rule(scene: Scene, station: Station, host: str) -> DestinationRule | None:
    """The DestinationRule that the proxy of a pod follows for a host."""
    home, _ = home_of(scene, host, station.pod.namespace)
    root = scene.mesh.config.root_namespace
    return rule_for(scene.mesh.destination_rules, host, station.pod.namespace, home, root, station.pod.labels)

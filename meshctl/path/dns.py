"""What the application's name lookup gives, before any packet of the request is sent.

Records: Kubernetes DNS specification 1.1 (services, headless services, pods); search list and ndots: resolv.conf(5).
With DNS capture the proxy's agent answers for Services and ServiceEntries first (Istio ``pkg/dns/client``, 1.30).
"""

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Literal, TypeAlias

from meshctl.frozen import dataclass
from meshctl.istio.entries import ServiceEntry
from meshctl.istio.mesh import Mesh, entry_for
from meshctl.kube.names import USUAL_DOMAIN
from meshctl.kube.services import Endpoint, Service, Services
from meshctl.path.netns import Resolver
from meshctl.refs import near_misses

NameKind: TypeAlias = Literal[
    "address", "loopback", "hosts", "service", "headless", "external-name", "entry", "pod", "outside"
]


@dataclass(frozen=True, slots=True)
class Name:
    """The answer: `addresses` empty with `fails` means no such name; empty without means it cannot be told.

    `full` is the name that answered; `tried` the names asked before it; `captured`: the proxy's agent answered.
    `foreign`: nothing in the cluster has the name, whether or not something else does. `by_node`: the node's resolver
    was asked, which knows nothing of the cluster. `why` says why it fails, where it is not for want of the name.
    """

    asked: str
    kind: NameKind
    addresses: tuple[str, ...] = ()
    full: str = ""
    service: Service | None = None
    entry: ServiceEntry | None = None
    alias: str = ""
    tried: tuple[str, ...] = ()
    captured: bool = False
    fails: bool = False
    undecided: str = ""
    suggestions: tuple[str, ...] = ()
    foreign: bool = False
    by_node: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Zone:
    """All that answers names: Kubernetes, the mesh, and how this caller asks.

    `cluster_dns` is False where the pod asks its node's resolver (dnsPolicy Default, or the node's network), or a
    `server` that is none of the cluster's. `hosts` is its ``/etc/hosts``. `lost` says why its questions or the answers
    to them do not arrive, `unsure` why that cannot be told; `other`: then somebody else may answer them. `only` is the
    one namespace that the user may read.
    `unrecorded` are namespaces whose Services were not recorded; `services_gap` says why none at all were,
    `endpoints_gap` likewise for the EndpointSlices. `nodes` are the names of nodes, which have themselves in their
    ``/etc/hosts``.
    """

    services: Services
    mesh: Mesh
    namespaces: tuple[str, ...]
    namespace: str
    resolver: Resolver
    captured: bool = False
    cluster_dns: bool = True
    unrecorded: tuple[str, ...] = ()
    services_gap: str = ""
    endpoints_gap: str = ""
    nodes: frozenset[str] = frozenset()
    server: str = ""
    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lost: str = ""
    unsure: str = ""
    other: bool = False
    only: str = ""

    @property
    def domain(self) -> str:
        """The cluster's domain, read from the search list, else as the mesh has it."""
        for suffix in self.resolver.search:
            head, _, tail = suffix.partition(".")
            if head == "svc" and tail:
                return tail
        return self.mesh.domain


def default_resolver(namespace: str, domain: str = USUAL_DOMAIN) -> Resolver:
    """What the kubelet writes for dnsPolicy ClusterFirst."""
    return Resolver((), (f"{namespace}.svc.{domain}", f"svc.{domain}", domain), 5, "assumed: dnsPolicy ClusterFirst")


def resolve(host: str, zone: Zone) -> Name:
    """Look a name up as the caller's resolver does."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _search(host.rstrip("."), zone, absolute=host.endswith("."))
    if address.is_loopback:
        return Name(host, "loopback", (str(address),), host)
    if address.is_unspecified:  # connect(2) to no address at all is to the machine itself (ip_route_output_key)
        return Name(host, "loopback", ("127.0.0.1" if address.version == 4 else "::1",), host)
    return Name(host, "address", (str(address),), host, service=zone.services.at(str(address)))


_MOST_ALIASES = 8
"""CoreDNS follows no more aliases than this one after another: the lookup fails then."""


def _search(host: str, zone: Zone, absolute: bool, aliases: int = 0) -> Name:
    if host == "localhost" or host.endswith(".localhost"):
        return Name(host, "loopback", ("127.0.0.1",), host)
    if not absolute and (own := zone.hosts.get(host.lower())):
        return Name(host, "hosts", own, host, service=zone.services.at(own[0]))
    if zone.lost:
        return Name(host, "outside", (), host, fails=True, why=f"{host} is looked up in vain: {zone.lost}")
    tried: list[str] = []
    if not zone.cluster_dns and not zone.captured:
        if zone.server:
            reason = (
                f"{host} is asked of {zone.server}, which is no DNS of the cluster: what it answers is not recorded"
            )
            return Name(host, "outside", (), host, undecided=reason)
        if "." not in host and not zone.resolver.search and host not in zone.nodes:
            return Name(host, "outside", (), host, fails=True, by_node=True)
        reason = f"{host} is asked of the node's resolver, not of the cluster's: what it answers is not recorded"
        return Name(host, "outside", (), host, undecided=reason)
    for candidate in _candidates(host, zone.resolver, absolute):
        found = _answer(host, candidate, zone, tuple(tried), aliases)
        if found is not None:
            return found
        tried.append(candidate)
    return _nobody(host, zone, tuple(tried), absolute)


def _candidates(host: str, resolver: Resolver, absolute: bool) -> Iterator[str]:
    if absolute:
        yield host
        return
    expanded = [f"{host}.{suffix}" for suffix in resolver.search]
    yield from [host, *expanded] if host.count(".") >= resolver.ndots else [*expanded, host]


def _answer(asked: str, candidate: str, zone: Zone, tried: tuple[str, ...], aliases: int) -> Name | None:
    suffix = f".{zone.domain}"
    if candidate.endswith(suffix):
        found = _in_cluster(asked, candidate, candidate.removesuffix(suffix).split("."), zone, tried, aliases)
        if found is not None:
            return found
    if candidate != asked and not zone.captured:
        return None
    entry = entry_for(zone.mesh, candidate, zone.namespace)
    return _from_entry(asked, candidate, entry, zone, tried) if entry else None


def _in_cluster(
    asked: str, full: str, labels: list[str], zone: Zone, tried: tuple[str, ...], aliases: int
) -> Name | None:
    match labels:
        case [name, namespace, "svc"]:
            service = zone.services.named(name, namespace)
            return _service(asked, full, service, zone, tried, aliases) if service else None
        case [hostname, name, namespace, "svc"]:
            service = zone.services.named(name, namespace)
            if service is None:
                return None
            ends = zone.services.endpoints(service)
            named = [e for e in ends if _endpoint_name(e) == hostname and (e.ready or service.publishes_unready)]
            if not named and zone.endpoints_gap and not ends:
                reason = f"{full} would be an endpoint's name, and the endpoints are not known ({zone.endpoints_gap})"
                return Name(asked, "pod", (), full, service, tried=tried, undecided=reason)
            if not named:
                return None
            return Name(asked, "pod", tuple(e.address for e in named), full, service, tried=tried)
        case [dashed, _, "pod"]:
            for spelled in (dashed.replace("-", "."), dashed.replace("-", ":")):
                try:
                    return Name(asked, "pod", (str(ipaddress.ip_address(spelled)),), full, tried=tried)
                except ValueError:
                    continue
        case _:
            pass
    return None


def _endpoint_name(endpoint: Endpoint) -> str:
    """The name of an endpoint under its Service: its hostname (a StatefulSet's pod has one), else its dashed address.

    Source: CoreDNS, plugin kubernetes, ``endpointHostname`` (``endpoint_pod_names`` off, as kubeadm writes it).
    """
    return endpoint.hostname or endpoint.address.replace(".", "-").replace(":", "-")


def _service(asked: str, full: str, service: Service, zone: Zone, tried: tuple[str, ...], aliases: int) -> Name:
    if service.kind == "ExternalName":
        target = service.external_name.rstrip(".")
        if not target or aliases >= _MOST_ALIASES:
            return Name(asked, "external-name", (), full, service, None, target, tried, zone.captured, True)
        inner = _search(target, zone, absolute=True, aliases=aliases + 1)
        return Name(
            asked,
            "external-name",
            inner.addresses,
            full,
            service,
            inner.entry,
            service.external_name,
            tried,
            zone.captured,
            inner.fails,
            inner.undecided,
        )
    if service.headless:
        ready = tuple(e.address for e in zone.services.endpoints(service) if e.ready or service.publishes_unready)
        gap = zone.endpoints_gap if not ready else ""
        reason = f"{full} is headless, and its endpoints are not known ({gap})" if gap else ""
        fails = not ready and not gap
        return Name(
            asked, "headless", ready, full, service, tried=tried, captured=zone.captured, fails=fails, undecided=reason
        )
    return Name(asked, "service", service.addresses, full, service, tried=tried, captured=zone.captured)


def _from_entry(asked: str, full: str, entry: ServiceEntry, zone: Zone, tried: tuple[str, ...]) -> Name:
    own = tuple(a for a in entry.addresses if "/" not in a)
    assigned = tuple(value for host, value in entry.assigned if host == full)
    if zone.captured and (own or assigned):
        return Name(asked, "entry", own or assigned, full, entry=entry, tried=tried, captured=True)
    reason = (
        f"{full} is known to the mesh by ServiceEntry {entry.meta.name}, but "
        + ("it has no address for the proxy's DNS to answer with, so" if zone.captured else "DNS capture is off, so")
        + " the cluster's resolver forwards the name, and what it gets is not recorded"
    )
    return Name(asked, "entry", (), full, entry=entry, tried=tried, captured=zone.captured, undecided=reason)


def _nobody(host: str, zone: Zone, tried: tuple[str, ...], absolute: bool) -> Name:
    labels = host.removesuffix(f".{zone.domain}").removesuffix(".svc").split(".")
    if zone.services_gap:
        reason = f"the Services were not recorded ({zone.services_gap}), so whether {host} is one cannot be told"
        return Name(host, "outside", (), host, tried=tried, undecided=reason)
    if len(labels) > 1 and labels[1] in zone.unrecorded:
        reason = f"the Services of namespace {labels[1]} were not recorded, so whether {host} is one cannot be told"
        return Name(host, "outside", (), host, tried=tried, undecided=reason)
    if _could_be_public(host, zone):
        reason = f"{host} is outside the cluster: whether and to what it resolves is not recorded"
        return Name(host, "outside", (), host, tried=tried, undecided=reason, foreign=True)
    if zone.only and len(labels) > 1 and labels[1] != zone.only:
        reason = f"the Services of namespace {labels[1]} may not be read, so whether {host} is one cannot be told"
        return Name(host, "outside", (), host, tried=tried, undecided=reason)
    guesses, why = suggestions(host, zone), ""
    there = zone.services.named(labels[0], labels[1] if len(labels) > 1 else zone.namespace)
    if there is not None and not absolute:
        full = f"{there.name}.{there.namespace}.svc.{zone.domain}"
        why = f"{host} is looked up as {', '.join(tried)}: the search list does not lead to {full}"
        guesses = (full,)
    return Name(host, "outside", (), host, tried=tried, fails=True, suggestions=guesses, why=why)


_PUBLIC = frozenset(
    (
        *("com", "net", "org", "edu", "gov", "mil", "int", "info", "biz", "name", "pro", "mobi", "asia", "tel", "cat"),
        *("dev", "app", "cloud", "xyz", "online", "site", "tech", "store", "shop", "club", "page", "blog", "live"),
        *("news", "agency", "company", "group", "network", "systems", "solutions", "services", "software", "studio"),
        *("support", "today", "top", "vip", "work", "works", "zone", "media", "digital", "website", "space", "world"),
        *("global", "team", "email", "host", "hosting", "design", "one", "link", "click", "life", "run", "tools"),
        *("technology", "consulting", "academy", "center", "city", "bank", "finance", "health", "education", "games"),
        *("google", "amazon", "aws", "microsoft", "azure", "apple", "cern", "travel", "museum", "jobs", "wiki"),
        *("arpa", "test", "local", "internal", "lan", "corp", "home", "intra", "intranet", "private", "localdomain"),
    )
)
"""Last labels under which names of two labels are: the common ones of the root zone, and those of private networks."""


def _could_be_public(host: str, zone: Zone) -> bool:
    """Whether a name that nothing in the cluster has may exist elsewhere.

    One label never does; nor does a name under the cluster's domain, or one that reads as a Service's in a namespace.
    """
    labels = host.split(".")
    if len(labels) < 2 or host.endswith(f".{zone.domain}"):
        return False
    last = labels[-1]
    if last == "svc" or last in zone.namespaces:
        return False
    if len(labels) == 2 and zone.services.named(last, zone.namespace) is not None:  # reads as a pod's name
        return False
    if near_misses(last, zone.namespaces, 1) and len(labels) == 2:
        return False
    return last in _PUBLIC or (len(last) == 2 and last.isalpha()) or len(labels) > 2


def suggestions(host: str, zone: Zone) -> tuple[str, ...]:
    """Names of Services and ServiceEntries that look like a misspelt one, best first."""
    labels = host.removesuffix(f".{zone.domain}").removesuffix(".svc").split(".")
    name, namespace = labels[0], labels[1] if len(labels) > 1 else zone.namespace
    here = {s.name: s.name for s in zone.services.services if s.namespace == zone.namespace}
    if len(labels) == 1:
        elsewhere = [f"{s.name}.{s.namespace}" for s in zone.services.services if s.name == name]
        return tuple(dict.fromkeys([*elsewhere, *near_misses(name, tuple(here))]))[:3]
    known = tuple(f"{s.name}.{s.namespace}" for s in zone.services.services)
    hosts = tuple(h for entry in zone.mesh.service_entries for h in entry.hosts)
    same_name = [k for k in known if k.partition(".")[0] == name]
    return tuple(dict.fromkeys([*near_misses(f"{name}.{namespace}", known + hosts), *same_name]))[:3]

"""How a pod stands in the mesh now: transport security per port, policies, routes and gateways.

Judged from the mesh's resources (what the users wrote), not from what a proxy was told.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from meshctl.frozen import dataclass
from meshctl.injection.mode import Injection
from meshctl.istio.destination_rule import Subset
from meshctl.istio.entries import Gateway, GatewayServer
from meshctl.istio.mesh import Mesh
from meshctl.istio.resource import Labels, Meta, host_fits, selects
from meshctl.istio.security import authorization_for, peer_mode
from meshctl.istio.virtual_service import Destination, HttpMatch, HttpRule, StringMatch, VirtualService
from meshctl.kube.pods import Pod
from meshctl.kube.services import Service

Count: TypeAlias = Callable[[Service, Labels], int]
"""How many pods a service has with these labels."""


@dataclass(frozen=True, slots=True)
class PortSecurity:
    """Which transport callers must use on a port of the pod; `decided_by` None means the mesh's default."""

    port: int
    mode: str
    decided_by: Meta | None

    @property
    def words(self) -> str:
        """The mode in words."""
        return {
            "STRICT": "mutual TLS only: callers without a proxy are turned away",
            "PERMISSIVE": "mutual TLS and plain text",
            "DISABLE": "plain text only",
        }.get(self.mode, self.mode)


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy that applies to the pod."""

    meta: Meta
    words: str


@dataclass(frozen=True, slots=True)
class RouteHere:
    """A VirtualService's route that can lead to the pod; `subset` empty for all pods of the host."""

    meta: Meta
    name: str
    host: str
    subset: str
    weight: int
    when: str
    gateways: tuple[str, ...]
    leads_here: bool | None


@dataclass(frozen=True, slots=True)
class SubsetHere:
    """A DestinationRule's subset of a host of the pod; `pods` counts the pods of the host that it selects."""

    meta: Meta
    host: str
    subset: Subset
    here: bool
    pods: int


@dataclass(frozen=True, slots=True)
class Exposure:
    """A gateway's server through which requests can get to the pod."""

    gateway: Meta
    server: GatewayServer
    hosts: tuple[str, ...]
    by: Meta


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """All of it; empty parts mean that there is nothing."""

    security: tuple[PortSecurity, ...] = ()
    policies: tuple[Policy, ...] = ()
    routes: tuple[RouteHere, ...] = ()
    subsets: tuple[SubsetHere, ...] = ()
    exposures: tuple[Exposure, ...] = ()


def of(
    pod: Pod,
    injection: Injection,
    services: Sequence[Service],
    mesh: Mesh,
    count: Count,
    domain: str = "cluster.local",
) -> Standing:
    """Judge a pod; `services` are those that select it, `count` says how many pods of one have labels."""
    hosts = {f"{s.name}.{s.namespace}.svc.{domain}": s for s in services}
    subsets = tuple(_subsets(pod, hosts, mesh, count))
    routes = tuple(_routes(hosts, mesh, subsets))
    return Standing(
        security=_security(pod, injection, mesh),
        policies=tuple(_policies(pod, injection, mesh)),
        routes=routes,
        subsets=subsets,
        exposures=tuple(_exposures(routes, mesh)),
    )


def _security(pod: Pod, injection: Injection, mesh: Mesh) -> tuple[PortSecurity, ...]:
    if injection.mode not in ("sidecar", "native-sidecar", "ambient"):
        return ()
    ports = sorted(
        {p.number for c in pod.containers if c.name not in injection.ours for p in c.ports if p.protocol == "TCP"}
    )
    root = mesh.config.root_namespace
    found = ((port, peer_mode(mesh.peer_authentications, pod.namespace, pod.labels, port, root)) for port in ports)
    return tuple(PortSecurity(port, answer.mode, answer.decided_by) for port, answer in found)


def _policies(pod: Pod, injection: Injection, mesh: Mesh) -> Iterator[Policy]:
    if injection.mode == "none":
        return
    root = mesh.config.root_namespace
    for policy in authorization_for(mesh.authorization_policies, pod.namespace, pod.labels, root):
        yield Policy(policy.meta, _authorization_words(policy.action, len(policy.rules)))
    for check in mesh.request_authentications:
        if check.meta.namespace in (pod.namespace, root) and not check.targeted and selects(check.selector, pod.labels):
            issuers = ", ".join(check.issuers) or "no issuer"
            yield Policy(
                check.meta, f"a token, if there is one, must be a valid one of {issuers}; without one it passes"
            )
    for sidecar in mesh.sidecars:
        if sidecar.meta.namespace in (pod.namespace, root) and selects(sidecar.selector, pod.labels):
            yield Policy(sidecar.meta, "limits which services this proxy knows")


def _authorization_words(action: str, rules: int) -> str:
    match action:
        case "ALLOW" if not rules:
            return "lets nothing in: it allows, and names nobody"
        case "ALLOW":
            return f"only what {_its(rules)} may come in (or what another ALLOW policy names)"
        case "DENY":
            return f"what {_its(rules)} is refused (403)"
        case "AUDIT":
            return "only marks requests for the log"
        case "CUSTOM":
            return "asks another service whether a request may come in"
        case _:
            return f"action {action}"


def _its(rules: int) -> str:
    return "its rule names" if rules == 1 else f"one of its {rules} rules names"


def _subsets(pod: Pod, hosts: dict[str, Service], mesh: Mesh, count: Count) -> Iterator[SubsetHere]:
    for rule in mesh.destination_rules:
        for host, service in hosts.items():
            if not host_fits(rule.host, host):
                continue
            for subset in rule.subsets:
                here = selects(subset.labels, pod.labels)
                yield SubsetHere(rule.meta, host, subset, here, count(service, subset.labels))


def _routes(hosts: dict[str, Service], mesh: Mesh, subsets: Sequence[SubsetHere]) -> Iterator[RouteHere]:
    known = {(s.host, s.subset.name): s.here for s in subsets}
    for service in mesh.virtual_services:
        for name, when, destination in _destinations(service):
            host = next((h for h in hosts if h == destination.host), None)
            if host is None:
                continue
            here: bool | None = True if not destination.subset else known.get((host, destination.subset))
            yield RouteHere(
                service.meta, name, host, destination.subset, destination.weight, when, service.gateways, here
            )


def _destinations(service: VirtualService) -> Iterator[tuple[str, str, Destination]]:
    for index, rule in enumerate(service.http):
        for destination in rule.destinations:
            yield rule.name or f"http[{index}]", when_words(rule), destination
    for kind, rules in (("tcp", service.tcp), ("tls", service.tls)):
        for index, l4 in enumerate(rules):
            for destination in l4.destinations:
                yield f"{kind}[{index}]", ", ".join(l4.sni) or "every connection", destination


def when_words(rule: HttpRule) -> str:
    """When a rule applies, in words."""
    return " or ".join(map(_match_words, rule.matches)) or "every request"


def _match_words(match: HttpMatch) -> str:
    said = [f"{what} {_string(value)}" for what, value in (("path", match.uri), ("method", match.method)) if value]
    said += [f"host {_string(match.authority)}"] if match.authority else []
    said += [f"header {name} {_string(value)}" for name, value in match.headers]
    said += [f"no header {name}" for name, _ in match.without_headers]
    said += [f"query {name} {_string(value)}" for name, value in match.query]
    said += [f"port {match.port}"] if match.port else []
    said += [f"caller with {k}={v}" for k, v in match.source_labels]
    said += [f"caller in {match.source_namespace}"] if match.source_namespace else []
    said += [f"{other} (not modelled)" for other in match.other]
    return " and ".join(said) or "every request"


def _string(match: StringMatch) -> str:
    match match.how:
        case "exact":
            return f"is {match.value}"
        case "prefix":
            return f"begins with {match.value}"
        case "regex":
            return f"matches {match.value}"
        case "present":
            return "is there"


def _exposures(routes: Sequence[RouteHere], mesh: Mesh) -> Iterator[Exposure]:
    services = {(s.meta.namespace, s.meta.name): s for s in mesh.virtual_services}
    seen = set()
    for route in routes:
        service = services.get((route.meta.namespace, route.meta.name))
        for name in route.gateways:
            gateway = _gateway(name, route.meta.namespace, mesh)
            if gateway is None or service is None:
                continue
            for server in gateway.servers:
                hosts = tuple(h for h in service.hosts if any(_admits(pattern, h) for pattern in server.hosts))
                key = (gateway.meta, server.port, route.meta)
                if hosts and key not in seen:
                    seen.add(key)
                    yield Exposure(gateway.meta, server, hosts, route.meta)


def _gateway(name: str, namespace: str, mesh: Mesh) -> Gateway | None:
    if name == "mesh":
        return None
    place, slash, own = name.partition("/")
    wanted = (place, own) if slash else (namespace, name)
    return next((g for g in mesh.gateways if (g.meta.namespace, g.meta.name) == wanted), None)


def _admits(pattern: str, host: str) -> bool:
    """A server's host may carry a namespace (``ns/host``); a host of the VirtualService may be a wildcard too."""
    pattern = pattern.rpartition("/")[2]
    return host_fits(pattern, host) or host_fits(host, pattern)

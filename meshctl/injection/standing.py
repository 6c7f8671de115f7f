"""How a pod stands in the mesh now: transport security per port, policies, routes and gateways.

Routes are those of VirtualServices and of the Gateway API's HTTPRoutes; gateways are Istio's and the Gateway API's.
Judged from the mesh's resources (what the users wrote), not from what a proxy was told.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from meshctl.frozen import dataclass
from meshctl.injection.mode import Injection
from meshctl.istio.destination_rule import Subset, TrafficPolicy
from meshctl.istio.entries import Gateway, GatewayServer
from meshctl.istio.gateway_api import GatewayApi, admitted, parent_gateway
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
    """A VirtualService's or HTTPRoute's route that can lead to the pod; `subset` empty for all pods of the host.

    `weight` is as written, `share` what comes of it in percent; `also` says what else is done to such requests.
    """

    meta: Meta
    name: str
    host: str
    subset: str
    weight: int
    when: str
    gateways: tuple[str, ...]
    leads_here: bool | None
    share: int = 100
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleHere:
    """A DestinationRule for a host of the pod: how callers connect; `subset` empty for the whole host."""

    meta: Meta
    host: str
    subset: str
    policy: TrafficPolicy


@dataclass(frozen=True, slots=True)
class SubsetHere:
    """A DestinationRule's subset of a host of the pod; `pods` counts the pods of the host that it selects."""

    meta: Meta
    host: str
    subset: Subset
    here: bool
    pods: int


@dataclass(frozen=True, slots=True)
class Reach:
    """Where a gateway can be reached: how many pods of it run, its addresses, and its port on each node."""

    pods: int
    addresses: tuple[str, ...] = ()
    node_port: int | None = None


@dataclass(frozen=True, slots=True)
class Exposure:
    """A gateway's server through which requests can get to the pod.

    `certain` is False where the gateway's namespace selector would have to be asked; `reach` is None where the
    gateway's pods could not be looked at.
    """

    gateway: Meta
    server: GatewayServer
    hosts: tuple[str, ...]
    by: Meta
    reach: Reach | None = None
    certain: bool = True


Reached: TypeAlias = Callable[[Labels, int], Reach | None]
"""Where the gateway pods with labels can be reached for a port of theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """All of it; empty parts mean that there is nothing."""

    security: tuple[PortSecurity, ...] = ()
    policies: tuple[Policy, ...] = ()
    routes: tuple[RouteHere, ...] = ()
    subsets: tuple[SubsetHere, ...] = ()
    exposures: tuple[Exposure, ...] = ()
    rules: tuple[RuleHere, ...] = ()


def of(
    pod: Pod,
    injection: Injection,
    services: Sequence[Service],
    mesh: Mesh,
    count: Count,
    api: GatewayApi = GatewayApi(),  # noqa: B008 - frozen
    reached: Reached = lambda _labels, _port: None,
    domain: str = "cluster.local",
) -> Standing:
    """Judge a pod; `services` are those that select it, `count` says how many pods of one have labels."""
    hosts = {f"{s.name}.{s.namespace}.svc.{domain}": s for s in services}
    subsets = tuple(_subsets(pod, hosts, mesh, count))
    routes = (*_routes(hosts, mesh, subsets), *_api_routes(hosts, api, domain))
    return Standing(
        security=_security(pod, injection, mesh),
        policies=tuple(_policies(pod, injection, mesh)),
        routes=routes,
        subsets=subsets,
        exposures=(*_exposures(routes, mesh, reached), *_api_exposures(routes, api, reached)),
        rules=tuple(_rules(hosts, mesh)),
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


def _rules(hosts: dict[str, Service], mesh: Mesh) -> Iterator[RuleHere]:
    for rule in mesh.destination_rules:
        for host in hosts:
            if not host_fits(rule.host, host):
                continue
            yield RuleHere(rule.meta, host, "", rule.policy)
            for subset in rule.subsets:
                if subset.policy is not None:
                    yield RuleHere(rule.meta, host, subset.name, subset.policy)


def _routes(hosts: dict[str, Service], mesh: Mesh, subsets: Sequence[SubsetHere]) -> Iterator[RouteHere]:
    known: dict[tuple[str, str], bool] = {}
    for s in subsets:
        key = (s.host, s.subset.name)
        known[key] = known.get(key, False) or s.here
    for service in mesh.virtual_services:
        for name, when, also, destination, share in _destinations(service):
            host = next((h for h in hosts if h == destination.host), None)
            if host is None:
                continue
            here: bool | None = True if not destination.subset else known.get((host, destination.subset))
            yield RouteHere(
                service.meta,
                name,
                host,
                destination.subset,
                destination.weight,
                when,
                service.gateways,
                here,
                share,
                also,
            )


def _api_routes(hosts: dict[str, Service], api: GatewayApi, domain: str) -> Iterator[RouteHere]:
    for route in api.routes:
        parents = tuple(f"{p.namespace}/{p.name}" for p in route.parents if p.kind == "Gateway")
        if any(p.kind != "Gateway" for p in route.parents):
            parents = (*parents, "mesh")
        refused = [f"not accepted by {p.kind} {p.name}" for p in route.parents if p.accepted is False]
        for index, rule in enumerate(route.rules):
            total = sum(b.weight for b in rule.backends)
            for backend in rule.backends:
                host = f"{backend.name}.{backend.namespace}.svc.{domain}"
                if backend.kind != "Service" or host not in hosts:
                    continue
                share = round(100 * backend.weight / total) if total else 0
                when = " or ".join(map(_match_words, rule.matches)) or "every request"
                name = rule.name or f"rules[{index}]"
                also = (*(f"filter {kind}" for kind in rule.filters), *refused)
                yield RouteHere(route.meta, name, host, "", backend.weight, when, parents, True, share, also)


def _destinations(service: VirtualService) -> Iterator[tuple[str, str, tuple[str, ...], Destination, int]]:
    for index, rule in enumerate(service.http):
        for destination, share in _shares(rule.destinations):
            yield rule.name or f"http[{index}]", when_words(rule), tuple(_also(rule)), destination, share
    for kind, rules in (("tcp", service.tcp), ("tls", service.tls)):
        for index, l4 in enumerate(rules):
            for destination, share in _shares(l4.destinations):
                yield (
                    f"{kind}[{index}]",
                    ", ".join(sni for match in l4.matches for sni in match.sni) or "every connection",
                    (),
                    destination,
                    share,
                )


def _shares(destinations: Sequence[Destination]) -> Iterator[tuple[Destination, int]]:
    """Each with its percentage: a single one gets all, of several one without a weight gets nothing."""
    total = sum(d.weight for d in destinations)
    for destination in destinations:
        share = 100 if len(destinations) == 1 else round(100 * destination.weight / total) if total else 0
        yield destination, share


def _also(rule: HttpRule) -> Iterator[str]:
    """What else a rule does to its requests."""
    fault = rule.fault
    if fault is not None and fault.abort_percent:
        yield f"{fault.abort_percent:g}% get status {fault.abort_status or 'of the fault'} instead (injected fault)"
    if fault is not None and fault.delay_percent:
        yield f"{fault.delay_percent:g}% wait {fault.delay} first (injected fault)"
    if rule.timeout:
        yield f"timeout {rule.timeout}"
    if rule.attempts is not None:
        yield f"{rule.attempts} retries" + (f" on {rule.retry_on}" if rule.retry_on else "")
    if rule.rewrite:
        yield f"path rewritten to {rule.rewrite}"
    yield from (f"copied to {mirror.host}" for mirror in rule.mirrors)


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
        case "prefix" | "path":
            return f"begins with {match.value}"
        case "regex":
            return f"matches {match.value}"
        case "present":
            return "is there"


def _exposures(routes: Sequence[RouteHere], mesh: Mesh, reached: Reached) -> Iterator[Exposure]:
    services = {(s.meta.namespace, s.meta.name): s for s in mesh.virtual_services}
    seen = set()
    for route in routes:
        service = services.get((route.meta.namespace, route.meta.name))
        if route.meta.kind != "VirtualService" or service is None or route.leads_here is False or not route.share:
            continue
        for name in route.gateways:
            gateway = _gateway(name, route.meta.namespace, mesh)
            for server in gateway.servers if gateway is not None else ():
                assert gateway is not None
                hosts = tuple(
                    h for h in service.hosts if any(_admits(p, h, gateway, route.meta.namespace) for p in server.hosts)
                )
                key = (gateway.meta, server.port, route.meta)
                if hosts and key not in seen:
                    seen.add(key)
                    reach = reached(gateway.selector, server.port)
                    yield Exposure(gateway.meta, server, hosts, route.meta, reach)


def _api_exposures(routes: Sequence[RouteHere], api: GatewayApi, reached: Reached) -> Iterator[Exposure]:
    here = {(r.meta.namespace, r.meta.name) for r in routes if r.meta.kind == "HTTPRoute" and r.share}
    for route in api.routes:
        if (route.meta.namespace, route.meta.name) not in here:
            continue
        for parent in route.parents:
            gateway = parent_gateway(api, parent)
            for listener in gateway.listeners if gateway is not None else ():
                assert gateway is not None
                taken = admitted(listener, gateway, route, parent)
                hosts = tuple(h for h in route.hosts or (listener.host or "*",) if _fits(listener.host, h))
                if taken is False or not hosts:
                    continue
                tls = "SIMPLE" if listener.protocol in ("HTTPS", "TLS") else ""
                server = GatewayServer(listener.port, listener.protocol, hosts, tls, False)
                reach = reached((("gateway.networking.k8s.io/gateway-name", gateway.meta.name),), listener.port)
                if gateway.addresses and reach is not None:
                    reach = Reach(reach.pods, gateway.addresses, reach.node_port)
                yield Exposure(gateway.meta, server, hosts, route.meta, reach, taken is True)


def _fits(pattern: str, host: str) -> bool:
    """Whether a listener's host name (empty: all) and a route's have something in common."""
    return not pattern or host_fits(pattern, host) or host_fits(host, pattern)


def _gateway(name: str, namespace: str, mesh: Mesh) -> Gateway | None:
    if name == "mesh":
        return None
    place, slash, own = name.partition("/")
    wanted = (place, own) if slash else (namespace, name)
    return next((g for g in mesh.gateways if (g.meta.namespace, g.meta.name) == wanted), None)


def _admits(pattern: str, host: str, gateway: Gateway, namespace: str) -> bool:
    """Whether a server's host (``ns/host``, ``./host``, ``*/host`` or only the host) takes one of a namespace."""
    place, slash, pattern = pattern.rpartition("/")
    wanted = gateway.meta.namespace if place == "." else place
    if slash and wanted not in ("*", namespace):
        return False
    return host_fits(pattern, host) or host_fits(host, pattern)

"""How a pod stands in the mesh now: transport security per port, policies, routes and gateways.

Routes are those of VirtualServices and of the Gateway API's HTTPRoutes; gateways are Istio's and the Gateway API's.
Judged from the mesh's resources (what the users wrote), not from what a proxy was told.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from meshctl.frozen import dataclass
from meshctl.injection import routes_here
from meshctl.injection.exposure import Exposure, Reached, api_exposures, exposures
from meshctl.injection.mode import Injection
from meshctl.injection.routes_here import RouteHere, SubsetHere
from meshctl.istio.destination_rule import TrafficPolicy
from meshctl.istio.gateway_api import GatewayApi
from meshctl.istio.mesh import Mesh
from meshctl.istio.resource import Labels, Meta, host_fits, selects
from meshctl.istio.security import authorization_for, is_for, peer_mode
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
class RuleHere:
    """A DestinationRule for a host of the pod: how callers connect; `subset` empty for the whole host."""

    meta: Meta
    host: str
    subset: str
    policy: TrafficPolicy


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
) -> Standing:
    """Judge a pod; `services` are those that select it, `count` says how many pods of one have labels."""
    hosts = {s.full_name: s for s in services}
    subsets = tuple(_subsets(pod, hosts, mesh, count))
    routes = (*routes_here.routes(hosts, mesh, subsets), *routes_here.api_routes(hosts, api, mesh.domain))
    return Standing(
        security=_security(pod, injection, mesh),
        policies=tuple(_policies(pod, injection, mesh)),
        routes=routes,
        subsets=subsets,
        exposures=(*exposures(routes, mesh, reached), *api_exposures(routes, api, reached)),
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
    for policy in authorization_for(mesh.authorization_policies, pod.namespace, pod.labels, root, dry=True):
        words = _authorization_words(policy.action, len(policy.rules))
        yield Policy(policy.meta, f"a dry run, which refuses nothing: {words}" if policy.dry_run else words)
    for check in mesh.request_authentications:
        if is_for(check, pod.namespace, pod.labels, root):
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

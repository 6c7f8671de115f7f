"""Checks on the mesh's resources together, not on one pod: routes that lead nowhere, TLS settings that contradict,
services without pods.

Each rule is one function that takes a `Cluster`; `ALL` lists them, `TITLES` names their ids.
"""

from collections.abc import Callable, Iterator, Sequence

from meshctl.checks.finding import Finding
from meshctl.frozen import dataclass
from meshctl.istio.gateway_api import GatewayApi
from meshctl.istio.mesh import Mesh, entry_for
from meshctl.istio.resource import Meta, host_fits
from meshctl.istio.security import peer_mode
from meshctl.istio.virtual_service import VirtualService
from meshctl.kube.names import service_host
from meshctl.kube.pods import ENDED, Pod
from meshctl.kube.services import Service, ServicePort
from meshctl.refs import near_misses


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What the rules look at; `namespaces` are those that the user asked about.

    `covered` are the namespaces that could be looked at (empty: all): of others nothing is said. `endpoints` says how
    many endpoints a Service has by its EndpointSlices; None where these were not looked at.
    """

    mesh: Mesh
    services: Sequence[Service]
    pods: Sequence[Pod]
    namespaces: frozenset[str]
    covered: frozenset[str] = frozenset()
    endpoints: Callable[[Service], int | None] = lambda _service: None
    api: GatewayApi = GatewayApi()

    def sees(self, host: str) -> bool:
        """Whether a host would have been seen if it were there."""
        _, _, rest = host.partition(".")
        place, _, zone = rest.partition(".")
        return not self.covered or (zone == f"svc.{self.mesh.domain}" and place in self.covered)


def run(cluster: Cluster) -> tuple[Finding, ...]:
    """All findings about the resources of the namespaces asked about."""
    return tuple(finding for rule in ALL for finding in rule(cluster))


def _finding(id: str, meta: Meta, text: str, fix: str) -> Finding:
    subject = f"{meta.kind.lower()}/{meta.namespace}/{meta.name}"
    return Finding(id=id, severity="error", subject=subject, text=text, evidence=str(meta.origin), fix=fix)


def unknown_subset(cluster: Cluster) -> Iterator[Finding]:
    """A route leads to a subset that no DestinationRule has, of a host without pods here: pods tell of their own."""
    met = {s.full_name for s in cluster.services if _selected(cluster, s)}
    for service in _virtual_services(cluster):
        for index, rule in enumerate(service.http):
            for to in rule.destinations:
                if not to.subset or to.host in met or not cluster.sees(to.host):
                    continue
                fitting = (r for r in cluster.mesh.destination_rules if host_fits(r.host, to.host))
                if any(r.subset(to.subset) is not None for r in fitting):
                    continue
                name = rule.name or f"http[{index}]"
                text = f"{service.meta}: route {name} leads to subset {to.subset} of {to.host}, which nothing has"
                fix = "define the subset in a DestinationRule for that host, or leave it out of the route"
                yield _finding("MC502", service.meta, text, fix)


def service_without_pods(cluster: Cluster) -> Iterator[Finding]:
    """A Service selects no pod."""
    for service in cluster.services:
        if service.namespace not in cluster.namespaces or not service.selector or service.kind == "ExternalName":
            continue
        if _selected(cluster, service) or cluster.endpoints(service):
            continue
        labels = ", ".join(f"{key}={value}" for key, value in service.selector)
        subject = f"service/{service.namespace}/{service.name}"
        text = f"service {service.name} selects pods with {labels}, and there is none: requests to it end with 503"
        fix = "correct the selector or the pods' labels; if the pods were scaled to zero, this is as it should be"
        where = str(service.origin) if service.origin.source else subject
        yield Finding(id="MC506", severity="warning", subject=subject, text=text, evidence=where, fix=fix)


def _selected(cluster: Cluster, service: Service) -> list[Pod]:
    """The pods of a service."""
    return [p for p in cluster.pods if p.namespace == service.namespace and service.selects(p.labels)]


def mutual_tls_to_plain_text(cluster: Cluster) -> Iterator[Finding]:
    """A DestinationRule insists on mutual TLS towards pods that take plain text only."""
    for rule in cluster.mesh.destination_rules:
        if rule.meta.namespace not in cluster.namespaces:
            continue
        for service in (s for s in cluster.services if host_fits(rule.host, s.full_name)):
            asked = [p for p in service.ports if rule.policy.tls_on(p.number) == "ISTIO_MUTUAL"]
            for port, pod, why in ((port, *found) for port in asked if (found := _plain_pod(cluster, service, port))):
                text = (
                    f"{rule.meta}: mutual TLS towards {service.name}:{port.number}, but {pod.name} takes plain text "
                    f"only ({why}): callers get 503"
                )
                fix = "remove the tls settings: the mesh then uses mutual TLS only where the pod has it"
                yield _finding("MC507", rule.meta, text, fix)
                break


def _plain_pod(cluster: Cluster, service: Service, port: ServicePort) -> tuple[Pod, str] | None:
    """A pod of the service that takes plain text only, and why."""
    root = cluster.mesh.config.root_namespace
    for pod in _selected(cluster, service):
        if _is_ambient(pod) or pod.phase in ENDED:
            continue
        if pod.labels.get("security.istio.io/tlsMode") != "istio":
            return pod, "it has no proxy of the mesh"
        number = pod.port_of(port.target, port.protocol)
        if number is None:
            continue
        mode = peer_mode(cluster.mesh.peer_authentications, pod.namespace, pod.labels, number, root)
        if mode.mode == "DISABLE":
            return pod, str(mode.decided_by)
    return None


def _is_ambient(pod: Pod) -> bool:
    return pod.annotations.get("ambient.istio.io/redirection") == "enabled"


def unknown_destination(cluster: Cluster) -> Iterator[Finding]:
    """A route leads to a host that is no service."""
    known = {s.full_name for s in cluster.services}
    for service in _virtual_services(cluster):
        for host in dict.fromkeys(d.host for rule in service.http for d in rule.destinations):
            if host in known or entry_for(cluster.mesh, host, service.meta.namespace) is not None:
                continue
            if not cluster.sees(host):
                continue
            close = near_misses(host, tuple(known))
            fix = f"did you mean {close[0]}?" if close else "make the service, or correct the host"
            text = f"{service.meta}: a route leads to {host}, and there is no such service: requests end with 503"
            yield _finding("MC503", service.meta, text, fix)


def unknown_backend(cluster: Cluster) -> Iterator[Finding]:
    """An HTTPRoute of the Gateway API leads to a Service that is not there."""
    known = {s.full_name for s in cluster.services}
    for route in cluster.api.routes:
        if route.meta.namespace not in cluster.namespaces:
            continue
        backends = dict.fromkeys(b for rule in route.rules for b in rule.backends if b.kind == "Service")
        for host in dict.fromkeys(service_host(b.name, b.namespace, cluster.mesh.domain) for b in backends):
            if host in known or not cluster.sees(host):
                continue
            close = near_misses(host, tuple(known))
            fix = f"did you mean {close[0]}?" if close else "make the service, or correct the backendRef"
            text = f"{route.meta}: a route leads to {host}, and there is no such service: requests end with 500"
            yield _finding("MC503", route.meta, text, fix)


def unknown_gateway(cluster: Cluster) -> Iterator[Finding]:
    """A VirtualService names a Gateway that is not there."""
    known = {(g.meta.namespace, g.meta.name) for g in cluster.mesh.gateways}
    for service in _virtual_services(cluster):
        for name in service.gateways:
            place, slash, own = name.partition("/")
            wanted = (place, own) if slash else (service.meta.namespace, name)
            if name == "mesh" or wanted in known or "." in name:
                continue
            if cluster.covered and wanted[0] not in cluster.covered:
                continue
            said = f"{service.meta}: it names the Gateway {'/'.join(wanted)}, and there is none"
            text = f"{said}: its routes do not count there"
            yield _finding("MC504", service.meta, text, "correct the name (NAMESPACE/NAME), or make the Gateway")


def plain_text_to_strict(cluster: Cluster) -> Iterator[Finding]:
    """A DestinationRule turns TLS off towards pods that insist on mutual TLS."""
    for rule in cluster.mesh.destination_rules:
        if rule.meta.namespace not in cluster.namespaces:
            continue
        for service in (s for s in cluster.services if host_fits(rule.host, s.full_name)):
            for port in service.ports:
                if rule.policy.tls_on(port.number) not in ("DISABLE", "SIMPLE"):
                    continue
                strict = _strict_pod(cluster, service, port.target)
                if strict is None:
                    continue
                tls = rule.policy.tls_on(port.number)
                text = (
                    f"{rule.meta}: tls mode {tls} towards {service.name}:{port.number}, whose pods insist on mutual "
                    f"TLS ({strict}): connections are reset, and callers get 503"
                )
                fix = "remove the tls settings (the mesh then chooses mutual TLS itself), or use ISTIO_MUTUAL"
                yield _finding("MC505", rule.meta, text, fix)
                break


def _strict_pod(cluster: Cluster, service: Service, target: str) -> Meta | None:
    """The policy that makes a pod of the service insist on mutual TLS on the port."""
    root = cluster.mesh.config.root_namespace
    for pod in _selected(cluster, service):
        if pod.labels.get("security.istio.io/tlsMode") != "istio":
            continue
        number = pod.port_of(target)
        if number is None:
            continue
        mode = peer_mode(cluster.mesh.peer_authentications, pod.namespace, pod.labels, number, root)
        if mode.mode == "STRICT":
            return mode.decided_by
    return None


def _virtual_services(cluster: Cluster) -> Iterator[VirtualService]:
    for service in cluster.mesh.virtual_services:
        if service.meta.namespace in cluster.namespaces:
            yield service


ALL: tuple[Callable[[Cluster], Iterator[Finding]], ...] = (
    unknown_subset,
    unknown_destination,
    unknown_backend,
    unknown_gateway,
    plain_text_to_strict,
    service_without_pods,
    mutual_tls_to_plain_text,
)
TITLES = {
    "MC503": "A route leads to a host that is no service",
    "MC504": "A VirtualService names a Gateway that is not there",
    "MC505": "A DestinationRule turns TLS off towards pods that insist on mutual TLS",
    "MC506": "A Service selects no pod",
    "MC507": "A DestinationRule insists on mutual TLS towards pods that take plain text only",
}

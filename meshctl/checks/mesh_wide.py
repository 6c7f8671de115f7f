"""Checks on the mesh's resources together, not on one pod: routes that lead nowhere, TLS settings that contradict.

Each rule is one function that takes a `Cluster`; `ALL` lists them with their ids.
"""

from collections.abc import Callable, Iterator, Sequence

from meshctl.checks.finding import Finding
from meshctl.frozen import dataclass
from meshctl.istio.mesh import Mesh, entry_for
from meshctl.istio.resource import Meta, host_fits
from meshctl.istio.security import peer_mode
from meshctl.istio.virtual_service import VirtualService
from meshctl.kube.pods import Pod
from meshctl.kube.services import Service
from meshctl.refs import near_misses


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What the rules look at; `namespaces` are those that the user asked about, `domain` the cluster's."""

    mesh: Mesh
    services: Sequence[Service]
    pods: Sequence[Pod]
    namespaces: frozenset[str]
    complete: bool = True
    domain: str = "cluster.local"

    def host(self, service: Service) -> str:
        """A service's full name."""
        return f"{service.name}.{service.namespace}.svc.{self.domain}"


def run(cluster: Cluster) -> tuple[Finding, ...]:
    """All findings about the resources of the namespaces asked about."""
    return tuple(finding for rule in ALL.values() for finding in rule(cluster))


def _finding(id: str, meta: Meta, text: str, fix: str) -> Finding:
    subject = f"{meta.kind.lower()}/{meta.namespace}/{meta.name}"
    return Finding(id=id, severity="error", subject=subject, text=text, evidence=str(meta.origin), fix=fix)


def unknown_destination(cluster: Cluster) -> Iterator[Finding]:
    """A route leads to a host that is no service."""
    known = {cluster.host(s) for s in cluster.services}
    suffix = f".svc.{cluster.domain}"
    for service in _virtual_services(cluster):
        for host in dict.fromkeys(d.host for rule in service.http for d in rule.destinations):
            if host in known or entry_for(cluster.mesh, host, service.meta.namespace) is not None:
                continue
            if not host.endswith(suffix) and not cluster.complete:
                continue
            close = near_misses(host, tuple(known))
            fix = f"did you mean {close[0]}?" if close else "make the service, or correct the host"
            text = f"{service.meta}: a route leads to {host}, and there is no such service: requests end with 503"
            yield _finding("MC503", service.meta, text, fix)


def unknown_gateway(cluster: Cluster) -> Iterator[Finding]:
    """A VirtualService names a Gateway that is not there."""
    known = {(g.meta.namespace, g.meta.name) for g in cluster.mesh.gateways}
    for service in _virtual_services(cluster):
        for name in service.gateways:
            place, slash, own = name.partition("/")
            wanted = (place, own) if slash else (service.meta.namespace, name)
            if name == "mesh" or wanted in known or "." in name:
                continue
            said = f"{service.meta}: it names the Gateway {'/'.join(wanted)}, and there is none"
            text = f"{said}: its routes do not count there"
            yield _finding("MC504", service.meta, text, "correct the name (NAMESPACE/NAME), or make the Gateway")


def plain_text_to_strict(cluster: Cluster) -> Iterator[Finding]:
    """A DestinationRule turns TLS off towards pods that insist on mutual TLS."""
    for rule in cluster.mesh.destination_rules:
        if rule.meta.namespace not in cluster.namespaces:
            continue
        for service in (s for s in cluster.services if host_fits(rule.host, cluster.host(s))):
            for port in service.ports:
                if rule.policy.tls_on(port.number) not in ("DISABLE", "SIMPLE"):
                    continue
                strict = _strict_pod(cluster, service, port.target)
                if strict is None:
                    continue
                tls = rule.policy.tls_on(port.number)
                text = (
                    f"{rule.meta}: tls mode {tls} towards {service.name}:{port.number}, whose pods insist on mutual TLS "
                    f"({strict}): connections are reset, and callers get 503"
                )
                fix = "remove the tls settings (the mesh then chooses mutual TLS itself), or use ISTIO_MUTUAL"
                yield _finding("MC505", rule.meta, text, fix)
                break


def _strict_pod(cluster: Cluster, service: Service, target: str) -> Meta | None:
    """The policy that makes a pod of the service insist on mutual TLS on the port."""
    root = cluster.mesh.config.root_namespace
    for pod in cluster.pods:
        if pod.namespace != service.namespace or not service.selects(pod.labels):
            continue
        if pod.labels.get("security.istio.io/tlsMode") != "istio":
            continue
        number = int(target) if target.isdigit() else 0
        mode = peer_mode(cluster.mesh.peer_authentications, pod.namespace, pod.labels, number, root)
        if mode.mode == "STRICT":
            return mode.decided_by
    return None


def _virtual_services(cluster: Cluster) -> Iterator[VirtualService]:
    for service in cluster.mesh.virtual_services:
        if service.meta.namespace in cluster.namespaces:
            yield service


ALL: dict[str, Callable[[Cluster], Iterator[Finding]]] = {
    "MC503": unknown_destination,
    "MC504": unknown_gateway,
    "MC505": plain_text_to_strict,
}
TITLES = {
    "MC503": "A route leads to a host that is no service",
    "MC504": "A VirtualService names a Gateway that is not there",
    "MC505": "A DestinationRule turns TLS off towards pods that insist on mutual TLS",
}

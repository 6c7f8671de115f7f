"""All mesh resources of a cluster together."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from functools import partial
from typing import Any, TypeVar

from meshctl.frozen import dataclass
from meshctl.istio import api_routes, destination_rule, entries, security, virtual_service
from meshctl.istio.api_routes import Converted
from meshctl.istio.destination_rule import DestinationRule
from meshctl.istio.entries import Gateway, ServiceEntry, Sidecar
from meshctl.istio.mesh_config import MeshConfig
from meshctl.istio.resource import by_age, exported, host_fits
from meshctl.istio.security import AuthorizationPolicy, PeerAuthentication, RequestAuthentication
from meshctl.istio.virtual_service import VirtualService
from meshctl.kube.names import USUAL_DOMAIN

T = TypeVar("T")
E = TypeVar("E", VirtualService, DestinationRule, ServiceEntry)
Raw = tuple[str, Sequence[Mapping[str, Any]]]
"""The source to cite, and the objects of one kind as the API returns them."""


@dataclass(frozen=True, slots=True)
class Mesh:
    """What the users told the mesh; `api` is the Gateway API's part in Istio's form, for deciding only.

    `domain` is the cluster's, in which the names of its Services end.
    """

    config: MeshConfig = field(default_factory=MeshConfig)
    virtual_services: tuple[VirtualService, ...] = ()
    destination_rules: tuple[DestinationRule, ...] = ()
    peer_authentications: tuple[PeerAuthentication, ...] = ()
    authorization_policies: tuple[AuthorizationPolicy, ...] = ()
    request_authentications: tuple[RequestAuthentication, ...] = ()
    sidecars: tuple[Sidecar, ...] = ()
    service_entries: tuple[ServiceEntry, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    api: Converted = field(default_factory=Converted)
    domain: str = USUAL_DOMAIN


def read(kinds: Mapping[str, Raw], config: MeshConfig, domain: str = USUAL_DOMAIN) -> Mesh:
    """Read the resources; `kinds` is by plural (``virtualservices``); a kind that is missing has none.

    `domain` is the cluster's.
    """

    def every(plural: str, parse: Callable[[Mapping[str, Any], str, int], T]) -> tuple[T, ...]:
        source, items = kinds.get(plural, ("", ()))
        return tuple(parse(raw, source, index) for index, raw in enumerate(items))

    exports = config.exports
    return Mesh(
        config,
        _exported(every("virtualservices", partial(virtual_service.parse, domain=domain)), exports.virtual_services),
        _exported(every("destinationrules", partial(destination_rule.parse, domain=domain)), exports.destination_rules),
        every("peerauthentications", security.parse_peer),
        every("authorizationpolicies", security.parse_authorization),
        every("requestauthentications", security.parse_request),
        every("sidecars", entries.parse_sidecar),
        _exported(every("serviceentries", entries.parse_entry), exports.services),
        every("gateways", entries.parse_gateway),
        api_routes.convert(kinds, domain),
        domain,
    )


def _exported(found: tuple[E, ...], default: str) -> tuple[E, ...]:
    """Resources with the mesh's own ``exportTo`` where they have none."""
    if default == "*":
        return found
    return tuple(one if one.export_to else replace(one, export_to=(default,)) for one in found)


def entry_for(mesh: Mesh, host: str, caller_namespace: str) -> ServiceEntry | None:
    """The ServiceEntry that names a host and is visible to the caller; an exact host before a wildcard."""
    fitting = [
        (pattern, entry)
        for entry in mesh.service_entries
        for pattern in entry.hosts
        if host_fits(pattern, host) and exported(entry.export_to, entry.meta.namespace, caller_namespace)
    ]
    if not fitting:
        return None
    return max(fitting, key=lambda pair: (not pair[0].startswith("*"), len(pair[0])))[1]


def virtual_services_of(mesh: Mesh, caller_namespace: str, gateway: str = "mesh") -> list[VirtualService]:
    """The VirtualServices of a gateway (``mesh`` for sidecars) that a namespace sees, in istiod's order.

    First those that no other namespace sees, then those that are exported to it by name, then those for all; of each
    the oldest first (``VirtualServicesForGateway``, 1.12 to 1.30). `gateway` is ``namespace/name`` for a Gateway.
    """
    found = []
    for service in (*mesh.virtual_services, *mesh.api.routes):
        home = service.meta.namespace
        named = {g if "/" in g or g == "mesh" else f"{home}/{g}" for g in service.gateways}
        if gateway in named and exported(service.export_to, home, caller_namespace):
            public = not service.export_to or "*" in service.export_to
            found.append((2 if public else int(home != caller_namespace), by_age(service.meta), service))
    return [service for *_, service in sorted(found, key=lambda one: one[:2])]


def about(services: Iterable[VirtualService], host: str) -> list[VirtualService]:
    """Those that cover a host, the most specific host first."""
    found = [(best, service) for service in services if (best := best_host(service.hosts, host)) is not None]
    return [service for _, service in sorted(found, key=lambda pair: pair[0], reverse=True)]


def best_host(patterns: Iterable[str], host: str) -> tuple[bool, int] | None:
    """How specific the most specific of the patterns that cover a host is: an exact one most, else the longest."""
    fitting = ((not pattern.startswith("*"), len(pattern)) for pattern in patterns if host_fits(pattern, host))
    return max(fitting, default=None)

"""All mesh resources of a cluster together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
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

T = TypeVar("T")
Raw = tuple[str, Sequence[Mapping[str, Any]]]
"""The source to cite, and the objects of one kind as the API returns them."""


@dataclass(frozen=True, slots=True)
class Mesh:
    """What the users told the mesh; `api` is the Gateway API's part in Istio's form, for deciding only."""

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


def read(kinds: Mapping[str, Raw], config: MeshConfig) -> Mesh:
    """Read the resources; `kinds` is by plural (``virtualservices``); a kind that is missing has none."""

    def every(plural: str, parse: Callable[[Mapping[str, Any], str, int], T]) -> tuple[T, ...]:
        source, items = kinds.get(plural, ("", ()))
        return tuple(parse(raw, source, index) for index, raw in enumerate(items))

    return Mesh(
        config,
        every("virtualservices", virtual_service.parse),
        every("destinationrules", destination_rule.parse),
        every("peerauthentications", security.parse_peer),
        every("authorizationpolicies", security.parse_authorization),
        every("requestauthentications", security.parse_request),
        every("sidecars", entries.parse_sidecar),
        every("serviceentries", entries.parse_entry),
        every("gateways", entries.parse_gateway),
        api_routes.convert(kinds),
    )


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


def virtual_services_for(mesh: Mesh, host: str, caller_namespace: str, gateway: str = "mesh") -> list[VirtualService]:
    """The VirtualServices of a gateway (``mesh`` for sidecars) that cover a host, the most specific host first.

    Of several with the same host the oldest comes first. `gateway` is ``namespace/name`` for a Gateway.
    """
    found = []
    for service in sorted((*mesh.virtual_services, *mesh.api.routes), key=lambda each: by_age(each.meta)):
        if not exported(service.export_to, service.meta.namespace, caller_namespace):
            continue
        named = {g if "/" in g or g == "mesh" else f"{service.meta.namespace}/{g}" for g in service.gateways}
        hosts = [pattern for pattern in service.hosts if host_fits(pattern, host)]
        if gateway in named and hosts:
            best = max((not pattern.startswith("*"), len(pattern)) for pattern in hosts)
            found.append((best, service))
    return [service for _, service in sorted(found, key=lambda pair: pair[0], reverse=True)]

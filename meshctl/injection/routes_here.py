"""The routes of the mesh that lead to a pod's services, and the subsets that it belongs to."""

from collections.abc import Iterator, Sequence

from meshctl.frozen import dataclass
from meshctl.istio.destination_rule import Subset
from meshctl.istio.gateway_api import GatewayApi
from meshctl.istio.mesh import Mesh
from meshctl.istio.resource import Meta
from meshctl.istio.virtual_service import Destination, HttpMatch, HttpRule, StringMatch, VirtualService
from meshctl.kube.names import service_host
from meshctl.kube.services import Service


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
class SubsetHere:
    """A DestinationRule's subset of a host of the pod; `pods` counts the pods of the host that it selects."""

    meta: Meta
    host: str
    subset: Subset
    here: bool
    pods: int


def routes(hosts: dict[str, Service], mesh: Mesh, subsets: Sequence[SubsetHere]) -> Iterator[RouteHere]:
    """Where Istio's VirtualServices send what is for the pod's services."""
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


def api_routes(hosts: dict[str, Service], api: GatewayApi, domain: str) -> Iterator[RouteHere]:
    """Where the Gateway API's routes send what is for the pod's services."""
    for route in api.routes:
        parents = tuple(f"{p.namespace}/{p.name}" for p in route.parents if p.kind == "Gateway")
        if any(p.kind != "Gateway" for p in route.parents):
            parents = (*parents, "mesh")
        refused = [f"not accepted by {p.kind} {p.name}" for p in route.parents if p.accepted is False]
        for index, rule in enumerate(route.rules):
            total = sum(b.weight for b in rule.backends)
            for backend in rule.backends:
                host = service_host(backend.name, backend.namespace, domain)
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

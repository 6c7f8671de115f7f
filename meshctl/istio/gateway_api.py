"""The Gateway API's Gateway and HTTPRoute: how requests come in, and where they go, as the user wrote it.

Fields: ``gateway.networking.k8s.io/v1`` (Gateway API 1.4). The defaults are the specification's: a parent is a Gateway
of the route's namespace, a backend a Service of it, a weight 1, a path the prefix ``/``.
"""

from collections.abc import Mapping
from typing import Any

from meshctl.frozen import dataclass
from meshctl.istio.resource import Meta, read
from meshctl.istio.virtual_service import HttpMatch, StringMatch
from meshctl.kube.fields import Fields

GROUP = "gateway.networking.k8s.io"


@dataclass(frozen=True, slots=True)
class Listener:
    """One listener of a Gateway; `host` empty for all hosts; `admits`: Same, All, Selector or None (whose routes)."""

    name: str
    port: int
    protocol: str
    host: str
    admits: str


@dataclass(frozen=True, slots=True)
class ApiGateway:
    """A Gateway of the Gateway API; `addresses` are those of its status."""

    meta: Meta
    listeners: tuple[Listener, ...]
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Parent:
    """What a route is attached to: `kind` Gateway, Service or ServiceEntry; `section` and `port` may narrow it.

    `accepted` is what the status says; None where it says nothing.
    """

    kind: str
    namespace: str
    name: str
    section: str
    port: int | None
    accepted: bool | None


@dataclass(frozen=True, slots=True)
class Backend:
    """Where a share of the requests goes; `weight` is relative to the rule's others."""

    kind: str
    namespace: str
    name: str
    port: int | None
    weight: int


@dataclass(frozen=True, slots=True)
class ApiRule:
    """One rule; `filters` are the types of what is done to a request on the way."""

    name: str
    matches: tuple[HttpMatch, ...]
    backends: tuple[Backend, ...]
    filters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HttpRoute:
    """An HTTPRoute; `hosts` empty for those of its parents."""

    meta: Meta
    hosts: tuple[str, ...]
    parents: tuple[Parent, ...]
    rules: tuple[ApiRule, ...]


@dataclass(frozen=True, slots=True)
class GatewayApi:
    """What there is of the Gateway API."""

    gateways: tuple[ApiGateway, ...] = ()
    routes: tuple[HttpRoute, ...] = ()


def parse_gateway(raw: Mapping[str, Any], source: str, index: int) -> ApiGateway:
    """Read one Gateway of the Gateway API."""
    meta, spec = read(raw, "Gateway", source, index)
    listeners = tuple(
        Listener(
            entry.text("name"),
            entry.number("port") or 0,
            entry.text("protocol").upper(),
            entry.text("hostname"),
            entry.below("allowedRoutes").below("namespaces").text("from") or "Same",
        )
        for entry in spec.each("listeners")
    )
    status = Fields(raw.get("status"), f"items[{index}].status", [])
    addresses = tuple(value for entry in status.each("addresses") if (value := entry.text("value")))
    return ApiGateway(meta, listeners, addresses)


def parse_route(raw: Mapping[str, Any], source: str, index: int) -> HttpRoute:
    """Read one HTTPRoute; matches that are not modelled are named in the match's `other`."""
    meta, spec = read(raw, "HTTPRoute", source, index)
    rules = tuple(_rule(rule, meta.namespace) for rule in spec.each("rules"))
    return HttpRoute(meta, spec.texts("hostnames"), parse_parents(raw, meta, spec), rules)


def parse_parents(raw: Mapping[str, Any], meta: Meta, spec: Fields) -> tuple[Parent, ...]:
    """What a route of any kind is attached to, with what its status says of each."""
    status = Fields(raw.get("status"), "status", [])
    verdicts = {
        (ref.text("name"), ref.text("namespace") or meta.namespace, ref.text("sectionName")): _accepted(entry)
        for entry in status.each("parents")
        for ref in (entry.below("parentRef"),)
    }
    parents = []
    for ref in spec.each("parentRefs"):
        name, namespace, section = ref.text("name"), ref.text("namespace") or meta.namespace, ref.text("sectionName")
        accepted = verdicts.get((name, namespace, section))
        parents.append(Parent(ref.text("kind") or "Gateway", namespace, name, section, ref.number("port"), accepted))
    return tuple(parents)


def _accepted(parent: Fields) -> bool | None:
    found = [c.text("status") for c in parent.each("conditions") if c.text("type") == "Accepted"]
    return found[0] == "True" if found else None


def _rule(rule: Fields, namespace: str) -> ApiRule:
    backends = tuple(
        Backend(
            ref.text("kind") or "Service",
            ref.text("namespace") or namespace,
            ref.text("name"),
            ref.number("port"),
            weight if (weight := ref.number("weight")) is not None else 1,
        )
        for ref in rule.each("backendRefs")
    )
    filters = tuple(entry.text("type") for entry in rule.each("filters"))
    return ApiRule(rule.text("name"), tuple(read_match(match) for match in rule.each("matches")), backends, filters)


_HOW = {"Exact": "exact", "PathPrefix": "path", "RegularExpression": "regex", "": "exact"}


def read_match(match: Fields) -> HttpMatch:
    """Read one match of an HTTPRoute."""
    path = match.below("path")
    kind = path.text("type") or "PathPrefix"
    uri = None
    if match.has("path") and (kind, path.text("value")) != ("PathPrefix", "/"):
        uri = _string(kind, path.text("value"))
    return HttpMatch(
        uri=uri,
        method=StringMatch("exact", match.text("method")) if match.has("method") else None,
        headers=tuple(
            (h.text("name").lower(), _string(h.text("type"), h.text("value"))) for h in match.each("headers")
        ),
        query=tuple((q.text("name"), _string(q.text("type"), q.text("value"))) for q in match.each("queryParams")),
        other=tuple(key for key in match.raw if key not in ("path", "method", "headers", "queryParams")),
    )


def _string(kind: str, value: str) -> StringMatch:
    match _HOW.get(kind):
        case "path":
            return StringMatch("path", value)
        case "regex":
            return StringMatch("regex", value)
        case _:
            return StringMatch("exact", value)


def parent_gateway(api: GatewayApi, parent: Parent) -> ApiGateway | None:
    """The Gateway that a parent reference names."""
    if parent.kind != "Gateway":
        return None
    wanted = (parent.namespace, parent.name)
    return next((g for g in api.gateways if (g.meta.namespace, g.meta.name) == wanted), None)


def admitted(listener: Listener, gateway: ApiGateway, route: HttpRoute, parent: Parent) -> bool | None:
    """Whether a listener takes a route; None where its namespace selector would have to be asked."""
    if parent.accepted is False or listener.admits == "None":
        return False
    if parent.section not in ("", listener.name) or parent.port not in (None, listener.port):
        return False
    if listener.admits == "Same" and route.meta.namespace != gateway.meta.namespace:
        return False
    return None if listener.admits == "Selector" and parent.accepted is not True else True

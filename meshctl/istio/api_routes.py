"""The Gateway API's routes and Gateways in Istio's own form, as istiod turns them into it before it looks at them.

Followed are ``pilot/pkg/config/kube/gateway/conversion.go`` (1.30) and the Gateway API 1.4: HTTPRoute, GRPCRoute,
TCPRoute and TLSRoute, with a Gateway or a Service for a parent. What cannot be told from the resources alone (filters
that name other objects, backends of other namespaces, which need a grant) is kept as a match that is not modelled.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from meshctl.frozen import dataclass
from meshctl.istio.entries import Gateway, GatewayServer
from meshctl.istio.gateway_api import GROUP, GatewayApi, Parent, parse_gateway, parse_parents, read_match
from meshctl.istio.resource import Meta, host_fits, read
from meshctl.istio.virtual_service import Destination, HttpMatch, HttpRule, L4Match, L4Rule, StringMatch, VirtualService
from meshctl.kube.fields import Fields

Raw = tuple[str, Sequence[Mapping[str, Any]]]
_KINDS = {f"{kind.lower()}s.{GROUP}": kind for kind in ("HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute")}
_NAME_LABELS = ("gateway.networking.k8s.io/gateway-name", "istio.io/gateway-name")
"""The label of the pods that istiod makes for a Gateway: since 1.20, and before."""


@dataclass(frozen=True, slots=True)
class Converted:
    """Gateways and routes in the form of Istio's own resources."""

    gateways: tuple[Gateway, ...] = ()
    routes: tuple[VirtualService, ...] = ()


def convert(kinds: Mapping[str, Raw]) -> Converted:
    """Convert what there is; `kinds` is by plural and group (``gateways.gateway.networking.k8s.io``)."""
    source, items = kinds.get(f"gateways.{GROUP}", ("", ()))
    if not items and not any(kinds.get(plural, ("", ()))[1] for plural in _KINDS):
        return Converted()
    listeners = [(raw, source, index) for index, raw in enumerate(items)]
    api = GatewayApi(tuple(parse_gateway(*each) for each in listeners))
    routes = [
        service
        for plural, kind in _KINDS.items()
        for index, raw in enumerate(kinds.get(plural, ("", ()))[1])
        for service in _routes(api, kind, raw, kinds[plural][0], index)
    ]
    return Converted(tuple(g for each in listeners for g in _gateways(*each)), tuple(routes))


# --- gateways --------------------------------------------------------------------------------------------------------


def _gateways(raw: Mapping[str, Any], source: str, index: int) -> Iterator[Gateway]:
    meta, spec = read(raw, "Gateway", source, index)
    servers = tuple(_server(entry) for entry in spec.each("listeners"))
    if spec.text("gatewayClassName") not in ("istio-waypoint", "istio-east-west"):
        for label in _NAME_LABELS:
            yield Gateway(meta, ((label, meta.name),), servers)


def _server(entry: Fields) -> GatewayServer:
    protocol = entry.text("protocol").upper()
    mode = entry.below("tls").text("mode") or "Terminate"
    tls = {"HTTPS": "SIMPLE", "TLS": "PASSTHROUGH" if mode == "Passthrough" else "SIMPLE"}.get(protocol, "")
    return GatewayServer(entry.number("port") or 0, protocol, (entry.text("hostname") or "*",), tls, False)


# --- routes ----------------------------------------------------------------------------------------------------------


def _routes(api: GatewayApi, kind: str, raw: Mapping[str, Any], source: str, index: int) -> Iterator[VirtualService]:
    """One VirtualService for each parent that takes the route."""
    meta, spec = read(raw, kind, source, index)
    hosts = tuple(host.lower() for host in spec.texts("hostnames"))
    for parent in parse_parents(raw, meta, spec):
        if parent.accepted is False:
            continue
        if parent.kind == "Service":
            own = (f"{parent.name}.{parent.namespace}.svc.cluster.local",)
            export = () if parent.namespace == meta.namespace else (meta.namespace,)
            yield _service(kind, meta, spec, own, "mesh", parent.port, export)
        elif parent.kind == "Gateway":
            yield from _at_gateway(api, kind, meta, spec, hosts, parent)


def _at_gateway(
    api: GatewayApi, kind: str, meta: Meta, spec: Fields, hosts: tuple[str, ...], parent: Parent
) -> Iterator[VirtualService]:
    wanted = (parent.namespace, parent.name)
    gateway = next((g for g in api.gateways if (g.meta.namespace, g.meta.name) == wanted), None)
    for listener in gateway.listeners if gateway is not None else ():
        if parent.section not in ("", listener.name) or parent.port not in (None, listener.port):
            continue
        if listener.admits == "None" or (listener.admits == "Same" and meta.namespace != parent.namespace):
            continue
        common = tuple(_common(hosts, listener.host))
        if common:
            key = f"{parent.namespace}/{parent.name}"
            yield _service(kind, meta, spec, common, key, listener.port, ())


def _common(hosts: tuple[str, ...], listener: str) -> Iterator[str]:
    """The hosts of a route that a listener lets in: of two that fit each other the narrower one."""
    if not hosts:
        yield listener or "*"
    for host in hosts:
        if not listener or host_fits(listener, host):
            yield host
        elif host_fits(host, listener):
            yield listener


def _service(
    kind: str, meta: Meta, spec: Fields, hosts: tuple[str, ...], gateway: str, port: int | None, export: tuple[str, ...]
) -> VirtualService:
    http: list[HttpRule] = []
    l4: tuple[L4Rule, ...] = ()
    if kind in ("HTTPRoute", "GRPCRoute"):
        http = [one for rule in spec.each("rules") for one in _http(kind, rule, meta.namespace, port)]
        http.sort(key=lambda rule: rule.rank, reverse=True)
    else:
        sni = hosts if kind == "TLSRoute" else ()
        match = (L4Match(port=port, sni=sni),)
        l4 = tuple(L4Rule(r.path, match, tuple(_backends(r, meta.namespace))) for r in spec.each("rules"))
    tcp, tls = ((), l4) if kind == "TLSRoute" else (l4, ())
    return VirtualService(meta, hosts, (gateway,), tuple(http), tcp, tls, export)


def _backends(rule: Fields, namespace: str) -> Iterator[Destination]:
    for ref in rule.each("backendRefs"):
        host = f"{ref.text('name')}.{ref.text('namespace') or namespace}.svc.cluster.local"
        weight = ref.number("weight")
        yield Destination(host, "", ref.number("port"), 1 if weight is None else weight)


def _http(kind: str, rule: Fields, namespace: str, port: int | None) -> Iterator[HttpRule]:
    """One rule for each match, so that the most specific ones can come first."""
    redirect, rewrite, pattern, host, unknown, mirrors = None, "", "", "", [], []
    for entry in rule.each("filters"):
        what = entry.text("type")
        if what == "RequestRedirect":
            redirect = entry.below("requestRedirect").number("statusCode") or 302
        elif what == "URLRewrite":
            path = entry.below("urlRewrite").below("path")
            rewrite = path.text("replacePrefixMatch") or path.text("replaceFullPath")
            pattern = "^.*$" if path.has("replaceFullPath") else ""
            host = entry.below("urlRewrite").text("hostname")
        elif what == "RequestMirror":
            to = entry.below("requestMirror").below("backendRef")
            where = f"{to.text('name')}.{to.text('namespace') or namespace}.svc.cluster.local"
            mirrors.append(Destination(where, "", to.number("port"), 100))
        elif what not in ("RequestHeaderModifier", "ResponseHeaderModifier"):
            unknown.append(what or "filter")
    for ref in rule.each("backendRefs"):
        foreign = ref.text("namespace") not in ("", namespace)
        unknown += [f"backend of {ref.text('namespace')}"] if foreign else []
        unknown += [ref.text("kind")] if ref.text("kind") not in ("", "Service") else []
    destinations = tuple(_backends(rule, namespace))
    weighed = any(d.weight for d in destinations)
    base = HttpRule(
        rule.text("name"),
        rule.path,
        (),
        destinations,
        redirect_code=redirect,
        direct_status=500 if redirect is None and not weighed else None,
        timeout=rule.below("timeouts").text("request"),
        rewrite=rewrite,
        rewrite_regex=pattern,
        rewrite_host=host,
        mirrors=tuple(mirrors),
    )
    reads = _grpc_match if kind == "GRPCRoute" else read_match
    matches = [reads(match) for match in rule.each("matches")] or [HttpMatch()]
    for match in matches:
        whole = replace(match, port=port, other=(*match.other, *unknown))
        yield replace(base, matches=(whole,), rank=_rank(whole))


def _rank(match: HttpMatch) -> tuple[int, ...]:
    """How specific a match is, as the Gateway API orders them: exact path, longest prefix, method, headers, query."""
    uri = match.uri
    exact = int(uri is not None and uri.how == "exact")
    length = len(uri.value) if uri is not None else 1
    return exact, length, int(match.method is not None), len(match.headers), len(match.query)


def _grpc_match(match: Fields) -> HttpMatch:
    method = match.below("method")
    service, name, kind = method.text("service"), method.text("method"), method.text("type") or "Exact"
    other = () if kind == "Exact" or not match.has("method") else (f"method {kind}",)
    uri = None
    if service and name:
        uri = StringMatch("exact", f"/{service}/{name}")
    elif service:
        uri = StringMatch("prefix", f"/{service}/")
    elif name:
        uri = StringMatch("regex", f"/[^/]+/{name}")
    headers = tuple(
        (
            h.text("name").lower(),
            StringMatch("regex" if h.text("type") == "RegularExpression" else "exact", h.text("value")),
        )
        for h in match.each("headers")
    )
    return HttpMatch(uri=uri, headers=headers, other=other)

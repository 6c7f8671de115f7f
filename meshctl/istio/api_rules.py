"""The rules of the Gateway API's routes as rules of a VirtualService (``convertHTTPRoute`` and its like, 1.30).

The Gateway API 1.4 says what defaults are: a backend a Service of the route's namespace, a weight 1.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from meshctl.istio.gateway_api import read_match
from meshctl.istio.header_changes import UNCHANGED, HeaderChanges, of_pairs
from meshctl.istio.reference_grants import Grants
from meshctl.istio.resource import Meta
from meshctl.istio.virtual_service import Destination, HttpMatch, HttpRule, L4Match, L4Rule, StringMatch
from meshctl.kube.fields import Fields
from meshctl.kube.names import service_host

_REFUSED = Destination("")
"""A backend that is not granted: istiod makes a destination without a name of it, and there is no such cluster."""
_NOWHERE = Destination("internal.cluster.local", "zero-weight", 65535)
"""What istiod puts where no backend of a TCPRoute or TLSRoute has a weight."""


def http_rules(
    kind: str, meta: Meta, spec: Fields, port: int | None, grants: Grants | None, doubt: tuple[str, ...]
) -> Iterator[HttpRule]:
    """The rules of an HTTPRoute or a GRPCRoute, one for each match, the most specific ones first.

    `grants` None: backends of other namespaces need none. `doubt` is what keeps every match from being told.
    """
    found = [
        one
        for number, rule in enumerate(spec.each("rules"))
        for one in _http(kind, meta, rule, number, port, grants, doubt)
    ]
    return iter(sorted(found, key=lambda rule: rule.rank, reverse=True))


def l4_rules(
    kind: str,
    meta: Meta,
    spec: Fields,
    port: int | None,
    sni: tuple[str, ...],
    grants: Grants | None,
    doubt: tuple[str, ...],
) -> Iterator[L4Rule]:
    """The rules of a TCPRoute or a TLSRoute; one without destinations cannot be told."""
    for rule in spec.each("rules"):
        unknown, found = _backends(kind, meta, rule, grants)
        weighed = tuple(d for d in found if d.weight) or (_NOWHERE,)
        yield L4Rule(rule.path, (L4Match(port=port, sni=sni),), () if unknown or doubt else weighed)


def _backends(
    kind: str, meta: Meta, rule: Fields, grants: Grants | None
) -> tuple[tuple[str, ...], tuple[Destination, ...]]:
    """The backends of a rule, and what cannot be told of them."""
    unknown, found = [], []
    for ref in rule.each("backendRefs"):
        group, named = ref.text("group"), ref.text("kind") or "Service"
        namespace, name = ref.text("namespace") or meta.namespace, ref.text("name")
        host = service_host(name, namespace, meta.domain)
        if (group, named) == ("networking.istio.io", "Hostname"):
            host = name
        elif named != "Service":
            unknown.append(named)
        allowed = grants is None or namespace == meta.namespace or grants.allow(kind, meta.namespace, namespace, name)
        unknown += [f"backend of {namespace}"] if allowed is None else []
        weight = ref.number("weight")
        changes, odd = _changes(ref)
        unknown += odd
        to = Destination(host, "", ref.number("port"), headers=changes) if allowed else _REFUSED
        found.append(replace(to, weight=1 if weight is None else weight))
    return tuple(unknown), tuple(found)


def _changes(holder: Fields) -> tuple[HeaderChanges, list[str]]:
    """What filters of a backend change of the request's headers, and the filters that are something else."""
    changes, odd = UNCHANGED, []
    for entry in holder.each("filters"):
        what = entry.text("type")
        if what == "RequestHeaderModifier":
            changes = _header_changes(entry.below("requestHeaderModifier"))
        elif what != "ResponseHeaderModifier":
            odd.append(what or "filter")
    return changes, odd


def _header_changes(modifier: Fields) -> HeaderChanges:
    """Of two entries for one header the first counts (``headerListToMap``, 1.30)."""

    def pairs(key: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for entry in modifier.each(key):
            found.setdefault(entry.text("name").lower(), entry.text("value"))
        return found

    return of_pairs(modifier.texts("remove"), pairs("set"), pairs("add"))


def _http(
    kind: str,
    meta: Meta,
    rule: Fields,
    number: int,
    port: int | None,
    grants: Grants | None,
    doubt: tuple[str, ...],
) -> Iterator[HttpRule]:
    """One rule for each match, so that the most specific ones can come first."""
    base, unknown = _filtered(meta, rule)
    open_ends, destinations = _backends(kind, meta, rule, grants)
    weighed = tuple(d for d in destinations if d.weight)
    base = replace(
        _limited(base, rule),
        name=rule.text("name") or f"{meta.namespace}.{meta.name}.{number}",
        destinations=weighed,
        direct_status=500 if base.redirect_code is None and not weighed else None,
        no_cluster=500,
    )
    reads = _grpc_match if kind == "GRPCRoute" else read_match
    matches: list[HttpMatch | None] = [reads(match) for match in rule.each("matches")]
    for match in matches or [None]:
        whole = replace(HttpMatch() if match is None else _trimmed(match), port=port)
        whole = replace(whole, other=(*whole.other, *unknown, *open_ends, *doubt))
        yield replace(_with_prefix(base, whole), matches=(whole,), rank=_rank(kind, match))


def _trimmed(match: HttpMatch) -> HttpMatch:
    """A match without the slash that a prefix may end with: it is ignored."""
    if match.uri is None or match.uri.how != "path":
        return match
    return replace(match, uri=replace(match.uri, value=match.uri.value.removesuffix("/")))


def _filtered(meta: Meta, rule: Fields) -> tuple[HttpRule, list[str]]:
    """A rule with what its filters do, and the filters that are not modelled."""
    unknown: list[str] = []
    found = HttpRule("", rule.path, (), ())
    for entry in rule.each("filters"):
        what = entry.text("type")
        if what == "RequestRedirect":
            found = replace(found, redirect_code=entry.below("requestRedirect").number("statusCode") or 302)
        elif what == "URLRewrite":
            path, host = entry.below("urlRewrite").below("path"), entry.below("urlRewrite").text("hostname")
            found = replace(found, rewrite_host=host)
            if path.has("replaceFullPath"):
                found = replace(found, rewrite=path.text("replaceFullPath"), rewrite_regex="^/.*$")
            elif path.has("replacePrefixMatch"):
                found = replace(found, rewrite=path.text("replacePrefixMatch").removesuffix("/") or "/")
        elif what == "RequestMirror":
            to = entry.below("requestMirror").below("backendRef")
            where = service_host(to.text("name"), to.text("namespace") or meta.namespace, meta.domain)
            mirror = Destination(where, "", to.number("port"), _share(entry.below("requestMirror")))
            found = replace(found, mirrors=(*found.mirrors, mirror))
        elif what == "RequestHeaderModifier":
            found = replace(found, headers=_header_changes(entry.below("requestHeaderModifier")))
        elif what != "ResponseHeaderModifier":
            unknown.append(what or "filter")
    return found, unknown


def _share(mirror: Fields) -> int:
    """The share of requests that is copied, in percent: all where none is said."""
    if mirror.has("fraction"):
        part = mirror.below("fraction")
        return round(100 * (part.number("numerator") or 0) / (part.number("denominator") or 100))
    percent = mirror.number("percent")
    return 100 if percent is None else percent


def _with_prefix(rule: HttpRule, match: HttpMatch) -> HttpRule:
    """A rule that replaces the matched prefix, as an expression where istiod makes one or there is no prefix to see."""
    if not rule.rewrite or rule.rewrite_regex:
        return rule
    prefix = match.uri.value if match.uri is not None and match.uri.how == "path" else ""
    if rule.rewrite == "/":
        return replace(rule, rewrite_regex=f"^{re.escape(prefix)}(/?)(.*)", rewrite=r"/\2")
    return rule if prefix else replace(rule, rewrite_regex="^/")


def _limited(found: HttpRule, rule: Fields) -> HttpRule:
    """With timeouts and retries: the backend's timeout is each try's where tries are said, else the whole request's."""
    timeouts, retry = rule.below("timeouts"), rule.below("retry")
    whole, each = (_none_of_zero(timeouts.text(key)) for key in ("request", "backendRequest"))
    if not rule.has("retry"):
        return replace(found, timeout=each or whole)
    codes = (str(code) for code in retry.values("codes"))
    attempts = retry.number("attempts")
    return replace(
        found,
        timeout=whole,
        attempts=2 if attempts is None else attempts,
        retry_on=",".join(("connect-failure", "refused-stream", "unavailable", "cancelled", *codes)),
        per_try_timeout=each,
    )


def _none_of_zero(duration: str) -> str:
    return duration if any(digit in duration for digit in "123456789") else ""


def _rank(kind: str, match: HttpMatch | None) -> tuple[int, ...]:
    """How specific a match is: exact paths, then prefixes, then expressions; then their length, method, headers, query.

    Source: ``sortHTTPRoutes`` and ``getURIRank``, 1.30. An HTTPRoute's match always has a path (``/``).
    """
    if match is None:
        return (-2,) if kind == "GRPCRoute" else (2, 1, 0, 0, 0)
    uri = match.uri
    if uri is None:
        how, length = (-1, 0) if kind == "GRPCRoute" else (2, 1)
    else:
        how = {"exact": 3, "prefix": 2, "path": 2}.get(uri.how, 1)
        length = len(uri.value.rstrip("/") if uri.how == "path" else uri.value)
    return how, length, int(match.method is not None), len(match.headers), len(match.query)


def _grpc_match(match: Fields) -> HttpMatch:
    method = match.below("method")
    service, name = method.text("service"), method.text("method")
    uri = None
    if method.text("type") == "RegularExpression":
        uri = StringMatch("regex", f"/{service or '[^/]+'}/{name or '.+'}")
    elif service and name:
        uri = StringMatch("exact", f"/{service}/{name}")
    elif service:
        uri = StringMatch("path", f"/{service}")
    elif name:
        uri = StringMatch("regex", f"/[^/]+/{name}")
    headers = tuple(
        (
            h.text("name").lower(),
            StringMatch("regex" if h.text("type") == "RegularExpression" else "exact", h.text("value")),
        )
        for h in match.each("headers")
    )
    return HttpMatch(uri=uri, headers=headers)

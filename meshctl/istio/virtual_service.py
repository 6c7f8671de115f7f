"""VirtualService: which requests go where, as the user wrote it.

Fields: ``networking/v1alpha3/virtual_service.proto`` (istio.io/api, 1.30).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from meshctl.frozen import dataclass
from meshctl.istio.header_changes import UNCHANGED, HeaderChanges, read_changes
from meshctl.istio.resource import Meta, read
from meshctl.kube.fields import Fields
from meshctl.kube.names import USUAL_DOMAIN


@dataclass(frozen=True, slots=True)
class StringMatch:
    """``exact``, ``prefix`` or ``regex`` (RE2, the whole value); ``present`` asks only that there is a value.

    ``path`` is a prefix that ends at a slash (the Gateway API's PathPrefix).
    """

    how: Literal["exact", "prefix", "regex", "present", "path"]
    value: str = ""
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class HttpMatch:
    """One alternative of a rule's ``match``: all that is given must fit; `other` names what is not modelled."""

    uri: StringMatch | None = None
    method: StringMatch | None = None
    authority: StringMatch | None = None
    scheme: StringMatch | None = None
    headers: tuple[tuple[str, StringMatch], ...] = ()
    without_headers: tuple[tuple[str, StringMatch], ...] = ()
    query: tuple[tuple[str, StringMatch], ...] = ()
    port: int | None = None
    source_labels: tuple[tuple[str, str], ...] = ()
    source_namespace: str = ""
    gateways: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a share of the requests goes; `host` is in full, `port` None means the port asked for."""

    host: str
    subset: str = ""
    port: int | None = None
    weight: int = 0
    headers: HeaderChanges = UNCHANGED


@dataclass(frozen=True, slots=True)
class Fault:
    """Injected faults; percentages 0..100; `abort_grpc` is the name of a gRPC status, instead of an HTTP one."""

    abort_percent: float = 0.0
    abort_status: int | None = None
    delay_percent: float = 0.0
    delay: str = ""
    abort_grpc: str = ""


@dataclass(frozen=True, slots=True)
class HttpRule:
    """One entry of ``http``; `rewrite` is the new path, or (`rewrite_regex` not empty) what replaces its matches.

    `delegate` is the namespace and name of the VirtualService that has the rules instead. `rank` orders the rules of
    the Gateway API's routes, the greatest first; Istio's own have none. `origins` are those whose preflight requests
    the proxy answers (None: there is no ``corsPolicy``), and with `all_preflights` it answers those of others as well.
    `no_cluster` is the answer where a destination does not exist. `tries_others`: retries avoid hosts that were tried.
    """

    name: str
    path: str
    matches: tuple[HttpMatch, ...]
    destinations: tuple[Destination, ...]
    redirect_code: int | None = None
    direct_status: int | None = None
    fault: Fault | None = None
    timeout: str = ""
    attempts: int | None = None
    retry_on: str = ""
    mirrors: tuple[Destination, ...] = ()
    rewrite: str = ""
    rewrite_regex: str = ""
    rewrite_host: str = ""
    delegate: tuple[str, str] | None = None
    rank: tuple[int, ...] = ()
    per_try_timeout: str = ""
    origins: tuple[StringMatch, ...] | None = None
    all_preflights: bool = False
    headers: HeaderChanges | None = None
    no_cluster: int = 503
    tries_others: bool = True


@dataclass(frozen=True, slots=True)
class L4Match:
    """One alternative of a ``tcp`` or ``tls`` rule: all that is given must fit; `sni` is empty for tcp."""

    port: int | None = None
    sni: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()
    source_labels: tuple[tuple[str, str], ...] = ()
    source_namespace: str = ""
    gateways: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class L4Rule:
    """One entry of ``tcp`` or ``tls``; without `matches` it fits everything."""

    path: str
    matches: tuple[L4Match, ...]
    destinations: tuple[Destination, ...]


@dataclass(frozen=True, slots=True)
class VirtualService:
    """A VirtualService; `gateways` is ``("mesh",)`` where none is named."""

    meta: Meta
    hosts: tuple[str, ...]
    gateways: tuple[str, ...]
    http: tuple[HttpRule, ...]
    tcp: tuple[L4Rule, ...]
    tls: tuple[L4Rule, ...]
    export_to: tuple[str, ...]


_MATCH_KEYS = {*HttpMatch.__slots__, "withoutHeaders", "queryParams", "sourceLabels", "sourceNamespace", "name"} | {
    "ignoreUriCase",
    "statPrefix",
}


def parse(raw: Mapping[str, Any], source: str, index: int, domain: str = USUAL_DOMAIN) -> VirtualService:
    """Read one VirtualService; what is not modelled is named in its match's `other`."""
    meta, spec = read(raw, "VirtualService", source, index, domain)
    return VirtualService(
        meta,
        tuple(meta.host(host).lower() for host in spec.texts("hosts")),
        spec.texts("gateways") or ("mesh",),
        tuple(_http(rule, meta) for rule in spec.each("http")),
        tuple(_l4(rule, meta) for rule in spec.each("tcp")),
        tuple(_l4(rule, meta) for rule in spec.each("tls")),
        spec.texts("exportTo"),
    )


def _http(rule: Fields, meta: Meta) -> HttpRule:
    rewrite, delegate = rule.below("rewrite"), rule.below("delegate")
    pattern = rewrite.below("uriRegexRewrite")
    retries, redirect, direct = rule.below("retries"), rule.below("redirect"), rule.below("directResponse")
    return HttpRule(
        rule.text("name"),
        rule.path,
        tuple(_match(match) for match in rule.each("match")),
        tuple(_destination(route, meta) for route in rule.each("route")),
        (redirect.number("redirectCode") or 301) if rule.has("redirect") else None,
        direct.number("status") if rule.has("directResponse") else None,
        _fault(rule.below("fault")) if rule.has("fault") else None,
        rule.text("timeout"),
        (retries.number("attempts") or 0) if rule.has("retries") else None,
        retries.text("retryOn"),
        tuple(_mirrors(rule, meta)),
        pattern.text("rewrite") if rewrite.has("uriRegexRewrite") else rewrite.text("uri"),
        pattern.text("match"),
        rewrite.text("authority"),
        (delegate.text("namespace") or meta.namespace, delegate.text("name")) if rule.has("delegate") else None,
        per_try_timeout=retries.text("perTryTimeout"),
        origins=tuple(_origins(rule.below("corsPolicy"))) if rule.has("corsPolicy") else None,
        all_preflights=rule.below("corsPolicy").text("unmatchedPreflights") == "IGNORE",
        headers=read_changes(rule.below("headers")) if rule.has("headers") else None,
        tries_others=retries.flag("retryIgnorePreviousHosts") is not False,
    )


def _origins(policy: Fields) -> Iterator[StringMatch]:
    """The origins that are allowed; ``allowOrigin`` is what they were before there were matches."""
    if policy.has("allowOrigins"):
        yield from (_string(origin) for origin in policy.each("allowOrigins"))
    else:
        yield from (StringMatch("exact", origin) for origin in policy.texts("allowOrigin"))


def _match(match: Fields) -> HttpMatch:
    fold = match.flag("ignoreUriCase") or False
    return HttpMatch(
        _string(match.below("uri"), fold) if match.has("uri") else None,
        _string(match.below("method")) if match.has("method") else None,
        _string(match.below("authority")) if match.has("authority") else None,
        _string(match.below("scheme")) if match.has("scheme") else None,
        _strings(match.below("headers")),
        _strings(match.below("withoutHeaders")),
        _strings(match.below("queryParams")),
        match.number("port"),
        tuple(sorted(match.strings("sourceLabels").items())),
        match.text("sourceNamespace"),
        match.texts("gateways"),
        tuple(key for key in match.raw if key not in _MATCH_KEYS),
        match.text("name"),
    )


def _strings(fields: Fields) -> tuple[tuple[str, StringMatch], ...]:
    return tuple((name.lower(), _string(fields.below(name))) for name in fields.raw)


def _string(fields: Fields, ignore_case: bool = False) -> StringMatch:
    for how in ("exact", "prefix", "regex"):
        if fields.has(how):
            return StringMatch(how, fields.text(how), ignore_case)
    return StringMatch("present")


def _destination(route: Fields, meta: Meta) -> Destination:
    to = route.below("destination")
    host, port = meta.host(to.text("host")), to.below("port").number("number")
    return Destination(host, to.text("subset"), port, route.number("weight") or 0, read_changes(route.below("headers")))


def _mirrors(rule: Fields, meta: Meta) -> Iterator[Destination]:
    """Where copies go, with the share of requests in percent; ``mirrorPercent`` is the old form."""

    def one(to: Fields, share: Any) -> Destination:
        host = meta.host(to.text("host"))
        weight = int(share) if isinstance(share, int | float) else 100
        return Destination(host, to.text("subset"), to.below("port").number("number"), weight)

    def share(holder: Fields, key: str) -> Any:
        return holder.below(key).raw.get("value", 0) if holder.has(key) else None

    if rule.has("mirror"):
        told = share(rule, "mirrorPercentage")
        yield one(rule.below("mirror"), rule.raw.get("mirrorPercent") if told is None else told)
    for mirror in rule.each("mirrors"):
        yield one(mirror.below("destination"), share(mirror, "percentage"))


def _fault(fault: Fields) -> Fault:
    """Nothing is injected without a percentage; a delay may have the old ``percent`` (``TranslateFault``, 1.30)."""
    abort, delay = fault.below("abort"), fault.below("delay")
    return Fault(
        _percent(abort),
        abort.number("httpStatus"),
        _percent(delay) if delay.has("percentage") else float(delay.number("percent") or 0),
        delay.text("fixedDelay"),
        abort.text("grpcStatus"),
    )


def _percent(part: Fields) -> float:
    value = part.below("percentage").raw.get("value", 0)
    return float(value) if isinstance(value, int | float) else 0.0


def _l4(rule: Fields, meta: Meta) -> L4Rule:
    matches = tuple(
        L4Match(
            match.number("port"),
            match.texts("sniHosts"),
            match.texts("destinationSubnets"),
            tuple(sorted(match.strings("sourceLabels").items())),
            match.text("sourceNamespace"),
            match.texts("gateways"),
        )
        for match in rule.each("match")
    )
    return L4Rule(rule.path, matches, tuple(_destination(route, meta) for route in rule.each("route")))

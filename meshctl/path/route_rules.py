"""VirtualServices' rules applied to one request, for a proxy whose configuration was not recorded.

Followed is ``pilot/pkg/networking/core/route`` (1.30). A match that is not modelled makes the decision undecided where
the rules before it do not decide.
"""

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from meshctl.envoy.match import Step
from meshctl.envoy.model.routes import RetryPolicy
from meshctl.frozen import dataclass
from meshctl.istio.resource import host_fits, selects
from meshctl.istio.virtual_service import Destination, HttpMatch, HttpRule, L4Match, L4Rule, StringMatch, VirtualService
from meshctl.path.decision import Decision, Injected, Option, Refusal
from meshctl.path.model import Request
from meshctl.path.wire import bare

DEFAULT_RETRY = RetryPolicy(
    on=("connect-failure", "refused-stream", "unavailable", "cancelled", "retriable-status-codes"),
    attempts=2,
    host_predicates=("previous_hosts",),
)
"""Istio's retry policy where a VirtualService says nothing (``retry.DefaultPolicy``)."""

PortOf: TypeAlias = Callable[[str], int | None]
"""The port that a destination without one stands for, by its host; None for the port that was asked for."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where the rules are applied: the port called, the sending workload, and the names of the gateways it is."""

    port: int
    namespace: str
    labels: Mapping[str, str]
    gateways: tuple[str, ...]
    address: str = ""


def http(
    services: Sequence[VirtualService],
    others: Iterable[VirtualService],
    setting: Setting,
    request: Request,
    said: Step,
    port_of: PortOf | None = None,
) -> Decision:
    """What the first rule that fits does, rules without a match last; `others` are looked up for delegates."""
    named = {(s.meta.namespace, s.meta.name): s for s in others}
    rules = [(s, rule) for s in services for one in s.http for rule in _with_delegate(one, named)]
    rules.sort(key=lambda pair: pair[1].rank, reverse=True)
    for service, rule in sorted(rules, key=lambda pair: not pair[1].matches and len(services) > 1):
        fits = _rule_fits(rule, request, setting)
        if fits is None:
            reason = f"{service.meta}: a match of {rule.path} is not modelled without the proxy's configuration"
            return Decision(undecided=(reason,), steps=(said,), assumed=True)
        if fits:
            return _of_rule(service, rule, setting.port, request, said, port_of)
    names = ", ".join(str(service.meta) for service in services)
    because = f"no rule of {names} fits {request.method} {request.path}"
    refusal = Refusal(404, "NR", "route_not_found", because, cause="no-route")
    last = Step("route", "", because, services[0].meta.origin)
    return Decision(refusal=refusal, steps=(said, last), assumed=True)


def _with_delegate(rule: HttpRule, named: Mapping[tuple[str, str], VirtualService]) -> Iterator[HttpRule]:
    """A rule as it is, or with the rules of the VirtualService that it delegates to; of both matches one must fit."""
    if rule.delegate is None:
        yield rule
        return
    service = named.get(rule.delegate)
    for one in service.http if service is not None else ():
        both = [_both(a, b) for a in rule.matches for b in one.matches] or [*rule.matches, *one.matches]
        yield replace(
            one,
            matches=tuple(both),
            timeout=one.timeout or rule.timeout,
            attempts=rule.attempts if one.attempts is None else one.attempts,
            retry_on=one.retry_on or rule.retry_on,
            fault=one.fault or rule.fault,
            rewrite=one.rewrite or rule.rewrite,
            rewrite_host=one.rewrite_host or rule.rewrite_host,
            mirrors=one.mirrors or rule.mirrors,
        )


def _both(one: HttpMatch, two: HttpMatch) -> HttpMatch:
    """Two matches that both have to fit; where each asks for the same thing, that is not modelled."""
    clash = [
        field
        for field in ("uri", "method", "authority", "scheme", "port", "source_namespace")
        if getattr(one, field) and getattr(two, field) and getattr(one, field) != getattr(two, field)
    ]
    clash = [f for f in clash if f != "uri" or not _narrows(one.uri, two.uri)]
    return HttpMatch(
        uri=two.uri or one.uri,
        method=two.method or one.method,
        authority=two.authority or one.authority,
        scheme=two.scheme or one.scheme,
        headers=one.headers + two.headers,
        without_headers=one.without_headers + two.without_headers,
        query=one.query + two.query,
        port=two.port if two.port is not None else one.port,
        source_labels=one.source_labels + two.source_labels,
        source_namespace=two.source_namespace or one.source_namespace,
        gateways=one.gateways or two.gateways,
        other=(*one.other, *two.other, *clash),
    )


def _narrows(wide: StringMatch | None, narrow: StringMatch | None) -> bool:
    """Whether what fits the second fits the first, too."""
    if wide is None or narrow is None:
        return True
    return wide.how == "prefix" and narrow.how in ("prefix", "exact") and narrow.value.startswith(wide.value)


def _of_rule(
    service: VirtualService, rule: HttpRule, port: int, request: Request, said: Step, port_of: PortOf | None
) -> Decision:
    chosen = Step("route", rule.name, f"{service.meta} {rule.path}", service.meta.origin)
    base = Decision(route=rule.name or None, steps=(said, chosen), assumed=True, forwarded=_rewritten(rule, request))
    if rule.redirect_code is not None:
        return replace(base, refusal=Refusal(rule.redirect_code, "", "direct_response", f"{service.meta} redirects"))
    if rule.direct_status is not None:
        why = f"{service.meta} answers itself"
        return replace(base, refusal=Refusal(rule.direct_status, "", "direct_response", why))
    if not rule.destinations:
        return replace(base, undecided=(f"{service.meta} {rule.path} names no destination that is recorded",))
    retry = DEFAULT_RETRY if rule.attempts is None else None
    if rule.attempts:
        on = tuple(rule.retry_on.split(",")) if rule.retry_on else DEFAULT_RETRY.on
        retry = RetryPolicy(on=on, attempts=rule.attempts, host_predicates=("previous_hosts",))
    return replace(
        base,
        options=tuple(_options(rule.destinations, port, port_of)),
        injected=tuple(_faults(rule)),
        retry=retry,
        timeout_s=_seconds(rule.timeout),
        mirrors=tuple(f"{_cluster(m, port, port_of)} {m.weight}%" for m in rule.mirrors),
    )


def _options(destinations: tuple[Destination, ...], port: int, port_of: PortOf | None) -> Iterator[Option]:
    total = sum(d.weight for d in destinations)
    for destination in destinations:
        weight = destination.weight if total else 1
        share = weight / (total or len(destinations))
        if share > 0:
            yield Option(_cluster(destination, port, port_of), weight, share)


def _cluster(destination: Destination, port: int, port_of: PortOf | None) -> str:
    number = destination.port or (port_of(destination.host) if port_of is not None else None) or port
    return f"outbound|{number}|{destination.subset}|{destination.host}"


def _faults(rule: HttpRule) -> Iterator[Injected]:
    fault = rule.fault
    if fault is None:
        return
    if fault.delay_percent > 0 and fault.delay:
        why = f"the VirtualService delays by {fault.delay}"
        yield Injected(fault.delay_percent / 100, None, "DI", _seconds(fault.delay), why)
    if fault.abort_percent > 0 and fault.abort_status:
        why = f"the VirtualService aborts with {fault.abort_status}"
        yield Injected(fault.abort_percent / 100, fault.abort_status, "FI", None, why)


def _seconds(text: str) -> float | None:
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    for unit in ("ms", "s", "m", "h"):
        if text.endswith(unit):
            try:
                return float(text.removesuffix(unit)) * units[unit]
            except ValueError:
                continue
    return None


def _rewritten(rule: HttpRule, request: Request) -> Request:
    request = replace(request, host=rule.rewrite_host or request.host)
    path, mark, query = request.path.partition("?")
    if rule.rewrite_regex:
        return replace(request, path=f"{_substituted(rule, path)}{mark}{query}")
    if not rule.rewrite:
        return request
    prefix = next(
        (
            m.uri.value
            for m in rule.matches
            if m.uri and m.uri.how in ("prefix", "path") and path.startswith(m.uri.value)
        ),
        "",
    )
    exact = any(m.uri and m.uri.how == "exact" and m.uri.value == path for m in rule.matches)
    changed = rule.rewrite if exact or not prefix else rule.rewrite + path[len(prefix) :]
    return replace(request, path=f"{changed}{mark}{query}")


def _substituted(rule: HttpRule, path: str) -> str:
    import re2

    try:
        return str(re2.sub(rule.rewrite_regex, rule.rewrite, path))
    except re2.error:
        return path


# --- what fits -------------------------------------------------------------------------------------------------------


def _rule_fits(rule: HttpRule, request: Request, setting: Setting) -> bool | None:
    verdicts = [_match_fits(match, request, setting) for match in rule.matches]
    if not verdicts or any(verdicts):
        return True
    return None if None in verdicts else False


def _match_fits(match: HttpMatch, request: Request, setting: Setting) -> bool | None:
    headers = {name.lower(): value for name, value in request.headers}
    path, _, query = request.path.partition("?")
    asked = dict(part.partition("=")[::2] for part in query.split("&") if part)
    tests: list[bool | None] = [
        match.uri is None or _holds(match.uri, path),
        match.method is None or _holds(match.method, request.method),
        match.authority is None or _holds(match.authority, request.host),
        match.scheme is None or _holds(match.scheme, "https" if request.tls else "http"),
        match.port is None or match.port == setting.port,
        not match.source_namespace or match.source_namespace == setting.namespace,
        selects(match.source_labels, setting.labels),
        not match.gateways or any(gateway in setting.gateways for gateway in match.gateways),
        *(_header(name, wanted, headers) for name, wanted in match.headers),
        *(_not(_header(name, wanted, headers)) for name, wanted in match.without_headers),
        *(_holds(wanted, asked.get(name)) for name, wanted in match.query),
        None if match.other else True,
    ]
    if any(test is False for test in tests):
        return False
    return None if None in tests else True


def _header(name: str, wanted: StringMatch, headers: Mapping[str, str]) -> bool | None:
    if name.startswith("@"):  # a claim of a token (``@request.auth.claims.…``), not a header
        return None
    return _holds(wanted, headers.get(name))


def _not(verdict: bool | None) -> bool | None:
    return None if verdict is None else not verdict


def _holds(wanted: StringMatch, value: str | None) -> bool | None:
    if value is None:
        return False
    left, right = (value.lower(), wanted.value.lower()) if wanted.ignore_case else (value, wanted.value)
    match wanted.how:
        case "present":
            return True
        case "exact":
            return left == right
        case "prefix":
            return left.startswith(right)
        case "path":
            whole = right.rstrip("/")
            return left == whole or left.startswith(f"{whole}/")
        case "regex":
            return _regex(wanted.value, value, wanted.ignore_case)


def _regex(pattern: str, value: str, ignore_case: bool) -> bool | None:
    import re2

    try:
        return re2.fullmatch(f"(?i){pattern}" if ignore_case else pattern, value) is not None
    except re2.error:
        return None


# --- TCP and TLS -----------------------------------------------------------------------------------------------------


def tcp(
    services: Iterable[VirtualService], setting: Setting, request: Request, said: Step, port_of: PortOf | None = None
) -> Decision | None:
    """What the first ``tls`` rule (for TLS alone) or ``tcp`` rule that fits does; None where there is none."""
    for service in services:
        for rule in (*(service.tls if request.tls else ()), *service.tcp):
            if not _l4_fits(rule, setting, request):
                continue
            chosen = Step("route", "", f"{service.meta} {rule.path}", service.meta.origin)
            options = tuple(_options(rule.destinations, setting.port, port_of))
            return Decision(tcp=True, options=options, steps=(said, chosen), assumed=True, forwarded=request)
    return None


def _l4_fits(rule: L4Rule, setting: Setting, request: Request) -> bool:
    return not rule.matches or any(_l4_match(match, setting, request) for match in rule.matches)


def _l4_match(match: L4Match, setting: Setting, request: Request) -> bool:
    sni = bare(request.host).lower() if request.tls else ""
    return (
        (match.port is None or match.port == setting.port)
        and (not match.sni or any(sni and host_fits(name, sni) for name in match.sni))
        and (not match.source_namespace or match.source_namespace == setting.namespace)
        and selects(match.source_labels, setting.labels)
        and (not match.gateways or any(gateway in setting.gateways for gateway in match.gateways))
        and (not match.subnets or any(_inside(setting.address, subnet) for subnet in match.subnets))
    )


def _inside(address: str, subnet: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(subnet, strict=False)
    except ValueError:
        return False

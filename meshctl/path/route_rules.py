"""VirtualServices' rules applied to one request, for a proxy whose configuration was not recorded.

Followed is ``pilot/pkg/networking/core/route`` (1.30). A match that is not modelled makes the decision undecided where
the rules before it do not decide.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from meshctl.envoy import grpc
from meshctl.envoy.match import Step
from meshctl.envoy.model.routes import RetryPolicy
from meshctl.istio.resource import exported
from meshctl.istio.virtual_service import (
    Destination,
    HttpMatch,
    HttpRule,
    L4Match,
    L4Rule,
    StringMatch,
    VirtualService,
)
from meshctl.path import retries
from meshctl.path.changed_headers import changed
from meshctl.path.decision import Decision, Injected, Option, Refusal
from meshctl.path.model import Request
from meshctl.path.retries import Retrying, seconds
from meshctl.path.rule_fits import Setting, http_fits, is_for, l4_rank, name_of, preflight

PortOf: TypeAlias = Callable[[str], int | None]
"""The port that a destination without one stands for, by its host; None for the port that was asked for."""


def http(
    services: Sequence[VirtualService],
    others: Iterable[VirtualService],
    setting: Setting,
    request: Request,
    said: Step,
    port_of: PortOf | None = None,
) -> Decision:
    """What the first rule that fits does, rules without a match last; `others` are looked up for delegates."""
    rules = [(s, rule) for s in services for rule in rules_of(s, others)]
    rules.sort(key=lambda pair: pair[1].rank, reverse=True)
    for service, rule in sorted(rules, key=lambda pair: not pair[1].matches and len(services) > 1):
        fits = http_fits(rule, request, setting)
        if fits is None:
            reason = f"{service.meta}: a match of {rule.path} is not modelled without the proxy's configuration"
            return Decision(undecided=(reason,), steps=(said,), assumed=True)
        if fits:
            named = replace(rule, name=name_of(rule, request, setting))
            return _of_rule(service, named, setting, request, said, port_of)
    names = ", ".join(str(service.meta) for service in services)
    because = f"no rule of {names} fits {request.method} {request.path}"
    refusal = Refusal(404, "NR", "route_not_found", because, cause="no-route")
    last = Step("route", "", because, services[0].meta.origin)
    return Decision(refusal=refusal, steps=(said, last), assumed=True)


def rules_of(service: VirtualService, others: Iterable[VirtualService]) -> list[HttpRule]:
    """The rules of a VirtualService, with those that it delegates to."""
    if not any(rule.delegate for rule in service.http):
        return list(service.http)
    named = {
        (s.meta.namespace, s.meta.name): s
        for s in others
        if not s.hosts and exported(s.export_to, s.meta.namespace, service.meta.namespace)
    }
    return [rule for one in service.http for rule in _with_delegate(one, named)]


def applies(service: VirtualService, others: Iterable[VirtualService], setting: Setting) -> bool:
    """Whether a proxy gets any route of a VirtualService; else it is as if there were none for its hosts."""
    rules = rules_of(service, others)
    return any(not rule.matches or any(is_for(match, setting) for match in rule.matches) for rule in rules)


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
            name="-".join(name for name in (rule.name, one.name) if name),
            timeout=one.timeout or rule.timeout,
            attempts=rule.attempts if one.attempts is None else one.attempts,
            retry_on=rule.retry_on if one.attempts is None else one.retry_on,
            per_try_timeout=rule.per_try_timeout if one.attempts is None else one.per_try_timeout,
            tries_others=rule.tries_others if one.attempts is None else one.tries_others,
            origins=rule.origins if one.origins is None else one.origins,
            all_preflights=rule.all_preflights if one.origins is None else one.all_preflights,
            fault=one.fault or rule.fault,
            rewrite=one.rewrite or rule.rewrite,
            rewrite_host=one.rewrite_host or rule.rewrite_host,
            mirrors=one.mirrors or rule.mirrors,
            headers=rule.headers if one.headers is None else one.headers,
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
        name="-".join(name for name in (one.name, two.name) if name),
    )


def _narrows(wide: StringMatch | None, narrow: StringMatch | None) -> bool:
    """Whether what fits the second fits the first, too."""
    if wide is None or narrow is None:
        return True
    return wide.how == "prefix" and narrow.how in ("prefix", "exact") and narrow.value.startswith(wide.value)


def _of_rule(
    service: VirtualService, rule: HttpRule, setting: Setting, request: Request, said: Step, port_of: PortOf | None
) -> Decision:
    chosen = Step("route", rule.name, f"{service.meta} {rule.path}", service.meta.origin)
    sent = _rewritten(rule, changed(rule, request))
    base = Decision(
        route=rule.name or None, steps=(said, chosen), assumed=True, forwarded=sent, no_cluster=rule.no_cluster
    )
    injected = tuple(_faults(rule, request))  # of a redirect, too (``translateRoute``)
    if rule.redirect_code is not None:
        refusal = Refusal(rule.redirect_code, "", "direct_response", f"{service.meta} redirects")
        return replace(base, refusal=refusal, injected=injected)
    if rule.direct_status is not None:
        refusal = Refusal(rule.direct_status, "", "direct_response", f"{service.meta} answers itself")
        return replace(base, refusal=refusal, injected=injected)
    if not rule.destinations:
        return replace(base, undecided=(f"{service.meta} {rule.path} names no destination that is recorded",))
    answered = preflight(rule, request)
    if answered is not False and not any(i.status is not None and i.share >= 1 for i in injected):
        return _of_preflight(base, service, rule, answered, bool(injected))
    return replace(
        base,
        options=tuple(_options(rule.destinations, setting.port, port_of)),
        injected=injected,
        retry=_retry(rule, setting.retrying),
        timeout_s=seconds(rule.timeout),
        mirrors=tuple(f"{_cluster(m, setting.port, port_of)} {m.weight}%" for m in rule.mirrors),
    )


def _of_preflight(
    base: Decision, service: VirtualService, rule: HttpRule, answered: bool | None, faulty: bool
) -> Decision:
    """A preflight request that the rule's cross-origin policy answers, or may answer; faults come before it."""
    why = f"{service.meta} {rule.path}: corsPolicy answers a preflight request of this origin"
    if answered is None or faulty:
        doubt = "faults may come first" if faulty else "whether it allows the origin cannot be told"
        return replace(base, undecided=(f"{why}, but {doubt}",))
    return replace(base, refusal=Refusal(200, "", "cors_response", why, "filter"))


def _retry(rule: HttpRule, retrying: Retrying) -> RetryPolicy | None:
    if rule.attempts is None:
        return retrying.default
    said = retries.of(rule.attempts, rule.retry_on, rule.per_try_timeout, retrying.statuses)
    return said if said is None or rule.tries_others else replace(said, host_predicates=())


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


def _faults(rule: HttpRule, request: Request) -> Iterator[Injected]:
    """A gRPC status comes with 200, as HTTP has it (Envoy, ``FaultFilter::abortStatus``)."""
    fault = rule.fault
    if fault is None:
        return
    if fault.delay_percent > 0 and fault.delay:
        why = f"the VirtualService delays by {fault.delay}"
        yield Injected(fault.delay_percent / 100, None, "DI", seconds(fault.delay), why)
    said = fault.abort_status or fault.abort_grpc
    if fault.abort_percent > 0 and said:
        why = f"the VirtualService aborts with {said}"
        number = grpc.NAMES.index(fault.abort_grpc) if fault.abort_grpc in grpc.NAMES else 0
        told = number if not fault.abort_status and request.is_grpc else None
        yield Injected(fault.abort_percent / 100, fault.abort_status or 200, "FI", None, why, told)


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


def tcp(
    services: Iterable[VirtualService],
    setting: Setting,
    request: Request,
    said: Step,
    port_of: PortOf | None = None,
    kind: Literal["", "tls", "tcp"] = "",
) -> Decision | None:
    """What the most specific ``tls`` rule (for TLS alone), else ``tcp`` rule, that fits does; None where there is none.

    `kind` leaves one of both out, as the declared protocol of a sidecar's port does.
    """
    services = list(services)
    secure = [
        (s, rule, rank) for s, rule, match in tls_rules(services, setting) if (rank := l4_rank(match, setting, request))
    ]
    found = secure if request.tls and kind != "tcp" else []
    if not found and kind != "tls":
        found = list(_tcp_rules(services, setting, request))
    if not found:
        return None
    service, rule, _ = max(found, key=lambda one: one[2])
    chosen = Step("route", "", f"{service.meta} {rule.path}", service.meta.origin)
    options = tuple(_options(rule.destinations, setting.port, port_of))
    return Decision(tcp=True, options=options, steps=(said, chosen), assumed=True, forwarded=request)


_Ranked: TypeAlias = tuple[VirtualService, L4Rule, tuple[int, bool, int]]


def tls_rules(services: Iterable[VirtualService], setting: Setting) -> Iterator[tuple[VirtualService, L4Rule, L4Match]]:
    """The matches of ``tls`` rules that a proxy gets, each a filter chain; a rule without a match makes none."""
    for service in services:
        for rule in service.tls:
            for match in rule.matches:
                if is_for(match, setting):
                    yield service, rule, match


def _tcp_rules(services: Iterable[VirtualService], setting: Setting, request: Request) -> Iterator[_Ranked]:
    """The ``tcp`` rules that fit; after one for all addresses none counts.

    Source: ``buildSidecarOutboundTCPFilterChainOpts``, 1.12 to 1.30.
    """
    for service in services:
        for rule in service.tcp:
            matches = [match for match in rule.matches if is_for(match, setting)]
            if not rule.matches or any(not match.subnets for match in matches):
                yield service, rule, (-1, False, 0)
                return
            for match in matches:
                if (rank := l4_rank(match, setting, request)) is not None:
                    yield service, rule, rank

"""What the filters of a chain do with a request, in their order: each one's verdict, with the policy behind it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Literal, TypeAlias

from meshctl.envoy import cors, csrf, fault, health_check, http_filters, jwt, metadata_match, network_filters, rbac
from meshctl.envoy.model.basics import Opaque
from meshctl.envoy.model.filters import (
    AlpnOverride,
    Cors,
    Csrf,
    Elsewhere,
    Fault,
    HealthCheck,
    HttpConfig,
    Jwt,
    Missing,
    Mutates,
    Passes,
    PolicyRef,
    Rbac,
    Rules,
)
from meshctl.envoy.model.listeners import NetworkFilter
from meshctl.envoy.model.managers import HttpFilter, HttpManager
from meshctl.envoy.model.routes import Forward, PerFilter, Route, RouteConfig, Target, VirtualHost
from meshctl.envoy.request import Request
from meshctl.frozen import dataclass
from meshctl.origin import Origin

SNI_CLUSTER = network_filters.SNI_CLUSTER
_JWT = "envoy.filters.http.jwt_authn"
_RBAC = "envoy.filters.http.rbac"
NETWORK_RBAC = "envoy.filters.network.rbac"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one filter does with the request, in the order of the filters.

    ``answers``: the filter answers with `status` (an HTTP filter) or closes (a network filter: `status` None) for
    `share` of the requests; ``delays``: holds `share` of them for `delay_s`; ``undecided``: may answer, `because` says
    what is not known; ``not-modelled``: a filter that meshctl does not know. A `shadow` verdict is only counted.
    """

    filter: str
    type: str
    decision: Literal["passes", "answers", "delays", "undecided", "not-modelled"]
    because: str
    status: int | None = None
    grpc_status: int | None = None
    flags: str | None = None
    details: str = ""
    share: float = 1.0
    delay_s: float | None = None
    policy: PolicyRef | None = None
    policy_name: str = ""
    shadow: bool = False
    origin: Origin | None = None


def not_modelled(name: str, kind: str, origin: Origin, because: str = "") -> Verdict:
    """The verdict on a filter that meshctl cannot judge."""
    because = because or f"the filter {name} ({kind or 'no type'}) is not modelled: it may answer or change the request"
    return Verdict(filter=name, type=kind, decision="not-modelled", because=because, origin=origin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a request is when filters see it: what was chosen for it, each None where nothing was.

    `target` is the cluster that chance chose, where that matters. `at` is the moment at which tokens are judged.
    `extension` finds the configuration of a filter that came by itself. `again` chooses the route anew, for filters
    that have found out something that it may depend on.
    """

    config: RouteConfig
    host: VirtualHost | None
    route: Route | None
    target: Target | None = None
    at: datetime | None = None
    extension: Callable[[str], HttpConfig | Missing | None] | None = None
    again: Callable[[Request], tuple[VirtualHost | None, Route | None]] | None = None

    @property
    def forward(self) -> Forward | None:
        """The route's action, where it sends requests on."""
        return self.route.action if self.route is not None and isinstance(self.route.action, Forward) else None

    def special(self, name: str) -> tuple[PerFilter, ...]:
        """What is said to one filter for this request, the most specific first: cluster, route, virtual host, all."""
        forward = self.forward
        target = self.target
        if target is None and forward is not None and len(forward.targets) == 1:
            target = forward.targets[0]
        found = (
            target.filter_config.get(name) if target is not None else None,
            self.route.filter_config.get(name) if self.route is not None else None,
            self.host.filter_config.get().get(name) if self.host is not None else None,
            self.config.filter_config.get(name),
        )
        return tuple(each for each in found if each is not None)


def judge(manager: HttpManager, request: Request, place: Place) -> Iterator[Verdict]:
    """The verdicts of a connection manager's filters, one by one; the caller stops where one answers."""
    metadata: dict[str, object] | None = {}
    for each in manager.filters.get():
        special = place.special(each.name)
        if special[0].disabled if special else each.disabled:
            origin = special[0].origin if special else each.origin
            yield _passes(each, "it is turned off here", origin)
            continue
        own = each.config.get()
        if each.discovered and place.extension is not None:
            came = place.extension(each.name)
            if isinstance(came, Missing) and not each.has_default:
                yield _not_there(each)
                return
            own = came if came is not None and not isinstance(came, Missing) else own
        configs = [one.config.get() for one in special]
        match own:
            case Jwt():
                first = next((c for c in configs if isinstance(c, Jwt)), None)
                judgement = jwt.judge(own, request, place.at, first)
                metadata = _with_claims(metadata, own, judgement)
                yield _jwt(each, judgement)
                request = jwt.after(request, judgement)
                if place.again is not None and any(own.providers[name].reroutes for name, _ in judgement.metadata):
                    host, route = place.again(replace(request, metadata=metadata))
                    place = replace(place, host=host, route=route, target=None)
            case Rbac():
                config = next((c for c in configs if isinstance(c, Rbac)), own)
                found = tuple(rbac_verdicts(each.name, each.type, config, request, metadata, each.origin))
                metadata = with_shadow(metadata, config, found, _RBAC)
                yield from found
            case Fault():
                injector = next((c for c in configs if isinstance(c, Fault)), own)
                yield from _fault(each, injector, request, place, _patience(manager, place.forward))
            case Cors():
                yield _cors(each, tuple(c for c in configs if isinstance(c, Cors)), request, place)
            case HealthCheck():
                yield _health(each, own, request)
            case Csrf():
                yield _csrf(each, next((c for c in configs if isinstance(c, Csrf)), own), request)
            case Elsewhere():
                asked = next((c for c in configs if isinstance(c, Elsewhere)), None)
                yield _asked(each, own, asked, metadata, place)
            case Mutates():
                changes = tuple(name for c in (own, *configs) if isinstance(c, Mutates) for name in c.headers)
                request = replace(request, unsettled={**request.unsettled, **dict.fromkeys(changes)})
                metadata = None if own.metadata else metadata
                yield _passes(each, own.what)
            case Passes(what):
                yield _passes(each, what)
            case AlpnOverride():
                yield _passes(each, "sets what is offered in the TLS handshake upstream")
            case Opaque():
                yield not_modelled(each.name, each.type, each.origin)


def _not_there(each: HttpFilter) -> Verdict:
    return Verdict(
        filter=each.name,
        type=each.type,
        decision="answers",
        because=f"the proxy has not got the configuration of its filter {each.name}, or rejected it: it answers 500",
        status=500,
        flags="NFCF",
        origin=each.origin,
    )


def _passes(each: HttpFilter | NetworkFilter, because: str, origin: Origin | None = None) -> Verdict:
    return Verdict(filter=each.name, type=each.type, decision="passes", because=because, origin=origin or each.origin)


def _asked(
    each: HttpFilter, own: Elsewhere, special: Elsewhere | None, metadata: Mapping[str, object] | None, place: Place
) -> Verdict:
    config = special if special is not None and (special.replaces or special.share == 0) else own
    limits = (place.forward is not None and place.forward.limits) or (place.host is not None and place.host.limits)
    if config.needs_limits and not limits:
        return _passes(each, "nothing is limited for this route")
    return elsewhere(each, config, metadata)


def elsewhere(each: HttpFilter | NetworkFilter, config: Elsewhere, metadata: Mapping[str, object] | None) -> Verdict:
    """A filter that asks elsewhere: it passes the requests for which it does not."""
    if config.share == 0.0:
        return _passes(each, "it is turned off here")
    asked = metadata_match.holds(config.only, metadata) if config.only is not None else True
    if asked is False:
        return _passes(each, "no policy asks for it here")
    because = f"the filter {each.name} asks {config.what}, which is not modelled: it may answer or change the request"
    return not_modelled(each.name, each.type, each.origin, because)


def with_shadow(
    metadata: dict[str, object] | None, config: Rbac, found: tuple[Verdict, ...], space: str
) -> dict[str, object] | None:
    """Metadata with what the shadow rules leave in it (Envoy, ``RoleBasedAccessControlFilter::decodeHeaders``)."""
    shadow = next((verdict for verdict in found if verdict.shadow), None)
    if shadow is None or metadata is None:
        return metadata
    old = metadata.get(space)
    if shadow.decision == "undecided" or old is metadata_match.UNKNOWN:
        return {**metadata, space: metadata_match.UNKNOWN}
    told = {f"{config.shadow_prefix}shadow_engine_result": "denied" if shadow.decision == "answers" else "allowed"}
    if shadow.policy_name:
        told[f"{config.shadow_prefix}shadow_effective_policy_id"] = shadow.policy_name
    return {**metadata, space: {**(old if isinstance(old, Mapping) else {}), **told}}


def rbac_verdicts(
    name: str,
    kind: str,
    config: Rbac,
    request: Request,
    metadata: Mapping[str, object] | None,
    origin: Origin,
) -> Iterator[Verdict]:
    """The verdicts of an RBAC filter: the shadow rules', which are only counted, then the rules'."""
    facts = rbac.Facts(request, metadata)
    if config.shadow is not None:
        yield _rbac(name, kind, config.shadow, facts, origin, shadow=True)
    if config.rules is not None:
        yield _rbac(name, kind, config.rules, facts, origin, shadow=False)
    if config.rules is None and config.shadow is None:
        yield Verdict(filter=name, type=kind, decision="passes", because="it has no rules", origin=origin)


def _rbac(name: str, kind: str, rules: Rules, facts: rbac.Facts, origin: Origin, *, shadow: bool) -> Verdict:
    judgement = rbac.judge(rules, facts)
    policy = judgement.policy
    decision: Literal["passes", "answers", "undecided"]
    decision = "undecided" if judgement.allowed is None else "passes" if judgement.allowed else "answers"
    refused = decision == "answers"
    matched = policy.name if policy is not None else "none"
    return Verdict(
        filter=name,
        type=kind,
        decision=decision,
        because=judgement.because,
        status=403 if refused and facts.request.http else None,
        details=f"rbac_access_denied_matched_policy[{matched}]" if refused else "",
        policy=policy.ref if policy is not None else None,
        policy_name=policy.name if policy is not None else "",
        shadow=shadow,
        origin=policy.origin if policy is not None else origin,
    )


def _jwt(each: HttpFilter, judgement: jwt.Judgement) -> Verdict:
    decision: Literal["passes", "answers", "undecided"]
    decision = "undecided" if judgement.passed is None else "passes" if judgement.passed else "answers"
    refused = decision == "answers"
    return Verdict(
        filter=each.name,
        type=each.type,
        decision=decision,
        because=judgement.because,
        status=judgement.status if refused else None,
        details=f"jwt_authn_access_denied{{{judgement.because.replace(' ', '_')}}}" if refused else "",
        origin=each.origin,
    )


def _with_claims(metadata: dict[str, object] | None, own: Jwt, judgement: jwt.Judgement) -> dict[str, object] | None:
    """Metadata with what good tokens leave in it."""
    if judgement.passed is None:
        return None
    if metadata is None or not judgement.metadata:
        return metadata
    claims: dict[str, object] = {}
    for name, found in judgement.metadata:
        provider = own.providers[name]
        if provider.payload_key:
            claims[provider.payload_key] = jwt.normalised(provider, found)
    for name, head in judgement.heads:
        if own.providers[name].header_key:
            claims[own.providers[name].header_key] = head
    return {**metadata, _JWT: claims, **jwt.authn_metadata(judgement.metadata)}


def _health(each: HttpFilter, config: HealthCheck, request: Request) -> Verdict:
    answers, because = health_check.answered(config, request)
    if answers is False:
        return _passes(each, because)
    return Verdict(
        filter=each.name,
        type=each.type,
        decision="undecided" if answers is None else "answers",
        because=because,
        status=200 if answers else None,
        details="health_check_ok" if answers else "",
        origin=each.origin,
    )


def _csrf(each: HttpFilter, config: Csrf, request: Request) -> Verdict:
    share, because = csrf.share_refused(config, request)
    if share == 0.0:
        return _passes(each, because)
    return Verdict(
        filter=each.name,
        type=each.type,
        decision="undecided" if share is None else "answers",
        because=because,
        status=None if share is None else 403,
        details="" if share is None else "csrf_origin_mismatch",
        share=share or 1.0,
        origin=each.origin,
    )


_Limit: TypeAlias = tuple[float, str, str]
"""How long a request may be held (seconds), and the flag and details of the 504 after that."""


def _patience(manager: HttpManager, forward: Forward | None) -> _Limit | None:
    """The shortest of the limits that run while a filter holds a request; a route's own replaces the manager's.

    A route's timeout is none of them: it begins when the router has the request.
    """
    idle, stream = manager.idle_timeout_s, manager.max_stream_s
    if forward is not None:
        idle = idle if forward.idle_timeout_s is None else forward.idle_timeout_s
        stream = stream if forward.max_stream_s is None else forward.max_stream_s
    limits: tuple[_Limit, ...] = (
        (idle, "SI", "stream_idle_timeout"),
        (stream, "", "max_duration_timeout"),
        (manager.request_timeout_s, "", "request_overall_timeout"),
    )
    return min((limit for limit in limits if limit[0]), default=None)


def _fault(
    each: HttpFilter, config: Fault, request: Request, place: Place, patience: _Limit | None
) -> Iterator[Verdict]:
    def verdict(decision: Literal["answers", "delays", "undecided"], because: str, **more: object) -> Verdict:
        return Verdict(
            filter=each.name,
            type=each.type,
            decision=decision,
            because=because,
            origin=each.origin,
            **more,  # type: ignore[arg-type]
        )

    targets = (place.target,) if place.target is not None else place.forward.targets if place.forward else ()
    applies = fault.applies(config, request, tuple(t.cluster for t in targets if t.weight))
    found = tuple(fault.injected(config, request))
    if not config.active or applies is False or not found:
        yield _passes(each, "no fault is configured for this request")
        return
    if applies is None:
        yield verdict("undecided", "whether the fault is for this request cannot be told")
        return
    for one in found:
        if one.status is None and patience is not None and patience[0] < one.delay_s:
            limit, flag, details = patience
            because = f"{one.share:.4g} of the requests are held for {one.delay_s:g} s, longer than the {limit:g} s "
            because += "that the proxy waits: it answers 504"
            flags = ",".join(filter(None, ("DI", flag)))
            yield verdict("answers", because, share=one.share, status=504, flags=flags, details=details)
        elif one.status is None:
            because = f"{one.share:.4g} of the requests are held for {one.delay_s:g} s"
            yield verdict("delays", because, share=one.share, delay_s=one.delay_s, flags="DI")
        else:
            because = f"{one.share:.4g} of the requests are answered {one.status}"
            details = "fault_filter_abort"
            told = {"status": one.status, "grpc_status": one.grpc_status, "flags": "FI", "details": details}
            yield verdict("answers", because, share=one.share, **told)


def _cors(each: HttpFilter, special: tuple[Cors, ...], request: Request, place: Place) -> Verdict:
    policies = special
    if not policies and place.forward is not None and place.host is not None:
        policies = tuple(p for p in (place.forward.cors, place.host.cors.get()) if p is not None)
    share, because = cors.share_answered(policies if place.forward is not None else (), request)
    if share == 0.0:
        return _passes(each, because)
    return Verdict(
        filter=each.name,
        type=each.type,
        decision="undecided" if share is None else "answers",
        because=because,
        status=None if share is None else 200,
        details="" if share is None else "cors_response",
        share=share or 1.0,
        origin=each.origin,
    )


def router_last(manager: HttpManager) -> bool:
    """Whether the last filter is the router; without it no request is sent on."""
    found = manager.filters.get()
    return bool(found) and found[-1].type == http_filters.ROUTER

"""The verdict of each kind of filter on a request, with the policy behind it."""

from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias

from meshctl.envoy import cors, csrf, fault, health_check, jwt, metadata_match, rbac
from meshctl.envoy.jwt_checks import Judgement
from meshctl.envoy.model.filters import Cors, Csrf, Elsewhere, Fault, HealthCheck, Jwt, Rbac, Rules
from meshctl.envoy.model.listeners import NetworkFilter
from meshctl.envoy.model.managers import HttpFilter, HttpManager
from meshctl.envoy.model.routes import Forward
from meshctl.envoy.place import Place
from meshctl.envoy.request import Request
from meshctl.envoy.verdict import Verdict, not_modelled, passes
from meshctl.origin import Origin

_JWT = "envoy.filters.http.jwt_authn"
HTTP_RBAC = "envoy.filters.http.rbac"
NETWORK_RBAC = "envoy.filters.network.rbac"


def not_there(each: HttpFilter) -> Verdict:
    """A filter whose configuration never came (ECDS), or was rejected: it answers every request."""
    return Verdict(
        filter=each.name,
        type=each.type,
        decision="answers",
        because=f"the proxy has not got the configuration of its filter {each.name}, or rejected it: it answers 500",
        status=500,
        flags="NFCF",
        origin=each.origin,
    )


def asked_elsewhere(
    each: HttpFilter, own: Elsewhere, special: Elsewhere | None, metadata: Mapping[str, object] | None, place: Place
) -> Verdict:
    """A filter that asks elsewhere, as the route wants it."""
    config = special if special is not None and (special.replaces or special.share == 0) else own
    limits = (place.forward is not None and place.forward.limits) or (place.host is not None and place.host.limits)
    if config.needs_limits and not limits:
        return passes(each, "nothing is limited for this route")
    return elsewhere(each, config, metadata)


def elsewhere(each: HttpFilter | NetworkFilter, config: Elsewhere, metadata: Mapping[str, object] | None) -> Verdict:
    """A filter that asks elsewhere: it passes the requests for which it does not."""
    if config.share == 0.0:
        return passes(each, "it is turned off here")
    asked = metadata_match.holds(config.only, metadata) if config.only is not None else True
    if asked is False:
        return passes(each, "no policy asks for it here")
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


def of_token(each: HttpFilter, judgement: Judgement) -> Verdict:
    """The verdict on the tokens of a request."""
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


def with_claims(metadata: dict[str, object] | None, own: Jwt, judgement: Judgement) -> dict[str, object] | None:
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


def of_health_check(each: HttpFilter, config: HealthCheck, request: Request) -> Verdict:
    """The verdict on a request that may be a health check."""
    answers, because = health_check.answered(config, request)
    return _by_share(each, None if answers is None else float(answers), because, 200, "health_check_ok")


def _by_share(each: HttpFilter, share: float | None, because: str, status: int, details: str) -> Verdict:
    """The verdict of a filter that answers a share of such requests; None is a share that cannot be told."""
    if share == 0.0:
        return passes(each, because)
    return Verdict(
        filter=each.name,
        type=each.type,
        decision="undecided" if share is None else "answers",
        because=because,
        status=None if share is None else status,
        details="" if share is None else details,
        share=share or 1.0,
        origin=each.origin,
    )


def of_csrf(each: HttpFilter, config: Csrf, request: Request) -> Verdict:
    """The verdict on a request that may be forged."""
    share, because = csrf.share_refused(config, request)
    return _by_share(each, share, because, 403, "csrf_origin_mismatch")


_Limit: TypeAlias = tuple[float, str, str]
"""How long a request may be held (seconds), and the flag and details of the 504 after that."""


def patience(manager: HttpManager, forward: Forward | None) -> _Limit | None:
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


def of_fault(
    each: HttpFilter, config: Fault, request: Request, place: Place, patience: _Limit | None
) -> Iterator[Verdict]:
    """What is injected: a delay, or an answer in place of one that is longer than the proxy waits; an abort."""

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
        yield passes(each, "no fault is configured for this request")
        return
    if applies is None:
        yield verdict("undecided", "whether the fault is for this request cannot be told")
        return
    for one in found:
        if one.status is None and patience is not None and patience[0] < one.delay_s:
            limit, flag, details = patience
            because = (
                f"{one.share * 100:.4g}% of the requests are held for {one.delay_s:g} s, longer than the {limit:g} s "
            )
            because += "that the proxy waits: it answers 504"
            flags = ",".join(filter(None, ("DI", flag)))
            yield verdict("answers", because, share=one.share, status=504, flags=flags, details=details)
        elif one.status is None:
            because = f"{one.share * 100:.4g}% of the requests are held for {one.delay_s:g} s"
            yield verdict("delays", because, share=one.share, delay_s=one.delay_s, flags="DI")
        else:
            because = f"{one.share * 100:.4g}% of the requests are answered {one.status}"
            details = "fault_filter_abort"
            told = {"status": one.status, "grpc_status": one.grpc_status, "flags": "FI", "details": details}
            yield verdict("answers", because, share=one.share, **told)


def of_cors(each: HttpFilter, special: tuple[Cors, ...], request: Request, place: Place) -> Verdict:
    """The verdict on a request that may be a preflight."""
    policies = special
    if not policies and place.forward is not None and place.host is not None:
        policies = tuple(p for p in (place.forward.cors, place.host.cors.get()) if p is not None)
    share, because = cors.share_answered(policies if place.forward is not None else (), request)
    return _by_share(each, share, because, 200, "cors_response")

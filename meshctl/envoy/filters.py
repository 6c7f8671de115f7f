"""What the filters of a chain do with a request, in their order: each one's verdict, with the policy behind it."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Literal

from meshctl.envoy import fault, http_filters, jwt, network_filters, rbac, route, strings
from meshctl.envoy.model import (
    AlpnOverride,
    Cors,
    Fault,
    Forward,
    HttpConfig,
    HttpFilter,
    HttpManager,
    Jwt,
    Opaque,
    Passes,
    PerFilter,
    PolicyRef,
    Rbac,
    Route,
    RouteConfig,
    Rules,
    VirtualHost,
)
from meshctl.envoy.request import Request
from meshctl.frozen import dataclass
from meshctl.origin import Origin

SNI_CLUSTER = network_filters.SNI_CLUSTER
_JWT = "envoy.filters.http.jwt_authn"


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


def judge(
    manager: HttpManager,
    request: Request,
    config: RouteConfig,
    host: VirtualHost | None,
    chosen: Route | None,
    at: datetime | None,
) -> Iterator[Verdict]:
    """The verdicts of a connection manager's filters, one by one; the caller stops where one answers."""
    metadata: dict[str, object] | None = {}
    for each in manager.filters.get():
        override = _override(each.name, config, host, chosen)
        if override.disabled if override is not None else each.disabled:
            yield Verdict(
                filter=each.name,
                type=each.type,
                decision="passes",
                because="it is turned off here",
                origin=override.origin if override is not None else each.origin,
            )
            continue
        own = each.config.get()
        special = override.config.get() if override is not None else None
        if isinstance(own, Jwt):
            verdict, metadata = _jwt(each, own, special if isinstance(special, Jwt) else None, request, at, metadata)
            yield verdict
            continue
        yield from _verdicts(each, own, special, request, host, chosen, metadata)


def _override(name: str, config: RouteConfig, host: VirtualHost | None, chosen: Route | None) -> PerFilter | None:
    """What the route says to a filter: the most specific place wins (weighted cluster, route, virtual host)."""
    if chosen is not None:
        if isinstance(chosen.action, Forward) and len(chosen.action.targets) == 1:
            for target in chosen.action.targets:
                if name in target.filter_config:
                    return target.filter_config[name]
        if name in chosen.filter_config:
            return chosen.filter_config[name]
    if host is not None and name in host.filter_config.get():
        return host.filter_config.get()[name]
    return config.filter_config.get(name)


def _verdicts(
    each: HttpFilter,
    own: HttpConfig,
    special: HttpConfig | None,
    request: Request,
    host: VirtualHost | None,
    chosen: Route | None,
    metadata: Mapping[str, object] | None,
) -> Iterator[Verdict]:
    match own:
        case Rbac():
            config = special if isinstance(special, Rbac) else own
            yield from rbac_verdicts(each.name, each.type, config, request, metadata, each.origin)
        case Fault():
            yield from _fault(each, special if isinstance(special, Fault) else own, request, chosen)
        case Cors():
            yield _cors(each, special if isinstance(special, Cors) else None, request, host, chosen)
        case Passes(what):
            yield Verdict(filter=each.name, type=each.type, decision="passes", because=what, origin=each.origin)
        case AlpnOverride():
            because = "sets what is offered in the TLS handshake upstream"
            yield Verdict(filter=each.name, type=each.type, decision="passes", because=because, origin=each.origin)
        case Opaque():
            yield not_modelled(each.name, each.type, each.origin)
        case Jwt():
            pass


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


def _jwt(
    each: HttpFilter,
    own: Jwt,
    special: Jwt | None,
    request: Request,
    at: datetime | None,
    metadata: dict[str, object] | None,
) -> tuple[Verdict, dict[str, object] | None]:
    judgement = jwt.judge(own, request, at, special)
    decision: Literal["passes", "answers", "undecided"]
    decision = "undecided" if judgement.passed is None else "passes" if judgement.passed else "answers"
    refused = decision == "answers"
    verdict = Verdict(
        filter=each.name,
        type=each.type,
        decision=decision,
        because=judgement.because,
        status=judgement.status if refused else None,
        details=f"jwt_authn_access_denied{{{judgement.because.replace(' ', '_')}}}" if refused else "",
        origin=each.origin,
    )
    if decision == "undecided":
        return verdict, None
    if metadata is None or not judgement.metadata:
        return verdict, metadata
    claims: dict[str, object] = {}
    for name, found in judgement.metadata:
        provider = own.providers[name]
        if provider.payload_key:
            claims[provider.payload_key] = jwt.normalised(provider, found)
    return verdict, {**metadata, _JWT: claims, **jwt.authn_metadata(judgement.metadata)}


def _fault(each: HttpFilter, config: Fault, request: Request, chosen: Route | None) -> Iterator[Verdict]:
    def verdict(decision: Literal["passes", "answers", "delays", "undecided"], because: str, **more: object) -> Verdict:
        return Verdict(
            filter=each.name,
            type=each.type,
            decision=decision,
            because=because,
            origin=each.origin,
            **more,  # type: ignore[arg-type]
        )

    asked = any(name.startswith("x-envoy-fault-") for name in request.headers)
    if config.from_header and asked:
        yield verdict(
            "undecided", "the request's own x-envoy-fault headers steer the fault filter, which is not modelled"
        )
        return
    forward = chosen.action if chosen is not None and isinstance(chosen.action, Forward) else None
    applies = fault.applies(config, request, tuple(t.cluster for t in forward.targets) if forward else ())
    if not config.active or applies is False:
        yield verdict("passes", "no fault is configured for this request")
        return
    if applies is None:
        yield verdict("undecided", "whether the fault is for this request cannot be told")
        return
    if config.delay_s and config.delay_share:
        because = f"{config.delay_share:.4g} of the requests are held for {config.delay_s:g} s"
        yield verdict("delays", because, share=config.delay_share, delay_s=config.delay_s, flags="DI")
    if (config.abort_status or config.abort_grpc) and config.abort_share:
        status = fault.abort_status(config)
        because = f"{config.abort_share:.4g} of the requests are answered {status}"
        details = "fault_filter_abort"
        yield verdict("answers", because, share=config.abort_share, status=status, flags="FI", details=details)


def _cors(
    each: HttpFilter, special: Cors | None, request: Request, host: VirtualHost | None, chosen: Route | None
) -> Verdict:
    policy = special
    if policy is None and chosen is not None and host is not None:
        own = chosen.action.cors if isinstance(chosen.action, Forward) else None
        policy = route.of_host(own, host)
    origin, asked = request.values("origin"), request.values("access-control-request-method")
    if policy is None or request.method != "OPTIONS" or not origin or not asked:
        because = "no preflight request" if policy is not None else "no cross-origin policy is for this route"
        return Verdict(filter=each.name, type=each.type, decision="passes", because=because, origin=each.origin)
    allowed = [strings.holds(m, origin[0]) for m in policy.origins]
    if True in allowed and (policy.enabled is None or policy.enabled.share == 1.0):
        because = f"a preflight request from {origin[0]} is answered by the proxy"
        return Verdict(
            filter=each.name, type=each.type, decision="answers", because=because, status=200, origin=each.origin
        )
    because = f"the origin {origin[0]} is not allowed: the preflight request is passed on"
    return Verdict(filter=each.name, type=each.type, decision="passes", because=because, origin=each.origin)


def router_last(manager: HttpManager) -> bool:
    """Whether the last filter is the router; without it no request is sent on."""
    found = manager.filters.get()
    return bool(found) and found[-1].type == http_filters.ROUTER

"""Whether a request's tokens meet what the jwt_authn filter requires, and what good ones change of the request.

Source: Envoy, ``source/extensions/filters/http/jwt_authn/verifier.cc``.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from meshctl.envoy import route_match
from meshctl.envoy.jwt_checks import UNKNOWN_ISSUER, Judgement, of_provider
from meshctl.envoy.model.filters import Jwt, JwtProvider, Requirement
from meshctl.envoy.request import Request
from meshctl.envoy.tokens import Claims, Providers, found_in, read

MISSING = "Jwt is missing"


def judge(jwt: Jwt, request: Request, at: datetime | None, override: Jwt | None = None) -> Judgement:
    """Judge a request by the first rule that matches it, or by the requirement that its route names."""
    preflight = any(request.values("origin")) and any(request.values("access-control-request-method"))
    if jwt.bypass_preflight and request.method == "OPTIONS" and preflight:
        return Judgement(True, "a CORS preflight request needs no token")
    if override is not None and (override.per_route_disabled or override.per_route):
        if override.per_route_disabled:
            return Judgement(True, "the route turns the filter off")
        named = jwt.named.get(override.per_route)
        if named is None:
            known = ",".join(sorted(jwt.named))
            because = f"Wrong requirement_name: {override.per_route}. It should be one of [{known}]"
            return Judgement(False, because, 403)
        return requirement(named, jwt, request, at)
    for rule in jwt.rules:
        fits = route_match.holds(rule.match, request)
        if fits is None:
            return Judgement(None, f"whether the rule {route_match.shown(rule.match)} matches cannot be told")
        if fits:
            if rule.requires is None:
                return Judgement(True, "the rule for this path requires nothing")
            return requirement(rule.requires, jwt, request, at)
    if jwt.unsupported:
        return Judgement(None, f"{', '.join(jwt.unsupported)} of the filter are not modelled")
    return Judgement(True, "no rule is for this path")


def requirement(wanted: Requirement, jwt: Jwt, request: Request, at: datetime | None) -> Judgement:
    """Judge one requirement; ``any`` and ``all`` combine as Envoy's verifiers do."""
    match wanted.kind:
        case "none":
            return Judgement(True, "nothing is required")
        case "unknown":
            return Judgement(None, "a kind of requirement that is not modelled")
        case "provider":
            provider = jwt.providers.get(wanted.provider)
            if provider is None:
                return Judgement(None, f"the provider {wanted.provider} is not in the dump")
            return _verified(provider, wanted.audiences, request, at)
        case "allow_missing" | "allow_missing_or_failed":
            return _lenient(wanted, jwt, request, at)
        case "all":
            return _all(wanted.parts, jwt, request, at)
        case "any":
            return _any(wanted, jwt, request, at)


def after(request: Request, judgement: Judgement) -> Request:
    """The request as what comes after sees it: tokens taken off, claims written into headers."""
    if not (judgement.removed or judgement.added):
        return request
    gone = set(judgement.removed)
    headers = {name: values for name, values in request.headers.items() if name not in gone}
    unsettled = {name: sure for name, sure in request.unsettled.items() if name not in gone}
    for name, value in judgement.added:
        headers[name] = (*headers.get(name, ()), value)
    bare, _, query = request.path.partition("?")
    kept = [pair for pair in query.split("&") if pair and f"?{pair.partition('=')[0]}" not in gone]
    path = f"{bare}?{'&'.join(kept)}" if kept else bare
    return replace(request, headers=headers, unsettled=unsettled, path=path if path != bare or query else request.path)


def _with(verdict: Judgement, judged: Sequence[Judgement]) -> Judgement:
    """A verdict with what all that were looked at have changed, the ones that failed later included."""
    return replace(
        verdict,
        metadata=tuple(m for j in judged for m in j.metadata),
        heads=tuple(m for j in judged for m in j.heads),
        removed=tuple(name for j in judged for name in j.removed),
        added=tuple(pair for j in judged for pair in j.added),
    )


def _passed(judged: Sequence[Judgement]) -> Judgement:
    return _with(judged[0] if len(judged) == 1 else Judgement(True, "all tokens are valid"), judged)


def _all(parts: tuple[Requirement, ...], jwt: Jwt, request: Request, at: datetime | None) -> Judgement:
    """In their order: the first that is not met ends it; each sees what those before left of the request."""
    judged: list[Judgement] = []
    for part in parts:
        judged.append(requirement(part, jwt, request, at))
        if not judged[-1].passed:
            return _with(judged[-1], judged)
        request = after(request, judged[-1])
    return _passed(judged)


def _any(wanted: Requirement, jwt: Jwt, request: Request, at: datetime | None) -> Judgement:
    """The first that is met; where none is, what the last one said that is more than missing or foreign."""
    kinds = {part.kind for part in wanted.parts}
    strict = [p for p in wanted.parts if p.kind not in ("allow_missing", "allow_missing_or_failed")]
    if not strict:
        kind = "allow_missing_or_failed" if "allow_missing_or_failed" in kinds else "allow_missing"
        return _lenient(Requirement(kind), jwt, request, at)  # type: ignore[arg-type]
    judged: list[Judgement] = []
    for part in strict:
        judged.append(requirement(part, jwt, request, at))
        if judged[-1].passed is not False:
            return _with(judged[-1], judged)
        request = after(request, judged[-1])
    if "allow_missing_or_failed" in kinds:
        return _with(Judgement(True, "a missing or failed token is accepted"), judged)
    final = judged[0]
    for each in judged:
        if each.because not in (MISSING, UNKNOWN_ISSUER) or final.because == MISSING:
            final = each
    if final.because == MISSING and "allow_missing" in kinds:
        final = Judgement(True, "no token, and none is required")
    return _with(final, judged)


def _verified(provider: JwtProvider, audiences: tuple[str, ...], request: Request, at: datetime | None) -> Judgement:
    """One provider: every token in its places must be valid; Envoy looks at the last one first."""
    judged: list[Judgement] = [_sanitized((provider,))]
    for place, token, _ in found_in((provider,), after(request, judged[0]))[::-1]:
        judged.append(of_provider(place, token, provider, audiences or provider.audiences, at))
        if not judged[-1].passed:
            return _with(judged[-1], judged)
    return _with(_passed(judged[1:]) if judged[1:] else Judgement(False, MISSING), judged)


def _lenient(wanted: Requirement, jwt: Jwt, request: Request, at: datetime | None) -> Judgement:
    """Alone, leniency looks for tokens of all providers; the one that is looked at last decides."""
    providers = tuple(jwt.providers.values())
    judged = [_sanitized(providers)]
    judged += [_of_any(*found, providers, at) for found in found_in(providers, after(request, judged[0]))[::-1]]
    unsure = next((j for j in judged if j.passed is None), None)
    last = judged[-1] if judged[1:] else Judgement(True, "no token, and none is required")
    if unsure is not None or last.passed or wanted.kind == "allow_missing":
        return _with(unsure or last, judged)
    return _with(Judgement(True, "a missing or failed token is accepted"), judged)


def _of_any(place: str, token: str, issuers: frozenset[str], providers: Providers, at: datetime | None) -> Judgement:
    """A token that some provider may take: the one of its issuer, else one that takes any issuer."""
    parsed = read(token)
    if isinstance(parsed, str):
        return Judgement(False, parsed)
    issuer = parsed[1].get("iss", "")
    if "" not in issuers and issuer not in issuers:
        return Judgement(False, UNKNOWN_ISSUER)
    found = [p for p in providers if p.issuer == issuer] or [p for p in providers if not p.issuer]
    if not found:
        return Judgement(False, UNKNOWN_ISSUER)
    judged = [of_provider(place, token, provider, provider.audiences, at) for provider in found]
    if len({(j.passed, j.because) for j in judged}) > 1:
        return Judgement(None, f"several providers are for the issuer {issuer}: which one Envoy asks is not defined")
    return judged[0]


def _sanitized(providers: Providers) -> Judgement:
    """Headers that tokens are to be written into are taken off a request first."""
    names = [name for p in providers for name in (p.payload_header, *(header for header, _ in p.claim_headers)) if name]
    return Judgement(True, "", removed=tuple(dict.fromkeys(names)))


def normalised(provider: JwtProvider, claims: Claims) -> Claims:
    """Claims as the filter leaves them in metadata: some are split at spaces (``scope``)."""
    split = {k: claims[k].split() for k in provider.space_delimited if isinstance(claims.get(k), str)}
    return {**claims, **split}


def authn_metadata(found: tuple[tuple[str, Claims], ...]) -> dict[str, object]:
    """What Istio's own authentication filter (1.12 to 1.21) makes of the claims (``istio_authn``)."""
    for _, claims in found:
        listed = {k: [v] if isinstance(v, str) else v for k, v in claims.items()}
        principal = f"{claims.get('iss', '')}/{claims.get('sub', '')}"
        return {"istio_authn": {"request.auth.principal": principal, "request.auth.claims": listed}}
    return {}

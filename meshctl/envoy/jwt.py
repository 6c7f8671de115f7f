"""Tokens: read the jwt_authn filter's configuration, and judge the token that a request carries.

Source: Envoy, config/jwt_authn/v3 and ``source/extensions/filters/http/jwt_authn/{authenticator,verifier}.cc``:
issuer, time, audience, then the signature. A signature is checked where the keys are in the dump.
"""

import json
from base64 import b64decode, standard_b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeAlias

from meshctl.envoy import rewrite, route_match, strings
from meshctl.envoy.model.filters import Jwt, JwtProvider, JwtRule, Requirement
from meshctl.envoy.reading import Json
from meshctl.envoy.request import Request
from meshctl.frozen import dataclass

Claims: TypeAlias = Mapping[str, Any]
Providers: TypeAlias = tuple[JwtProvider, ...]
Token: TypeAlias = tuple[str, str, frozenset[str]]
"""Where a token was (a header, ``?parameter``, empty for a cookie), the token, the issuers looked for there."""


def config(message: Json) -> Jwt:
    """Read ``JwtAuthentication``."""
    return Jwt(
        providers={name: _provider(name, each) for name, each in message.map("providers")},
        rules=tuple(_rule(r, message) for r in message.each("rules")),
        named={name: _requirement(each) for name, each in message.map("requirement_map")},
        bypass_preflight=message.flag("bypass_cors_preflight"),
        unsupported=tuple(k for k in ("filter_state_rules",) if message.has(k)),
    )


def per_route(message: Json) -> Jwt:
    """Read ``PerRouteConfig``: a route turns the filter off, or names the requirement that holds for it."""
    return Jwt(
        providers={},
        rules=(),
        per_route=message.text("requirement_name"),
        per_route_disabled=message.flag("disabled"),
    )


def _rule(message: Json, filter_config: Json) -> JwtRule:
    match = route_match.parse(message.below("match"))
    if message.has("requirement_name"):
        named = filter_config.below("requirement_map").below(message.text("requirement_name"))
        return JwtRule(match, _requirement(named) if named else Requirement("unknown"))
    return JwtRule(match, _requirement(message.below("requires")) if message.has("requires") else None)


def _provider(name: str, message: Json) -> JwtProvider:
    remote = message.at("remote_jwks", "http_uri")
    local = message.below("local_jwks")
    return JwtProvider(
        name=name,
        issuer=message.text("issuer"),
        audiences=message.texts("audiences"),
        headers=tuple((h.text("name").lower(), h.text("value_prefix")) for h in message.each("from_headers")),
        params=message.texts("from_params"),
        cookies=message.texts("from_cookies"),
        jwks=local.text("inline_string") or _decoded(local.text("inline_bytes")),
        jwks_uri=remote.text("uri"),
        forward=message.flag("forward"),
        payload_key=message.text("payload_in_metadata"),
        header_key=message.text("header_in_metadata"),
        payload_header=message.text("forward_payload_header").lower(),
        pad_payload=message.flag("pad_forward_payload_header"),
        reroutes=message.flag("clear_route_cache"),
        claim_headers=tuple(
            (c.text("header_name").lower(), c.text("claim_name")) for c in message.each("claim_to_headers")
        ),
        clock_skew_s=message.whole("clock_skew_seconds") or 60,
        space_delimited=message.below("normalize_payload_in_metadata").texts("space_delimited_claims"),
        subjects=strings.string_match(subjects) if (subjects := message.below("subjects")) else None,
        must_expire=message.flag("require_expiration"),
        max_lifetime_s=message.seconds("max_lifetime"),
    )


def _decoded(text: str) -> str:
    try:
        return b64decode(text).decode()
    except ValueError:
        return ""


def _requirement(message: Json) -> Requirement:
    if message.has("provider_name"):
        return Requirement("provider", message.text("provider_name"))
    if message.has("provider_and_audiences"):
        both = message.below("provider_and_audiences")
        return Requirement("provider", both.text("provider_name"), both.texts("audiences"))
    for kind, key in (("any", "requires_any"), ("all", "requires_all")):
        if message.has(key):
            parts = tuple(_requirement(part) for part in message.below(key).each("requirements"))
            return Requirement(kind, parts=parts)  # type: ignore[arg-type]
    if message.has("allow_missing_or_failed"):
        return Requirement("allow_missing_or_failed")
    if message.has("allow_missing"):
        return Requirement("allow_missing")
    return Requirement("unknown") if message else Requirement("none")


# --- judging --------------------------------------------------------------------------------------------------------

MISSING = "Jwt is missing"
UNKNOWN_ISSUER = "Jwt issuer is not configured"
WRONG_AUDIENCE = "Audiences in Jwt are not allowed"


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether a requirement is met (None: cannot be told), why (Envoy's own words for a refusal), and the claims.

    `metadata` are the providers that took a token, with its claims and its header; `removed` are the headers and
    (``?name``) query parameters that are taken off the request, `added` the headers that are written.
    """

    passed: bool | None
    because: str
    status: int = 401
    metadata: tuple[tuple[str, Claims], ...] = ()
    heads: tuple[tuple[str, Claims], ...] = ()
    removed: tuple[str, ...] = ()
    added: tuple[tuple[str, str], ...] = ()


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
    for place, token, _ in _tokens((provider,), after(request, judged[0]))[::-1]:
        judged.append(_token(place, token, provider, audiences or provider.audiences, at))
        if not judged[-1].passed:
            return _with(judged[-1], judged)
    return _with(_passed(judged[1:]) if judged[1:] else Judgement(False, MISSING), judged)


def _lenient(wanted: Requirement, jwt: Jwt, request: Request, at: datetime | None) -> Judgement:
    """Alone, leniency looks for tokens of all providers; the one that is looked at last decides."""
    providers = tuple(jwt.providers.values())
    judged = [_sanitized(providers)]
    judged += [_of_any(*found, providers, at) for found in _tokens(providers, after(request, judged[0]))[::-1]]
    unsure = next((j for j in judged if j.passed is None), None)
    last = judged[-1] if judged[1:] else Judgement(True, "no token, and none is required")
    if unsure is not None or last.passed or wanted.kind == "allow_missing":
        return _with(unsure or last, judged)
    return _with(Judgement(True, "a missing or failed token is accepted"), judged)


def _of_any(place: str, token: str, issuers: frozenset[str], providers: Providers, at: datetime | None) -> Judgement:
    """A token that some provider may take: the one of its issuer, else one that takes any issuer."""
    parsed = _parsed(token)
    if isinstance(parsed, str):
        return Judgement(False, parsed)
    issuer = parsed[1].get("iss", "")
    if "" not in issuers and issuer not in issuers:
        return Judgement(False, UNKNOWN_ISSUER)
    found = [p for p in providers if p.issuer == issuer] or [p for p in providers if not p.issuer]
    if not found:
        return Judgement(False, UNKNOWN_ISSUER)
    judged = [_token(place, token, provider, provider.audiences, at) for provider in found]
    if len({(j.passed, j.because) for j in judged}) > 1:
        return Judgement(None, f"several providers are for the issuer {issuer}: which one Envoy asks is not defined")
    return judged[0]


def _sanitized(providers: Providers) -> Judgement:
    """Headers that tokens are to be written into are taken off a request first."""
    names = [name for p in providers for name in (p.payload_header, *(header for header, _ in p.claim_headers)) if name]
    return Judgement(True, "", removed=tuple(dict.fromkeys(names)))


def _tokens(providers: Providers, request: Request) -> list[Token]:
    """The tokens of a request with their place and the issuers (empty: any) that look there, in Envoy's order."""
    headers: dict[tuple[str, str], set[str]] = {}
    params: dict[str, set[str]] = {}
    cookies: dict[str, set[str]] = {}
    for each in providers:
        usual = not each.headers and not each.params and not each.cookies
        for header in (("authorization", "Bearer "),) if usual else each.headers:
            headers.setdefault(header, set()).add(each.issuer)
        for name in ("access_token",) if usual else each.params:
            params.setdefault(name, set()).add(each.issuer)
        for name in each.cookies:
            cookies.setdefault(name, set()).add(each.issuer)
    found: list[Token] = []
    for (name, prefix), issuers in sorted(headers.items(), key=lambda item: "".join(item[0])):
        found += [(name, text, frozenset(issuers)) for value in request.values(name) for text in _behind(prefix, value)]
    for name, issuers in sorted(params.items()):
        found += [(f"?{name}", rewrite.percent_decoded(value), frozenset(issuers)) for value in request.query(name)]
    for name, issuers in sorted(cookies.items()):
        found += [("", value, frozenset(issuers)) for value in request.cookie(name)]
    return found


def _behind(prefix: str, value: str) -> tuple[str, ...]:
    """What follows a prefix in a header, from the first character on that a token may have."""
    start = value.find(prefix)
    if start < 0:
        return ()
    if not prefix:
        return (value,)
    rest = value[start + len(prefix) :]
    begins = next(
        (place for place, char in enumerate(rest) if char.isascii() and (char.isalnum() or char in "-_.")), None
    )
    return (value if begins is None else rest[begins:],)


def _parsed(token: str) -> tuple[Claims, Claims, list[str]] | str:
    """A token's header, payload and parts, or what is wrong with it in Envoy's words (``getStatusString``)."""
    from meshctl.envoy import jws

    parts = token.split(".")
    if len(parts) != 3 or not all(parts):
        return "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"
    head = _object("header", parts[0])
    if isinstance(head, str):
        return head
    if not isinstance(head.get("alg"), str):
        return "Jwt header [alg] field is required and must be a string"
    if head["alg"] not in jws.ALGORITHMS:
        return "Jwt header [alg] is not supported"
    if not isinstance(head.get("kid", ""), str):
        return "Jwt header [kid] field is not a string"
    claims = _object("payload", parts[1])
    if isinstance(claims, str):
        return claims
    for name in ("iss", "sub", "iat", "nbf", "exp", "jti", "aud"):
        if name in claims and (wrong := _misformed(name, claims[name])):
            return wrong
    if jws.decoded(parts[2]) is None:
        return "Jwt signature is an invalid Base64url encoded"
    return head, claims, parts


def _misformed(name: str, value: Any) -> str:
    """What is wrong with a registered claim; empty for nothing. Zero is as good as absent for times."""
    if name in ("iat", "nbf", "exp"):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"Jwt payload [{name}] field is not an integer"
        return "" if 0 <= value < 2**64 else f"Jwt payload [{name}] field is not a positive 64 bit integer"
    strings = [value] if isinstance(value, str) else value if name == "aud" else None
    if isinstance(strings, list) and all(isinstance(each, str) for each in strings):
        return ""
    return f"Jwt payload [{name}] field is not a string" + (" or string list" if name == "aud" else "")


def _token(place: str, token: str, provider: JwtProvider, audiences: tuple[str, ...], at: datetime | None) -> Judgement:
    parsed = _parsed(token)
    if isinstance(parsed, str):
        return Judgement(False, parsed)
    head, claims, parts = parsed
    if provider.issuer and claims.get("iss", "") != provider.issuer:
        return Judgement(False, UNKNOWN_ISSUER)
    timely = _timely(claims, provider.clock_skew_s, at)
    if timely is not None:
        return timely
    if audiences and not {_bare(a) for a in audiences} & {_bare(a) for a in _audiences(claims)}:
        return Judgement(False, WRONG_AUDIENCE, 403)
    limited = _limited(provider, claims, at)
    if limited is not None:
        return limited
    wrong = _signed(parts, head, provider)
    if wrong is not None:
        return wrong
    return Judgement(
        True,
        f"the token of {claims.get('iss', 'its issuer')} is valid",
        metadata=((provider.name, claims),),
        heads=((provider.name, head),),
        removed=() if provider.forward or not place else (place,),
        added=tuple(_written(provider, claims, parts[1])),
    )


def _written(provider: JwtProvider, claims: Claims, payload: str) -> Iterator[tuple[str, str]]:
    """The headers that a provider writes for a good token: its payload, and single claims."""
    if provider.payload_header:
        padding = "=" * (-len(payload) % 4) if provider.pad_payload else ""
        yield provider.payload_header, payload + padding
    for header, path in provider.claim_headers:
        text = _as_text(_claim(claims, path))
        if text:
            yield header, text


def _claim(claims: Claims, path: str) -> Any:
    """A claim by its name, or by names joined with dots (jwt_verify_lib, ``StructUtils::GetValue``)."""
    value: Any = claims
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _as_text(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int() | float():
            return str(int(value)) if value >= 0 and value == int(value) else f"{value:f}"
        case Mapping() | list():
            return standard_b64encode(json.dumps(value, separators=(",", ":")).encode()).decode()
        case _:
            return ""


def _bare(audience: str) -> str:
    """An audience without scheme and last slash (jwt_verify_lib, ``check_audience.cc``)."""
    return audience.removeprefix("https://").removeprefix("http://").removesuffix("/")


def _timely(claims: Claims, skew_s: int, at: datetime | None) -> Judgement | None:
    starts, ends = claims.get("nbf") or 0, claims.get("exp") or 0
    if not starts and not ends:
        return None
    if at is None:
        return Judgement(None, "when the request is sent is not known, and the token is not valid for ever")
    now = at.timestamp()
    if now + skew_s < starts:
        return Judgement(False, "Jwt not yet valid")
    if ends and now > ends + skew_s:
        return Judgement(False, "Jwt is expired")
    return None


def _limited(provider: JwtProvider, claims: Claims, at: datetime | None) -> Judgement | None:
    """What a provider's limits on subjects and lifetimes refuse; Envoy says no more of it than of a bad signature."""
    subject = claims.get("sub", "")
    fits = strings.holds(provider.subjects, subject) if provider.subjects is not None else True
    if fits is None:
        return Judgement(None, f"whether the subject {subject} is one that {provider.name} takes cannot be told")
    ends = claims.get("exp") or 0
    limits = provider.must_expire or provider.max_lifetime_s is not None
    if not fits or (limits and not ends):
        return Judgement(False, "Jwt verification fails")
    if provider.max_lifetime_s is None:
        return None
    if at is None:
        return Judgement(None, "when the request is sent is not known, and the token may be valid for too long")
    return Judgement(False, "Jwt verification fails") if ends - at.timestamp() > provider.max_lifetime_s else None


def _audiences(claims: Claims) -> tuple[str, ...]:
    found = claims.get("aud", ())
    return (found,) if isinstance(found, str) else tuple(str(a) for a in found) if isinstance(found, list) else ()


def _signed(parts: list[str], head: Claims, provider: JwtProvider) -> Judgement | None:
    """What is wrong with a token's signature, None for nothing."""
    from meshctl.envoy import jws

    if not provider.jwks:
        where = provider.jwks_uri or "elsewhere"
        return Judgement(None, f"the token looks valid; its signature is checked by keys from {where}")
    keys = jws.keys(provider.jwks)
    if keys is None:
        return Judgement(None, f"the keys of {provider.name} cannot be read")
    if not keys:
        return Judgement(False, "Jwks doesn't have any valid public key")
    fitting = jws.fitting(keys, head)
    if not fitting:
        return Judgement(False, "Jwks doesn't have key to match kid or alg from Jwt")
    signed, signature = f"{parts[0]}.{parts[1]}".encode(), jws.decoded(parts[2]) or b""
    if len(signature) != 64 and any(key["kty"] == "OKP" for key in fitting):
        return Judgement(False, "Jwt ED25519 signature is wrong length")
    if any(jws.verifies(key, str(head["alg"]), signed, signature) for key in fitting):
        return None
    return Judgement(False, "Jwt verification fails")


def _object(what: str, part: str) -> Claims | str:
    """A token's header or payload, or what is wrong with it in Envoy's words (jwt_verify_lib, ``getStatusString``)."""
    from meshctl.envoy import jws

    decoded = jws.decoded(part)
    if decoded is None:
        return f"Jwt {what} is an invalid Base64url encoded"
    try:
        found = json.loads(decoded)
    except (ValueError, RecursionError):
        return f"Jwt {what} is an invalid JSON"
    return found if isinstance(found, dict) else f"Jwt {what} is an invalid JSON"


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

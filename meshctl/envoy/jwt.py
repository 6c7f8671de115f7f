"""Tokens: read the jwt_authn filter's configuration, and judge the token that a request carries.

Source: Envoy, config/jwt_authn/v3 and ``source/extensions/filters/http/jwt_authn/{authenticator,verifier}.cc``:
issuer, time, audience, then the signature. A signature is checked where the keys are in the dump and are RSA.
"""

import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeAlias

from meshctl.envoy import route_match
from meshctl.envoy.model import Jwt, JwtProvider, JwtRule, Requirement
from meshctl.envoy.reading import Json
from meshctl.envoy.request import Request
from meshctl.frozen import dataclass

Claims: TypeAlias = Mapping[str, Any]


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
        claim_headers=tuple((c.text("header_name"), c.text("claim_name")) for c in message.each("claim_to_headers")),
        clock_skew_s=message.whole("clock_skew_seconds") or 60,
        space_delimited=message.below("normalize_payload_in_metadata").texts("space_delimited_claims"),
        unsupported=tuple(k for k in ("subjects", "require_expiration", "max_lifetime") if message.has(k)),
    )


def _decoded(text: str) -> str:
    try:
        return _bytes(text).decode()
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
WRONG_AUDIENCE = "Audiences in Jwt are not allowed"


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether a requirement is met (None: cannot be told), why (Envoy's own words for a refusal), and the claims."""

    passed: bool | None
    because: str
    status: int = 401
    metadata: tuple[tuple[str, Claims], ...] = ()


def judge(jwt: Jwt, request: Request, at: datetime | None, override: Jwt | None = None) -> Judgement:
    """Judge a request by the first rule that matches it, or by the requirement that its route names."""
    if override is not None and (override.per_route_disabled or override.per_route):
        if override.per_route_disabled:
            return Judgement(True, "the route turns the filter off")
        named = jwt.named.get(override.per_route)
        if named is None:
            return Judgement(False, f"Wrong requirement_name: {override.per_route}", 403)
        return requirement(named, jwt, request, at)
    preflight = request.values("origin") and request.values("access-control-request-method")
    if jwt.bypass_preflight and request.method == "OPTIONS" and preflight:
        return Judgement(True, "a CORS preflight request needs no token")
    if jwt.unsupported:
        return Judgement(None, f"{', '.join(jwt.unsupported)} of the filter are not modelled")
    for rule in jwt.rules:
        fits = route_match.holds(rule.match, request)
        if fits is None:
            return Judgement(None, f"whether the rule {route_match.shown(rule.match)} matches cannot be told")
        if fits:
            if rule.requires is None:
                return Judgement(True, "the rule for this path requires nothing")
            return requirement(rule.requires, jwt, request, at)
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
            return _verified(provider, wanted.audiences or provider.audiences, request, at)
        case "allow_missing" | "allow_missing_or_failed":
            return _lenient(wanted, jwt, request, at)
        case "all":
            return _all([requirement(part, jwt, request, at) for part in wanted.parts])
        case "any":
            return _any(wanted, jwt, request, at)


def _lenient(wanted: Requirement, jwt: Jwt, request: Request, at: datetime | None) -> Judgement:
    """Alone, leniency tries every provider: a token that any accepts leaves its claims."""
    tried = [_verified(p, p.audiences, request, at) for p in jwt.providers.values()]
    good = next((t for t in tried if t.passed), None)
    if good is not None:
        return good
    if wanted.kind == "allow_missing_or_failed":
        return Judgement(True, "a missing or failed token is accepted")
    failed = next((t for t in tried if t.because != MISSING), None)
    return failed or Judgement(True, "no token, and none is required")


def _all(judged: list[Judgement]) -> Judgement:
    refused = next((j for j in judged if j.passed is False), None)
    if refused is not None:
        return refused
    unsure = next((j for j in judged if j.passed is None), None)
    if unsure is not None:
        return unsure
    return Judgement(True, "all tokens are valid", metadata=tuple(m for j in judged for m in j.metadata))


def _any(wanted: Requirement, jwt: Jwt, request: Request, at: datetime | None) -> Judgement:
    kinds = {part.kind for part in wanted.parts}
    strict = [p for p in wanted.parts if p.kind not in ("allow_missing", "allow_missing_or_failed")]
    judged = [requirement(part, jwt, request, at) for part in strict]
    if not judged:
        kind = "allow_missing_or_failed" if "allow_missing_or_failed" in kinds else "allow_missing"
        return _lenient(Requirement(kind), jwt, request, at)  # type: ignore[arg-type]
    good = next((j for j in judged if j.passed), None)
    if good is not None:
        return good
    if "allow_missing_or_failed" in kinds:
        return Judgement(True, "a missing or failed token is accepted")
    unsure = next((j for j in judged if j.passed is None), None)
    if unsure is not None:
        return unsure
    failed = [j for j in judged if j.because != MISSING]
    if not failed and "allow_missing" in kinds:
        return Judgement(True, "no token, and none is required")
    known = [j for j in failed if j.because != "Jwt issuer is not configured"]
    return (known or failed or judged)[-1]


def _verified(provider: JwtProvider, audiences: tuple[str, ...], request: Request, at: datetime | None) -> Judgement:
    tokens = _tokens(provider, request)
    if not tokens:
        return Judgement(False, MISSING)
    if provider.unsupported:
        return Judgement(None, f"{', '.join(provider.unsupported)} of {provider.name} are not modelled")
    judged = [_token(token, provider, audiences, at) for token in tokens]
    return next((j for j in judged if not j.passed), judged[0])


def _tokens(provider: JwtProvider, request: Request) -> tuple[str, ...]:
    """The tokens of a request, where the provider looks for them; without places: Bearer and ``access_token``."""
    headers, params = provider.headers, provider.params
    if not headers and not params and not provider.cookies:
        headers, params = (("authorization", "Bearer "),), ("access_token",)
    found = []
    for name, prefix in headers:
        for value in request.values(name):
            start = value.find(prefix)
            if start >= 0:
                found.append(value[start + len(prefix) :].strip())
    found += [value for name in params for value in request.query(name)]
    found += [value for name in provider.cookies for value in request.cookie(name)]
    return tuple(dict.fromkeys(found))


_ALGORITHMS = {f"{kind}{size}" for kind in ("RS", "PS", "ES", "HS") for size in (256, 384, 512)} | {"EdDSA"}


def _token(token: str, provider: JwtProvider, audiences: tuple[str, ...], at: datetime | None) -> Judgement:
    parts = token.split(".")
    if len(parts) != 3:
        return Judgement(False, "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections")
    head = _object("header", parts[0])
    if isinstance(head, str):
        return Judgement(False, head)
    if not isinstance(head.get("alg"), str):
        return Judgement(False, "Jwt header [alg] field is required and must be a string")
    if head["alg"] not in _ALGORITHMS:
        return Judgement(False, "Jwt header [alg] is not supported")
    claims = _object("payload", parts[1])
    if isinstance(claims, str):
        return Judgement(False, claims)
    if _decode(parts[2]) is None:
        return Judgement(False, "Jwt signature is an invalid Base64url encoded")
    if provider.issuer and claims.get("iss") != provider.issuer:
        return Judgement(False, "Jwt issuer is not configured")
    timely = _timely(claims, provider.clock_skew_s, at)
    if timely is not None:
        return timely
    if audiences and not set(audiences) & set(_audiences(claims)):
        return Judgement(False, WRONG_AUDIENCE, 403)
    return _signed(parts, head, claims, provider)


def _timely(claims: Claims, skew_s: int, at: datetime | None) -> Judgement | None:
    starts, ends = claims.get("nbf"), claims.get("exp")
    if not isinstance(starts, int | float) and not isinstance(ends, int | float):
        return None
    if at is None:
        return Judgement(None, "when the request is sent is not known, and the token is not valid for ever")
    now = at.timestamp()
    if isinstance(starts, int | float) and now + skew_s < starts:
        return Judgement(False, "Jwt not yet valid")
    if isinstance(ends, int | float) and now > ends + skew_s:
        return Judgement(False, "Jwt is expired")
    return None


def _audiences(claims: Claims) -> tuple[str, ...]:
    found = claims.get("aud", ())
    return (found,) if isinstance(found, str) else tuple(str(a) for a in found) if isinstance(found, list) else ()


def _signed(parts: list[str], head: Claims, claims: Claims, provider: JwtProvider) -> Judgement:
    valid = Judgement(
        True, f"the token of {claims.get('iss', 'its issuer')} is valid", metadata=((provider.name, claims),)
    )
    if not provider.jwks:
        where = provider.jwks_uri or "elsewhere"
        return Judgement(None, f"the token looks valid; its signature is checked by keys from {where}")
    keys = _keys(provider.jwks)
    if keys is None:
        return Judgement(None, f"the keys of {provider.name} cannot be read")
    named = [k for k in keys if "kid" not in head or "kid" not in k or k["kid"] == head["kid"]]
    fitting = [k for k in named if k.get("alg", head.get("alg")) == head.get("alg")]
    if not fitting:
        return Judgement(False, "Jwks doesn't have key to match kid or alg from Jwt")
    verdicts = [_rsa_verifies(key, head, parts) for key in fitting]
    if True in verdicts:
        return valid
    if None in verdicts:
        return Judgement(None, f"the token looks valid; meshctl cannot check a {head.get('alg')} signature")
    return Judgement(False, "Jwt verification fails")


def _keys(jwks: str) -> list[Claims] | None:
    try:
        keys = json.loads(jwks)["keys"]
    except (ValueError, KeyError, TypeError):
        return None
    return [key for key in keys if isinstance(key, dict)] if isinstance(keys, list) else None


# The DER prefixes of a digest in an RSASSA-PKCS1-v1_5 signature (RFC 8017, section 9.2, note 1).
_DIGESTS = {
    "RS256": ("sha256", "3031300d060960864801650304020105000420"),
    "RS384": ("sha384", "3041300d060960864801650304020205000430"),
    "RS512": ("sha512", "3051300d060960864801650304020305000440"),
}


def _rsa_verifies(key: Claims, head: Claims, parts: list[str]) -> bool | None:
    """Whether an RSASSA-PKCS1-v1_5 signature verifies (RFC 8017, section 8.2.2); None for other algorithms."""
    import hashlib

    digest = _DIGESTS.get(str(head.get("alg")))
    if digest is None or key.get("kty") != "RSA":
        return None
    try:
        modulus, exponent = (int.from_bytes(_bytes(str(key[part])), "big") for part in ("n", "e"))
        signature = int.from_bytes(_bytes(parts[2]), "big")
    except (KeyError, ValueError):
        return None
    size = (modulus.bit_length() + 7) // 8
    told = bytes.fromhex(digest[1]) + hashlib.new(digest[0], f"{parts[0]}.{parts[1]}".encode()).digest()
    wanted = b"\x00\x01" + b"\xff" * (size - len(told) - 3) + b"\x00" + told
    return modulus > 0 and pow(signature, exponent, modulus).to_bytes(size, "big") == wanted


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _decode(part: str) -> bytes | None:
    """A part of a token, None where it is no base64url (which Python itself reads leniently)."""
    if not part or not all(c.isascii() and (c.isalnum() or c in "-_") for c in part):
        return None
    try:
        return _bytes(part)
    except ValueError:
        return None


def _object(what: str, part: str) -> Claims | str:
    """A token's header or payload, or what is wrong with it in Envoy's words (jwt_verify_lib, ``getStatusString``)."""
    decoded = _decode(part)
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

"""What a provider asks of one token: its time, its subject and lifetime, its audience, its signature.

Source: Envoy, ``source/extensions/filters/http/jwt_authn/authenticator.cc``.
"""

import json
from base64 import standard_b64encode
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from meshctl.envoy import strings
from meshctl.envoy.model.filters import JwtProvider
from meshctl.envoy.tokens import Claims, read
from meshctl.frozen import dataclass

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


def of_provider(
    place: str, token: str, provider: JwtProvider, audiences: tuple[str, ...], at: datetime | None
) -> Judgement:
    """Whether a provider takes a token; `place` is the header or ``?parameter`` that is taken off then."""
    parsed = read(token)
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

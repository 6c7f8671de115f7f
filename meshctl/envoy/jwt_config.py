"""Reading the jwt_authn filter's configuration.

Source: Envoy, config/jwt_authn/v3.
"""

from base64 import b64decode

from meshctl.envoy import route_match, strings
from meshctl.envoy.model.filters import Jwt, JwtProvider, JwtRule, Requirement
from meshctl.envoy.reading import Json


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

"""Tokens in a request: where they are, and what they say.

Source: Envoy, ``source/extensions/filters/http/jwt_authn/extractor.cc``, and jwt_verify_lib.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

from meshctl import json_text
from meshctl.envoy import rewrite
from meshctl.envoy.model.filters import JwtProvider
from meshctl.envoy.request import Request

Claims: TypeAlias = Mapping[str, Any]
Providers: TypeAlias = tuple[JwtProvider, ...]
Token: TypeAlias = tuple[str, str, frozenset[str]]
"""Where a token was (a header, ``?parameter``, empty for a cookie), the token, the issuers looked for there."""


def found_in(providers: Providers, request: Request) -> list[Token]:
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


def read(token: str) -> tuple[Claims, Claims, list[str]] | str:
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


def _object(what: str, part: str) -> Claims | str:
    """A token's header or payload, or what is wrong with it in Envoy's words (jwt_verify_lib, ``getStatusString``)."""
    from meshctl.envoy import jws

    decoded = jws.decoded(part)
    if decoded is None:
        return f"Jwt {what} is an invalid Base64url encoded"
    try:
        found = json_text.loads(decoded)
    except ValueError:
        return f"Jwt {what} is an invalid JSON"
    return found if isinstance(found, dict) else f"Jwt {what} is an invalid JSON"

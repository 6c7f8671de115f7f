"""Tokens: algorithms, keys, places, claims, requirements of every kind, and what a good token changes."""

import json
import time
from base64 import urlsafe_b64encode
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from tests.envoy.asking import Ask, Case, http_filter, says, to, typed, web

NOW = int(time.time())
HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
CURVES: dict[str, tuple[str, ec.EllipticCurve, int]] = {
    "ES256": ("P-256", ec.SECP256R1(), 32), "ES384": ("P-384", ec.SECP384R1(), 48), "ES512": ("P-521", ec.SECP521R1(),
        66),
}  # fmt: skip
GOOD: dict[str, Any] = {
    "iss": "one@test", "sub": "me", "aud": ["a", "https://b/"], "exp": NOW + 9000, "role": "admin", "scope": "x y",
    "n": 7, "yes": True, "deep": {"er": "down"}, "list": ["p", "q"], "half": 1.5,
}  # fmt: skip


def b64(value: bytes) -> str:
    return urlsafe_b64encode(value).decode().rstrip("=")


def word(number: int, size: int = 0) -> str:
    return b64(number.to_bytes(size or (number.bit_length() + 7) // 8, "big"))


@cache
def private(alg: str, which: int = 0) -> Any:
    """A private key for an algorithm; the same for all algorithms of RSA."""
    if alg in CURVES:
        return ec.generate_private_key(CURVES[alg][1])
    if alg == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return b"secret" * 8 if alg.startswith("HS") else _rsa(which)


@cache
def _rsa(which: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def public(alg: str, which: int = 0, /, **more: Any) -> dict[str, Any]:
    """A key of a key set."""
    key = private(alg, which)
    if alg in CURVES:
        crv, _, size = CURVES[alg]
        numbers = key.public_key().public_numbers()
        return {"kty": "EC", "crv": crv, "x": word(numbers.x, size), "y": word(numbers.y, size), **more}
    if alg == "EdDSA":
        return {"kty": "OKP", "crv": "Ed25519", "x": b64(key.public_key().public_bytes_raw()), **more}
    if alg.startswith("HS"):
        return {"kty": "oct", "k": b64(key), **more}
    numbers = key.public_key().public_numbers()
    return {"kty": "RSA", "n": word(numbers.n), "e": word(numbers.e), **more}


def signature(alg: str, told: bytes, which: int) -> bytes:
    key = private(alg, which)
    if alg in CURVES:
        r, s = utils.decode_dss_signature(key.sign(told, ec.ECDSA(HASHES[alg[2:]])))
        size = CURVES[alg][2]
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    if alg == "EdDSA":
        return bytes(key.sign(told))
    digest = HASHES[alg[2:]]
    if alg.startswith("HS"):
        made = hmac.HMAC(key, digest)
        made.update(told)
        return made.finalize()
    pad = padding.PKCS1v15() if alg.startswith("RS") else padding.PSS(padding.MGF1(digest), digest.digest_size)
    return bytes(key.sign(told, pad, digest))


def token(claims: Any = GOOD, /, alg: str = "RS256", which: int = 0, **head: Any) -> str:
    parts = {"alg": alg, "typ": "JWT", **head}
    told = f"{b64(json.dumps(parts).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{told}.{b64(signature(alg, told.encode(), which))}"


def bearer(text: str, **more: Any) -> Ask:
    return Ask(headers=(("authorization", f"Bearer {text}"),), **more)


def provider(*keys: dict[str, Any], issuer: str = "one@test", **more: Any) -> dict[str, Any]:
    jwks = json.dumps({"keys": list(keys or (public("RS256"),))})
    return {"issuer": issuer, "local_jwks": {"inline_string": jwks}, **more}


def jwt(requires: Any = None, providers: Any = None, **more: Any) -> dict[str, Any]:
    providers = providers or {"one": provider()}
    rule = {"match": {"prefix": "/"}, "requires": requires or {"provider_name": "one"}}
    return http_filter("jwt_authn.v3.JwtAuthentication", **{"providers": providers, "rules": [rule], **more})


def guarded(name: str, asks: Any, requires: Any = None, providers: Any = None, *, after: Any = (), **more: Any) -> Case:
    routes = more.pop("routes", ())
    return web(name, *asks, filters=[jwt(requires, providers, **more), *after], routes=routes)


ALL = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    "HS256",
    "HS384",
    "HS512",
)
SIGNED = tuple(
    guarded(f"alg-{alg}".lower(), (
        bearer(token(alg=alg)), bearer(token(alg=alg, kid="k1")), bearer(token(alg=alg, kid="k2")),
        bearer(token(alg=alg)[:-8] + "AAAAAAAA"), bearer(token(alg=alg)[:-3]),
        bearer(token(alg="RS256" if alg != "RS256" else "ES256")), bearer(token(alg="PS256")),
        bearer(token({**GOOD, "role": "x"}, alg=alg).rpartition(".")[0] + "." + token(alg=alg).rpartition(".")[2]),
    ), providers={"one": provider(public(alg, **more))})
    for alg in ALL for more in ({"kid": "k1"},)
)  # fmt: skip
KEYS = tuple(
    guarded(f"keys-{n}", (bearer(token()), bearer(token(kid="k1")), bearer(token(kid="k2")), bearer(token(alg="PS256")),
                          bearer(token(alg="ES256")), bearer(token(which=1))), providers={"one": provider(*keys)})
    for n, keys in enumerate((
        (public("RS256"), public("ES256")), (public("RS256", 1, kid="k1"), public("RS256", kid="k1")),
        (public("RS256", alg="RS256"),), (public("RS256", alg="PS256"),), (public("RS256", alg="ES256"),
        public("ES256")),
        (public("ES256", alg="ES384"), public("RS256")), (public("RS256", kid="k2"), public("RS256", 1)),
        ({"kty": "zz"}, public("RS256")), (public("RS256", use="enc"),), (public("RS256", kid=""),),
    ))
)  # fmt: skip
CLAIMS: tuple[Any, ...] = (
    GOOD, {**GOOD, "exp": NOW - 36000}, {**GOOD, "exp": NOW - 600}, {**GOOD, "nbf": NOW + 36000}, {**GOOD,
        "nbf": NOW + 2000},
    {**GOOD, "exp": 0}, {**GOOD, "exp": "x"}, {**GOOD, "exp": -1}, {**GOOD, "exp": NOW + 100.5}, {**GOOD, "iss": "z"},
    {k: v for k, v in GOOD.items() if k != "iss"}, {k: v for k, v in GOOD.items() if k != "exp"},
    {**GOOD, "aud": "a"}, {**GOOD, "aud": "z"}, {**GOOD, "aud": []}, {**GOOD, "aud": 7}, {**GOOD, "aud": ["a", 7]},
    {**GOOD, "aud": "https://a"}, {**GOOD, "aud": "http://a/"}, {**GOOD, "iss": 7}, {**GOOD, "sub": 7}, {**GOOD,
    "iat": "x"},
    {**GOOD, "jti": 7}, {**GOOD, "nbf": True}, [], "text", {}, {**GOOD, "exp": None}, {**GOOD, "iss": None},
)  # fmt: skip
TIMED = tuple(
    guarded(name, [bearer(token(claims)) for claims in CLAIMS], **options)
    for name, options in (
        ("claims", {}),
        ("claims-audiences", {"providers": {"one": provider(audiences=["a"])}}),
        ("claims-own-audiences", {"requires": {"provider_and_audiences": {"provider_name": "one", "audiences": ["b"]}},
                                  "providers": {"one": provider(audiences=["a"])}}),
        ("claims-skew", {"providers": {"one": provider(clock_skew_seconds=3000)}}),
        ("claims-any-issuer", {"providers": {"one": provider(issuer="")}}),
    )
)  # fmt: skip
TORN = tuple(
    bearer(text)
    for text in (
        "", "a.b", "a.b.c", "a.b.c.d", "..", f"{b64(b'{}')}.{b64(b'{}')}.AA", f"{b64(b'[]')}.e30.AA", "e30.e30.AA",
        f"{b64(json.dumps({'alg': 7}).encode())}.e30.AA", f"{b64(json.dumps({'alg': 'none'}).encode())}.e30.AA",
        f"{b64(json.dumps({'alg': 'RS256', 'kid': 7}).encode())}.e30.AA", token().replace(".", ".!", 1), token() + " x",
        token() + "=", " " + token(), f'"{token()}"', token().partition(".")[0],
    )
)  # fmt: skip
PLACES = (
    Ask(), bearer(token()), Ask(headers=(("authorization", token()),)), Ask(headers=(("authorization",
    f"bearer {token()}"),)),
    Ask(headers=(("authorization", f"Basic x, Bearer {token()}"),)), Ask(path=f"/?access_token={token()}"),
    Ask(path=f"/?a=1&jwt={token()}"), Ask(headers=(("x-jwt", token()),)), Ask(headers=(("x-jwt", f"pre{token()}"),)),
    Ask(headers=(("cookie", f"a=1; session={token()}"),)), Ask(headers=(("cookie", f'session="{token()}"'),)),
    Ask(headers=(("x-jwt", token()), ("x-jwt", token({**GOOD, "exp": 5})))),
    Ask(headers=(("x-jwt", token({**GOOD, "exp": 5})), ("x-jwt", token()))),
    Ask(headers=(("authorization", f"Bearer {token()}"), ("authorization", "Bearer x.y.z"))),
    Ask(headers=(("authorization", f"Bearer {token()}"),), path=f"/?access_token={token({**GOOD, 'exp': 5})}"),
    Ask(headers=(("authorization", f"Bearer {token({**GOOD, 'exp': 5})}"),), path=f"/?access_token={token()}"),
    Ask(method="OPTIONS", headers=(("origin", "http://a"), ("access-control-request-method", "GET"))),
)  # fmt: skip
PLACED = tuple(
    guarded(f"places-{n}", (*PLACES, *(TORN if n == 0 else ())), providers={"one": provider(**options)}, **more)
    for n, (options, more) in enumerate((
        ({}, {}), ({"from_headers": [{"name": "X-Jwt"}]}, {}), ({"from_headers": [{"name": "x-jwt",
        "value_prefix": "pre"}]}, {}),
        ({"from_params": ["jwt"]}, {}), ({"from_cookies": ["session"]}, {}),
        ({"from_headers": [{"name": "x-jwt"}], "from_params": ["jwt"], "from_cookies": ["session"]}, {}),
        ({}, {"bypass_cors_preflight": True}),
    ))
)  # fmt: skip

TWO = {
    "one": provider(), "two": provider(public("ES256"), issuer="two@test"),
    "three": provider(public("EdDSA"), issuer="three@test", from_headers=[{"name": "x-three"}]),
}  # fmt: skip
T1, T2 = token(), token({**GOOD, "iss": "two@test"}, alg="ES256")
T3 = token({**GOOD, "iss": "three@test"}, alg="EdDSA")
OLD1, OLD2 = token({**GOOD, "exp": 5}), token({**GOOD, "iss": "two@test", "exp": 5}, alg="ES256")
MIXED = (
    Ask(), bearer(T1), bearer(T2), bearer(T3), bearer(OLD1), bearer(OLD2), bearer("x.y.z"), bearer(token({**GOOD,
    "iss": "9"})),
    *(Ask(headers=(("authorization", f"Bearer {a}"), ("x-three", b))) for a in (T1, T2, OLD1, T3) for b in (T3, T1,
    OLD1)),
    Ask(headers=(("x-three", T3),)), Ask(headers=(("x-three", OLD1),)),
    *(Ask(path=f"/?access_token={a}", headers=(("authorization", f"Bearer {b}"),)) for a in (T1, T2,
    OLD1) for b in (T2, OLD2)),
)  # fmt: skip
P1, P2, P3 = ({"provider_name": name} for name in ("one", "two", "three"))
MISSING, FAILED = {"allow_missing": {}}, {"allow_missing_or_failed": {}}


def every(*parts: Any) -> Any:
    return {"requires_all": {"requirements": list(parts)}}


def some(*parts: Any) -> Any:
    return {"requires_any": {"requirements": list(parts)}}


REQUIRED = tuple(
    guarded(f"requires-{n}", MIXED, requires, TWO)
    for n, requires in enumerate((
        P1, P3, MISSING, FAILED, some(P1, P2), some(P1, P2, MISSING), some(P1, P2, FAILED), some(P1, MISSING),
        some(P3, MISSING),
        some(P1, P3), every(P1, P3), every(P1, MISSING), every(some(P1, MISSING), some(P2, MISSING)),
        every(some(P1, MISSING), some(P3, MISSING)), some(every(P1, P3), P2), some(MISSING, FAILED), every(FAILED, P1),
        some(P1, every(P2, MISSING)), some(P2, P1), every(some(P1, FAILED), some(P3, FAILED)), {},
    ))
)  # fmt: skip


def rbac(permission: Any = None, principal: Any = None, action: str = "ALLOW") -> Any:
    one = {"permissions": [permission or {"any": True}], "principals": [principal or {"any": True}]}
    return http_filter("rbac.v3.RBAC", rules={"action": action, "policies": {"p": one}})


def claim(*path: str, **value: Any) -> Any:
    steps = [{"key": key} for key in ("payload", *path)]
    return {"metadata": {"filter": "envoy.filters.http.jwt_authn", "path": steps, "value": value}}


def header(name: str, **match: Any) -> Any:
    return {"header": {"name": name, **match}}


ROLES = (
    bearer(token()),
    bearer(token({**GOOD, "role": "guest"})),
    bearer(token({**GOOD, "scope": "z", "n": 8, "yes": False})),
)
WITH = {"one": provider(payload_in_metadata="payload",
    normalize_payload_in_metadata={"space_delimited_claims": ["scope"]},
                        header_in_metadata="head")}  # fmt: skip
CHECKED = tuple(
    guarded(f"claim-{n}", (*ROLES, Ask()), some(P1, MISSING), WITH, after=[rbac(None, principal)])
    for n, principal in enumerate((
        claim("role", string_match={"exact": "admin"}), claim("scope",
        list_match={"one_of": {"string_match": {"exact": "x"}}}),
        claim("scope", string_match={"exact": "x y"}), claim("n", double_match={"exact": 7}),
        claim("n", double_match={"range": {"start": 7, "end": 8}}), claim("n", string_match={"exact": "7"}),
        claim("yes", bool_match=True), claim("yes", bool_match=False), claim("deep", "er",
        string_match={"prefix": "d"}),
        claim("list", list_match={"one_of": {"string_match": {"exact": "q"}}}), claim("none", present_match=True),
        claim("role", present_match=True), {"not_id": claim("role", string_match={"exact": "admin"})},
        claim("role", or_match={"value_matchers": [{"string_match": {"exact": "a"}},
        {"string_match": {"exact": "guest"}}]}),
        {"metadata": {"filter": "envoy.filters.http.jwt_authn", "path": [{"key": "head"}, {"key": "alg"}],
                      "value": {"string_match": {"exact": "RS256"}}}},
    ))
)  # fmt: skip
CHANGES = (*ROLES, Ask(headers=(("x-role", "forged"),)), bearer(token(), path=f"/?access_token={token()}&b=1"))
CHANGED = tuple(
    guarded(f"changed-{n}", CHANGES, some(P1, MISSING), {"one": provider(**options)}, after=[rbac(permission)])
    for n, (options, permission) in enumerate((
        ({}, header("authorization")), ({"forward": True}, header("authorization")),
        ({"forward_payload_header": "x-payload"}, header("x-payload")),
        ({"forward_payload_header": "x-role"}, header("x-role")),
        ({"claim_to_headers": [{"header_name": "X-Role", "claim_name": "role"}]},
         header("x-role", string_match={"exact": "admin"})),
        ({"claim_to_headers": [{"header_name": "x-role", "claim_name": "deep.er"}]},
         header("x-role", string_match={"exact": "down"})),
        *(({"claim_to_headers": [{"header_name": "x-role", "claim_name": name}]},
           header("x-role", string_match={"exact": text})) for name, text in (
               ("n", "7"), ("yes", "true"), ("half", "1.500000"), ("list", "WyJwIiwicSJd"))),
        ({}, header(":path", string_match={"exact": "/?b=1"})),
        ({}, header(":path", string_match={"contains": "access_token"})),
    ))
)  # fmt: skip
PER_ROUTE = "envoy.filters.http.jwt_authn"
ROUTED: tuple[Case, ...] = (
    guarded("token-routes", (*(bearer(token(), path=p) for p in ("/off", "/named", "/wrong", "/")),
                             *(Ask(path=p) for p in ("/off", "/named", "/wrong", "/"))),
            requirement_map={"lenient": MISSING},
            routes=[to("one", "off", {"path": "/off"}, per={PER_ROUTE: typed("jwt_authn.v3.PerRouteConfig",
                disabled=True)}),
                    to("one", "named", {"path": "/named"}, per={
                        PER_ROUTE: typed("jwt_authn.v3.PerRouteConfig", requirement_name="lenient")}),
                    to("one", "wrong", {"path": "/wrong"}, per={
                        PER_ROUTE: typed("jwt_authn.v3.PerRouteConfig", requirement_name="zz")}), to()]),
    guarded("token-rules", (*(Ask(path=p) for p in ("/open", "/a", "/b", "/c?x=1")), bearer(token(), path="/a")),
            rules=[{"match": {"prefix": "/open"}}, {"match": {"path": "/a"}, "requires": P1},
                   {"match": {"safe_regex": {"regex": "/c.*"}}, "requirement_name": "r"}], requirement_map={"r": P1}),
    *(
        guarded(f"by-claim-{reroutes}".lower(), (*ROLES, Ask()), some(P1, MISSING), {
            "one": provider(payload_in_metadata="payload", clear_route_cache=reroutes)}, routes=[
                to("two", "admins", {"prefix": "/", "dynamic_metadata": [claim("role",
                    string_match={"exact": "admin"})["metadata"]]}),
                to("three", "nobody", {"prefix": "/", "dynamic_metadata": [
                    {**claim("role", present_match=True)["metadata"], "invert": True}]}), to("one", "rest")])
        for reroutes in (False, True)
    ),
    guarded("token-remote", (Ask(), bearer(token(), open=True), bearer(OLD1)), providers={"one": {
        "issuer": "one@test", "remote_jwks": {"http_uri": {"uri": "http://x/", "cluster": "empty", "timeout": "1s"}}}}),
    guarded("token-before-direct", (Ask(), bearer(token())), routes=[says(200)]),
)  # fmt: skip


def but(*without: str, **more: Any) -> dict[str, Any]:
    return {**{k: v for k, v in GOOD.items() if k not in without}, **more}


PEOPLE = tuple(bearer(token(claims)) for claims in (
    GOOD, but(exp=NOW + 300), but("exp"), but("sub"), but(sub="you"), but("exp", nbf=NOW - 10), but(sub=""),
    but(iat=NOW - 5000, exp=NOW + 300), but(sub="you", aud="z"), but("exp", aud="z"), but(exp=NOW - 900, sub="you"),
))  # fmt: skip
LIMITED = tuple(
    guarded(f"limited-{n}", (*PEOPLE, Ask()), providers={"one": provider(**limits)})
    for n, limits in enumerate((
        {"subjects": {"exact": "me"}}, {"subjects": {"prefix": "m"}}, {"subjects": {"safe_regex": {"regex": ".*"}}},
        {"require_expiration": True}, {"max_lifetime": "600s"}, {"max_lifetime": "0s"},
        {"max_lifetime": "600s", "require_expiration": True, "audiences": ["a"], "subjects": {"exact": "me"}},
    ))
)  # fmt: skip

CASES: tuple[Case, ...] = (*LIMITED, *SIGNED, *KEYS, *TIMED, *PLACED, *REQUIRED, *CHECKED, *CHANGED, *ROUTED)

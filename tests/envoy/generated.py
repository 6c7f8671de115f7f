"""Random Envoy listeners and random requests to them, small enough that requests often hit what was made."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from meshctl.envoy.query import Query
from tests.envoy import real_envoy as real
from tests.envoy.certificates import Pair

DOMAINS = ("a.com", "*.a.com", "b.a.com", "*", "a.*", "*.com", "c.com:8080", "b.*", "*-x.com", "c.com")
HOSTS = ("a.com", "A.com", "b.a.com", "x.b.a.com", "a.org", "b.net", "y-x.com", "-x.com", "c.com", "c.com:8080", "zz")
PATHS = (
    "/",
    "/a",
    "/a/",
    "/a/b",
    "/ab",
    "/A",
    "/a/b/c",
    "/a?x=1",
    "/a?x=2&y=3",
    "/a?z",
    "/a/../b",
    "/a/./b",
    "/%61/b",
    "/b",
)
VALUES = ("1", "12", "abc", "ABC", "-3", "")
NAMES = ("x-one", "x-two", "cookie", "content-type")


def pick(random: Random, *choices: Any) -> Any:
    """One of them."""
    return random.choice(choices)


def maybe(random: Random, share: float) -> bool:
    """True for a share of the calls."""
    return random.random() < share


@dataclass(frozen=True)
class Probe:
    """A request to send, as bytes and as a query."""

    query: Query
    payload: bytes
    client: Pair | None = None


# --- routes


def string_matcher(random: Random) -> dict[str, Any]:
    """A ``StringMatcher``."""
    kind = pick(random, "exact", "prefix", "suffix", "contains", "safe_regex")
    if kind == "safe_regex":
        return {"safe_regex": {"regex": pick(random, "[0-9]+", "a.*", "", "(1|abc)", ".*")}}
    value = pick(random, "1", "12", "abc", "b") if kind != "exact" else pick(random, *VALUES[:-1])
    return {kind: value, **({"ignore_case": True} if maybe(random, 0.2) else {})}


def header_matcher(random: Random) -> dict[str, Any]:
    """A ``HeaderMatcher`` of any kind, perhaps inverted."""
    found: dict[str, Any] = {"name": pick(random, "x-one", "x-two", ":method", ":path", ":authority", "X-One")}
    match pick(random, "string", "string", "range", "present", "absent"):
        case "string":
            found["string_match"] = string_matcher(random)
        case "range":
            found["range_match"] = {"start": pick(random, -5, 0, 10), "end": pick(random, 2, 13)}
        case "present":
            found["present_match"] = True
        case "absent":
            found["present_match"] = False
    if maybe(random, 0.3):
        found["invert_match"] = True
    if maybe(random, 0.3):
        found["treat_missing_header_as_empty"] = True
    return found


def route_match(random: Random) -> dict[str, Any]:
    """A ``RouteMatch``."""
    found: dict[str, Any] = {}
    match pick(random, "prefix", "prefix", "path", "path_separated_prefix", "safe_regex"):
        case "prefix":
            found["prefix"] = pick(random, "/", "/a", "/a/", "/A", "/b")
        case "path":
            found["path"] = pick(random, "/", "/a", "/a/b", "/ab")
        case "path_separated_prefix":
            found["path_separated_prefix"] = pick(random, "/a", "/a/b")
        case "safe_regex":
            found["safe_regex"] = {"regex": pick(random, "/a.*", "/[ab]", "/a", ".*b")}
    if maybe(random, 0.2) and "safe_regex" not in found:
        found["case_sensitive"] = False
    found["headers"] = [header_matcher(random) for _ in range(pick(random, 0, 0, 0, 1, 2))]
    if maybe(random, 0.15):
        query: dict[str, Any] = {"name": pick(random, "x", "y", "z")}
        query |= (
            {"present_match": True} if maybe(random, 0.4) else {"string_match": {"exact": pick(random, "1", "3", "")}}
        )
        if query.get("string_match") == {"exact": ""}:
            query["string_match"] = {"prefix": "1"}
        found["query_parameters"] = [query]
    if maybe(random, 0.1):
        found["grpc"] = {}
    if maybe(random, 0.1):
        found["cookies"] = [{"name": "k", "string_match": {"exact": "1"}}]
    if maybe(random, 0.1):
        share = pick(random, 0, 100)
        found["runtime_fraction"] = {"default_value": {"numerator": share, "denominator": "HUNDRED"}}
    return found


def action(random: Random) -> dict[str, Any]:
    """What a route does."""
    match pick(random, *["cluster"] * 6, "weighted", "header", "missing", "empty", "redirect", "direct"):
        case "cluster":
            return {"route": {"cluster": pick(random, *real.CLUSTERS)}}
        case "weighted":
            clusters = [{"name": name, "weight": pick(random, 0, 1, 3)} for name in real.CLUSTERS]
            clusters[0]["weight"] = 5
            return {"route": {"weighted_clusters": {"clusters": clusters}}}
        case "header":
            return {"route": {"cluster_header": "x-cluster"}}
        case "missing":
            code = pick(random, "SERVICE_UNAVAILABLE", "NOT_FOUND")
            return {"route": {"cluster": "nowhere", "cluster_not_found_response_code": code}}
        case "empty":
            return {"route": {"cluster": real.EMPTY}}
        case "redirect":
            return {"redirect": redirect(random)}
        case _:
            return {"direct_response": {"status": pick(random, 200, 418, 503)}}


def redirect(random: Random) -> dict[str, Any]:
    """A ``RedirectAction``."""
    found: dict[str, Any] = {"response_code": pick(random, "MOVED_PERMANENTLY", "FOUND", "PERMANENT_REDIRECT")}
    if maybe(random, 0.3):
        found["https_redirect"] = True
    if maybe(random, 0.4):
        found["host_redirect"] = "new.com"
    if maybe(random, 0.3):
        found["port_redirect"] = 8443
    match pick(random, "none", "path", "prefix", "regex"):
        case "path":
            found["path_redirect"] = pick(random, "/new", "/new?q=1")
        case "prefix":
            found["prefix_rewrite"] = "/p"
        case "regex":
            found["regex_rewrite"] = {"pattern": {"regex": "/(a+)"}, "substitution": "/x\\1"}
    if maybe(random, 0.3):
        found["strip_query"] = True
    return found


def route_config(random: Random) -> dict[str, Any]:
    """Virtual hosts without a domain twice; every route is named for its virtual host."""
    domains = list(DOMAINS)
    random.shuffle(domains)
    hosts = []
    for number in range(random.randint(1, 3)):
        mine = [domains.pop() for _ in range(random.randint(1, 2))]
        routes = [
            {"name": f"v{number}r{place}", "match": route_match(random), **action(random)}
            for place in range(random.randint(1, 4))
        ]
        host: dict[str, Any] = {"name": f"v{number}", "domains": mine, "routes": routes}
        if maybe(random, 0.08):
            host["require_tls"] = "ALL"
        hosts.append(host)
    found: dict[str, Any] = {"name": "generated", "virtual_hosts": hosts, "validate_clusters": False}
    if maybe(random, 0.5):
        found["ignore_port_in_host_matching"] = True
    return found


def headers(random: Random) -> tuple[tuple[str, str], ...]:
    """A few request headers, some twice."""
    found = [(pick(random, "x-one", "x-two"), pick(random, *VALUES)) for _ in range(pick(random, 0, 1, 1, 2, 3))]
    if maybe(random, 0.15):
        found.append(("cookie", pick(random, "k=1", "a=2; k=1", 'k="1"', "k=2")))
    if maybe(random, 0.1):
        found.append(("content-type", pick(random, "application/grpc", "application/grpc+proto", "application/grpcx")))
    if maybe(random, 0.2):
        found.append(("x-forwarded-for", pick(random, "127.0.0.9", "127.0.0.9, 10.0.0.1", "10.0.0.1,127.0.0.9", "zzz")))
    if maybe(random, 0.3):
        found.append(("x-cluster", pick(random, *real.CLUSTERS, "nowhere")))
    return tuple(found)


def request(random: Random, port: int) -> Probe:
    """A plain HTTP request to a listener."""
    host, path, method = pick(random, *HOSTS), pick(random, *PATHS), pick(random, "GET", "GET", "POST", "DELETE")
    sent = headers(random)
    query = Query(
        direction="gateway",
        address="127.0.0.1",
        port=port,
        host=host,
        path=path,
        method=method,
        headers=sent,
        source="127.0.0.1",
    )
    return Probe(query, real.http(method, path, host, sent))


def route_listener(random: Random, port: int, log: Path) -> dict[str, Any]:
    """One chain with a connection manager."""
    options: dict[str, Any] = {}
    if maybe(random, 0.6):
        options["normalize_path"] = True
    if maybe(random, 0.3):
        options["merge_slashes"] = True
    if maybe(random, 0.4):
        kinds = ("REJECT_REQUEST", "UNESCAPE_AND_REDIRECT", "UNESCAPE_AND_FORWARD")
        options["path_with_escaped_slashes_action"] = pick(random, *kinds)
    if maybe(random, 0.2):
        options["strip_any_host_port"] = True
    chain = {"name": f"chain-{port}", "filters": [real.manager(log, route_config(random), **options)]}
    return real.listener(f"routes-{port}", port, [chain], log)


# --- filter chains


def tls_socket(pair: Pair, trust: Path | None) -> dict[str, Any]:
    """A downstream TLS context; with trust, clients must have a certificate."""
    certificate = {"certificate_chain": {"filename": str(pair.certificate)}, "private_key": {"filename": str(pair.key)}}
    common: dict[str, Any] = {"tls_certificates": [certificate]}
    if trust is not None:
        common["validation_context"] = {"trusted_ca": {"filename": str(trust)}}
    kind = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
    config = real.any_type(kind, common_tls_context=common, require_client_certificate=trust is not None)
    return {"name": "envoy.transport_sockets.tls", "typed_config": config}


def chain_match(random: Random, port: int) -> dict[str, Any]:
    """A ``FilterChainMatch`` with a few criteria."""
    found: dict[str, Any] = {}
    if maybe(random, 0.3):
        found["destination_port"] = pick(random, port, port, port + 1)
    if maybe(random, 0.4):
        prefix = pick(random, ("127.0.0.1", 32), ("127.0.0.0", 8), ("127.0.0.0", 24), ("127.1.0.0", 16))
        prefix = ("0.0.0.0", 0) if maybe(random, 0.05) else prefix
        found["prefix_ranges"] = [{"address_prefix": prefix[0], "prefix_len": prefix[1]}]
    if maybe(random, 0.3):
        found["server_names"] = random.sample(["a.com", "*.a.com", "*.com", "b.a.com", "B.org"], random.randint(1, 2))
    if maybe(random, 0.4):
        found["transport_protocol"] = pick(random, "tls", "raw_buffer")
    if maybe(random, 0.35):
        found["application_protocols"] = random.sample(["h2", "http/1.1", "istio", "http/1.0"], random.randint(1, 2))
    if maybe(random, 0.15):
        found["source_type"] = pick(random, "SAME_IP_OR_LOOPBACK", "EXTERNAL")
    for key in ("source_prefix_ranges", "direct_source_prefix_ranges"):
        if maybe(random, 0.15):
            prefix = pick(random, ("127.0.0.1", 32), ("127.0.0.0", 24), ("127.0.0.0", 8))
            found[key] = [{"address_prefix": prefix[0], "prefix_len": prefix[1]}]
    return found


def chain(random: Random, name: str, match: Mapping[str, Any], log: Path, server: Pair, trust: Path) -> dict[str, Any]:
    """A filter chain that ends in HTTP or in TCP, with or without TLS."""
    direct = {"name": f"route-of-{name}", "match": {"prefix": "/"}, "direct_response": {"status": 200}}
    routes = {"name": f"routes-of-{name}", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [direct]}]}
    ends = real.manager(log, routes) if maybe(random, 0.7) else real.tcp_proxy(log, pick(random, *real.CLUSTERS))
    found: dict[str, Any] = {"name": name, "filters": [ends]}
    if match:
        found["filter_chain_match"] = dict(match)
    if maybe(random, 0.75 if match.get("transport_protocol") == "tls" else 0.15):
        found["transport_socket"] = tls_socket(server, trust if maybe(random, 0.3) else None)
    return found


def chain_listener(random: Random, port: int, log: Path, server: Pair, trust: Path) -> dict[str, Any]:
    """Several chains with inspectors; sometimes two chains are the same, which Envoy rejects."""
    matches = [chain_match(random, port) for _ in range(random.randint(2, 6))]
    chains = [chain(random, f"c{i}-{port}", m, log, server, trust) for i, m in enumerate(matches)]
    more: dict[str, Any] = {"listener_filters": []}
    for kind in ("tls", "http"):
        if maybe(random, 0.8):
            off = {"destination_port_range": {"start": port, "end": port + pick(random, 0, 1)}}
            disabled = pick(random, None, None, None, off, {"not_match": off}, {"or_match": {"rules": [off, off]}})
            more["listener_filters"].append(real.inspector(kind, disabled))
    if maybe(random, 0.5):
        more["default_filter_chain"] = chain(random, f"default-{port}", {}, log, server, trust)
    return real.listener(f"chains-{port}", port, chains, log, **more)


def connection(random: Random, port: int, clients: Sequence[tuple[Pair, str]]) -> Probe:
    """A connection of any kind: plain or TLS, HTTP or not, from and to several addresses."""
    tls = pick(random, "plaintext", "plaintext", "tls", "tls", "mtls")
    protocol = pick(random, "http", "http", "http", "tcp")
    pair, principal = random.choice(list(clients)) if tls == "mtls" else (None, None)
    query = Query(
        direction="gateway",
        address=pick(random, "127.0.0.1", "127.0.0.2", "127.1.2.3"),
        port=port,
        protocol=protocol,
        tls=tls,
        host="a.com",
        sni=pick(random, "a.com", "b.a.com", "x.y.a.com", "c.com", "b.org", "z") if tls != "plaintext" else None,
        alpn=random.choice([(), ("h2", "http/1.1"), ("http/1.1",), ("istio",)]) if tls == "tls" else ("istio",),
        source=pick(random, "127.0.0.1", "127.0.0.5", "127.2.0.1"),
        principal=principal,
    )
    if tls == "plaintext":
        query = replace(query, alpn=())
    payload = real.http("GET", "/", "a.com") if protocol == "http" else b"\x00\x01\x02 raw bytes \r\n\r\n"
    return Probe(query, payload, pair)


# --- policies


def rule(random: Random, leaves: Mapping[str, Any], depth: int, words: tuple[str, str, str, str]) -> dict[str, Any]:
    """A tree of and, or, not over some leaves; `words` are the names of the groups."""
    and_key, or_key, not_key, inner = words
    if depth and maybe(random, 0.5):
        parts = [rule(random, leaves, depth - 1, words) for _ in range(random.randint(1, 2))]
        match pick(random, "and", "or", "not"):
            case "and":
                return {and_key: {inner: parts}}
            case "or":
                return {or_key: {inner: parts}}
            case _:
                return {not_key: parts[0]}
    name = random.choice(sorted(leaves))
    return {name: leaves[name]}


def rbac(random: Random, port: int, principals: Sequence[str]) -> dict[str, Any]:
    """An RBAC filter with a few policies."""

    def permission() -> dict[str, Any]:
        leaves = {
            "any": True,
            "header": header_matcher(random),
            "url_path": {"path": {"prefix": pick(random, "/a", "/b")}},
            "destination_port": pick(random, port, port + 1),
            "destination_ip": {"address_prefix": "127.0.0.0", "prefix_len": 24},
            "requested_server_name": {"exact": ""},
        }
        return rule(random, leaves, 2, ("and_rules", "or_rules", "not_rule", "rules"))

    def principal() -> dict[str, Any]:
        leaves = {
            "any": True,
            "header": header_matcher(random),
            "authenticated": {"principal_name": {"exact": random.choice(list(principals))}},
            "direct_remote_ip": {"address_prefix": "127.0.0.5", "prefix_len": 32},
            "remote_ip": {"address_prefix": "127.0.0.0", "prefix_len": 24},
            "source_ip": {"address_prefix": "127.0.0.0", "prefix_len": 24},
            "url_path": {"path": {"exact": pick(random, "/a", "/a/b")}},
        }
        return rule(random, leaves, 2, ("and_ids", "or_ids", "not_id", "ids"))

    policies = {
        f"ns[test]-policy[p{number}]-rule[0]": {
            "permissions": [permission() for _ in range(random.randint(1, 2))],
            "principals": [principal() for _ in range(random.randint(1, 2))],
        }
        for number in range(random.randint(1, 3))
    }
    config = real.any_type(
        "envoy.extensions.filters.http.rbac.v3.RBAC",
        rules={"action": pick(random, "ALLOW", "DENY"), "policies": policies},
    )
    return {"name": "envoy.filters.http.rbac", "typed_config": config}


def policy_listener(
    random: Random, port: int, log: Path, filters: Sequence[Mapping[str, Any]], socket: Mapping[str, Any] | None
) -> dict[str, Any]:
    """A listener whose requests pass filters before a fixed route."""
    routes = [{"name": "only", "match": {"prefix": "/"}, "route": {"cluster": "one"}}]
    config = {"name": "policies", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]}
    options: dict[str, Any] = {"normalize_path": True} if maybe(random, 0.5) else {}
    if maybe(random, 0.5):
        options |= {"use_remote_address": maybe(random, 0.5), "xff_num_trusted_hops": pick(random, 0, 1, 2)}
    chain = {"name": f"chain-{port}", "filters": [real.manager(log, config, filters, **options)]}
    if socket is not None:
        chain["transport_socket"] = dict(socket)
    return real.listener(f"policies-{port}", port, [chain], log)


def tokens(key: Any, other: Any, now: int) -> list[tuple[str, str]]:
    """Headers with tokens of all sorts: valid, expired, early, foreign, forged, torn, none."""
    from base64 import urlsafe_b64encode

    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    def part(value: Any) -> str:
        return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    def token(claims: Mapping[str, Any], signer: Any = key, kid: str = "k1", alg: str = "RS256") -> str:
        told = f"{part({'alg': alg, 'kid': kid, 'typ': 'JWT'})}.{part(claims)}"
        signature = signer.sign(told.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{told}.{urlsafe_b64encode(signature).decode().rstrip('=')}"

    good = {"iss": "issuer@test", "sub": "me", "aud": ["a", "b"], "exp": now + 600, "role": "admin", "scope": "x y"}
    made = [
        token(good),
        token({**good, "aud": "z"}),
        token({**good, "exp": now - 600}),
        token({**good, "nbf": now + 600}),
        token({**good, "iss": "other@test"}),
        token({**good, "role": "guest"}),
        token(good, other),
        token(good, kid="k9"),
        token({"iss": "issuer@test", "aud": "a"}),
        "only.two",
        "a.b.c",
        token(good)[:-4] + "AAAA",
    ]
    return [("authorization", f"Bearer {each}") for each in made] + [("authorization", "Basic zzz")]


def jwks(key: Any) -> str:
    """The public half as a key set."""
    from base64 import urlsafe_b64encode

    numbers = key.public_key().public_numbers()

    def word(number: int) -> str:
        return urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).decode().rstrip("=")

    return json.dumps(
        {"keys": [{"kty": "RSA", "kid": "k1", "alg": "RS256", "n": word(numbers.n), "e": word(numbers.e)}]}
    )


def jwt(random: Random, keys: str) -> list[dict[str, Any]]:
    """A token filter with some requirement, and perhaps an RBAC filter on the claims that it leaves."""
    provider: dict[str, Any] = {
        "issuer": "issuer@test",
        "local_jwks": {"inline_string": keys},
        "payload_in_metadata": "payload",
        "normalize_payload_in_metadata": {"space_delimited_claims": ["scope"]},
    }
    if maybe(random, 0.4):
        provider["audiences"] = ["a"]
    wanted = {"provider_name": "one"}
    requires: dict[str, Any] = pick(
        random,
        wanted,
        {"requires_any": {"requirements": [wanted, {"allow_missing": {}}]}},
        {"requires_any": {"requirements": [wanted, {"allow_missing_or_failed": {}}]}},
        {"requires_all": {"requirements": [wanted]}},
        {"provider_and_audiences": {"provider_name": "one", "audiences": ["z"]}},
        {"allow_missing": {}},
        {"allow_missing_or_failed": {}},
    )
    rules: list[dict[str, Any]] = [{"match": {"prefix": pick(random, "/", "/a")}, "requires": requires}]
    if maybe(random, 0.3):
        rules.insert(0, {"match": {"path": "/b"}})
    kind = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
    config = real.any_type(kind, providers={"one": provider}, rules=rules, bypass_cors_preflight=maybe(random, 0.5))
    found = [{"name": "envoy.filters.http.jwt_authn", "typed_config": config}]
    return found + ([claims_rbac(random)] if maybe(random, 0.6) else [])


def claims_rbac(random: Random) -> dict[str, Any]:
    """An RBAC filter that looks at a token's claims, as Istio writes it for ``request.auth``."""
    claim, value = pick(random, ("role", "admin"), ("iss", "issuer@test"), ("scope", "y"), ("none", "x"))
    match: dict[str, Any] = {"string_match": {"exact": value}}
    if claim == "scope":
        match = {"list_match": {"one_of": match}}
    path = [{"key": "payload"}, {"key": claim}]
    metadata = {"filter": "envoy.filters.http.jwt_authn", "path": path, "value": match, "invert": maybe(random, 0.2)}
    policy = {"permissions": [{"any": True}], "principals": [{"metadata": metadata}]}
    rules = {"action": pick(random, "ALLOW", "DENY"), "policies": {"ns[test]-policy[claims]-rule[0]": policy}}
    config = real.any_type("envoy.extensions.filters.http.rbac.v3.RBAC", rules=rules)
    return {"name": "envoy.filters.http.rbac", "typed_config": config}


def fault(random: Random) -> dict[str, Any]:
    """A fault for all requests or for none, perhaps only with a header."""
    share = {"numerator": pick(random, 0, 100), "denominator": "HUNDRED"}
    found: dict[str, Any] = {"abort": {"http_status": pick(random, 503, 418), "percentage": share}}
    if maybe(random, 0.5):
        found["headers"] = [header_matcher(random)]
    if maybe(random, 0.3):
        found["upstream_cluster"] = pick(random, "one", "two")
    config = real.any_type("envoy.extensions.filters.http.fault.v3.HTTPFault", **found)
    return {"name": "envoy.filters.http.fault", "typed_config": config}

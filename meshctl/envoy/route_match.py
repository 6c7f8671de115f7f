"""When a route takes a request: path, headers, query, cookies, and what chance decides.

Source: Envoy, ``source/common/router/config_impl.cc`` (``RouteEntryImplBase::matchRoute``) and config/route/v3.
"""

from meshctl.envoy import metadata_match, strings
from meshctl.envoy.model.matching import NamedMatch, PathMatch, RouteMatch
from meshctl.envoy.reading import Json
from meshctl.envoy.request import Request

_UNJUDGED_MATCHES = ("filter_state",)


def parse(message: Json) -> RouteMatch:
    """Read a ``RouteMatch``."""
    tls = message.below("tls_context")
    return RouteMatch(
        path=_path_match(message),
        headers=tuple(strings.header_match(h) for h in message.each("headers")),
        query=tuple(strings.query_match(q) for q in message.each("query_parameters")),
        cookies=tuple(strings.cookie_match(c) for c in message.each("cookies")),
        fraction=strings.fraction(message.below("runtime_fraction")),
        grpc=message.has("grpc"),
        tls_presented=tls.flag("presented") if tls.has("presented") else None,
        tls_validated=tls.flag("validated") if tls.has("validated") else None,
        metadata=tuple(metadata_match.parse(each) for each in message.each("dynamic_metadata")),
        unsupported=tuple(key for key in _UNJUDGED_MATCHES if message.has(key)),
    )


def _path_match(message: Json) -> PathMatch:
    cased = message.flag("case_sensitive", True)
    for kind in ("prefix", "path", "path_separated_prefix"):
        if message.has(kind):
            return PathMatch(kind=kind, value=message.text(kind), case_sensitive=cased)
    if message.has("safe_regex"):
        return PathMatch(kind="regex", value=message.below("safe_regex").text("regex"))
    if message.has("connect_matcher"):
        return PathMatch(kind="connect")
    if message.has("path_match_policy"):
        config = message.at("path_match_policy", "typed_config")
        if config.has("path_template"):
            return PathMatch(kind="template", value=config.text("path_template"))
    return PathMatch(kind="unknown", value=", ".join(sorted(message.raw)) or "an empty match")


def holds(match: RouteMatch, request: Request) -> bool | None:
    """Whether a request fits, chance left out (see `chance`); None where it cannot be told."""
    verdicts = [path_holds(match.path, request)]
    if verdicts[0] is False:
        return False
    verdicts += [request.header_holds(h) for h in match.headers]
    verdicts += [strings.named_holds(q, request.query(q.name)) for q in match.query]
    verdicts += [_cookie_holds(c, request.cookie(c.name)) for c in match.cookies]
    if match.grpc:
        verdicts.append(request.is_grpc)
    if match.tls_presented is not None:
        verdicts.append(request.presented == match.tls_presented)
    if match.tls_validated is not None:
        verdicts.append(request.presented == match.tls_validated)
    verdicts += [metadata_match.holds(m, request.metadata) for m in match.metadata]
    verdicts += [None for _ in match.unsupported]
    return False if False in verdicts else None if None in verdicts else True


def _cookie_holds(match: NamedMatch, values: tuple[str, ...]) -> bool | None:
    """Whether a cookie matches: unlike a header, one that is missing fits an inverted matcher."""
    return strings.named_holds(match, values) if values else match.invert


def chance(match: RouteMatch) -> float:
    """The share of fitting requests that the route takes."""
    return 1.0 if match.fraction is None else match.fraction.share


def path_holds(match: PathMatch, request: Request) -> bool | None:
    """Whether the path, without its query, fits."""
    path, value = request.bare_path, match.value
    if request.method == "CONNECT" and match.kind != "connect":
        return False
    if not match.case_sensitive:
        path, value = path.lower(), value.lower()
    match match.kind:
        case "regex":
            return strings.regex_matches(match.value, request.bare_path)
        case "connect":
            return request.method == "CONNECT"
        case "prefix":
            return path.startswith(value)
        case "path":
            return path == value
        case "path_separated_prefix":
            return path == value or path.startswith(value + "/")
        case "template":
            return strings.template_matches(match.value, request.bare_path)
        case "unknown":
            return None


def path_shown(match: PathMatch) -> str:
    """A path match in words."""
    sign = {"prefix": f"{match.value}*", "path": match.value, "regex": f"~ {match.value}"}
    sign["path_separated_prefix"] = f"{match.value}[/*]"
    sign["connect"] = "CONNECT"
    shown = sign.get(match.kind, f"({match.kind}: {match.value})")
    return shown if match.case_sensitive else f"{shown} (any case)"


def shown(match: RouteMatch) -> str:
    """A route's whole match in words."""
    parts = [path_shown(match.path)]
    parts += [strings.named_shown(m) for m in match.headers]
    parts += [f"?{strings.named_shown(m)}" for m in match.query]
    parts += [f"cookie {strings.named_shown(m)}" for m in match.cookies]
    if match.grpc:
        parts.append("gRPC")
    if match.fraction is not None:
        parts.append(f"{match.fraction.share:.4g} of requests")
    if match.tls_presented is not None or match.tls_validated is not None:
        parts.append("TLS client certificate")
    parts += [f"metadata {m.filter} {'.'.join(m.path)}" for m in match.metadata]
    parts += [f"({key}: not known to meshctl)" for key in match.unsupported]
    return ", ".join(parts)

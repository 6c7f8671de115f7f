"""Whether a rule of a VirtualService fits a request; None where that cannot be told."""

import ipaddress
from collections.abc import Mapping

from meshctl.envoy.headers import by_name
from meshctl.envoy.request import JOINED
from meshctl.frozen import dataclass
from meshctl.istio.resource import host_fits, selects
from meshctl.istio.virtual_service import HttpMatch, HttpRule, L4Match, StringMatch
from meshctl.path.model import Request
from meshctl.path.retries import USUAL, Retrying, older, since
from meshctl.path.wire import server_name
from meshctl.withheld import REDACTED, begins


@dataclass(frozen=True, slots=True)
class Setting:
    """Where the rules are applied: the port called, the sending workload, and the names of the gateways it is.

    `address` is where the connection is to, empty where that is not known. `retrying` is for routes that say nothing.
    `each_value`: the proxy matches the values of a header one by one (see `meshctl.envoy.strings.named_holds`).
    """

    port: int
    namespace: str
    labels: Mapping[str, str]
    gateways: tuple[str, ...]
    address: str = ""
    retrying: Retrying = USUAL
    each_value: bool | None = None


def each_value(version: str) -> bool | None:
    """Whether the Envoy of an Istio release matches the values of a header one by one; None is not known.

    Envoy does from 1.39; Istio 1.29 comes with 1.37, and each release with the next.
    """
    if older(version, 30):
        return False
    return True if since(version, 31) else None


def http_fits(rule: HttpRule, request: Request, setting: Setting) -> bool | None:
    """Whether an HTTP rule fits: any of its matches does, or it has none."""
    verdicts = [_match_fits(match, request, setting) for match in rule.matches]
    if not verdicts or any(verdicts):
        return True
    return None if None in verdicts else False


def name_of(rule: HttpRule, request: Request, setting: Setting) -> str:
    """The name of the route that a rule which fits is: its own, with that of the match (``translateRoute``, 1.30)."""
    fitting = next((match for match in rule.matches if _match_fits(match, request, setting)), None)
    return f"{rule.name}.{fitting.name}" if fitting is not None and fitting.name else rule.name


def is_for(match: HttpMatch | L4Match, setting: Setting) -> bool:
    """Whether a proxy gets a match at all, which istiod says by its port, its labels and the gateway that it is."""
    if match.port is not None and match.port != setting.port:
        return False
    if match.gateways:
        named = any(gateway in setting.gateways for gateway in match.gateways)
        if isinstance(match, HttpMatch) or not named:  # with gateways the source is not looked at for HTTP
            return named
    same = not match.source_namespace or match.source_namespace == setting.namespace
    return same and selects(match.source_labels, setting.labels)


def _match_fits(match: HttpMatch, request: Request, setting: Setting) -> bool | None:
    headers = _headers(request)
    path, _, query = request.path.partition("?")
    asked = dict(part.partition("=")[::2] for part in reversed(query.split("&")) if part)
    tests: list[bool | None] = [
        match.uri is None or _holds(match.uri, path),
        match.method is None or _holds(match.method, request.method),
        match.authority is None or _holds(match.authority, request.host),
        match.scheme is None or _holds(match.scheme, "https" if request.tls else "http"),
        is_for(match, setting),
        *(_header(name, wanted, headers, request, setting) for name, wanted in match.headers),
        *(_not(_header(name, wanted, headers, request, setting)) for name, wanted in match.without_headers),
        *(_holds(wanted, asked.get(name)) for name, wanted in match.query),
        None if match.other else True,
    ]
    if any(test is False for test in tests):
        return False
    return None if None in tests else True


def _headers(request: Request) -> dict[str, tuple[str, ...]]:
    """Headers by name; of those that Envoy joins when they come twice there is one value."""
    return {n: (",".join(v),) if n in JOINED else v for n, v in by_name(request.headers).items()}


def preflight(rule: HttpRule, request: Request) -> bool | None:
    """Whether the rule's cross-origin policy makes the proxy answer the request itself (Envoy, cors filter)."""
    headers = _headers(request)
    origin, asked = (next(iter(headers.get(n, ())), "") for n in ("origin", "access-control-request-method"))
    if rule.origins is None or request.method != "OPTIONS" or not origin or not asked:
        return False
    verdicts = [_holds(wanted, text) for wanted in rule.origins for text in ("*", origin)]
    if True in verdicts or rule.all_preflights:
        return True
    return None if None in verdicts else False


def _header(
    name: str, wanted: StringMatch, headers: Mapping[str, tuple[str, ...]], request: Request, setting: Setting
) -> bool | None:
    """Whether a header fits; of one that comes twice each value for itself or, in older proxies, all with commas."""
    if name.startswith("@"):  # a claim of a token (``@request.auth.claims.…``), not a header
        return None
    if name in request.unsure:
        return None
    values = headers.get(name, ())
    if len(values) < 2:
        return _holds(wanted, next(iter(values), None))
    each = [_holds(wanted, value) for value in values]
    alone, together = True if True in each else None if None in each else False, _holds(wanted, ",".join(values))
    if setting.each_value is None:
        return alone if alone is together else None
    return alone if setting.each_value else together


def _not(verdict: bool | None) -> bool | None:
    return None if verdict is None else not verdict


def _holds(wanted: StringMatch, value: str | None) -> bool | None:
    if value is None:
        return False
    if REDACTED in wanted.value:  # a recording took a secret out of it
        return begins(wanted.value, value) if wanted.how in ("exact", "prefix") and not wanted.ignore_case else None
    left, right = (value.lower(), wanted.value.lower()) if wanted.ignore_case else (value, wanted.value)
    match wanted.how:
        case "present":
            return True
        case "exact":
            return left == right
        case "prefix":
            return left.startswith(right)
        case "path":
            whole = right.rstrip("/")
            return left == whole or left.startswith(f"{whole}/")
        case "regex":
            return _regex(wanted.value, value, wanted.ignore_case)


def _regex(pattern: str, value: str, ignore_case: bool) -> bool | None:
    import re2

    try:
        return re2.fullmatch(f"(?i){pattern}" if ignore_case else pattern, value) is not None
    except re2.error:
        return None


def l4_rank(match: L4Match, setting: Setting, request: Request) -> tuple[int, bool, int] | None:
    """How specific a match is that fits a connection, None for one that does not.

    Of several filter chains Envoy takes the one for the narrowest range of addresses, then the one for the most
    specific server name, whatever their order (``FilterChainManagerImpl``).
    """
    sni = server_name(request)
    ranges = [width for subnet in match.subnets if (width := _width(setting.address, subnet)) is not None]
    names = [name for name in match.sni if sni and host_fits(name, sni)]
    if (match.subnets and not ranges) or (match.sni and not names):
        return None
    exact, length = max(((not name.startswith("*"), len(name)) for name in names), default=(False, 0))
    return max(ranges, default=-1), exact, length


def _width(address: str, subnet: str) -> int | None:
    """The length of a subnet's prefix, None where the address is not in it."""
    try:
        network = ipaddress.ip_network(subnet, strict=False)
        return network.prefixlen if ipaddress.ip_address(address) in network else None
    except ValueError:
        return None

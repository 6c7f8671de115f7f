"""What Envoy makes of a request's headers before anything looks at them.

Source: Envoy, ``ConnectionManagerUtility::mutateRequestHeaders`` (1.20 to 1.40).
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_network

from meshctl.envoy import ip
from meshctl.envoy.model.managers import HttpManager
from meshctl.envoy.request import Request

Headers = Mapping[str, tuple[str, ...]]
_HOP_BY_HOP = ("keep-alive", "proxy-connection", "transfer-encoding", "x-envoy-internal")
_EDGE_ONLY = (
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-downstream-service-node",
)
_INTERNAL_ONLY = (
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-max-retries",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-force-trace",
    "x-envoy-ip-tags",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-retriable-status-codes",
    "x-envoy-retriable-header-names",
)
_MAYBE_INTERNAL = tuple(
    ip_network(prefix) for prefix in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "fc00::/7", "::1")
)


def by_name(sent: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Headers as they are sent, by their names in lower case; the codec takes the spaces around a value away."""
    found: dict[str, tuple[str, ...]] = {}
    for name, value in sent:
        found[name.lower()] = (*found.get(name.lower(), ()), value.strip(" \t"))
    return found


def in_pairs(headers: Headers) -> tuple[tuple[str, str], ...]:
    """The same as they are sent."""
    return tuple((name, value) for name, values in headers.items() for value in values)


def seen(manager: HttpManager, request: Request, *, http2: bool = False) -> Request:
    """The request with the headers that filters and routes see."""
    headers = {name: values for name, values in request.headers.items() if name not in _HOP_BY_HOP}
    if not replace(request, http=True).upgrade or request.method == "CONNECT":
        headers.pop("connection", None)
        headers.pop("upgrade", None)
    if not any("trailers" in value.lower() for value in headers.get("te", ())):
        headers.pop("te", None)
    unsettled = dict(request.unsettled)
    edge = manager.use_remote_address
    if edge and manager.trusted_hops == 0:
        headers.pop("x-forwarded-proto", None)
        unsettled.pop("x-forwarded-proto", None)
    remote, internal = _remote(manager, request), _internal(manager, request)
    removed = _INTERNAL_ONLY + (_EDGE_ONLY if edge else ())
    for name in removed if internal is False else ():
        headers.pop(name, None)
        unsettled.pop(name, None)
    if internal is None:
        unsettled |= {name: None for name in removed if name in headers}
        unsettled["x-envoy-internal"] = None
    if internal:
        headers["x-envoy-internal"] = ("true",)
    if edge:
        _at_the_edge(manager, request, headers, unsettled, remote, internal)
    if manager.generate_request_id and "x-request-id" not in headers:
        unsettled["x-request-id"] = True
    _client_certificate(manager, request, headers, unsettled)
    return replace(
        request,
        http=True,
        remote=remote,
        internal=internal,
        headers=headers,
        unsettled=unsettled,
        scheme=_scheme(request, headers, http2),
    )


def _scheme(request: Request, headers: Headers, http2: bool) -> str:
    """``:scheme``: HTTP/1 has none, so what a proxy in front said, where that is a scheme, else the connection's."""
    own = "https" if request.terminated else "http"
    said = next(iter(headers.get("x-forwarded-proto", ())), "").lower()
    return own if http2 or said not in ("http", "https") else said


def _at_the_edge(
    manager: HttpManager,
    request: Request,
    headers: dict[str, tuple[str, ...]],
    unsettled: dict[str, bool | None],
    remote: str | None,
    internal: bool | None,
) -> None:
    """What a proxy that takes the connection for the client's own (``use_remote_address``) adds and removes."""
    if internal is False and remote is not None:
        headers["x-envoy-external-address"] = (remote,)
    else:
        unsettled["x-envoy-external-address"] = None
    if manager.append_forwarded_for:
        if request.source is None or request.source in ("127.0.0.1", "::1"):
            unsettled["x-forwarded-for"] = True
        else:
            headers["x-forwarded-for"] = (",".join((*headers.get("x-forwarded-for", ()), request.source)),)
    if manager.generate_request_id and not manager.preserve_request_id and internal is not True:
        unsettled["x-request-id"] = True


def _client_certificate(
    manager: HttpManager, request: Request, headers: dict[str, tuple[str, ...]], unsettled: dict[str, bool | None]
) -> None:
    """``x-forwarded-client-cert``: taken off, passed on, or written anew."""
    if manager.client_cert in ("ALWAYS_FORWARD_ONLY", "4"):
        return
    if manager.client_cert in ("SANITIZE", "0") or not request.presented:
        headers.pop("x-forwarded-client-cert", None)
        unsettled.pop("x-forwarded-client-cert", None)
    elif manager.client_cert not in ("FORWARD_ONLY", "1"):
        unsettled["x-forwarded-client-cert"] = True


def _hops(request: Request) -> list[str]:
    values = ",".join(request.headers.get("x-forwarded-for", ()))
    return [hop.strip() for hop in values.split(",")] if values else []


def _remote(manager: HttpManager, request: Request) -> str | None:
    """The client's address as ``remote_ip`` means it: from X-Forwarded-For where that is trusted."""
    trusted = manager.trusted_hops - (1 if manager.use_remote_address else 0)
    if trusted >= 0 and "x-forwarded-for" in request.unsettled:
        return None
    hops = _hops(request)
    named = hops[-1 - trusted] if 0 <= trusted < len(hops) else ""
    return named if ip.parsed(named) is not None else request.source


def _internal(manager: HttpManager, request: Request) -> bool | None:
    """Whether the client counts as internal: one address alone, from a range that is (or may be) internal."""
    hops = _hops(request)
    if "x-forwarded-for" in request.unsettled:
        return None
    if manager.use_remote_address:
        if hops:
            return False
        address = request.source
    elif len(hops) != 1 or manager.trusted_hops:
        return False
    else:
        address = hops[0]
    found = ip.parsed(address) if address is not None else None
    if found is None:
        return None if address is None else False
    if manager.internal_ranges is not None:
        return any(ip.within(str(found), prefix) for prefix in manager.internal_ranges)
    return None if any(found in net for net in _MAYBE_INTERNAL if net.version == found.version) else False

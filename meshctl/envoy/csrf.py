"""Forged requests from other sites: requests that change something must come from where they go to.

Source: Envoy, extensions/filters/http/csrf/v3 and ``csrf_filter.cc``, 1.40. A route's own configuration replaces the
filter's.
"""

from meshctl.envoy import strings
from meshctl.envoy.model.filters import Csrf
from meshctl.envoy.reading import Json
from meshctl.envoy.request import Request

_CHANGES = frozenset(("POST", "PUT", "DELETE", "PATCH"))


def config(message: Json) -> Csrf:
    """Read ``CsrfPolicy``."""
    enabled = strings.fraction(message.below("filter_enabled"))
    return Csrf(
        share=enabled.share if enabled is not None else 1.0,
        origins=tuple(strings.string_match(m) for m in message.each("additional_origins")),
    )


def share_refused(policy: Csrf, request: Request) -> tuple[float | None, str]:
    """The share of such requests that are refused (403), and why; None where it cannot be told."""
    if policy.share == 0.0:
        return 0.0, "it is turned off here"
    if request.method not in _CHANGES:
        return 0.0, f"{request.method} changes nothing"
    if any(name in request.unsettled for name in ("origin", "referer")):
        return None, "where the request comes from is set by an earlier filter"
    origin = next(iter(request.values("origin")), "")
    source = _authority(origin or next(iter(request.values("referer")), ""))
    if not source or origin == "null":
        return policy.share, "nothing says where the request comes from"
    if source == _authority(f"{request.scheme}://{request.host}"):
        return 0.0, f"the request comes from {source}, where it goes to"
    fits = [strings.holds(m, source) for m in policy.origins]
    if True in fits:
        return 0.0, f"{source} is one of the other origins that are allowed"
    if None in fits:
        return None, f"whether the origin {source} is allowed cannot be told"
    return policy.share, f"the request comes from {source}, and goes to {request.host}"


def _authority(url: str) -> str:
    """Host and port of an absolute URL; anything else stays as it is."""
    scheme, found, rest = url.partition("://")
    return rest.partition("/")[0].partition("?")[0].rpartition("@")[2] or url if found and scheme else url

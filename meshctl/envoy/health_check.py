"""Health checks that a filter answers by itself.

Source: Envoy, extensions/filters/http/health_check/v3 and ``health_check.cc``.
"""

from meshctl.envoy import strings
from meshctl.envoy.model.filters import HealthCheck
from meshctl.envoy.rbac import all_of
from meshctl.envoy.reading import Json
from meshctl.envoy.request import Request


def config(message: Json) -> HealthCheck:
    """Read ``HealthCheck``; without headers it is about every request."""
    passes = message.flag("pass_through_mode")
    return HealthCheck(
        headers=tuple(strings.header_match(h) for h in message.each("headers")),
        passes=passes,
        keeps=passes and bool(message.seconds("cache_time")),
        counts=not passes and message.has("cluster_min_healthy_percentages"),
    )


def answered(check: HealthCheck, request: Request) -> tuple[bool | None, str]:
    """Whether the filter answers a request (with 200), and why; None where it cannot be told."""
    fits = all_of(request.header_holds(h) for h in check.headers)
    if check.passes and not check.keeps:
        return False, "health checks are passed on"
    if fits is False:
        return False, "no health check"
    if fits is None:
        return None, "whether the request is a health check cannot be told"
    if check.keeps:
        return None, "a health check: whether an answer to an earlier one is still kept cannot be told"
    if check.counts:
        return None, "a health check: the answer depends on how many hosts of some clusters are healthy"
    return True, "a health check, answered by the proxy itself"

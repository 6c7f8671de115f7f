"""Cross-origin requests: read a policy, and tell which preflight requests the proxy answers.

Source: Envoy, ``source/extensions/filters/http/cors/cors_filter.cc`` (1.20 to 1.40).
"""

from collections.abc import Iterable, Sequence

from meshctl.envoy import strings
from meshctl.envoy.model.filters import Cors
from meshctl.envoy.model.matching import StringMatch
from meshctl.envoy.reading import Json
from meshctl.envoy.request import Request


def config(message: Json) -> Cors:
    """Read a ``CorsPolicy`` (on a route), or the filter's own empty configuration."""
    others = message.flag("forward_not_matching_preflights") if message.has("forward_not_matching_preflights") else None
    return Cors(
        origins=tuple(_origins(message)),
        methods=message.text("allow_methods"),
        enabled=strings.fraction(message.below("filter_enabled")),
        passes_others=others,
    )


def _origins(message: Json) -> Iterable[StringMatch]:
    yield from (StringMatch("exact", origin) for origin in message.texts("allow_origin"))
    yield from (StringMatch("regex", regex) for regex in message.texts("allow_origin_regex"))
    yield from (strings.string_match(each) for each in message.each("allow_origin_string_match"))


def share_answered(policies: Sequence[Cors], request: Request) -> tuple[float | None, str]:
    """The share of such requests that the proxy answers itself, and why; None where it cannot be told.

    `policies` are those of the route, its virtual host and so on, the most specific first: the first decides whether
    there is a policy, and each field comes from the first that has it.
    """
    enabled = policies[0].enabled if policies else None
    share = 0.0 if not policies else 1.0 if enabled is None else enabled.share
    if not share:
        return 0.0, "the cross-origin policy is turned off" if policies else "no cross-origin policy is for this route"
    origin, asked = request.values("origin")[:1], request.values("access-control-request-method")[:1]
    if request.method != "OPTIONS" or not any(origin) or not any(asked):
        return 0.0, "no preflight request"
    matchers = next((policy.origins for policy in policies if policy.origins), ())
    fits = [strings.holds(m, text) for m in matchers for text in ("*", origin[0])]
    if True in fits:
        return share, f"a preflight request from {origin[0]} is answered by the proxy"
    if None in fits:
        return None, f"whether the origin {origin[0]} is allowed cannot be told"
    told = next((policy.passes_others for policy in policies if policy.passes_others is not None), True)
    if told:
        return 0.0, f"the origin {origin[0]} is not allowed: the preflight request is passed on"
    return share, f"the origin {origin[0]} is not allowed, and the proxy answers preflight requests of others as well"

"""Filters whose answer comes from elsewhere (a server, a script, a counter), and filters that change what others see.

What they answer is not modelled; whether they are asked at all is: turned off by a route, at run time, or by metadata.
Source: Envoy, extensions/filters/http/{ext_authz,ext_proc,lua,local_ratelimit,ratelimit,header_mutation}/v3.
"""

from collections.abc import Callable, Mapping

from meshctl.envoy import metadata_match, strings
from meshctl.envoy.model.filters import Elsewhere, Mutates
from meshctl.envoy.reading import Json


def external(message: Json) -> Elsewhere:
    """Read ``ExtAuthz``, of HTTP or of TCP."""
    enabled = strings.fraction(message.below("filter_enabled")) if message.has("filter_enabled") else None
    wanted = message.below("filter_enabled_metadata")
    only = metadata_match.parse(wanted) if wanted else None
    refuses = message.has("deny_at_disable")
    return Elsewhere(
        what="an external authorization server",
        share=1.0 if enabled is None or refuses else enabled.share,
        only=None if refuses else only,
    )


def _counted(message: Json) -> Elsewhere:
    """A local rate limit: unless told otherwise it is neither enabled nor enforced."""
    shares = [strings.fraction(message.below(key)) for key in ("filter_enabled", "filter_enforced")]
    share = 1.0 if message.has("token_bucket") else 0.0
    for each in shares:
        share *= each.share if each is not None else 0.0
    return Elsewhere(what="how many requests came before (a local rate limit)", share=share, replaces=True)


def counted_connections(message: Json) -> Elsewhere:
    """Read the network filter ``LocalRateLimit``."""
    enabled = message.below("runtime_enabled")
    share = 0.0 if enabled and not enabled.flag("default_value") else 1.0
    return Elsewhere(what="how many connections came before (a local rate limit)", share=share)


def _limited(message: Json) -> Elsewhere:
    return Elsewhere(what="a rate limit server", needs_limits=not message.has("rate_limits"), replaces=True)


def _off(what: str) -> Callable[[Json], Elsewhere]:
    """What a route says to such a filter: turned off, or else asked."""
    return lambda message: Elsewhere(what=what, share=0.0 if message.flag("disabled") else 1.0)


def _headers(message: Json) -> Mutates:
    changes = list(message.below("mutations").each("request_mutations"))
    removed = [each.text("remove") for each in changes]
    written = [each.at("append", "header").text("key") for each in changes]
    return Mutates("changes headers", tuple(name.lower() for name in (*removed, *written) if name))


READERS: Mapping[str, Callable[[Json], Elsewhere | Mutates]] = {
    "ext_authz.v3.ExtAuthz": external,
    "ext_authz.v3.ExtAuthzPerRoute": _off("an external authorization server"),
    "ext_proc.v3.ExternalProcessor": lambda _: Elsewhere(what="an external processor"),
    "ext_proc.v3.ExtProcPerRoute": _off("an external processor"),
    "lua.v3.Lua": lambda _: Elsewhere(what="a Lua script"),
    "lua.v3.LuaPerRoute": _off("a Lua script"),
    "local_ratelimit.v3.LocalRateLimit": _counted,
    "ratelimit.v3.RateLimit": _limited,
    "ratelimit.v3.RateLimitPerRoute": _limited,
    "header_mutation.v3.HeaderMutation": _headers,
    "header_mutation.v3.HeaderMutationPerRoute": _headers,
    "header_to_metadata.v3.Config": lambda _: Mutates("copies headers into metadata", metadata=True),
    "set_metadata.v3.Config": lambda _: Mutates("writes metadata", metadata=True),
    "ip_tagging.v3.IPTagging": lambda _: Mutates("tags the client's address", ("x-envoy-ip-tags",)),
}
"""By the end of their type, after ``envoy.extensions.filters.http.``."""

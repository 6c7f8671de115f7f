"""Scoped routes: the request's headers choose the route configuration.

Source: Envoy, ``source/common/router/scoped_config_impl.cc`` (``HeaderValueExtractorImpl::computeFragment``).
"""

from collections.abc import Sequence

from meshctl.envoy import route
from meshctl.envoy.model.basics import Opaque, Status
from meshctl.envoy.model.managers import Fragment, Scope, ScopedRoutes
from meshctl.envoy.reading import Deferred, Json
from meshctl.envoy.request import Request


def config(message: Json) -> ScopedRoutes:
    """Read ``ScopedRoutes`` of a connection manager."""
    listed = message.below("scoped_route_configurations_list")
    return ScopedRoutes(
        name=message.text("name"),
        fragments=tuple(_fragment(each) for each in message.below("scope_key_builder").each("fragments")),
        scopes=tuple(scope(each) for each in listed.each("scoped_route_configurations")) if listed else None,
        origin=message.origin,
    )


def _fragment(message: Json) -> Fragment | Opaque:
    if not message.has("header_value_extractor"):
        return Opaque(", ".join(sorted(message.raw)) or "an empty fragment", message.origin)
    header = message.below("header_value_extractor")
    element = header.below("element")
    return Fragment(
        header=header.text("name").lower(),
        separator=header.text("element_separator"),
        index=header.whole("index"),
        key=element.text("key") if element else None,
        key_separator=element.text("separator"),
    )


def scope(message: Json) -> Scope:
    """Read a ``ScopedRouteConfiguration``."""
    inline = message.below("route_configuration")
    return Scope(
        name=message.text("name"),
        key=tuple(each.text("string_key") for each in message.below("key").each("fragments")),
        routes=message.text("route_configuration_name"),
        inline=Deferred(lambda: route.config(inline, Status("active"), inline=True) if inline else None),
        on_demand=message.flag("on_demand"),
        origin=message.origin,
    )


def key(fragments: Sequence[Fragment | Opaque], request: Request) -> tuple[str, ...] | Opaque | None:
    """The scope that a request asks for; None where it lacks a part of the key, Opaque where it cannot be told."""
    found: list[str] = []
    for each in fragments:
        if isinstance(each, Opaque):
            return each
        if each.header in request.unsettled:
            return Opaque(f"the header {each.header}, which the proxy itself sets", None)
        part = _part(each, request)
        if part is None:
            return None
        found.append(part)
    return tuple(found)


def _part(fragment: Fragment, request: Request) -> str | None:
    values = request.values(fragment.header)
    if not values:
        return None
    words = values[0].split(fragment.separator) if fragment.separator else [values[0]]
    if fragment.key is None:
        return words[fragment.index] if fragment.index < len(words) else None
    for word in words:
        name, found, value = word.partition(fragment.key_separator)
        if name == fragment.key and found:
            return value
    return None

"""The request as a proxy sends it on: what filters left of it, with what the route adds and removes.

Source: Envoy, ``HeaderParser::evaluateHeaders`` and ``RouteEntryImplBase::finalizeRequestHeaders`` (1.20 to 1.40).
"""

from collections.abc import Mapping
from dataclasses import replace

from meshctl.envoy.model.header_changes import NO_CHANGES, AddedHeader, AppendAction, HeaderChanges
from meshctl.envoy.model.routes import Route, RouteConfig, Target, VirtualHost
from meshctl.envoy.reading import Json
from meshctl.envoy.request import Request

_ACTIONS: tuple[AppendAction, ...] = (
    "APPEND_IF_EXISTS_OR_ADD",
    "ADD_IF_ABSENT",
    "OVERWRITE_IF_EXISTS_OR_ADD",
    "OVERWRITE_IF_EXISTS",
)
_OWN: Mapping[str, None] = dict.fromkeys(
    (
        *("x-envoy-attempt-count", "x-envoy-expected-rq-timeout-ms", "x-envoy-decorator-operation"),
        *("x-envoy-original-path", "x-envoy-original-host", "x-envoy-peer-metadata", "x-envoy-peer-metadata-id"),
        *("traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled"),
    )
)
"""Headers that a proxy may add of its own accord."""
_UNREAD = "%raw%"
"""Stands for ``raw_value`` (bytes in base64): as little known as what Envoy fills in itself."""


def parse(message: Json) -> HeaderChanges:
    """Read ``request_headers_to_add`` and ``request_headers_to_remove`` of whatever has them."""
    removed = tuple(name.lower() for name in message.texts("request_headers_to_remove"))
    added = tuple(one for each in message.each("request_headers_to_add") if (one := _parsed(each)) is not None)
    return HeaderChanges(removed, added) if removed or added else NO_CHANGES


def added(name: str, text: str, action: AppendAction, *, keeps_empty: bool = False) -> AddedHeader | None:
    """A header with a value as it is written; None for nothing, which Envoy does not add."""
    value = None if "%" in text.replace("%%", "") else text.replace("%%", "%")
    return AddedHeader(name.lower(), value, action, keeps_empty) if value != "" or keeps_empty else None


def _parsed(message: Json) -> AddedHeader | None:
    header = message.below("header")
    action = message.choice("append_action", _ACTIONS[0], *_ACTIONS)
    if message.has("append"):  # before 1.23
        action = _ACTIONS[0] if message.flag("append") else "OVERWRITE_IF_EXISTS_OR_ADD"
    known = next((one for one in _ACTIONS if one == action), _ACTIONS[0])
    text = _UNREAD if header.has("raw_value") else header.text("value")
    return added(header.text("key"), text, known, keeps_empty=message.flag("keep_empty_value"))


def sent(request: Request, target: Target, route: Route, host: VirtualHost | None, config: RouteConfig) -> Request:
    """A request as one cluster of a route gets it."""
    levels = [route.header_changes, host.header_changes.get() if host else NO_CHANGES, config.header_changes]
    if config.specific_last:
        levels.reverse()
    levels.insert(0, target.header_changes)  # of a weighted cluster: always first (``WeightedClusterEntry``)
    headers, unsettled = dict(request.headers), dict(request.unsettled)
    for changes in levels:
        apply(changes, headers, unsettled)
    own = {name: sure for name, sure in _OWN.items() if name not in headers}
    headers["x-forwarded-proto"] = (request.forwarded_proto,)
    return replace(request, headers=headers, unsettled={**own, **unsettled})


def apply(changes: HeaderChanges, headers: dict[str, tuple[str, ...]], unsettled: dict[str, bool | None]) -> None:
    """Remove first; then each addition is judged by what is there, and what overwrites goes before what adds."""
    for name in changes.removed:
        headers.pop(name, None)
        unsettled.pop(name, None)
    told = [(one, _there(one.name, headers, unsettled)) for one in changes.added]
    for one, there in told:
        if one.action == "OVERWRITE_IF_EXISTS_OR_ADD" or (one.action == "OVERWRITE_IF_EXISTS" and there is True):
            _set(one, there, headers, unsettled)
        elif one.action == "OVERWRITE_IF_EXISTS" and there is None:
            unsettled[one.name] = None
    for one, there in told:
        if one.action == "APPEND_IF_EXISTS_OR_ADD" or (one.action == "ADD_IF_ABSENT" and there is not True):
            _append(one, there, headers, unsettled)


def _there(name: str, headers: Mapping[str, tuple[str, ...]], unsettled: Mapping[str, bool | None]) -> bool | None:
    return unsettled[name] if name in unsettled else bool(headers.get(name))


def _set(
    one: AddedHeader, there: bool | None, headers: dict[str, tuple[str, ...]], unsettled: dict[str, bool | None]
) -> None:
    if one.value is None:  # where that turns out to be empty, what was there stays
        unsettled[one.name] = True if there is True or one.keeps_empty else None
        return
    unsettled.pop(one.name, None)
    headers.pop(one.name, None)
    headers[one.name] = (one.value,)


def _append(
    one: AddedHeader, there: bool | None, headers: dict[str, tuple[str, ...]], unsettled: dict[str, bool | None]
) -> None:
    if one.value is None or one.name in unsettled:
        surely = one.value is not None or one.keeps_empty
        unsettled[one.name] = True if surely or there is True or unsettled.get(one.name) else None
    else:
        headers[one.name] = (*headers.get(one.name, ()), one.value)

"""A request's headers after a VirtualService's route changed them, as the next proxy gets them.

Source: ``processDestination`` and ``processWeightedDestination``, 1.30; Envoy makes the changes as
`meshctl.envoy.header_changes` says.
"""

from collections.abc import Iterable
from dataclasses import replace

from meshctl.envoy.header_changes import added, apply
from meshctl.envoy.headers import by_name, in_pairs
from meshctl.envoy.model.header_changes import HeaderChanges as Applied
from meshctl.istio.header_changes import HeaderChanges
from meshctl.istio.virtual_service import HttpRule
from meshctl.path.model import Request


def changed(rule: HttpRule, request: Request) -> Request:
    """The request with the changes of a rule and, where there is one destination alone, of that.

    What one of several destinations changes is not known before one is chosen.
    """
    parts = [rule.headers] if rule.headers is not None else []
    several = [d for d in rule.destinations if d.weight] if len(rule.destinations) > 1 else []
    if len(rule.destinations) == 1:
        parts.append(rule.destinations[0].headers)
    host = next((part.host for part in parts if part.host), "") or request.host
    unknown = {name for to in several for name in _touched(to.headers)}
    if host == request.host and any(to.headers.host not in ("", host) for to in several):
        unknown |= {"host", ":authority"}
    return with_changes(replace(request, host=host), parts, frozenset(unknown))


def with_changes(request: Request, parts: Iterable[HeaderChanges], unknown: frozenset[str] = frozenset()) -> Request:
    """The request with changes that are made together; `unknown` are headers that may have been changed before."""
    parts = tuple(parts)
    removed = tuple(name for part in parts for name in part.remove)
    put = (added(name, value, "OVERWRITE_IF_EXISTS_OR_ADD") for part in parts for name, value in part.put)
    more = (added(name, value, "APPEND_IF_EXISTS_OR_ADD") for part in parts for name, value in part.add)
    headers: dict[str, tuple[str, ...]] = by_name(request.headers)
    unsettled: dict[str, bool | None] = dict.fromkeys((*request.unsure, *unknown))
    apply(Applied(removed, tuple(one for one in (*put, *more) if one is not None)), headers, unsettled)
    return replace(request, headers=in_pairs(headers), unsure=tuple(sorted(unsettled)))


def _touched(changes: HeaderChanges) -> set[str]:
    return {*changes.remove, *(name for name, _ in (*changes.put, *changes.add))}

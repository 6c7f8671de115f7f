"""A request's headers after a VirtualService's route changed them, as the next proxy gets them.

Source: Envoy, ``HeaderParser::evaluateHeaders`` (removals come before additions) and ``finalizeRequestHeaders`` (a
weighted cluster's changes come before its route's); ``processDestination`` and ``processWeightedDestination``, 1.30.
"""

from collections.abc import Iterable
from dataclasses import replace

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
    headers, unsure = list(request.headers), {*request.unsure, *unknown}
    for name in (name for part in parts for name in part.remove):
        headers = [pair for pair in headers if pair[0].lower() != name]
        unsure.discard(name)
    for part in parts:
        for name, value in part.put:
            if not value:  # which Envoy takes for nothing to set
                continue
            headers = [pair for pair in headers if pair[0].lower() != name]
            unsure.discard(name)
            _set(headers, unsure, name, value)
        for name, value in part.add:
            _set(headers, unsure, name, value)
    return replace(request, headers=tuple(headers), unsure=tuple(sorted(unsure)))


def _set(headers: list[tuple[str, str]], unsure: set[str], name: str, value: str) -> None:
    """Add a value; what Envoy fills in itself is not known, but for a percent sign that is meant as one."""
    if "%" in value.replace("%%", ""):
        unsure.add(name)
    elif value:
        headers.append((name, value.replace("%%", "%")))


def _touched(changes: HeaderChanges) -> set[str]:
    return {*changes.remove, *(name for name, _ in (*changes.put, *changes.add))}

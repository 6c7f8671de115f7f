"""Matching dynamic metadata: what earlier filters found out about a request (``envoy.type.matcher.v3``)."""

from collections.abc import Iterable, Mapping, Sequence

from meshctl.envoy import strings
from meshctl.envoy.model.matching import MetadataMatch, ValueMatch
from meshctl.envoy.reading import Json

UNKNOWN = object()
"""Stands for a filter's metadata that cannot be told."""


def parse(message: Json) -> MetadataMatch:
    """Read a ``MetadataMatcher``."""
    return MetadataMatch(
        message.text("filter"),
        tuple(step.text("key") for step in message.each("path")),
        _value(message.below("value")),
        message.flag("invert"),
    )


def _value(message: Json) -> ValueMatch:
    if message.has("string_match"):
        return ValueMatch("string", match=strings.string_match(message.below("string_match")))
    if message.has("list_match"):
        return ValueMatch("one_of", (_value(message.below("list_match").below("one_of")),))
    if message.has("or_match"):
        return ValueMatch("or", tuple(_value(v) for v in message.below("or_match").each("value_matchers")))
    if message.has("present_match"):
        return ValueMatch("present", flag=message.flag("present_match"))
    if message.has("bool_match"):
        return ValueMatch("bool", flag=message.flag("bool_match"))
    if message.has("double_match"):
        number = message.below("double_match")
        span = number.below("range")
        low, high = (span.number("start") or 0.0, span.number("end") or 0.0) if span else (number.number("exact"), None)
        return ValueMatch("number", number=(low or 0.0, high))
    if message.has("null_match"):
        return ValueMatch("null")
    return ValueMatch("unknown")


def holds(match: MetadataMatch, metadata: Mapping[str, object] | None) -> bool | None:
    """Whether metadata matches; None where it is not known, or the matcher is of a kind that meshctl does not know."""
    if metadata is None or metadata.get(match.filter) is UNKNOWN:
        return None
    value: object = metadata.get(match.filter)
    for key in match.path:
        value = value.get(key) if isinstance(value, Mapping) else None
    verdict = _value_holds(match.value, value)
    return None if verdict is None else verdict != match.invert


def _value_holds(match: ValueMatch, value: object) -> bool | None:
    match match.kind:
        case "string":
            return isinstance(value, str) and match.match is not None and strings.holds(match.match, value)
        case "one_of":
            if not isinstance(value, Sequence) or isinstance(value, str):
                return False
            return _any(_value_holds(match.parts[0], each) for each in value)
        case "or":
            return _any(_value_holds(part, value) for part in match.parts)
        case "present":
            return value is not None and match.flag
        case "bool":
            return value is match.flag
        case "number":
            low, high = match.number
            if isinstance(value, bool) or not isinstance(value, int | float):
                return False
            return value == low if high is None else low <= value < high
        case "null":
            return False
        case "unknown":
            return None


def _any(verdicts: Iterable[bool | None]) -> bool | None:
    found = list(verdicts)
    return True if True in found else None if None in found else False

"""Matching text: string matchers, header, query and cookie matchers (``envoy.type.matcher.v3``), regular expressions.

Regular expressions are RE2, and match the whole text (Envoy, ``RegexMatcher``: "the entire value must match").
"""

import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from meshctl.envoy.model.matching import Fraction, NamedMatch, PresentMatch, RangeMatch, StringMatch
from meshctl.envoy.reading import Json
from meshctl.withheld import REDACTED, begins

_WHOLE = re.compile(r"\s*[+-]?[0-9]+\s*", re.ASCII)
_KINDS = ("exact", "prefix", "suffix", "contains")


def string_match(message: Json) -> StringMatch:
    """Read a ``StringMatcher``."""
    ignore_case = message.flag("ignore_case")
    for kind in _KINDS:
        if message.has(kind):
            return StringMatch(kind, message.text(kind), ignore_case)  # type: ignore[arg-type]
    if message.has("safe_regex"):
        return StringMatch("regex", message.at("safe_regex").text("regex"))
    if message.has("regex"):
        return StringMatch("regex", message.text("regex"))
    return StringMatch("unknown", ", ".join(sorted(message.raw)) or "nothing")


def header_match(message: Json) -> NamedMatch:
    """Read a ``HeaderMatcher``, in the forms of 1.12 (``exact_match`` ...) and of today (``string_match``)."""
    return NamedMatch(
        message.text("name").lower(),
        _header_kind(message),
        invert=message.flag("invert_match"),
        missing_is_empty=message.flag("treat_missing_header_as_empty"),
    )


def _header_kind(message: Json) -> StringMatch | RangeMatch | PresentMatch:
    if message.has("string_match"):
        return string_match(message.below("string_match"))
    for kind in _KINDS:
        if message.has(f"{kind}_match"):
            return StringMatch(kind, message.text(f"{kind}_match"))  # type: ignore[arg-type]
    if message.has("safe_regex_match"):
        return StringMatch("regex", message.below("safe_regex_match").text("regex"))
    if message.has("range_match"):
        span = message.below("range_match")
        return RangeMatch(span.whole("start"), span.whole("end"))
    if message.has("present_match"):
        return PresentMatch(message.flag("present_match"))
    known = {"name", "invert_match", "treat_missing_header_as_empty", "invertMatch", "treatMissingHeaderAsEmpty"}
    if unknown := sorted(set(message.raw) - known):
        return StringMatch("unknown", ", ".join(unknown))
    return PresentMatch()


def query_match(message: Json) -> NamedMatch:
    """Read a ``QueryParameterMatcher``: without a kind it asks for the parameter to be there."""
    if message.has("string_match"):
        return NamedMatch(message.text("name"), string_match(message.below("string_match")))
    return NamedMatch(message.text("name"), PresentMatch(message.flag("present_match", True)))


def cookie_match(message: Json) -> NamedMatch:
    """Read a ``CookieMatcher``."""
    match = string_match(message.below("string_match"))
    return NamedMatch(message.text("name"), match, invert=message.flag("invert_match"))


def fraction(message: Json) -> Fraction | None:
    """Read a ``RuntimeFractionalPercent`` or a ``FractionalPercent``; None where it is absent."""
    if not message:
        return None
    if message.has("default_value"):
        return Fraction(_share(message.below("default_value")))
    if message.has("runtime_key"):
        return Fraction(0.0)
    return Fraction(_share(message))


def _share(message: Json) -> float:
    kinds = {"HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000}
    whole = kinds.get(message.choice("denominator", "HUNDRED", *kinds), 100)
    return max(0.0, min(1.0, (message.number("numerator") or 0) / whole))


def percent(message: Json) -> float | None:
    """Read a ``FractionalPercent`` as 0..1; None where it is absent."""
    return _share(message) if message else None


@cache
def _compiled(pattern: str) -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error:
        return None


def regex_matches(pattern: str, text: str) -> bool | None:
    """Whether a whole text matches an RE2 expression; None where RE2 refuses the expression."""
    compiled = _compiled(pattern)
    return None if compiled is None else compiled.fullmatch(text) is not None


# A path's characters but for slashes (Envoy, ``uri_template_internal.cc``).
_SEGMENT = "[a-zA-Z0-9-._~%!$&'()+,;:@*=]"
_OPERATORS = re.compile(r"\*\*|\*|\{[^{}=]+(?:=(?P<inner>[^{}]*))?\}")


def template_matches(template: str, path: str) -> bool | None:
    """Whether a whole path fits a URI template: ``*`` is one segment, ``**`` any number, ``{name=...}`` one named."""
    return regex_matches(_of_template(template), path)


@cache
def _of_template(template: str) -> str:
    parts, done = [], 0
    for found in _OPERATORS.finditer(template):
        parts.append(re.escape(template[done : found.start()]))
        done = found.end()
        if found[0] in ("*", "**"):
            parts.append(_SEGMENT + "+" if found[0] == "*" else f"{_SEGMENT[:-1]}/]*")
        else:
            parts.append(_of_template(found["inner"] or "*"))
    return "".join([*parts, re.escape(template[done:])])


def regex_replace(pattern: str, substitution: str, text: str) -> str | None:
    r"""Replace every match as RE2's GlobalReplace does (``\1`` is a group); None where RE2 refuses the expression."""
    compiled = _compiled(pattern)
    parts = _SUBSTITUTION.findall(substitution)
    if compiled is None or "".join(parts) != substitution:
        return None

    def written(found: Any) -> str:
        return "".join(_written(part, found) for part in parts)

    try:
        return str(compiled.sub(written, text))
    except IndexError:
        return None


_SUBSTITUTION = re.compile(r"\\[0-9\\]|[^\\]+")


def _written(part: str, found: Any) -> str:
    if not part.startswith("\\"):
        return part
    return "\\" if part == "\\\\" else found.group(int(part[1])) or ""


def holds(match: StringMatch, text: str) -> bool | None:
    """Whether a text matches; None where the matcher is of an unknown kind, or where its secret was taken out."""
    value = match.value
    if REDACTED in value and match.kind not in ("any", "unknown"):
        return begins(value, text) if match.kind in ("exact", "prefix") and not match.ignore_case else None
    if match.ignore_case:
        value, text = value.lower(), text.lower()
    match match.kind:
        case "exact":
            return text == value
        case "prefix":
            return text.startswith(value)
        case "suffix":
            return text.endswith(value)
        case "contains":
            return value in text
        case "regex":
            return regex_matches(match.value, text)
        case "any":
            return True
        case "unknown":
            return None


def named_holds(match: NamedMatch, values: Iterable[str], *, each: bool | None = None) -> bool | None:
    """Whether a header, parameter or cookie with these values matches.

    Several values of a header are matched one by one (`each`, Envoy from 1.39), or joined by a comma (before); None is
    not known, and then both must agree. Source: Envoy, ``HeaderUtility::HeaderDataBaseImpl::matchesHeaders``: a value
    matcher never holds for a header that is missing, inverted or not, unless missing counts as empty.
    """
    found = list(values)
    if isinstance(match.match, PresentMatch):
        there = bool(found) or match.missing_is_empty
        return (there == match.match.present) != match.invert
    if not found and not match.missing_is_empty:
        return False
    verdicts = set()
    if each is not True or len(found) < 2:
        verdicts.add(_value_holds(match.match, ",".join(found)))
    if each is not False and len(found) > 1:
        single = [_value_holds(match.match, value) for value in found]
        verdicts.add(True if True in single else None if None in single else False)
    within = verdicts.pop() if len(verdicts) == 1 else None
    return None if within is None else within != match.invert


def _value_holds(match: StringMatch | RangeMatch, text: str) -> bool | None:
    return _in_range(match, text) if isinstance(match, RangeMatch) else holds(match, text)


def _in_range(span: RangeMatch, text: str) -> bool:
    return _WHOLE.fullmatch(text) is not None and span.start <= int(text) < span.end


def shown(match: StringMatch) -> str:
    """A string matcher in words."""
    match match.kind:
        case "exact":
            return f"= {match.value}"
        case "prefix":
            return f"{match.value}*"
        case "suffix":
            return f"*{match.value}"
        case "contains":
            return f"*{match.value}*"
        case "regex":
            return f"~ {match.value}"
        case "any":
            return "anything"
        case "unknown":
            return f"({match.value}: not known to meshctl)"


def named_shown(match: NamedMatch) -> str:
    """A header, query or cookie matcher in words."""
    sign = "not " if match.invert else ""
    match match.match:
        case PresentMatch(present):
            return f"{match.name} {'is' if present != match.invert else 'is not'} there"
        case RangeMatch(start, end):
            return f"{sign}{match.name} in [{start},{end})"
        case StringMatch() as text:
            return f"{sign}{match.name} {shown(text)}"

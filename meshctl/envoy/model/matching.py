"""How strings, headers, numbers, metadata and whole requests are compared."""

from typing import Literal

from meshctl.frozen import dataclass


@dataclass(frozen=True, slots=True)
class StringMatch:
    """``envoy.type.matcher.v3.StringMatcher``: `kind` unknown means a kind of matcher that meshctl does not know."""

    kind: Literal["exact", "prefix", "suffix", "contains", "regex", "any", "unknown"]
    value: str = ""
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class RangeMatch:
    """A header's integer value in ``[start, end)``."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PresentMatch:
    """Whether a header or parameter is there."""

    present: bool = True


@dataclass(frozen=True, slots=True)
class NamedMatch:
    """A match on a header, a query parameter or a cookie."""

    name: str
    match: StringMatch | RangeMatch | PresentMatch
    invert: bool = False
    missing_is_empty: bool = False


@dataclass(frozen=True, slots=True)
class Fraction:
    """A share of requests, 0..1."""

    share: float


@dataclass(frozen=True, slots=True)
class ValueMatch:
    """``ValueMatcher``: what a metadata value must be; ``one_of`` asks for one element of a list.

    `number` is exact, or in ``[first, second)``.
    """

    kind: Literal["string", "one_of", "or", "present", "bool", "number", "null", "unknown"]
    parts: tuple["ValueMatch", ...] = ()
    match: StringMatch | None = None
    flag: bool = True
    number: tuple[float, float | None] = (0.0, None)


@dataclass(frozen=True, slots=True)
class MetadataMatch:
    """A value that an earlier filter left in the request's dynamic metadata, e.g. a token's claim."""

    filter: str
    path: tuple[str, ...]
    value: ValueMatch
    invert: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PathMatch:
    """How a route looks at the path, without its query; `unknown` names a specifier that meshctl cannot judge."""

    kind: Literal["prefix", "path", "path_separated_prefix", "regex", "connect", "template", "unknown"]
    value: str = ""
    case_sensitive: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteMatch:
    """When a route takes a request: all of it must hold."""

    path: PathMatch
    headers: tuple[NamedMatch, ...] = ()
    query: tuple[NamedMatch, ...] = ()
    cookies: tuple[NamedMatch, ...] = ()
    fraction: Fraction | None = None
    grpc: bool = False
    tls_presented: bool | None = None
    tls_validated: bool | None = None
    metadata: tuple[MetadataMatch, ...] = ()
    unsupported: tuple[str, ...] = ()

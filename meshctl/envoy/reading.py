"""Reading Envoy's JSON: protobuf messages as the admin interface or ``istioctl proxy-config -o json`` prints them.

An absent field has its proto3 default. A field of the wrong type is broken input and raises BadInput with its JSON
path; a field that meshctl does not know is never looked at, so a newer Envoy's dump reads as well.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Generic, TypeVar

from meshctl.errors import BadInput
from meshctl.origin import Origin

T = TypeVar("T")


class Deferred(Generic[T]):
    """A part of a model, parsed when it is first asked for: one lookup reads a few of a dump's thousand parts."""

    __slots__ = ("_done", "_make", "_value")

    def __init__(self, make: Callable[[], T]) -> None:
        self._make: Callable[[], T] | None = make
        self._done = False

    @classmethod
    def of(cls, value: T) -> "Deferred[T]":
        """A part that is there already."""
        made = cls(lambda: value)
        made.get()
        return made

    def get(self) -> T:
        """The part, parsed once; BadInput where its JSON is broken."""
        if not self._done:
            assert self._make is not None
            self._value: T = self._make()
            self._done, self._make = True, None
        return self._value

    def __repr__(self) -> str:
        return f"Deferred({self._value!r})" if self._done else "Deferred(...)"


@cache
def camel(key: str) -> str:
    """A field's name in protobuf's other JSON form: ``route_config`` is ``routeConfig`` in istioctl's output."""
    head, *tail = key.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in tail)


class Json:
    """A message in the dump with the path to it; falsy where it is absent."""

    __slots__ = ("_key", "_parent", "_path", "raw", "source")

    def __init__(self, raw: Any, source: str, parent: "Json | None" = None, key: str | int = "") -> None:
        self.source = source
        self._parent = parent
        self._key = key
        self._path: str | None = None
        if type(raw) is dict:
            self.raw: dict[str, Any] = raw
            return
        self.raw = {}
        if raw is not None:
            raise self._broken("", "an object", raw)

    def __bool__(self) -> bool:
        return bool(self.raw)

    @property
    def path(self) -> str:
        """The JSON path, e.g. ``configs[2].dynamic_listeners[4].active_state``."""
        if self._path is None:
            above = self._parent.path if self._parent is not None else ""
            if isinstance(self._key, int):
                self._path = f"{above}[{self._key}]"
            else:
                self._path = f"{above}.{self._key}" if above and self._key else above or self._key
        return self._path

    @property
    def origin(self) -> Origin:
        """Where this message is."""
        return Origin(self.source, path=self.path)

    def _broken(self, key: str, wanted: str, value: object) -> BadInput:
        where = f"{self.path}.{key}" if key and self.path else key or self.path
        found = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}.get(type(value), "a number")
        return BadInput(f"{self.source}: {where} should be {wanted}, is {found}")

    def value(self, key: str) -> Any:
        """The raw value of a field in either spelling, None where absent."""
        found = self.raw.get(key)
        if found is None and "_" in key:
            found = self.raw.get(camel(key))
        return found

    def has(self, key: str) -> bool:
        """Whether a field is set: an empty message counts (``{}`` chooses a oneof's member)."""
        return self.value(key) is not None

    def text(self, key: str) -> str:
        """A string, empty where absent."""
        found = self.value(key)
        if found is None or isinstance(found, str):
            return found or ""
        raise self._broken(key, "a string", found)

    def flag(self, key: str, default: bool = False) -> bool:
        """A boolean, also one wrapped as ``{"value": true}``."""
        found = self.value(key)
        if isinstance(found, dict):
            found = found.get("value", False)
        if found is None:
            return default
        if isinstance(found, bool):
            return found
        raise self._broken(key, "a boolean", found)

    def number(self, key: str) -> float | None:
        """A number: protobuf writes 64-bit integers as strings, and wraps optional ones; None where absent."""
        found = self.value(key)
        if isinstance(found, dict) and set(found) <= {"value"}:
            found = found.get("value", 0)
        if found is None:
            return None
        if isinstance(found, str):
            try:
                found = float(found)
            except ValueError:
                raise self._broken(key, "a number", found) from None
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise self._broken(key, "a number", found)
        return found

    def whole(self, key: str, default: int = 0) -> int:
        """A whole number."""
        found = self.number(key)
        if found is None:
            return default
        try:
            return int(found)
        except (ValueError, OverflowError):
            raise self._broken(key, "a whole number", found) from None

    def seconds(self, key: str) -> float | None:
        """A duration (``"0.250s"``) in seconds; None where absent."""
        found = self.value(key)
        if found is None:
            return None
        if isinstance(found, str) and found.endswith("s"):
            try:
                return float(found[:-1])
            except ValueError:
                pass
        if isinstance(found, dict):
            inner = Json(found, self.source, self, key)
            return (inner.number("seconds") or 0) + (inner.number("nanos") or 0) / 1e9
        raise self._broken(key, "a duration", found)

    def choice(self, key: str, default: str, *numbered: str) -> str:
        """An enum's name; `numbered` are the names by number, for writers that print numbers."""
        found = self.value(key)
        if found is None:
            return default
        if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < len(numbered):
            return numbered[found]
        if isinstance(found, str | int) and not isinstance(found, bool):
            return str(found)
        raise self._broken(key, "an enum", found)

    def below(self, key: str) -> "Json":
        """The message in a field; falsy where it is absent or empty."""
        found = self.raw.get(key)
        if found is None and "_" in key:  # as `value`, which would cost a call for each of a dump's messages
            found = self.raw.get(camel(key))
        return Json(found, self.source, self, key)

    def at(self, *keys: str) -> "Json":
        """The message some fields further down."""
        found = self
        for key in keys:
            found = found.below(key)
        return found

    def values(self, key: str) -> list[Any]:
        """The raw list in a field; empty where absent."""
        found = self.value(key)
        if found is None:
            return []
        if isinstance(found, list):
            return found
        raise self._broken(key, "a list", found)

    def each(self, key: str) -> Iterator["Json"]:
        """The messages of a list."""
        holder = Json({}, self.source, self, key)
        for index, value in enumerate(self.values(key)):
            yield Json(value if value is not None else {}, self.source, holder, index)

    def texts(self, key: str) -> tuple[str, ...]:
        """The strings of a list."""
        found = self.values(key)
        for value in found:
            if not isinstance(value, str):
                raise self._broken(key, "a list of strings", value)
        return tuple(found)

    def map(self, key: str) -> Iterator[tuple[str, "Json"]]:
        """The messages of a map by their keys, which are names and have one spelling only."""
        holder = self.below(key)
        for name, value in holder.raw.items():
            yield name, Json(value, self.source, holder, name)


def type_name(message: Json) -> str:
    """What a typed config is, without the host of its type URL: ``envoy.extensions.filters.http.rbac.v3.RBAC``.

    A TypedStruct (``udpa.type.v1``, ``xds.type.v3``) names the type that it stands for.
    """
    url = message.text("@type")
    if url.endswith(("udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct")):
        url = message.text("type_url") or url
    return url.rpartition("/")[2]


def typed(message: Json) -> Json:
    """The fields of a typed config: a TypedStruct holds them under ``value``."""
    url = message.text("@type")
    if url.endswith(("udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct")):
        return message.below("value")
    return message

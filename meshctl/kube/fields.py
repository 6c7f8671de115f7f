"""Reading raw Kubernetes objects: every field may be missing or of the wrong type, and neither stops the reading."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from meshctl.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Flaw:
    """A field that is not what the API promises: kept verbatim (shortened), left out of the model."""

    path: str
    problem: str
    raw: str


_written = json.JSONEncoder(default=str, ensure_ascii=False).encode


def shown(value: object) -> str:
    """A raw value on one line, at most 200 characters."""
    text = value if isinstance(value, str) else _written(value)
    return text if len(text) <= 200 else text[:197] + "..."


_NOTHING: Mapping[str, Any] = {}


class Fields:
    """A raw mapping with the path to it; a field of the wrong type becomes a Flaw and reads as absent."""

    __slots__ = ("_key", "_parent", "flaws", "raw")

    def __init__(self, raw: object, path: str | int, flaws: list[Flaw], parent: "Fields | None" = None) -> None:
        self._key = path
        self._parent = parent
        self.flaws = flaws
        self.raw: Mapping[str, Any] = _NOTHING
        if type(raw) is dict or isinstance(raw, Mapping):  # the first test is the fast one
            self.raw = raw
        elif raw is not None:
            self.wrong(self.path, "a mapping", raw)

    @property
    def path(self) -> str:
        """The JSON path of this mapping; put together when it is asked for, since few are."""
        above = self._parent.path if self._parent is not None else ""
        if isinstance(self._key, int):
            return f"{above}[{self._key}]"
        return f"{above}.{self._key}" if above else self._key

    def wrong(self, path: str, wanted: str, value: object) -> None:
        """Keep what was found in place of what should have been there."""
        self.flaws.append(Flaw(path, f"should be {wanted}, is {_kind(value)}", shown(value)))

    def at(self, key: str) -> str:
        """The JSON path of a field of this mapping."""
        return f"{self.path}.{key}" if self.path else key

    def text(self, key: str) -> str:
        """A string, empty where absent."""
        value = self.raw.get(key)
        if value is None or isinstance(value, str):
            return value or ""
        self.wrong(self.at(key), "a string", value)
        return ""

    def number(self, key: str) -> int | None:
        """An integer, None where absent."""
        value = self.raw.get(key)
        if value is None or type(value) is int:
            return value
        if isinstance(value, float) and value.is_integer():
            return int(value)
        self.wrong(self.at(key), "a whole number", value)
        return None

    def flag(self, key: str) -> bool | None:
        """A boolean, None where absent."""
        value = self.raw.get(key)
        if value is None or isinstance(value, bool):
            return value
        self.wrong(self.at(key), "true or false", value)
        return None

    def time(self, key: str) -> datetime | None:
        """A moment with its time zone, None where absent."""
        value = self.raw.get(key)
        if value is None:
            return None
        moment = moment_of(value)
        if moment is None:
            self.wrong(self.at(key), "a time", value)
        return moment

    def below(self, key: str) -> "Fields":
        """The mapping under a key; empty where absent."""
        return Fields(self.raw.get(key), key, self.flaws, self)

    def has(self, key: str) -> bool:
        """Whether the key is there with anything but null."""
        return self.raw.get(key) is not None

    def each(self, key: str) -> Iterator["Fields"]:
        """The mappings in the list under a key; an entry that is no mapping becomes a Flaw."""
        values = self.values(key)
        if not values:
            return
        holder = Fields(None, key, self.flaws, self)
        for index, value in enumerate(values):
            if type(value) is dict or isinstance(value, Mapping):
                yield Fields(value, index, self.flaws, holder)
            else:
                self.wrong(f"{holder.path}[{index}]", "a mapping", value)

    def values(self, key: str) -> list[Any]:
        """The raw list under a key; empty where absent."""
        value = self.raw.get(key)
        if value is None or isinstance(value, list):
            return value or []
        if isinstance(value, tuple):
            return list(value)
        self.wrong(self.at(key), "a list", value)
        return []

    def texts(self, key: str) -> tuple[str, ...]:
        """The strings in the list under a key; numbers and booleans in it are shown as YAML writes them."""
        found = []
        for index, value in enumerate(self.values(key)):
            if isinstance(value, str):
                found.append(value)
                continue
            self.wrong(f"{self.at(key)}[{index}]", "a string", value)
            found.append(shown(value))
        return tuple(found)

    def strings(self, key: str) -> Mapping[str, str]:
        """The map of strings under a key (labels, annotations)."""
        raw = self.raw.get(key)
        if raw is None:
            return {}
        if not (type(raw) is dict or isinstance(raw, Mapping)):
            self.wrong(self.at(key), "a mapping", raw)
            return {}
        found = {}
        for name, value in raw.items():
            if isinstance(value, str) and isinstance(name, str):
                found[name] = value
            elif value is None:
                found[str(name)] = ""
            else:
                self.wrong(f"{self.at(key)}.{name}", "a string", value)
                found[str(name)] = shown(value)
        return found


def moment_of(value: object) -> datetime | None:
    """A time as Kubernetes or CRI writes it (RFC 3339, up to nanoseconds); None where it is none.

    PyYAML reads an unquoted time as a datetime already. The zero time of Go counts as absent.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime) or value.year < 1971:
        return None
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    return value


def _kind(value: object) -> str:
    match value:
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case _:
            return type(value).__name__

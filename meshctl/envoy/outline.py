"""Where the sections and resources of a config dump begin, so that one is parsed without the others.

A dump of a big mesh has thousands of resources; a request meets a handful. Nothing is guessed: a key with its quotes
and colon can only be a key, since a quote inside a string is escaped; what begins there is parsed by the JSON library
and must be what was looked for; and "not found" sends the caller to the whole section. So does a section that has
rejected or warming resources; a dump that is written in another way has no outline. The numbers are in
docs/decisions/008-outline.md.
"""

import json
import re
from bisect import bisect_right
from typing import Any, NamedTuple

from meshctl import json_text

_HEAD = re.compile(r'\s*\{\s*"configs"(:\s*)\[\s*(?=\{)')
_TAIL = re.compile(r"\s*\]\s*\}\s*")
_KIND = re.compile(r"v\d\w*\.(\w+?)ConfigDump\"")
_PLAIN = re.compile(r"[A-Za-z0-9 _.:|*/~@%+=,;$()!?#-]+")
_PORT = re.compile(r'"port_value":\s*(\d+)(?=[\s,}])')
_ANY = ('"error_state"', '"lastUpdated"')
_STATES = {
    "Clusters": (*_ANY, '"dynamic_warming_clusters"'),
    "Listeners": (*_ANY, '"warming_state"', '"draining_state"'),
}
_decoder = json.JSONDecoder()


class Held(NamedTuple):
    """A resource where it lies: the section, the list's key, the place in the list, and what holds it."""

    kind: str
    list: str
    place: int
    holder: dict[str, Any]


class _List(NamedTuple):
    """A section's long list: its key, each element's field that is the resource and what names it, the other list."""

    key: str
    resource: str
    name: str
    other: str


_LISTS = {
    "Clusters": _List("dynamic_active_clusters", "cluster", "name", "static_clusters"),
    "Endpoints": _List("dynamic_endpoint_configs", "endpoint_config", "cluster_name", "static_endpoint_configs"),
    "Listeners": _List("dynamic_listeners", "active_state", "name", "static_listeners"),
    "Routes": _List("dynamic_route_configs", "route_config", "name", "static_route_configs"),
}


class _Section(NamedTuple):
    kind: str
    number: int
    start: int
    end: int


class Outline:
    """A dump's text, and where its sections begin; make it with `outline`."""

    def __init__(self, text: str, colon: str, sections: tuple[_Section, ...]) -> None:
        self._text = text
        self._colon = colon
        self._sections = {section.kind: section for section in sections}
        self._starts: dict[str, tuple[int, ...]] = {}
        self._plain: dict[str, bool] = {}
        self._parsed: dict[int, Any] = {}

    def kinds(self) -> tuple[str, ...]:
        """The sections by kind, in order."""
        return tuple(self._sections)

    def section(self, kind: str) -> tuple[int, dict[str, Any]]:
        """A whole section with its number. Raises ValueError where it is broken."""
        found = self._sections[kind]
        value, end = self._read(found.start)
        if self._text[end : found.end].strip() != "," and not _TAIL.fullmatch(self._text, end):
            raise ValueError(f"section {kind} does not end where the next one begins")
        return found.number, value

    def plain(self, kind: str) -> bool:
        """Whether a section is spelled as Envoy does and has active resources only, none rejected or warming."""
        if kind not in self._plain:
            section, find = self._sections[kind], self._text.find
            self._plain[kind] = all(find(state, section.start, section.end) < 0 for state in _STATES.get(kind, _ANY))
        return self._plain[kind]

    def listed(self, kind: str, key: str) -> list[Any] | None:
        """A list of a section without the rest of it; None where the whole section has to tell."""
        section = self._sections[kind]
        if not self.plain(kind):
            return None
        if self._text.find(f'"{key}"', section.start, section.end) < 0:
            return []
        found = self.only(kind, key)
        return found if isinstance(found, list) else None

    def only(self, kind: str, key: str) -> Any:
        """The value of a key that is once in a section, at whatever depth; None where it is not, or has none."""
        section, token = self._sections.get(kind), f'"{key}"'
        if section is None:
            return None
        at = self._text.find(token, section.start, section.end)
        opened = at + len(token + self._colon)
        alone = at >= 0 and self._text.find(token, opened, section.end) < 0
        if not alone or self._text[at + len(token) : opened] != self._colon:
            return None
        try:
            return self._value(opened)
        except ValueError:
            return None

    def named(self, kind: str, name: str) -> Held | None:
        """The resource of a name; None where the whole document has to tell."""
        section, listed = self._sections.get(kind), _LISTS.get(kind)
        if section is None or listed is None or _PLAIN.fullmatch(name) is None:
            return None
        starts = self._elements(section, listed)
        token = f'"{listed.name}"{self._colon}"{name}"'
        if not starts or self._named_outside(token, section, starts):
            return None
        at = self._text.find(token, starts[0], starts[-1])
        while at >= 0:
            place = bisect_right(starts, at) - 1
            held = self._held(section, listed, starts, place)
            if held is None or _name(held, listed) == name:
                return held
            at = self._text.find(token, starts[place + 1], starts[-1])
        return None

    def _named_outside(self, token: str, section: _Section, starts: tuple[int, ...]) -> bool:
        """Whether a name stands in the section's other lists as well, which may come first."""
        find = self._text.find
        return find(token, section.start, starts[0]) >= 0 or find(token, starts[-1], section.end) >= 0

    def at_port(self, port: int) -> tuple[Held, ...] | None:
        """The listeners that name a port somewhere; None where the whole document has to tell."""
        section, listed = self._sections.get("Listeners"), _LISTS["Listeners"]
        if section is None:
            return None
        starts = self._elements(section, listed)
        first, last = (starts[0], starts[-1]) if starts else (section.end, section.end)
        ports = [(found.start(), found[1]) for found in _PORT.finditer(self._text, first, last)]
        if not starts or len(ports) != self._text.count('"port_value"', first, last):
            return None
        places = dict.fromkeys(bisect_right(starts, at) - 1 for at, number in ports if int(number) == port)
        found = [self._held(section, listed, starts, place) for place in places]
        return None if None in found else tuple(held for held in found if held is not None)

    def _elements(self, section: _Section, listed: _List) -> tuple[int, ...]:
        """Where the elements of a section's list begin, and at last what is behind it; empty where that is unsure."""
        if section.kind not in self._starts:
            self._starts[section.kind] = self._cut(section, listed)
        return self._starts[section.kind]

    def _cut(self, section: _Section, listed: _List) -> tuple[int, ...]:
        text, token = self._text, f'"{listed.resource}"{self._colon}{{'
        opening = f'"{listed.key}"{self._colon}['
        opened = text.find(opening, section.start, section.end) if self.plain(section.kind) else -1
        if opened < 0 or text.count(f'"{listed.key}"', section.start, section.end) != 1:
            return ()
        opened += len(opening)
        after = text.find(f'"{listed.other}"', opened, section.end)
        end = after if after >= 0 else section.end
        starts: list[int] = []
        at = text.find(token, opened, end)
        while at >= 0:
            start = text.rfind("{", starts[-1] + 1 if starts else opened, at)
            if start < 0 or not self._follows(start, opened, first=not starts):
                return ()
            starts.append(start)
            at = text.find(token, at + len(token), end)
        return (*starts, end) if starts else ()

    def _follows(self, start: int, opened: int, *, first: bool) -> bool:
        """Whether an element that begins here comes right after the list's beginning, or after another element."""
        before = self._text[max(opened, start - 200) : start].rstrip()
        return not before if first else before.endswith(",") and before[:-1].rstrip().endswith("}")

    def _held(self, section: _Section, listed: _List, starts: tuple[int, ...], place: int) -> Held | None:
        try:
            holder, end = self._value(starts[place]), self._end(starts[place])
        except ValueError:
            return None
        last = place == len(starts) - 2
        if not isinstance(holder.get(listed.resource), dict) or not (
            last or self._text[end : starts[place + 1]].strip() == ","
        ):
            return None
        return Held(section.kind, listed.key, place, holder)

    def _value(self, start: int) -> Any:
        return self._read(start)[0]

    def _end(self, start: int) -> int:
        return int(self._read(start)[1])

    def _read(self, start: int) -> Any:
        if start not in self._parsed:
            try:
                self._parsed[start] = _decoder.raw_decode(self._text, start)
            except RecursionError:
                raise json_text.too_deep() from None
        return self._parsed[start]


def _name(held: Held, listed: _List) -> object:
    return (held.holder if listed.resource == "active_state" else held.holder[listed.resource]).get(listed.name)


def outline(content: bytes | str) -> Outline | None:
    """The outline of a dump as Envoy writes it, on one line or on many; None for all others."""
    try:
        text = content if isinstance(content, str) else content.decode()
    except UnicodeDecodeError:
        return None
    head = _HEAD.match(text)
    if head is None:
        return None
    sections = _sections(text, head[1], head.end())
    if sections is None:
        return None
    found = Outline(text, head[1], sections)
    try:
        whole = _TAIL.fullmatch(text, found._end(sections[-1].start)) is not None
    except ValueError:
        return None
    return found if whole else None


def _sections(text: str, colon: str, first: int) -> tuple[_Section, ...] | None:
    token = f'"@type"{colon}"type.googleapis.com/envoy.admin.'
    places: list[tuple[int, str]] = []
    at = text.find(token, first)
    while at >= 0:
        start, kind = text.rfind("{", 0, at), _KIND.match(text, at + len(token))
        if kind is None or text[start + 1 : at].strip():
            return None
        places.append((start, kind[1]))
        at = text.find(token, at + len(token))
    named = text.count('"type.googleapis.com/envoy.admin.')
    if not places or places[0][0] != first or not len({kind for _, kind in places}) == len(places) == named:
        return None
    ends = [start for start, _ in places[1:]] + [len(text)]
    for end in ends[:-1]:
        before = text[end - 50 : end].rstrip()
        if not (before.endswith(",") and before[:-1].rstrip().endswith("}")):
            return None
    return tuple(_Section(kind, i, start, end) for i, ((start, kind), end) in enumerate(zip(places, ends, strict=True)))

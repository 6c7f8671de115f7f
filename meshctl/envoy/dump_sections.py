"""The sections of a dump, each parsed when it is asked for; what is wrong with a file that is none."""

import json
from collections.abc import Iterator, Mapping, Sequence

from meshctl import json_text
from meshctl.envoy import dump_shapes
from meshctl.envoy.outline import Outline
from meshctl.envoy.reading import Json, type_name
from meshctl.errors import BadInput

_SECTIONS = ("Bootstrap", "Clusters", "Endpoints", "Listeners", "Routes", "ScopedRoutes", "Secrets", "Ecds")


def _section(part: Json) -> str:
    """Which section a part of the dump is: by its type, else by its fields."""
    kind = type_name(part).rpartition(".")[2].removesuffix("ConfigDump")
    if kind in _SECTIONS:
        return kind
    fields = {"bootstrap": "Bootstrap", "dynamic_listeners": "Listeners", "dynamic_active_clusters": "Clusters"}
    fields |= {"dynamic_route_configs": "Routes", "dynamic_endpoint_configs": "Endpoints"}
    fields |= {"dynamic_active_secrets": "Secrets", "static_listeners": "Listeners", "static_clusters": "Clusters"}
    return next((name for key, name in fields.items() if part.has(key)), kind or "Unknown")


class Sections(Mapping[str, Sequence[Json]]):
    """The sections of a dump that has an outline, each parsed when it is asked for."""

    def __init__(self, outline: Outline, content: bytes | str, source: str) -> None:
        self._outline, self._content, self._source = outline, content, source
        self._parsed: dict[str, Sequence[Json]] = {}

    def __getitem__(self, kind: str) -> Sequence[Json]:
        if kind not in self._parsed:
            if kind not in self._outline.kinds():
                raise KeyError(kind)
            try:
                number, raw = self._outline.section(kind)
            except ValueError:  # to read it whole says what is broken, and where
                whole = sections(loaded(self._content, self._source), self._source)
                self._parsed = {one: whole.get(one, ()) for one in self._outline.kinds()}
                return self._parsed[kind]
            self._parsed[kind] = (Json(raw, self._source, Json({}, self._source, None, "configs"), number),)
        return self._parsed[kind]

    def __contains__(self, kind: object) -> bool:
        return kind in self._outline.kinds()

    def __iter__(self) -> Iterator[str]:
        return iter(self._outline.kinds())

    def __len__(self) -> int:
        return len(self._outline.kinds())


def sections(document: object, source: str) -> dict[str, list[Json]]:
    """The parts of a parsed dump by their section; BadInput where it is something else."""
    shaped = dump_shapes.as_dump(document)
    if isinstance(shaped, str):
        raise BadInput(f"{source}: not a config dump: it is {shaped}", hint=_HINT)
    sections: dict[str, list[Json]] = {}
    for part in Json(shaped, source).each("configs"):
        sections.setdefault(_section(part), []).append(part)
    return sections


_HINT = "make one with: kubectl exec POD -c istio-proxy -- pilot-agent request GET 'config_dump?include_eds'"


def loaded(content: bytes | str, source: str) -> object:
    """A dump as parsed JSON; BadInput names the place where it is broken."""
    try:
        return json_text.loads(content)
    except json.JSONDecodeError as error:
        if not content.strip():
            raise BadInput(f"{source}: it is empty", hint=_HINT) from error
        start = (content[:60] if isinstance(content, str) else content[:60].decode("latin-1")).strip()
        if not start.startswith(("{", "[")) and start.isprintable():
            raise BadInput(f"{source}: no JSON: it starts with '{start}'", hint=_HINT) from error
        raise BadInput(f"{source}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}", hint=_HINT) from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{source}: no JSON: byte {error.start} is not UTF-8", hint=_HINT) from error
    except ValueError as error:
        raise BadInput(f"{source}: not valid JSON: {error}", hint=_HINT) from error

"""A config dump as a store: indexed once, parsed piece by piece. The raw documents live here and nowhere else."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

from meshctl.envoy import bootstrap, cluster, dump_shapes, http_filters, listener, route, scoped, secret
from meshctl.envoy.model.basics import Direction, Failure, State, Status
from meshctl.envoy.model.clusters import Balance, Cluster, Endpoint
from meshctl.envoy.model.filters import HttpConfig, Missing
from meshctl.envoy.model.listeners import Listener
from meshctl.envoy.model.managers import Scope
from meshctl.envoy.model.routes import RouteConfig
from meshctl.envoy.model.state import Bootstrap, Extension, Secret
from meshctl.envoy.outline import Held, Outline, outline
from meshctl.envoy.reading import Json, type_name
from meshctl.errors import BadInput

T = TypeVar("T")
_WHO = re.compile(r'(?i)rbac\.v\d|"(direct_?)?source_?(prefix|port|type|ip)|matcher"|"source"')
_SECTIONS = ("Bootstrap", "Clusters", "Endpoints", "Listeners", "Routes", "ScopedRoutes", "Secrets", "Ecds")


class ConfigDump:
    """One proxy's configuration. Make it with `parse`; every method parses what it returns once and keeps it."""

    def __init__(self, sections: "Mapping[str, Sequence[Json]]", source: str, outline: Outline | None = None) -> None:
        self.source = source
        self._sections = sections
        self._outline = outline
        self._listeners: dict[str, _Entry] | None = None
        self._clusters: dict[str, _Entry] | None = None
        self._routes: dict[str, _Entry] | None = None
        self._endpoints: dict[str, Json] | None = None
        self._made: dict[tuple[str, str], Any] = {}
        self._places: dict[int, tuple[Listener, ...]] = {}

    def has(self, section: str) -> bool:
        """Whether the dump has a section (``Routes``, ``Endpoints`` ...): one that is filtered out says nothing."""
        return section in self._sections

    # --- listeners

    def listeners(self) -> tuple[Listener, ...]:
        """All listeners, static ones first; a rejected one that never worked has the state ``rejected``."""
        return tuple(self._listener(name, entry) for name, entry in self._listener_index().items())

    def listener(self, name: str) -> Listener | None:
        """One listener by name."""
        entry = self._found("Listeners", name, self._listeners, self._listener_index)
        return self._listener(name, entry) if entry is not None else None

    def serving(self, port: int | None = None) -> tuple[Listener, ...]:
        """The listeners that take connections now, all or those of a port; only these are parsed."""
        if port is not None and port in self._places:
            return self._places[port]
        index = self._listener_index() if port is None or self._listeners is not None else self._at_port(port)
        found = tuple(
            self._listener(name, entry)
            for name, entry in index.items()
            if entry.state in ("static", "active") and (port is None or port in _ports(entry.message))
        )
        if port is not None:
            self._places[port] = found
        return found

    def _at_port(self, port: int) -> "Mapping[str, _Entry]":
        """The listeners that may have a port; all where the outline cannot tell."""
        held = self._outline.at_port(port) if self._outline is not None else None
        if held is None:
            return self._listener_index()
        found: dict[str, _Entry] = {}
        for each in self._static_listeners():
            _keep(found, each, "listener", "static")
        for one in held:
            _keep_states(found, self._message(one))
        return found

    def entry(self, direction: Direction) -> Listener | None:
        """The listener that redirected connections of a direction reach; by Istio's name for it where there is one."""
        name = listener.ENTRIES.get(direction, "")
        known = self._found("Listeners", name, self._listeners, self._listener_index)
        if known is not None and known.state in ("static", "active"):
            return self._listener(name, known)
        return listener.entry(self.serving(), direction)

    def asks_who(self, direction: Direction) -> bool:
        """Whether what redirected connections of a direction meet may depend on who opened them.

        That is so with RBAC, chains by source and matcher trees; other parts of the model do not look at the sender.
        """
        found = self.entry(direction)
        if found is None:
            return True
        entry = self._found("Listeners", found.name, self._listeners, self._listener_index)
        raw = entry.message.raw if entry is not None else {}
        return self._once("asks who", found.name, lambda: _WHO.search(json.dumps(raw)) is not None)

    def rejected(self) -> tuple[Listener, ...]:
        """The listeners that Envoy refused and that never worked."""
        if self._outline is not None and "Listeners" in self._sections and self._outline.plain("Listeners"):
            return ()
        index = self._listener_index()
        return tuple(self._listener(name, entry) for name, entry in index.items() if entry.state == "rejected")

    def _listener(self, name: str, entry: "_Entry") -> Listener:
        return self._once("listener", name, lambda: listener.listener(entry.message, entry.status))

    def _listener_index(self) -> "Mapping[str, _Entry]":
        if self._listeners is None:
            self._listeners = {}
            for section in self._sections.get("Listeners", ()):
                for each in section.each("static_listeners"):
                    _keep(self._listeners, each, "listener", "static")
                for each in section.each("dynamic_listeners"):
                    _keep_states(self._listeners, each)
        return self._listeners

    # --- routes

    def route_configs(self) -> tuple[RouteConfig, ...]:
        """All route configurations by name, those that came by RDS first."""
        return tuple(self._route_config(name, entry) for name, entry in self._route_index().items())

    def route_config(self, name: str) -> RouteConfig | None:
        """One route configuration that came by RDS."""
        entry = self._found("Routes", name, self._routes, self._route_index)
        return self._route_config(name, entry) if entry is not None and entry.state != "static" else None

    def _route_config(self, name: str, entry: "_Entry") -> RouteConfig:
        static = entry.state == "static"
        return self._once("route", name, lambda: route.config(entry.message, entry.status, inline=static))

    def _route_index(self) -> "Mapping[str, _Entry]":
        if self._routes is None:
            self._routes = {}
            for section in self._sections.get("Routes", ()):
                for each in section.each("dynamic_route_configs"):
                    _keep(self._routes, each, "route_config", "active")
                for number, each in enumerate(section.each("static_route_configs")):
                    _keep(self._routes, each, "route_config", "static", f"inline#{number}")
        return self._routes

    # --- clusters

    def clusters(self) -> tuple[Cluster, ...]:
        """All clusters, static ones first."""
        return tuple(self._cluster(name, entry) for name, entry in self._cluster_index().items())

    def cluster(self, name: str) -> Cluster | None:
        """One cluster by name; one that is still warming is not there yet for requests (see its status)."""
        entry = self._found("Clusters", name, self._clusters, self._cluster_index)
        return self._cluster(name, entry) if entry is not None else None

    def _cluster(self, name: str, entry: "_Entry") -> Cluster:
        return self._once("cluster", name, lambda: cluster.cluster(entry.message, entry.status))

    def _cluster_index(self) -> "Mapping[str, _Entry]":
        if self._clusters is None:
            self._clusters = {}
            kinds: tuple[tuple[str, State], ...] = (
                ("static_clusters", "static"),
                ("dynamic_active_clusters", "active"),
                ("dynamic_warming_clusters", "warming"),
            )
            for section in self._sections.get("Clusters", ()):
                for key, state in kinds:
                    for each in section.each(key):
                        _keep(self._clusters, each, "cluster", state)
        return self._clusters

    def endpoints(self, wanted: Cluster) -> tuple[Endpoint, ...] | None:
        """A cluster's hosts as configured: EDS, static, or DNS names; None where the dump does not hold them."""
        inline = wanted.inline_endpoints.get()
        if wanted.type != "EDS" and inline:
            return inline
        name = wanted.service_name or wanted.name
        found = self._assignment(name)
        if found is not None:
            return self._once("endpoints", name, lambda: cluster.assignment(found))
        if wanted.type in ("STATIC", "EDS") and (self.has("Endpoints") or wanted.type == "STATIC"):
            return inline
        return None

    def _assignment(self, name: str) -> Json | None:
        held = self._outline.named("Endpoints", name) if self._outline is not None and self._endpoints is None else None
        if held is not None:
            return self._message(held).below("endpoint_config")
        return self._endpoint_index().get(name)

    def balance(self, wanted: Cluster) -> Balance:
        """What the control plane says about a cluster's hosts as a whole."""
        found = self._assignment(wanted.service_name or wanted.name) if wanted.type == "EDS" else None
        return wanted.inline_balance.get() if found is None else cluster.balance(found)

    def _endpoint_index(self) -> Mapping[str, Json]:
        if self._endpoints is None:
            self._endpoints = {}
            for section in self._sections.get("Endpoints", ()):
                for key in ("dynamic_endpoint_configs", "static_endpoint_configs"):
                    for each in section.each(key):
                        config = each.below("endpoint_config")
                        self._endpoints.setdefault(config.text("cluster_name"), config)
        return self._endpoints

    # --- the rest

    def secrets(self) -> tuple[Secret, ...]:
        """The names and states of secrets; their content is never looked at."""
        return tuple(found for part in self._sections.get("Secrets", ()) for found in secret.secrets(part))

    def extensions(self) -> tuple[Extension, ...]:
        """Filter configurations that came by themselves (ECDS)."""
        return tuple(
            Extension(
                name=config.text("name"),
                type=type_name(config.below("typed_config")),
                status=_Entry(each, "ecds_filter", "active").status,
                origin=each.origin,
            )
            for part in self._sections.get("Ecds", ())
            for each in part.each("ecds_filters")
            for config in (each.below("ecds_filter"),)
        )

    def extension(self, name: str) -> HttpConfig | Missing | None:
        """A filter's configuration that came by itself; None where the dump does not say what came."""
        for part in self._sections.get("Ecds", ()):
            for each in part.each("ecds_filters"):
                found = each.below("ecds_filter")
                if found.text("name") == name:
                    return self._once("extension", name, lambda found=found: http_filters.extension(found))  # type: ignore[misc]
        return Missing(name) if self.has("Ecds") else None

    def scopes(self, name: str) -> tuple[Scope, ...] | None:
        """The scopes of a name that came by SRDS; None where the dump does not hold them."""
        parts = self._sections.get("ScopedRoutes", ())
        named = [each for part in parts for each in part.each("dynamic_scoped_route_configs")]
        found = [each for each in named if each.text("name") == name]
        return (
            tuple(scoped.scope(one) for each in found for one in each.each("scoped_route_configs")) if found else None
        )

    def scoped_routes(self) -> tuple[str, ...]:
        """The names of the scoped route configurations."""
        keys = ("inline_scoped_route_configs", "dynamic_scoped_route_configs")
        parts = self._sections.get("ScopedRoutes", ())
        return tuple(each.text("name") for part in parts for key in keys for each in part.each(key))

    def versions(self) -> Mapping[str, str]:
        """The version of the whole of each section that has one (listeners and clusters, from xDS)."""
        told = {name: part.text("version_info") for name, parts in self._sections.items() for part in parts}
        return {name: version for name, version in told.items() if version}

    def troubles(self) -> tuple[tuple[str, str, Status], ...]:
        """Kind, name and status of every listener, route configuration and cluster that is rejected or only warming."""
        indexes = (
            ("listener", self._listener_index()),
            ("routes", self._route_index()),
            ("cluster", self._cluster_index()),
        )
        found = ((kind, name, entry.status) for kind, index in indexes for name, entry in index.items())
        return tuple(
            t for t in found if t[2].failure or t[2].state not in ("static", "active") or "warming" in t[2].also
        )

    def bootstrap(self) -> Bootstrap:
        """Who the proxy is; empty where the dump has no bootstrap."""
        parts = self._sections.get("Bootstrap", ())
        return self._once("bootstrap", "", lambda: bootstrap.bootstrap(parts[0] if parts else Json({}, self.source)))

    # --- what is found without reading the rest

    def _found(
        self,
        section: str,
        name: str,
        index: "Mapping[str, _Entry] | None",
        whole: "Callable[[], Mapping[str, _Entry]]",
    ) -> "_Entry | None":
        """A resource's entry: from the index where there is one, else from where the outline finds it."""
        held = self._outline.named(section, name) if self._outline is not None and index is None else None
        if held is None:
            return whole().get(name)
        found: dict[str, _Entry] = {}
        if section == "Listeners":
            _keep_states(found, self._message(held))
        else:
            _keep(found, self._message(held), "cluster" if section == "Clusters" else "route_config", "active")
        return found.get(name)

    def _message(self, held: Held) -> Json:
        """What holds a resource, with the path that it has in the whole document."""
        listed = Json({}, self.source, self._section_of(held.kind, {}), held.list)
        return Json(held.holder, self.source, listed, held.place)

    def _section_of(self, kind: str, fields: dict[str, Any]) -> Json:
        """Some fields of a section, with the path that they have in the whole document."""
        number = self._outline.kinds().index(kind) if self._outline is not None else 0
        return Json(fields, self.source, Json({}, self.source, None, "configs"), number)

    def _static_listeners(self) -> Iterator[Json]:
        key = "static_listeners"
        alone = self._outline.listed("Listeners", key) if self._outline is not None else None
        if alone is None:
            for part in self._sections.get("Listeners", ()):
                yield from part.each(key)
        else:
            yield from self._section_of("Listeners", {key: alone}).each(key)

    def _once(self, kind: str, name: str, make: Callable[[], T]) -> T:
        key = (kind, name)
        if key not in self._made:
            self._made[key] = make()
        return cast(T, self._made[key])


class _Entry:
    """Where a resource is in the document; read when it is asked for. `holder` has its version and its error."""

    __slots__ = ("also", "error", "holder", "key", "state")

    def __init__(self, holder: Json, key: str, state: State, error: Json | None = None) -> None:
        self.holder = holder
        self.key = key
        self.state: State = state
        self.error = error if error is not None else holder
        self.also: tuple[State, ...] = ()

    @property
    def message(self) -> Json:
        """The resource; of a rejected one what Envoy was given."""
        if self.state == "rejected":
            return self.error.below("error_state").below("failed_configuration")
        return self.holder.below(self.key)

    @property
    def status(self) -> Status:
        """Its version, and what became of later ones."""
        failure = self.error.below("error_state")
        told = Failure(failure.text("details"), failure.text("version_info"), failure.text("last_update_attempt"))
        holder = self.holder
        version, updated = holder.text("version_info"), holder.text("last_updated")
        return Status(self.state, version, updated, told if failure else None, self.also)


def _section(part: Json) -> str:
    """Which section a part of the dump is: by its type, else by its fields."""
    kind = type_name(part).rpartition(".")[2].removesuffix("ConfigDump")
    if kind in _SECTIONS:
        return kind
    fields = {"bootstrap": "Bootstrap", "dynamic_listeners": "Listeners", "dynamic_active_clusters": "Clusters"}
    fields |= {"dynamic_route_configs": "Routes", "dynamic_endpoint_configs": "Endpoints"}
    fields |= {"dynamic_active_secrets": "Secrets", "static_listeners": "Listeners", "static_clusters": "Clusters"}
    return next((name for key, name in fields.items() if part.has(key)), kind or "Unknown")


def _keep(into: dict[str, _Entry], each: Json, key: str, state: State, fallback: str = "") -> None:
    """Remember a resource; the first of a name wins, except over one that is only warming."""
    there = each.has(key)
    if not there and each.has("error_state"):
        name = each.text("name") or each.at("error_state", "failed_configuration").text("name")
        into.setdefault(name or fallback, _Entry(each, key, "rejected"))
        return
    inner = each.value(key)
    named = inner.get("name") if isinstance(inner, dict) else None
    name = named if isinstance(named, str) and named else each.text("name") or fallback
    old = into.get(name)
    if old is None:
        into[name] = _Entry(each, key, state)
    elif state == "warming":
        old.also, old.error = (*old.also, state), each
    elif fallback:
        into[f"{name}#{fallback.rpartition('#')[2]}"] = _Entry(each, key, state)


def _keep_states(into: dict[str, _Entry], each: Json) -> None:
    """Remember a dynamic listener by its best state, and what became of later versions."""
    states = [(state, key) for state, key in _STATES if each.has(key)]
    if states:
        state, key = states[0]
        entry = _Entry(each.below(key), "listener", state, each)
        entry.also = tuple(other for other, _ in states[1:])
        name = each.text("name") or entry.message.text("name")
    elif each.has("error_state"):
        entry = _Entry(each, "listener", "rejected")
        name = each.text("name") or entry.message.text("name")
    else:
        return
    into.setdefault(name or each.path, entry)


_STATES: tuple[tuple[State, str], ...] = (
    ("active", "active_state"),
    ("warming", "warming_state"),
    ("draining", "draining_state"),
)


def _ports(message: Json) -> Iterator[int]:
    """The ports of a listener, without parsing the rest of it."""
    yield message.at("address", "socket_address").whole("port_value")
    for extra in message.each("additional_addresses"):
        yield extra.at("address", "socket_address").whole("port_value")


def parse(content: bytes | str, source: str) -> ConfigDump:
    """Read a config dump (``/config_dump?include_eds``); BadInput names the place where it is broken."""
    found = outline(content)
    if found is None:
        return read(_loaded(content, source), source)
    return ConfigDump(_Sections(found, content, source), source, found)


class _Sections(Mapping[str, Sequence[Json]]):
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
            except (ValueError, RecursionError):  # to read it whole says what is broken, and where
                whole = _sections(_loaded(self._content, self._source), self._source)
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


def read(document: object, source: str) -> ConfigDump:
    """Read a config dump that is parsed as JSON already, or a part of one (see `dump_shapes`)."""
    return ConfigDump(_sections(document, source), source)


def _sections(document: object, source: str) -> dict[str, list[Json]]:
    shaped = dump_shapes.as_dump(document)
    if isinstance(shaped, str):
        raise BadInput(f"{source}: not a config dump: it is {shaped}", hint=_HINT)
    sections: dict[str, list[Json]] = {}
    for part in Json(shaped, source).each("configs"):
        sections.setdefault(_section(part), []).append(part)
    return sections


_HINT = "make one with: kubectl exec POD -c istio-proxy -- pilot-agent request GET 'config_dump?include_eds'"


def _loaded(content: bytes | str, source: str) -> object:
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        if not content.strip():
            raise BadInput(f"{source}: it is empty", hint=_HINT) from error
        start = (content[:60] if isinstance(content, str) else content[:60].decode("latin-1")).strip()
        if not start.startswith(("{", "[")) and start.isprintable():
            raise BadInput(f"{source}: no JSON: it starts with '{start}'", hint=_HINT) from error
        raise BadInput(f"{source}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}", hint=_HINT) from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{source}: not valid JSON: {error}", hint=_HINT) from error

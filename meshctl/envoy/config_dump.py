"""A config dump as a store: indexed once, parsed piece by piece. The raw documents live here and nowhere else."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from meshctl.envoy.dump_entries import Entry, keep, keep_states, ports
from meshctl.envoy.dump_sections import Sections, loaded, sections
from meshctl.envoy.model.basics import Direction, State, Status
from meshctl.envoy.model.state import Bootstrap, Build, Secret
from meshctl.envoy.outline import Held, Outline, outline
from meshctl.envoy.reading import Json

if TYPE_CHECKING:
    from meshctl.envoy.model.clusters import Balance, Cluster, Endpoint
    from meshctl.envoy.model.filters import HttpConfig, Missing
    from meshctl.envoy.model.listeners import Listener
    from meshctl.envoy.model.managers import Scope
    from meshctl.envoy.model.routes import RouteConfig

T = TypeVar("T")
_WHO = re.compile(r'(?i)rbac\.v\d|"(direct_?)?source_?(prefix|port|type|ip)|matcher"|"source"')


_FEW = 12
"""So many lookups in a section are cheaper one by one."""


class ConfigDump:
    """One proxy's configuration. Make it with `parse`; every method parses what it returns once and keeps it."""

    def __init__(self, sections: "Mapping[str, Sequence[Json]]", source: str, outline: Outline | None = None) -> None:
        self.source = source
        self._sections = sections
        self._outline = outline
        self._lookups: dict[str, int] = {}
        self._listeners: dict[str, Entry] | None = None
        self._clusters: dict[str, Entry] | None = None
        self._routes: dict[str, Entry] | None = None
        self._endpoints: dict[str, Json] | None = None
        self._made: dict[tuple[str, str], Any] = {}
        self._places: dict[int, tuple[Listener, ...]] = {}

    def has(self, section: str) -> bool:
        """Whether the dump has a section (``Routes``, ``Endpoints`` ...): one that is filtered out says nothing."""
        return section in self._sections

    # --- listeners

    def listeners(self) -> "tuple[Listener, ...]":
        """All listeners, static ones first; a rejected one that never worked has the state ``rejected``."""
        return tuple(self._listener(name, entry) for name, entry in self._listener_index().items())

    def listener(self, name: str) -> "Listener | None":
        """One listener by name."""
        entry = self._found("Listeners", name, self._listeners, self._listener_index)
        return self._listener(name, entry) if entry is not None else None

    def serving(self, port: int | None = None) -> "tuple[Listener, ...]":
        """The listeners that take connections now, all or those of a port; only these are parsed."""
        if port is not None and port in self._places:
            return self._places[port]
        index = self._listener_index() if port is None or self._listeners is not None else self._at_port(port)
        found = tuple(
            self._listener(name, entry)
            for name, entry in index.items()
            if entry.state in ("static", "active") and (port is None or port in ports(entry.message))
        )
        if port is not None:
            self._places[port] = found
        return found

    def _at_port(self, port: int) -> "Mapping[str, Entry]":
        """The listeners that may have a port; all where the outline cannot tell."""
        held = self._outline.at_port(port) if self._outline is not None else None
        if held is None:
            return self._listener_index()
        found: dict[str, Entry] = {}
        for each in self._static_listeners():
            keep(found, each, "listener", "static")
        for one in held:
            keep_states(found, self._message(one))
        return found

    def entry(self, direction: Direction) -> "Listener | None":
        """The listener that redirected connections of a direction reach; by Istio's name for it where there is one."""
        from meshctl.envoy import listener

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

    def rejected(self) -> "tuple[Listener, ...]":
        """The listeners that Envoy refused and that never worked."""
        if self._outline is not None and "Listeners" in self._sections and self._outline.plain("Listeners"):
            return ()
        index = self._listener_index()
        return tuple(self._listener(name, entry) for name, entry in index.items() if entry.state == "rejected")

    def _listener(self, name: str, entry: "Entry") -> "Listener":
        from meshctl.envoy import listener

        return self._once("listener", name, lambda: listener.listener(entry.message, entry.status))

    def _listener_index(self) -> "Mapping[str, Entry]":
        if self._listeners is None:
            self._listeners = {}
            for section in self._sections.get("Listeners", ()):
                for each in section.each("static_listeners"):
                    keep(self._listeners, each, "listener", "static")
                for each in section.each("dynamic_listeners"):
                    keep_states(self._listeners, each)
        return self._listeners

    # --- routes

    def route_configs(self) -> "tuple[RouteConfig, ...]":
        """All route configurations by name, those that came by RDS first."""
        return tuple(self._route_config(name, entry) for name, entry in self._route_index().items())

    def route_config(self, name: str) -> "RouteConfig | None":
        """One route configuration that came by RDS."""
        entry = self._found("Routes", name, self._routes, self._route_index)
        return self._route_config(name, entry) if entry is not None and entry.state != "static" else None

    def _route_config(self, name: str, entry: "Entry") -> "RouteConfig":
        from meshctl.envoy import route

        static = entry.state == "static"
        return self._once("route", name, lambda: route.config(entry.message, entry.status, inline=static))

    def _route_index(self) -> "Mapping[str, Entry]":
        if self._routes is None:
            self._routes = {}
            for section in self._sections.get("Routes", ()):
                for each in section.each("dynamic_route_configs"):
                    keep(self._routes, each, "route_config", "active")
                for number, each in enumerate(section.each("static_route_configs")):
                    keep(self._routes, each, "route_config", "static", f"inline#{number}")
        return self._routes

    # --- clusters

    def clusters(self) -> "tuple[Cluster, ...]":
        """All clusters, static ones first."""
        return tuple(self._cluster(name, entry) for name, entry in self._cluster_index().items())

    def cluster_names(self) -> tuple[str, ...]:
        """The names of all clusters, none of which is read for that."""
        return tuple(self._cluster_index())

    def cluster(self, name: str) -> "Cluster | None":
        """One cluster by name; one that is still warming is not there yet for requests (see its status)."""
        known: Cluster | None = self._made.get(("cluster", name))
        if known is not None:
            return known
        entry = self._found("Clusters", name, self._clusters, self._cluster_index)
        return self._cluster(name, entry) if entry is not None else None

    def _cluster(self, name: str, entry: "Entry") -> "Cluster":
        from meshctl.envoy import cluster

        return self._once("cluster", name, lambda: cluster.cluster(entry.message, entry.status))

    def _cluster_index(self) -> "Mapping[str, Entry]":
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
                        keep(self._clusters, each, "cluster", state)
        return self._clusters

    def endpoints(self, wanted: "Cluster") -> "tuple[Endpoint, ...] | None":
        """A cluster's hosts as configured: EDS, static, or DNS names; None where the dump does not hold them."""
        from meshctl.envoy import cluster

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
        return self._once("assignment", name, lambda: self._assigned(name))

    def _assigned(self, name: str) -> Json | None:
        held = self._held("Endpoints", name) if self._endpoints is None else None
        if held is not None:
            return self._message(held).below("endpoint_config")
        return self._endpoint_index().get(name)

    def balance(self, wanted: "Cluster") -> "Balance":
        """What the control plane says about a cluster's hosts as a whole."""
        from meshctl.envoy import cluster

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
        """The names and states of secrets; of their content, only the certificates of those trusted are counted."""
        from meshctl.envoy import secret

        parts = self._sections.get("Secrets", ())
        return self._once("secrets", "", lambda: tuple(found for part in parts for found in secret.secrets(part)))

    def extension(self, name: str) -> "HttpConfig | Missing | None":
        """A filter's configuration that came by itself; None where the dump does not say what came."""
        from meshctl.envoy import http_filters
        from meshctl.envoy.model.filters import Missing

        for part in self._sections.get("Ecds", ()):
            for each in part.each("ecds_filters"):
                found = each.below("ecds_filter")
                if found.text("name") == name:
                    return self._once("extension", name, lambda found=found: http_filters.extension(found))  # type: ignore[misc]
        return Missing(name) if self.has("Ecds") else None

    def scopes(self, name: str) -> "tuple[Scope, ...] | None":
        """The scopes of a name that came by SRDS; None where the dump does not hold them."""
        from meshctl.envoy import scoped

        parts = self._sections.get("ScopedRoutes", ())
        named = [each for part in parts for each in part.each("dynamic_scoped_route_configs")]
        found = [each for each in named if each.text("name") == name]
        return (
            tuple(scoped.scope(one) for each in found for one in each.each("scoped_route_configs")) if found else None
        )

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
        from meshctl.envoy import bootstrap

        parts = self._sections.get("Bootstrap", ())
        return self._once("bootstrap", "", lambda: bootstrap.bootstrap(parts[0] if parts else Json({}, self.source)))

    def build(self) -> Build | None:
        """The Envoy that wrote the dump, None where it does not say; without reading all of the bootstrap."""
        return self._once("build", "", self._build)

    # --- what is found without reading the rest

    def _build(self) -> Build | None:
        from meshctl.envoy import bootstrap

        alone = self._outline.only("Bootstrap", bootstrap.BUILD) if self._outline is not None else None
        if isinstance(alone, dict):
            return bootstrap.build(Json(alone, self.source))
        parts = self._sections.get("Bootstrap", ())
        return bootstrap.build(parts[0].below("bootstrap").below("node").below(bootstrap.BUILD)) if parts else None

    def _found(
        self,
        section: str,
        name: str,
        index: "Mapping[str, Entry] | None",
        whole: "Callable[[], Mapping[str, Entry]]",
    ) -> "Entry | None":
        """A resource's entry: from the index where there is one, else from where the outline finds it."""
        held = self._held(section, name) if index is None else None
        if held is None:
            return whole().get(name)
        found: dict[str, Entry] = {}
        if section == "Listeners":
            keep_states(found, self._message(held))
        else:
            keep(found, self._message(held), "cluster" if section == "Clusters" else "route_config", "active")
        return found.get(name)

    def _held(self, section: str, name: str) -> Held | None:
        """Where the outline finds a resource; None, too, where so many were asked for that an index is cheaper."""
        self._lookups[section] = self._lookups.get(section, 0) + 1
        if self._outline is None or self._lookups[section] > _FEW:
            return None
        return self._outline.named(section, name)

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


def parse(content: bytes | str, source: str) -> ConfigDump:
    """Read a config dump (``/config_dump?include_eds``); BadInput names the place where it is broken."""
    found = outline(content)
    if found is None:
        return read(loaded(content, source), source)
    return ConfigDump(Sections(found, content, source), source, found)


def read(document: object, source: str) -> ConfigDump:
    """Read a config dump that is parsed as JSON already, or a part of one (see `dump_shapes`)."""
    return ConfigDump(sections(document, source), source)

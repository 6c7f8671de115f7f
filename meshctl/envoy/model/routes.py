"""Route configurations: virtual hosts, routes, and what a route does with a request.

Parts that are `Deferred` are parsed when they are first asked for.
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Literal, TypeAlias

from meshctl.envoy.model.basics import IstioConfig, Opaque, Status
from meshctl.envoy.model.filters import Cors, HttpConfig
from meshctl.envoy.model.header_changes import NO_CHANGES, HeaderChanges
from meshctl.envoy.model.matching import Fraction, RouteMatch
from meshctl.envoy.reading import Deferred
from meshctl.frozen import dataclass
from meshctl.origin import Origin


@dataclass(frozen=True, slots=True)
class PerFilter:
    """A filter's configuration on a route, a virtual host or a weighted cluster: it replaces the filter's own."""

    type: str
    disabled: bool
    config: "Deferred[HttpConfig]"
    origin: Origin


@dataclass(frozen=True, slots=True)
class HashPolicy:
    """What of a request chooses the host in a cluster that balances by hashes; `made`: a missing cookie is made."""

    kind: Literal["header", "cookie", "query parameter", "source address", "something else"]
    name: str = ""
    made: bool = False

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A cluster that a route or a TCP proxy may send to; `weight` as configured, `metadata` chooses a subset."""

    cluster: str
    weight: int = 1
    from_header: str = ""
    metadata: Mapping[str, object] = field(default_factory=dict)
    filter_config: "Mapping[str, PerFilter]" = field(default_factory=dict)
    host_rewrite: str = ""
    header_changes: HeaderChanges = NO_CHANGES


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """A copy of the request that is sent elsewhere; its answer is thrown away."""

    cluster: str
    fraction: Fraction | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When and how often Envoy tries again; `attempts` does not count the first one.

    `picks`: how often a try picks anew where it picks a host that `host_predicates` avoid (Istio's routes say 5).
    """

    on: tuple[str, ...]
    attempts: int = 1
    per_try_timeout_s: float | None = None
    status_codes: tuple[int, ...] = ()
    host_predicates: tuple[str, ...] = ()
    picks: int = 5
    back_off_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """Send the request upstream. `timeout_s` 0 is no limit (Envoy's default is 15 s)."""

    targets: tuple[Target, ...]
    weighted: bool = False
    not_found_status: int = 503
    timeout_s: float = 15.0
    idle_timeout_s: float | None = None
    max_stream_s: float | None = None
    retry: RetryPolicy | None = None
    mirrors: tuple[Mirror, ...] = ()
    priority: str = "DEFAULT"
    hash_policy: "tuple[HashPolicy, ...]" = ()
    prefix_rewrite: str = ""
    regex_rewrite: tuple[str, str] | None = None
    host_rewrite: str = ""
    auto_host_rewrite: bool = False
    cors: "Cors | None" = None
    limits: bool = False
    upgrades: Mapping[str, bool] = field(default_factory=dict)
    opaque: Opaque | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """Answer with a Location."""

    status: int = 301
    https: bool = False
    scheme: str = ""
    host: str = ""
    port: int | None = None
    path: str = ""
    prefix_rewrite: str = ""
    regex_rewrite: tuple[str, str] | None = None
    strip_query: bool = False


@dataclass(frozen=True, slots=True)
class DirectResponse:
    """Answer with a fixed status; `body` where it is inline."""

    status: int
    body: str = ""


Action: TypeAlias = Forward | Redirect | DirectResponse | Opaque


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One entry of a virtual host; the first whose match holds takes the request."""

    name: str
    match: RouteMatch
    action: Action
    filter_config: Mapping[str, PerFilter] = field(default_factory=dict)
    header_changes: HeaderChanges = NO_CHANGES
    istio: IstioConfig | None = None
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualHost:
    """The routes for some hosts; `domains` in lower case, as Envoy compares them."""

    name: str
    domains: tuple[str, ...]
    require_tls: Literal["NONE", "EXTERNAL_ONLY", "ALL"] = "NONE"
    routes: Deferred[tuple[Route, ...]]
    filter_config: Deferred[Mapping[str, PerFilter]]
    retry: "Deferred[RetryPolicy | None]"
    cors: "Deferred[Cors | None]"
    header_changes: "Deferred[HeaderChanges]"
    limits: bool = False
    unsupported: tuple[str, ...] = ()
    istio: IstioConfig | None = None
    origin: Origin


@dataclass(frozen=True, slots=True)
class HostIndex:
    """A route configuration's domains as Envoy keeps them: wildcards by length, the longest first."""

    exact: Mapping[str, VirtualHost]
    suffixes: tuple[tuple[str, VirtualHost], ...]
    prefixes: tuple[tuple[str, VirtualHost], ...]
    default: VirtualHost | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteConfig:
    """A route configuration: by name through RDS (`inline` False), or inside a connection manager.

    `specific_last`: a route's header changes come after those of its virtual host and of the whole, so they win.
    """

    name: str
    virtual_hosts: tuple[VirtualHost, ...]
    hosts: Deferred[HostIndex]
    ignore_port: bool = False
    host_header: str = ""
    inline: bool = False
    filter_config: Mapping[str, PerFilter] = field(default_factory=dict)
    header_changes: HeaderChanges = NO_CHANGES
    specific_last: bool = False
    ignores_parameters: bool = False
    status: Status
    vhds: bool = False
    origin: Origin

"""What takes the bytes of a connection: HTTP connection managers and TCP proxies.

Parts that are `Deferred` are parsed when they are first asked for.
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Literal, TypeAlias

from meshctl.envoy.model.basics import Opaque
from meshctl.envoy.model.filters import Elsewhere, HttpConfig, Passes, Rbac
from meshctl.envoy.model.routes import RouteConfig, Target
from meshctl.envoy.reading import Deferred
from meshctl.frozen import dataclass
from meshctl.origin import Origin


@dataclass(frozen=True, slots=True)
class Fragment:
    """One part of a scope's key, from a header: the `index`-th of its words, or the value of the word ``key=value``."""

    header: str
    separator: str = ""
    index: int = 0
    key: str | None = None
    key_separator: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The route configuration for requests with a key: by name through RDS (`routes`), or inside the scope."""

    name: str
    key: tuple[str, ...]
    routes: str
    inline: Deferred[RouteConfig | None]
    on_demand: bool = False
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopedRoutes:
    """How a connection manager finds its route configuration by headers; `scopes` None: they come by SRDS."""

    name: str
    fragments: tuple[Fragment | Opaque, ...]
    scopes: tuple[Scope, ...] | None
    origin: Origin


@dataclass(frozen=True, slots=True)
class HttpFilter:
    """A filter of a connection manager; `config` is parsed when asked for. `discovered`: it comes by itself (ECDS).

    `has_default`: until then `config` is used.
    """

    name: str
    type: str
    disabled: bool
    config: "Deferred[HttpConfig]"
    origin: Origin
    discovered: bool = False
    has_default: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpManager:
    """An HTTP connection manager: where routes come from and which filters a request passes.

    `upgrades` by their type in lower case; false is turned off. `internal_ranges` are the addresses that count as
    internal; None is not said: then it depends on the release. Of its limits of time 0 is none. `underscores` is what
    becomes of headers that have one in their name. `unsupported` changes requests in ways not modelled.
    """

    rds: str = ""
    inline_routes: Deferred[RouteConfig | None]
    scoped: ScopedRoutes | None = None
    filters: Deferred[tuple[HttpFilter, ...]]
    codec: str = "AUTO"
    use_remote_address: bool = False
    trusted_hops: int = 0
    normalize_path: bool = False
    merge_slashes: bool = False
    escaped_slashes: str = "KEEP_UNCHANGED"
    strip_port: Literal["", "matching", "any"] = ""
    strip_trailing_dot: bool = False
    upgrades: Mapping[str, bool] = field(default_factory=dict)
    client_cert: str = "SANITIZE"
    append_forwarded_for: bool = True
    generate_request_id: bool = True
    preserve_request_id: bool = False
    internal_ranges: tuple[str, ...] | None = None
    idle_timeout_s: float = 300.0
    request_timeout_s: float = 0.0
    max_stream_s: float = 0.0
    underscores: str = "ALLOW"
    most_header_kb: int = 60
    most_headers: int = 100
    unsupported: tuple[str, ...] = ()
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpProxy:
    """Bytes as they are, to one cluster or to several by weight."""

    targets: tuple[Target, ...]
    weighted: bool = False
    tunnel: str = ""
    origin: Origin


NetworkConfig: TypeAlias = HttpManager | TcpProxy | Rbac | Elsewhere | Passes | Opaque

"""Listeners, their filter chains, and what chooses among them.

Parts that are `Deferred` are parsed when they are first asked for.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from meshctl.envoy.model.basics import Address, Direction, IstioConfig, Opaque, Status
from meshctl.envoy.model.managers import NetworkConfig
from meshctl.envoy.model.sockets import TransportSocket
from meshctl.envoy.reading import Deferred
from meshctl.frozen import dataclass
from meshctl.origin import Origin


@dataclass(frozen=True, slots=True)
class PortsDisabled:
    """Disabled for destination ports in ``[start, end)``."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class AllOf:
    """All of them."""

    parts: tuple["Disabled", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Any of them."""

    parts: tuple["Disabled", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The reverse."""

    part: "Disabled"


@dataclass(frozen=True, slots=True)
class Always:
    """Any connection."""


Disabled: TypeAlias = PortsDisabled | AllOf | AnyOf | Not | Always | Opaque
"""``filter_disabled`` of a listener filter (``ListenerFilterChainMatchPredicate``)."""


@dataclass(frozen=True, slots=True)
class ListenerFilter:
    """A filter that looks at a new connection before a filter chain is chosen."""

    name: str
    type: str
    disabled: Disabled | None
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainMatch:
    """``FilterChainMatch``: empty fields match everything; prefixes as written (``10.0.0.0/8``)."""

    destination_port: int | None = None
    prefixes: tuple[str, ...] = ()
    server_names: tuple[str, ...] = ()
    transport_protocol: str = ""
    application_protocols: tuple[str, ...] = ()
    direct_source_prefixes: tuple[str, ...] = ()
    source_type: Literal["ANY", "SAME_IP_OR_LOOPBACK", "EXTERNAL"] = "ANY"
    source_prefixes: tuple[str, ...] = ()
    source_ports: tuple[int, ...] = ()
    unsupported: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NetworkFilter:
    """A filter of a filter chain; `config` is parsed when asked for."""

    name: str
    type: str
    config: "Deferred[NetworkConfig]"
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterChain:
    """What a listener does with the connections that it matches; unnamed in most outbound listeners."""

    name: str
    match: ChainMatch
    filters: Deferred[tuple[NetworkFilter, ...]]
    transport_socket: Deferred[TransportSocket]
    istio: IstioConfig | None
    default: bool = False
    origin: Origin


@dataclass(frozen=True, slots=True)
class ChainName:
    """The filter chain that a matcher tree ends in."""

    name: str


@dataclass(frozen=True, slots=True)
class MatchTree:
    """A node of a ``filter_chain_matcher``: what of the connection decides, and where each value leads."""

    input: str
    exact: Mapping[str, "MatchNode"]
    ranges: tuple[tuple[tuple[str, ...], "MatchNode"], ...]
    otherwise: "MatchNode | None"


MatchNode: TypeAlias = ChainName | MatchTree | Opaque


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A listener; one that does not `bind` only gets connections handed over by another (``use_original_dst``)."""

    name: str
    addresses: tuple[Address, ...]
    direction: Direction = "unspecified"
    bind: bool = True
    hands_over: bool = False
    transparent: bool = False
    filters: tuple[ListenerFilter, ...] = ()
    filters_timeout_s: float = 15.0
    continue_on_timeout: bool = False
    chains: Deferred[tuple[FilterChain, ...]]
    default_chain: Deferred[FilterChain | None]
    matcher: MatchNode | None = None
    status: Status
    istio: IstioConfig | None = None
    origin: Origin

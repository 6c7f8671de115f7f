"""Clusters, their hosts, and how requests are shared out among them.

Parts that are `Deferred` are parsed when they are first asked for.
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Literal, TypeAlias

from meshctl.envoy.model.basics import Address, IstioConfig, Opaque, Status
from meshctl.envoy.model.sockets import TransportSocket
from meshctl.envoy.reading import Deferred
from meshctl.frozen import dataclass
from meshctl.origin import Origin

Health: TypeAlias = Literal["healthy", "unhealthy", "degraded", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One host of a cluster. `socket_match` and `subset` are its metadata for transport sockets and for subsets."""

    address: Address
    hostname: str = ""
    health: Health = "healthy"
    because: str = ""
    weight: int = 1
    priority: int = 0
    locality: str = ""
    locality_weight: int | None = None
    workload: str = ""
    socket_match: Mapping[str, object] = field(default_factory=dict)
    subset: Mapping[str, object] = field(default_factory=dict)
    origin: Origin


@dataclass(frozen=True, slots=True)
class SocketMatch:
    """A transport socket for the endpoints whose metadata has all of `criteria`; the first that fits is used."""

    name: str
    criteria: Mapping[str, object]
    socket: TransportSocket


@dataclass(frozen=True, slots=True, kw_only=True)
class Subsets:
    """``lb_subset_config``: which metadata keys make subsets, and what happens where none fits.

    `selectors` by their sorted keys, each with its own fallback (NOT_DEFINED: the common one) and that one's keys.
    """

    selectors: Mapping[tuple[str, ...], tuple[str, tuple[str, ...]]]
    fallback: str = "NO_FALLBACK"
    default: Mapping[str, object] = field(default_factory=dict)
    list_as_any: bool = False
    opaque: Opaque | None = None


@dataclass(frozen=True, slots=True)
class Balance:
    """What is said about all hosts of a cluster: when to fail over (percent), and what to drop (0..1)."""

    overprovisioning: int = 140
    drop_share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Hosts that requests are sent to. `http` says which HTTP it speaks upstream ("" is HTTP/1.1 by default).

    `members` are the clusters of an aggregate, in their order. `refuses` are pairs of priority (DEFAULT, HIGH) and
    what its circuit breakers let nothing through of (http, tcp, tcp pending). `destination_header` may name the host of
    an ORIGINAL_DST cluster.
    """

    name: str
    type: str
    service_name: str = ""
    policy: str = "ROUND_ROBIN"
    connect_timeout_s: float = 5.0
    inline_endpoints: Deferred[tuple[Endpoint, ...]]
    inline_balance: Deferred[Balance]
    socket: Deferred[TransportSocket]
    socket_matches: Deferred[tuple[SocketMatch, ...]]
    subsets: Subsets | None = None
    ejects: bool = False
    panic_percent: float = 50.0
    fails_in_panic: bool = False
    locality_weighted: bool = False
    http: Literal["", "http1", "http2", "downstream", "auto", "http3"] = ""
    bind_address: str = ""
    port_override: int | None = None
    destination_header: str = ""
    members: tuple[str, ...] = ()
    refuses: frozenset[tuple[str, str]] = frozenset()
    services: tuple[str, ...] = ()
    opaque: Opaque | None = None
    status: Status
    istio: IstioConfig | None = None
    origin: Origin

    @property
    def parts(self) -> tuple[str, str, str, str] | None:
        """Direction, port, subset and host of a name as Istio writes it (``outbound|80|v1|reviews.ns.svc...``)."""
        match self.name.split("|", 3):
            case [("outbound" | "inbound") as direction, port, subset, host]:
                return direction, port, subset, host
            case _:
                return None

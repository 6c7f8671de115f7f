"""The question that a match answers, and the answer: a request to one proxy, and what the proxy decides."""

from dataclasses import field
from datetime import datetime
from typing import Literal, TypeAlias

from meshctl.envoy.model.listeners import FilterChain, Listener
from meshctl.envoy.model.managers import HttpManager, TcpProxy
from meshctl.envoy.model.routes import Route, RouteConfig, VirtualHost
from meshctl.envoy.request import Request
from meshctl.envoy.upstream import Upstream
from meshctl.envoy.verdict import Verdict
from meshctl.frozen import dataclass
from meshctl.origin import Origin

Error: TypeAlias = Literal[
    "no-listener",
    "no-filter-chain",
    "tls-mismatch",
    "protocol-error",
    "no-virtual-host",
    "no-route",
    "tls-redirect",
    "config-rejected",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A connection to a proxy and the request on it.

    `address` and `port` are the original destination, before any redirect (gateway: where the client connected to).
    `protocol` is what is inside, `tls` what is around it: ``tls`` is the client's own one-way TLS, ``mtls`` Istio's
    mutual TLS. `alpn` empty means: what such a client offers by default. `headers` in lower case, without ``host``.
    `principal` is the verified SPIFFE id of the peer (``spiffe://cluster.local/ns/x/sa/y``); None is not known.
    `source` None is not known. `at` is the moment at which tokens are judged. `unsure` are headers (lower case) that
    may or may not be there, with a value that is not known.
    """

    direction: Literal["inbound", "outbound", "gateway"]
    address: str
    port: int
    protocol: Literal["http", "http2", "tcp"] = "http"
    tls: Literal["plaintext", "tls", "mtls"] = "plaintext"
    host: str | None = None
    path: str = "/"
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    sni: str | None = None
    alpn: tuple[str, ...] = ()
    source: str | None = None
    source_port: int | None = None
    principal: str | None = None
    at: datetime | None = None
    unsure: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One decision: what was chosen (empty: nothing), why, and where in the dump."""

    what: str
    chosen: str
    because: str
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """A cluster that gets a part of the requests: `weight` as configured, `probability` 0..1."""

    name: str
    weight: int
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What the proxy decides; a field that was not reached is None.

    `error` is where matching fails, `status` what the proxy answers by itself (filters, redirects, direct responses,
    no route, no cluster, no host; a gRPC client gets 200 and `grpc_status`), with `flags` and `details` as its access
    log shows them. `forwards` is true where the request goes upstream, false where it does not, None where that is
    undecided; `upstreams` are what each cluster of `clusters` that gets requests does, `sent` the request as that one
    gets it. `alternatives` are the
    other ways that chance may take (runtime fractions of routes), each with its own
    `probability`.
    """

    query: Query
    listener: Listener | None = None
    entry: Listener | None = None
    filter_chain: FilterChain | None = None
    manager: HttpManager | None = None
    tcp_proxy: TcpProxy | None = None
    route_config_name: str | None = None
    route_config: RouteConfig | None = None
    virtual_host: VirtualHost | None = None
    route: Route | None = None
    clusters: tuple[Share, ...] = ()
    action: Literal["http", "tcp", "redirect", "direct_response"] | None = None
    status: int | None = None
    grpc_status: int | None = None
    location: str | None = None
    flags: str | None = None
    details: str = ""
    error: Error | None = None
    forwards: bool | None = None
    upstreams: tuple[Upstream, ...] = ()
    sent: tuple[Request, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    steps: tuple[Step, ...] = ()
    undecided_because: tuple[str, ...] = ()
    probability: float = 1.0
    alternatives: "tuple[Match, ...]" = field(default=())

    @property
    def cluster(self) -> str | None:
        """The cluster, where there is exactly one that gets requests."""
        reached = [share.name for share in self.clusters if share.probability > 0]
        return reached[0] if len(reached) == 1 else None

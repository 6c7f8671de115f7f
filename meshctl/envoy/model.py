"""The nouns of a proxy's configuration, in Envoy's own words (API v3); parsed from a config dump, frozen after that.

`Deferred` parts are parsed when they are first asked for. What meshctl can show but not judge is kept as `Opaque`.
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Literal, TypeAlias

from meshctl.envoy.reading import Deferred
from meshctl.frozen import dataclass
from meshctl.origin import Origin

State: TypeAlias = Literal["static", "active", "warming", "draining", "rejected"]
Direction: TypeAlias = Literal["inbound", "outbound", "unspecified"]


@dataclass(frozen=True, slots=True)
class Opaque:
    """A piece of configuration that meshctl can name but not judge."""

    text: str
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """Where something listens or is reached: a socket, a Unix socket (`pipe`), or a listener in the same process."""

    host: str
    port: int = 0
    kind: Literal["socket", "pipe", "internal"] = "socket"
    protocol: Literal["TCP", "UDP"] = "TCP"

    def __str__(self) -> str:
        match self.kind:
            case "pipe":
                return f"unix:{self.host}"
            case "internal":
                return f"internal:{self.host}"
            case "socket":
                return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class IstioConfig:
    """The object that a resource was made from (``metadata.filter_metadata.istio.config``); `kind` as in the path."""

    kind: str
    namespace: str
    name: str
    path: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}.{self.namespace}"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why Envoy refused the latest version of a resource (``error_state``): what is active is older, or nothing."""

    details: str
    version: str = ""
    at: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """Which version of a resource this is, and what became of later ones."""

    state: State
    version: str = ""
    updated: str = ""
    failure: Failure | None = None
    also: tuple[State, ...] = ()


# --- matching values ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StringMatch:
    """``envoy.type.matcher.v3.StringMatcher``: `kind` unknown means a kind of matcher that meshctl does not know."""

    kind: Literal["exact", "prefix", "suffix", "contains", "regex", "any", "unknown"]
    value: str = ""
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class RangeMatch:
    """A header's integer value in ``[start, end)``."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PresentMatch:
    """Whether a header or parameter is there."""

    present: bool = True


@dataclass(frozen=True, slots=True)
class NamedMatch:
    """A match on a header, a query parameter or a cookie."""

    name: str
    match: StringMatch | RangeMatch | PresentMatch
    invert: bool = False
    missing_is_empty: bool = False


@dataclass(frozen=True, slots=True)
class Fraction:
    """A share of requests, 0..1; `runtime_key` may override it at run time."""

    share: float
    runtime_key: str = ""


@dataclass(frozen=True, slots=True)
class ValueMatch:
    """``ValueMatcher``: what a metadata value must be; ``one_of`` asks for one element of a list.

    `number` is exact, or in ``[first, second)``.
    """

    kind: Literal["string", "one_of", "or", "present", "bool", "number", "null", "unknown"]
    parts: tuple["ValueMatch", ...] = ()
    match: StringMatch | None = None
    flag: bool = True
    number: tuple[float, float | None] = (0.0, None)


@dataclass(frozen=True, slots=True)
class MetadataMatch:
    """A value that an earlier filter left in the request's dynamic metadata, e.g. a token's claim."""

    filter: str
    path: tuple[str, ...]
    value: ValueMatch
    invert: bool = False


# --- TLS ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """A TLS context. Names of secrets only: a dump holds no private keys, and meshctl never asks for them."""

    certificates: tuple[str, ...] = ()
    trust: str = ""
    sans: tuple[StringMatch, ...] = ()
    require_client_certificate: bool = False
    alpn: tuple[str, ...] = ()
    sni: str = ""
    auto_sni: bool = False
    versions: tuple[str, str] = ("", "")
    origin: Origin

    @property
    def asks_for_certificate(self) -> bool:
        """Whether a client is asked for its certificate, demanded or not."""
        return self.require_client_certificate or bool(self.trust or self.sans)

    @property
    def istio_mutual(self) -> bool:
        """Whether this is Istio's mutual TLS: the workload's own certificate, which Istio names ``default``."""
        return self.certificates[:1] == ("default",)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportSocket:
    """How bytes are put on the wire; without `tls` it is plain TCP, unless `opaque` names a socket of another kind."""

    name: str = ""
    tls: Tls | None = None
    opaque: Opaque | None = None
    through: tuple[str, ...] = ()


PLAINTEXT = TransportSocket(name="raw_buffer")


# --- listeners ------------------------------------------------------------------------------------------------------


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


# --- HTTP -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PathMatch:
    """How a route looks at the path, without its query; `unknown` names a specifier that meshctl cannot judge."""

    kind: Literal["prefix", "path", "path_separated_prefix", "regex", "connect", "template", "unknown"]
    value: str = ""
    case_sensitive: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteMatch:
    """When a route takes a request: all of it must hold."""

    path: PathMatch
    headers: tuple[NamedMatch, ...] = ()
    query: tuple[NamedMatch, ...] = ()
    cookies: tuple[NamedMatch, ...] = ()
    fraction: Fraction | None = None
    grpc: bool = False
    tls_presented: bool | None = None
    tls_validated: bool | None = None
    metadata: tuple[MetadataMatch, ...] = ()
    unsupported: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A cluster that a route or a TCP proxy may send to; `weight` as configured, `metadata` chooses a subset."""

    cluster: str
    weight: int = 1
    from_header: str = ""
    metadata: Mapping[str, object] = field(default_factory=dict)
    filter_config: "Mapping[str, PerFilter]" = field(default_factory=dict)
    host_rewrite: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """A copy of the request that is sent elsewhere; its answer is thrown away."""

    cluster: str
    fraction: Fraction | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When and how often Envoy tries again; `attempts` does not count the first one."""

    on: tuple[str, ...]
    attempts: int = 1
    per_try_timeout_s: float | None = None
    status_codes: tuple[int, ...] = ()
    host_predicates: tuple[str, ...] = ()
    back_off_s: float | None = None


@dataclass(frozen=True, slots=True)
class HashPolicy:
    """What of a request chooses the host in a cluster that balances by hashes; `made`: a missing cookie is made."""

    kind: Literal["header", "cookie", "query parameter", "source address", "something else"]
    name: str = ""
    made: bool = False

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".strip()


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


@dataclass(frozen=True, slots=True)
class PerFilter:
    """A filter's configuration on a route, a virtual host or a weighted cluster: it replaces the filter's own."""

    type: str
    disabled: bool
    config: "Deferred[HttpConfig]"
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One entry of a virtual host; the first whose match holds takes the request."""

    name: str
    match: RouteMatch
    action: Action
    filter_config: Mapping[str, PerFilter] = field(default_factory=dict)
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
    duplicates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteConfig:
    """A route configuration: by name through RDS (`inline` False), or inside a connection manager."""

    name: str
    virtual_hosts: tuple[VirtualHost, ...]
    hosts: Deferred[HostIndex]
    ignore_port: bool = False
    host_header: str = ""
    inline: bool = False
    filter_config: Mapping[str, PerFilter] = field(default_factory=dict)
    status: Status
    vhds: bool = False
    origin: Origin


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
    internal; None is not said: then it depends on the release. Of its limits of time 0 is none. `unsupported` changes
    requests in ways not modelled.
    """

    stat_prefix: str
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
    unsupported: tuple[str, ...] = ()
    access_logs: tuple[str, ...] = ()
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpProxy:
    """Bytes as they are, to one cluster or to several by weight."""

    targets: tuple[Target, ...]
    stat_prefix: str = ""
    weighted: bool = False
    tunnel: str = ""
    access_logs: tuple[str, ...] = ()
    origin: Origin


# --- policies -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rule:
    """A boolean expression over a request: `kind` says how `parts` are joined, or what a leaf compares."""

    kind: str
    parts: tuple["Rule", ...] = ()
    match: StringMatch | NamedMatch | MetadataMatch | None = None
    text: str = ""
    number: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class PolicyRef:
    """The AuthorizationPolicy and the index of its rule that a policy of an RBAC filter was made from.

    Istio names them ``ns[NS]-policy[NAME]-rule[N]`` (pilot/pkg/security/authz/builder, 1.12 to 1.30).
    """

    namespace: str
    name: str
    rule: int | None

    def __str__(self) -> str:
        rule = "" if self.rule is None else f" rule {self.rule}"
        return f"AuthorizationPolicy {self.namespace}/{self.name}{rule}"


@dataclass(frozen=True, slots=True)
class Policy:
    """A named policy: it matches when any permission and any principal match, and the condition holds."""

    name: str
    permissions: tuple[Rule, ...]
    principals: tuple[Rule, ...]
    condition: Opaque | None
    ref: PolicyRef | None
    origin: Origin


@dataclass(frozen=True, slots=True)
class Rules:
    """What an RBAC filter enforces (or only counts, as shadow rules)."""

    action: Literal["ALLOW", "DENY", "LOG"]
    policies: tuple[Policy, ...]
    opaque: Opaque | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rbac:
    """``envoy.filters.http.rbac`` and ``envoy.filters.network.rbac``; no rules: everything passes."""

    rules: Rules | None
    shadow: Rules | None
    shadow_prefix: str = ""
    stat_prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtProvider:
    """Whose tokens are accepted and where in a request they are looked for."""

    name: str
    issuer: str = ""
    audiences: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    params: tuple[str, ...] = ()
    cookies: tuple[str, ...] = ()
    jwks: str = ""
    jwks_uri: str = ""
    forward: bool = False
    payload_key: str = ""
    header_key: str = ""
    payload_header: str = ""
    pad_payload: bool = False
    reroutes: bool = False
    claim_headers: tuple[tuple[str, str], ...] = ()
    clock_skew_s: int = 60
    space_delimited: tuple[str, ...] = ()
    subjects: StringMatch | None = None
    must_expire: bool = False
    max_lifetime_s: float | None = None


@dataclass(frozen=True, slots=True)
class Requirement:
    """``JwtRequirement``: a provider (with audiences of its own), any or all of others, or leniency."""

    kind: Literal["none", "provider", "any", "all", "allow_missing", "allow_missing_or_failed", "unknown"]
    provider: str = ""
    audiences: tuple[str, ...] = ()
    parts: tuple["Requirement", ...] = ()


@dataclass(frozen=True, slots=True)
class JwtRule:
    """The requirement of the requests that match; `requires` None asks for nothing."""

    match: RouteMatch
    requires: Requirement | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Jwt:
    """``envoy.filters.http.jwt_authn``; `per_route` is the requirement that a route chooses by name."""

    providers: Mapping[str, JwtProvider]
    rules: tuple[JwtRule, ...]
    named: Mapping[str, Requirement] = field(default_factory=dict)
    bypass_preflight: bool = False
    per_route: str = ""
    per_route_disabled: bool = False
    unsupported: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """``envoy.filters.http.fault``: shares are 0..1."""

    delay_s: float | None = None
    delay_share: float = 0.0
    abort_status: int | None = None
    abort_grpc: int | None = None
    abort_share: float = 0.0
    headers: tuple[NamedMatch, ...] = ()
    upstream_cluster: str = ""
    nodes: tuple[str, ...] = ()
    header_delay: bool = False
    header_abort: bool = False
    active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """A route's cross-origin policy: a preflight request that fits is answered by the proxy.

    `passes_others` is whether preflight requests of other origins are passed on; None is not said.
    """

    origins: tuple[StringMatch, ...] = ()
    methods: str = ""
    enabled: Fraction | None = None
    passes_others: bool | None = None


@dataclass(frozen=True, slots=True)
class AlpnOverride:
    """``istio.alpn``: the ALPN that the client's proxy offers, by the upstream's HTTP protocol."""

    offers: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Passes:
    """A filter that lets every request through, and changes nothing that a decision depends on."""

    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """A filter whose answer another program, a script or a counter decides; whether it is asked can be told.

    It is asked for `share` (0..1) of the requests, `only` where that metadata is there, and a rate limit
    (`needs_limits`) where the route or its virtual host says what to count. What a route says to it either turns it off
    (`share` 0) or `replaces` the filter's own configuration.
    """

    what: str
    share: float = 1.0
    only: MetadataMatch | None = None
    needs_limits: bool = False
    replaces: bool = False


@dataclass(frozen=True, slots=True)
class Missing:
    """A filter's configuration that should have come by itself (ECDS), and is not there."""

    name: str


@dataclass(frozen=True, slots=True)
class Mutates:
    """A filter that lets every request through, and changes what filters after it see: headers, or metadata."""

    what: str
    headers: tuple[str, ...] = ()
    metadata: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """``envoy.filters.http.health_check``: requests with all of `headers` are answered, unless it `passes` them on.

    It may answer from what it `keeps`, or `counts` the healthy hosts of clusters first.
    """

    headers: tuple[NamedMatch, ...] = ()
    passes: bool = False
    keeps: bool = False
    counts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Csrf:
    """``envoy.filters.http.csrf``: enforced for `share` (0..1) of the requests; `origins` are allowed besides."""

    share: float = 1.0
    origins: tuple[StringMatch, ...] = ()


HttpConfig: TypeAlias = (
    Rbac | Jwt | Fault | Cors | HealthCheck | Csrf | AlpnOverride | Elsewhere | Mutates | Passes | Opaque
)
NetworkConfig: TypeAlias = HttpManager | TcpProxy | Rbac | Elsewhere | Passes | Opaque


# --- clusters -------------------------------------------------------------------------------------------------------

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


@dataclass(frozen=True, slots=True)
class Outlier:
    """When a host is put aside, and for how long (seconds)."""

    consecutive_5xx: int
    interval_s: float
    ejection_s: float
    max_percent: int


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
    outlier: Outlier | None = None
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """What is known of a secret besides its content."""

    name: str
    kind: Literal["certificate", "trust", "key", "unknown"]
    state: State
    updated: str = ""
    version: str = ""
    failure: Failure | None = None
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """A filter's configuration that came by itself (ECDS)."""

    name: str
    type: str
    status: Status
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """What the proxy was started with: who it says it is."""

    node_id: str = ""
    cluster: str = ""
    proxy_type: str = ""
    ips: tuple[str, ...] = ()
    namespace: str = ""
    istio_version: str = ""
    envoy_version: str = ""
    trust_domain: str = ""
    interception_mode: str = ""
    service_account: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, object] = field(default_factory=dict)
    admin_port: int | None = None
    clusters: tuple[str, ...] = ()
    listeners: tuple[str, ...] = ()
    origin: Origin | None = None

    @property
    def release(self) -> tuple[int, int] | None:
        """Envoy's major and minor number, None where the proxy does not say."""
        major, _, rest = self.envoy_version.partition(".")
        minor = rest.partition(".")[0]
        return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else None

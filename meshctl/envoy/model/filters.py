"""What the filters of a connection are told: policies, tokens, faults, and those that only pass or ask elsewhere."""

from collections.abc import Mapping
from dataclasses import field
from typing import Literal, TypeAlias

from meshctl.envoy.model.basics import Opaque
from meshctl.envoy.model.matching import Fraction, MetadataMatch, NamedMatch, RouteMatch, StringMatch
from meshctl.frozen import dataclass
from meshctl.origin import Origin


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

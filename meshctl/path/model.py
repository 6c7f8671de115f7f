"""What a trace says: hops in order, one outcome, and what both rest on (contract ``meshctl.trace/v1``)."""

from typing import Literal, TypeAlias

from meshctl.envoy.grpc import is_grpc
from meshctl.frozen import dataclass

HopKind: TypeAlias = Literal[
    "app",
    "dns",
    "rules",
    "listener",
    "route",
    "cluster",
    "endpoint",
    "kube-proxy",
    "wire",
    "ztunnel",
    "policy",
    "socket",
]
Mood: TypeAlias = Literal["plain", "good", "bad", "warn"]
Cause: TypeAlias = Literal[
    "",
    "dns",
    "rules",
    "node-rules",
    "no-endpoint",
    "no-cluster",
    "no-route",
    "policy",
    "fault",
    "strict",
    "mutual-tls",
    "certificate",
    "registry-only",
    "nobody-listens",
    "proxy-down",
    "family",
    "kube-proxy",
    "no-port",
    "not-running",
    "not-alive",
]
"""What a failure comes from; ``policy``, ``fault``, ``strict`` and ``registry-only`` are what somebody asked for."""
AnsweredBy: TypeAlias = Literal["app", "client-proxy", "server-proxy", "gateway", "nobody"]
Mtls: TypeAlias = Literal["mutual", "none"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A place in a file that shows what is said: `path` is a line number or a JSON path."""

    file: str
    path: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Hop:
    """One station of the request: `where` is ``caller``, ``node``, ``callee`` or ``network``; `at` names the place.

    `stale` says in what the resources differ from the configuration that decided here.
    """

    kind: HopKind
    where: Literal["caller", "node", "callee", "network"]
    at: str
    title: str
    decision: str
    facts: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    mood: Mood = "plain"
    arrow: str = ""
    stale: str = ""


@dataclass(frozen=True, slots=True)
class EndpointSeen:
    """A backend of a cluster; `pod` is ``namespace/name`` or empty, `health` in the proxy's or Kubernetes' words."""

    address: str
    pod: str
    health: str


@dataclass(frozen=True, slots=True)
class ClusterShare:
    """A cluster that may be chosen, with its weight as configured."""

    name: str
    subset: str
    weight: int
    endpoints: tuple[EndpointSeen, ...] = ()


@dataclass(frozen=True, slots=True)
class End:
    """How one possible course ends.

    `status` is a proxy's own answer, None where the application answers or nobody does. `delivered` None: cannot be
    told. `flags` and `server_flags` are as in the access logs, empty for none. `broken` says in a word what a client
    without a proxy sees (``reset``, ``refused``, ``timeout``), empty where it gets an answer. `cause` is of a failure.
    `grpc_status` is that of a proxy's answer to a gRPC request, whose `status` is 200.
    """

    answered_by: AnsweredBy | None
    status: int | None = None
    flags: str = ""
    server_flags: str = ""
    delivered: bool | None = None
    through_client: bool | None = False
    through_server: bool | None = False
    mtls: Mtls | None = "none"
    broken: Literal["", "reset", "refused", "timeout", "dns", "tls"] = ""
    why: str = ""
    undecided: tuple[str, ...] = ()
    cause: Cause = ""
    grpc_status: int | None = None


@dataclass(frozen=True, slots=True)
class Branch:
    """A course that chance decides: `probability` 0..1."""

    probability: float
    cluster: str | None
    end: End


@dataclass(frozen=True, slots=True)
class Retries:
    """How often the caller's proxy tries again, and on what."""

    attempts: int
    on: str
    per_try: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the client gets: `end` is that of the likeliest branch."""

    end: End
    route: str | None
    clusters: tuple[ClusterShare, ...]
    branches: tuple[Branch, ...]
    retries: Retries | None = None
    timeout: str | None = None
    mirrors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KubeProxy:
    """Whether kube-proxy's rules chose the endpoint: `used` None where it cannot be told."""

    used: bool | None
    why: str
    choice: str = ""
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong or worth knowing; ids are stable, `cause` is that of the end it is about."""

    id: str
    severity: Literal["error", "warning", "info"]
    text: str
    fix: str = ""
    cause: Cause = ""


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent: `protocol` is ``http``, ``http2`` or ``tcp``; `tls` whether the application itself speaks TLS.

    `sni` is the server name of that TLS: empty for none, None for that of the Host header. `unsure` are headers (lower
    case) that a proxy on the way sets to what cannot be told.
    """

    method: str = "GET"
    path: str = "/"
    host: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    protocol: Literal["http", "http2", "tcp"] = "http"
    tls: bool = False
    sni: str | None = None
    unsure: tuple[str, ...] = ()

    @property
    def is_grpc(self) -> bool:
        """Whether it says that it is gRPC."""
        return is_grpc(next((value for name, value in self.headers if name.lower() == "content-type"), ""))


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends, and why that one was chosen; `pod` empty for a client outside the cluster."""

    pod: str
    namespace: str
    address: str = ""
    node: str = ""
    identity: str = ""
    chosen: str = ""
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Aim:
    """What is called: `service` as ``name.namespace`` or the host where it is none; `address` what the name gave."""

    service: str
    host: str
    port: int
    address: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """The whole path of one request."""

    sender: Sender
    aim: Aim
    request: Request
    hops: tuple[Hop, ...]
    outcome: Outcome
    kube_proxy: KubeProxy
    findings: tuple[Finding, ...] = ()
    gaps: tuple[str, ...] = ()


def succeeds(end: End) -> bool | None:
    """Whether the client gets what it asked for; None where it cannot be told.

    An answer of a proxy below 400 (a redirect, a direct response) counts as success.
    """
    if end.delivered:
        return True
    if end.undecided or end.delivered is None:
        return None
    if end.grpc_status is not None:
        return end.grpc_status == 0
    return end.status is not None and end.status < 400

"""What one proxy decides, in the form that the path needs: answer, cut, or clusters to choose from.

Made from a proxy's recorded configuration (`of_match`), or from the mesh's resources where none was recorded
(``path/resources.py``): then `assumed` is true.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from meshctl.envoy import rewrite
from meshctl.envoy.grpc import of_http
from meshctl.envoy.headers import in_pairs
from meshctl.envoy.match import Match, Share, Step
from meshctl.envoy.model.basics import IstioConfig
from meshctl.envoy.model.filters import AlpnOverride
from meshctl.envoy.model.routes import Forward, RetryPolicy
from meshctl.envoy.request import Request as EnvoyRequest
from meshctl.envoy.upstream import Upstream
from meshctl.envoy.verdict import Verdict
from meshctl.frozen import dataclass
from meshctl.origin import Origin
from meshctl.path.model import Cause, Evidence, Request

NO_LISTENER = "no_listener"
"""The detail of a refusal that comes from the kernel: the proxy has no socket on that port."""


BLACK_HOLE = "BlackHoleCluster"
"""Istio's cluster without endpoints, for destinations that are refused."""


@dataclass(frozen=True, slots=True)
class Option:
    """A cluster that may be chosen: `weight` as configured, `probability` 0..1, and what becomes of a request there.

    `upstream` is None where the decision does not rest on a proxy's configuration. `forwarded` is the request as this
    cluster gets it, None where it is as all get it.
    """

    cluster: str
    weight: int
    probability: float
    upstream: Upstream | None = None
    forwarded: Request | None = None


@dataclass(frozen=True, slots=True)
class Injected:
    """What a filter does to a share (0..1) of the requests: answers with `status` (and gRPC's), or delays."""

    share: float
    status: int | None
    flags: str
    delay_s: float | None
    why: str
    grpc_status: int | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """The proxy answers itself, or (`status` None) closes the connection.

    A ``handshake`` fails while the client's TLS begins; `late`: only after the client takes it for done (TLS 1.3).
    `grpc_status` is what it answers to gRPC, None for what belongs to `status`.
    """

    status: int | None
    flags: str
    details: str
    why: str
    kind: Literal["filter", "route", "connection", "handshake"] = "route"
    cause: Cause = ""
    late: bool = False
    grpc_status: int | None = None

    def answer(self, *, grpc: bool) -> int | None:
        """The status that a client reads, gRPC's own where it speaks that; None where the connection is closed."""
        if self.status is None or not grpc:
            return self.status
        return self.grpc_status if self.grpc_status is not None else of_http(self.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One proxy's decision about one request; `probability` is that of this alternative.

    `source` names the Istio object behind the route; `terminated`: the proxy ends the client's TLS itself; `endpoint`
    is where a Sidecar's ingress sends an inbound connection, empty for where it was to. `mirrors` are as
    ``CLUSTER SHARE``, `dropped` those of them (by cluster) whose copies Envoy drops, each with the reason. `missed`
    says why the listener that is meant for the destination does not decide, `changes` what the route changes of the
    request, and by what of it the endpoint is chosen. `no_cluster` is the answer where the cluster does not exist.
    """

    tcp: bool = False
    refusal: Refusal | None = None
    options: tuple[Option, ...] = ()
    injected: tuple[Injected, ...] = ()
    route: str | None = None
    listener: str = ""
    chain: str = ""
    virtual_host: str = ""
    retry: RetryPolicy | None = None
    timeout_s: float | None = None
    mirrors: tuple[str, ...] = ()
    dropped: tuple[tuple[str, str], ...] = ()
    missed: str = ""
    changes: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()
    forwarded: Request | None = None
    policies: tuple[str, ...] = ()
    source: str = ""
    terminated: bool = False
    steps: tuple[Step, ...] = ()
    undecided: tuple[str, ...] = ()
    assumed: bool = False
    endpoint: str = ""
    no_cluster: int = 503
    istio: IstioConfig | None = None
    probability: float = 1.0


def of_match(match: Match, request: Request) -> tuple[Decision, ...]:
    """The decisions that a match stands for: itself, and what chance may choose instead."""
    return (_one(match, request), *(_one(other, request) for other in match.alternatives))


def _one(match: Match, request: Request) -> Decision:
    action = match.route.action if match.route is not None else None
    forward = action if isinstance(action, Forward) else None
    tcp = match.action == "tcp" or (match.tcp_proxy is not None and match.manager is None)
    sents = tuple(_rewritten(match, forward, request, one) for one in match.sent) if forward is not None else ()
    sent = sents[0] if sents else request
    undecided = match.undecided_because if match.forwards is None else ()
    chosen = [share for share in match.clusters if share.probability > 0]
    ends = match.upstreams if len(match.upstreams) == len(chosen) else (None,) * len(chosen)
    if match.forwards is None and not undecided and match.error is None and match.status is None:
        open_ends = [f"{end.name}: {end.because}" for end in match.upstreams if end.verdict == "undecided"]
        undecided = tuple(open_ends) or ("the proxy's decision cannot be told",)
    return Decision(
        tcp=tcp,
        refusal=None if undecided else _refusal(match),
        options=tuple(_options(chosen, ends, sents)),
        injected=tuple(_injected(match.verdicts)),
        route=(match.route.name or None) if match.route is not None else None,
        listener=match.listener.name if match.listener is not None else "",
        chain=match.filter_chain.name if match.filter_chain is not None else "",
        virtual_host=match.virtual_host.name if match.virtual_host is not None else "",
        retry=_retry(match, forward),
        timeout_s=forward.timeout_s if forward is not None else None,
        mirrors=tuple(_mirrors(forward)) if forward is not None else (),
        changes=tuple(_changes(forward, request, sent)) if forward is not None else (),
        offers=_offers(match),
        forwarded=sent,
        policies=tuple(str(v.policy) for v in match.verdicts if v.policy is not None and not v.shadow),
        source=str(match.route.istio) if match.route is not None and match.route.istio is not None else "",
        terminated=_ends_tls(match),
        steps=match.steps,
        istio=match.route.istio if match.route is not None else None,
        undecided=undecided,
        probability=match.probability,
    )


def _refusal(match: Match) -> Refusal | None:
    answered = next((v for v in match.verdicts if v.decision == "answers" and v.share >= 1 and not v.shadow), None)
    if answered is not None:
        name = str(answered.policy) if answered.policy else answered.policy_name
        why = answered.because if not name or name in answered.because else f"{answered.because} ({name})"
        flags = answered.flags or match.flags or ""
        kind: Literal["filter", "connection", "handshake"] = "filter" if answered.status is not None else "connection"
        cause: Cause = "fault" if {"FI", "DI"} & set(flags.split(",")) else "policy"
        details, told = answered.details or match.details, match.grpc_status
        status = answered.status if told is None else match.status
        return Refusal(status, flags, details, why, kind, cause, grpc_status=told)
    if match.forwards:
        return None
    if len(match.upstreams) > 1 and all(end.flags for end in match.upstreams):
        return None  # each cluster that chance may choose fails for a reason of its own
    if match.error == "no-listener":
        return Refusal(None, match.flags or "", NO_LISTENER, _because(match), "connection")
    if match.error is not None and match.status is None:
        kind = _place_of_failure(match)
        late = kind == "handshake" and _lacks_certificate(match)
        return Refusal(None, match.flags or "", match.details, _because(match), kind, late=late)
    cause = "registry-only" if _registry_only(match) else ""
    if match.status is not None:
        told = match.grpc_status
        return Refusal(match.status, match.flags or "", match.details, _because(match), cause=cause, grpc_status=told)
    if match.forwards is False:
        return Refusal(None, match.flags or "", match.details, _because(match), "connection", cause)
    return None


def _place_of_failure(match: Match) -> Literal["connection", "handshake"]:
    """Whether it is the client's TLS handshake that fails: no chain takes it, or what takes it does not speak TLS."""
    ended = match.error == "protocol-error" and _ends_tls(match)
    return "connection" if match.query.tls == "plaintext" or ended else "handshake"


def _ends_tls(match: Match) -> bool:
    return match.filter_chain is not None and match.filter_chain.transport_socket.get().tls is not None


def _lacks_certificate(match: Match) -> bool:
    """Whether all that a handshake lacks is the client's certificate: in TLS 1.3 that is noticed after it."""
    tls = match.filter_chain.transport_socket.get().tls if match.filter_chain is not None else None
    return tls is not None and match.query.tls == "tls" and tls.versions[1] in ("", "TLS_AUTO", "TLSv1_3")


def _registry_only(match: Match) -> bool:
    """Whether the mesh refuses the destination, since it may only be one that it knows (``block_all``)."""
    if match.route is not None and match.route.name == "block_all":
        return True
    return bool(match.clusters) and match.clusters[0].name == BLACK_HOLE and not _own_port(match)


def _own_port(match: Match) -> bool:
    """Whether a connection is refused since it is to the proxy's own port, which would send it in circles.

    Source: ``buildOutboundCatchAllNetworkFilterChains`` and ``buildInboundBlackhole``, Istio 1.30.
    """
    return match.filter_chain is not None and match.filter_chain.name.endswith(("-blackhole", "-trafficloop"))


def _because(match: Match) -> str:
    if match.route is not None and match.route.name == "block_all":
        return "the mesh does not know this host, and outboundTrafficPolicy is REGISTRY_ONLY"
    if _own_port(match):
        return f"port {match.query.port} is the proxy's own: it refuses what is sent to it directly"
    if match.clusters and match.clusters[0].name == BLACK_HOLE:
        return "the mesh does not know this destination, and outboundTrafficPolicy is REGISTRY_ONLY (BlackHoleCluster)"
    if match.action in ("redirect", "direct_response") and match.route is not None:
        where = f" to {match.location}" if match.location else ""
        return f"route {match.route.name or '(unnamed)'} is a {match.action.replace('_', ' ')}{where}"
    return match.steps[-1].because if match.steps else (match.error or "")


def _injected(verdicts: tuple[Verdict, ...]) -> Iterator[Injected]:
    """The faults, as far as the filter that answers every request: it sees what the ones before it let through."""
    for verdict in verdicts:
        if verdict.shadow or verdict.share <= 0:
            continue
        if verdict.decision == "answers" and verdict.share >= 1:
            return
        if verdict.decision == "delays":
            yield Injected(verdict.share, None, verdict.flags or "DI", verdict.delay_s, verdict.because)
        elif verdict.decision == "answers" and verdict.share < 1:
            told = verdict.grpc_status
            yield Injected(verdict.share, verdict.status, verdict.flags or "", None, verdict.because, told)


def _retry(match: Match, forward: Forward | None) -> RetryPolicy | None:
    if forward is None:
        return None
    if forward.retry is not None:
        return forward.retry
    return match.virtual_host.retry.get() if match.virtual_host is not None else None


def _mirrors(forward: Forward) -> Iterator[str]:
    for mirror in forward.mirrors:
        share = "" if mirror.fraction is None else f" {mirror.fraction.share:.0%}"
        yield f"{mirror.cluster}{share}"


def _changes(forward: Forward, request: Request, sent: Request) -> Iterator[str]:
    """What a route changes of a request before it is sent on, and by what of it the endpoint is chosen."""
    if forward.regex_rewrite is not None:
        pattern, made = forward.regex_rewrite
        yield f"the path becomes {sent.path} (the expression {pattern} replaced by {made})"
    elif forward.prefix_rewrite:
        yield f"the path becomes {sent.path} (the matched prefix replaced by {forward.prefix_rewrite})"
    if forward.host_rewrite and sent.host != request.host:
        yield f"Host becomes {sent.host}"
    elif forward.auto_host_rewrite:
        yield "Host becomes the endpoint's name, where it has one"
    if forward.hash_policy:
        of = ", else ".join(map(str, forward.hash_policy))
        yield f"the same endpoint for the same {of} (where the cluster balances by hashes)"


def _offers(match: Match) -> tuple[str, ...]:
    """The ALPN that istio's alpn filter makes the client's proxy offer for HTTP/1.1; empty without that filter."""
    if match.manager is None:
        return ()
    for part in match.manager.filters.get():
        if part.type.endswith("AlpnFilterConfig") or "alpn" in part.name:
            config = part.config.get()
            if isinstance(config, AlpnOverride):
                version = "HTTP2" if match.query.protocol == "http2" else "HTTP11"
                return config.offers.get(version, ())
    return ()


def _options(shares: list[Share], ends: Sequence[Upstream | None], sents: Sequence[Request]) -> Iterator[Option]:
    for number, (share, end) in enumerate(zip(shares, ends, strict=True)):
        own = sents[number] if len(sents) == len(shares) > 1 else None
        yield Option(share.name, share.weight, share.probability, end, own)


def _rewritten(match: Match, forward: Forward, request: Request, sent: EnvoyRequest) -> Request:
    """The request as the upstream gets it; a path that cannot be computed stays as it was."""
    path: str | None = request.path
    if match.route is not None and (forward.prefix_rewrite or forward.regex_rewrite is not None):
        path = rewrite.upstream_path(forward, match.route.match, sent)
    return replace(
        request,
        path=path or request.path,
        host=forward.host_rewrite or request.host,
        headers=in_pairs(sent.headers),
        unsure=tuple(sent.unsettled),
    )


def evidence(origin: Origin | None, text: str = "") -> tuple[Evidence, ...]:
    """An origin as evidence; nothing where there is none."""
    if origin is None or not origin.source:
        return ()
    place = f"line {origin.line}" if origin.line is not None else origin.path
    return (Evidence(origin.source, place, text or origin.text),)

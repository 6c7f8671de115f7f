"""The words of Envoy's access log: status, response flags and details in plain words, with their usual causes.

Source: Envoy's access log and response code details pages (1.40); the causes are ordered by how often they are met.
"""

import re
from typing import Literal

from meshctl.frozen import dataclass

Side = Literal["", "inbound", "outbound"]
"""By whom a line was logged: the callee's proxy, the caller's (or a gateway); empty for any."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A usual cause, and the command that shows whether it is the one here.

    `sign` is what a log line's details say where it is this one (a regular expression; empty: they do not tell).
    `told` is true where the line at hand says so. `side`: it can only be met in the log of that proxy.
    """

    text: str
    command: str
    sign: str = ""
    told: bool = False
    side: Side = ""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one word of the log says."""

    word: str
    plain: str
    causes: tuple[Cause, ...] = ()


def _causes(*each: tuple[str, str] | tuple[str, str, str], side: Side = "") -> tuple[Cause, ...]:
    return tuple(Cause(words[0], words[1], words[2] if len(words) > 2 else "", side=side) for words in each)


_REFUSED = r"(?i)connection.refused|connect.error:.111\b"
"""As Envoy logs it: in words, or by its number alone (``delayed_connect_error:_111``, ECONNREFUSED of Linux)."""
_NO_ANSWER = r"(?i)timeout|no.route|unreachable|connect.error:.1(?:01|10|13)\b"
"""ENETUNREACH, ETIMEDOUT and EHOSTUNREACH likewise."""


def is_refused(details: str) -> bool:
    """Whether a logged failure says that nothing listens."""
    return re.search(_REFUSED, details) is not None


_ENDPOINTS = "meshctl proxy endpoints POD --cluster CLUSTER"
_TRACE = "meshctl trace SERVICE:PORT --from POD"
FLAGS: dict[str, Meaning] = {
    meaning.word: meaning
    for meaning in (
        Meaning(
            "UH",
            "the cluster has no healthy endpoint: nothing was sent",
            _causes(
                (
                    "no pod of the Service is ready, or its selector matches none",
                    "kubectl get endpointslices -l kubernetes.io/service-name=SERVICE",
                ),
                ("a subset's labels match no pod", _ENDPOINTS),
                ("outlier detection ejected every endpoint after failures", _ENDPOINTS),
                (
                    "the address is sent to BlackHoleCluster (REGISTRY_ONLY, or nothing listens for it)",
                    _TRACE,
                    "BlackHoleCluster",
                ),
                side="outbound",
            ),
        ),
        Meaning(
            "UF",
            "the connection to the endpoint could not be made",
            (
                *_causes(("nothing listens on that port in the pod (Connection refused)", _TRACE, _REFUSED)),
                *_causes(
                    (
                        "one side speaks mutual TLS and the other plain text (WRONG_VERSION_NUMBER, TLS error)",
                        "meshctl check",
                        "(?i)WRONG_VERSION_NUMBER|TLS_error|SSL",
                    ),
                    (
                        "the address does not answer: a gone pod, a NetworkPolicy, a host outside (timeout, no route)",
                        _ENDPOINTS,
                        _NO_ANSWER,
                    ),
                    (
                        "a certificate does not fit: another trust domain or service account "
                        "(CERTIFICATE_VERIFY_FAILED)",
                        "meshctl proxy secrets POD",
                        "CERTIFICATE_VERIFY_FAILED",
                    ),
                    side="outbound",
                ),
                *_causes(
                    (
                        "the application takes no connections: it hangs, or its backlog is full (timeout)",
                        "kubectl describe pod POD",
                        _NO_ANSWER,
                    ),
                    side="inbound",
                ),
            ),
        ),
        Meaning(
            "URX",
            "it was tried again as often as the route allows (HTTP), or the connect attempts are used up (TCP)",
            _causes(("the flag beside it says what failed each time", _TRACE)),
        ),
        Meaning(
            "UC",
            "the endpoint closed the connection before it answered",
            _causes(
                ("the application closes idle connections sooner than the proxy does (keep-alive races)", _TRACE),
                ("the application crashed or was stopped while it answered", "kubectl describe pod POD"),
                ("the port speaks another protocol than the one it is named for", "meshctl describe pod POD"),
            )
            + _causes(("the other side requires mutual TLS and resets plain text", _TRACE), side="outbound"),
        ),
        Meaning(
            "UO",
            "a circuit breaker was full: the request was refused without being sent",
            _causes(("connectionPool limits in a DestinationRule are reached", "meshctl proxy clusters POD")),
        ),
        Meaning(
            "NR",
            "no route, or no filter chain, fits",
            (
                *_causes(
                    (
                        "no virtual host has this Host header on this port",
                        "meshctl proxy match POD --address ADDRESS --port PORT --host HOST",
                        "route_not_found",
                    ),
                    ("a VirtualService has matches only, and none fits this path, method or header", _TRACE),
                    side="outbound",
                ),
                *_causes(
                    (
                        "plain text came to a workload that accepts mutual TLS only (filter_chain_not_found)",
                        _TRACE,
                        "filter_chain_not_found",
                    ),
                    side="inbound",
                ),
                *_causes(("the SNI or protocol fits no filter chain", "meshctl proxy listeners POD")),
            ),
        ),
        Meaning(
            "NC",
            "the route names a cluster that the proxy does not have",
            _causes(
                ("a VirtualService names a subset that no DestinationRule defines", "meshctl check"),
                ("a VirtualService names a host or port that does not exist", _TRACE),
                ("a Sidecar resource hides the host from this proxy", "meshctl proxy clusters POD"),
                side="outbound",
            ),
        ),
        Meaning(
            "DC",
            "the client closed the connection before the answer was complete",
            _causes(
                ("the client's own timeout is shorter than the server needs", "kubectl logs POD -c istio-proxy"),
                ("the client was stopped, or a caller before it gave up", "kubectl logs POD"),
            ),
        ),
        Meaning(
            "UT",
            "the route's timeout passed before the answer came",
            _causes(
                ("the VirtualService's timeout is too short for this request", _TRACE),
                ("the application is slow or hangs", "kubectl logs POD"),
            ),
        ),
        Meaning(
            "DT",
            "the request or connection lasted longer than its maximum duration",
            _causes(("max_connection_duration or a stream's maximum is set", "meshctl proxy listeners POD")),
        ),
        Meaning(
            "UAEX",
            "an external authorization service refused the request",
            _causes(
                ("an AuthorizationPolicy with action CUSTOM asks a provider that said no", "meshctl check"),
                ("the provider cannot be reached and fails closed", "meshctl trace PROVIDER:PORT --from POD"),
            ),
        ),
        Meaning(
            "FI",
            "a fault was injected on purpose: the request was aborted by the proxy",
            _causes(("a VirtualService has fault.abort", _TRACE)),
        ),
        Meaning("DI", "a delay was injected on purpose", _causes(("a VirtualService has fault.delay", _TRACE))),
        Meaning("RL", "a rate limit was reached", _causes(("a rate limit filter answered 429", _TRACE))),
        Meaning("RLSE", "the rate limit service failed", _causes(("the rate limit service cannot be reached", _TRACE))),
        Meaning(
            "LR",
            "the proxy itself reset the connection",
            _causes(("a timeout or a limit inside the proxy", "kubectl logs POD -c istio-proxy")),
        ),
        Meaning(
            "UR",
            "the endpoint reset the stream",
            _causes(
                ("the application reset it (HTTP/2 RST_STREAM, TCP RST)", "kubectl logs POD"),
            )
            + _causes(("a policy at the other side closed the connection", _TRACE), side="outbound"),
        ),
        Meaning(
            "LH", "the local health check failed", _causes(("the proxy reports itself unhealthy", "meshctl check"))
        ),
        Meaning(
            "IH",
            "a header of Envoy's own had a value that it refuses",
            _causes(("an x-envoy-* header is malformed", "kubectl logs POD -c istio-proxy")),
        ),
        Meaning(
            "SI",
            "the stream was idle for longer than the idle timeout",
            _causes(("a long poll or a stream without data", _TRACE)),
        ),
        Meaning(
            "DPE",
            "the client broke the protocol",
            _causes(
                ("the client speaks something else than HTTP to an HTTP port", "meshctl describe pod POD"),
                ("the request's headers are not valid HTTP", "kubectl logs POD"),
            ),
        ),
        Meaning(
            "UPE",
            "the endpoint broke the protocol",
            _causes(
                ("the port is named http but the application speaks something else", "meshctl describe pod POD"),
                ("the endpoint speaks HTTP/1.1 where HTTP/2 is used (or the other way round)", _TRACE),
            ),
        ),
        Meaning("UMSDR", "the stream reached its maximum duration", _causes(("max_stream_duration is set", _TRACE))),
        Meaning("RFCF", "the answer came from a cache"),
        Meaning(
            "NFCF",
            "a filter's configuration never arrived",
            _causes(("a WasmPlugin or an ECDS resource could not be loaded", "meshctl proxy listeners POD")),
        ),
        Meaning(
            "OM",
            "the proxy refused because it is overloaded",
            _causes(("the proxy's memory or connection limit is reached", "kubectl describe pod POD")),
        ),
        Meaning(
            "DF",
            "the proxy could not resolve the host's name",
            _causes(("a ServiceEntry with resolution DNS names a host that does not exist", _ENDPOINTS)),
        ),
        Meaning("DO", "the endpoint's configuration asks to drop a share of the load"),
        Meaning("UDO", "the endpoint's configuration asks to drop all of the load"),
        Meaning("DR", "the client reset the stream", _causes(("the client cancelled the request", "kubectl logs POD"))),
    )
}
LONG: dict[str, str] = {
    "FailedLocalHealthCheck": "LH",
    "NoHealthyUpstream": "UH",
    "UpstreamRequestTimeout": "UT",
    "LocalReset": "LR",
    "UpstreamRemoteReset": "UR",
    "UpstreamConnectionFailure": "UF",
    "UpstreamConnectionTermination": "UC",
    "UpstreamOverflow": "UO",
    "NoRouteFound": "NR",
    "DelayInjected": "DI",
    "FaultInjected": "FI",
    "RateLimited": "RL",
    "UnauthorizedExternalService": "UAEX",
    "RateLimitServiceError": "RLSE",
    "DownstreamConnectionTermination": "DC",
    "UpstreamRetryLimitExceeded": "URX",
    "StreamIdleTimeout": "SI",
    "InvalidEnvoyRequestHeaders": "IH",
    "DownstreamProtocolError": "DPE",
    "UpstreamMaxStreamDurationReached": "UMSDR",
    "ResponseFromCacheFilter": "RFCF",
    "NoFilterConfigFound": "NFCF",
    "DurationTimeout": "DT",
    "UpstreamProtocolError": "UPE",
    "NoClusterFound": "NC",
    "OverloadManagerTerminated": "OM",
    "DnsResolutionFailed": "DF",
    "DropOverload": "DO",
    "DownstreamRemoteReset": "DR",
    "UnconditionalDropOverload": "UDO",
}
"""The flags as ``%RESPONSE_FLAGS_LONG%`` writes them (Envoy 1.29 and later)."""
_BY_LONG = {name.lower(): flag for name, flag in LONG.items()}


def flag_of(word: str) -> str:
    """A flag as Envoy writes it short; a word that is none as it is."""
    return _BY_LONG.get(word.lower(), word.upper() if word.upper() in FLAGS else word)


DETAILS: tuple[tuple[str, str], ...] = (
    (r"^via_upstream$", "the answer is the endpoint's own: the application's, or its proxy's"),
    (r"^direct_response$", "a route answered by itself (direct response or redirect)"),
    (r"^route_not_found$", "no route fits the host and path"),
    (r"^cluster_not_found$", "the route's cluster does not exist in this proxy"),
    (r"^no_healthy_upstream$", "the cluster has no healthy endpoint"),
    (r"^filter_chain_not_found$", "no filter chain fits: often plain text where mutual TLS is required"),
    (r"^rbac_access_denied_matched_policy\[none\]$", "no ALLOW policy fits this request"),
    (
        r"^rbac_access_denied_matched_policy\[(?:istio-ext-authz-)?ns\[(.+?)\]-policy\[(.+?)\]-rule\[(\d+)\]\]$",
        "rule {2} (the first is 0) of AuthorizationPolicy {1} in namespace {0} refuses it",
    ),
    (r"^rbac_access_denied_matched_policy\[(.+)\]$", "a DENY policy fits: {0}"),
    (r"^jwt_authn_access_denied\{(.*)\}$", "the token was refused: {0}"),
    (r"^ext_authz_denied$", "the external authorization service said no"),
    (r"^ext_authz_error$", "the external authorization service failed"),
    (r"^fault_filter_abort$", "an injected fault"),
    (r"^(?:upstream_)?response_timeout$", "the route's timeout passed"),
    (r"^upstream_per_try_timeout$", "each try has a timeout, and it passed"),
    (r"^downstream_remote_disconnect$", "the client went away"),
    (r"^upstream_reset_before_response_started\{(.*)\}$", "the connection to the endpoint failed or was cut: {0}"),
    (r"^upstream_reset_after_response_started\{(.*)\}$", "the endpoint cut its answer short: {0}"),
    (r"^http1\.codec_error$", "what came is not valid HTTP/1"),
    (r"^missing_host_header$", "the request has no Host header"),
    (r"WRONG_VERSION_NUMBER", "the other side answered in plain text to a TLS handshake: it has no proxy on that port"),
    (r"CERTIFICATE_VERIFY_FAILED", "the other side's certificate is not the one that is expected"),
    (_REFUSED, "nothing listens on that port"),
    (r"(?i)no.route.to.host|unreachable|connect.error:.1(?:01|10|13)\b", "nothing answers at that address"),
)
"""What a response code detail says (a regular expression, its groups from 0 on): the first that fits counts."""

STATUS: dict[int, str] = {
    0: "no answer was sent: the connection ended first (for TCP there is never a status)",
    301: "redirected",
    302: "redirected",
    400: "the request is malformed",
    401: "no valid token, where one is checked (RequestAuthentication)",
    403: "refused: by an AuthorizationPolicy where the details say rbac, else by the application",
    404: "not found: by the application, or (flag NR) because no route fits",
    408: "the request took too long to arrive",
    413: "the request's body is too large",
    426: "HTTP/1.0 or plain HTTP is not accepted: an upgrade is required",
    429: "a rate limit was reached",
    431: "the headers are too large",
    500: "an error of the application, or a filter that failed",
    502: "a broken answer from the endpoint, or (REGISTRY_ONLY) a host that the mesh does not know",
    503: "unavailable: the flag beside it says why; without a flag the endpoint itself answered it",
    504: "a timeout passed before the answer came",
}
"""What a status says by itself."""

WITHOUT_FLAG: dict[int, tuple[Cause, ...]] = {
    502: _causes(
        (
            "the mesh does not know the host, and REGISTRY_ONLY refuses it (route block_all)",
            "meshctl trace SERVICE:PORT --from POD",
            "block_all",
        ),
        side="outbound",
    )
    + _causes(("the endpoint's answer is broken, or its own 502", "kubectl logs POD")),
    503: _causes(
        (
            "the callee's own proxy could not reach its application (its log has UF, UH or UC)",
            "meshctl trace SERVICE:PORT --from POD",
        ),
        side="outbound",
    )
    + _causes(
        ("the application itself answers 503", "kubectl logs POD"),
    ),
    403: _causes(
        (
            "an AuthorizationPolicy at the callee refuses (its log has rbac_access_denied)",
            "meshctl trace SERVICE:PORT --from POD --path PATH",
            "rbac_access_denied",
        ),
        ("the application itself refuses", "kubectl logs POD"),
    ),
    401: _causes(
        (
            "a RequestAuthentication refuses the token (its log has jwt_authn_access_denied)",
            "meshctl trace SERVICE:PORT --from POD --header 'authorization=Bearer ...'",
            "jwt_authn_access_denied",
        ),
        ("the application itself refuses", "kubectl logs POD"),
    ),
}
"""The usual causes of a status that has no flag beside it."""

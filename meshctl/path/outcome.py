"""From the courses that a request may take to one outcome: what failed connections become, and what chance decides.

Response flags of Envoy 1.40 as recorded: HTTP writes them in the order in which they were set (``URX,UF``), a TCP
proxy ``UF,URX``.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from meshctl.envoy import grpc as grpc_words
from meshctl.envoy.model.routes import RetryPolicy
from meshctl.frozen import dataclass
from meshctl.path.model import AnsweredBy, Branch, Cause, End, Hop, KubeProxy, Mtls


@dataclass(frozen=True, slots=True)
class Spared:
    """An endpoint that fails, which retries hide: the share (0..1) of its tries that fail, and why."""

    place: str
    share: float
    why: str


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a proxy waits, in seconds: for the answer (the route's; None or 0: for ever), and for a connection.

    `connect_s` is None where it is not known. A limit for each try begins only with the connection (Envoy,
    ``UpstreamRequest::onPoolReady``).
    """

    timeout_s: float | None = None
    connect_s: float | None = None

    @property
    def one_try(self) -> bool:
        """Whether the answer is given up before the first connection is."""
        return bool(self.timeout_s) and self.connect_s is not None and (self.timeout_s or 0) < self.connect_s


UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class Course:
    """One way that a request may go: its chance 0..1, where it went, how it ends, and the stations after the choice.

    `spared` are endpoints of the same cluster whose failures it does not see, since the proxy tries again; `restricted`
    says which NetworkPolicies would keep it back, or may.
    """

    probability: float
    end: End
    hops: tuple[Hop, ...] = ()
    cluster: str | None = None
    endpoint: str = ""
    pod: str = ""
    kube_proxy: KubeProxy | None = None
    spared: tuple[Spared, ...] = ()
    restricted: tuple[str, ...] = ()


def untold(
    why: str, *, through_client: bool | None = False, through_server: bool | None = False, mtls: Mtls | None = None
) -> End:
    """An end that cannot be told, and the reason; what is known of the way there stays."""
    return End(None, through_client=through_client, through_server=through_server, mtls=mtls, why=why, undecided=(why,))


def unsure(end: End, why: str) -> End:
    """An end that holds only if something does that cannot be told; what does not depend on that stays."""
    if end.undecided:
        return replace(end, why=why, undecided=(why, *end.undecided))
    unknown = replace(end, answered_by=None, status=None, flags="", server_flags="", delivered=None, broken="")
    return replace(unknown, why=why, undecided=(why,), cause="")


def at_callee(
    status: int | None, flags: str, why: str, mtls: Mtls | None, cause: Cause = "", grpc_status: int | None = None
) -> End:
    """How a request ends at the callee's proxy: by an answer of its own, or (`status` None) cut off."""
    by: AnsweredBy = "nobody" if status is None else "server-proxy"
    broken: Literal["", "reset"] = "reset" if status is None else ""
    return End(by, status, "", flags, False, False, True, mtls, broken, why, cause=cause, grpc_status=grpc_status)


_ON_CONNECT = frozenset(("connect-failure", "reset", "reset-before-request", "5xx", "gateway-error"))
_ON_RESET = frozenset(("reset", "5xx", "gateway-error"))


def retries_on(policy: RetryPolicy | None, *, connected: bool) -> bool:
    """Whether a failed try is one to try again; `connected`: the connection stood when it was cut.

    With ``num_retries: 0`` it is not tried again, and the flag (URX) is there all the same.
    ``5xx`` and ``gateway-error`` count a reset as a 503 (Envoy, router filter, ``x-envoy-retry-on``).
    """
    wanted = _ON_RESET if connected else _ON_CONNECT
    return policy is not None and bool(wanted.intersection(policy.on))


def retries_status(policy: RetryPolicy | None, status: int, *, grpc: bool = False) -> bool:
    """Whether a proxy's answer with this status is tried again; to a `grpc` request it is a gRPC status.

    Source: Envoy, ``x-envoy-retry-grpc-on``, whose words are names of gRPC's statuses.
    """
    if policy is None:
        return False
    on = set(policy.on)
    if grpc:
        return grpc_words.named(status).partition(" ")[2].lower().replace("_", "-") in on
    if "retriable-status-codes" in on and status in policy.status_codes:
        return True
    if "5xx" in on and 500 <= status < 600:
        return True
    if "gateway-error" in on and status in (502, 503, 504):
        return True
    return "retriable-4xx" in on and status == 409


def retried(end: End, policy: RetryPolicy | None, *, grpc: bool = False, limits: Limits = UNLIMITED) -> bool:
    """Whether a try that ends like this on the other side is one to try again, as often as there are tries left."""
    if end.broken == "timeout" and limits.one_try:
        return False
    if end.broken in ("refused", "tls", "timeout"):
        return retries_on(policy, connected=False)
    if end.broken == "reset":
        return retries_on(policy, connected=True)
    told = end.status is not None and end.answered_by in ("server-proxy", "gateway")
    if not told or end.status is None:
        return False
    return retries_status(policy, grpc_of(end) if grpc else end.status, grpc=grpc)


def grpc_of(end: End) -> int:
    """The gRPC status of a proxy's own answer."""
    return end.grpc_status if end.grpc_status is not None else grpc_words.of_http(end.status or 0)


def as_answered(end: End, *, grpc: bool) -> End:
    """The end as the client sees it: a proxy's answer to a gRPC request is 200, its status is in a header."""
    if end.status is None or end.answered_by == "app":
        return end
    return replace(end, status=200, grpc_status=grpc_of(end)) if grpc else replace(end, grpc_status=None)


def through_client_http(end: End, policy: RetryPolicy | None, *, grpc: bool = False, limits: Limits = UNLIMITED) -> End:
    """What a caller with an HTTP proxy gets where the other side ends like this."""
    end = replace(end, through_client=True)
    if end.broken == "timeout" and limits.timeout_s:
        return _unanswered(end, policy, limits.timeout_s, limits.connect_s)
    if end.broken in ("refused", "tls", "timeout"):
        return _unconnected(end, policy)
    if end.broken == "reset":
        flags = "URX,UC" if retries_on(policy, connected=True) else "UC"
        return replace(end, answered_by="client-proxy", status=503, flags=flags, broken="")
    return replace(end, flags="URX") if retried(end, policy, grpc=grpc) else end


def _unconnected(end: End, policy: RetryPolicy | None) -> End:
    flags = "URX,UF" if retries_on(policy, connected=False) else "UF"
    return replace(end, answered_by="client-proxy", status=503, flags=flags, broken="")


_LONGEST_PAUSE_S = 0.25
"""At most so long waits Envoy before it tries again, where the route says nothing (``retry_back_off``)."""


def _unanswered(end: End, policy: RetryPolicy | None, timeout_s: float, connect_s: float | None) -> End:
    """No packet comes back: the route's timeout (504 UT) or that of all tries to connect (UF), which ends first."""
    if connect_s is None:
        return unsure(end, f"{end.why}: UF or, where connecting is given longer than the route's {timeout_s:g}s, UT")
    again = policy.attempts if policy is not None and retries_on(policy, connected=False) else 0
    least = connect_s * (again + 1)
    if timeout_s < least:
        why = f"{end.why}; the route's timeout of {timeout_s:g}s is over before those to connect ({least:g}s)"
        return replace(end, answered_by="client-proxy", status=504, flags="UT", broken="", why=why)
    if timeout_s > least + again * max(_LONGEST_PAUSE_S, 10 * (policy.back_off_s or 0) if policy is not None else 0):
        return _unconnected(end, policy)
    return unsure(end, f"{end.why}: whether the timeout of the route or of connecting ends it cannot be told")


def through_client_tcp(end: End, *, passes_resets: bool | None = None) -> End:
    """What a caller with a TCP proxy gets: the connection stands first, then it is cut.

    A callee that has no chain for the bytes closes while they are unread, which is a reset on the wire.
    """
    end = replace(end, through_client=True)
    if end.broken == "reset" and passes_resets and "NR" in end.server_flags.split(","):
        return replace(end, flags="UR")
    if end.broken in ("refused", "tls", "timeout"):
        return replace(end, flags="UF,URX", broken="reset")
    return end


def merged(courses: Iterable[Course]) -> list[Course]:
    """Courses that end alike on the same cluster become one, with their chances added; the likeliest first."""
    found: dict[tuple[object, ...], Course] = {}
    for course in courses:
        key = (course.cluster, _essence(course.end))
        known = found.get(key)
        found[key] = replace(known, probability=known.probability + course.probability) if known else course
    return sorted(found.values(), key=lambda course: -course.probability)


def alike(some: Iterable[Course], others: Iterable[Course]) -> bool:
    """Whether two sets of courses end alike, with the same shares."""
    return _shares(some) == _shares(others)


def _shares(courses: Iterable[Course]) -> dict[tuple[object, ...], float]:
    together = merged(courses)
    total = sum(course.probability for course in together) or 1.0
    return {(course.cluster, _essence(course.end)): round(course.probability / total, 6) for course in together}


def _essence(end: End) -> tuple[object, ...]:
    return (
        end.answered_by,
        end.status,
        end.flags,
        end.server_flags,
        end.delivered,
        end.through_client,
        end.through_server,
        end.mtls,
        end.broken,
        bool(end.undecided),
    )


def branches(courses: Iterable[Course]) -> tuple[Branch, ...]:
    """The merged courses as branches, rounded so that they sum to 1."""
    return tuple(Branch(round(c.probability, 6), c.cluster, c.end) for c in merged(courses))


def with_retries(
    courses: list[Course], policy: RetryPolicy | None, *, grpc: bool = False, limits: Limits = UNLIMITED
) -> list[Course]:
    """Where only some of a cluster's endpoints fail in a way that the policy retries, another try may be answered."""
    bad = [retried(c.end, policy, grpc=grpc, limits=limits) for c in courses]
    total, failing = (
        sum(c.probability for c in courses),
        sum(c.probability for c, b in zip(courses, bad, strict=True) if b),
    )
    if policy is None or not failing or failing >= total * (1 - 1e-9) or not policy.attempts:
        return courses
    first = failing / total
    lost = _lost(courses, bad, policy)
    spared = _spared(courses, bad)
    found = []
    for course, fails in zip(courses, bad, strict=True):
        chance = course.probability * (lost / first if fails else (1 - lost) / (1 - first))
        if chance > 1e-9:
            found.append(replace(course, probability=chance, spared=(*course.spared, *spared)))
    return found


def _lost(courses: list[Course], bad: list[bool], policy: RetryPolicy) -> float:
    """The share (0..1) of requests of which every try fails.

    Istio's routes avoid hosts that were tried (``previous_hosts``). Then each further try finds the endpoints that
    are left, on average one that failed the fewer; with none left, any of them again. A host that is avoided is picked
    all the same where it comes up in every pick of a try (``LoadBalancerBase::chooseHost``, by chance): that is told
    where it is all that makes a request fail, and not too seldom.
    """
    total = sum(c.probability for c in courses)
    share: dict[str, float] = {}
    fails: dict[str, float] = {}
    for course, failed in zip(courses, bad, strict=True):
        share[course.endpoint] = share.get(course.endpoint, 0.0) + course.probability / total
        fails[course.endpoint] = fails.get(course.endpoint, 0.0) + (course.probability / total if failed else 0.0)
    first = sum(fails.values())
    gone = gone_failing = 0.0
    if any("previous_hosts" in name for name in policy.host_predicates):
        gone = sum(fails[place] * share[place] for place in share) / first
        gone_failing = sum(fails[place] ** 2 for place in share) / first
    lost = met_again = 1.0
    for tried in range(policy.attempts + 1):
        left = 1 - tried * gone
        now = (first - tried * gone_failing) / left if left > 1e-9 else first
        now = min(1.0, max(0.0, now))
        again = min(first, tried * gone) ** (policy.picks + 1)
        lost, met_again = lost * now, met_again * (again + (1 - again) * now)
    if lost > 1e-9:
        return lost
    return met_again if met_again > _SELDOM else 0.0


_SELDOM = 0.01
"""A share of requests that is not worth a word beside an outcome that is sure but for it."""


def _spared(courses: list[Course], bad: list[bool]) -> tuple[Spared, ...]:
    """The endpoints that fail, each with the share of its tries that do."""
    whole: dict[str, float] = {}
    failed: dict[str, tuple[float, Course]] = {}
    for course, fails in zip(courses, bad, strict=True):
        whole[course.endpoint] = whole.get(course.endpoint, 0.0) + course.probability
        if fails:
            known = failed.get(course.endpoint, (0.0, course))[0]
            failed[course.endpoint] = (known + course.probability, course)
    return tuple(
        Spared(f"{place} {course.pod}".strip(), chance / whole[place], course.end.why)
        for place, (chance, course) in failed.items()
    )


def failing(spared: Spared) -> str:
    """How often an endpoint fails whose failures the retries hide, in words."""
    return "fails every try" if spared.share > 0.999 else f"fails {spared.share:.0%} of its tries"

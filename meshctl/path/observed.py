"""What a request that was really sent did, and whether that is what was predicted."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from meshctl.envoy.access_log import LogLine
from meshctl.frozen import dataclass
from meshctl.path.model import Branch, End, Trace

Aspect: TypeAlias = Literal[
    "answer", "caller-flags", "cluster", "route", "endpoint", "callee-logged", "callee-flags", "mtls"
]
"""What of a prediction can be seen: ``answer`` by the client, the rest in the proxies' logs."""

_CUT = frozenset(("reset", "tls"))
"""How a client may call a handshake of its own that the other end cuts: each program has its own words for it."""
_ANSWERED_BY_EITHER = frozenset((401, 403, 404, 500, 502, 503, 504))
"""Statuses that a proxy gives as well as an application: without a log nobody can tell who did."""


_SWITCHED = 101
_FLAGS = ("caller-flags", "callee-flags")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client got: `status` None where it got no HTTP answer; then `broken` says how it ended, if it broke.

    `connected`: the connection was accepted. `spoke`: something came over it that is no HTTP answer.
    """

    status: int | None = None
    broken: str = ""
    text: str = ""
    connected: bool = False
    spoke: bool = False


@dataclass(frozen=True, slots=True)
class Logged:
    """A line that a proxy wrote about the request."""

    pod: str
    side: Literal["caller", "callee"]
    line: str


@dataclass(frozen=True, slots=True)
class Point:
    """One thing that was predicted and seen; `fits` None where the one says nothing of the other."""

    what: Aspect
    predicted: str
    observed: str
    fits: bool | None


@dataclass(frozen=True, slots=True)
class Observation:
    """The answer: `status` None where the client got none, then `error` says why. `missing`: what could not be seen.

    `points` compare it with `branch`, that course of those that chance decides which fits best. `counted` is what the
    caller's Envoy counted meanwhile, for where no proxy writes an access log. `denied`: nothing was sent, as this user
    may not.
    """

    sent_from: str
    command: str
    status: int | None = None
    error: str = ""
    broken: str = ""
    logs: tuple[Logged, ...] = ()
    missing: tuple[str, ...] = ()
    agrees: bool | None = None
    counted: tuple[str, ...] = ()
    points: tuple[Point, ...] = ()
    branch: Branch | None = None
    connected: bool = False
    denied: bool = False

    @property
    def sent(self) -> bool:
        """Whether anything was sent at all."""
        return bool(self.command)

    @property
    def succeeded(self) -> bool | None:
        """Whether the client got what it asked for; None where nothing can be concluded."""
        if self.status is not None:
            return True if self.status < 400 else (False if self.status >= 500 else None)
        return False if self.broken else None


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether it happened as one of the branches says, which, and point by point."""

    agrees: bool | None
    branch: Branch
    points: tuple[Point, ...]


def judge(trace: Trace, answer: Answer, caller: Sequence[LogLine], callee: Sequence[LogLine]) -> Judgement:
    """Compare what was seen with every branch: the one that fits, else one that may, else the likeliest."""
    judged = [_of_branch(trace, branch, answer, caller, callee) for branch in trace.outcome.branches]
    for wanted in (True, None):
        for one in judged:
            if one.agrees is wanted:
                return one
    return judged[0]


def _of_branch(
    trace: Trace, branch: Branch, answer: Answer, caller: Sequence[LogLine], callee: Sequence[LogLine]
) -> Judgement:
    end = branch.end
    points = [Point("answer", "", "", _answered(end, answer, caller, callee, trace.request.tls))]
    if gave_up(answer, caller) and not end.delivered and not end.broken:
        # The proxy's own answer was yet to come: it tries a host that does not answer for longer than the client waits.
        points = [replace(point, fits=None) for point in points]
        points += [_unlike_flags(point) for point in _of_caller(trace, branch, caller[-1])]
    elif caller:
        points += _of_caller(trace, branch, caller[-1])
    if callee:
        points += _of_callee(end, callee[-1])
    if answer.status == _SWITCHED:  # the flags say who ended the tunnel, long after it was decided
        points = [replace(point, fits=point.fits or None) if point.what in _FLAGS else point for point in points]
    verdicts = [point.fits for point in points]
    if False in verdicts:
        return Judgement(False, branch, tuple(points))
    return Judgement(True if verdicts[0] else None, branch, tuple(points))


def gave_up(answer: Answer, caller: Sequence[LogLine]) -> bool:
    """Whether the client's time was up while its proxy still tried: it logs that the client went away."""
    return answer.broken == "timeout" and bool(caller) and "DC" in caller[-1].flags


def _answered(end: End, answer: Answer, caller: Sequence[LogLine], callee: Sequence[LogLine], tls: bool) -> bool | None:
    """Whether the client got what was predicted; None where nothing was predicted, or nothing can be concluded."""
    if end.undecided:
        return None
    if answer.status is not None:
        if not end.delivered:
            alike = end.status == answer.status
            return None if alike and end.grpc_status is not None else alike  # the application answers 200 as well
        through = end.through_client is not False or end.through_server is not False
        logged = bool(caller or callee)
        return None if through and not logged and answer.status in _ANSWERED_BY_EITHER else True
    if answer.broken:
        return end.broken == answer.broken or (tls and {end.broken, answer.broken} <= _CUT)
    if not answer.connected or end.broken == "refused":
        return False if answer.connected else None
    # Held open, and nothing said: a proxy accepts before it knows of the other end, and may wait for a first byte.
    if not end.delivered:
        return None if end.broken in ("reset", "timeout") or end.status is not None else False
    through = end.through_client is not False or end.through_server is not False
    reached = bool(callee) or any(line.upstream_local for line in caller)
    return True if reached or answer.spoke or not through else None


def _of_caller(trace: Trace, branch: Branch, line: LogLine) -> Iterable[Point]:
    end = branch.end
    yield _flags("caller-flags", end.flags, line, end)
    if line.cluster and branch.cluster:
        yield Point("cluster", branch.cluster, line.cluster, _unless(end, branch.cluster == line.cluster))
    if line.route and trace.outcome.route:
        fits = _unless(end, trace.outcome.route == line.route)
        yield Point("route", trace.outcome.route, line.route, fits)
    places = _endpoints(trace, branch)
    if line.upstream_host and places:
        known = places.get(line.upstream_host)
        seen = f"{line.upstream_host} ({known})" if known else line.upstream_host
        yield Point("endpoint", ", ".join(places), seen, _unless(end, line.upstream_host in places))


def _unlike_flags(point: Point) -> Point:
    return replace(point, fits=None) if point.what == "caller-flags" else point


def _endpoints(trace: Trace, branch: Branch) -> dict[str, str]:
    return {
        endpoint.address: endpoint.pod
        for share in trace.outcome.clusters
        if share.name == branch.cluster
        for endpoint in share.endpoints
    }


def _of_callee(end: End, line: LogLine) -> Iterable[Point]:
    if end.through_server is not None:
        yield Point("callee-logged", "yes" if end.through_server else "no", "yes", _unless(end, end.through_server))
    yield _flags("callee-flags", end.server_flags, line, end)
    # Only Istio's own TLS asks for a cluster by that name (``outbound_.9080_._.reviews...``).
    if line.server_name.startswith("outbound_.") and end.mtls is not None:
        yield Point("mtls", end.mtls, "mutual", _unless(end, end.mtls == "mutual"))


def _flags(what: Aspect, predicted: str, line: LogLine, end: End) -> Point:
    fits = set(line.flags) == set(predicted.split(",")) - {""}
    details = f" {line.details}" if line.details else ""
    return Point(what, predicted or "-", f"{','.join(line.flags) or '-'}{details}", _unless(end, fits))


def _unless(end: End, fits: bool) -> bool | None:
    """What does not fit an end that was left open contradicts nothing."""
    return None if end.undecided and not fits else fits

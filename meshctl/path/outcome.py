"""From the courses that a request may take to one outcome: what failed connections become, and what chance decides.

Response flags of Envoy 1.40 as recorded: HTTP writes them in the order in which they were set (``URX,UF``), a TCP
proxy ``UF,URX``.
"""

from collections.abc import Iterable
from dataclasses import replace

from meshctl.envoy.model.routes import RetryPolicy
from meshctl.frozen import dataclass
from meshctl.path.model import Branch, End, Hop, KubeProxy, Mtls


@dataclass(frozen=True, slots=True)
class Course:
    """One way that a request may go: its chance 0..1, where it went, how it ends, and the stations after the choice."""

    probability: float
    end: End
    hops: tuple[Hop, ...] = ()
    cluster: str | None = None
    endpoint: str = ""
    pod: str = ""
    kube_proxy: KubeProxy | None = None


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


_ON_CONNECT = frozenset(("connect-failure", "reset", "reset-before-request", "5xx", "gateway-error"))
_ON_RESET = frozenset(("reset", "5xx", "gateway-error"))


def retries_on(policy: RetryPolicy | None, *, connected: bool) -> bool:
    """Whether a failed try is one to try again; `connected`: the connection stood when it was cut.

    With ``num_retries: 0`` it is not tried again, and the flag (URX) is there all the same.
    ``5xx`` and ``gateway-error`` count a reset as a 503 (Envoy, router filter, ``x-envoy-retry-on``).
    """
    wanted = _ON_RESET if connected else _ON_CONNECT
    return policy is not None and bool(wanted.intersection(policy.on))


def retries_status(policy: RetryPolicy | None, status: int) -> bool:
    """Whether an answer with this status is tried again."""
    if policy is None:
        return False
    on = set(policy.on)
    if "retriable-status-codes" in on and status in policy.status_codes:
        return True
    if "5xx" in on and 500 <= status < 600:
        return True
    if "gateway-error" in on and status in (502, 503, 504):
        return True
    return "retriable-4xx" in on and status == 409


def through_client_http(end: End, policy: RetryPolicy | None) -> End:
    """What a caller with an HTTP proxy gets where the other side ends like this."""
    end = replace(end, through_client=True)
    if end.broken in ("refused", "tls", "timeout"):
        flags = "URX,UF" if retries_on(policy, connected=False) else "UF"
        return replace(end, answered_by="client-proxy", status=503, flags=flags, broken="")
    if end.broken == "reset":
        flags = "URX,UC" if retries_on(policy, connected=True) else "UC"
        return replace(end, answered_by="client-proxy", status=503, flags=flags, broken="")
    if end.status is not None and end.answered_by in ("server-proxy", "gateway") and retries_status(policy, end.status):
        return replace(end, flags="URX")
    return end


def through_client_tcp(end: End) -> End:
    """What a caller with a TCP proxy gets: the connection stands first, then it is cut."""
    end = replace(end, through_client=True)
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


def with_retries(courses: list[Course], policy: RetryPolicy | None) -> list[Course]:
    """Where only some endpoints of a cluster fail to connect, another one is tried.

    Istio's routes avoid hosts that were tried (``previous_hosts``), so the request fails only if more endpoints fail
    than there are tries; with as many good ones as that it never does.
    """
    bad = [c for c in courses if c.end.broken in ("refused", "tls", "timeout") or "UF" in c.end.flags]
    good = [c for c in courses if c not in bad]
    if not bad or not good or policy is None or not retries_on(policy, connected=False):
        return courses
    avoids = any("previous_hosts" in name for name in policy.host_predicates)
    total = sum(c.probability for c in courses)
    share = sum(c.probability for c in bad) / total
    enough = avoids and len({c.endpoint for c in bad}) <= policy.attempts
    lost = 0.0 if enough else share ** (policy.attempts + 1)
    kept = [replace(c, probability=c.probability * (1 - lost) / (1 - share)) for c in good]
    failed = [replace(c, probability=c.probability * lost / share) for c in bad] if lost > 1e-9 else []
    return kept + failed

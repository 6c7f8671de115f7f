"""What a request that was really sent did, and whether that is what was predicted."""

from typing import Literal

from meshctl.frozen import dataclass
from meshctl.path.model import End, Trace

CURL_ERRORS = {"6": "dns", "7": "refused", "28": "timeout", "52": "reset", "56": "reset", "35": "tls", "60": "tls"}
"""curl's exit codes (curl(1), EXIT CODES) in the words of a predicted end."""


@dataclass(frozen=True, slots=True)
class Logged:
    """A line that a proxy wrote about the request."""

    pod: str
    side: Literal["caller", "callee"]
    line: str


@dataclass(frozen=True, slots=True)
class Observation:
    """The answer: `status` None where the client got none, then `error` says why. `missing`: what could not be seen.

    `counted` is what the caller's Envoy counted meanwhile, for where no proxy writes an access log.
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


def agrees(trace: Trace, status: int | None, broken: str, flags: frozenset[str] | None = None) -> bool | None:
    """Whether what the client got is among the predicted ends; None where nothing was predicted or nothing seen.

    `flags` are those that the caller's proxy logged, None where it logged nothing.
    """
    if status is None and not broken:
        return None
    verdicts = [_fits(branch.end, status, broken, flags) for branch in trace.outcome.branches]
    if True in verdicts:
        return True
    return None if None in verdicts else False


def _fits(end: End, status: int | None, broken: str, flags: frozenset[str] | None) -> bool | None:
    if end.undecided:
        return None
    if flags is not None and flags != frozenset(end.flags.split(",")) - {""}:
        return False
    if status is not None:
        return end.delivered is True or end.status == status
    return end.broken == broken

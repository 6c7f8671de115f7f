"""What an API server's refusal means to the user: an HTTP status and a Status object become one of meshctl's errors."""

from typing import Any

from meshctl import json_text
from meshctl.errors import BadInput, MeshctlError, NoAccess, NotFound, Unavailable
from meshctl.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is not a success: `reason` and `message` as in a Kubernetes Status."""

    code: int
    reason: str
    message: str
    details: dict[str, Any]
    what: str
    """The request in a user's words: "list pods in default"."""


def read_refusal(code: int, body: bytes, what: str) -> Refusal:
    """Read a Status; a body that is none (a proxy's HTML page) becomes a short message."""
    try:
        status = json_text.loads(body)
    except ValueError:
        status = {}
    if not isinstance(status, dict) or status.get("kind") != "Status":
        text = body[:200].decode(errors="replace").strip().split("\n")[0]
        return Refusal(code, "", text, {}, what)
    details = status.get("details")
    return Refusal(
        code,
        str(status.get("reason") or ""),
        str(status.get("message") or ""),
        details if isinstance(details, dict) else {},
        what,
    )


def error_for(refusal: Refusal, server: str) -> MeshctlError:
    """The error to raise for a refusal; `server` names whom was asked."""
    said = f": {refusal.message}" if refusal.message else ""
    match refusal.code:
        case 401:
            return NoAccess(
                f"{server} does not accept these credentials (401){said}",
                hint="the token or certificate may have expired: log in again, and try `kubectl auth whoami`",
            )
        case _ if is_admission(refusal):
            return NoAccess(
                f"an admission policy refuses to {refusal.what}{said}",
                hint="ask whoever owns that policy, or use a namespace that it does not cover (--debug-namespace)",
            )
        case 403:
            return NoAccess(f"not allowed to {refusal.what}{said}", hint=_who_can_help(refusal))
        case 404:
            return NotFound(f"cannot {refusal.what}: {refusal.message or f'{server} does not have it'}")
        case 409:
            return Unavailable(f"cannot {refusal.what}: it was changed or exists already{said}", hint="run it again")
        case 410:
            return Unavailable(
                f"the list changed faster than it could be read ({refusal.what}){said}", hint="try again"
            )
        case 429:
            return Unavailable(f"{server} is overloaded and asks to wait (429){said}", hint="try again later")
        case 400 | 405 | 415 | 422:
            return BadInput(f"{server} does not accept the request to {refusal.what} ({refusal.code}){said}")
        case _:
            return Unavailable(f"{server} failed to {refusal.what} ({refusal.code}){said}")


def is_admission(refusal: Refusal) -> bool:
    """Whether a policy, not RBAC, said no: a webhook, Pod Security, or a ValidatingAdmissionPolicy."""
    marks = ("denied the request", "violates PodSecurity", "ValidatingAdmissionPolicy", "denied request")
    return refusal.code in (400, 403, 422) and any(mark in refusal.message for mark in marks)


def _who_can_help(refusal: Refusal) -> str:
    asked = refusal.what
    role = "debug" if "jobs" in asked else "proxy" if "exec" in asked or "forward" in asked else "read"
    return f"`kubectl auth can-i --list` shows what you may do; `meshctl doctor --role {role}` prints the smallest role"

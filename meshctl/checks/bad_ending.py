"""A container that ended with an error, with what its exit code means."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding, Severity

ID = "MC202"
TITLE = "A container ended with an error"


def check(it: Evidence) -> Iterator[Finding]:
    """A container ended with an error."""
    for ending in it.description.endings:
        if not ending.bad:
            continue
        severe = ending.code in (126,) or ending.reason in _SEVERE
        times = f" ({ending.restarts} restart{'' if ending.restarts == 1 else 's'})" if ending.restarts else ""
        text = f"{ending.container} {ending.text}{times}"
        fix = "raise its memory limit" if ending.reason == "OOMKilled" else ""
        severity: Severity = "error" if severe else "warning"
        if _is_over(it, ending.container):
            severity = "info"
        yield it.finding(ID, severity, text, evidence=ending.message, fix=fix)


def _is_over(it: Evidence, name: str) -> bool:
    """Whether the container runs well again, and did not fail often."""
    container = it.pod.container(name)
    status = container.status if container else None
    return status is not None and status.ready and status.restarts < 3


_SEVERE = (
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "ErrImagePull",
    "CreateContainerConfigError",
    "OOMKilled",
    "RunContainerError",
)

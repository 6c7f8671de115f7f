"""A container that ended with an error, with what its exit code means."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC202"
TITLE = "A container ended with an error"


def check(it: Evidence) -> Iterator[Finding]:
    """A container ended with an error."""
    for ending in it.description.endings:
        if not ending.bad:
            continue
        severe = ending.code in (126,) or ending.reason in _SEVERE
        times = f" ({ending.restarts} restarts)" if ending.restarts else ""
        text = f"{ending.container} {ending.text}{times}"
        fix = "raise its memory limit" if ending.reason == "OOMKilled" else ""
        yield it.finding(ID, "error" if severe else "warning", text, evidence=ending.message, fix=fix)


_SEVERE = (
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "ErrImagePull",
    "CreateContainerConfigError",
    "OOMKilled",
    "RunContainerError",
)

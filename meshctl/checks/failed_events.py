"""Warnings that Kubernetes recorded about the pod and that name the mesh's parts."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC210"
TITLE = "Kubernetes could not do something for the pod"


def check(it: Evidence) -> Iterator[Finding]:
    """Kubernetes could not do something for the pod."""
    if it.pod.ready:
        return
    for event in it.description.subject.clues.events:
        if event.warning and event.reason in _REASONS:
            text = f"{event.reason}: {event.message}" + (f" ({event.count} times)" if event.count > 1 else "")
            yield it.finding(ID, "warning", text, evidence=f"event from {event.reporter or 'Kubernetes'}", fix="")


_REASONS = (
    "FailedMount",
    "FailedCreatePodSandBox",
    "FailedScheduling",
    "FailedCreate",
    "BackOff",
    "Failed",
    "Unhealthy",
)

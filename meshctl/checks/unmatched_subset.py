"""A subset that selects no pod: requests that are sent to it end with 503 (no healthy upstream)."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding, Severity

ID = "MC501"
TITLE = "A DestinationRule's subset selects no pod"


def check(it: Evidence) -> Iterator[Finding]:
    """A DestinationRule's subset selects no pod."""
    if it.standing is None:
        return
    used = {(r.host, r.subset) for r in it.standing.routes}
    for found in it.standing.subsets:
        if found.pods:
            continue
        labels = ", ".join(f"{k}={v}" for k, v in found.subset.labels)
        text = f"{found.meta}: subset {found.subset.name} ({labels}) selects no pod of {found.host}"
        is_used = (found.host, found.subset.name) in used
        text += ": requests that a route sends there end with 503" if is_used else ""
        subject = f"destinationrule/{found.meta.namespace}/{found.meta.name}"
        fix = "let its labels be those of the pods, or remove the subset"
        severity: Severity = "error" if is_used else "warning"
        yield Finding(id=ID, severity=severity, subject=subject, text=text, evidence=found.meta.origin.path, fix=fix)

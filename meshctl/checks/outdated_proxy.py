"""A proxy keeps the release with which it was injected until the pod is made again."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding, Severity
from meshctl.injection.outdated import minor_behind

ID = "MC204"
TITLE = "The pod would be injected differently now"


def check(it: Evidence) -> Iterator[Finding]:
    """The pod would be injected differently now."""
    for difference in it.description.outdated:
        behind = difference.what == "release" and minor_behind(difference)
        severity: Severity = "warning" if behind else "info"
        yield it.finding(ID, severity, difference.text, evidence=f"now {difference.now}", fix="restart the workload")

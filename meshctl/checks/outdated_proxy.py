"""A proxy keeps the release with which it was injected until the pod is made again."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding, Severity
from meshctl.checks.rejection import restart
from meshctl.injection.outdated import AHEAD, older, other_minor

ID = "MC204"
TITLE = "The pod would be injected differently now"


def check(it: Evidence) -> Iterator[Finding]:
    """The pod would be injected differently now."""
    back = any(map(older, it.description.outdated))
    fix = "do not restart it yet: it would get the older release" if back else restart(it, "restart the workload")
    for difference in it.description.outdated:
        if difference.what == AHEAD:  # MC211
            continue
        behind = difference.what == "release" and other_minor(difference)
        severity: Severity = "warning" if behind else "info"
        yield it.finding(ID, severity, difference.text, evidence=f"now {difference.now}", fix=fix)

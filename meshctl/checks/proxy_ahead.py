"""A proxy of a newer release than its control plane: a combination that Istio does not support."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding, Severity
from meshctl.injection.outdated import AHEAD, other_minor

ID = "MC211"
TITLE = "The proxy is newer than its control plane"


def check(it: Evidence) -> Iterator[Finding]:
    """The proxy is newer than its control plane."""
    for difference in it.description.outdated:
        if difference.what == AHEAD:
            far = other_minor(difference)
            severity: Severity = "warning" if far else "info"
            text = difference.text + (": Istio supports proxies of its own release and older ones" if far else "")
            fix = "upgrade the control plane; a restart would take the proxy back to the older release"
            yield it.finding(ID, severity, text, evidence=f"control plane {difference.would_be}", fix=fix)

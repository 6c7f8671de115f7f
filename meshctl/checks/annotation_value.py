"""Values that the injector cannot read: it rejects the pod, it does not skip the injection."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding, Severity
from meshctl.injection import annotations

ID = "MC107"
TITLE = "An annotation with a value that Istio cannot read"


def check(it: Evidence) -> Iterator[Finding]:
    """An annotation with a value that Istio cannot read."""
    for slip in annotations.values(it.description.annotations):
        severity: Severity = "error"
        if slip.key == "sidecar.istio.io/inject":
            severity = "warning"  # not validated: istiod ignores it and goes on
        text = slip.text + (": the API server rejects such a pod" if slip.rejects and severity == "error" else "")
        yield it.finding(ID, severity, text, evidence=f"annotation {slip.key}: {slip.value}", fix="correct the value")
    if it.description.overlay.problem:
        text = f"the pod's own proxy settings cannot be read: {it.description.overlay.problem}"
        yield it.finding(ID, "error", text, evidence="annotation proxy.istio.io/config", fix="write valid YAML")

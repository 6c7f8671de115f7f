"""Values that the injector cannot read: it rejects the pod, it does not skip the injection."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding, Severity
from meshctl.checks.rejection import told
from meshctl.injection import annotations, proxy_config
from meshctl.injection.catalog_metadata import SETTINGS

ID = "MC107"
TITLE = "An annotation with a value that Istio cannot read"


def check(it: Evidence) -> Iterator[Finding]:
    """An annotation with a value that Istio cannot read."""
    written = it.description.annotations
    for slip in (*annotations.values(written), *proxy_config.slips(written)):
        setting = SETTINGS.get(slip.key)
        # What the injector does not check is ignored, or taken as something else.
        severe = slip.rejects or (setting is not None and setting.kind == "json")
        severity: Severity = "error" if severe else "warning"
        if slip.rejects and it.description.decision.outcome == "not injected":
            severity = "warning"
        where = f"annotation {slip.key}: {slip.value}"
        yield it.finding(ID, severity, told(it, slip), evidence=where, fix="correct the value")
    if it.description.overlay.problem:
        text = f"the pod's own proxy settings cannot be read: {it.description.overlay.problem}"
        yield it.finding(ID, "error", text, evidence="annotation proxy.istio.io/config", fix="write valid YAML")

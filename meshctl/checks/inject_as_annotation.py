"""As an annotation sidecar.istio.io/inject can block, but never opt in: only labels call the webhook."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC116"
TITLE = "sidecar.istio.io/inject is an annotation, not a label"


def check(it: Evidence) -> Iterator[Finding]:
    """sidecar.istio.io/inject is an annotation, not a label."""
    value = it.description.annotations.get("sidecar.istio.io/inject")
    if value is None or "sidecar.istio.io/inject" in it.pod.labels:
        return
    if it.description.injection.receipt is None and value == "true":
        text = "the annotation sidecar.istio.io/inject: true does not call the injector"
        text += ", and the pod was not injected" if it.pod.has_status else ": only the label of that name does"
        yield it.finding(
            ID, "warning", text, evidence="metadata.annotations", fix="make it a label of the pod template"
        )
    elif value == "false" and it.description.injection.receipt is None:
        text = "the annotation sidecar.istio.io/inject is outdated; the label of the same name is read today"
        yield it.finding(ID, "info", text, evidence="metadata.annotations", fix="make it a label of the pod template")

"""image: auto is a placeholder that the injector fills in; left over, the pod was not injected (IST0146)."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC125"
TITLE = "A container's image is still the placeholder auto"


def check(it: Evidence) -> Iterator[Finding]:
    """A container's image is still the placeholder auto."""
    for container in it.pod.containers:
        if container.image == "auto" and (it.pod.has_status or it.description.decision.outcome == "not injected"):
            why = it.description.decision.text
            text = f"container {container.name} has image: auto, which only the injector replaces: {why}"
            fix = 'add the label sidecar.istio.io/inject: "true" to the pod template, or an injected namespace'
            yield it.finding(ID, "error", text, evidence=f"{container.origin.path}.image", fix=fix)

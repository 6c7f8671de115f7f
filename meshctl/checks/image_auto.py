"""image: auto is a placeholder that the injector fills in; left over, the pod was not injected (IST0146)."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC125"
TITLE = "A container's image is still the placeholder auto"


def check(it: Evidence) -> Iterator[Finding]:
    """A container's image is still the placeholder auto."""
    decision = it.description.decision
    left_over = it.pod.has_status or decision.outcome == "not injected"
    if not left_over and decision.outcome != "undecided":
        return
    for container in it.pod.containers:
        if container.image != "auto" or container.kind == "ephemeral":
            continue
        text = f"container {container.name} has image: auto, which only the injector replaces"
        text += f": {decision.text}" if left_over else f"; whether it does cannot be told here: {decision.text}"
        fix = 'add the label sidecar.istio.io/inject: "true" to the pod template, or an injected namespace'
        where = f"{container.origin.path}.image"
        yield it.finding(ID, "error" if left_over else "warning", text, evidence=where, fix=fix)

"""A pod without a proxy where the rules say that it should have one: it is older than the label."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.checks.rejection import rejected
from meshctl.kube.pods import ENDED

ID = "MC119"
TITLE = "The pod would be injected now, but was not"


def check(it: Evidence) -> Iterator[Finding]:
    """The pod would be injected now, but was not."""
    result = it.description
    if not it.pod.has_status or result.injection.receipt is not None or result.decision.outcome != "injected":
        return
    if result.injection.mode not in ("none", "ambient") or it.pod.phase in ENDED:
        return
    if rejected(it):  # it would not be injected but refused: MC106 and MC107 say why
        return
    text = f"the pod has no proxy, though one made now would get one ({result.decision.text}): it was made before"
    source = result.decision.deciding.source if result.decision.deciding else ""
    yield it.finding(ID, "warning", text, evidence=source, fix="restart it: labels only count when a pod is made")

"""An ambient pod that its node does not redirect is outside the mesh; one that ztunnel does not carry is cut off."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC130"
TITLE = "An ambient pod is not carried by its node"


def check(it: Evidence) -> Iterator[Finding]:
    """An ambient pod is not carried by its node."""
    if it.ambient is None or not it.ambient.problem:
        return
    fix = "look at the log of istio-cni-node on the pod's node, and restart the pod"
    yield it.finding(ID, "error", it.ambient.problem, evidence="annotation ambient.istio.io/redirection", fix=fix)

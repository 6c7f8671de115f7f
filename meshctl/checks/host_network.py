"""hostNetwork pods are never injected: the rules would redirect the node's traffic."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC102"
TITLE = "A pod with hostNetwork cannot be in the mesh"


def check(it: Evidence) -> Iterator[Finding]:
    """A pod with hostNetwork cannot be in the mesh."""
    decision = it.description.decision
    deciding = decision.deciding
    if it.pod.host_network and deciding is not None and deciding.rule == "host-network" and decision.asked:
        text = (
            "the pod uses the node's network (hostNetwork), so it is not injected, though its labels or its "
            "namespace's ask for it"
        )
        fix = 'drop hostNetwork, or label the pod sidecar.istio.io/inject: "false" to say that this is meant'
        yield it.finding(ID, "info", text, evidence="spec.hostNetwork", fix=fix)

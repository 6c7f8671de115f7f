"""Two meshes that both redirect the pod's traffic fight over it."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC128"
TITLE = "The pod carries proxies of two meshes"


def check(it: Evidence) -> Iterator[Finding]:
    """The pod carries proxies of two meshes."""
    names = {c.name for c in it.pod.containers}
    others = sorted(names & {"linkerd-proxy", "kuma-sidecar", "consul-dataplane"})
    if others and it.description.injection.mesh == "istio" and it.description.injection.mode != "none":
        text = f"the pod carries Istio's proxy and {', '.join(others)}: both redirect its traffic"
        yield it.finding(ID, "error", text, evidence="containers", fix="turn one of the two injections off")

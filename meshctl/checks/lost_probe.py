"""A rewritten health check whose original is not in ISTIO_KUBE_APP_PROBERS: the agent answers 404."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC124"
TITLE = "A health check goes to the agent, which does not know it"


def check(it: Evidence) -> Iterator[Finding]:
    """A health check goes to the agent, which does not know it."""
    if it.description.injection.proxy is None:
        return
    for story in it.description.containers:
        for probe in story.probes:
            if probe.lost:
                whose = f"the {probe.kind} check of {story.container.name}"
                text = f"{whose} goes to the agent ({probe.now}), which does not know it"
                fix = "write the original check in the pod template; the injector rewrites it"
                yield it.finding(ID, "error", text, evidence="ISTIO_KUBE_APP_PROBERS of istio-proxy", fix=fix)

"""A running pod that is not ready gets no requests from Services."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.injection.timeline import waits_for
from meshctl.kube.containers import Container, Terminated
from meshctl.kube.pods import ENDED

ID = "MC203"
TITLE = "The pod is not ready"


def check(it: Evidence) -> Iterator[Finding]:
    """The pod is not ready."""
    if it.pod.ready is not False or it.pod.phase in ENDED or it.pod.deleted_at is not None:
        return
    waiting = [c.name for c in it.pod.containers if _unready(c)]
    proxy = it.description.injection.proxy
    text = f"the pod is not ready: {', '.join(waiting) or 'its conditions say so'}"
    if proxy is not None and proxy.name in waiting:
        said = waits_for(it.description.subject.clues.proxy_log)
        text += "; the proxy is ready when it has its certificate and its configuration from istiod"
        text += f", and says: {said}" if said else ""
    condition = it.pod.condition("Ready")
    evidence = f"condition Ready: {condition.reason} {condition.message}".strip() if condition else ""
    fix = f"look at its log: kubectl logs -n {it.pod.namespace} {it.pod.name} -c {waiting[0]}" if waiting else ""
    yield it.finding(ID, "error", text, evidence=evidence, fix=fix)


def _unready(container: Container) -> bool:
    status = container.status
    if status is None or container.kind == "ephemeral":
        return False
    done = isinstance(status.state, Terminated) and status.state.exit_code == 0
    return not status.ready and not (container.kind == "init" and done)

"""A Job is done when all of its containers have ended, and an ordinary istio-proxy does not end by itself.

istio#11659; native sidecars (init containers that keep running) are stopped by Kubernetes and do not count.
"""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.injection.mode import PROXY_NAME
from meshctl.kube.containers import Container, Running, Terminated
from meshctl.kube.pods import ENDED

ID = "MC132"
TITLE = "A Job that the proxy keeps from ending"

_NEVER = (
    "the pod belongs to a Job, and {} an ordinary container, which does not end when the application does: the Job is "
    "never done, unless the application stops the proxy itself"
)
_FIX = (
    'use native sidecars (sidecar.istio.io/nativeSidecar: "true"), leave the Job out of the mesh, or let its last step '
    "call POST localhost:15020/quitquitquit"
)


def check(it: Evidence) -> Iterator[Finding]:
    """A Job that the proxy keeps from ending."""
    planned = it.description.planned
    if planned is not None and planned.sidecar and planned.native is False:
        own = [c for c in it.pod.app_containers if c.name != PROXY_NAME]
        if _of_job(it) and not any(map(_tells_agent, own)):
            yield it.finding(ID, "warning", _NEVER.format("the injector would add istio-proxy as"), fix=_FIX)
        return
    proxy = it.description.injection.proxy
    if it.description.injection.mode not in ("sidecar", "grpc") or proxy is None or proxy.kind != "app":
        return
    if it.pod.phase in ENDED or isinstance(_state(proxy), Terminated):
        return
    own = [c for c in it.pod.app_containers if c.name not in it.description.injection.ours]
    if own and all(_done(c, it.pod.restart_policy) for c in own) and _runs(proxy):
        text = f"{_names(own)} ended, and {proxy.name} goes on running: the pod is never done"
        evidence = "status.containerStatuses"
    elif _of_job(it) and not any(map(_tells_agent, own)):
        text = _NEVER.format(f"{proxy.name} is")
        evidence = proxy.origin.path
    else:
        return
    yield it.finding(ID, "warning", text, evidence=evidence, fix=_FIX)


def _of_job(it: Evidence) -> bool:
    kinds = {owner.kind for owner in (it.pod.controller, *it.description.subject.workload.chain) if owner is not None}
    return "Job" in kinds or it.pod.template_of.partition("/")[0] in ("Job", "CronJob")


def _tells_agent(container: Container) -> bool:
    """Whether the container's own command stops the proxy; what its image does is not known."""
    return any("quitquitquit" in word for word in (*container.command, *container.args))


def _state(container: Container) -> object:
    return container.status.state if container.status is not None else None


def _done(container: Container, restart_policy: str) -> bool:
    """Whether a container has ended for good."""
    state = _state(container)
    if not isinstance(state, Terminated):
        return False
    return restart_policy == "Never" or (restart_policy == "OnFailure" and state.exit_code == 0)


def _runs(container: Container) -> bool:
    return isinstance(_state(container), Running)


def _names(containers: list[Container]) -> str:
    return ", ".join(c.name for c in containers)

"""In which order Kubernetes starts a pod's containers, and why; for a pod that is not made yet, with what is added."""

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

from meshctl.frozen import dataclass
from meshctl.injection.mode import INIT_NAMES, PROXY_NAME, Injection
from meshctl.injection.planned import Planned
from meshctl.injection.timeline import PAUSE, Moment, Timeline, holds
from meshctl.kube.containers import Container
from meshctl.kube.pods import Pod

Kind: TypeAlias = Literal["pause", "init", "sidecar", "app"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the start order; `kind` tells pause, init containers and the rest apart.

    `planned` marks what is not in the pod: the injector would add it when the pod is made.
    """

    container: str
    kind: Kind
    why: str
    at: Moment | None = None
    planned: bool = False


def order(pod: Pod, injection: Injection, timeline: Timeline, planned: Planned | None = None) -> tuple[Step, ...]:
    """In which order Kubernetes starts the pod's containers, and why; the pause container is always the first."""
    first = next((m for m in timeline.moments if m.container == PAUSE), None)
    steps = [Step(PAUSE, "pause", _NODE_WHY if pod.host_network else _PAUSE_WHY, first)]
    if planned is not None and planned.sidecar and planned.native is not None:
        return (*steps, *_with_planned(pod, planned))
    for container in pod.init_containers:
        span = timeline.span(container.name)
        kind = _kind(container)
        steps.append(Step(container.name, kind, _init_why(container, kind), span.start if span else None))
    previous: Container | None = None
    for container in pod.app_containers:
        span = timeline.span(container.name)
        why = _app_why(previous, injection) if previous is not None else _first_app_why(pod.init_containers)
        steps.append(Step(container.name, "app", why, span.start if span else None))
        previous = container
    return tuple(steps)


_PAUSE_WHY = (
    "the kubelet makes the pod's sandbox before anything else: the pause process holds the network namespace that all "
    "other containers join; without it there is no network in which an init container could write rules"
)
_NODE_WHY = (
    "the kubelet makes the pod's sandbox before anything else; with hostNetwork its pause process is in the node's "
    "network namespace, like all containers of this pod: the pod has none of its own"
)


def _kind(container: Container) -> Literal["init", "sidecar"]:
    return "sidecar" if container.kind == "sidecar" and container.name not in INIT_NAMES else "init"


def _init_why(container: Container, kind: str) -> str:
    if kind == "sidecar":
        if container.probe("startup") is not None:
            return "an init container that keeps running; the next one waits until its startup probe succeeds"
        return "an init container that keeps running; the next one waits only until it runs"
    return "init containers run one after the other, each to its end, before the application"


_MANIFEST = "containers start in the order of the manifest"


def _first_app_why(init_containers: Sequence[Container]) -> str:
    if not init_containers:
        return f"there is no init container to wait for; {_MANIFEST}"
    if any(_kind(c) == "sidecar" for c in init_containers):
        return f"starts when all init containers are done and those that keep running are up; {_MANIFEST}"
    return f"starts when all init containers are done; {_MANIFEST}"


def _app_why(previous: Container, injection: Injection) -> str:
    if previous is injection.proxy and holds(previous):
        return f"waits for {previous.name}: its postStart hook `pilot-agent wait` returns when the proxy is ready"
    if previous.hook("postStart") is not None:
        return f"starts when the postStart hook of {previous.name} has returned"
    return f"starts right after {previous.name}, without waiting for it to be ready"


def _with_planned(pod: Pod, planned: Planned) -> Iterator[Step]:
    """The order with what the injector adds; a container of the user with the proxy's name is merged into it."""
    own = [c for c in pod.init_containers if c.name not in (PROXY_NAME, *INIT_NAMES)]
    writer = Step(planned.init, "init", _writer_why(planned), planned=True)
    proxy = Step(PROXY_NAME, "sidecar" if planned.native else "app", _proxy_why(planned), planned=True)
    steps = [Step(c.name, _kind(c), _init_why(c, _kind(c))) for c in own]
    if planned.native:
        steps = [*([writer] if planned.captures else []), proxy, *steps]
    elif planned.captures:
        steps = [writer, *steps] if planned.cni else [*steps, writer]
    yield from steps
    apps = [c for c in pod.app_containers if c.name != PROXY_NAME]
    if not planned.native and planned.hold:
        yield proxy
    for number, container in enumerate(apps):
        if number:
            why = f"starts right after {apps[number - 1].name}, without waiting for it to be ready"
            if apps[number - 1].hook("postStart") is not None:
                why = f"starts when the postStart hook of {apps[number - 1].name} has returned"
        elif not planned.native and planned.hold and planned.own_hook:
            why = f"starts when the postStart hook of {PROXY_NAME} has returned: the pod's own, which does not wait"
        elif not planned.native and planned.hold:
            why = f"waits for {PROXY_NAME}: its postStart hook `pilot-agent wait` returns when the proxy is ready"
        elif planned.native or any(_kind(c) == "sidecar" for c in own):
            why = f"starts when all init containers are done and those that keep running are up; {_MANIFEST}"
        else:
            why = f"starts when all init containers are done; {_MANIFEST}" if steps else _first_app_why(())
        yield Step(container.name, "app", why)
    if not planned.native and not planned.hold:
        yield proxy


def _writer_why(planned: Planned) -> str:
    place = "before the other init containers" if planned.native or planned.cni else "after the other init containers"
    does = {
        True: "it only checks the rules, which the node's CNI plugin wrote when the sandbox was made",
        False: "it writes the rules",
        None: "istio-init writes the rules; istio-validation only checks those of the node's CNI plugin"
        + ("" if planned.native else ", and would be the first"),
    }[planned.cni]
    return f"the injector would add it, {place}: {does}"


def _proxy_why(planned: Planned) -> str:
    if planned.native:
        return (
            "the injector would add it, as an init container that keeps running; the next one waits until its startup "
            "probe succeeds"
        )
    if planned.hold:
        return "the injector would add it as the first container (holdApplicationUntilProxyStarts)"
    why = "the injector would add it as the last container; the ones before do not wait for it"
    if planned.hold is None:
        why += (
            ", unless the mesh's holdApplicationUntilProxyStarts is on, which is not known here: then it is the first"
        )
    return why

"""Answers that a pod's own records give: did pause come before init, did the application run before its proxy."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Literal

from meshctl.frozen import dataclass
from meshctl.injection.mode import Injection
from meshctl.injection.timeline import PAUSE, Clues, Moment, Timeline, holds
from meshctl.kube.containers import Container
from meshctl.kube.pods import Pod
from meshctl.kube.runtime import Process


@dataclass(frozen=True, slots=True)
class Answer:
    """A question with its answer; `verdict` None where the records cannot tell. `evidence` are facts of this pod."""

    question: str
    verdict: bool | None
    text: str
    evidence: tuple[str, ...] = ()
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the start order; `kind` tells pause, init containers and the rest apart."""

    container: str
    kind: Literal["pause", "init", "sidecar", "app"]
    why: str
    at: Moment | None = None


def order(pod: Pod, injection: Injection, timeline: Timeline) -> tuple[Step, ...]:
    """In which order Kubernetes starts the pod's containers, and why; the pause container is always the first."""
    first = next((m for m in timeline.moments if m.container == PAUSE), None)
    steps = [Step(PAUSE, "pause", _PAUSE_WHY, first)]
    for container in pod.init_containers:
        span = timeline.span(container.name)
        kind: Literal["init", "sidecar"] = (
            "sidecar" if container.kind == "sidecar" and not _runs_once(container) else "init"
        )
        steps.append(Step(container.name, kind, _init_why(container, kind), span.start if span else None))
    previous: Container | None = None
    for container in pod.app_containers:
        span = timeline.span(container.name)
        why = _app_why(previous, injection) if previous is not None else _first_app_why(pod)
        steps.append(Step(container.name, "app", why, span.start if span else None))
        previous = container
    return tuple(steps)


_PAUSE_WHY = (
    "the kubelet makes the pod's sandbox before anything else: the pause process holds the network namespace that all "
    "other containers join; without it there is no network in which an init container could write rules"
)


def _runs_once(container: Container) -> bool:
    return container.name in ("istio-init", "istio-validation")


def _init_why(container: Container, kind: str) -> str:
    if kind == "sidecar":
        if container.probe("startup") is not None:
            return "an init container that keeps running; the next one waits until its startup probe succeeds"
        return "an init container that keeps running; the next one waits only until it runs"
    return "init containers run one after the other, each to its end, before the application"


def _first_app_why(pod: Pod) -> str:
    order = "containers start in the order of the manifest"
    if not pod.init_containers:
        return f"there is no init container to wait for; {order}"
    if any(c.kind == "sidecar" and not _runs_once(c) for c in pod.init_containers):
        return f"starts when all init containers are done and those that keep running are up; {order}"
    return f"starts when all init containers are done; {order}"


def _app_why(previous: Container, injection: Injection) -> str:
    if previous is injection.proxy and holds(previous):
        return f"waits for {previous.name}: its postStart hook `pilot-agent wait` returns when the proxy is ready"
    if previous.hook("postStart") is not None:
        return f"starts when the postStart hook of {previous.name} has returned"
    return f"starts right after {previous.name}, without waiting for it to be ready"


def pause_first(pod: Pod, timeline: Timeline, clues: Clues) -> Answer:
    """Did the pause container start before the first init container?"""
    others = "init containers" if pod.init_containers else "others"
    question = f"Did the pause container start before the {others}?"
    evidence = list(_pause_evidence(clues))
    made = next((m for m in timeline.moments if m.container == PAUSE and m.within_s == 0), None)
    first = _first_inside(timeline, clues)
    if made is not None and first is not None:
        gap = (first.at - made.at).total_seconds()
        if gap > 0 or first.within_s:
            evidence.insert(0, f"the sandbox was made {made.at:%H:%M:%S.%f}"[:-3] + f" ({made.source})")
            evidence.insert(1, f"{first.container} started {first.at:%H:%M:%S.%f}"[:-3] + f" ({first.source})")
            after = f"{gap:.2f} s" if gap > 0 else "at the same second or"
            again = "runtime/" in first.source and ".0." not in first.source
            which = "of which the first run was not recorded" if again else "the first container"
            text = f"Yes: {first.container}, {which}, started {after} after the sandbox with pause in it."
            return Answer(question, True, text, tuple(evidence), gap if gap > 0 else None)
    if evidence:
        return Answer(question, True, "Yes: pause is older than every other process of the pod.", tuple(evidence))
    text = (
        "Yes, by the way Kubernetes works: the kubelet makes the sandbox first, since the runtime can only make a "
        "container inside one. This pod's own records do not show it."
    )
    if pod.has_status:
        text += " They would be in the runtime's records (meshctl snapshot record on the node)."
    return Answer(question, True, text)


def _first_inside(timeline: Timeline, clues: Clues) -> Moment | None:
    """The first start of a container in the sandbox that is there now; runs in an earlier sandbox do not count."""
    sandbox = clues.sandbox
    if sandbox is None:
        return None
    inside = {(r.container, r.attempt) for r in clues.runs if r.sandbox_id in ("", sandbox.id)}
    starts = [
        s.start
        for s in (*timeline.earlier, *timeline.spans)
        if (s.container, s.attempt) in inside or (s.attempt is None and not sandbox.attempt)
    ]
    return min(starts, key=lambda m: m.at) if starts else None


def _pause_evidence(clues: Clues) -> Iterator[str]:
    pause = _pause_process(clues)
    others = [p for p in clues.processes if p is not pause and p.start_ticks is not None]
    if pause is not None and pause.start_ticks is not None and others:
        oldest = min(others, key=lambda p: p.start_ticks or 0)
        ticks = (oldest.start_ticks or 0) - pause.start_ticks
        if ticks >= 0:
            yield (
                f"pause (PID {pause.pid}) is the oldest process in the pod's network namespace: "
                f"{oldest.name} (PID {oldest.pid}) started {ticks / 100:.2f} s after it"
            )
    ids = {r.sandbox_id for r in clues.runs if r.sandbox_id}
    if clues.sandbox and clues.sandbox.id and clues.sandbox.id in ids:
        yield f"the containers were made inside sandbox {clues.sandbox.id[:12]}, so it was there before them"


def _pause_process(clues: Clues) -> Process | None:
    if clues.sandbox and clues.sandbox.pid:
        by_pid = next((p for p in clues.processes if p.pid == clues.sandbox.pid), None)
        if by_pid is not None:
            return by_pid
    return next((p for p in clues.processes if p.name == PAUSE), None)


def app_before_proxy(pod: Pod, injection: Injection, timeline: Timeline) -> Answer | None:
    """Did the application run while its proxy was not ready: connections then went to a port without listener.

    None where the pod has no proxy beside an application.
    """
    proxy = injection.proxy
    if proxy is None or injection.mode not in ("sidecar", "native-sidecar"):
        return None
    question = "Did the application run before its proxy was ready?"
    apps = [timeline.span(c.name) for c in pod.app_containers if c.name not in injection.ours]
    starts = sorted((s.start for s in apps if s is not None), key=lambda m: m.at)
    proxy_span = timeline.span(proxy.name)
    if not starts or proxy_span is None:
        return _without_times(question, pod, injection)
    first, ready = starts[0], timeline.proxy_ready
    again = _proxy_again(question, first, timeline, proxy.name)
    if again is not None:
        return again
    if ready is not None:
        return _against_log(question, first, ready, injection)
    if injection.native and proxy.probe("startup") is not None and first.at >= proxy_span.start.at:
        why = f"{proxy.name} is a native sidecar: Kubernetes starts the application after its startup probe succeeds"
        evidence = (_said(proxy_span.start), _said(first))
        return Answer(question, False, "No: Kubernetes waited for the proxy.", (why, *evidence))
    return _against_condition(question, pod, first, proxy_span.start, holds(proxy))


def _proxy_again(question: str, app: Moment, timeline: Timeline, proxy: str) -> Answer | None:
    """Where the proxy was started again under a running application: the gap between its end and its readiness."""
    ends = [s.end for s in timeline.earlier if s.container == proxy and s.end is not None]
    span = timeline.span(proxy)
    if not ends or span is None or app.at > max(ends, key=lambda m: m.at).at:
        return None
    last = max(ends, key=lambda m: m.at)
    back = timeline.proxy_ready or span.start
    gap = (back.at - last.at).total_seconds()
    text = (
        f"Its proxy ended and was started again while the application ran: for {gap:.1f} s "
        f"{'' if timeline.proxy_ready else 'or more '}its connections were sent to a port on which nothing listened."
    )
    return Answer(question, True, text, (_said(app), _said(last), _said(back)), gap)


def _said(moment: Moment) -> str:
    shown = f"{moment.at:%H:%M:%S}" if moment.within_s else f"{moment.at:%H:%M:%S.%f}"[:-3]
    return f"{moment.container} {moment.event.partition(':')[0]} at {shown} ({moment.source})"


def _against_log(question: str, app: Moment, ready: Moment, injection: Injection) -> Answer:
    evidence = (_said(app), _said(ready))
    least = (ready.at - app.latest).total_seconds()
    most = (ready.at - app.at).total_seconds()
    if most <= 0:
        return Answer(
            question, False, f"No: the proxy was ready {-most:.2f} s before the application started.", evidence
        )
    if least <= 0:
        text = f"Perhaps, for less than {most:.2f} s: the application's start is known to the second only."
        return Answer(question, None, text, evidence)
    span = f"{most:.2f} s" if app.within_s == 0 else f"{max(least, 0):.1f} to {most:.1f} s"
    void = (
        "its connections were already sent to the proxy's port by the rules, but nothing accepted them there"
        if injection.init is not None
        else "its connections had no working proxy"
    )
    text = f"Yes, for {span}: {void}, so they were refused."
    return Answer(question, True, text, evidence, most)


def _against_condition(question: str, pod: Pod, app: Moment, proxy: Moment, held: bool) -> Answer:
    ready = pod.condition("ContainersReady") or pod.condition("Ready")
    evidence = [_said(app), _said(proxy)]
    if held:
        evidence.append("the proxy's postStart hook `pilot-agent wait` keeps the application waiting (up to 60 s)")
        return Answer(question, False, "No: the application waited for the proxy.", tuple(evidence))
    gap = (proxy.at - app.latest).total_seconds()
    if gap >= 0:
        text = f"Yes, for at least {gap:.1f} s: the proxy was not even started."
        text += " Its connections were sent to the proxy's port by the rules, but nothing accepted them there."
        return Answer(question, True, text, tuple(evidence), gap)
    if ready is not None and ready.status == "True" and ready.changed_at:
        most = (ready.changed_at + timedelta(seconds=1) - app.at).total_seconds()
        evidence.append(f"all containers were ready by {ready.changed_at:%H:%M:%S} (condition {ready.kind})")
        text = f"It may have, for at most {max(most, 0):.0f} s; when the proxy became ready was not recorded."
        return Answer(question, None, text, tuple(evidence))
    return Answer(question, None, "When the proxy became ready was not recorded.", tuple(evidence))


def _without_times(question: str, pod: Pod, injection: Injection) -> Answer:
    proxy = injection.proxy
    if injection.native and proxy is not None and proxy.probe("startup") is not None:
        return Answer(
            question, False, "It cannot: the proxy is a native sidecar whose startup probe must succeed first."
        )
    if proxy is not None and holds(proxy) and pod.app_containers[:1] == (proxy,):
        return Answer(question, False, "It cannot: the proxy is first and its postStart hook waits until it is ready.")
    text = "It can: the application is started without waiting for the proxy (holdApplicationUntilProxyStarts is off)."
    return Answer(question, None, text)

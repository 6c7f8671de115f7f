"""Answers that a pod's own records give: did pause come before init, did the application run before its proxy."""

from collections.abc import Iterator
from datetime import timedelta

from meshctl.frozen import dataclass
from meshctl.injection.mode import Injection
from meshctl.injection.planned import Planned
from meshctl.injection.timeline import PAUSE, Clues, Moment, Timeline, holds, is_unrecorded
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


def pause_first(pod: Pod, timeline: Timeline, clues: Clues, planned: Planned | None = None) -> Answer:
    """Did the pause container start before the first init container?"""
    awaited = pod.init_containers or (planned is not None and planned.sidecar and (planned.captures or planned.native))
    question = f"Did the pause container start before the {'init containers' if awaited else 'others'}?"
    evidence = list(_pause_evidence(pod, clues))
    made = next((m for m in timeline.moments if m.container == PAUSE and m.within_s == 0), None)
    first, before = _first_inside(timeline, clues, made)
    if made is not None:
        older = (f"{_said(m)}: before this sandbox, so in an earlier one, or one of the times is wrong" for m in before)
        evidence = [f"the sandbox was made {_clock(made)} ({made.source})", *older, *evidence]
    if made is not None and first is not None:
        evidence.insert(1, f"{first.container} started {_clock(first)} ({first.source})")
        gap = (first.at - made.at).total_seconds()
        if gap <= 0 and not first.within_s:
            return Answer(question, None, _CLOCKS, tuple(evidence))
        again = "runtime/" in first.source and ".0." not in first.source
        which = "of which the first run was not recorded" if again else "the first container"
        which = "the first that was recorded in this sandbox" if before else which
        least = "at least " if first.within_s else ""
        when = f"{least}{gap:.2f} s after the sandbox" if gap > 0 else "in the same second as the sandbox or later,"
        text = f"Yes: {first.container}, {which}, started {when} with pause in it."
        return Answer(question, True, text, tuple(evidence), gap if gap > 0 else None)
    if any(_OLDEST in line for line in evidence):
        return Answer(question, True, "Yes: pause is older than every other process of the pod.", tuple(evidence))
    text = (
        "Yes, by the way Kubernetes works: the kubelet makes the sandbox first, since the runtime can only make a "
        "container inside one."
    )
    if any(_INSIDE in line for line in evidence):
        return Answer(question, True, text, tuple(evidence))
    text += " This pod's own records do not show it."
    if pod.has_status:
        text += " They would be in the runtime's records (meshctl snapshot record on the node)."
    return Answer(question, True, text, tuple(evidence))


_CLOCKS = (
    "The records contradict each other: a container is recorded as started before the sandbox that it runs in. "
    "Kubernetes makes the sandbox first; one of the times is wrong."
)
_OLDEST, _INSIDE = "is the oldest process", "the containers were made inside sandbox"


def _first_inside(timeline: Timeline, clues: Clues, made: Moment | None) -> tuple[Moment | None, tuple[Moment, ...]]:
    """The first start of a container in the sandbox that is there now, and what is recorded as started before that.

    Runs that say that they were in an earlier sandbox do not count at all; those that do not say it (the statuses of
    Kubernetes) cannot have been in this one where they started before it was made.
    """
    sandbox = clues.sandbox
    if sandbox is None:
        return None, ()
    inside = {(r.container, r.attempt) for r in clues.runs if r.sandbox_id in ("", sandbox.id)}
    told = [s for s in (*timeline.earlier, *timeline.spans) if s.attempt is not None]
    starts = [s.start for s in told if (s.container, s.attempt) in inside]
    statuses = [s.start for s in (*timeline.earlier, *timeline.spans) if s.attempt is None and not sandbox.attempt]
    before = [m for m in statuses if made is not None and m.latest < made.at]
    starts += [m for m in statuses if m not in before]
    return min(starts, key=lambda m: m.at, default=None), tuple(sorted(before, key=lambda m: m.at))


def _clock(moment: Moment) -> str:
    """The time of day, as exact as it is known."""
    return f"{moment.at:%H:%M:%S}" if moment.within_s else f"{moment.at:%H:%M:%S.%f}"[:-3]


def _pause_evidence(pod: Pod, clues: Clues) -> Iterator[str]:
    pause = _pause_process(clues)
    others = [p for p in clues.processes if p is not pause and p.start_ticks is not None]
    if pause is not None and pause.start_ticks is not None and others and not pod.host_network:
        oldest = min(others, key=lambda p: p.start_ticks or 0)
        ticks = (oldest.start_ticks or 0) - pause.start_ticks
        if ticks >= 0:
            later = ", in a later run of its container that was not recorded" if is_unrecorded(oldest, clues) else ""
            yield (
                f"pause (PID {pause.pid}) {_OLDEST} in the pod's network namespace: "
                f"{oldest.name} (PID {oldest.pid}) started {ticks / 100:.2f} s after it{later}"
            )
    ids = {r.sandbox_id for r in clues.runs if r.sandbox_id}
    if clues.sandbox and clues.sandbox.id and clues.sandbox.id in ids:
        yield f"{_INSIDE} {clues.sandbox.id[:12]}, so it was there before them"


def _pause_process(clues: Clues) -> Process | None:
    if clues.sandbox and clues.sandbox.pid:
        by_pid = next((p for p in clues.processes if p.pid == clues.sandbox.pid), None)
        if by_pid is not None:
            return by_pid
    return next((p for p in clues.processes if p.name == PAUSE), None)


def app_before_proxy(
    pod: Pod, injection: Injection, timeline: Timeline, planned: Planned | None = None
) -> Answer | None:
    """Did the application run while its proxy was not ready: connections then went to a port without listener.

    None where the pod has no proxy beside an application, and will get none.
    """
    proxy = injection.proxy
    question = "Did the application run before its proxy was ready?"
    if planned is not None and planned.sidecar:
        return _if_made("Will the application run before its proxy is ready?", planned)
    if proxy is None or injection.mode not in ("sidecar", "native-sidecar"):
        return None
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
    return f"{moment.container} {moment.event.partition(':')[0]} at {_clock(moment)} ({moment.source})"


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


def _if_made(question: str, planned: Planned) -> Answer:
    """For a pod that is not made yet."""
    if planned.native:
        text = "It cannot: the proxy will be a native sidecar, whose startup probe must succeed first."
        return Answer(question, False, text)
    hooked = "the pod gives istio-proxy a postStart hook of its own, which takes the place of the one that waits"
    if planned.native is False and planned.hold and planned.own_hook:
        return Answer(question, None, f"It can: {hooked}.")
    if planned.native is False and planned.hold:
        text = "It cannot: the proxy will be the first container, and its postStart hook waits until it is ready."
        return Answer(question, False, text)
    if planned.native is False and planned.hold is False:
        text = "It can: the application will be started before the proxy (holdApplicationUntilProxyStarts is off)."
        return Answer(question, None, text)
    if planned.native is False:
        return Answer(question, None, "It can, unless holdApplicationUntilProxyStarts is on; the mesh's is not known.")
    text = "Not if the proxy becomes a native sidecar, which istiod (ENABLE_NATIVE_SIDECARS) and the nodes decide."
    if not planned.hold:
        text += " Otherwise it can" + (
            ", unless holdApplicationUntilProxyStarts is on." if planned.hold is None else "."
        )
        return Answer(question, None, text)
    if planned.own_hook:
        return Answer(question, None, f"{text} Otherwise it can: {hooked}.")
    return Answer(question, False, "It cannot: native sidecar or not (holdApplicationUntilProxyStarts), it waits.")

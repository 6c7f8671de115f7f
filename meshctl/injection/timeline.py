"""When what started: sandbox, init containers, proxy, application; restarts and how things ended.

Best evidence first: the container runtime's records (nanoseconds), the proxy's log, then Kubernetes' statuses (whole
seconds). A moment of the latter kind may be up to a second later than it says, and is never compared more closely.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from meshctl.frozen import dataclass
from meshctl.injection.mode import Injection
from meshctl.kube.containers import Container, Exec, Running, State, Terminated
from meshctl.kube.events import Event
from meshctl.kube.pods import Pod
from meshctl.kube.runtime import Process, Run, Sandbox

PAUSE = "pause"


@dataclass(frozen=True, slots=True)
class Clues:
    """What was recorded beside the pod itself; each part may be missing."""

    sandbox: Sandbox | None = None
    runs: tuple[Run, ...] = ()
    processes: tuple[Process, ...] = ()
    proxy_log: str = ""
    proxy_log_source: str = ""
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened: `at` is exact to `within_s` seconds (it may have been so much later)."""

    at: datetime
    container: str
    event: str
    source: str
    within_s: float = 0.0

    @property
    def latest(self) -> datetime:
        """The latest time at which it can have been."""
        return self.at + timedelta(seconds=self.within_s)


@dataclass(frozen=True, slots=True)
class Span:
    """One run of a container: `end` None while it runs; `ready_at` is the proxy's, where it is known."""

    container: str
    attempt: int | None
    start: Moment
    end: Moment | None = None
    exit_code: int | None = None
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Moments in order, the last run of each container, and the earlier runs that are known."""

    moments: tuple[Moment, ...]
    spans: tuple[Span, ...]
    earlier: tuple[Span, ...] = ()
    proxy_ready: Moment | None = None

    def span(self, container: str) -> Span | None:
        """The last run of a container."""
        return next((s for s in self.spans if s.container == container), None)


def of(pod: Pod, injection: Injection, clues: Clues) -> Timeline:
    """Put together what is known of the pod's start."""
    spans: list[Span] = []
    earlier: list[Span] = []
    for container in pod.containers:
        runs = _runs(container, clues.runs)
        if runs:
            spans.append(runs[-1])
            earlier.extend(runs[:-1])
    ready = _proxy_ready(injection, clues, spans)
    moments = [*_pod_moments(pod, clues), *_span_moments((*earlier, *spans)), *_event_moments(clues)]
    if ready is not None:
        moments.append(ready)
    moments.sort(key=lambda m: m.at)
    return Timeline(tuple(moments), tuple(sorted(spans, key=lambda s: s.start.at)), tuple(earlier), ready)


def _pod_moments(pod: Pod, clues: Clues) -> Iterator[Moment]:
    if pod.created_at:
        yield Moment(pod.created_at, "", "the pod was created in the Kubernetes API", "metadata.creationTimestamp", 1.0)
    for kind, text in (("PodScheduled", "a node was chosen"), ("Ready", "the pod became ready")):
        condition = pod.condition(kind)
        if condition and condition.status == "True" and condition.changed_at:
            yield Moment(condition.changed_at, "", text, f"condition {kind}", 1.0)
    sandbox = clues.sandbox
    holds_what = "pause process, in the node's network" if pod.host_network else "network namespace and pause process"
    if sandbox and sandbox.created_at:
        text = f"the sandbox was made: {holds_what}"
        if sandbox.attempt:
            text += f" (number {sandbox.attempt + 1}: the earlier ones are gone, as after a restart of the node)"
        yield Moment(sandbox.created_at, PAUSE, text, sandbox.source or "runtime/sandbox.json")
        return
    condition = pod.condition("PodReadyToStartContainers")
    if condition and condition.status == "True" and condition.changed_at:
        text = f"by then the sandbox was made: {holds_what}"
        yield Moment(condition.changed_at, PAUSE, text, "condition PodReadyToStartContainers", 1.0)


def _span_moments(spans: Iterable[Span]) -> Iterator[Moment]:
    for span in spans:
        yield span.start
        if span.end is not None:
            yield span.end


_TOLD = frozenset(
    ("Pulled", "Killing", "FailedMount", "FailedCreatePodSandBox", "FailedScheduling", "BackOff", "Failed")
)


def _event_moments(clues: Clues) -> Iterator[Moment]:
    """Images that had to be pulled, and what went wrong; what statuses say as well is left to them."""
    for event in clues.events:
        at = event.first_at
        pulled = event.reason == "Pulled" and "already present" not in event.message
        if at is None or event.reason not in _TOLD or (event.reason == "Pulled" and not pulled):
            continue
        times = f" ({event.count} times)" if event.count > 1 else ""
        yield Moment(at, event.container, f"{event.reason}: {event.message}{times}", "event", 1.0)


def waits_for(log: str) -> str:
    """What the agent last said that a proxy waits for, while it was not ready; empty where it said nothing.

    ``pilot/cmd/pilot-agent/status/server.go``: ``Envoy proxy is NOT ready: ...``.
    """
    found, ready = log.rfind("Envoy proxy is NOT ready"), log.rfind("Envoy proxy is ready")
    if found < 0 or ready > found:
        return ""
    end = log.find("\n", found)
    return log[found : end if end >= 0 else None].partition(":")[2].strip()


def _runs(container: Container, runs: Sequence[Run]) -> list[Span]:
    """All known runs of a container, oldest first; the runtime's records win over the status."""
    recorded = sorted((r for r in runs if r.container == container.name and r.started_at), key=lambda r: r.attempt)
    if recorded:
        return [_recorded(r) for r in recorded]
    status = container.status
    if status is None:
        return []
    found = []
    for state, where in ((status.last_state, "lastState"), (status.state, "state")):
        span = _from_status(container.name, state, where)
        if span is not None:
            found.append(span)
    return found


def _recorded(run: Run) -> Span:
    assert run.started_at is not None
    source = run.source or "runtime"
    start = Moment(run.started_at, run.container, _started(run.attempt), source)
    end = None
    if run.finished_at:
        at = max(run.finished_at, run.started_at)  # the runtime's two clocks may disagree by milliseconds
        end = Moment(at, run.container, _ended(run.exit_code, run.reason), source)
    return Span(run.container, run.attempt, start, end, run.exit_code, run.reason, run.message)


def _from_status(name: str, state: State | None, where: str) -> Span | None:
    match state:
        case Running(started_at) if started_at:
            return Span(name, None, Moment(started_at, name, "started", f"status, {where}", 1.0))
        case Terminated(code, reason, message, started_at, finished_at, _) if started_at:
            start = Moment(started_at, name, "started", f"status, {where}", 1.0)
            end = Moment(finished_at, name, _ended(code, reason), f"status, {where}", 1.0) if finished_at else None
            return Span(name, None, start, end, code, reason, message)
        case _:
            return None


def _started(attempt: int) -> str:
    return "started" if not attempt else f"started again (start number {attempt + 1})"


def _ended(code: int | None, reason: str) -> str:
    if code == 0:
        return "ended well (exit code 0)"
    return f"ended with exit code {code if code is not None else '?'}" + (f" ({reason})" if reason else "")


def _proxy_ready(injection: Injection, clues: Clues, spans: Sequence[Span]) -> Moment | None:
    """When the proxy's current run first said that it is ready, from its log."""
    proxy = injection.proxy
    if proxy is None or not clues.proxy_log:
        return None
    span = next((s for s in spans if s.container == proxy.name), None)
    log, found = clues.proxy_log, -1
    while (found := log.find("Envoy proxy is ready", found + 1)) >= 0:
        at = _log_time(log[log.rfind("\n", 0, found) + 1 : found])
        if at is not None and (span is None or at >= span.start.at):
            return Moment(
                at, proxy.name, "ready: it has its configuration and takes connections", clues.proxy_log_source
            )
    return None


def _log_time(line: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(line.split(maxsplit=1)[0])
    except (ValueError, IndexError):
        return None
    return at if at.tzinfo else None


def holds(proxy: Container) -> bool:
    """Whether the proxy's postStart hook keeps the next container waiting (holdApplicationUntilProxyStarts)."""
    hook = proxy.hook("postStart")
    return hook is not None and isinstance(hook.action, Exec) and hook.action.command[:2] == ("pilot-agent", "wait")


def is_unrecorded(process: Process, clues: Clues) -> bool:
    """Whether a process is of a run of a container that was not recorded, though others were."""
    known = {r.id for r in clues.runs if r.id} | ({clues.sandbox.id} if clues.sandbox else set())
    return bool(clues.runs) and bool(process.container_id) and process.container_id not in known

"""Restarts and endings of containers, with what the exit code means."""

from collections.abc import Iterator

from meshctl.frozen import dataclass
from meshctl.injection.mode import INIT_NAMES, Injection
from meshctl.injection.timeline import Clues, Timeline, is_unrecorded
from meshctl.kube.containers import Container, Running, Terminated, Waiting
from meshctl.kube.pods import Pod


@dataclass(frozen=True, slots=True)
class Ending:
    """How a container ended, or what it waits for; `bad` where that was a failure."""

    container: str
    text: str
    bad: bool
    code: int | None = None
    reason: str = ""
    restarts: int = 0
    message: str = ""


def of(pod: Pod, injection: Injection, timeline: Timeline, clues: Clues) -> tuple[Ending, ...]:
    """What is worth telling about each container's end, waiting or restarts."""
    found = [e for c in pod.containers for e in _of(c, pod, injection)]
    return (*found, *(e for c in pod.containers for e in _beside_status(c, injection, timeline, clues)))


def _beside_status(container: Container, injection: Injection, timeline: Timeline, clues: Clues) -> Iterator[Ending]:
    """An end that the runtime recorded of a container that should keep running, and its status does not show."""
    span, status = timeline.span(container.name), container.status
    if container.kind not in ("app", "sidecar") or container.name in INIT_NAMES:
        return
    if span is None or span.end is None or span.attempt is None or not (status and isinstance(status.state, Running)):
        return
    programs = ("pilot-agent", "envoy")
    is_proxy = container is injection.proxy
    young = [p for p in clues.processes if is_unrecorded(p, clues) and (p.name in programs) == is_proxy]
    text = f"{span.end.event} at {span.end.at:%H:%M:%S} by the runtime's records, which its status does not show"
    if young:
        first = min(young, key=lambda p: p.start_ticks or 0)
        text += f"; {first.name} (PID {first.pid}) is of a later run, so it was started again"
    code = span.exit_code
    yield Ending(container.name, text, bool(code), code, span.reason, status.restarts, span.message.strip())


def _of(container: Container, pod: Pod, injection: Injection) -> Iterator[Ending]:
    status = container.status
    if status is None:
        return
    if isinstance(status.state, Waiting) and status.state.reason not in ("", "PodInitializing"):
        text = f"waits: {status.state.reason}" + (f", {status.state.message}" if status.state.message else "")
        yield Ending(
            container.name, text, _is_bad_wait(status.state.reason), None, status.state.reason, status.restarts
        )
    for state, when in ((status.state, "ended"), (status.last_state, "ended before its last start")):
        if isinstance(state, Terminated) and (state.exit_code != 0 or when != "ended"):
            text = f"{when} with exit code {state.exit_code}: {meaning(state, container, pod, injection)}"
            bad = state.exit_code != 0
            yield Ending(
                container.name, text, bad, state.exit_code, state.reason, status.restarts, state.message.strip()
            )
    if status.restarts and not isinstance(status.last_state, Terminated):
        yield Ending(
            container.name,
            "started again " + ("once" if status.restarts == 1 else f"{status.restarts} times"),
            False,
            None,
            "",
            status.restarts,
        )


def _is_bad_wait(reason: str) -> bool:
    return reason not in ("ContainerCreating", "PodInitializing")


def meaning(state: Terminated, container: Container, pod: Pod, injection: Injection) -> str:
    """What an exit code means for this container."""
    code, name = state.exit_code, container.name
    if state.reason == "OOMKilled":
        limit = next((value for key, value in container.limits if key == "memory"), "")
        return "it used more memory than its limit" + (f" of {limit}" if limit else "") + " (OOMKilled)"
    if code == 126 and name == "istio-validation":
        fixed = "istio-cni's repair only helps pods that may restart; " if pod.restart_policy == "Never" else ""
        return (
            "the check found no working rules: the node's CNI plugin (istio-cni) did not set up this pod, mostly since "
            f"the pod was started before the plugin was installed on the node; {fixed}delete the pod to try again"
        )
    if code == 0:
        return "it was told to stop and did, or had nothing more to do"
    if name in ("istio-init", "istio-validation"):
        return "the rules could not be written or checked; its log says why (kubectl logs POD -c " + name + ")"
    if container is injection.proxy and code == 255:
        return "the proxy gave up; its log says why"
    return _GENERAL.get(code or 0, f"an error of the program{_signal(code)}")


def _signal(code: int | None) -> str:
    return f" (signal {code - 128})" if code is not None and 128 < code < 160 else ""


_GENERAL = {
    126: "the command was found but could not be run",
    127: "the command was not found",
    134: "it aborted (signal 6)",
    137: "it was killed (signal 9): a failed liveness probe, a stop that took too long, or the node went down",
    139: "it crashed (signal 11, invalid memory)",
    143: "it was told to stop (signal 15)",
}

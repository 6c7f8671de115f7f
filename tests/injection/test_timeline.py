from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from meshctl.injection.description import Description
from meshctl.injection.timeline import Clues
from meshctl.kube.runtime import Process, Run, Sandbox
from tests.injection import build

ZERO = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return ZERO + timedelta(seconds=seconds)


def run(name: str, start: float, end: float | None = None, attempt: int = 0, code: int | None = None) -> Run:
    ended = at(end) if end is not None else None
    return Run(name, attempt, f"id-{name}-{attempt}", at(start), at(start), ended, code, "", "", "box")


def told(raw: Any, **clues: Any) -> Description:
    return build.described(raw, clues=Clues(**{"sandbox": Sandbox("box", at(0), 100), **clues}))


def test_the_recorded_pod_tells_that_pause_came_first() -> None:
    found = build.described(build.recorded("classic-sidecar"), clues=build.clues())
    assert [s.container for s in found.steps] == ["pause", "istio-init", "reviews", "istio-proxy"]
    first = found.answers[0]
    assert first.verdict is True
    assert "istio-init, the first container, started 3.09 s after the sandbox" in first.text
    assert any("pause (PID 30469) is the oldest process" in e for e in first.evidence)


def test_the_recorded_pod_tells_how_long_the_application_ran_into_a_void() -> None:
    found = build.described(build.recorded("classic-sidecar"), clues=build.clues())
    answer = found.answers[1]
    assert answer.verdict is True
    assert answer.seconds == pytest.approx(3.01, abs=0.01)


def test_moments_are_in_order_and_start_with_the_creation() -> None:
    found = build.described(build.recorded("classic-sidecar"), clues=build.clues())
    times = [m.at for m in found.timeline.moments]
    assert times == sorted(times)
    assert found.timeline.moments[0].event == "the pod was created in the Kubernetes API"


def test_statuses_alone_give_the_order_to_the_second() -> None:
    found = build.described(build.recorded("classic-sidecar"))
    span = found.timeline.span("reviews")
    assert span is not None
    assert span.start.within_s == 1.0
    assert found.answers[0].verdict is True
    assert found.answers[1].verdict is None or found.answers[1].seconds is not None


def test_a_native_sidecar_was_ready_before() -> None:
    runs = (run("istio-init", 1, 2, code=0), run("istio-proxy", 2), run("app", 5))
    log = "2026-01-01T00:00:04.000000Z\tinfo\tEnvoy proxy is ready\n"
    found = told(build.injected(native=True), runs=runs, proxy_log=log)
    assert found.answers[1].verdict is False
    assert "1.00 s before" in found.answers[1].text
    without = told(build.injected(native=True), runs=runs)
    assert without.answers[1].verdict is False
    assert without.answers[1].text == "No: Kubernetes waited for the proxy."


def test_hold_makes_the_application_wait() -> None:
    hook = {"postStart": {"exec": {"command": ["pilot-agent", "wait"]}}}
    raw = build.injected(proxy={"lifecycle": hook})
    raw["spec"]["containers"].reverse()
    found = told(raw, runs=(run("istio-proxy", 2), run("app", 5)))
    assert found.answers[1].verdict is False
    assert "postStart hook `pilot-agent wait`" in found.steps[-1].why
    planned = build.described(raw)
    assert planned.answers[1].verdict is False


def test_a_plan_says_what_can_happen() -> None:
    found = build.described(build.injected())
    assert found.timeline.moments == ()
    assert found.answers[1].verdict is None
    assert found.answers[1].text.startswith("It can:")
    assert build.described(build.injected(native=True)).answers[1].verdict is False


def test_a_proxy_that_was_started_again_leaves_a_gap() -> None:
    runs = (run("app", 3), run("istio-proxy", 2, 100, code=137), run("istio-proxy", 101, attempt=1))
    log = "2026-01-01T00:00:04Z\tinfo\tEnvoy proxy is ready\n2026-01-01T00:01:43Z\tinfo\tEnvoy proxy is ready\n"
    found = told(build.injected(), runs=runs, proxy_log=log)
    answer = found.answers[1]
    assert answer.verdict is True
    assert answer.seconds == pytest.approx(3.0)


def test_runs_in_an_earlier_sandbox_do_not_count() -> None:
    old = replace(run("app", -500, -400, code=0), sandbox_id="older")
    new = replace(run("app", 2, attempt=1), sandbox_id="box")
    found = told(build.plain(), sandbox=Sandbox("box", at(0), 100, attempt=1), runs=(old, new))
    assert found.answers[0].verdict is True
    assert "started 2.00 s after" in found.answers[0].text


def test_processes_alone_show_that_pause_is_the_oldest() -> None:
    processes = (Process(7, ("/pause",), "65535", "", 100), Process(9, ("python3",), "1000", "", 545))
    found = told(build.plain(), sandbox=None, processes=processes)
    assert found.answers[0].verdict is True
    assert "python3 (PID 9) started 4.45 s after it" in found.answers[0].evidence[0]


def test_an_end_before_the_start_is_the_runtimes_clock() -> None:
    found = told(build.injected(), runs=(run("istio-init", 2, 1.9, code=0),))
    span = found.timeline.span("istio-init")
    assert span is not None
    assert span.end is not None
    assert span.end.at == span.start.at


@pytest.mark.parametrize(
    ("name", "code", "reason", "words"),
    [
        ("istio-validation", 126, "Error", "the check found no working rules"),
        ("istio-init", 1, "Error", "the rules could not be written"),
        ("app", 137, "OOMKilled", "more memory than its limit of 64Mi"),
        ("app", 137, "Error", "killed (signal 9)"),
        ("app", 139, "Error", "signal 11"),
        ("app", 143, "Error", "told to stop"),
        ("app", 141, "Error", "signal 13"),
        ("app", 3, "Error", "an error of the program"),
        ("istio-proxy", 255, "Error", "the proxy gave up"),
    ],
)
def test_what_an_exit_code_means(name: str, code: int, reason: str, words: str) -> None:
    raw = build.injected(init={"name": name} if name == "istio-validation" else None)
    raw["spec"]["containers"][0]["resources"] = {"limits": {"memory": "64Mi"}}
    key = "initContainerStatuses" if name.startswith("istio-") and name != "istio-proxy" else "containerStatuses"
    state = {"terminated": {"exitCode": code, "reason": reason, "startedAt": "2026-01-01T00:00:00Z"}}
    raw["status"] = {key: [{"name": name, "lastState": state, "state": {"running": {}}, "restartCount": 1}]}
    found = build.described(raw).endings
    assert [e.container for e in found] == [name]
    assert words in found[0].text

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from meshctl.injection.description import Description
from meshctl.injection.settings import MeshSettings
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


STATUS = {"started": True, "ready": True, "restartCount": 0}


def with_status(raw: Any, **started: str) -> Any:
    """The pod with containers that run by its status since these times of day."""
    kinds = {"initContainerStatuses": raw["spec"].get("initContainers", ()),
             "containerStatuses": raw["spec"]["containers"]}  # fmt: skip
    raw["status"] = {
        key: [
            {"name": c["name"], **STATUS, "state": {"running": {"startedAt": f"2026-01-01T{started[c['name']]}Z"}}}
            for c in containers
            if c["name"] in started
        ]
        for key, containers in kinds.items()
    }
    return raw


def test_a_start_before_the_sandbox_is_not_said_to_be_after_it() -> None:
    found = told(with_status(build.plain(), app="00:00:03"), sandbox=Sandbox("box", at(5.5), 100))
    answer = found.answers[0]
    assert "the same second" not in answer.text
    assert "after the sandbox" not in answer.text
    assert any("before this sandbox" in line and "app started at 00:00:03" in line for line in answer.evidence)
    raw = with_status(build.injected(), **{"istio-init": "00:00:03"})
    found = told(raw, sandbox=Sandbox("box", at(5.5), 100), runs=(run("app", 8), run("istio-proxy", 9)))
    assert "Yes: app, the first that was recorded in this sandbox, started 2.50 s after" in found.answers[0].text


def test_a_start_in_the_second_of_the_sandbox_is_told_as_such() -> None:
    found = told(with_status(build.plain(), app="00:00:05"), sandbox=Sandbox("box", at(5.5), 100))
    assert "in the same second as the sandbox or later" in found.answers[0].text
    assert "app started 00:00:05 (" in found.answers[0].evidence[1]
    found = told(with_status(build.plain(), app="00:00:08"), sandbox=Sandbox("box", at(5.5), 100))
    assert "at least 2.50 s after" in found.answers[0].text


def test_runs_of_this_sandbox_that_began_before_it_are_a_contradiction() -> None:
    found = told(build.plain(), runs=(run("app", -4),))
    assert found.answers[0].verdict is None
    assert "contradict" in found.answers[0].text


def test_an_end_that_the_status_does_not_show_is_told_with_the_later_run() -> None:
    raw = with_status(build.injected(native=True), **{"istio-proxy": "00:00:02"})
    pause = Process(100, ("/pause",), "65535", "box", 100)
    young = Process(300, ("/usr/local/bin/pilot-agent", "proxy"), "1337", "id-later", 60_400)
    runs = (run("istio-init", 1, 2, code=0), run("istio-proxy", 2, 602, code=0))
    found = told(raw, runs=runs, processes=(pause, young))
    (ending,) = found.endings
    assert ending.container == "istio-proxy"
    assert "at 00:10:02 by the runtime's records" in ending.text
    assert "pilot-agent (PID 300) is of a later run" in ending.text
    assert any("in a later run of its container that was not recorded" in line for line in found.answers[0].evidence)
    same = replace(young, container_id="id-istio-proxy-0", start_ticks=300)
    still = told(raw, runs=(runs[0], run("istio-proxy", 2)), processes=(pause, same))
    assert still.endings == ()
    assert not any("later run" in line for line in still.answers[0].evidence)


def test_a_pod_of_the_node_has_no_network_namespace_of_its_own() -> None:
    found = told(build.plain(hostNetwork=True), runs=(run("app", 2),), processes=(
        Process(100, ("/pause",), "65535", "box", 100), Process(9, ("python3",), "0", "id-app-0", 545)))  # fmt: skip
    assert "the pod has none of its own" in found.steps[0].why
    made = next(m for m in found.timeline.moments if m.container == "pause")
    assert "in the node's network" in made.event
    assert not any("the pod's network namespace" in line for line in found.answers[0].evidence)


MESH = MeshSettings(mesh={}, values={"pilot": {"cni": {"enabled": False}}})
_NATIVE = "sidecar.istio.io/nativeSidecar"
_HOLD = {"proxy.istio.io/config": "holdApplicationUntilProxyStarts: true"}


def to_be_made(annotations: Any = None, settings: MeshSettings = MESH, **subject: Any) -> Description:
    raw = build.plain({**(annotations or {})}, initContainers=[{"name": "own"}])
    given = {"namespace": build.namespace(istio_injection="enabled"), "webhooks": build.recorded_webhooks(),
             "control_planes": ("1.30.3",), **subject}  # fmt: skip
    return build.described(raw, settings=settings, **given)


@pytest.mark.parametrize(
    ("annotations", "settings", "order"),
    [
        ({_NATIVE: "true"}, MESH, "pause istio-init+ istio-proxy+ own app"),
        ({_NATIVE: "false"}, MESH, "pause own istio-init+ app istio-proxy+"),
        ({_NATIVE: "false", **_HOLD}, MESH, "pause own istio-init+ istio-proxy+ app"),
        ({_NATIVE: "false"}, replace(MESH, values={"pilot": {"cni": {"enabled": True}}}),
         "pause istio-validation+ own app istio-proxy+"),
        ({_NATIVE: "true", "sidecar.istio.io/interceptionMode": "NONE"}, MESH, "pause istio-proxy+ own app"),
        ({_NATIVE: "true"}, MeshSettings(), "pause istio-init or istio-validation+ istio-proxy+ own app"),
        ({}, MESH, "pause own app"),
        ({"inject.istio.io/templates": "gateway"}, MESH, "pause own app"),
    ],
)  # fmt: skip
def test_the_order_of_a_pod_that_is_not_made_yet_holds_what_would_be_added(
    annotations: Any, settings: MeshSettings, order: str
) -> None:
    found = to_be_made(annotations, settings)
    assert " ".join(s.container + "+" * s.planned for s in found.steps) == order
    assert found.planned is not None


def test_old_releases_have_no_native_sidecars() -> None:
    found = to_be_made({_NATIVE: "true"}, control_planes=("1.18.2",))
    assert [s.container for s in found.steps] == ["pause", "own", "istio-init", "app", "istio-proxy"]


@pytest.mark.parametrize(
    ("annotations", "settings", "verdict", "words"),
    [
        ({_NATIVE: "true"}, MESH, False, "It cannot"),
        ({_NATIVE: "false"}, MESH, None, "It can:"),
        ({_NATIVE: "false"}, MeshSettings(), None, "It can, unless"),
        ({_NATIVE: "false", **_HOLD}, MESH, False, "It cannot"),
        (_HOLD, MESH, False, "native sidecar or not"),
        ({}, MESH, None, "Not if the proxy becomes a native sidecar"),
    ],
)
def test_whether_the_application_will_run_before_its_proxy(
    annotations: Any, settings: MeshSettings, verdict: bool | None, words: str
) -> None:
    found = to_be_made(annotations, settings)
    assert "before the init containers" in found.answers[0].question
    assert found.answers[1].verdict is verdict
    assert words in found.answers[1].text


def test_nothing_is_planned_for_what_will_not_be_injected_or_is_made() -> None:
    assert to_be_made(namespace=build.namespace()).planned is None
    assert to_be_made(namespace=None, webhooks=None).planned is None
    assert build.described(build.injected()).planned is None


def test_a_post_start_hook_of_the_pods_own_takes_the_place_of_the_one_that_waits() -> None:
    hook = {"postStart": {"exec": {"command": ["x"]}}}
    raw = build.plain({_NATIVE: "false", **_HOLD})
    raw["spec"]["containers"].append({"name": "istio-proxy", "image": "auto", "lifecycle": hook})
    given = {"namespace": build.namespace(istio_injection="enabled"), "webhooks": build.recorded_webhooks()}
    found = build.described(raw, settings=MESH, control_planes=("1.30.3",), **given)
    assert found.answers[1].verdict is None
    assert "a postStart hook of its own" in found.answers[1].text
    assert "the pod's own, which does not wait" in found.steps[-1].why

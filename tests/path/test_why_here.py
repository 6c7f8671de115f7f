"""Which cause it is here: whose proxy wrote a line, and what a trace of the same request says."""

import json
import re
import shlex

import pytest
from typer.testing import CliRunner

from meshctl.cli.app import app
from meshctl.envoy import access_log
from meshctl.envoy.access_log import LogLine
from meshctl.kube.pods import Pod
from meshctl.path import why, why_here
from tests.path.recordings import FOLDER, NAMES, scene, world


def logged(name: str) -> list[tuple[Pod, LogLine]]:
    found = []
    for pod in scene(name).pods:
        part = world(name).part(pod.namespace, pod.name, "logs/istio-proxy.txt")
        text = (part.content or b"").decode("utf-8", "replace")
        found += [(pod, line) for line in access_log.parse(text, part.source)]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_line_tells_whose_proxy_wrote_it(name: str) -> None:
    told = [(pod, why_here.writer(scene(name), line), line) for pod, line in logged(name)]
    assert [line.text for pod, wrote, line in told if wrote is not None and wrote.name != pod.name] == []
    assert sum(wrote is not None for _, wrote, _ in told) >= 0.9 * len(told)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "ambient"])
def test_each_logged_failure_is_what_a_trace_of_it_says(name: str) -> None:
    """Headers are not logged, and what an application does is not predicted: those it may call otherwise."""
    place, other = scene(name), []
    for pod, line in logged(name):
        reading = why.read((line.text,))
        if not reading.failed or re.search(r"via_upstream|downstream_remote|upstream_response_timeout", line.text):
            continue
        (said,) = why_here.explain(place, place.station(pod), reading, [line])
        if said.says.startswith("not any more"):
            other.append((said.says, said.command, line.text))
    assert other == []


def run(*words: str) -> dict[str, object]:
    done = CliRunner().invoke(app, ["why", *words, "-o", "json"], prog_name="meshctl")
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def recorded(name: str) -> tuple[str, str]:
    return "--snapshot", str(FOLDER / f"{name}.tar.gz")


def address(name: str, prefix: str) -> str:
    return next(pod.ip for pod in scene(name).pods if pod.name.startswith(prefix))


def unchained(local: str, remote: str) -> str:
    shown = '[2026-01-01T00:00:00.000Z] "- - -" 0 NR filter_chain_not_found - "-" 0 0 0 - "-" "-" "-" "-" "-"'
    return f"{shown} - - {local}:9080 {remote}:48876 - -"


@pytest.mark.parametrize("named", [True, False])
def test_a_callees_line_is_traced_from_who_called(named: bool) -> None:
    callee = next(pod for pod in scene("policies").pods if pod.name.startswith("backend-v1"))
    line = unchained(callee.ip, address("policies", "plainclient"))
    pod = ("--pod", f"policies/{callee.name}") if named else ()
    (said,) = run(line, *recorded("policies"), *pod)["here"]  # type: ignore[misc]
    assert "STRICT" in said["says"]
    assert said["pod"] == f"policies/{callee.name}"
    assert "--from plainclient" in said["command"]
    done = CliRunner().invoke(app, [*shlex.split(said["command"])[1:], *recorded("policies")], prog_name="meshctl")
    assert done.exit_code == 10


def test_a_line_of_another_cluster_asks_for_the_pod() -> None:
    (said,) = run(unchained("198.51.100.1", "198.51.100.2"), *recorded("policies"))["here"]  # type: ignore[misc]
    assert "--pod" in said["says"]


@pytest.mark.parametrize("failure", ["delayed_connect_error:_111", "delayed_connect_error:_Connection_refused"])
def test_the_sockets_of_the_callee_decide_who_refused(failure: str) -> None:
    ip = address("broken", "wrongport")
    line = (
        '[2026-01-01T00:00:00.000Z] "GET / HTTP/1.1" 503 UF upstream_reset_before_response_started'
        f'{{remote_connection_failure|{failure}}} - "{failure}" 0 121 33 - "-" "curl" "id" "wrongport:8080" '
        f'"{ip}:8080" inbound|8080|| - {ip}:8080 198.51.100.7:60454 - default'
    )
    found = run(line, *recorded("broken"))
    (said,) = found["here"]  # type: ignore[misc]
    assert "nothing listens" in said["says"]
    assert "8081" in said["says"]
    texts = [cause["text"] for cause in found["causes"]]  # type: ignore[attr-defined]
    assert "nothing listens" in texts[0]
    assert not any(word in text for text in texts for word in ("mutual TLS", "NetworkPolicy", "certificate"))


def test_a_request_that_was_answered_would_be_again() -> None:
    place = scene("bookinfo")
    answered = [(pod, line) for pod, line in logged("bookinfo") if line.status == 200 and not line.inbound]
    assert answered
    for pod, line in answered:
        (said,) = why_here.explain(place, place.station(pod), why.read((line.text,)), [line])
        assert said.says == "it would be delivered, as it was"

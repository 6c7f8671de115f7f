"""A real request, sent through a stand-in for the API server: what is predicted and what is seen, side by side."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from meshctl.errors import Unavailable
from meshctl.gather import probe
from meshctl.path.model import Request
from meshctl.sources.kube_streams import Exit
from meshctl.sources.plain_request import PlainAnswer, PlainRequest
from meshctl.sources.world import Part
from meshctl.views import trace as view
from tests.path.recordings import predicted, scene, world


@dataclass
class Api:
    """Answers as curl in the container would, and keeps what it was asked."""

    answer: Exit
    asked: list[tuple[str, str, str, tuple[str, ...]]] = field(default_factory=list)

    def run(self, namespace: str, pod: str, container: str, argv: Sequence[str], timeout_s: float) -> Exit:
        self.asked.append((namespace, pod, container, tuple(argv)))
        return self.answer


@dataclass
class Live:
    """A world that is live, whose proxies log every request that was sent."""

    api: Api
    flags: str = "-"
    live: bool = True
    logging: bool = True
    counted: int = 0
    inside: PlainAnswer | str = "needs root on its node"
    entered: list[PlainRequest] = field(default_factory=list)

    def send_inside(self, namespace: str, pod: str, request: PlainRequest) -> PlainAnswer | str:
        self.entered.append(request)
        return self.inside

    def part(self, namespace: str, pod: str, name: str) -> Part:
        if name == "envoy/clusters.json":
            self.counted += 1
            return Part(name, json.dumps(clusters(self.counted)).encode())
        if not self.logging:
            return Part(name, b"")
        token = next(w for w in self.api.asked[-1][3] if w.startswith("x-request-id: ")).partition(": ")[2]
        cluster = "outbound|9080||x" if pod == self.api.asked[-1][1] else "inbound|9080||"
        line = f'[2026-01-01T00:00:00.000Z] "GET / HTTP/1.1" 200 {self.flags} via_upstream - "-" 0 5 1 1 "-" "curl" '
        line += f'"{token}" "a" "10.0.0.1:9080" {cluster} - 10.0.0.2:9080 10.0.0.3:1 - default'
        return Part(name, f"{line}\nsomething else\n".encode())


def clusters(count: int) -> dict[str, Any]:
    """What /clusters says after so many requests."""
    address = {"socket_address": {"address": "172.17.0.9", "port_value": 9080}}
    stats = [{"name": "rq_total", "value": str(count)}, {"name": "cx_active", "value": str(count)}]
    host = {"address": address, "stats": stats, "health_status": {"eds_health_status": "HEALTHY"}}
    name = "outbound|9080||details.classic.svc.cluster.local"
    return {"cluster_statuses": [{"name": name, "host_statuses": [host]}]}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "LOG_DELAY_S", 0)


def sent(
    answer: Exit, url: str = "http://details:9080/details/0", flags: str = "-", world: Any = None
) -> tuple[Any, Api]:
    place = scene("classic")
    caller = next(pod for pod in place.pods if pod.name.startswith("productpage"))
    found = predicted("classic", f"classic/{caller.name}", url, Request(headers=(("end-user", "jason"),)))
    api = Api(answer)
    live: Any = world or Live(api, flags)
    live.api = api
    return probe.send(live, place, found), api


def test_the_request_is_sent_from_the_application_and_found_in_both_logs() -> None:
    observed, api = sent(Exit(b"200\n", b"", 0))
    namespace, _, container, argv = api.asked[0]
    assert (namespace, container) == ("classic", "productpage")
    assert argv[-1] == "http://details:9080/details/0"
    assert "end-user: jason" in argv
    assert (observed.status, observed.agrees) == (200, True)
    assert {seen.side for seen in observed.logs} == {"caller", "callee"}


def test_flags_that_were_not_predicted_disagree() -> None:
    observed, _ = sent(Exit(b"503\n", b"", 0), flags="UF")
    assert (observed.status, observed.agrees) == (503, False)


def test_a_cut_connection_where_an_answer_was_predicted_disagrees() -> None:
    observed, _ = sent(Exit(b"000\n", b"curl: (56) reset", 56))
    assert (observed.status, observed.broken, observed.agrees) == (None, "reset", False)


def test_a_failed_lookup_that_was_predicted_agrees() -> None:
    observed, _ = sent(Exit(b"000\n", b"curl: (6)", 6), "http://nosuch:9080/")
    assert observed.agrees is True


def test_without_curl_it_says_what_is_missing() -> None:
    observed, _ = sent(Exit(b"", b"", 126, "executable file not found in $PATH"))
    assert observed.status is None
    assert "curl" in observed.missing[0]


def test_without_access_logs_the_counters_say_what_happened() -> None:
    observed, _ = sent(Exit(b"200\n", b"", 0), world=Live(Api(Exit(b"", b"", 0)), logging=False))
    name = "outbound|9080||details.classic.svc.cluster.local"
    assert observed.counted == (f"{name} 172.17.0.9:9080: rq_total +1",)
    assert any("access log" in text for text in observed.missing)
    assert observed.agrees is True


NO_CURL = Exit(b"", b"", 126, "executable file not found in $PATH")


def test_without_curl_it_is_sent_from_inside_the_namespace_as_the_application_s_user() -> None:
    place = Live(Api(NO_CURL), logging=False, inside=PlainAnswer(200))
    observed, _ = sent(NO_CURL, world=place)
    asked = place.entered[0]
    assert (asked.method, asked.path, asked.port, asked.uid) == ("GET", "/details/0", 9080, 1000)
    assert asked.address.count(".") == 3
    assert ("Host", "details:9080") in asked.headers
    assert any(name == "x-request-id" for name, _ in asked.headers)
    assert (observed.status, observed.agrees) == (200, True)
    assert "network namespace" in observed.sent_from


def test_a_refused_connection_from_inside_is_an_observation() -> None:
    place = Live(Api(NO_CURL), logging=False, inside=PlainAnswer(None, "refused", "Connection refused"))
    observed, _ = sent(NO_CURL, world=place)
    assert (observed.status, observed.broken, observed.agrees) == (None, "refused", False)


def test_without_curl_and_root_it_says_what_is_missing_and_what_helps() -> None:
    observed, _ = sent(NO_CURL, world=Live(Api(NO_CURL)))
    assert "no curl" in observed.missing[0]
    assert "root" in observed.missing[1]
    assert "kubectl debug" in observed.missing[2]
    caller = next(pod for pod in scene("classic").pods if pod.name.startswith("productpage"))
    found = predicted("classic", f"classic/{caller.name}", "http://details:9080/", Request())
    assert view.page(found, None, observed).blocks


def test_tls_is_not_sent_without_curl() -> None:
    place = Live(Api(NO_CURL), inside=PlainAnswer(200))
    observed, _ = sent(NO_CURL, "https://details:9080/", world=place)
    assert place.entered == []
    assert "TLS" in observed.missing[1]


def test_a_recording_has_nothing_to_send_in() -> None:
    caller = next(pod for pod in scene("classic").pods if pod.name.startswith("productpage"))
    found = predicted("classic", f"classic/{caller.name}", "http://details:9080/", Request())
    with pytest.raises(Unavailable):
        probe.send(world("classic"), scene("classic"), found)


def test_the_page_and_the_document_show_both() -> None:
    observed, _ = sent(Exit(b"200\n", b"", 0))
    caller = next(pod for pod in scene("classic").pods if pod.name.startswith("productpage"))
    found = predicted("classic", f"classic/{caller.name}", "http://details:9080/", Request())
    assert view.document(found, None, observed)["observed"]
    titles = [getattr(block, "text", "") for block in view.page(found, None, replace(observed, agrees=None)).blocks]
    assert "Probe" in titles

"""A real request, sent through a stand-in for the API server: what is predicted and what is seen, side by side."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pytest

from meshctl.cli import trace as cli
from meshctl.errors import ExitCode, MeshctlError, NoAccess, Unavailable
from meshctl.gather import probe, probe_logs
from meshctl.gather.question import Asked, question
from meshctl.gather.scope import Scope
from meshctl.path.model import End, Request
from meshctl.path.trace import trace
from meshctl.sources.kube_streams import Exit
from meshctl.sources.plain_request import PlainAnswer, PlainRequest
from meshctl.sources.world import Part
from meshctl.views import trace as view
from meshctl.views import trace_document
from tests.path.recordings import predicted, scene, world


@dataclass
class Api:
    """Answers as curl in the container would, and keeps what it was asked."""

    answer: Exit
    answers: dict[str, Exit] = field(default_factory=dict)
    refusal: MeshctlError | None = None
    asked: list[tuple[str, str, str, tuple[str, ...]]] = field(default_factory=list)

    def run(self, namespace: str, pod: str, container: str, argv: Sequence[str], timeout_s: float) -> Exit:
        self.asked.append((namespace, pod, container, tuple(argv)))
        if self.refusal is not None:
            raise self.refusal
        return self.answers.get(argv[0], self.answer)


@dataclass
class Live:
    """A world that is live, whose proxies log every request that was sent."""

    api: Api
    flags: str = "-"
    callee_flags: str = "-"
    cluster: str = "outbound|9080||details.classic.svc.cluster.local"
    json: bool = False
    reason: str = "4"
    live: bool = True
    logging: bool = True
    counted: int = 0
    inside: PlainAnswer | str = "needs root on its node"
    entered: list[PlainRequest] = field(default_factory=list)

    def send_inside(self, namespace: str, pod: str, request: PlainRequest) -> PlainAnswer | str:
        self.entered.append(request)
        return self.inside

    def part(self, namespace: str, pod: str, name: str) -> Part:
        self.counted += 1
        return Part(name, json.dumps(clusters(self.counted)).encode())

    def recent_log(self, namespace: str, pod: str, container: str, seconds: int) -> Part:
        if not self.logging:
            return Part(container, b"")
        if self.entered:
            token = dict(self.entered[-1].headers)["x-request-id"]
        else:
            words = " ".join(self.api.asked[-1][3])
            token = words.partition("x-request-id")[2].lstrip('": ,').split()[0].split('"')[0]
        token = f"{token[:14]}{self.reason}{token[15:]}"
        caller = pod == self.api.asked[-1][1]
        cluster, flags = (self.cluster, self.flags) if caller else ("inbound|9080||", self.callee_flags)
        line = f'[2026-01-01T00:00:00.000Z] "GET / HTTP/1.1" 200 {flags} via_upstream - "-" 0 5 1 1 "-" "curl" '
        line += f'"{token}" "a" "{HOST}:9080" {cluster} 10.0.0.1:7 10.0.0.2:9080 10.0.0.3:1 - default'
        if self.json:
            fields = {"response_code": 200, "response_flags": flags, "request_id": token, "upstream_cluster": cluster}
            line = json.dumps({**fields, "upstream_host": f"{HOST}:9080", "method": "GET"})
        return Part(container, f"{line}\nsomething else\n".encode())


HOST = next(pod.ip for pod in scene("classic").pods if pod.name.startswith("details"))
"""Where the callee is."""


def clusters(count: int) -> dict[str, Any]:
    """What /clusters says after so many requests."""
    address = {"socket_address": {"address": "172.17.0.9", "port_value": 9080}}
    stats = [{"name": "rq_total", "value": str(count)}, {"name": "cx_active", "value": str(count)}]
    host = {"address": address, "stats": stats, "health_status": {"eds_health_status": "HEALTHY"}}
    name = "outbound|9080||details.classic.svc.cluster.local"
    return {"cluster_statuses": [{"name": name, "host_statuses": [host]}]}


OK = b"\n200 10.0.0.3 40000 0.001 35\n"
FAILED = b"\n000 10.0.0.3 40000 0.001 0\n"
"""What curl writes at the end (``-w``)."""


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_logs, "LOG_DELAY_S", 0)


def sent(
    answer: Exit,
    url: str = "http://details:9080/details/0",
    flags: str = "-",
    world: Any = None,
    protocol: Literal["http", "http2", "tcp"] = "http",
) -> tuple[Any, Api]:
    place = scene("classic")
    caller = next(pod for pod in place.pods if pod.name.startswith("productpage"))
    found = predicted("classic", f"classic/{caller.name}", url, Request(headers=(("end-user", "jason"),)))
    found = replace(found, request=replace(found.request, protocol=protocol))
    api = Api(answer) if world is None else replace(world.api, answer=answer)
    live: Any = world or Live(api, flags)
    live.api = api
    return probe.send(live, place, found), api


def test_the_request_is_sent_from_the_application_and_found_in_both_logs() -> None:
    observed, api = sent(Exit(OK, b"", 0))
    namespace, _, container, argv = api.asked[0]
    assert (namespace, container) == ("classic", "productpage")
    assert argv[-1] == "http://details:9080/details/0"
    assert "end-user: jason" in argv
    assert (observed.status, observed.agrees) == (200, True)
    assert {seen.side for seen in observed.logs} == {"caller", "callee"}


def test_flags_that_were_not_predicted_disagree() -> None:
    observed, _ = sent(Exit(OK.replace(b"200", b"503"), b"", 0), flags="UF")
    assert (observed.status, observed.agrees) == (503, False)


def test_a_cut_connection_where_an_answer_was_predicted_disagrees() -> None:
    observed, _ = sent(Exit(FAILED, b"curl: (56) reset", 56))
    assert (observed.status, observed.broken, observed.agrees) == (None, "reset", False)


@pytest.mark.parametrize(("code", "url", "agrees"), [(35, "https", True), (56, "https", True), (35, "http", False)])
def test_a_cut_handshake_is_a_reset_whatever_the_program_calls_it(code: int, url: str, agrees: bool) -> None:
    """details takes the mesh's own TLS and plain text on that port, and no other TLS."""
    error = b"curl: (%d) Recv failure: Connection reset by peer" % code
    observed, _ = sent(Exit(FAILED, error, code), f"{url}://details:9080/", flags="UR")
    assert observed.points[0].fits is agrees


def test_who_ends_a_tunnel_later_contradicts_nothing() -> None:
    observed, _ = sent(Exit(OK.replace(b"200", b"101"), b"", 0), flags="UC")
    assert (observed.status, observed.agrees) == (101, True)
    assert [point.fits for point in observed.points if point.what == "caller-flags"] == [None]


def test_a_connection_on_which_nothing_was_sent_contradicts_no_answer_to_bytes() -> None:
    answer = Exit(FAILED, b"curl: (28) timed out", 28)
    observed, _ = sent(answer, "tcp://details:9080", world=Live(Api(answer), logging=False), protocol="tcp")
    assert (observed.connected, observed.agrees) == (True, None)


def test_connect_names_the_host_and_port_in_its_first_line() -> None:
    place = scene("classic")
    caller = next(pod for pod in place.pods if pod.name.startswith("productpage"))
    asked = Request(method="CONNECT", host="far.example.com:443")
    found = predicted("classic", f"classic/{caller.name}", "http://details:9080/", asked)
    api = Api(Exit(OK.replace(b"200", b"404"), b"", 0))
    probe.send(Live(api), place, found)  # type: ignore[arg-type]
    argv = api.asked[0][3]
    assert argv[argv.index("--request-target") + 1] == "far.example.com:443"
    assert argv[-1] == "http://details:9080/"


def test_a_failed_lookup_that_was_predicted_agrees() -> None:
    observed, _ = sent(Exit(b"\n000  0 0.000000 0\n", b"curl: (6)", 6), "http://nosuch:9080/")
    assert observed.agrees is True


@pytest.mark.parametrize(
    ("flags", "cluster", "delivered", "agrees"),
    [
        ("DC", "", False, None),  # the proxy still tried
        ("URX,UF", "", False, False),
        ("DC", "outbound|80||elsewhere", False, False),
        ("DC", "", True, False),
    ],
)
def test_a_client_that_gives_up_first_contradicts_no_failure_of_its_proxy(
    flags: str, cluster: str, delivered: bool, agrees: bool | None
) -> None:
    place = scene("classic")
    caller = next(pod for pod in place.pods if pod.name.startswith("productpage"))
    found = predicted("classic", f"classic/{caller.name}", "http://details:9080/", Request())
    if not delivered:
        (branch,) = found.outcome.branches
        failed = End("client-proxy", 503, "URX,UF", "", False, True, None, None, why="dropped")
        found = replace(found, outcome=replace(found.outcome, branches=(replace(branch, end=failed),)))
    api = Api(Exit(FAILED, b"curl: (28) Operation timed out", 28))
    seen = probe.send(Live(api, flags, cluster=cluster or Live.cluster), place, found)  # type: ignore[arg-type]
    assert seen.agrees is agrees
    assert ("the client gave up after 15 s" in " ".join(seen.missing)) is (agrees is None)


def test_without_curl_it_says_what_is_missing() -> None:
    observed, _ = sent(Exit(b"", b"", 126, "executable file not found in $PATH"))
    assert observed.status is None
    assert "curl, python3 or wget" in observed.missing[0]


def test_without_access_logs_the_counters_say_what_happened() -> None:
    observed, _ = sent(Exit(OK, b"", 0), world=Live(Api(Exit(b"", b"", 0)), logging=False))
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
    assert not observed.sent
    assert "root" in observed.missing[1]
    assert "kubectl debug" in observed.missing[2]
    caller = next(pod for pod in scene("classic").pods if pod.name.startswith("productpage"))
    found = predicted("classic", f"classic/{caller.name}", "http://details:9080/", Request())
    assert view.page(found, None, observed).blocks


def test_http2_is_only_sent_by_curl() -> None:
    place = Live(Api(NO_CURL), inside=PlainAnswer(200))
    observed, api = sent(NO_CURL, "http://details:9080/", world=place, protocol="http2")
    assert [argv[0] for *_, argv in api.asked] == ["curl"]
    assert place.entered == []
    assert "HTTP/2" in observed.missing[1]


def test_a_recording_has_nothing_to_send_in() -> None:
    caller = next(pod for pod in scene("classic").pods if pod.name.startswith("productpage"))
    found = predicted("classic", f"classic/{caller.name}", "http://details:9080/", Request())
    with pytest.raises(Unavailable):
        probe.send(world("classic"), scene("classic"), found)


def test_the_page_and_the_document_show_both() -> None:
    observed, _ = sent(Exit(OK, b"", 0))
    caller = next(pod for pod in scene("classic").pods if pod.name.startswith("productpage"))
    found = predicted("classic", f"classic/{caller.name}", "http://details:9080/", Request())
    assert trace_document.document(found, None, observed)["observed"]
    titles = [getattr(block, "text", "") for block in view.page(found, None, replace(observed, agrees=None)).blocks]
    assert "Probe" in titles


def test_python_sends_it_where_there_is_no_curl() -> None:
    answer = Exit(json.dumps({"status": 200, "local": "10.0.0.3:1", "connected": True}).encode(), b"", 0)
    observed, api = sent(NO_CURL, world=Live(Api(NO_CURL, {"python3": answer})))
    assert (observed.status, observed.agrees) == (200, True)
    assert observed.command == "python3: GET http://details:9080/details/0"
    assert json.loads(api.asked[-1][3][-1])["headers"][0] == ["Host", "details:9080"]


def test_as_another_user_only_meshctl_itself_can_send_it() -> None:
    place = scene("classic")
    caller = next(pod for pod in place.pods if pod.name.startswith("productpage"))
    found = predicted("classic", f"classic/{caller.name}", "http://details:9080/", Request())
    live: Any = Live(Api(Exit(OK, b"", 0)), logging=False, inside=PlainAnswer(200))
    observed = probe.send(live, place, found, uid=1337)
    assert live.api.asked == []
    assert (live.entered[0].uid, live.entered[0].gid) == (1337, place.station(caller).owners[0].gid)
    assert observed.status == 200


def test_an_id_of_the_user_s_own_is_looked_for_as_it_is() -> None:
    left = probe_logs.Left("what?.id", "", 0.0)
    assert left.pattern.search("x what?.id y") or left.pattern.search("x whatX.id y")
    assert not left.pattern.search("x what?-id y")
    uuid = probe_logs.Left("53cde656-2333-45b7-ada7-bdb5b191fc79", "", 0.0)
    assert uuid.pattern.search("53cde656-2333-95b7-ada7-bdb5b191fc79")
    assert not uuid.pattern.search("53cde656-2333-45b7-ada7-bdb5b191fc78")


def test_for_a_client_outside_the_gateway_itself_is_asked_at_its_own_port() -> None:
    place = scene("bookinfo")
    asked = Asked(target="productpage:9080", sender="ingress", path="/productpage")
    found = trace(place, question(world("bookinfo"), place, asked, Scope(None)))
    gateway = place.pod_at(found.aim.address)
    assert gateway is not None
    live: Any = Live(Api(Exit(OK, b"", 0)), logging=False)
    observed = probe.send(live, place, found)
    namespace, pod, container, argv = live.api.asked[0]
    assert (namespace, pod, container) == (gateway.namespace, gateway.name, "istio-proxy")
    assert argv[-1] == f"http://{gateway.ip}:{found.aim.port}/productpage"
    assert any(word.startswith("Host: productpage") for word in argv)
    assert observed.status == 200


def test_a_gateway_that_refuses_is_no_callee_of_its_own() -> None:
    class Refusing(Live):
        """Its only proxy logs one line that names no cluster."""

        def recent_log(self, namespace: str, pod: str, container: str, seconds: int) -> Part:
            line = (
                '[2026-01-01T00:00:00.000Z] "GET /nope HTTP/1.1" 404 NR route_not_found - "-" 0 0 0 - "-" "curl" "-" '
            )
            return Part(container, f'{line}"a" "-" - - 10.0.0.2:8080 10.0.0.3:40000 - -\n'.encode())

    place = scene("bookinfo")
    asked = Asked(target="productpage:9080", sender="ingress", path="/nope")
    found = trace(place, question(world("bookinfo"), place, asked, Scope(None)))
    live: Any = Refusing(Api(Exit(OK.replace(b"200", b"404"), b"", 0)))
    observed = probe.send(live, place, found)
    assert [seen.side for seen in observed.logs] == ["caller"]
    assert observed.agrees is True


def test_another_container_of_the_application_sends_it_where_the_first_cannot() -> None:
    @dataclass
    class Second(Api):
        """Has curl in its second container only."""

        def run(self, namespace: str, pod: str, container: str, argv: Sequence[str], timeout_s: float) -> Exit:
            self.asked.append((namespace, pod, container, tuple(argv)))
            return Exit(OK, b"", 0) if container == "second" else NO_CURL

    place = scene("classic")
    caller = next(pod for pod in place.pods if pod.name.startswith("productpage"))
    station = place.station(caller)
    owners = tuple(replace(station.owners[0], container=name) for name in ("first", "second"))
    two = replace(place, load_station=lambda _pod: replace(station, owners=owners), _stations={})
    found = predicted("classic", f"classic/{caller.name}", "http://details:9080/", Request())
    observed = probe.send(Live(Second(NO_CURL)), two, found)  # type: ignore[arg-type]
    assert observed.status == 200
    assert observed.sent_from.startswith("container second of ")


def test_a_container_that_does_not_run_is_said() -> None:
    stopped = Exit(b"", b"", -1, 'container not found ("productpage")')
    observed, api = sent(stopped, world=Live(Api(stopped)))
    assert len(api.asked) == 1
    assert "container not found" in observed.missing[0]


def test_wget_sends_it_where_there_is_nothing_else() -> None:
    busybox = Exit(b"", b"wget: unrecognized option '--max-redirect=0'\nBusyBox v1.36", 1)
    observed, api = sent(NO_CURL, world=Live(Api(NO_CURL, {"wget": busybox})))
    assert [argv[0] for *_, argv in api.asked][:3] == ["curl", "python3", "wget"]
    assert not observed.sent
    gnu = Exit(b"", b"  HTTP/1.1 403 Forbidden\n  server: envoy\n", 8)
    observed, _ = sent(NO_CURL, world=Live(Api(NO_CURL, {"wget": gnu})))
    assert observed.status == 403


def test_the_id_is_found_after_envoy_wrote_its_choice_about_tracing_into_it() -> None:
    place = Live(Api(Exit(OK, b"", 0)), reason="9")
    observed, _ = sent(Exit(OK, b"", 0), world=place)
    assert {seen.side for seen in observed.logs} == {"caller", "callee"}


def test_logs_in_json_are_read_as_well() -> None:
    observed, _ = sent(Exit(OK, b"", 0), world=Live(Api(Exit(OK, b"", 0)), json=True))
    assert {seen.side for seen in observed.logs} == {"caller", "callee"}
    assert {point.what: point.fits for point in observed.points}["cluster"] is True


def test_another_cluster_than_the_predicted_one_disagrees() -> None:
    place = Live(Api(Exit(OK, b"", 0)), cluster="outbound|9080|v2|details.classic.svc.cluster.local")
    observed, _ = sent(Exit(OK, b"", 0), world=place)
    assert observed.agrees is False
    assert [point.what for point in observed.points if point.fits is False] == ["cluster"]


def test_an_application_that_breaks_off_disagrees_though_the_client_got_an_answer() -> None:
    answer = Exit(OK.replace(b"200", b"503"), b"", 0)
    observed, _ = sent(answer, world=Live(Api(answer), callee_flags="UC"))
    assert observed.agrees is False


def test_who_answered_503_cannot_be_told_without_a_log() -> None:
    answer = Exit(OK.replace(b"200", b"503"), b"", 0)
    observed, _ = sent(answer, world=Live(Api(answer), logging=False))
    assert observed.agrees is None


def test_a_container_that_ends_meanwhile_is_not_asked_twice() -> None:
    place = Live(Api(Exit(b"", b"", 137)), inside=PlainAnswer(200))
    observed, _ = sent(Exit(b"", b"", 137), world=place)
    assert place.entered == []
    assert not observed.sent
    assert "killed" in observed.missing[0]


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (NoAccess("not allowed to exec"), ExitCode.NO_ACCESS),
        (Unavailable("the connection broke"), ExitCode.UNAVAILABLE),
    ],
)
def test_what_could_not_be_sent_has_the_exit_code_of_its_reason(refusal: MeshctlError, code: int) -> None:
    observed, _ = sent(NO_CURL, world=Live(Api(NO_CURL, refusal=refusal)))
    assert not observed.sent
    assert cli._code(True, False, None, observed) == code


def test_a_probe_that_disagrees_is_a_finding_whatever_was_expected() -> None:
    observed, _ = sent(Exit(OK.replace(b"200", b"503"), b"", 0), flags="UF")
    assert cli._code(True, False, True, observed) == ExitCode.FINDINGS


def test_a_probe_that_agrees_leaves_the_code_to_the_prediction() -> None:
    observed, _ = sent(Exit(OK, b"", 0))
    assert cli._code(True, False, None, observed) == ExitCode.OK
    assert cli._code(False, False, None, observed) == ExitCode.FINDINGS
    assert cli._code(None, False, None, replace(observed, status=503)) == ExitCode.FINDINGS

"""Requests to the recordings that were never sent: what the rules, sockets and configurations there tell of them."""

import json
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from meshctl.cli.app import app
from meshctl.errors import BadInput
from meshctl.path import rules, server
from meshctl.path.expect import judge
from meshctl.path.model import Request, Trace
from meshctl.path.trace import Question, trace
from meshctl.path.wire import Connection
from meshctl.refs import parse_target
from tests.path.recordings import FOLDER, predicted, scene


def ask(name: str, sender: str, target: str, **request: str) -> Trace:
    place = scene(name)
    pod = next(p for p in place.pods if p.name.startswith(sender) and p.namespace in place.recorded)
    made = Request(**request)  # type: ignore[arg-type]
    return trace(place, Question(caller=place.station(pod), target=parse_target(target), request=made))


class Case(NamedTuple):
    recording: str
    sender: str
    target: str
    ends: str
    why: str = ""


CASES = [
    # a name that ends in a dot is looked up as it is
    Case("bookinfo", "curl", "reviews.:9080", "dns", "no Service"),
    Case("bookinfo", "curl", "reviews.default.svc.cluster.local.:9080", "app"),
    Case("bookinfo", "curl", "REVIEWS:9080", "app"),
    # an endpoint without a hostname has its dashed address for a name, not its pod's
    Case("bookinfo", "curl", "172-17-0-85.reviews.default.svc.cluster.local:9080", "app"),
    Case("bookinfo", "curl", "reviews-v1-669f574bd9-89llr.reviews:9080", "dns"),
    # the proxy's own ports, here and there
    Case("bookinfo", "curl", "172.17.0.90:15006", "reset UH", "port 15006 is the proxy's own"),
    Case("bookinfo", "curl", "172.17.0.90:15001", "reset UH", "port 15001 is the proxy's own"),
    Case("bookinfo", "curl", "172.17.0.85:15006", "reset UH", "port 15006 is the proxy's own"),
    Case("bookinfo", "curl", "172.17.0.90:15021/healthz/ready", "app"),
    Case("bookinfo", "curl", "172.17.0.90:15021/elsewhere", "404 NR"),
    Case("bookinfo", "curl", "172.17.0.85:15021/healthz/ready", "app"),
    Case("bookinfo", "curl", "127.0.0.1:15000", "app"),
    Case("variants", "optout", "172.17.0.92:15021/healthz/ready", "app"),
    Case("variants", "optout", "172.17.0.92:15021/", "404 NR"),
    Case("variants", "optout", "172.17.0.92:15006", "reset UH", "port 15006 is the proxy's own"),
    Case("variants", "none", "localhost:8080", "undecided", "the proxy itself listens on port 8080"),
    # the sockets of a pod on the node's network are the node's
    Case("variants", "optout", "https://kubernetes.default", "app", "kube-apiserver"),
    Case("variants", "optout", "192.168.49.2:10251", "refused", "on node minikube"),
    Case("variants", "hostnet", "localhost:8080", "refused", "on node minikube"),
    # from the node a connection comes as the node's, and a node port is one there, too
    Case("broken", "flushed", "flushed:8080", "app"),
    Case("variants", "hostnet", "192.168.49.2:18080", "app"),
    # and it asks the node's resolver, which completes no name, and has the node's own in /etc/hosts
    Case("variants", "hostnet", "classic:8080", "dns", "asked of the node's resolver"),
    Case("variants", "hostnet", "minikube:18080", "undecided", "asked of the node's resolver"),
    Case("variants", "hostnet", "classic.variants:8080", "undecided", "asked of the node's resolver"),
    Case("bookinfo", "curl", "http://192.168.49.2:30440/", "404 NR", "none of its"),
    # a pod with IPv4 alone has no way to the other family
    Case("bookinfo", "curl", "http://[fd00::1]:80/", "refused", "no IPv6 address"),
    Case("bookinfo", "curl", "http://[::1]:15000/", "refused", "open on 127.0.0.1 only"),
    # an address that could be a Service's, and is none; one that could be anybody's
    Case("variants", "optout", "10.99.99.99:80", "undecided", "no Service has it"),
    Case("variants", "tproxy", "10.99.99.99:81", "undecided", "no Service has it"),
    Case("variants", "optout", "10.200.0.1:80", "undecided", "outside of the cluster"),
    # ztunnel's own ports, and a port that a Service has not
    Case("ambient", "outsider", "172.17.0.6:15008", "reset", "port 15008 is ztunnel's own"),
    Case("ambient", "caller", "10.105.227.250:99", "reset", "has no port 99"),
    Case("ambient", "web", "172.17.0.6:9999", "refused", "the application listens on 8080"),
    Case("ambient", "withsidecar", "web.ambient:8080", "undecided", "does not run (PodInitializing)"),
    # a gRPC client gets a proxy's answers as 200, with a status of gRPC's own
    Case("policies", "intruder", "grpc://backend:9080", "200 gRPC 7", "no rule of AuthorizationPolicy"),
    Case("broken", "client", "grpc://wrongport:8080", "200 URX gRPC 14", "nothing listens"),
    Case("broken", "client", "grpc://nobody:8080", "200 UH gRPC 14", "no endpoints"),
    Case("bookinfo", "curl", "grpc://reviews:9080", "app"),
]


def ended(found: Trace) -> str:
    end = found.outcome.end
    if end.undecided:
        return "undecided"
    if end.delivered:
        return "app"
    grpc = f"gRPC {end.grpc_status}" if end.grpc_status is not None else ""
    return " ".join(filter(None, (str(end.status or end.broken), end.flags or end.server_flags, grpc)))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.recording}-{case.sender}-{case.target}")
def test_a_request_that_was_never_sent(case: Case) -> None:
    found = ask(case.recording, case.sender, case.target)
    assert ended(found) == case.ends
    assert case.why in found.outcome.end.why


def test_an_undecided_outcome_gives_its_reason_as_the_reason() -> None:
    end = ask("ambient", "withsidecar", "web.ambient:8080").outcome.end
    assert end.why == end.undecided[0]


@pytest.mark.parametrize(
    ("recording", "sender", "target", "id", "fix"),
    [
        ("broken", "flushed", "nobody:8080", "MT199", "selector"),
        ("policies", "plainclient", "backend.policies:9080", "MT104", "PERMISSIVE"),
        ("policies", "intruder", "plainclient.outside:8080", "MT199", "ServiceEntry"),
        ("policies", "client", "backend:9080/admin", "MT105", "policy"),
        ("broken", "client", "wrongport:8080", "MT108", "targetPort"),
        ("variants", "hostnet", "classic:8080", "MT101", "ClusterFirstWithHostNet"),
        ("broken", "client", "flushed:8080", "MT107", "let both ends agree"),
        ("broken", "client", "nobody:8080", "MT102", "endpoints"),
        ("bookinfo", "curl", "10.105.193.120:9999", "MT199", "a port that the Service has"),
        ("bookinfo", "curl", "localhost:80", "MT108", "targetPort"),
    ],
)
def test_each_failure_says_what_to_do(recording: str, sender: str, target: str, id: str, fix: str) -> None:
    found = ask(recording, sender, target).findings
    assert [f.id for f in found if f.id != "MT111"] == [id]  # the recording's mirror leads nowhere
    assert fix in found[0].fix


def test_a_pod_without_a_proxy_reaches_itself_by_way_of_its_service() -> None:
    """As a probe on a real mesh showed: kube-proxy masquerades it, so the packet does not carry the pod's address."""
    found = ask("policies", "plainclient", "http://plainclient:8080/")
    assert found.outcome.end.delivered is True
    assert found.kube_proxy.used is True


@pytest.mark.parametrize("field", ["status", "cluster", "flags", "route", "pod", "timeout"])
def test_an_expectation_without_a_value(field: str) -> None:
    found = ask("bookinfo", "curl", "reviews:9080")
    with pytest.raises(BadInput, match="says no value"):
        judge(field, found)
    assert judge("mtls,delivered,through-client-proxy", found).met


def test_a_client_outside_of_the_mesh_gets_503_from_the_proxy_s_own_outbound_port() -> None:
    """The callee's proxy takes the connection, opens one to itself, and closes that: UC in its log."""
    details = next(pod for pod in scene("classic").pods if pod.name.startswith("details"))
    place = scene("classic")
    station = place.station(details)
    passage = rules.inbound(place, station, "172.17.0.1", details.ip, 15001)
    conn = Connection(source="172.17.0.1", sender=None, layer="plaintext", request=Request())
    (course,) = server.at_pod(place, station, details.ip, 15001, conn, passage)
    assert (course.end.status, course.end.server_flags, course.end.delivered) == (503, "UC", False)


@pytest.mark.parametrize(
    ("words", "through", "route"),
    [
        (["reviews:9080", "--uid", "1337"], (False, True), None),
        (["reviews:9080", "--gid", "1337"], (False, True), None),
        (["reviews:9080", "--uid", "0", "--gid", "0"], (True, True), "default"),
        (["http://172.17.0.90:15020/", "--uid", "1337"], (False, True), None),
        (["http://172.17.0.90:15020/", "--uid", "1000"], (False, False), None),
    ],
)
def test_as_whom_a_request_is_sent(words: list[str], through: tuple[bool, bool], route: str | None) -> None:
    snapshot = str(FOLDER / "bookinfo.tar.gz")
    done = CliRunner().invoke(app, ["--snapshot", snapshot, "trace", *words, "--from", "curl", "-o", "json"])
    outcome = json.loads(done.stdout)["outcome"]
    assert (outcome["through_client_proxy"], outcome["through_server_proxy"], outcome["route"]) == (*through, route)


def test_a_waypoint_chooses_the_endpoint() -> None:
    found = ask("ambient", "caller", "viawaypoint.ambient:8080")
    assert found.kube_proxy.used is False
    assert "ztunnel sends it to waypoint" in found.kube_proxy.why
    assert any("which chooses the endpoint" in hop.decision for hop in found.hops if hop.kind == "ztunnel")


@pytest.mark.parametrize(
    ("sender", "target", "where", "at", "callee"),
    [
        ("optout", "192.168.49.2:10250", "node", "minikube", False),
        ("optout", "192.168.49.2:10251", "node", "minikube", False),
        ("optout", "192.168.49.2:18080", "callee", "variants/hostnet", True),
    ],
)
def test_a_process_of_the_node_is_no_pod_of_its_network(
    sender: str, target: str, where: str, at: str, callee: bool
) -> None:
    found = ask("variants", sender, target)
    hop = found.hops[-1]
    assert (hop.kind, hop.where) == ("socket", where)
    assert hop.at.startswith(at)
    assert any(hop.where == "callee" for hop in found.hops) is callee


def test_a_reset_by_the_callee_is_logged_by_a_tcp_proxy_that_hands_it_on() -> None:
    """The callee has no chain for this TLS, and closes with the bytes unread; the caller's Envoy is 1.40."""
    caller = next(pod for pod in scene("classic").pods if pod.name.startswith("productpage"))
    end = predicted("classic", f"classic/{caller.name}", "https://details:9080/", Request()).outcome.end
    assert (end.broken, end.flags, end.server_flags) == ("reset", "UR", "NR")

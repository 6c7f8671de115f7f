"""The live source against a served recording and against an API server that misbehaves."""

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from meshctl.errors import BadInput, MeshctlError, NoAccess, NotFound, Unavailable
from meshctl.sources import kinds, kube_client, live, reach
from meshctl.sources.connection import Connection
from meshctl.sources.kube_streams import Exit
from meshctl.sources.live import Cluster
from meshctl.sources.readonly import BY_PART
from meshctl.sources.serve import SnapshotServer
from meshctl.sources.snapshot import open_demo
from tests.sources.conftest import Scripted, kubeconfig

NAMESPACE, POD = "classic", "productpage-v1-65b96ccf8f-8mxlc"


@pytest.fixture(autouse=True)
def not_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """A laptop: the machine's own runtimes are not to be asked."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


@pytest.fixture
def cluster(served_config: str) -> Cluster:
    world = live.open(Connection(kubeconfig=served_config))
    assert isinstance(world, Cluster)
    return world


def _scripted(scripted: Scripted, tmp_path: Path, **more: Any) -> Cluster:
    connection = Connection(kubeconfig=kubeconfig(tmp_path / "config", scripted.url), **more)
    return Cluster(kube_client.connect(connection), connection)


def _failure(code: int, reason: str = "", message: str = "") -> tuple[int, Any]:
    return code, {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}


def test_objects_are_those_of_the_recording(cluster: Cluster) -> None:
    demo = open_demo()
    for kind in (kinds.PODS, kinds.SERVICES, kinds.VIRTUAL_SERVICES, kinds.NAMESPACES):
        ours = {(o["metadata"].get("namespace"), o["metadata"]["name"]) for o in cluster.objects(kind).items}
        theirs = {(o["metadata"].get("namespace"), o["metadata"]["name"]) for o in demo.objects(kind).items}
        assert ours == theirs
    assert all(item["kind"] == "Pod" for item in cluster.objects(kinds.PODS).items)


def test_nothing_is_asked_twice_and_a_wider_list_serves_a_narrower_question(
    cluster: Cluster, served: SnapshotServer
) -> None:
    everything = cluster.objects(kinds.PODS)
    assert served.asked == ["GET /api/v1/pods?limit=500"]
    here = cluster.objects(kinds.PODS, NAMESPACE, "app=productpage")
    assert [pod["metadata"]["name"] for pod in here.items] == [POD]
    assert cluster.one(kinds.PODS, NAMESPACE, POD) in everything.items
    assert cluster.one(kinds.PODS, NAMESPACE, "nobody") is None
    assert len(served.asked) == 1


def test_a_kind_that_the_cluster_does_not_serve_has_no_objects(cluster: Cluster, served: SnapshotServer) -> None:
    for kind in (kinds.WASM_PLUGINS, kinds.WASM_PLUGINS, kinds.TELEMETRIES):
        found = cluster.objects(kind)
        assert found.recorded
        assert not found.items
    assert len(served.asked) == 4  # each group once by its first version, and once its discovery


@pytest.mark.parametrize("name", ["envoy/config_dump.json", "envoy/clusters.json", "logs/istio-init.txt"])
def test_a_part_is_the_recorded_one(cluster: Cluster, name: str) -> None:
    assert cluster.part(NAMESPACE, POD, name).content == open_demo().part(NAMESPACE, POD, name).content


def test_rules_by_exec_in_the_proxy(cluster: Cluster, served: SnapshotServer) -> None:
    names = [name for name in BY_PART if open_demo().part(NAMESPACE, POD, name).content is not None]
    found = cluster.parts(NAMESPACE, POD, names)
    assert {name: part.content for name, part in found.items()} == {
        name: open_demo().part(NAMESPACE, POD, name).content for name in names
    }
    assert all("/exec?" in asked for asked in served.asked[1:])


def test_as_whom_a_container_runs_is_asked_by_exec(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def run(_api: Any, _namespace: str, _pod: str, container: str, argv: Any, _timeout_s: float) -> Exit:
        asked.append((container, *argv))
        return Exit(b"Name:\tjava\nUid:\t0\t1000\t0\t1000\nGid:\t0\t3000\t0\t0\n", b"", 0)

    monkeypatch.setattr(kube_client.Api, "run", run)
    assert cluster.user_of(NAMESPACE, POD, "productpage") == (1000, 3000)
    assert cluster.user_of(NAMESPACE, "ghost", "productpage") is None
    assert asked == [("productpage", "cat", "/proc/1/status")]


def test_as_whom_a_container_runs_stays_open_where_it_cannot_be_asked(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kube_client.Api, "run", lambda *_: Exit(b"", b"", -1, "the image has no cat"))
    assert cluster.user_of(NAMESPACE, POD, "productpage") is None


def test_a_served_recording_tells_as_whom_a_container_ran(cluster: Cluster) -> None:
    assert cluster.user_of(NAMESPACE, POD, "productpage") == (1000, 0)
    assert cluster.user_of(NAMESPACE, POD, "nosuch") is None


def test_a_container_of_the_application_shows_who_listens_where_the_proxy_has_no_ss(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []
    table = b"  sl  local_address rem_address   st\n 0: 00000000:2378 00000000:0000 0A 0:0 00:0 0  1000  0 1\n"

    def run(_api: Any, _namespace: str, _pod: str, container: str, argv: Any, _timeout_s: float) -> Exit:
        asked.append((container, argv[0]))
        if container == "istio-proxy":
            return Exit(b"", b"", -1, f"the image has no {argv[0]} (executable file not found)")
        # A kernel without IPv6 has no tcp6: cat ends with 1.
        return Exit(table, b"cat: /proc/net/tcp6: No such file", 1)

    monkeypatch.setattr(kube_client.Api, "run", run)
    part = cluster.part(NAMESPACE, POD, "netns/sockets.txt")
    assert part.content == b"LISTEN 0 0 0.0.0.0:9080 0.0.0.0:* uid:1000\n"
    assert asked == [("istio-proxy", "ss"), ("productpage", "cat")]


def test_a_pod_without_a_proxy_shows_who_listens_and_where_it_asks_for_names(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = cluster.one(kinds.PODS, NAMESPACE, POD)
    assert raw is not None
    spec = {**raw["spec"], "containers": [c for c in raw["spec"]["containers"] if c["name"] != "istio-proxy"]}
    cluster.adopt({**raw, "spec": spec})
    table = b"  sl  local_address rem_address   st\n"
    monkeypatch.setattr(
        kube_client.Api, "run", lambda *words: Exit(table if "/proc/net/tcp" in words[4] else b"nameserver x\n", b"", 0)
    )
    found = cluster.parts(NAMESPACE, POD, ["netns/sockets.txt", "netns/resolv.conf", "netns/iptables-save.txt"])
    assert found["netns/sockets.txt"].content == b""
    assert found["netns/resolv.conf"].content == b"nameserver x\n"
    assert found["netns/iptables-save.txt"].content is None


def test_who_may_not_exec_is_told_once(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def refused(*words: Any) -> Any:
        asked.append(words)
        raise NoAccess("forbidden")

    monkeypatch.setattr(kube_client.Api, "run", refused)
    found = cluster.parts(NAMESPACE, POD, ["netns/iptables-save.txt", "netns/sockets.txt", "netns/resolv.conf"])
    assert len(asked) == 1
    assert {(part.content, part.denied) for part in found.values()} == {(None, True)}


def test_the_log_of_the_last_seconds(scripted: Scripted, tmp_path: Path) -> None:
    scripted.answer = lambda _method, path, _body: (200, b"line\n") if "sinceSeconds=5" in path else (404, {})
    part = _scripted(scripted, tmp_path).recent_log("classic", "x", "istio-proxy", 5)
    assert part.content == b"line\n"


def test_without_port_forward_the_proxy_is_asked_by_exec(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> bytes:
        raise NoAccess("pods/portforward is forbidden")

    monkeypatch.setattr(kube_client.Api, "forwarded_get", refused)
    dump = cluster.part(NAMESPACE, POD, "envoy/config_dump.json")
    assert dump.content == open_demo().part(NAMESPACE, POD, "envoy/config_dump.json").content
    assert cluster.api.asked[-1].endswith("pilot-agent request GET /config_dump?include_eds")


def test_with_neither_way_the_gap_names_both(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> Any:
        raise NoAccess("forbidden")

    monkeypatch.setattr(kube_client.Api, "forwarded_get", refused)
    monkeypatch.setattr(kube_client.Api, "run", refused)
    part = cluster.part(NAMESPACE, POD, "envoy/config_dump.json")
    assert part.content is None
    assert "pods/portforward or pods/exec is needed" in part.gap


def test_a_part_of_a_pod_that_is_not_there(cluster: Cluster) -> None:
    assert "there is no pod ghost" in cluster.part(NAMESPACE, "ghost", "envoy/config_dump.json").gap


def test_lists_come_in_pages(served_config: str, served: SnapshotServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube_client, "PAGE", 3)
    world = live.open(Connection(kubeconfig=served_config))
    assert len(world.objects(kinds.PODS).items) == len(open_demo().objects(kinds.PODS).items)
    assert len(served.asked) == -(-len(open_demo().objects(kinds.PODS).items) // 3)


def test_a_list_that_expires_meanwhile_is_completed_from_a_fresh_one(scripted: Scripted, tmp_path: Path) -> None:
    pods = [{"metadata": {"name": f"p{n}", "namespace": "x", "uid": str(n)}} for n in range(4)]

    def answer(_method: str, path: str, _body: Any) -> Any:
        if "continue=" in path:
            return _failure(410, "Expired")
        if "limit=" in path:
            return 200, {"kind": "PodList", "items": pods[:2], "metadata": {"continue": "t"}}
        return 200, {"kind": "PodList", "items": pods, "metadata": {}}

    scripted.answer = answer
    names = [pod["metadata"]["name"] for pod in _scripted(scripted, tmp_path).objects(kinds.PODS).items]
    assert names == ["p0", "p1", "p2", "p3"]


@pytest.mark.parametrize(
    ("code", "message", "error", "said"),
    [
        (401, "Unauthorized", NoAccess, "does not accept these credentials"),
        (403, 'User "x" cannot list resource "pods"', NoAccess, "not allowed to list pods in all namespaces"),
        (403, 'admission webhook "policy.x" denied the request: no', NoAccess, "an admission policy refuses"),
        (409, "conflict", Unavailable, "exists already"),
        (422, "invalid", BadInput, "does not accept the request"),
        (429, "slow down", Unavailable, "asks to wait"),
        (500, "boom", Unavailable, "failed to list pods"),
        (503, "starting", Unavailable, "starting"),
    ],
)
@pytest.mark.usefixtures("no_pauses")
def test_each_refusal_has_its_error(
    scripted: Scripted, tmp_path: Path, code: int, message: str, error: type[MeshctlError], said: str
) -> None:
    scripted.answer = lambda *_: _failure(code, "", message)
    with pytest.raises(error, match=said):
        _scripted(scripted, tmp_path).objects(kinds.PODS)
    assert len(scripted.asked) == (4 if code in (429, 500, 503) else 1)


@pytest.mark.usefixtures("no_pauses")
def test_what_passes_is_tried_again(scripted: Scripted, tmp_path: Path) -> None:
    answers = iter([_failure(429), _failure(503), (200, {"kind": "PodList", "items": []})])
    scripted.answer = lambda *_: next(answers)
    assert _scripted(scripted, tmp_path).objects(kinds.PODS).recorded
    assert len(scripted.asked) == 3


def test_retry_after_is_heeded(scripted: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    answers = iter([(*_failure(429), ("Retry-After", "3")), (200, {"kind": "PodList", "items": []})])
    scripted.answer = lambda *_: next(answers)
    _scripted(scripted, tmp_path).objects(kinds.PODS)
    assert 2.4 <= pauses[0] <= 3.0


@pytest.mark.usefixtures("no_pauses")
def test_a_cut_connection_is_tried_again_and_then_named(scripted: Scripted, tmp_path: Path) -> None:
    def cut(*_: Any) -> Any:
        raise ConnectionAbortedError

    scripted.answer = cut
    with pytest.raises(Unavailable, match="cut the connection"):
        _scripted(scripted, tmp_path).objects(kinds.PODS)
    assert len(scripted.asked) == 4


def test_a_server_that_hangs_is_given_up(scripted: Scripted, tmp_path: Path) -> None:
    given_up = threading.Event()
    scripted.answer = lambda *_: (given_up.wait(60), (200, {}))[1]
    with pytest.raises(Unavailable, match=r"did not answer within 0\.2 s"):
        _scripted(scripted, tmp_path, timeout_s=0.2).objects(kinds.PODS)
    given_up.set()


def test_nobody_listens(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", "http://127.0.0.1:1")
    with pytest.raises(Unavailable, match="cannot be reached"):
        live.open(Connection(kubeconfig=path)).objects(kinds.PODS)


@pytest.mark.parametrize("body", [b"<html>log in</html>", b"[]", b"", b"\xff\xfe"])
def test_an_answer_that_is_no_kubernetes_api(scripted: Scripted, tmp_path: Path, body: bytes) -> None:
    scripted.answer = lambda *_: (200, body)
    with pytest.raises(Unavailable, match="does not answer as a Kubernetes API"):
        _scripted(scripted, tmp_path).objects(kinds.PODS)


def test_a_kind_that_may_not_be_read_is_a_gap(scripted: Scripted, tmp_path: Path) -> None:
    scripted.answer = lambda *_: _failure(403, "Forbidden", "no")
    world = _scripted(scripted, tmp_path)
    found = world.objects(kinds.SERVICES)
    assert not found.recorded
    assert "not allowed to list services" in found.gap
    assert world.one(kinds.CONFIG_MAPS, "a", "b") is None
    with pytest.raises(NoAccess):
        world.one(kinds.PODS, "a", "b")


def test_several_lists_are_fetched_side_by_side(scripted: Scripted, tmp_path: Path) -> None:
    two_at_once = threading.Barrier(2)

    def in_pairs(*_: Any) -> Any:
        two_at_once.wait(30)
        return 200, {"kind": "List", "items": []}

    scripted.answer = in_pairs
    world = _scripted(scripted, tmp_path)
    world.prefetch([(kind, None) for kind in kinds.KUBERNETES[:8]])
    assert len(scripted.asked) == 8
    world.prefetch([(kind, None) for kind in kinds.KUBERNETES[:8]])
    assert len(scripted.asked) == 8


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"spec": {"hostNetwork": True}}, "hostNetwork"),
        ({"status": {"phase": "Succeeded"}}, "has ended"),
        ({"status": {"phase": "Pending"}}, "is Pending"),
    ],
)
def test_pods_without_a_namespace_of_their_own_say_so(cluster: Cluster, change: Any, said: str) -> None:
    pod = {"metadata": {"name": "x", "namespace": "y"}, **change}
    found = reach.parts(cluster.api, cluster.connection, pod, ["netns/nft.json"])
    assert said in found["netns/nft.json"].gap


def test_whether_an_object_is_there_now_is_asked_anew(served_config: str) -> None:
    world = live.open(Connection(kubeconfig=served_config))
    world.objects(kinds.PODS)
    assert world.has_now(kinds.PODS, NAMESPACE, POD)
    assert not world.has_now(kinds.PODS, NAMESPACE, "gone-0")


def test_an_unknown_way_is_bad_usage(served_config: str) -> None:
    world = live.open(Connection(kubeconfig=served_config, via="magic"))
    with pytest.raises(BadInput, match="no way 'magic'"):
        world.part(NAMESPACE, POD, "netns/nft.json")


def test_via_node_on_another_machine_says_which_node(served_config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach.node, "ways", lambda *_: ())
    world = live.open(Connection(kubeconfig=served_config, via="node"))
    with pytest.raises(NotFound, match="does not run on this machine") as caught:
        world.part(NAMESPACE, POD, "netns/nft.json")
    assert "minikube" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("env", "annotations", "port"),
    [
        ([], {}, 15000),
        ([{"name": "PROXY_CONFIG", "value": '{"proxyAdminPort":15005}'}], {}, 15005),
        ([], {"proxy.istio.io/config": "concurrency: 2\nproxyAdminPort: 15006\n"}, 15006),
    ],
)
def test_the_admin_port_is_the_bootstraps(env: Any, annotations: Any, port: int) -> None:
    from meshctl.sources.envoy_admin import admin_port

    pod = {"metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "istio-proxy", "env": env}]}}
    assert admin_port(pod) == port


def test_verbose_says_what_is_asked(served_config: str, capsys: pytest.CaptureFixture[str]) -> None:
    live.open(Connection(kubeconfig=served_config, verbose=True)).objects(kinds.SERVICES)
    captured = capsys.readouterr()
    assert captured.err == "test: GET /api/v1/services?limit=500\n"
    assert json.dumps(captured.out) == '""'


def test_the_control_plane_is_where_the_user_says_or_istiod_runs(served_config: str) -> None:
    assert live.open(Connection(kubeconfig=served_config)).root_namespace() == "istio-system"
    assert live.open(Connection(kubeconfig=served_config, istio_namespace="mesh")).root_namespace() == "mesh"


def test_who_may_list_no_pods_takes_the_usual_control_plane(scripted: Scripted, tmp_path: Path) -> None:
    scripted.answer = lambda *_: (403, {"message": "forbidden"})
    assert _scripted(scripted, tmp_path).root_namespace() == "istio-system"

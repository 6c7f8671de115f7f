"""A served recording: as an API server, and for a real kubectl where one is installed."""

import http.client
import json
import shutil
import socket
import subprocess
import time
from typing import Any

import pytest

from meshctl.errors import BadInput
from meshctl.sources.serve import SnapshotServer
from meshctl.sources.serve_tables import duration
from meshctl.sources.snapshot import open_demo

NAMESPACE, POD = "classic", "productpage-v1-65b96ccf8f-8mxlc"
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def ask(server: SnapshotServer, path: str, method: str = "GET", body: Any = None, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, json.loads(content) if content[:1] in (b"{", b"[") else content


def test_discovery_names_every_recorded_kind(served: SnapshotServer) -> None:
    groups = ask(served, "/apis")[1]["groups"]
    assert {"apps", "networking.istio.io"} <= {group["name"] for group in groups}
    names = {resource["name"] for resource in ask(served, "/api/v1")[1]["resources"]}
    assert {"pods", "services", "configmaps", "nodes"} <= names
    assert "secrets" not in names
    assert all(r["verbs"] == ["get", "list", "watch"] for r in ask(served, "/apis/apps/v1")[1]["resources"])
    assert ask(served, "/version")[1]["gitVersion"] == open_demo().about["versions"]["kubernetes"]


def test_selectors_choose(served: SnapshotServer) -> None:
    def names(query: str) -> list[str]:
        return [item["metadata"]["name"] for item in ask(served, f"/api/v1/pods?{query}")[1]["items"]]

    assert len(names("labelSelector=app%3Dreviews")) == 3
    assert len(names("labelSelector=app%3Dreviews,version%20in%20(v1,v2)")) == 2
    assert names(f"fieldSelector=metadata.name%3D{POD}") == [POD]
    assert names("fieldSelector=status.phase!%3DRunning") == []
    assert ask(served, "/api/v1/pods?fieldSelector=nonsense")[0] == 400


def test_pages_hold_everything_once(served: SnapshotServer) -> None:
    names, token = [], ""
    while True:
        document = ask(served, f"/api/v1/pods?limit=2&continue={token}")[1]
        names += [item["metadata"]["name"] for item in document["items"]]
        token = document["metadata"].get("continue", "")
        if not token:
            break
    assert sorted(names) == sorted(pod["metadata"]["name"] for pod in ask(served, "/api/v1/pods")[1]["items"])
    assert ask(served, "/api/v1/pods?continue=rubbish")[0] == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_writes_are_refused(served: SnapshotServer, method: str) -> None:
    code, status = ask(served, f"/api/v1/namespaces/{NAMESPACE}/pods/{POD}", method, {"kind": "Pod"})
    assert code == 405
    assert status["reason"] == "MethodNotAllowed"


def test_what_is_not_there(served: SnapshotServer) -> None:
    code, status = ask(served, f"/api/v1/namespaces/{NAMESPACE}/pods/ghost")
    assert (code, status["message"]) == (404, 'pods "ghost" not found')
    assert ask(served, "/apis/nothing.io/v1/things")[0] == 404
    assert ask(served, "/api/v1/secrets")[0] == 404


def test_only_loopback_names_are_answered(served: SnapshotServer) -> None:
    assert served.server_address[0] == "127.0.0.1"
    assert ask(served, "/api/v1/pods", Host="evil.example")[0] == 403
    assert ask(served, "/api/v1/pods", Host=f"localhost:{served.server_address[1]}")[0] == 200


def test_one_may_ask_what_one_may(served: SnapshotServer) -> None:
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    for verb, allowed in (("list", True), ("delete", False)):
        review = {"spec": {"resourceAttributes": {"verb": verb, "resource": "pods"}}}
        assert ask(served, path, "POST", review)[1]["status"]["allowed"] is allowed


def drain(client: socket.socket) -> None:
    """Read on to the end: the rest of the last event may still be on its way."""
    while client.recv(65536):
        pass


def test_a_watch_sends_what_there_is_and_stays_open(served: SnapshotServer) -> None:
    with socket.create_connection(("127.0.0.1", served.server_address[1]), timeout=5) as client:
        client.sendall(b"GET /api/v1/namespaces/classic/pods?watch=true HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b""
        while received.count(b'"ADDED"') < 6:
            received += client.recv(65536)
        client.settimeout(0.4)
        with pytest.raises(TimeoutError):
            drain(client)


def test_a_watch_ends_after_its_time(served: SnapshotServer) -> None:
    code, content = ask(served, "/api/v1/pods?watch=true&resourceVersion=1&timeoutSeconds=1")
    assert (code, content) == (200, b"")


def test_a_watch_list_ends_its_first_part_with_a_bookmark(served: SnapshotServer) -> None:
    path = "/api/v1/namespaces?watch=true&sendInitialEvents=true&timeoutSeconds=1"
    connection = http.client.HTTPConnection("127.0.0.1", served.server_address[1], timeout=5)
    connection.request("GET", path)
    events = [json.loads(line) for line in connection.getresponse().read().splitlines()]
    connection.close()
    assert {event["type"] for event in events[:-1]} == {"ADDED"}
    assert events[-1]["type"] == "BOOKMARK"
    assert events[-1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_a_table_is_what_kubectl_prints(served: SnapshotServer) -> None:
    table = ask(served, f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=app%3Dproductpage", Accept=TABLE)[1]
    assert table["kind"] == "Table"
    titles = [column["name"] for column in table["columnDefinitions"]]
    cells = dict(zip(titles, table["rows"][0]["cells"], strict=True))
    assert (cells["Name"], cells["Ready"], cells["Status"], cells["Node"]) == (POD, "2/2", "Running", "minikube")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (390, "6m30s"), (3600, "60m"), (3 * 3600 + 120, "3h2m"), (9 * 3600, "9h"),
     (50 * 3600, "2d2h"), (20 * 86400, "20d"), (-5, "<invalid>")],
)  # fmt: skip
def test_ages_are_written_as_kubectl_does(seconds: int, text: str) -> None:
    assert duration(seconds) == text


def test_a_port_that_is_taken(served: SnapshotServer) -> None:
    with pytest.raises(BadInput, match="cannot be served on"):
        SnapshotServer(open_demo(), served.server_address[1])


def kubectl(server: SnapshotServer, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["kubectl", "--server", server.url, "--kubeconfig", "/dev/null", "--cache-dir", "/dev/null", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@needs_kubectl
def test_kubectl_gets_describes_and_selects(served: SnapshotServer) -> None:
    wide = kubectl(served, "get", "pods", "-A", "-o", "wide")
    assert wide.returncode == 0, wide.stderr
    assert len(wide.stdout.splitlines()) == 1 + len(open_demo().objects(_pods()).items)
    assert "NOMINATED NODE" in wide.stdout.splitlines()[0]
    described = kubectl(served, "describe", "pod", "-n", NAMESPACE, POD)
    assert described.returncode == 0, described.stderr
    assert "istio-proxy:" in described.stdout
    assert "default-scheduler" in described.stdout
    chosen = kubectl(served, "get", "pods", "-n", NAMESPACE, "-l", "app=reviews,version=v2", "-o", "name")
    assert chosen.stdout.startswith("pod/reviews-v2-")
    fields = kubectl(served, "get", "pods", "-A", "--field-selector", f"metadata.name={POD}", "-o", "name")
    assert fields.stdout == f"pod/{POD}\n"


@needs_kubectl
def test_kubectl_reads_logs_rules_and_other_kinds_but_changes_nothing(served: SnapshotServer) -> None:
    rules = kubectl(served, "exec", "-n", NAMESPACE, POD, "-c", "istio-proxy", "--", "iptables-save", "-c")
    assert "ISTIO_OUTPUT" in rules.stdout, rules.stderr
    assert "istio" in kubectl(served, "logs", "-n", NAMESPACE, POD, "-c", "istio-proxy", "--tail", "50").stdout
    assert kubectl(served, "get", "virtualservices,destinationrules,deploy,svc,nodes", "-A").returncode == 0
    deleted = kubectl(served, "delete", "pod", "-n", NAMESPACE, POD)
    assert deleted.returncode == 1
    assert "it can be read, not changed" in deleted.stderr


@needs_kubectl
def test_kubectls_watch_stays_open(served: SnapshotServer) -> None:
    command = ["kubectl", "--server", served.url, "--kubeconfig", "/dev/null", "get", "pods", "-n", NAMESPACE, "-w"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(1.5)
    assert process.poll() is None
    process.terminate()
    out, _ = process.communicate(timeout=10)
    assert POD in out


def _pods() -> Any:
    from meshctl.sources.kinds import PODS

    return PODS

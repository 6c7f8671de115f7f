"""Debug pods and ephemeral containers against an API server that keeps what is created; nothing runs for real."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshctl.errors import BadInput, NoAccess, Unavailable
from meshctl.sources import access, debug_pod, debug_script, ephemeral, kube_client, leftovers, made
from meshctl.sources.access import Right
from meshctl.sources.connection import Connection
from meshctl.sources.kube_streams import Exit
from meshctl.sources.readonly import BY_PART
from tests.sources.conftest import Scripted, kubeconfig

UID = "a658d549-e7fe-4c72-8c36-c454d17a3e22"
POD: dict[str, Any] = {
    "metadata": {"name": "web", "namespace": "shop", "uid": UID},
    "spec": {"nodeName": "n1", "containers": [{"name": "istio-proxy", "image": "docker.io/istio/proxyv2:1.30.3"}]},
    "status": {"phase": "Running"},
}
RECORD = (
    "\x1d".join(["41", "4:4026532", "1337", "41 (envoy) S " + "0 " * 18 + "900 0", "envoy\x1e-c", "0::/x"]) + "\x1c"
)


class Api:
    """The server's side: what was asked for is in `asked`, Jobs that are there in `jobs`."""

    def __init__(self, scripted: Scripted, path: Path) -> None:
        self.jobs: dict[str, Any] = {}
        self.denied: set[str] = set()
        self.namespace_labels: dict[str, str] = {}
        self.pod_status: dict[str, Any] = {"phase": "Running"}
        self.events: list[Any] = []
        self.refuse: tuple[int, str] | None = None
        self.patched: list[Any] = []
        scripted.answer = self.answer
        self.scripted = scripted
        self.connection = Connection(kubeconfig=kubeconfig(path, scripted.url), via="debug-pod", assume_yes=True)
        self.client = kube_client.connect(self.connection)

    def answer(self, method: str, path: str, body: Any) -> Any:
        if "selfsubjectaccessreviews" in path:
            asked = body["spec"]["resourceAttributes"]
            sub = f"/{asked['subresource']}" if asked["subresource"] else ""
            return 201, {"status": {"allowed": f"{asked['verb']} {asked['resource']}{sub}" not in self.denied}}
        if method in ("POST", "PATCH") and self.refuse:
            return self.refuse[0], {"kind": "Status", "code": self.refuse[0], "message": self.refuse[1]}
        if method == "POST" and path.endswith("/jobs"):
            self.jobs[body["metadata"]["name"]] = body
            return 201, body
        if method == "DELETE":
            found = self.jobs.pop(path.rsplit("/", 1)[1], None)
            return (200, {}) if found else (404, {"kind": "Status", "code": 404})
        if method == "PATCH":
            self.patched.append(body)
            return 200, {}
        if "/jobs" in path:
            return 200, {"kind": "JobList", "items": list(self.jobs.values())}
        if "/events" in path:
            return 200, {"items": self.events}
        if "labelSelector=job-name" in path:
            names = [f"{name}-abc" for name in self.jobs] if self.pod_status else []
            return 200, {"items": [{"metadata": {"name": name}, "status": self.pod_status} for name in names]}
        if path.endswith("/pods/web"):
            names = [c["name"] for patch in self.patched for c in patch["spec"]["ephemeralContainers"]]
            statuses = [{"name": name, "state": {"running": {}}} for name in names]
            return 200, {**POD, "status": {"ephemeralContainerStatuses": statuses}}
        return 200, {"metadata": {"labels": self.namespace_labels}}

    def mutations(self) -> list[tuple[str, str]]:
        return [(m, p) for m, p in self.scripted.asked if m != "GET" and "selfsubjectaccessreviews" not in p]


@pytest.fixture
def api(scripted: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    ran: list[tuple[str, ...]] = []

    def run(_self: Any, _ns: str, _pod: str, _container: str, argv: Any, _timeout: float) -> Exit:
        ran.append(tuple(argv))
        found = argv[2] == debug_script.FIND if len(argv) > 2 else False
        return Exit(RECORD.encode() if found else b"# rules\n", b"", 0)

    monkeypatch.setattr(kube_client.Api, "run", run)
    yield Api(scripted, tmp_path / "config")
    made.take_away()


def test_a_debug_pod_reads_and_is_taken_away(api: Api) -> None:
    found = debug_pod.parts(api.client, api.connection, POD, ["netns/iptables-save.txt", "netns/processes.json"])
    assert found["netns/iptables-save.txt"].content == b"# rules\n"
    assert json.loads(found["netns/processes.json"].content or b"")[0]["cmdline"] == ["envoy", "-c"]
    (job,) = api.jobs.values()
    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["activeDeadlineSeconds"] == 300
    assert job["spec"]["ttlSecondsAfterFinished"] == 60
    pod = job["spec"]["template"]["spec"]
    assert (pod["nodeName"], pod["hostPID"], pod["automountServiceAccountToken"]) == ("n1", True, False)
    assert pod["containers"][0]["image"] == "docker.io/istio/proxyv2:1.30.3"
    assert job["metadata"]["labels"][made.OWNER] == made.owner()
    assert job["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
    made.take_away()
    assert api.jobs == {}


def test_pods_on_one_node_share_a_debug_pod(api: Api) -> None:
    for name in ("a", "b"):
        pod = {**POD, "metadata": {**POD["metadata"], "name": name}}
        debug_pod.parts(api.client, api.connection, pod, ["netns/nft.json"])
    assert len([m for m, _ in api.mutations() if m == "POST"]) == 1


def test_missing_rights_are_named_with_the_role_before_anything_is_created(api: Api) -> None:
    api.denied = {"create jobs", "get pods/exec"}
    with pytest.raises(NoAccess, match=r"create jobs\.batch in namespace shop; get pods/exec") as caught:
        debug_pod.parts(api.client, api.connection, POD, ["netns/nft.json"])
    assert 'resources: ["jobs"], verbs: ["create", "delete"]' in (caught.value.hint or "")
    assert api.mutations() == []


def test_a_namespace_that_forbids_privileged_pods_is_refused_beforehand(api: Api) -> None:
    api.namespace_labels = {"pod-security.kubernetes.io/enforce": "baseline"}
    with pytest.raises(NoAccess, match="enforces the Pod Security level 'baseline'"):
        debug_pod.parts(api.client, api.connection, POD, ["netns/nft.json"])
    assert api.mutations() == []


def test_an_admission_policy_is_named_and_nothing_stays(api: Api) -> None:
    api.refuse = (403, 'admission webhook "no-privileged.example" denied the request: no')
    with pytest.raises(NoAccess, match=r"no-privileged\.example"):
        debug_pod.parts(api.client, api.connection, POD, ["netns/nft.json"])
    assert made._things == {}


def test_a_job_whose_pod_is_refused_says_why_and_is_taken_away(api: Api) -> None:
    api.pod_status = {}
    api.events = [{"message": 'pods "x" is forbidden: violates PodSecurity "restricted:latest"'}]
    with pytest.raises(NoAccess, match="violates PodSecurity"):
        debug_pod.parts(api.client, api.connection, POD, ["netns/nft.json"])
    made.take_away()
    assert api.jobs == {}


def test_an_image_that_cannot_be_pulled(api: Api) -> None:
    waiting = {"state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}
    api.pod_status = {"phase": "Pending", "containerStatuses": [waiting]}
    with pytest.raises(Unavailable, match="ErrImagePull: not found") as caught:
        debug_pod.parts(api.client, api.connection, POD, ["netns/nft.json"])
    assert "--debug-image" in (caught.value.hint or "")


def test_without_a_yes_and_a_terminal_nothing_is_created(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    careful = Connection(kubeconfig=api.connection.kubeconfig, via="debug-pod")
    with pytest.raises(BadInput, match="no terminal to ask on"):
        debug_pod.parts(api.client, careful, POD, ["netns/nft.json"])
    assert "This creates the Job meshctl-debug-" in capsys.readouterr().err
    assert api.mutations() == []


@pytest.mark.parametrize(("image", "given", "way"), [("x/proxyv2:1-distroless", None, False), ("", None, False)])
def test_an_image_that_will_not_do(image: str, given: str | None, way: bool) -> None:
    containers = [{"name": "istio-proxy", "image": image}] if image else [{"name": "app", "image": "app"}]
    with pytest.raises(BadInput, match=r"distroless|no proxy"):
        debug_pod.image_for(Connection(debug_image=given), {"spec": {"containers": containers}}, way)


def test_an_ephemeral_container_is_announced_used_and_told_to_end(
    api: Api, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ephemeral.parts(api.client, api.connection, POD, ["netns/nft.json", "netns/processes.json"])
    assert found["netns/nft.json"].there
    assert "sees only its own processes" in found["netns/processes.json"].gap
    assert "stays listed in the pod" in capsys.readouterr().err
    (patch,) = api.patched
    container = patch["spec"]["ephemeralContainers"][0]
    assert container["securityContext"]["capabilities"] == {"add": ["NET_ADMIN", "NET_RAW"]}
    assert container["command"][0] == "sh"
    ended: list[Any] = []
    monkeypatch.setattr(kube_client.Api, "run", lambda *args: ended.append(args[4]))
    made.take_away()
    assert ended == [["sh", "-c", "kill -TERM 1"]]


def test_a_distroless_image_idles_with_pilot_agent(api: Api) -> None:
    spec = {**POD["spec"], "containers": [{"name": "istio-proxy", "image": "istio/proxyv2:1.30.3-distroless"}]}
    ephemeral.parts(api.client, api.connection, {**POD, "spec": spec}, ["netns/nft.json"])
    assert api.patched[0]["spec"]["ephemeralContainers"][0]["command"][:2] == ["pilot-agent", "wait"]


def test_leftovers_of_a_killed_run_go_with_the_next_one_but_a_living_ones_stay(api: Api) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    host = made.process().rpartition(".")[0]
    for name, pid in (("dead", dead.pid), ("alive", os.getpid())):
        labels = {**made.labels(), made.PROCESS: f"{host}.{pid}"}
        api.jobs[name] = {"metadata": {"name": name, "namespace": "shop", "labels": labels}}
    debug_pod.remove_abandoned(api.client, "shop")
    assert list(api.jobs) == ["alive"]


def test_clean_removes_ones_own_and_on_request_everybodys(api: Api) -> None:
    for name, owner in (("mine", made.owner()), ("theirs", "someone.else")):
        labels = {**made.labels(), made.OWNER: owner}
        api.jobs[name] = {"metadata": {"name": name, "namespace": "shop", "labels": labels}}
    said = list(leftovers.clean(api.client, None, everyone=False, assume_yes=True))
    assert list(api.jobs) == ["theirs"]
    assert "1 of other users stay" in said[0]
    list(leftovers.clean(api.client, None, everyone=True, assume_yes=True))
    assert api.jobs == {}


SCRIPT = """
import os, sys, time
from meshctl.sources import debug_pod, kube_client, made
from meshctl.sources.connection import Connection
made.arm()
connection = Connection(kubeconfig=sys.argv[1], assume_yes=True)
pod = {"metadata": {"name": "w", "namespace": "shop", "uid": "u"}, "spec": {"nodeName": "n"}}
connection = Connection(kubeconfig=sys.argv[1], assume_yes=True, debug_image="i")
debug_pod.debug_pod(kube_client.connect(connection), connection, pod)
print("made", flush=True)
if not sys.argv[2].startswith("SIG"):
    sys.stdin.readline()
if sys.argv[2] == "error":
    raise RuntimeError("boom")
if sys.argv[2] != "end":
    time.sleep(30)
"""


@pytest.mark.parametrize(
    ("how", "code"), [("end", 0), ("error", 1), ("SIGINT", None), ("SIGTERM", 143), ("SIGHUP", 129)]
)
def test_however_a_run_ends_the_job_is_removed(api: Api, how: str, code: int | None) -> None:
    command = [sys.executable, "-c", SCRIPT, str(api.connection.kubeconfig), how]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "made\n"
        assert len(api.jobs) == 1
        if how.startswith("SIG"):
            process.send_signal(getattr(signal, how))
        process.communicate("go on\n" if not how.startswith("SIG") else None, timeout=20)
    assert api.jobs == {}
    assert code is None or process.returncode == code


def test_the_finding_script_runs_in_any_shell(tmp_path: Path) -> None:
    done = subprocess.run(["sh", "-c", debug_script.FIND, "sh", "no-such-uid", "x"], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"")
    assert debug_script.read(done.stdout) == ()


def test_records_of_processes_that_ended_are_left_out() -> None:
    assert [seen.pid for seen in debug_script.read((RECORD + "9\x1d1:2\x1d\x1d\x1d\x1d\x1c").encode())] == [41]


def test_a_role_has_every_right() -> None:
    text = access.role((*debug_pod.rights("shop"), Right("list", "pods")))
    assert text.count("kind: Role\n") == 1
    assert "kind: ClusterRole" in text
    assert 'resources: ["pods/exec"], verbs: ["create", "get"]' in text


def test_the_debug_pod_runs_only_the_fixed_commands(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Any] = []

    def run(_self: Any, _ns: str, _pod: str, _container: str, argv: Any, _timeout: float) -> Exit:
        ran.append(list(argv))
        return Exit(RECORD.encode() if argv[2] == debug_script.FIND else b"x", b"", 0)

    monkeypatch.setattr(kube_client.Api, "run", run)
    debug_pod.parts(api.client, api.connection, POD, list(BY_PART))
    entered = [argv for argv in ran if argv[2] == debug_script.ENTER]
    assert {tuple(argv[6:]) for argv in entered} <= {argv for command in BY_PART.values() for argv in command.argvs}
    assert all(argv[4:6] == ["41", "4:4026532"] for argv in entered)
    assert len(ran) == len(entered) + 1


def test_waiting_ends(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.pod_status = {"phase": "Pending"}
    monkeypatch.setattr(debug_pod, "START_S", 0.5)
    monkeypatch.setattr(time, "sleep", lambda _s: None)
    with pytest.raises(Unavailable, match="did not start within"):
        debug_pod.parts(api.client, api.connection, POD, ["netns/nft.json"])

"""Reading what runtimes say, without any runtime: names, labels, annotations, and the Pod object made from them."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from meshctl.errors import NoAccess, Unavailable
from meshctl.sources import crictl, docker, podman, proc_pods
from meshctl.sources.local_pods import LocalContainer, LocalPod, Wanted, uids
from meshctl.sources.local_raw import PROCESSES_ONLY, raw_pod
from meshctl.sources.proc_pods import Identity, identity_of, mounted_identity
from meshctl.sources.snapshot import open_demo

UID = "a658d549-e7fe-4c72-8c36-c454d17a3e22"
POD = "productpage-v1-65b96ccf8f-8mxlc"


@pytest.fixture
def fake_crictl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A crictl that answers with what was recorded of a pod."""
    demo = open_demo()
    answers = {name: demo.part("classic", POD, f"runtime/{name}").content for name in _runtime_names()}
    sandbox = json.loads(answers["sandbox.json"] or b"{}")
    about = {"id": "s", "state": "SANDBOX_READY", "metadata": sandbox["status"]["metadata"]}
    (tmp_path / "pods").write_text(json.dumps({"items": [about]}))
    (tmp_path / "inspectp").write_bytes(answers.pop("sandbox.json") or b"")
    (tmp_path / "ps").write_text(json.dumps({"containers": [{"id": name} for name in answers]}))
    for name, content in answers.items():
        (tmp_path / name).write_text(json.dumps(_with_process(json.loads(content or b"{}"))))
    script = tmp_path / "crictl"
    script.write_text(
        f'#!/bin/sh\nfor w in "$@"; do last="$w"; done\n'
        f'case " $* " in *" pods "*) cat {tmp_path}/pods;; *" inspectp "*) cat {tmp_path}/inspectp;;\n'
        f'*" ps "*) cat {tmp_path}/ps;; *" inspect "*) cat "{tmp_path}/$last";; esac\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return script


def _with_process(inspected: Any) -> Any:
    """The demo's records are cut short; a runtime shows the bundle's process."""
    spec = _recorded()["spec"]
    name = inspected["status"]["metadata"]["name"]
    (container,) = [c for c in (*spec["initContainers"], *spec["containers"]) if c["name"] == name]
    env = [f"{variable['name']}={variable['value']}" for variable in container.get("env", []) if "value" in variable]
    inspected["info"]["runtimeSpec"]["process"] = {"args": ["/entrypoint", *container.get("args", [])], "env": env}
    return inspected


def _runtime_names() -> tuple[str, ...]:
    return open_demo().part_names("classic", POD, "runtime")


@pytest.mark.usefixtures("fake_crictl")
def test_crictl_says_what_the_socket_would() -> None:
    (pod,) = crictl.pods("", Wanted("classic", POD), 5)
    assert (pod.namespace, pod.name) == ("classic", POD)
    assert {c.part for c in pod.containers} == {f"runtime/{name}" for name in _runtime_names()}
    assert pod.candidates()[0].sandbox
    assert pod.candidates()[0].pid > 0
    assert crictl.pods("", Wanted("classic", "ghost"), 5) == ()


def test_crictl_that_fails_or_is_not_there(fake_crictl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_crictl.write_text("#!/bin/sh\necho 'connect: permission denied' >&2\nexit 1\n")
    with pytest.raises(NoAccess):
        crictl.pods("", Wanted(), 5)
    fake_crictl.write_text("#!/bin/sh\necho 'no such socket' >&2\nexit 1\n")
    with pytest.raises(Unavailable, match="no such socket"):
        crictl.pods("", Wanted(), 5)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unavailable, match="not installed"):
        crictl.pods("", Wanted(), 5)


@pytest.mark.usefixtures("fake_crictl")
def test_the_pod_object_has_what_the_recorded_one_has() -> None:
    (pod,) = crictl.pods("", Wanted("classic", POD), 5)
    made, recorded = raw_pod(pod, "minikube"), _recorded()
    assert [c["name"] for c in made["spec"]["initContainers"]] == ["istio-init"]
    assert made["spec"]["initContainers"][0]["args"] == recorded["spec"]["initContainers"][0]["args"]
    ours = {c["name"]: c for c in made["spec"]["containers"]}
    for container in recorded["spec"]["containers"]:
        assert ours[container["name"]].get("args", []) == container.get("args", [])
        plain = {(v["name"], v["value"]) for v in container.get("env", []) if "value" in v}
        assert plain <= {(v["name"], v["value"]) for v in ours[container["name"]]["env"]}
    assert made["status"]["podIP"] == recorded["status"]["podIP"]
    assert made["metadata"]["labels"]["app"] == recorded["metadata"]["labels"]["app"]
    assert PROCESSES_ONLY not in made["metadata"]["annotations"]


def _recorded() -> Any:
    from meshctl.sources.kinds import PODS

    return open_demo().one(PODS, "classic", POD)


def test_a_native_sidecar_is_told_by_the_injectors_annotation() -> None:
    annotations = {"sidecar.istio.io/status": '{"initContainers":["istio-init","istio-proxy"],"containers":null}'}
    containers = tuple(
        LocalContainer(name, name, 1, "running", started_at=str(n))
        for n, name in enumerate(("istio-init", "istio-proxy", "app"))
    )
    made = raw_pod(LocalPod("a", "b", "c", "x", annotations=annotations, containers=containers), "n")
    inits = {c["name"]: c.get("restartPolicy") for c in made["spec"]["initContainers"]}
    assert inits == {"istio-init": None, "istio-proxy": "Always"}
    assert [c["name"] for c in made["spec"]["containers"]] == ["app"]
    assert made["metadata"]["annotations"][PROCESSES_ONLY] == "true"


def test_docker_reads_names_where_labels_are_missing() -> None:
    def entry(name: str, pid: int, **more: Any) -> Any:
        return {"Name": f"/{name}", "Id": name, "State": {"Pid": pid, "Status": "running"}, "Config": {}, **more}

    identity = docker._identity({"Names": [f"/k8s_POD_web_shop_{UID}_0"]})
    assert identity == ("shop", "web", UID)
    members = [entry(f"k8s_app_web_shop_{UID}_2", 12), entry(f"k8s_POD_web_shop_{UID}_0", 11)]
    pod = docker.pod_of(identity, members, "Docker")
    assert [(c.name, c.pid, c.attempt, c.sandbox) for c in pod.containers] == [
        ("(sandbox)", 11, 0, True),
        ("app", 12, 2, False),
    ]
    assert docker._identity({"Names": ["/postgres"]}) is None
    host = entry("k8s_POD_h_s_u_0", 1, HostConfig={"NetworkMode": "host"})
    assert docker.pod_of(("s", "h", "u"), [host], "Docker").host_network


def test_a_podman_that_was_never_used_is_not_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Asking it would create its storage in the user's home."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert not podman.is_used()
    (tmp_path / "containers").mkdir()
    assert podman.is_used()


def test_podmans_own_pods_have_no_namespace() -> None:
    listed = [
        {"Id": "1", "Names": ["x-infra"], "IsInfra": True, "PodName": "web", "Pod": "p", "Pid": 5, "State": "running"},
        {"Id": "2", "Names": ["web-app"], "PodName": "web", "Pod": "p", "Pid": 6, "State": "running"},
        {"Id": "3", "Names": ["alone"], "Pid": 7, "State": "running"},
    ]
    (pod,) = podman.read(listed, Wanted("", "web"), {})
    assert (pod.namespace, pod.name) == ("", "web")
    assert [(c.name, c.pid) for c in pod.candidates()] == [("(sandbox)", 5), ("app", 6)]


@pytest.mark.parametrize(
    ("annotations", "identity"),
    [
        (
            {
                "io.kubernetes.cri.container-type": "container",
                "io.kubernetes.cri.container-name": "app",
                "io.kubernetes.cri.sandbox-name": "web",
                "io.kubernetes.cri.sandbox-namespace": "shop",
                "io.kubernetes.cri.sandbox-uid": UID,
            },
            Identity(UID, "shop", "web", "app"),
        ),
        (
            {"io.kubernetes.cri-o.ContainerType": "sandbox", "io.kubernetes.pod.name": "web"},
            Identity("", "", "web", "", True),
        ),
        ({}, Identity()),
    ],
)
def test_an_oci_bundle_names_its_pod(annotations: dict[str, str], identity: Identity) -> None:
    assert identity_of(annotations) == identity


def test_the_kubelets_mounts_name_uid_and_container() -> None:
    text = (
        f"1 2 8:1 /var/lib/kubelet/pods/{UID}/etc-hosts /etc/hosts rw - ext4 /dev/sda rw\n"
        f"1 2 8:1 /var/lib/kubelet/pods/{UID}/containers/app/12ab /dev/termination-log rw - ext4 /dev/sda rw\n"
    )
    assert mounted_identity(text) == Identity(uid=UID, container="app")
    assert mounted_identity(f"1 2 8:1 /var/lib/kubelet/pods/{UID}/volumes/x /data rw - ext4 /dev/sda rw") == Identity()


def test_proc_takes_the_name_from_the_logs_folder_or_the_environment(tmp_path: Path) -> None:
    proc, logs = tmp_path / "proc", tmp_path / "logs"
    for pid, uid, env in ((7, UID, ""), (8, UID.replace("a", "b"), "POD_NAME=other\0POD_NAMESPACE=ns\0")):
        folder = proc / str(pid)
        (folder / "ns").mkdir(parents=True)
        (folder / "ns" / "net").write_text("")
        (folder / "cgroup").write_text(f"0::/kubepods/pod{uid}/{str(pid) * 64}\n")
        (folder / "cmdline").write_bytes(b"/pilot-agent\0proxy\0")
        (folder / "stat").write_text(f"{pid} (x) S {'0 ' * 18}{pid} 0\n")
        (folder / "environ").write_bytes(env.encode())
    (logs / f"shop_web_{UID}").mkdir(parents=True)
    found = {(pod.namespace, pod.name) for pod in proc_pods.pods(Wanted(), proc, logs)}
    assert found == {("shop", "web"), ("ns", "other")}


def test_a_static_pod_has_two_uids() -> None:
    pod = {"metadata": {"uid": "mirror", "annotations": {"kubernetes.io/config.hash": "manifest"}}}
    assert uids(pod) == {"mirror", "manifest"}


def test_a_home_that_is_another_users_holds_no_pods_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    (tmp_path / "containers").mkdir()
    assert podman.is_used()
    monkeypatch.setattr(Path, "is_dir", refuse)
    assert not podman.is_used()

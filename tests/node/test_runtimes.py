"""Pods of real runtimes: found by name, entered by PID, their rules read; and what happens when a runtime fails."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meshctl.errors import BadInput, NoAccess, NotFound, Unavailable
from meshctl.sources import node, node_world, proc_pods, proc_scan, reach
from meshctl.sources.connection import Connection
from meshctl.sources.kinds import PODS
from meshctl.sources.local_pods import Wanted
from meshctl.sources.snapshot import open_demo
from tests.node import runtimes
from tests.node.runtimes import Containerd

pytestmark = [
    pytest.mark.node,
    pytest.mark.xdist_group("node"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to start a container runtime"),
]
needs_containerd = pytest.mark.skipif(
    not (shutil.which("containerd") and shutil.which("runc")), reason="containerd and runc are not installed"
)
needs_docker = pytest.mark.skipif(
    not (shutil.which("dockerd") and shutil.which("docker")), reason="Docker (dockerd and docker) is not installed"
)
needs_podman = pytest.mark.skipif(shutil.which("podman") is None, reason="podman is not installed")
UID = "a658d549-e7fe-4c72-8c36-c454d17a3e22"
NAMES = ["netns/iptables-save.txt", "netns/processes.json", "netns/ip-address.json"]


def istio_rules() -> bytes:
    """The rules of a recorded pod."""
    part = open_demo().part("classic", "productpage-v1-65b96ccf8f-8mxlc", "netns/iptables-save.txt")
    assert part.content is not None
    return part.content


def restore_rules(pid: int) -> None:
    runtimes.in_namespace(pid, ["iptables-restore"], istio_rules())


def rules(text: bytes) -> list[str]:
    return [line.partition("] ")[2] for line in text.decode().splitlines() if line.startswith("[")]


def dumped(*words: str, **environment: str) -> Any:
    """What the command line says about a pod's rules."""
    command = [sys.executable, "-m", "meshctl", *words, "-o", "json"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def texts(document: Any) -> list[str]:
    chains = (c for r in document["rulesets"] for t in r["tables"] for c in t["chains"])
    return [rule["text"] for chain in chains for rule in chain["rules"]]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runtimes.tiny_image(tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def runtime(image: Path) -> Iterator[Containerd]:
    with runtimes.short_folder() as folder, runtimes.containerd(folder, image) as own:
        sandbox = own.pod("web-1", "shop", UID)
        pod = node.find(str(own.socket), Wanted("shop", "web-1"))
        restore_rules(pod.candidates()[0].pid)
        yield own
        own.remove(sandbox)


@needs_containerd
def test_a_pod_is_found_by_name_over_the_cri_and_its_rules_are_read(runtime: Containerd) -> None:
    pod = node.find(str(runtime.socket), Wanted("shop", "web-1"))
    assert [(c.name, c.state) for c in pod.containers] == [
        ("(sandbox)", "running"),
        ("istio-init", "exited"),
        ("istio-proxy", "running"),
        ("app", "running"),
    ]
    container, namespace = node.entrance(pod)
    assert container.sandbox
    assert namespace not in proc_scan.host_namespaces()
    parts = node.netns_parts(pod, NAMES)
    assert rules(parts["netns/iptables-save.txt"].content or b"") == rules(istio_rules())
    listed = json.loads(parts["netns/processes.json"].content or b"")
    assert sorted(process["cmdline"][0] for process in listed) == ["/bin/sleep"] * 3


@needs_containerd
def test_the_command_line_dumps_them_by_name(runtime: Containerd) -> None:
    found = dumped("--runtime", f"unix://{runtime.socket}", "iptables", "dump", "web-1", "-n", "shop")
    assert len(texts(found)) == len(rules(istio_rules()))
    listed = dumped("pod", "pids", "web-1", "--runtime", str(runtime.socket))
    assert listed["pods"][0]["entered_by"].startswith("(sandbox) (PID ")
    assert {container["name"] for container in listed["pods"][0]["containers"]} >= {"istio-proxy", "app"}


@needs_containerd
def test_on_a_node_without_a_kubeconfig_the_name_is_enough(runtime: Containerd, tmp_path: Path) -> None:
    environment = {"CONTAINER_RUNTIME_ENDPOINT": f"unix://{runtime.socket}", "HOME": str(tmp_path), "KUBECONFIG": ""}
    found = dumped("iptables", "dump", "web-1", **environment)
    assert found["pod"]["name"] == "web-1"
    assert len(texts(found)) == len(rules(istio_rules()))


@needs_containerd
def test_a_node_records_itself_without_an_api_server(runtime: Containerd, tmp_path: Path) -> None:
    target = tmp_path / "node.tar.gz"
    words = ["--runtime", str(runtime.socket), "snapshot", "record", "-A", "-o", str(target)]
    done = subprocess.run([sys.executable, "-m", "meshctl", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = dumped("--snapshot", str(target), "iptables", "dump", "web-1", "-n", "shop")
    assert len(texts(found)) == len(rules(istio_rules()))


@needs_containerd
def test_with_the_socket_closed_proc_finds_the_same(runtime: Containerd) -> None:
    closed = runtime.socket.with_name("closed")
    runtime.socket.rename(closed)
    try:
        with pytest.raises(Unavailable, match="no container runtime at"):
            node.find(str(runtime.socket), Wanted("shop", "web-1"))
        pod = node.find("proc", Wanted("shop", "web-1"))
        parts = node.netns_parts(pod, NAMES)
    finally:
        closed.rename(runtime.socket)
    assert (pod.name, pod.namespace, pod.uid) == ("web-1", "shop", UID)
    assert {c.name for c in pod.containers} == {"(sandbox)", "istio-proxy", "app"}
    assert rules(parts["netns/iptables-save.txt"].content or b"") == rules(istio_rules())


@needs_containerd
def test_by_uid_proc_needs_no_name(runtime: Containerd) -> None:
    (pod,) = proc_pods.pods(Wanted(uids=frozenset({UID})))
    assert pod.candidates()[0].sandbox


@needs_containerd
def test_the_runtime_alone_describes_the_pod(runtime: Containerd) -> None:
    world = node_world.open(str(runtime.socket))
    (raw,) = world.objects(PODS, "shop", "app=web").items
    assert [c["name"] for c in raw["spec"]["initContainers"]] == ["istio-init"]
    assert raw["spec"]["initContainers"][0]["args"] == ["istio-iptables", "-p", "15001"]
    assert [c["name"] for c in raw["spec"]["containers"]] == ["istio-proxy", "app"]
    assert raw["status"]["podIP"] == "10.99.0.2"
    assert world.part_names("shop", "web-1", "runtime") == (
        "container-app.0.json",
        "container-istio-init.0.json",
        "container-istio-proxy.0.json",
        "sandbox.json",
    )
    inspected = json.loads(world.part("shop", "web-1", "runtime/container-istio-proxy.0.json").content or b"")
    assert inspected["status"]["state"] == "CONTAINER_RUNNING"
    assert inspected["info"]["config"]["args"] == ["100000"]
    assert dumped("--runtime", str(runtime.socket), "describe", "pod", "web-1")["injection"]["mode"] == "sidecar"


@needs_containerd
def test_a_pod_in_the_nodes_network_is_refused(runtime: Containerd) -> None:
    sandbox = runtime.pod("host-1", "shop", UID.replace("a", "b"), host=True)
    try:
        with pytest.raises(BadInput, match="hostNetwork"):
            node.find(str(runtime.socket), Wanted("shop", "host-1"))
        with pytest.raises(BadInput, match="hostNetwork"):
            node.find("proc", Wanted("shop", "host-1"))
    finally:
        runtime.remove(sandbox)


@needs_containerd
def test_of_a_pod_in_the_nodes_network_the_nodes_sockets_are_read(runtime: Containerd) -> None:
    uid = UID.replace("a", "b")
    sandbox = runtime.pod("host-1", "shop", uid, host=True)
    names = ["netns/sockets.txt", "netns/iptables-save.txt"]
    spec = {"metadata": {"name": "host-1", "namespace": "shop", "uid": uid}, "spec": {"hostNetwork": True}}
    elsewhere = {**spec, "metadata": {"name": "host-2", "namespace": "shop", "uid": UID.replace("a", "c")}}
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            found, other = (reach.parts(None, Connection(), pod, names) for pod in (spec, elsewhere))  # type: ignore[arg-type]
            port = server.getsockname()[1]
        assert f"127.0.0.1:{port} ".encode() in (found[names[0]].content or b"")
        assert "hostNetwork" in found[names[1]].gap
        assert "hostNetwork" in other[names[0]].gap
        inside = node.find(str(runtime.socket), Wanted("shop", "web-1"))
        assert not node.is_beside(replace(inside, host_network=True))
    finally:
        runtime.remove(sandbox)


@needs_containerd
def test_a_pod_that_ends_between_look_up_and_entry_is_noticed(runtime: Containerd) -> None:
    sandbox = runtime.pod("short-1", "shop", UID.replace("a", "c"))
    pod = node.find(str(runtime.socket), Wanted("shop", "short-1"))
    runtime.remove(sandbox)
    with pytest.raises((NotFound, Unavailable)):
        node.netns_parts(pod, NAMES)


@needs_containerd
def test_a_name_that_is_not_there(runtime: Containerd) -> None:
    with pytest.raises(NotFound, match="there is no pod 'ghost'"):
        node.find(str(runtime.socket), Wanted("", "ghost"))


@pytest.mark.parametrize("kind", ["cri", "docker"])
def test_a_socket_that_hangs_is_given_up(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("grpc")
    with runtimes.short_folder() as folder:
        place = folder / ("docker.sock" if kind == "docker" else "c.sock")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(place))
            listener.listen()
            threading.Thread(target=lambda: [listener.accept() for _ in range(2)], daemon=True).start()
            (way,) = node.ways(str(place), timeout_s=0.5)
            with pytest.raises(Unavailable, match=r"did not answer|cannot be asked"):
                way.ask(Wanted())


@needs_docker
def test_docker_with_the_names_of_the_shim(image: Path) -> None:
    with runtimes.short_folder() as folder, runtimes.dockerd(folder, image) as client:
        runtimes.shim_pod(client, UID)
        place = folder / "docker.sock"
        place.symlink_to(folder / "d.sock")
        pod = node.find(str(place), Wanted("shop", "web-1"))
        assert [c.name for c in pod.candidates()] == ["(sandbox)", "istio-proxy", "app"]
        restore_rules(pod.candidates()[0].pid)
        found = dumped("--runtime", "docker", "iptables", "dump", "web-1", DOCKER_HOST=f"unix://{folder}/d.sock")
        assert len(texts(found)) == len(rules(istio_rules()))
        subprocess.run([*client, "kill", f"k8s_POD_web-1_shop_{UID}_0"], check=True, capture_output=True)
        again = node.find(str(place), Wanted("shop", "web-1"))
        assert node.entrance(again)[0].name == "istio-proxy"


@needs_podman
def test_podman_with_the_same_names(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with runtimes.short_folder() as folder:
        storage = f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/g"\nrunroot = "{folder}/r"\n'
        (folder / "storage.conf").write_text(storage)
        monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(folder / "storage.conf"))
        client = ["podman", "--cgroup-manager=cgroupfs", "--runtime=runc"]
        subprocess.run([*client, "load", "-i", str(image)], check=True, capture_output=True)
        try:
            # podman asks for more open files than a machine without CAP_SYS_RESOURCE may grant.
            runtimes.shim_pod(client, UID, "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")
            pod = node.find("podman", Wanted("shop", "web-1"))
            assert {c.name for c in pod.candidates()} == {"(sandbox)", "istio-proxy", "app"}
            restore_rules(pod.candidates()[0].pid)
            found = dumped("--runtime", "podman", "iptables", "dump", "web-1")
            assert len(texts(found)) == len(rules(istio_rules()))
        finally:
            subprocess.run([*client, "rm", "-f", "-a", "-t", "0"], check=False, capture_output=True)
            subprocess.run([*client, "rmi", "-a", "-f"], check=False, capture_output=True)


def test_without_root_the_refusal_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Another user's process: its namespace cannot even be looked at."""
    folder = tmp_path / "7"
    folder.mkdir()
    cid = "4" * 64
    (folder / "cgroup").write_text(f"0::/kubepods/pod{UID}/{cid}\n")
    (folder / "cmdline").write_bytes(b"/pause\0")
    (folder / "stat").write_text(f"7 (pause) S {'0 ' * 18}1 0\n")
    with pytest.raises(NoAccess, match="only root can see"):
        proc_pods.pods(Wanted("shop", "web-1"), tmp_path, tmp_path)


@needs_containerd
def test_by_processes_alone_nothing_is_said_about_what_the_rules_should_be(runtime: Containerd) -> None:
    found = dumped("--runtime", "proc", "iptables", "dump", "web-1", "-n", "shop")
    assert len(texts(found)) == len(rules(istio_rules()))
    assert "leftover" not in json.dumps(found)
    described = dumped("--runtime", "proc", "iptables", "dump", "web-1")
    assert described["pod"]["name"] == "web-1"

"""Real container runtimes for the tests: each on its own socket and state folder, from a tiny image made here.

The image holds this machine's own `sleep` and `sh` with the libraries that they need: no registry is asked.
"""

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

IMAGE = "localhost/meshctl-test:1"


def in_namespace(pid: int, command: list[str], stdin: bytes = b"") -> bytes:
    """Run a command in the network namespace of a process."""
    entered = ["/usr/bin/nsenter", f"--net=/proc/{pid}/ns/net", *command]
    return subprocess.run(entered, input=stdin, capture_output=True, check=True).stdout


def tiny_image(folder: Path) -> Path:
    """A docker-archive with one layer."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for program in ("/bin/sleep", "/bin/sh"):
            for path in (program, *_libraries(program)):
                if path.lstrip("/") not in tar.getnames():
                    tar.add(os.path.realpath(path), arcname=path.lstrip("/"))
        for name in ("tmp", "proc", "sys", "dev", "etc"):
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
    content = layer.getvalue()
    diff = hashlib.sha256(content).hexdigest()
    config = {"Entrypoint": ["/bin/sleep"], "Cmd": ["100000"], "Env": ["PATH=/bin"]}
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{diff}"]}
    body = json.dumps({"architecture": "amd64", "os": "linux", "config": config, "rootfs": rootfs}).encode()
    name = f"{hashlib.sha256(body).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": [IMAGE], "Layers": [f"{diff}/layer.tar"]}]).encode()
    archive = folder / "image.tar"
    with tarfile.open(archive, "w") as tar:
        for member, data in ((name, body), (f"{diff}/layer.tar", content), ("manifest.json", manifest)):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return archive


def _libraries(program: str) -> list[str]:
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return re.findall(r"(/\S+) \(0x", listed)


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """Sockets have short names: not pytest's own folder. What is still mounted below it is taken off first."""
    folder = Path(tempfile.mkdtemp(prefix="mn"))
    try:
        yield folder
    finally:
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            place = line.split(" ")[1]
            if place.startswith(str(folder)):
                subprocess.run(["umount", "-l", place], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def daemon(command: list[str], log: Path, ready: Path, seconds: float = 30) -> Iterator[None]:
    """Start a daemon, wait for its socket, and end it."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        deadline = time.monotonic() + seconds
        while not ready.is_socket():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


_CONTAINERD = """version = 2
root = "{folder}/root"
state = "{folder}/state"
[grpc]
  address = "{folder}/c.sock"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "{image}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{folder}/bin"
    conf_dir = "{folder}/cni"
"""
# The least that a CNI plugin must do: say which address the interface has. The tests need a namespace, not a network.
_CNI = """#!/bin/sh
cat >/dev/null
[ "$CNI_COMMAND" = VERSION ] && echo '{"cniVersion":"0.4.0","supportedVersions":["0.3.1","0.4.0"]}'
[ "$CNI_COMMAND" = ADD ] || exit 0
nsenter --net="$CNI_NETNS" ip link set lo up
echo '{"cniVersion":"0.4.0","interfaces":[{"name":"'"$CNI_IFNAME"'","sandbox":"'"$CNI_NETNS"'"}],'\\
'"ips":[{"version":"4","address":"10.99.0.2/24","interface":0}]}'
"""


@dataclass
class Containerd:
    """A containerd of its own, with the CRI."""

    socket: Path
    service: Any
    stubs: Any

    def pod(self, name: str, namespace: str, uid: str, *, host: bool = False) -> str:
        """Make a pod with istio-init (ended), istio-proxy and app, as the kubelet does; returns the sandbox's id."""
        message = self.stubs.message
        config = message("PodSandboxConfig")()
        config.metadata.name, config.metadata.namespace, config.metadata.uid = name, namespace, uid
        config.hostname = "" if host else name
        labels = {
            "io.kubernetes.pod.name": name,
            "io.kubernetes.pod.namespace": namespace,
            "io.kubernetes.pod.uid": uid,
        }
        config.labels.update({**labels, "app": "web"})
        config.annotations["sidecar.istio.io/status"] = '{"initContainers":["istio-init"],"containers":["istio-proxy"]}'
        config.linux.cgroup_parent = f"/kubepods/burstable/pod{uid}"
        if host:
            config.linux.security_context.namespace_options.network = 2
        sandbox = self.service.RunPodSandbox(message("RunPodSandboxRequest")(config=config), timeout=30).pod_sandbox_id
        self._container(sandbox, config, "istio-init", ["/bin/sh", "-c", "exit 0"], ["istio-iptables", "-p", "15001"])
        time.sleep(0.3)
        self._container(sandbox, config, "istio-proxy", ["/bin/sleep"], ["100000"])
        self._container(sandbox, config, "app", ["/bin/sleep"], ["100000"])
        return str(sandbox)

    def _container(self, sandbox: str, pod: Any, name: str, command: list[str], args: list[str]) -> None:
        message = self.stubs.message
        config = message("ContainerConfig")()
        config.metadata.name = name
        config.image.image = IMAGE
        config.command.extend(command)
        config.args.extend(args)
        config.labels.update({**pod.labels, "io.kubernetes.container.name": name})
        if pod.linux.security_context.namespace_options.network == 2:
            config.linux.security_context.namespace_options.network = 2
        request = message("CreateContainerRequest")(pod_sandbox_id=sandbox, config=config, sandbox_config=pod)
        made = self.service.CreateContainer(request, timeout=30).container_id
        self.service.StartContainer(message("StartContainerRequest")(container_id=made), timeout=30)

    def remove(self, sandbox: str) -> None:
        """Stop and remove a pod."""
        message = self.stubs.message
        self.service.StopPodSandbox(message("StopPodSandboxRequest")(pod_sandbox_id=sandbox), timeout=30)
        self.service.RemovePodSandbox(message("RemovePodSandboxRequest")(pod_sandbox_id=sandbox), timeout=30)


@contextlib.contextmanager
def containerd(folder: Path, image: Path) -> Iterator[Containerd]:
    """Start containerd with everything below `folder`; the pods that are left are removed at the end."""
    from tests.node import cri_write_stubs as stubs

    (folder / "config.toml").write_text(_CONTAINERD.format(folder=folder, image=IMAGE))
    for place in ("bin", "cni"):
        (folder / place).mkdir()
    for plugin in ("meshctl-test", "loopback"):
        (folder / "bin" / plugin).write_text(_CNI)
        (folder / "bin" / plugin).chmod(0o755)
    network = {"cniVersion": "0.4.0", "name": "test", "plugins": [{"type": "meshctl-test"}]}
    (folder / "cni" / "10-test.conflist").write_text(json.dumps(network))
    socket = folder / "c.sock"
    with daemon(["containerd", "-c", str(folder / "config.toml")], folder / "log", socket):
        ctr = [
            "ctr",
            "--address",
            str(socket),
            "-n",
            "k8s.io",
            "image",
            "import",
            "--snapshotter",
            "native",
            str(image),
        ]
        _until(lambda: subprocess.run(ctr, capture_output=True, check=False).returncode == 0)
        channel = stubs.grpc.insecure_channel(f"unix://{socket}")
        own = Containerd(socket, stubs.RuntimeService(channel), stubs)
        try:
            yield own
        finally:
            for item in own.service.ListPodSandbox(stubs.message("ListPodSandboxRequest")(), timeout=10).items:
                own.remove(item.id)
            channel.close()


def _until(done: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.2)


@contextlib.contextmanager
def dockerd(folder: Path, image: Path) -> Iterator[list[str]]:
    """Start Docker with everything below `folder`; yields the client's command."""
    socket = folder / "d.sock"
    command = [
        "dockerd",
        f"--host=unix://{socket}",
        f"--data-root={folder}/data",
        f"--exec-root={folder}/x",
        f"--pidfile={folder}/pid",
        "--bridge=none",
        "--iptables=false",
        "--ip6tables=false",
        "--storage-driver=vfs",
        "--exec-opt=native.cgroupdriver=cgroupfs",
    ]
    client = ["docker", "-H", f"unix://{socket}"]
    with daemon(command, folder / "log", socket, 60):
        _until(lambda: subprocess.run([*client, "info"], capture_output=True, check=False).returncode == 0, 60)
        subprocess.run([*client, "load", "-i", str(image)], check=True, capture_output=True)
        try:
            yield client
        finally:
            left = subprocess.run([*client, "ps", "-aq"], capture_output=True, text=True, check=False).stdout.split()
            if left:
                subprocess.run([*client, "rm", "-f", *left], check=False, capture_output=True)


def shim_pod(client: list[str], uid: str, *more: str) -> None:
    """A pod as cri-dockerd makes it: a pause container, and others that share its network; `more` flags for `run`."""
    labels = {"pod.name": "web-1", "pod.namespace": "shop", "pod.uid": uid}

    def run(name: str, kind: str, net: str) -> None:
        own = {**labels, "container.name": name, "docker.type": kind}
        flags = [f"--label=io.kubernetes.{key}={value}" for key, value in own.items()]
        full = f"k8s_{name}_web-1_shop_{uid}_0"
        command = [*client, "run", "-d", "--name", full, f"--network={net}", *flags, *more, IMAGE]
        subprocess.run(command, check=True, capture_output=True)

    run("POD", "podsandbox", "none")
    for name in ("istio-proxy", "app"):
        run(name, "container", f"container:k8s_POD_web-1_shop_{uid}_0")

"""One ephemeral container in the target pod: it shares the pod's network, so each command is simply run in it.

Kubernetes cannot remove it: it stays listed in the pod until the pod goes. It idles with what its image has (a shell,
else pilot-agent), ends when told, and by itself after a while.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from meshctl.errors import MeshctlError, Unavailable
from meshctl.sources import access, made
from meshctl.sources.access import Right
from meshctl.sources.connection import Connection
from meshctl.sources.debug_pod import START_S, image_for, state_problem
from meshctl.sources.exec_parts import run_in
from meshctl.sources.kube_client import Api
from meshctl.sources.readonly import BY_PART, PROCESSES, RESOLV_CONF
from meshctl.sources.world import Part

Raw = Mapping[str, Any]
IDLE_S = 120
_SHELL = ["sh", "-c", f'trap "exit 0" TERM; sleep {IDLE_S} & wait']
# `pilot-agent wait` asks a port where nobody listens until its time is over: the one thing that idles in a distroless
# image (pilot/cmd/pilot-agent/app/wait.go).
_AGENT = ["pilot-agent", "wait", "--url=http://127.0.0.1:1/", f"--timeoutSeconds={IDLE_S}", "--periodMillis=1000"]
_PARALLEL = 4
_containers: dict[tuple[str, str], str] = {}
_one_at_a_time = threading.Lock()
"""Two questions at once on one terminal cannot be answered."""


def parts(api: Api, connection: Connection, pod: Raw, names: Sequence[str]) -> Mapping[str, Part]:
    """The parts of the pod's namespace, read by its ephemeral container."""
    container = _container(api, connection, pod)
    argvs = {**{name: command.argvs for name, command in BY_PART.items()}, RESOLV_CONF: (("cat", "/etc/resolv.conf"),)}
    gaps = {PROCESSES: "an ephemeral container sees only its own processes: use --via debug-pod"}
    todo = [name for name in names if name in argvs]
    with ThreadPoolExecutor(_PARALLEL) as pool:
        answers = pool.map(lambda name: run_in(api, pod, container, name, argvs[name], connection.timeout_s), todo)
        found = dict(zip(todo, answers, strict=True))
    return {name: found.get(name) or Part(name, None, gaps.get(name, f"{name} is not read here")) for name in names}


def rights(namespace: str) -> tuple[Right, ...]:
    """What an ephemeral container needs."""
    return (
        Right("get", "pods", "", namespace),
        Right("patch", "pods/ephemeralcontainers", "", namespace),
        Right("create", "pods/exec", "", namespace),
        Right("get", "pods/exec", "", namespace),
    )


def _container(api: Api, connection: Connection, pod: Raw) -> str:
    metadata = pod.get("metadata", {})
    namespace, name, uid = (str(metadata.get(key) or "") for key in ("namespace", "name", "uid"))
    if (api.server, uid) in _containers:
        return _containers[api.server, uid]
    with _one_at_a_time:
        _containers[api.server, uid] = _added(api, connection, pod, namespace, name)
    return _containers[api.server, uid]


def _added(api: Api, connection: Connection, pod: Raw, namespace: str, name: str) -> str:
    image = image_for(connection, pod, distroless_will_do=True)
    access.require(api, rights(namespace), "an ephemeral container")
    made.consent(_announcement(namespace, name, image), connection.assume_yes)
    idles = [_AGENT, _SHELL] if "distroless" in image else [_SHELL, _AGENT]
    problem = ""
    for idle in idles:
        container = made.new_name("meshctl")
        _add(api, namespace, name, manifest(container, image, idle))
        problem = _wait(api, namespace, name, container)
        if not problem:
            return container
        if "executable file not found" not in problem and "no such file" not in problem:
            break
    raise Unavailable(f"the ephemeral container does not start: {problem}", hint="another image: --debug-image IMAGE")


def _announcement(namespace: str, pod: str, image: str) -> str:
    return (
        f"This adds an ephemeral container to pod {pod} in namespace {namespace}: image {image}, as root with NET_ADMIN"
        " and NET_RAW.\n"
        f"It runs only commands that read, and ends when meshctl does (else after {IDLE_S} s), but it stays listed in"
        " the pod until the pod is deleted: Kubernetes cannot remove it."
    )


def manifest(name: str, image: str, idle: Sequence[str]) -> dict[str, Any]:
    """The ephemeral container."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(idle),
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "runAsNonRoot": False,
            "capabilities": {"add": ["NET_ADMIN", "NET_RAW"]},
        },
    }


def _add(api: Api, namespace: str, pod: str, container: dict[str, Any]) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/ephemeralcontainers"
    name = container["name"]
    made.keep(f"the ephemeral container {name} in {namespace}/{pod}", lambda: _end(api, namespace, pod, name))
    what = f"patch pods/ephemeralcontainers of {namespace}/{pod}"
    try:
        api.patch(path, {"spec": {"ephemeralContainers": [container]}}, what)
    except MeshctlError:
        made.forget(f"the ephemeral container {name} in {namespace}/{pod}")
        raise


def _end(api: Api, namespace: str, pod: str, container: str) -> None:
    """Make it exit: its shell waits for the signal. In a distroless image its own time limit ends it."""
    for key, name in list(_containers.items()):
        if name == container:
            del _containers[key]
    try:
        api.run(namespace, pod, container, ["sh", "-c", "kill -TERM 1"], 10.0)
    except MeshctlError:
        return


def _wait(api: Api, namespace: str, pod: str, container: str) -> str:
    """Wait until it runs: empty, else why it does not."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        found = api.get(f"/api/v1/namespaces/{namespace}/pods/{pod}", (), f"get pods/{pod} in namespace {namespace}")
        statuses = [
            status
            for status in found.get("status", {}).get("ephemeralContainerStatuses") or ()
            if status.get("name") == container
        ]
        if any("running" in (status.get("state") or {}) for status in statuses):
            return ""
        if problem := state_problem(statuses):
            return problem
        time.sleep(0.3)
    return f"it did not start within {START_S:.0f} s"

"""Pods of containerd and CRI-O over the CRI socket (gRPC, runtime.v1); needs the extra ``istio-meshctl[node]``."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from meshctl import json_text
from meshctl.errors import MeshctlError, NoAccess, Unavailable
from meshctl.sources.local_pods import LocalContainer, LocalPod, State, Wanted

SOCKETS = {
    "containerd": ("/run/containerd/containerd.sock", "/run/k3s/containerd/containerd.sock"),
    "crio": ("/run/crio/crio.sock",),
    "cri-dockerd": ("/run/cri-dockerd.sock",),
}
_STATES: dict[str, State] = {
    "CONTAINER_RUNNING": "running",
    "CONTAINER_EXITED": "exited",
    "CONTAINER_CREATED": "created",
    "SANDBOX_READY": "running",
    "SANDBOX_NOTREADY": "exited",
}
_TIMES = ("createdAt", "startedAt", "finishedAt")


def pods(socket: str, wanted: Wanted, timeout_s: float) -> tuple[LocalPod, ...]:
    """The pods that a socket's runtime has. Raises Unavailable where it is no CRI, hangs, or grpc is not installed."""
    try:
        from meshctl.sources import cri_stubs
    except ImportError as error:
        raise Unavailable(
            f"asking {socket} needs grpcio and protobuf", hint="pip install 'istio-meshctl[node]', or install crictl"
        ) from error
    if not Path(socket).is_socket():
        raise Unavailable(f"there is no container runtime at {socket}")
    channel = cri_stubs.grpc.insecure_channel(f"unix://{socket}", options=[("grpc.max_receive_message_length", -1)])
    try:
        return _Asker(cri_stubs, channel, socket, timeout_s).pods(wanted)
    except cri_stubs.grpc.RpcError as error:
        raise _problem(error, socket, timeout_s) from error
    finally:
        channel.close()


def _problem(error: Any, socket: str, timeout_s: float) -> MeshctlError:
    code, text = error.code().name, str(error.details() or "")
    if code == "DEADLINE_EXCEEDED":
        return Unavailable(f"the runtime at {socket} did not answer within {timeout_s:g} s")
    if "ermission denied" in text or code == "PERMISSION_DENIED":
        return NoAccess(f"the runtime's socket {socket} may only be used by root", hint="run it with sudo")
    if code == "UNIMPLEMENTED":
        return Unavailable(
            f"the runtime at {socket} does not speak the CRI runtime.v1",
            hint="containerd before 1.6, or its cri plugin is disabled",
        )
    return Unavailable(f"the runtime at {socket} cannot be asked: {text or code}")


class _Asker:
    def __init__(self, stubs: Any, channel: Any, socket: str, timeout_s: float) -> None:
        self.stubs, self.timeout_s, self.socket = stubs, timeout_s, socket
        self.service = stubs.RuntimeService(channel)

    def call(self, method: str, request: str, **fields: Any) -> Any:
        message = self.stubs.message(request)(**fields)
        return getattr(self.service, method)(message, timeout=self.timeout_s)

    def pods(self, wanted: Wanted) -> tuple[LocalPod, ...]:
        listed = self.call("ListPodSandbox", "ListPodSandboxRequest").items
        fitting = [s for s in listed if wanted.fits(s.metadata.namespace, s.metadata.name, s.metadata.uid)]
        return tuple(pod for sandbox in _newest(fitting) if (pod := self.pod(sandbox)))

    def pod(self, listed: Any) -> LocalPod | None:
        sandbox = self.inspect("PodSandboxStatus", "PodSandboxStatusRequest", pod_sandbox_id=listed.id)
        if sandbox is None:
            return None
        of_pod = self.stubs.message("ContainerFilter")(pod_sandbox_id=listed.id)
        containers = self.call("ListContainers", "ListContainersRequest", filter=of_pod).containers
        inspected = [self.inspect("ContainerStatus", "ContainerStatusRequest", container_id=c.id) for c in containers]
        return pod_of(sandbox, [c for c in inspected if c is not None], f"CRI {self.socket}")

    def inspect(self, method: str, request: str, **which: str) -> dict[str, Any] | None:
        try:
            answer = self.call(method, request, verbose=True, **which)
        except self.stubs.grpc.RpcError as error:
            if error.code().name == "NOT_FOUND":
                return None  # removed since it was listed
            raise
        return _as_crictl(answer)


def _newest(sandboxes: Sequence[Any]) -> list[Any]:
    """A pod whose sandbox was made anew has several; those that are not ready are kept only where none is."""
    best: dict[tuple[str, str, str], Any] = {}
    for sandbox in sandboxes:
        key = (sandbox.metadata.namespace, sandbox.metadata.name, sandbox.metadata.uid)
        rank = (sandbox.state == 0, sandbox.created_at)
        if key not in best or rank > (best[key].state == 0, best[key].created_at):
            best[key] = sandbox
    return list(best.values())


def _as_crictl(answer: Any) -> dict[str, Any]:
    """The answer as ``crictl inspect`` prints it: times as text, the verbose info as JSON."""
    from google.protobuf.json_format import MessageToDict

    document: dict[str, Any] = MessageToDict(answer)
    status = document.get("status", {})
    for key in _TIMES:
        if key in status:
            status[key] = _moment(int(status[key]))
    info: dict[str, Any] = {}
    for key, text in answer.info.items():
        try:
            parsed = json_text.loads(text)
        except ValueError:
            parsed = text
        info.update(parsed if key == "info" and isinstance(parsed, dict) else {key: parsed})
    return {"info": info, "status": status}


def _moment(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def pod_of(sandbox: Mapping[str, Any], containers: Sequence[Mapping[str, Any]], how: str) -> LocalPod:
    """A pod from what ``crictl inspectp`` and ``crictl inspect`` say about it, by whichever way they were asked."""
    status = sandbox.get("status") or {}
    metadata = status.get("metadata") or {}
    options = ((status.get("linux") or {}).get("namespaces") or {}).get("options") or {}
    pause = LocalContainer(
        name="(sandbox)",
        id=str(status.get("id") or ""),
        pid=_pid(sandbox),
        state=_STATES.get(str(status.get("state") or "SANDBOX_READY"), "unknown"),
        sandbox=True,
        image=str((sandbox.get("info") or {}).get("image") or ""),
        started_at=str(status.get("createdAt") or ""),
        found_by=how,
        inspect=sandbox,
    )
    return LocalPod(
        namespace=str(metadata.get("namespace") or ""),
        name=str(metadata.get("name") or ""),
        uid=str(metadata.get("uid") or ""),
        runtime=how,
        host_network=str(options.get("network") or "") in ("NODE", "2"),
        labels=status.get("labels") or {},
        annotations=status.get("annotations") or {},
        containers=(pause, *sorted((_container(c, how) for c in containers), key=lambda c: c.started_at)),
    )


def _container(inspected: Mapping[str, Any], how: str) -> LocalContainer:
    status = inspected.get("status") or {}
    metadata = status.get("metadata") or {}
    return LocalContainer(
        name=str(metadata.get("name") or ""),
        id=str(status.get("id") or ""),
        pid=_pid(inspected),
        state=_STATES.get(str(status.get("state") or "CONTAINER_CREATED"), "unknown"),
        attempt=int(metadata.get("attempt") or 0),
        image=str((status.get("image") or {}).get("image") or ""),
        started_at=str(status.get("startedAt") or status.get("createdAt") or ""),
        found_by=how,
        inspect=inspected,
    )


def _pid(inspected: Mapping[str, Any]) -> int:
    pid = (inspected.get("info") or {}).get("pid")
    return pid if isinstance(pid, int) else 0

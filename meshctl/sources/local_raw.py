"""A Pod object made from what a runtime knows: metadata, containers with arguments and environment, their states.

It has no Services, owners or probes, and volumes only as paths: the API server knows more. Which container is an init
container is told by the injector's own annotation (``sidecar.istio.io/status``), else by having ended before the last
one was made.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from meshctl import json_text
from meshctl.sources.local_pods import LocalContainer, LocalPod

Raw = dict[str, Any]

PROCESSES_ONLY = "meshctl/known-by-processes-only"
"""Marks a pod of which only running processes are known: what has ended, and every argument, is not."""


def raw_pod(pod: LocalPod, node: str) -> Raw:
    """The Pod object, in the API's shape."""
    latest = _latest([c for c in pod.containers if not c.sandbox])
    inits = {c.name: restarts for c in latest if (restarts := _init_kind(c, latest, pod.annotations)) is not None}
    spec: Raw = {
        "nodeName": node,
        "hostNetwork": pod.host_network,
        "initContainers": [
            {**_spec(c), **({"restartPolicy": "Always"} if inits[c.name] else {})} for c in latest if c.name in inits
        ],
        "containers": [_spec(c) for c in latest if c.name not in inits],
    }
    status: Raw = {
        "phase": "Running" if pod.candidates() else "Unknown",
        "podIP": _address(pod),
        "initContainerStatuses": [_status(c) for c in latest if c.name in inits],
        "containerStatuses": [_status(c) for c in latest if c.name not in inits],
    }
    known = any(container.inspect for container in pod.containers)
    metadata = {
        "name": pod.name,
        "namespace": pod.namespace or "default",
        "uid": pod.uid,
        "labels": {k: v for k, v in pod.labels.items() if not k.startswith("io.kubernetes.")},
        "annotations": {**pod.annotations, **({} if known else {PROCESSES_ONLY: "true"})},
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def _latest(containers: Sequence[LocalContainer]) -> list[LocalContainer]:
    """The last attempt of each container, in the order in which they were first made."""
    newest: dict[str, LocalContainer] = {}
    for container in sorted(containers, key=lambda c: c.attempt):
        newest[container.name] = container
    return sorted(newest.values(), key=_created)


def _created(container: LocalContainer) -> str:
    status = container.inspect.get("status") or {}
    docker = container.inspect.get("docker") or {}
    return str(status.get("createdAt") or docker.get("Created") or container.started_at)


def _init_kind(
    container: LocalContainer, every: Sequence[LocalContainer], annotations: Mapping[str, str]
) -> bool | None:
    """None for an ordinary container, False for an init container, True for one that keeps running (a sidecar)."""
    try:
        added = json_text.loads(annotations.get("sidecar.istio.io/status") or "{}")
    except ValueError:
        added = {}
    listed = added.get("initContainers") if isinstance(added, dict) else None
    if listed and container.name in listed:
        return container.name not in ("istio-init", "istio-validation")
    if container.name in ("istio-init", "istio-validation"):
        return False
    status = container.inspect.get("status") or {}
    ended = str(status.get("finishedAt") or "")
    done = container.state == "exited" and not status.get("exitCode") and ended
    return False if done and ended <= max(map(_created, every)) else None


def _spec(container: LocalContainer) -> Raw:
    config = (container.inspect.get("info") or {}).get("config") or {}
    docker = (container.inspect.get("docker") or {}).get("Config") or {}
    if docker:
        environment = [
            dict(zip(("name", "value"), e.partition("=")[::2], strict=True)) for e in docker.get("Env") or ()
        ]
        command, arguments = _words(docker.get("Entrypoint")), _words(docker.get("Cmd"))
    elif config:
        environment = [{"name": e.get("key"), "value": e.get("value", "")} for e in config.get("envs") or ()]
        command, arguments = config.get("command") or [], config.get("args") or []
    else:
        # CRI-O shows the OCI bundle only: there the entrypoint is the first word.
        process = ((container.inspect.get("info") or {}).get("runtimeSpec") or {}).get("process") or {}
        environment = [
            dict(zip(("name", "value"), e.partition("=")[::2], strict=True)) for e in process.get("env") or ()
        ]
        command, arguments = list(process.get("args") or ())[:1], list(process.get("args") or ())[1:]
    mounts = [
        {"name": _volume(m), "mountPath": m.get("container_path"), "readOnly": bool(m.get("readonly"))}
        for m in config.get("mounts") or ()
        if m.get("container_path") not in ("/etc/hosts", "/dev/termination-log")
    ]
    security = _security(config)
    spec: Raw = {"name": container.name, "image": container.image, "env": environment, "volumeMounts": mounts}
    optional = {"command": command, "args": arguments, "securityContext": security}
    return {**spec, **{key: value for key, value in optional.items() if value}}


def _words(value: Any) -> list[str]:
    """podman 4 writes an entrypoint as one text."""
    return value.split() if isinstance(value, str) else list(value or ())


def _volume(mount: Mapping[str, Any]) -> str:
    """The kubelet keeps a volume at ``.../volumes/<plugin>/<name>``; other mounts are named by their path."""
    parts = str(mount.get("host_path") or "").split("/")
    return parts[parts.index("volumes") + 2] if "volumes" in parts[:-2] else str(mount.get("host_path") or "")


def _security(config: Mapping[str, Any]) -> Raw:
    context = (config.get("linux") or {}).get("security_context") or {}
    found: Raw = {}
    for key, name in (("run_as_user", "runAsUser"), ("run_as_group", "runAsGroup")):
        value = (context.get(key) or {}).get("value")
        if value is not None:
            found[name] = value
    capabilities = context.get("capabilities") or {}
    added, dropped = capabilities.get("add_capabilities"), capabilities.get("drop_capabilities")
    if added or dropped:
        found["capabilities"] = {"add": added or [], "drop": dropped or []}
    if context.get("privileged"):
        found["privileged"] = True
    return found


def _status(container: LocalContainer) -> Raw:
    status = container.inspect.get("status") or {}
    if container.state == "running":
        state: Raw = {"running": {"startedAt": container.started_at or None}}
    elif container.state == "exited":
        ended = {"startedAt": container.started_at or None, "finishedAt": status.get("finishedAt")}
        state = {"terminated": {"exitCode": int(status.get("exitCode") or 0), **ended}}
    else:
        state = {"waiting": {"reason": container.state}}
    return {
        "name": container.name,
        "image": container.image,
        "containerID": container.id,
        "restartCount": container.attempt,
        "state": state,
        "started": container.state == "running",
    }


def _address(pod: LocalPod) -> str:
    for container in pod.containers:
        if container.sandbox:
            network = (container.inspect.get("status") or {}).get("network") or {}
            docker = (container.inspect.get("docker") or {}).get("NetworkSettings") or {}
            return str(network.get("ip") or docker.get("IPAddress") or "")
    return ""

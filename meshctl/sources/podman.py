"""Pods of podman, over its command line: it needs no service. Its own pods, and containers labelled as Kubernetes'."""

import json
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from meshctl.errors import Unavailable
from meshctl.sources.local_pods import LocalContainer, LocalPod, State, Wanted

_STATES: dict[str, State] = {"running": "running", "exited": "exited", "stopped": "exited", "created": "created"}


def pods(wanted: Wanted, timeout_s: float) -> tuple[LocalPod, ...]:
    """The pods that this user's podman has containers of. Raises Unavailable where podman is missing or fails."""
    program = shutil.which("podman")
    if program is None:
        raise Unavailable("podman is not installed")
    try:
        done = subprocess.run(
            [program, "ps", "--all", "--format", "json"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"podman did not answer within {timeout_s:g} s") from error
    if done.returncode:
        raise Unavailable(f"podman failed: {done.stderr.decode(errors='replace').strip()}")
    return read(done.stdout, wanted)


def read(listed: bytes, wanted: Wanted) -> tuple[LocalPod, ...]:
    """The pods in the output of ``podman ps --all --format json``."""
    try:
        entries = json.loads(listed or b"[]") or []
    except ValueError as error:
        raise Unavailable(f"podman does not answer in JSON: {error}") from error
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for entry in entries:
        identity = _identity(entry)
        if identity and wanted.fits(*identity):
            groups[identity].append(entry)
    return tuple(_pod(identity, members) for identity, members in groups.items())


def _labels(entry: Mapping[str, Any]) -> Mapping[str, str]:
    return entry.get("Labels") or {}


def _name(entry: Mapping[str, Any]) -> str:
    return str((entry.get("Names") or [""])[0])


def _identity(entry: Mapping[str, Any]) -> tuple[str, str, str] | None:
    labels = _labels(entry)
    if labels.get("io.kubernetes.pod.name"):
        rest = (labels.get("io.kubernetes.pod.namespace", ""), labels.get("io.kubernetes.pod.uid", ""))
        return rest[0], labels["io.kubernetes.pod.name"], rest[1]
    parts = _name(entry).split("_")
    if len(parts) >= 5 and parts[0] == "k8s":
        return parts[3], parts[2], parts[4]
    if entry.get("PodName"):
        return "", str(entry["PodName"]), str(entry.get("Pod") or "")
    return None


def _pod(identity: tuple[str, str, str], members: list[Mapping[str, Any]]) -> LocalPod:
    containers = sorted((_container(m, identity[1]) for m in members), key=lambda c: (not c.sandbox, c.started_at))
    return LocalPod(*identity, "podman", containers=tuple(containers))


def _container(entry: Mapping[str, Any], pod: str) -> LocalContainer:
    labels, parts = _labels(entry), _name(entry).split("_")
    shim = len(parts) >= 5 and parts[0] == "k8s"
    name = labels.get("io.kubernetes.container.name") or (parts[1] if shim else _name(entry).removeprefix(f"{pod}-"))
    sandbox = bool(entry.get("IsInfra")) or labels.get("io.kubernetes.docker.type") == "podsandbox" or name == "POD"
    return LocalContainer(
        name="(sandbox)" if sandbox else name,
        id=str(entry.get("Id") or ""),
        pid=int(entry.get("Pid") or 0),
        state=_STATES.get(str(entry.get("State") or ""), "unknown"),
        sandbox=sandbox,
        attempt=int(parts[5]) if shim and len(parts) >= 6 and parts[5].isdigit() else 0,
        image=str(entry.get("Image") or ""),
        started_at=str(entry.get("StartedAt") or ""),
        found_by="podman ps",
        inspect={"podman": entry},
    )

"""Pods of podman, over its command line: it needs no service. Its own pods, and containers labelled as Kubernetes'."""

import os
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from meshctl import json_text
from meshctl.errors import Unavailable
from meshctl.sources.local_pods import LocalContainer, LocalPod, State, Wanted

Raw = Mapping[str, Any]
_STATES: dict[str, State] = {"running": "running", "exited": "exited", "stopped": "exited", "created": "created"}


def is_used() -> bool:
    """Whether this user's podman was ever used: asking one that was not would create its storage."""
    if os.geteuid() == 0:
        return True
    home = os.environ.get("XDG_DATA_HOME") or Path("~/.local/share").expanduser()
    try:
        return Path(home, "containers").is_dir()
    except PermissionError:  # another user's home, as after sudo -u
        return False


def pods(wanted: Wanted, timeout_s: float) -> tuple[LocalPod, ...]:
    """The pods that this user's podman has containers of. Raises Unavailable where podman is missing or fails."""
    program = shutil.which("podman")
    if program is None:
        raise Unavailable("podman is not installed")
    listed = _json(_run([program, "ps", "--all", "--format", "json"], timeout_s))
    ids = [str(entry.get("Id")) for entry in listed if (identity := _identity(entry)) and wanted.fits(*identity)]
    inspected = _json(_run([program, "inspect", "--type", "container", *ids], timeout_s)) if ids else []
    return read(listed, wanted, {str(entry.get("Id")): entry for entry in inspected})


def _run(argv: list[str], timeout_s: float) -> bytes:
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"podman did not answer within {timeout_s:g} s") from error
    if done.returncode:
        raise Unavailable(f"podman failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def _json(text: bytes) -> list[Raw]:
    try:
        found = json_text.loads(text or b"[]")
    except ValueError as error:
        raise Unavailable(f"podman does not answer in JSON: {error}") from error
    return [entry for entry in found or () if isinstance(entry, dict)]


def read(listed: Sequence[Raw], wanted: Wanted, inspected: Mapping[str, Raw]) -> tuple[LocalPod, ...]:
    """The pods in what ``podman ps --all`` lists, with what ``podman inspect`` says of each container by its id."""
    groups: dict[tuple[str, str, str], list[Raw]] = defaultdict(list)
    for entry in listed:
        identity = _identity(entry)
        if identity and wanted.fits(*identity):
            groups[identity].append(entry)
    return tuple(_pod(identity, members, inspected) for identity, members in groups.items())


def _labels(entry: Raw) -> Mapping[str, str]:
    return entry.get("Labels") or {}


def _name(entry: Raw) -> str:
    return str((entry.get("Names") or [""])[0])


def _identity(entry: Raw) -> tuple[str, str, str] | None:
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


def _pod(identity: tuple[str, str, str], members: list[Raw], inspected: Mapping[str, Raw]) -> LocalPod:
    found = (_container(m, identity[1], inspected.get(str(m.get("Id")), {})) for m in members)
    containers = sorted(found, key=lambda c: (not c.sandbox, c.started_at))
    return LocalPod(*identity, "podman", containers=tuple(containers))


def _container(entry: Raw, pod: str, inspected: Raw) -> LocalContainer:
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
        started_at=str((inspected.get("State") or {}).get("StartedAt") or entry.get("StartedAt") or ""),
        found_by="podman ps",
        inspect={"docker": inspected} if inspected else {},
    )

"""Pods of Docker over its socket's HTTP API: containers that cri-dockerd or the dockershim named and labelled.

``k8s_<container>_<pod>_<namespace>_<uid>_<attempt>``, the sandbox ``k8s_POD_...``; labels ``io.kubernetes.*``.
"""

import http.client
import os
import socket as sockets
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meshctl import json_text
from meshctl.errors import NoAccess, Unavailable
from meshctl.sources.local_pods import LocalContainer, LocalPod, State, Wanted

_STATES: dict[str, State] = {"running": "running", "exited": "exited", "dead": "exited", "created": "created"}


def default_socket() -> str:
    """DOCKER_HOST where it is a local socket, else the usual place."""
    host = os.environ.get("DOCKER_HOST", "")
    return host.removeprefix("unix://") if host.startswith("unix://") else "/var/run/docker.sock"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self.path = path

    def connect(self) -> None:
        self.sock = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(path: str, request: str, timeout_s: float, who: str = "Docker") -> Any:
    """GET a JSON document over a socket. Raises Unavailable, NoAccess where only root may."""
    if not Path(path).is_socket():
        raise Unavailable(f"{who} is not running here: there is no socket {path}")
    connection = _UnixConnection(path, timeout_s)
    try:
        connection.request("GET", request)
        response = connection.getresponse()
        body = response.read()
    except PermissionError as error:
        raise NoAccess(f"{who}'s socket {path} may not be used", hint="run it with sudo") from error
    except TimeoutError as error:
        raise Unavailable(f"{who} did not answer within {timeout_s:g} s ({path})") from error
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"{who} cannot be asked ({path}): {error}") from error
    finally:
        connection.close()
    if response.status == 404:
        return None
    try:
        document = json_text.loads(body)
    except ValueError as error:
        raise Unavailable(f"{who} does not answer in JSON ({path})") from error
    if response.status != 200:
        raise Unavailable(f"{who} answered {response.status}: {document.get('message', '')}")
    return document


def pods(path: str, wanted: Wanted, timeout_s: float, who: str = "Docker") -> tuple[LocalPod, ...]:
    """The pods that Docker (or podman's compatible API) has containers of."""
    listed = ask(path, "/containers/json?all=1", timeout_s, who) or []
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for entry in listed:
        identity = _identity(entry)
        if identity and wanted.fits(*identity):
            inspected = ask(path, f"/containers/{entry['Id']}/json", timeout_s, who)
            if inspected is not None:  # None: removed since it was listed
                groups[identity].append(inspected)
    return tuple(pod_of(identity, members, f"{who} {path}") for identity, members in groups.items())


def _names(entry: Mapping[str, Any]) -> list[str]:
    names = entry.get("Names") or [entry.get("Name") or ""]
    return [str(name).lstrip("/") for name in names]


def _labels(entry: Mapping[str, Any]) -> Mapping[str, str]:
    return entry.get("Labels") or (entry.get("Config") or {}).get("Labels") or {}


def _identity(entry: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """(namespace, pod, uid) by the labels, else by the name."""
    labels = _labels(entry)
    if labels.get("io.kubernetes.pod.name"):
        keys = ("io.kubernetes.pod.namespace", "io.kubernetes.pod.name", "io.kubernetes.pod.uid")
        return labels.get(keys[0], ""), labels[keys[1]], labels.get(keys[2], "")
    for name in _names(entry):
        parts = name.split("_")
        if len(parts) >= 5 and parts[0] == "k8s":
            return parts[3], parts[2], parts[4]
    return None


def _container_name(entry: Mapping[str, Any]) -> tuple[str, int]:
    parts = _names(entry)[0].split("_")
    attempt = int(parts[5]) if len(parts) >= 6 and parts[5].isdigit() else 0
    label = _labels(entry).get("io.kubernetes.container.name", "")
    name = label or (parts[1] if len(parts) >= 5 and parts[0] == "k8s" else parts[0])
    return name, attempt


def pod_of(identity: tuple[str, str, str], members: list[Mapping[str, Any]], how: str) -> LocalPod:
    """A pod from the ``docker inspect`` of its containers."""
    containers = sorted((_container(m, how) for m in members), key=lambda c: (not c.sandbox, c.started_at))
    sandbox = next((m for m in members if _is_sandbox(m)), members[0])
    labels = {k: v for k, v in _labels(sandbox).items() if not k.startswith(("io.kubernetes.", "annotation."))}
    annotations = {k[11:]: v for k, v in _labels(sandbox).items() if k.startswith("annotation.")}
    mode = str((sandbox.get("HostConfig") or {}).get("NetworkMode") or "")
    return LocalPod(*identity, how, mode == "host", labels, annotations, tuple(containers))


def _is_sandbox(entry: Mapping[str, Any]) -> bool:
    kind = _labels(entry).get("io.kubernetes.docker.type", "")
    return kind == "podsandbox" or _container_name(entry)[0] == "POD"


def _container(entry: Mapping[str, Any], how: str) -> LocalContainer:
    state = entry.get("State") or {}
    name, attempt = _container_name(entry)
    sandbox = _is_sandbox(entry)
    return LocalContainer(
        name="(sandbox)" if sandbox else name,
        id=str(entry.get("Id") or ""),
        pid=int(state.get("Pid") or 0),
        state=_STATES.get(str(state.get("Status") or ""), "unknown"),
        sandbox=sandbox,
        attempt=attempt,
        image=str((entry.get("Config") or {}).get("Image") or ""),
        started_at=str(state.get("StartedAt") or ""),
        found_by=how,
        inspect={"docker": entry},
    )

"""Health checks that the injector rewrote, with what they were (``pkg/kube/inject/app_probe.go``).

The kubelet cannot make a check that needs the mesh's certificates, so HTTP, TCP and gRPC checks of the application
are turned into HTTP requests to the agent in istio-proxy, which makes the original check from inside the pod. The
originals are in ``ISTIO_KUBE_APP_PROBERS``, keyed by the path on the agent.
"""

from collections.abc import Mapping
from typing import Any

from meshctl import json_text
from meshctl.frozen import dataclass
from meshctl.injection.decode import action_text
from meshctl.kube.containers import Action, Container, Exec, Grpc, HttpGet, Sleep, TcpSocket, UnknownAction

VARIABLE = "ISTIO_KUBE_APP_PROBERS"
_KINDS = {
    "readyz": "readiness",
    "livez": "liveness",
    "startupz": "startup",
    "prestopz": "preStop",
    "poststartz": "postStart",
}


@dataclass(frozen=True, slots=True)
class ProbeStory:
    """A check or hook of a container: what the kubelet does now, and what it was (None where it was not changed).

    `lost` is True where the check goes to the agent but the original is not known.
    """

    kind: str
    now: str
    originally: str | None = None
    lost: bool = False


def words(action: Action) -> str:
    """A check or hook in one phrase."""
    match action:
        case HttpGet(path, port, scheme, host, _):
            return f"GET {scheme.lower()}://{host}:{port}{path if path.startswith('/') else '/' + path}"
        case TcpSocket(port, host):
            return f"connect to {host}:{port}"
        case Grpc(port, service):
            return f"gRPC health check on :{port}" + (f", service {service}" if service else "")
        case Exec(command):
            return f"run {' '.join(command)}"
        case Sleep(seconds):
            return f"sleep {seconds} s"
        case UnknownAction(text):
            return f"{text} (not understood)"


def originals(proxy: Container | None) -> Mapping[str, Any]:
    """The originals by path on the agent; empty where there are none or they are not valid JSON."""
    text = proxy.env_value(VARIABLE) if proxy else None
    if not text:
        return {}
    try:
        document = json_text.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, Mapping) else {}


def stories(container: Container, known: Mapping[str, Any]) -> tuple[ProbeStory, ...]:
    """Each check and lifecycle hook of a container, with its original where the injector changed it."""
    found = [_story(probe.kind, probe.action, known) for probe in container.probes]
    found += [_story(hook.kind, hook.action, known) for hook in container.hooks]
    return tuple(found)


def agent_path(action: Action) -> str:
    """The path on the agent that a rewritten check asks for; empty where it was not rewritten."""
    if isinstance(action, HttpGet) and action.path.startswith(("/app-health/", "/app-lifecycle/")):
        return action.path
    return ""


def _story(kind: str, action: Action, known: Mapping[str, Any]) -> ProbeStory:
    now, path = words(action), agent_path(action)
    if not path or path.rpartition("/")[2] not in _KINDS:
        return ProbeStory(kind, now)
    original = known.get(path)
    return ProbeStory(kind, now, action_text(original)) if original is not None else ProbeStory(kind, now, lost=True)

"""How an ambient pod is carried: who asked for it, whether its node redirects it, by which ztunnel and waypoint.

ztunnel is the proxy of a node; a waypoint is a shared proxy for what needs more than identities (HTTP
routes and policies).
The facts about ztunnel are from its own configuration dump (Istio 1.22 and later).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from meshctl.frozen import dataclass
from meshctl.injection.mode import DATAPLANE, REDIRECTION
from meshctl.kube.namespaces import Namespace
from meshctl.kube.pods import Pod
from meshctl.kube.services import Service

WAYPOINT = "istio.io/use-waypoint"


@dataclass(frozen=True, slots=True)
class Ambient:
    """An ambient pod; `taken_over` None where ztunnel's dump does not tell, `waypoints` as (name, who asked)."""

    redirected: bool
    asked_by: str
    ztunnel: str = ""
    taken_over: bool | None = None
    protocol: str = ""
    waypoints: tuple[tuple[str, str], ...] = ()
    problem: str = ""


def of(
    pod: Pod, namespace: Namespace | None, services: Sequence[Service], ztunnel: str, dump: Mapping[str, Any] | None
) -> Ambient:
    """Put together what is known; `ztunnel` names the node's ztunnel pod, `dump` is its configuration."""
    labels = namespace.labels if namespace else {}
    asked = f"label {DATAPLANE} of the pod" if pod.labels.get(DATAPLANE) == "ambient" else ""
    if DATAPLANE not in pod.labels and labels.get(DATAPLANE) == "ambient":
        asked = f"label {DATAPLANE} of namespace {pod.namespace}"
    redirected = pod.annotations.get(REDIRECTION) == "enabled"
    taken, protocol = _in_dump(pod, dump)
    problem = ""
    if pod.has_status and asked and not redirected and not pod.host_network:
        problem = "the pod asks for ambient mode, but its node does not redirect it: istio-cni has not taken it over"
    elif redirected and taken is False:
        problem = "the node redirects the pod's connections, but ztunnel does not carry it"
    return Ambient(redirected, asked, ztunnel, taken, protocol, _waypoints(pod, labels, services), problem)


def _waypoints(pod: Pod, labels: Mapping[str, str], services: Sequence[Service]) -> tuple[tuple[str, str], ...]:
    found = [(pod.labels[WAYPOINT], "label of the pod")] if WAYPOINT in pod.labels else []
    for service in services:
        own = dict(service.labels).get(WAYPOINT)
        if own is not None:
            found.append((own, f"label of service {service.name}"))
    if not found and WAYPOINT in labels:
        found.append((labels[WAYPOINT], f"label of namespace {pod.namespace}"))
    return tuple(entry for entry in found if entry[0] != "none")


def _in_dump(pod: Pod, dump: Mapping[str, Any] | None) -> tuple[bool | None, str]:
    """Whether ztunnel carries the pod (its ``workloadState``), and by which protocol."""
    if dump is None:
        return None, ""
    workloads = dump.get("workloads")
    listed = list(workloads.values()) if isinstance(workloads, Mapping) else workloads
    listed = listed if isinstance(listed, list) else []
    own = next(
        (
            w
            for w in listed
            if isinstance(w, Mapping) and (w.get("name"), w.get("namespace")) == (pod.name, pod.namespace)
        ),
        None,
    )
    state = dump.get("workloadState")
    taken = None
    if isinstance(state, Mapping):
        entry = state.get(pod.uid)
        taken = isinstance(entry, Mapping) and entry.get("state") == "Up"
    return taken, str(own.get("protocol", "")) if own else ""

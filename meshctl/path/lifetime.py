"""Whether a pod runs at all: what its recorded status says (``status.phase``), beside what was seen of it.

Succeeded and Failed are for ever: all containers have ended (Kubernetes API, PodPhase). Pending is until the first
application starts; a recording reads the list of pods first and the namespaces after it, so a pod may have started
in between.
"""

from typing import Literal

from meshctl.kube.pods import ENDED
from meshctl.path.model import Cause, End
from meshctl.path.scene import Scene, Station

CAUSE: Cause = "not-alive"
_OF_THE_MESH = ("envoy", "pilot-agent", "ztunnel", "pause", "istio-iptables")


def has_ended(station: Station) -> bool:
    """Whether the status says that all containers of a pod have ended."""
    return station.pod.phase in ENDED


def sends_nothing(station: Station) -> End | None:
    """How a request ends whose sender has ended; None where it may still run."""
    if not has_ended(station) or _seen(station):
        return None
    why = f"{station.key} has ended ({station.pod.phase}), so it sends nothing"
    return End("nobody", delivered=False, mtls=None, why=why, cause=CAUSE)


def doubt(station: Station) -> str:
    """Why it cannot be told whether a caller sends anything; empty where that is no question."""
    if not has_ended(station):
        return ""
    said = f"the status of {station.key} says that it has ended ({station.pod.phase}), and yet its"
    return f"{said} {_seen(station) or 'rules'} were recorded: whether it still sends anything cannot be told"


def at_ended(scene: Scene, station: Station, address: str) -> tuple[End, Literal["bad", "warn"]]:
    """What a connection to the address of a pod that has ended gets, where no other pod is known to have it.

    Nobody answers (most networks say so after some seconds); an address that is free again may be another pod's.
    """
    said = f"{address} is the address of {station.key}, whose status says that it has ended ({station.pod.phase})"
    if seen := _seen(station):
        why = f"{said}, and yet its {seen} were recorded: whether it still answers cannot be told"
    elif not scene.all_recorded:
        why = f"{said}: whether a pod of a namespace that was not recorded has the address now cannot be told"
    else:
        why = f"{said}: nobody answers there"
        return End("nobody", delivered=False, mtls=None, broken="timeout", why=why, cause=CAUSE), "bad"
    return End(None, through_server=None, mtls=None, why=why, undecided=(why,)), "warn"


def at_deleted(scene: Scene, address: str) -> tuple[End, Literal["bad", "warn"]] | None:
    """The same of a pod that an EndpointSlice still names and that the cluster does not have any more.

    None where no slice names one, or where that cannot be asked.
    """
    named = scene.endpoint_pod(address)
    if not named or not scene.all_recorded or scene.pod_named(named) is not None or not scene.gone(named):
        return None
    why = f"{address} is the address of {named}, which is deleted though an EndpointSlice still has it: nobody answers"
    return End("nobody", delivered=False, mtls=None, broken="timeout", why=f"{why} there", cause=CAUSE), "bad"


def remark(station: Station, *, sends: bool) -> str:
    """What is odd about a pod that is traced as running; empty for nothing."""
    if station.pod.phase != "Pending":
        return ""
    if _application_seen(station):
        seen = f"but its {_seen(station)} were recorded: it is taken to run as these show"
        return f"the status of {station.key} says that it has not started (Pending), {seen}"
    if sends:
        return f"{station.key} has not started (Pending), so it sends nothing yet: this is what a request meets then"
    return f"{station.key} has not started (Pending)"


def _seen(station: Station) -> str:
    """What was recorded that only a running pod has; empty for nothing."""
    return "sockets" if station.sockets else "processes" if station.processes else ""


def _application_seen(station: Station) -> bool:
    """Whether a socket or process that is none of the mesh's was recorded."""
    programs = [socket.program for socket in station.sockets or ()]
    programs += [process.command.split(" ")[0].rpartition("/")[2] for process in station.processes]
    return any(program and program not in _OF_THE_MESH for program in programs)

"""Who is meant to send, where the user names nobody: the pod that is seen to call the service, and by what."""

from collections.abc import Callable, Iterable, Sequence

from meshctl.frozen import dataclass
from meshctl.kube.pods import Pod
from meshctl.kube.services import Service


@dataclass(frozen=True, slots=True)
class Seen:
    """How many calls of a pod to the service some evidence shows."""

    pod: Pod
    calls: int


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen caller, why, and the others that could have been."""

    pod: Pod
    why: str
    others: tuple[str, ...] = ()


Count = Callable[[Pod], int]
"""How many calls to the service one kind of evidence shows for a pod; 0 where there is none."""


def choose(candidates: Sequence[Pod], service: Service | None, evidence: Iterable[tuple[str, Count]]) -> Choice | None:
    """The pod that calls the service most, by the first kind of evidence that shows any call; else the first by name.

    `evidence` is ordered: access log, Envoy's statistics, tracked connections. `candidates` are the meshed pods of the
    namespace; the service's own pods are only taken where there is no other.
    """
    outside = [pod for pod in candidates if service is None or not service.selects(pod.labels)]
    for name, count in evidence:
        seen = [Seen(pod, calls) for pod in candidates if (calls := count(pod)) > 0]
        if seen:
            seen.sort(key=lambda one: (-one.calls, one.pod.namespace, one.pod.name))
            best = seen[0]
            shown = f"{best.calls} call{'s' if best.calls > 1 else ''}"
            why = f"{best.pod.name}, whose {name} shows {shown} to it, most of all"
            others = tuple(f"{one.pod.name} ({one.calls})" for one in seen[1:])
            return Choice(best.pod, why, others)
    pool = sorted(outside or candidates, key=lambda pod: (pod.namespace, pod.name))
    if not pool:
        return None
    why = f"{pool[0].name}, the first other meshed pod by name (nothing recorded shows a call to it)"
    return Choice(pool[0], why, tuple(pod.name for pod in pool[1:]))

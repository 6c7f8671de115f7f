"""What NetworkPolicies say of a connection between two ends, at both of them.

The cluster's network plugin enforces them, or does not: which of the two is not known, so what they would keep back is
undecided. What a plugin has as rules on the nodes is walked by `meshctl.path.forwarding`.
"""

from collections.abc import Iterator
from ipaddress import ip_address

from meshctl.frozen import dataclass
from meshctl.kube.isolation import CalledPort, Judgement, Peer, judge
from meshctl.kube.network_policies import Direction
from meshctl.kube.pods import Pod
from meshctl.path.hosts import ANYWHERE
from meshctl.path.model import Evidence, Hop
from meshctl.path.scene import Scene, Station


@dataclass(frozen=True, slots=True)
class Isolation:
    """What the policies of one end make of a connection; `doubt` is empty where they let it through."""

    hop: Hop
    doubt: str


def between(scene: Scene, station: Station | None, source: str | None, place: str, port: int) -> Iterator[Isolation]:
    """What the policies of the sender (Egress) and of the pod at a place (Ingress) say of a TCP connection.

    `source`: the address that the other end sees, None where that is not known.
    """
    pod = scene.pod_at(place)
    sender = station.pod if station is not None else None
    if sender is not None and pod is not None and (sender.namespace, sender.name) == (pod.namespace, pod.name):
        return
    number = CalledPort(port, "TCP", pod)
    if sender is not None and not sender.host_network:
        found = _judged(scene, sender, "Egress", _at(scene, place), number)
        if found is not None:
            yield _isolation(sender, f"Egress to {place}, port {port}", found)
    if pod is None or (sender is not None and sender.host_network and sender.node == pod.node):
        return
    found = _judged(scene, pod, "Ingress", _from(scene, sender, source), number)
    if found is not None:
        yield _isolation(pod, f"Ingress to port {port}", found)


def question(scene: Scene, pod: Pod, place: str | None, port: int) -> str:
    """Why a pod's question (UDP) may not get to a nameserver; `place` None: where it is asked is not known.

    A rule that names the port is for such questions: where the one who answers is not recorded, it lets them through.
    """
    if pod.host_network or (place is not None and ip_address(place).is_link_local):  # policies keep no node back
        return ""
    called = scene.pod_at(place) if place is not None else None
    peer = _at(scene, place) if place is not None else Peer("unknown")
    found = _judged(scene, pod, "Egress", peer, CalledPort(port, "UDP", called))
    if found is None or found.passes:
        return ""
    if found.passes is None and _names(found, port):
        return ""
    return _isolation(pod, f"Egress to udp/{port}{f' of {place}' if place is not None else ''}", found).doubt


def _names(found: Judgement, port: int) -> bool:
    rules = (rule for policy in found.policies for rule in policy.rules("Egress"))
    named = (one for rule in rules for one in rule.ports if one.protocol == "UDP" and one.first is not None)
    return any((one.first or 0) <= port <= (one.last or one.first or 0) for one in named)


def _judged(scene: Scene, pod: Pod, direction: Direction, peer: Peer, port: CalledPort) -> Judgement | None:
    return judge(scene.network_policies(pod.namespace).policies, pod, direction, peer, port)


def _isolation(pod: Pod, what: str, found: Judgement) -> Isolation:
    told = f"{what} of {pod.namespace}/{pod.name}: {found.why}"
    doubt = ""
    if not found.passes:
        doubt = told
        if found.passes is False:
            doubt += "; whether the cluster's network plugin enforces that is not recorded"
    proof = tuple(Evidence(origin.source, origin.path, origin.text) for origin in found.proof)
    hop = Hop("policy", "node", pod.node, "NetworkPolicies", told, (), proof, "warn" if doubt else "plain")
    return Isolation(hop, doubt)


def _at(scene: Scene, place: str) -> Peer:
    """Who is at an address."""
    pod = scene.pod_at(place)
    if pod is not None:
        return _peer(scene, pod, place)
    if place in ANYWHERE:
        return Peer("outside")
    if scene.node_at(place) is not None:
        return Peer("node", place)
    namespace = scene.endpoint_pod(place).partition("/")[0]
    if namespace:
        return Peer("pod", place, namespace, None, scene.namespace_labels.get(namespace))
    outside = ip_address(place).is_global or (scene.all_recorded and not scene.in_pod_range(place))
    return Peer("outside" if outside else "unknown", place)


def _from(scene: Scene, sender: Pod | None, source: str | None) -> Peer:
    """Who it comes from, as the other end sees it."""
    if sender is None or source is None:
        return Peer("unknown")
    return Peer("node", source) if sender.host_network else _peer(scene, sender, source)


def _peer(scene: Scene, pod: Pod, address: str) -> Peer:
    return Peer("pod", address, pod.namespace, pod.labels, scene.namespace_labels.get(pod.namespace))

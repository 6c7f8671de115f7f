"""Whether NetworkPolicies let a connection through, if the cluster's network plugin enforces them.

Source: kubernetes.io, "Network Policies": a pod is isolated in a direction once a policy selects it for that; then only
what some rule of any such policy allows gets through. Replies always do, and so does what its own node sends.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Literal, TypeAlias

from meshctl.frozen import dataclass
from meshctl.kube.network_policies import Block, Direction, NetworkPolicy, PolicyPeer, PolicyPort, PolicyRule
from meshctl.kube.pods import Pod
from meshctl.kube.selectors import Selector
from meshctl.origin import Origin

PeerKind: TypeAlias = Literal["pod", "node", "outside", "unknown"]

_NAME_LABEL = "kubernetes.io/metadata.name"


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a pod's connection; what is not known of it is None.

    `address` is the one that the policies see, after kube-proxy's choice. `namespace` and the labels are of a ``pod``
    with a network of its own; of a ``node`` are its own processes and the pods on its network.
    """

    kind: PeerKind
    address: str | None = None
    namespace: str | None = None
    labels: Mapping[str, str] | None = None
    namespace_labels: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class CalledPort:
    """The port that a connection is for; `called` is the pod that names it, None where no such pod is known."""

    number: int
    protocol: str
    called: Pod | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether the policies let a connection through (None: cannot be told), by which, and where that is written."""

    passes: bool | None
    policies: tuple[NetworkPolicy, ...]
    why: str
    proof: tuple[Origin, ...]


def judge(
    policies: Iterable[NetworkPolicy], pod: Pod, direction: Direction, peer: Peer, port: CalledPort
) -> Judgement | None:
    """What the policies of a pod's namespace make of a connection of its; None where none isolates it."""
    about = tuple(p for p in policies if p.namespace == pod.namespace and _selects(p, pod, direction) is not False)
    if not about:
        return None
    verdicts = [(rule, policy, _allows(rule, pod, peer, port)) for policy in about for rule in policy.rules(direction)]
    for rule, policy, allows in verdicts:
        if allows and _selects(policy, pod, direction):
            place = rule.origin.path.rpartition(".")[2]
            return Judgement(True, about, f"{policy} lets it through ({place})", (rule.origin,))
    doubt = next(_doubts(about, pod, direction, verdicts), None)
    if doubt is not None:
        return Judgement(None, about, doubt[0], (doubt[1],))
    names = " and ".join(map(str, about[:3])) + (" and others" if len(about) > 3 else "")
    why = f"{names} {'lets' if len(about) == 1 else 'let'} no such connection through"
    return Judgement(False, about, why, tuple(p.origin for p in about))


_Verdicts: TypeAlias = Sequence[tuple[PolicyRule, NetworkPolicy, bool | None]]


def _doubts(
    about: Iterable[NetworkPolicy], pod: Pod, direction: Direction, verdicts: _Verdicts
) -> Iterator[tuple[str, Origin]]:
    """Why it cannot be told that nothing lets the connection through."""
    for policy in about:
        if policy.flaw:
            yield f"what {policy} lets through cannot be told: {policy.flaw}", policy.origin
        elif _selects(policy, pod, direction) is None:
            yield f"whether {policy} is about this pod cannot be told", policy.origin
    for rule, policy, allows in verdicts:
        if allows is None:
            place = rule.origin.path.rpartition(".")[2]
            yield f"whether {policy} lets it through ({place}) cannot be told", rule.origin


def _selects(policy: NetworkPolicy, pod: Pod, direction: Direction) -> bool | None:
    if direction not in policy.directions:
        return None if policy.flaw else False
    return None if policy.flaw else policy.pods.holds(pod.labels)


def _allows(rule: PolicyRule, pod: Pod, peer: Peer, port: CalledPort) -> bool | None:
    ports = _some(_port_fits(one, port) for one in rule.ports) if rule.ports else True
    if ports is False:
        return False
    peers = _some(_peer_fits(one, pod, peer) for one in rule.peers) if rule.peers else True
    return _both(ports, peers)


def _port_fits(wanted: PolicyPort, port: CalledPort) -> bool | None:
    if wanted.protocol != port.protocol:
        return False
    if wanted.name:
        return port.called.port_of(wanted.name, port.protocol) == port.number if port.called is not None else None
    if wanted.first is None:
        return True
    return wanted.first <= port.number <= (wanted.last or wanted.first)


def _peer_fits(wanted: PolicyPeer, pod: Pod, peer: Peer) -> bool | None:
    if wanted.block is not None:
        return _in_block(wanted.block, peer)
    if wanted.pods is None and wanted.namespaces is None:
        return None
    if peer.kind == "outside":
        return False
    if peer.kind == "node":  # "the behavior is undefined" for pods on the node's network
        return None
    return _both(_namespace_fits(wanted.namespaces, pod, peer), _pod_fits(wanted.pods, peer))


def _namespace_fits(wanted: Selector | None, pod: Pod, peer: Peer) -> bool | None:
    if peer.namespace is None:
        return True if wanted is not None and not wanted.requirements else None
    if wanted is None:
        return peer.namespace == pod.namespace
    own = {_NAME_LABEL: peer.namespace}
    if peer.namespace_labels is not None:
        return wanted.holds({**peer.namespace_labels, **own})
    return _every(one.holds(own) if one.key == _NAME_LABEL else None for one in wanted.requirements)


def _pod_fits(wanted: Selector | None, peer: Peer) -> bool | None:
    if wanted is None or not wanted.requirements:
        return True if peer.kind == "pod" else None
    return wanted.holds(peer.labels) if peer.labels is not None else None


def _in_block(block: Block, peer: Peer) -> bool | None:
    """Whether a block has the other end; of a pod's address plugins differ on whether blocks are about it (Cilium)."""
    if peer.address is None:
        return True if peer.kind == "outside" and not block.cidr.prefixlen and not block.excepted else None
    address = ip_address(peer.address)
    inside = address in block.cidr and not any(address in one for one in block.excepted)
    if not inside:
        return None if peer.kind == "unknown" else False
    return True if peer.kind in ("outside", "node") else None


def _both(one: bool | None, other: bool | None) -> bool | None:
    return _every((one, other))


def _every(verdicts: Iterable[bool | None]) -> bool | None:
    found = tuple(verdicts)
    return False if False in found else None if None in found else True


def _some(verdicts: Iterable[bool | None]) -> bool | None:
    found = tuple(verdicts)
    return True if True in found else None if None in found else False

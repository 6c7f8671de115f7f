"""The kube-proxy question: does the node choose the endpoint of this connection, and by which rule?"""

from typing import Literal

from meshctl.frozen import dataclass
from meshctl.kube.proxy_rules import NodeDecision, decide, evidence, is_kube_proxy
from meshctl.kube.services import Endpoint, Service, ServicePort
from meshctl.path.model import End, Evidence, Hop, KubeProxy
from meshctl.path.netns import is_loopback
from meshctl.path.scene import NodeView, Scene, Station
from meshctl.words import show_address


@dataclass(frozen=True, slots=True)
class NodeChoice:
    """What the node makes of a connection to a Service's address: places with their chance, or an end."""

    places: tuple[tuple[str, int, float], ...]
    answer: KubeProxy
    hop: Hop
    end: End | None = None
    masqueraded: bool = False


def choose(scene: Scene, node_name: str, station: Station | None, address: str, port: int) -> NodeChoice | None:
    """What kube-proxy does with a connection that leaves a pod (or comes from outside); None: it is not about it."""
    target = _service_at(scene, address, port)
    if target is None and is_loopback(address):  # of the node's own network: a NodePort, if its rules say so
        target = scene.services.at_node_port(port)
    node = scene.node(node_name) if node_name else None
    decision = _decision(node, station, scene, address, port)
    if decision is not None and decision.matched is not None:
        return _by_rules(scene, decision, node, target, address, port)
    if target is None:
        return _no_port(scene, address, port, node)
    service, entry = target
    if decision is not None or is_loopback(address):
        return None
    return _by_objects(scene, service, entry, address, port, node)


def _service_at(scene: Scene, address: str, port: int) -> tuple[Service, ServicePort] | None:
    service = scene.services.at(address)
    if service is not None:
        entry = service.port(port)
        return (service, entry) if entry is not None and entry.protocol == "TCP" else None
    if scene.node_at(address) is not None:
        return scene.services.at_node_port(port)
    return None


def _decision(
    node: NodeView | None, station: Station | None, scene: Scene, address: str, port: int
) -> NodeDecision | None:
    if node is None:
        return None
    key = ("kube-proxy", node.name, station.key if station is not None else "", address, port)
    if key not in scene.cache:
        source = station.own_ip(address) or None if station is not None else None
        local = address in node.addresses or scene.node_at(address) is not None or is_loopback(address)
        own = station is not None and station.pod.host_network
        rulesets = node.rules_about(address)
        known = bool(is_kube_proxy(rulesets))
        scene.cache[key] = (
            decide(rulesets, address, port, source=source, to_node=local, from_node=own) if known else None
        )
    found = scene.cache[key]
    return found if isinstance(found, NodeDecision) else None


def proof(decision: NodeDecision) -> tuple[Evidence, ...]:
    """The node's rules as evidence."""
    return tuple(
        Evidence(origin.source, f"line {origin.line}" if origin.line is not None else origin.path, text)
        for origin, text in evidence(decision)
    )


def _no_port(scene: Scene, address: str, port: int, node: NodeView | None) -> NodeChoice | None:
    """A cluster IP is nobody's own address: without a rule for the port the packets are lost on the way."""
    service = scene.services.at(address)
    if service is None or address not in service.addresses:
        return None
    ports = ", ".join(f"{p.number}{'' if p.protocol == 'TCP' else f'/{p.protocol}'}" for p in service.ports) or "none"
    lack = f"has no port {port}" if service.port(port) is None else f"has port {port}, but not for TCP"
    why = f"Service {service.namespace}/{service.name} {lack} (it has {ports}), so nothing answers there"
    proof = (Evidence(service.origin.source, service.origin.path, f"Service {service.namespace}/{service.name}"),)
    hop = Hop("kube-proxy", "node", node.name if node else "", "kube-proxy", why, (), proof, "bad")
    end = End("nobody", delivered=False, mtls=None, broken="timeout", why=why, cause="no-port")
    return NodeChoice((), KubeProxy(False, f"no rule is about {show_address(address, port)}", "", proof), hop, end)


def _by_rules(
    scene: Scene,
    decision: NodeDecision,
    node: NodeView | None,
    target: tuple[Service, ServicePort] | None,
    address: str,
    port: int,
) -> NodeChoice:
    assert decision.matched is not None
    name = f"{target[0].namespace}/{target[0].name}" if target else show_address(address, port)
    at = node.name if node else ""
    found = proof(decision)
    if decision.refused or decision.dropped:
        why = _refusal(decision, target, name, address, port)
        hop = Hop("kube-proxy", "node", at, "kube-proxy", why, (), found, "bad")
        broken: Literal["refused", "timeout"] = "refused" if decision.refused else "timeout"
        end = End("nobody", delivered=False, broken=broken, mtls=None, why=why, cause="kube-proxy")
        return NodeChoice((), KubeProxy(True, why, "", found), hop, end)
    listed = [f"{show_address(c.address, c.port or port)} {c.probability:.0%}" for c in decision.choices]
    why = f"the address {show_address(address, port)} is translated on the node, by kube-proxy's rules for {name}"
    facts = (*listed, *_affinity(decision))
    told = _not_up_to_date(scene, decision, target, node, address)
    facts += (f"not up to date: {told}",) if told else ()
    hop = Hop("kube-proxy", "node", at, "kube-proxy", f"chooses an endpoint of {name}", facts, found, stale=told)
    places = tuple((c.address, c.port or port, c.probability) for c in decision.choices)
    answer = KubeProxy(True, why, ", ".join(listed), found)
    if not places:
        reason = (
            f"the node's rules for {name} were not understood: {'; '.join(decision.unknown) or 'no endpoint in them'}"
        )
        end = End(None, delivered=None, through_server=None, mtls="none", why=reason, undecided=(reason,))
        return NodeChoice((), answer, hop, end)
    return NodeChoice(places, answer, hop, None, decision.masqueraded)


def _not_up_to_date(
    scene: Scene,
    decision: NodeDecision,
    target: tuple[Service, ServicePort] | None,
    node: NodeView | None,
    address: str,
) -> str:
    """Which of the places in the node's rules the EndpointSlices do not have (any more), empty for none."""
    if target is None or scene.endpoints_gap or not scene.compares:
        return ""
    known = {e.address for e in _usable(scene, *target, node.name if node is not None else "", address)}
    lost = [c.address for c in decision.choices if c.address not in known]
    return f"the EndpointSlices do not have {', '.join(lost[:3])} as ready" if lost else ""


def _refusal(
    decision: NodeDecision, target: tuple[Service, ServicePort] | None, name: str, address: str, port: int
) -> str:
    """Why the node's rules end a connection."""
    word = "refuses" if decision.refused else "drops"
    match decision.cause:
        case "source-range":
            return f"kube-proxy {word} it: the caller is not in the loadBalancerSourceRanges of {name}"
        case "no-local-endpoints":
            return f"kube-proxy {word} it: {name} wants endpoints on this node (traffic policy Local), and has none"
        case "no-service":
            return f"kube-proxy {word} it: no Service has the address {address}"
        case "no-port":
            return f"kube-proxy {word} it: the Service at {address} has no port {port}"
        case _:
            lack = f"{name} has no endpoints" if target else f"no Service has port {port} at {address}"
            return f"kube-proxy {word} it: {lack}"


def _affinity(decision: NodeDecision) -> tuple[str, ...]:
    if decision.remembered:
        return ("session affinity: the node remembers this client, and sends it to the same endpoint again",)
    return ("session affinity: a client keeps its endpoint for a while",) if decision.affinity else ()


def _usable(scene: Scene, service: Service, entry: ServicePort, node: str, address: str) -> list[Endpoint]:
    """The endpoints that kube-proxy chooses from: the ready ones, else those that are ending and still serve.

    ``pkg/proxy/topology.go``, CategorizeEndpoints (Kubernetes 1.34). With the internal policy Local only those on the
    node of the caller count.
    """
    there = [e for e in scene.services.endpoints(service) if e.port(entry.name) is not None]
    if address in service.addresses:  # a cluster IP leads to endpoints of its own family; a NodePort's may be either
        there = [e for e in there if (":" in e.address) == (":" in address)]
        if service.internal_policy == "Local" and node:
            there = [e for e in there if e.node == node]
    return [e for e in there if e.ready] or [e for e in there if e.serving and e.terminating]


def _preferred(scene: Scene, service: Service, usable: list[Endpoint], node: str) -> list[Endpoint]:
    """Those of the endpoints that hints give to the caller's node, or else to its zone; all where none are its.

    Hints count only where every ready endpoint has them (``pkg/proxy/topology.go``, topologyModeFromHints,
    Kubernetes 1.34), and not with the internal policy Local.
    """
    ready = [e for e in usable if e.ready]
    if service.internal_policy == "Local" or not ready:
        return usable
    near = [e for e in ready if node in e.for_nodes] if all(e.for_nodes for e in ready) else []
    if not near and all(e.for_zones for e in ready):
        zone = scene.node_labels.get(node, {}).get("topology.kubernetes.io/zone")
        near = [e for e in ready if zone in e.for_zones]
    return near or usable


def _by_objects(
    scene: Scene, service: Service, entry: ServicePort, address: str, port: int, node: NodeView | None
) -> NodeChoice:
    """Without the node's rules: what kube-proxy makes of the Service and its EndpointSlices."""
    name = f"{service.namespace}/{service.name}"
    ready = _usable(scene, service, entry, node.name if node is not None else "", address)
    gap = node.gap if node is not None and node.gap else "the node's rules were not recorded"
    at = node.name if node else ""
    used = None if node is not None and node.without_kube_proxy else True
    if not ready and scene.endpoints_gap:
        why = f"which endpoint of {name} kube-proxy chooses cannot be told: {gap}; {scene.endpoints_gap}"
        end = End(None, delivered=None, through_server=None, mtls="none", why=why, undecided=(why,))
        told = KubeProxy(used, why)
        return NodeChoice((), told, Hop("kube-proxy", "node", at, "kube-proxy", why, (gap,), (), "warn"), end)
    if not ready:
        elsewhere = service.internal_policy == "Local" and address in service.addresses and at != ""
        elsewhere = elsewhere and bool(_usable(scene, service, entry, "", address))
        why = f"{name} has no ready endpoints{' on this node' if elsewhere else ''}"
        why += f", so kube-proxy {'drops' if elsewhere else 'refuses'} the connection ({gap})"
        lost: Literal["refused", "timeout"] = "timeout" if elsewhere else "refused"
        end = End("nobody", delivered=False, broken=lost, mtls=None, why=why, cause="kube-proxy")
        return NodeChoice(
            (), KubeProxy(used, why), Hop("kube-proxy", "node", at, "kube-proxy", why, (gap,), (), "bad"), end
        )
    ready = _preferred(scene, service, ready, at)
    share = 1 / len(ready)
    places = tuple((e.address, e.port(entry.name) or port, share) for e in ready)
    translated = "is translated on the node" if used else "has to be translated on the node"
    why = (
        f"the address {show_address(address, port)} {translated}: {gap}, so the choice is taken from the EndpointSlices"
    )
    hop = Hop(
        "kube-proxy",
        "node",
        at,
        "kube-proxy",
        f"chooses an endpoint of {name}",
        (*(f"{show_address(place, number)} {share:.0%}" for place, number, _ in places), gap),
        tuple(Evidence(e.origin.source, e.origin.path, e.address) for e in ready[:3]),
    )
    return NodeChoice(places, KubeProxy(used, why, ", ".join(f"{a}:{p} {c:.0%}" for a, p, c in places)), hop)


def not_used(scene: Scene, station: Station, address: str, port: int, why: str) -> KubeProxy:
    """The answer where the connection never shows the Service's address to the node: what it would have chosen."""
    node = scene.node(station.pod.node) if station.pod.node else None
    decision = _decision(node, station, scene, address, port)
    if decision is None or decision.matched is None:
        gap = node.gap if node is not None else ""
        return KubeProxy(False, f"{why}{f' ({gap})' if gap else ''}")
    if decision.refused or decision.dropped:
        said = _refusal(decision, _service_at(scene, address, port), show_address(address, port), address, port)
        return KubeProxy(False, why, f"it would not have passed: {said}", proof(decision))
    choice = ", ".join(f"{show_address(c.address, c.port or port)} {c.probability:.0%}" for c in decision.choices)
    return KubeProxy(False, why, f"it would have chosen {choice}" if choice else "", proof(decision))


def endpoints_of(scene: Scene, address: str, port: int) -> tuple[tuple[str, int, float], ...] | None:
    """The ready endpoints behind a Service's address, for those that balance themselves; None if it is no Service.

    None as well where endpoints are not known.
    """
    target = _service_at(scene, address, port)
    if target is None:
        return None
    service, entry = target
    ready = [
        e
        for e in scene.services.endpoints(service)
        if e.ready and e.port(entry.name) is not None and (":" in e.address) == (":" in address)
    ]
    if not ready and scene.endpoints_gap:
        return None
    return tuple((e.address, e.port(entry.name) or port, 1 / len(ready)) for e in ready)

"""A pod's questions to a nameserver beyond the pod: kube-proxy's choice for udp/53, and what the nodes forward.

Only asked where a node has rules that could matter. The kube-dns pods are seldom recorded: then the Service's endpoints
or kube-proxy's rules say where they are, and else what the nodes make of their packets is left open.
"""

from ipaddress import ip_address

from meshctl.frozen import dataclass
from meshctl.kube.proxy_rules import decide
from meshctl.netfilter.verdict import Walk
from meshctl.path import forwarding, network_policies
from meshctl.path.node_walk import Flow
from meshctl.path.passage import is_own
from meshctl.path.scene import Scene, Station

DNS = 53


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why questions to a nameserver are lost, or may be (`sure` False); `other`: another one may answer them."""

    why: str
    sure: bool
    other: bool = False


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a question may end up; `node` None: not looked for yet."""

    address: str
    port: int = DNS
    node: str | None = None


@dataclass(frozen=True, slots=True)
class _Places:
    """Where questions to a server end up; `known` False: where is not recorded. `refused` says who refuses them."""

    at: tuple[_Place, ...]
    translated: bool = True
    masqueraded: bool = False
    known: bool = True
    refused: str = ""


def trouble(scene: Scene, station: Station, server: str) -> Trouble | None:
    """What becomes of the questions that a pod sends to a server, once they have left the pod; None: they arrive."""
    if not station.pod.node or is_own(station, server):
        return None
    sent = forwarding.sent_elsewhere(scene, station, server, DNS, "udp")
    if sent is not None and sent.to is None:
        return Trouble(f"the question to {server} (udp/53): {sent.why}", False, other=True)
    if sent is None and (nobody := _nobody(scene, server)):
        return Trouble(nobody, False)
    places = _places(scene, station, server)
    if sent is not None and sent.to is not None:
        if sent.to not in {(place.address, place.port) for place in places.at}:
            why = f"the question to {server} (udp/53): {sent.why}, and what that answers is not recorded"
            return Trouble(why, False, other=True)
        places = _Places((_Place(*sent.to),))
    if places.refused:
        return Trouble(places.refused, True)
    found = [_kept(scene, station, server, places, place) for place in places.at]
    if not places.known:
        found = [kept if kept is not None and (kept.sure or _is_particular(kept.walk)) else None for kept in found]
    bad = [kept for kept in found if kept is not None]
    if not bad:
        held = _isolated(scene, station, places)
        return Trouble(f"the question to {server}: {held}", False) if held else None
    sure = all(kept is not None and kept.sure for kept in found)
    share = f" ({len(bad)} of {len(found)} that may answer for {server})" if len(bad) < len(found) else ""
    return Trouble(f"{bad[0].why}{share}", sure)


def _isolated(scene: Scene, station: Station, places: _Places) -> str:
    """Why NetworkPolicies may keep the questions back, wherever they are answered; empty where they do not."""
    if not places.known or not places.at:
        return network_policies.question(scene, station.pod, None, DNS)
    asked = (network_policies.question(scene, station.pod, place.address, place.port) for place in places.at)
    return next(filter(None, asked), "")


_NAMING = (" -d ", " -s ", " -p udp ", "port ", "ports ", "addr ", "udp ")
"""Conditions on addresses, the protocol and ports, as iptables and nft write them."""


def _is_particular(walk: Walk) -> bool:
    """Whether the rule that keeps a packet back, or may, is about some packets, and not what a network starts from.

    Chains of network plugins drop what they do not accept by its interface or mark. Which ones the kube-dns pods have
    is not known where they were not recorded, and that everyone's lookups fail is not to be thought for that.
    """
    if walk.verdict == "dropped" and "policy" in walk.dropped_by:
        return False
    rules = [step for step in walk.steps if step.rule is not None]
    open_ones = [step for step in rules if step.matched is None]
    telling = open_ones if walk.verdict == "undecided" else [step for step in rules if step.matched][-1:]
    return not telling or any(mark in f" {step.text} " for step in telling for mark in _NAMING)


def _nobody(scene: Scene, server: str) -> str:
    """Why nobody may answer at an address of the Services' range that none of them has; empty where that is not so.

    Undecided, not lost: some providers' nodes answer there themselves (EKS Auto Mode has no kube-dns Service).
    """
    if not scene.all_recorded or scene.services_gap or scene.services.at(server) is not None:
        return ""
    if not scene.services.in_range(server) or scene.node_at(server) is not None or scene.pod_at(server) is not None:
        return ""
    return f"no Service has the address of its nameserver ({server}), and whether anything answers there is not known"


def _kept(scene: Scene, station: Station, server: str, places: _Places, place: _Place) -> forwarding.Kept | None:
    asked = (server, DNS) if places.translated else None
    flow = Flow(station, place.address, place.port, "udp", asked, places.masqueraded, places.known)
    there = place.node
    if there is None:
        there = scene.node_of(place.address) if places.known else ""
    return forwarding.keeping(scene, flow, there)


def _places(scene: Scene, station: Station, server: str) -> _Places:
    """Where kube-proxy sends a question: by the node's rules where those are read anyway, else by the endpoints."""
    service = scene.services.at(server)
    entry = next((p for p in service.ports if p.number == DNS and p.protocol == "UDP"), None) if service else None
    ready = [e for e in scene.services.endpoints(service) if e.ready] if service and entry else []
    node = scene.node(station.pod.node)
    asked = node.beside() is not None
    if asked or (entry is not None and not ready):
        own = station.own_ip(server)
        decision = decide(
            node.rules_about(server),
            server,
            DNS,
            source=own or None,
            from_node=station.pod.host_network,
            proto="udp",
        )
        if decision.refused or decision.dropped:
            why = f"kube-proxy {'refuses' if decision.refused else 'drops'} the question to {server} (udp/53)"
            return _Places((), refused=f"{why}{': no endpoint answers there' if decision.cause else ''}")
        if decision.choices:
            on = {e.address: e.node for e in ready if e.node}
            at = tuple(_Place(c.address, c.port or DNS, on.get(c.address)) for c in decision.choices)
            return _Places(at, masqueraded=decision.masqueraded)
    if ready and entry is not None:
        return _Places(tuple(_Place(e.address, e.port(entry.name) or DNS, e.node or None) for e in ready))
    if not asked:
        return _Places(())
    return _elsewhere(scene, server)


def _elsewhere(scene: Scene, server: str) -> _Places:
    """The place of a server that no rule and no Service is about."""
    address = ip_address(server)
    if address.is_link_local:  # a cache on the node itself (node-local-dns)
        return _Places(())
    itself = address.is_global or scene.pod_at(server) is not None or scene.node_at(server) is not None
    if itself or scene.in_pod_range(server):
        return _Places((_Place(server),), translated=False)
    return _Places((_Place(server, node=""),), known=False)

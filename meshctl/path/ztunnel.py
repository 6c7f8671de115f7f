"""The caller's ztunnel: it chooses the endpoint itself, and tunnels where the other end can."""

from collections.abc import Mapping
from dataclasses import replace

from meshctl.kube.services import Service
from meshctl.path import kube_proxy, network, rules
from meshctl.path.ambient import HBONE_PORT, REDIRECTION, Ztunnel, told
from meshctl.path.model import Cause, End, Evidence, Hop
from meshctl.path.outcome import Course, untold
from meshctl.path.passage import drop
from meshctl.path.scene import Owner, Scene, Station
from meshctl.path.wire import Connection
from meshctl.words import show_address


def outbound(scene: Scene, station: Station, address: str, port: int, conn: Connection) -> list[Course]:
    """What the caller's ztunnel does: it chooses the endpoint itself, and tunnels where the other end can."""
    ztunnel = told(scene, station)
    service = scene.services.at(address)
    if service is not None and service.port(port) is None:
        why = f"Service {service.namespace}/{service.name} has no port {port}, so nothing answers there"
        return [_cut(station, why, "no-port")]
    known = kube_proxy.endpoints_of(scene, address, port)
    if known is not None and not known:
        why = f"the Service at {show_address(address, port)} has no ready endpoints, so ztunnel cuts the connection"
        return [_cut(station, why, "no-endpoint")]
    places = known or ((address, port, 1.0),)
    courses: list[Course] = []
    for place, number, chance in places:
        tunnel = _speaks_hbone(scene, ztunnel, place)
        layer = "mtls" if tunnel else conn.layer
        opened = replace(
            conn,
            layer=layer,
            principal=scene.principal(station) if tunnel else None,
            by_proxy=True,
            depth=conn.depth + 1,
        )
        waypoint, asks = _waypoint(scene, ztunnel, address, service)
        hop = _outbound_hop(station, ztunnel, place, number, tunnel, waypoint)
        if waypoint:
            why = f"{asks} asks for waypoint {waypoint}: its decision is not modelled"
            courses.append(Course(chance, untold(why, through_server=None), (hop,), endpoint=f"waypoint {waypoint}"))
            continue
        passage = rules.outbound(scene, station, _ZTUNNEL, place, HBONE_PORT if tunnel else number, rules.ZTUNNEL_MARK)
        if (passage.kind in ("dropped", "undecided") or passage.to is not None) and station.rules_from != "none":
            end = drop(passage) if passage.kind == "dropped" else untold(passage.why, through_server=None)
            courses.append(Course(chance, end, (hop, passage.hop), endpoint=f"{place}:{number}"))
            continue
        courses += [
            replace(course, probability=course.probability * chance, hops=(hop, *course.hops))
            for course in network.across(scene, station, place, number, opened, tunnel=tunnel)
        ]
    return [replace(c, end=_reset(c.end)) for c in courses]


_ZTUNNEL = Owner(None, None, "ztunnel")


def _waypoint(scene: Scene, ztunnel: Ztunnel | None, address: str, service: Service | None) -> tuple[str, str]:
    """The waypoint that a connection goes by, and who asks for it; empty for none.

    What is sent to a Service goes by the Service's, what is sent to a workload's own address by the workload's
    (istio/ztunnel, ``src/proxy/outbound.rs``, build_request).
    """
    if ztunnel is not None:
        if service is not None or address in ztunnel.service_waypoints:
            return ztunnel.service_waypoints.get(address, ""), "the Service"
        workload = ztunnel.workloads.get(address)
        return (workload.waypoint if workload is not None else ""), "the workload"
    if service is not None:
        return _by_label(scene, dict(service.labels), service.namespace, "service"), "the Service"
    pod = scene.pod_at(address)
    return (_by_label(scene, pod.labels, pod.namespace, "workload") if pod is not None else ""), "the workload"


def _by_label(scene: Scene, labels: Mapping[str, str], namespace: str, wanted: str) -> str:
    """The waypoint that labels ask for, of the object, else of its namespace; empty for none, or one that is not there.

    A waypoint serves Services unless its own label says otherwise (``istio.io/waypoint-for``).
    """
    label = "istio.io/use-waypoint"
    asked = labels if label in labels else scene.namespace_labels.get(namespace, {})
    name = asked.get(label, "none")
    place = asked.get(f"{label}-namespace", namespace)
    if name == "none":
        return ""
    own = scene.services.named(name, place)
    if own is None and not scene.services_gap:
        return ""
    serves = dict(own.labels).get("istio.io/waypoint-for", "service") if own is not None else wanted
    return f"{place}/{name}" if serves in (wanted, "all") else ""


def _cut(station: Station, why: str, cause: Cause) -> Course:
    hop = Hop("ztunnel", "caller", station.pod.node, "ztunnel, the node's proxy", why, (), (), "bad")
    return Course(1.0, End("nobody", delivered=False, mtls=None, broken="reset", why=why, cause=cause), (hop,))


def _reset(end: End) -> End:
    """The application is connected to ztunnel before ztunnel reaches the other end, so every failure is a reset."""
    return replace(end, broken="reset") if end.broken in ("refused", "timeout", "tls") else end


def _speaks_hbone(scene: Scene, ztunnel: Ztunnel | None, address: str) -> bool:
    if ztunnel is not None and address in ztunnel.workloads:
        return ztunnel.workloads[address].tunnel
    pod = scene.pod_at(address)
    return pod is not None and pod.annotations.get(REDIRECTION) == "enabled"


def _outbound_hop(
    station: Station, ztunnel: Ztunnel | None, address: str, port: int, tunnel: bool, waypoint: str
) -> Hop:
    facts = ["ztunnel balances connections itself: kube-proxy's rules are not asked"]
    facts += [f"by waypoint {waypoint}"] if waypoint else []
    facts += [] if ztunnel else ["assumed from the pods' annotations: ztunnel's configuration was not recorded"]
    how = "in a tunnel of mutual TLS (HBONE, port 15008)" if tunnel else "as plain TCP: the other end has no ztunnel"
    proof = (Evidence(ztunnel.source, "workloads", address),) if ztunnel else ()
    said = f"sends it to {show_address(address, port)} {how}"
    if waypoint:
        said = f"sends it to waypoint {waypoint} in a tunnel of mutual TLS (HBONE), which chooses the endpoint"
    return Hop("ztunnel", "caller", station.pod.node, "ztunnel, the node's proxy", said, tuple(facts), proof)

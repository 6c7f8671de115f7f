"""The callee's side: what took the connection there, and its proxy's inbound decision."""

from dataclasses import replace
from typing import Literal

from meshctl.envoy.match import Query, match
from meshctl.envoy.model.clusters import Cluster
from meshctl.frozen import dataclass
from meshctl.path import (
    ambient,
    decision_hops,
    entering,
    handshake,
    policies,
    rules,
    sockets,
    stale,
    to_app,
    wants,
    wire,
)
from meshctl.path.decision import Decision, Refusal, of_match
from meshctl.path.model import End, Request
from meshctl.path.netns import listens
from meshctl.path.outcome import Course, at_callee, untold
from meshctl.path.passage import Passage, drop, straight
from meshctl.path.scene import Owner, Scene, Station
from meshctl.path.wire import Connection
from meshctl.words import show_address

ADMIN_PORT = 15000
"""Where Istio has Envoy's admin interface (``proxyAdminPort``): no listener of the configuration."""


def at_pod(scene: Scene, station: Station, address: str, port: int, conn: Connection, passage: Passage) -> list[Course]:
    """What happens to a connection that reached a pod's namespace, its rules having been walked (`passage`)."""
    match passage.kind:
        case "proxy":
            courses = _through_proxy(scene, station, address, port, conn, passage)
        case "straight":
            courses = _to_socket(scene, station, address, port, conn)
        case "ztunnel":
            courses = _through_ztunnel(scene, station, address, port, conn)
        case "dropped":
            courses = [Course(1.0, drop(passage))]
        case "undecided":
            courses = [Course(1.0, untold(passage.why, through_server=None, mtls=conn.mtls))]
    return [
        replace(c, hops=(passage.hop, *c.hops), endpoint=show_address(address, port), pod=station.key) for c in courses
    ]


def through_tunnel(
    scene: Scene, station: Station, address: str, port: int, conn: Connection, passage: Passage
) -> list[Course]:
    """What happens to a connection inside of HBONE that reached an ambient pod, whose rules saw the tunnel's port."""
    if passage.kind in ("dropped", "undecided"):
        return at_pod(scene, station, address, port, conn, passage)
    opens = station.sockets is None or listens(station.sockets, address, ambient.HBONE_PORT) is not None
    if passage.kind != "straight" and passage.port != ambient.HBONE_PORT:
        why = f"the rules of {station.key} send tunnels to port {passage.port}, which takes none ({passage.why})"
        courses = [Course(1.0, End("nobody", delivered=False, broken="reset", mtls=None, why=why, cause="rules"))]
    elif not opens:
        why = f"nothing listens on port {ambient.HBONE_PORT} in {station.key}: ztunnel did not take the pod over"
        courses = [
            Course(1.0, End("nobody", delivered=False, broken="refused", mtls=None, why=why, cause="proxy-down"))
        ]
    else:
        courses = _through_ztunnel(scene, station, address, port, conn)
    return [
        replace(c, hops=(passage.hop, *c.hops), endpoint=show_address(address, port), pod=station.key) for c in courses
    ]


def _through_ztunnel(scene: Scene, station: Station, address: str, port: int, conn: Connection) -> list[Course]:
    hop, end = ambient.inbound(scene, station, address, port, conn)
    if end is not None:
        return [Course(1.0, end, (hop,))]
    passed = rules.to_application(
        scene, station, Owner(None, None, "ztunnel"), conn.source or "", address, port, rules.ZTUNNEL_MARK
    )
    if passed is not None and passed.kind != "straight":
        why = f"ztunnel's connection to the application fails: {passed.why}"
        end = End("nobody", delivered=False, broken="reset", mtls=conn.mtls, why=why, cause="rules")
        end = untold(passed.why, mtls=conn.mtls) if passed.kind == "undecided" else end
        return [Course(1.0, end, (hop, passed.hop))]
    passage = straight(station, "ztunnel delivers to the application inside the pod's namespace")
    inner = replace(conn, layer="tls" if conn.request.tls else "plaintext")
    found = at_pod(scene, station, address, port, inner, passage)
    return [
        replace(c, hops=(hop, *c.hops), end=replace(c.end, mtls=conn.mtls if c.end.delivered else c.end.mtls))
        for c in found
    ]


def _through_proxy(
    scene: Scene, station: Station, address: str, port: int, conn: Connection, passage: Passage
) -> list[Course]:
    if (down := sockets.not_up(station, address, passage.port)) is not None:
        return [Course(1.0, down)]
    decisions = _decisions(scene, station, address, port, conn)
    courses: list[Course] = []
    for decision in decisions:
        decision = handshake.judged(scene, station, conn, _named(scene, station, port, conn, decision))
        told = stale.of_inbound(scene, station, port, conn, decision)
        ended = _decided(scene, station, address, port, conn, decision, passage.transparent)
        courses += [replace(c, hops=(stale.marked(c.hops[0], told), *c.hops[1:])) for c in ended]
    return courses


def _named(scene: Scene, station: Station, port: int, conn: Connection, decision: Decision) -> Decision:
    """The decision with the resource behind a refusal, where the proxy's configuration does not name it."""
    refusal = decision.refusal
    if refusal is None:
        return decision
    if refusal.status is None and conn.layer != "mtls" and "NR" in refusal.flags:
        why = wants.strict(scene, station.pod, port, conn.layer)
        if not why and conn.layer == "plaintext":
            why = f"the callee's proxy takes no plain text on port {port} ({refusal.why})"
        return replace(decision, refusal=replace(refusal, why=why, cause="strict")) if why else decision
    if "no ALLOW policy" in refusal.why:
        names = wants.allowing(scene, station.pod)
        why = f"no rule of {names} allows it" if names else refusal.why
        return replace(decision, refusal=replace(refusal, why=why, cause="policy"))
    return decision


def _decisions(scene: Scene, station: Station, address: str, port: int, conn: Connection) -> tuple[Decision, ...]:
    request = conn.request
    if station.proxy is None:
        return (policies.inbound(scene, station, port, conn),)
    protocol = "tcp" if request.tls and conn.layer == "mtls" else request.protocol
    query = wire.query(conn, "inbound", address, port, scene.now, protocol)
    return _once_for_all(scene, station, query, request)


def _once_for_all(scene: Scene, station: Station, query: Query, request: Request) -> tuple[Decision, ...]:
    """The callee's decision, taken once for all senders where its proxy does not look at who they are."""
    assert station.proxy is not None
    key = ("decided", station.key, replace(query, source=None, principal=None), request)
    first = scene.cache.get(key)
    if isinstance(first, _Taken) and (first.query == query or not station.proxy.asks_who("inbound")):
        return first.decisions
    taken = _Taken(query, of_match(match(station.proxy, query), request))
    scene.cache.setdefault(key, taken)
    return taken.decisions


@dataclass(frozen=True, slots=True)
class _Taken:
    """A callee's decisions, and for whom they were taken."""

    query: Query
    decisions: tuple[Decision, ...]


def _decided(
    scene: Scene,
    station: Station,
    address: str,
    port: int,
    conn: Connection,
    decision: Decision,
    transparent: bool,
) -> list[Course]:
    hops = (decision_hops.receiving(station, decision),)
    ends: list[Course] = []
    if decision.undecided:
        end = untold(decision.undecided[0], through_server=True, mtls=conn.mtls)
        return [Course(decision.probability, replace(end, undecided=decision.undecided), hops)]
    if decision.refusal is not None:
        return [Course(decision.probability, refused(conn, decision), hops)]
    left = decision.probability
    for injected in decision.injected:
        if injected.status is not None:
            told = injected.grpc_status
            end = at_callee(injected.status, injected.flags, injected.why, conn.mtls, "fault", told)
            ends.append(Course(left * injected.share, end, hops))
            left *= 1 - injected.share
    for option in decision.options:
        course = _upstream(scene, station, option.cluster, address, port, conn, decision, transparent)
        ends.append(replace(course, probability=left * option.probability, hops=(*hops, *course.hops)))
    return ends


def refused(conn: Connection, decision: Decision) -> End:
    """How a connection ends that the callee's proxy refuses, or answers itself."""
    refusal = decision.refusal
    assert refusal is not None
    flags, why, cause = refusal.flags, refusal.why, refusal.cause
    cause = cause or ("no-route" if "NR" in flags.split(",") else "")
    if conn.request.tls and "DPE" in flags.split(","):  # its plain answer is no TLS: the client cannot read it
        return at_callee(None, flags, why, conn.mtls, cause)
    if refusal.status is not None:
        return at_callee(refusal.status, flags, why, conn.mtls, cause, refusal.grpc_status)
    mtls = conn.mtls if _stood(conn, decision, refusal) else None
    return replace(at_callee(None, flags, why, mtls, cause), broken=_cut(conn, refusal))


def _stood(conn: Connection, decision: Decision, refusal: Refusal) -> bool:
    """Whether the sender's transport stood before the connection was refused: plain text always does."""
    if conn.layer == "plaintext" or refusal.kind == "filter":
        return True
    return refusal.kind != "handshake" and (conn.layer == "tls" or decision.terminated or decision.assumed)


def _cut(conn: Connection, refusal: Refusal) -> Literal["reset", "tls"]:
    """How a proxy that made the handshake itself sees a refusal: a handshake that fails is no connection (UF).

    In TLS 1.3 a missing certificate is noticed by the callee only after the caller has sent its request: a reset (UC).
    """
    begun = conn.handshake == "TLSv1_3" and refusal.late
    return "tls" if refusal.kind == "handshake" and conn.handshake and not begun else "reset"


def _upstream(
    scene: Scene,
    station: Station,
    cluster_name: str,
    address: str,
    port: int,
    conn: Connection,
    decision: Decision,
    transparent: bool,
) -> Course:
    """The proxy's own connection to the application."""
    places = _places(station, cluster_name, address, port, decision)
    if places is None:
        why = f"the proxy has no cluster {cluster_name}"
        return Course(1.0, at_callee(None if decision.tcp else 503, "NC", why, conn.mtls, "no-cluster"))
    if not places:
        why = f"{cluster_name} is not reached over TCP on an address that was recorded"
        return Course(1.0, untold(why, through_server=True, mtls=conn.mtls))
    host, number = places[0]
    inside = conn.request.tls if conn.layer == "mtls" else conn.layer == "tls" and not decision.terminated
    passed = to_app.passage(scene, station, cluster_name, host, number, conn, transparent)
    back = to_app.own(conn, station, cluster_name, host, inside)
    back = replace(back, request=decision.forwarded or conn.request)
    if passed is not None and (
        ended := to_app.stopped(passed, conn, decision, lambda: _decisions(scene, station, host, number, back))
    ):
        return ended
    if passed is not None and passed.to is not None:
        host, number = passed.to
    if station.sockets is None:
        return sockets.by_log(scene, station, host, number, conn, inside)
    found = listens(station.sockets, host, number)
    hop = sockets.socket_hop(station, host, number, found)
    hop = replace(hop, facts=(*to_app.facts(passed, host), *hop.facts))
    program = (found.program if found is not None else "") or "the application"
    if (
        found is not None
        and sockets.is_listener(station, found)
        and (why := _own_refusal(scene, station, host, number, conn))
    ):
        cut = at_callee(None, "", why, conn.mtls) if decision.tcp else at_callee(503, "UC", why, conn.mtls)
        return Course(1.0, cut, (hop,))
    if found is not None and _reaches_the_app(conn, decision):
        declared = not sockets.encrypted(scene, station, address, number, program)
        return Course(1.0, _by_the_app(program, port, declared=declared), (hop,))
    if found is not None:
        if inside and (why := sockets.encrypted(scene, station, address, number, program)):
            return Course(1.0, untold(why, through_server=True, mtls=conn.mtls), (hop,))
        end = End("app", None, "", "", True, False, True, conn.mtls, why=f"{program} answers")
        return Course(1.0, end, (hop,))
    why = sockets.nobody_listens(station, host, number)
    return Course(1.0, to_app.unconnected(conn, decision, why, "nobody-listens"), (hop,))


def _reaches_the_app(conn: Connection, decision: Decision) -> bool:
    """Whether a sender's mutual TLS goes through the callee's proxy as it is: a TCP proxy without TLS of its own."""
    return conn.layer == "mtls" and conn.by_proxy and not (decision.terminated or decision.assumed)


def _by_the_app(program: str, port: int, *, declared: bool) -> End:
    """What an application makes of the mesh's mutual TLS; `declared`: a Service or the pod says that it speaks TLS."""
    if declared:
        why = f"mutual TLS of the mesh reaches {program} as it is: whether {program} has a certificate that the caller"
        return untold(f"{why} takes is not recorded", through_server=True)
    why = f"mutual TLS of the mesh reaches {program}, which does not speak it"
    why = f"{why}: its proxy does not end TLS on port {port}"
    return End("nobody", delivered=False, through_server=True, mtls=None, broken="tls", why=why, cause="mutual-tls")


def _own_refusal(scene: Scene, station: Station, host: str, number: int, conn: Connection) -> str:
    """Why the proxy closes a connection of its own to one of its own listeners; empty where it does not."""
    own = replace(conn, source=None, sender=None, layer="plaintext")
    ends = [course.end for course in entering.at_listener(scene, station, host, number, own)]
    return ends[0].why if ends and all(end.broken == "reset" for end in ends) else ""


def _places(
    station: Station, cluster_name: str, address: str, port: int, decision: Decision
) -> list[tuple[str, int]] | None:
    """Where the proxy connects to for an inbound cluster; None where the cluster is not there, empty if unknown."""
    if station.proxy is None or decision.assumed:
        return _ingress(decision.endpoint, address, port)
    cluster = station.proxy.cluster(cluster_name)
    if cluster is None:
        return None
    if cluster.type == "ORIGINAL_DST":
        return [(address, cluster.port_override or port)]
    return _static(station, cluster)


def _ingress(endpoint: str, address: str, port: int) -> list[tuple[str, int]]:
    """Where a Sidecar's ingress leads: ``0.0.0.0:PORT`` is the pod's own address; none for a Unix socket."""
    host, _, number = endpoint.rpartition(":")
    if not endpoint:
        return [(address, port)]
    if endpoint.startswith("unix:") or not number.isdecimal():
        return []
    return [(address if host in ("0.0.0.0", "[::]") else host.strip("[]"), int(number))]


def _static(station: Station, cluster: Cluster) -> list[tuple[str, int]]:
    assert station.proxy is not None
    found = station.proxy.endpoints(cluster) or ()
    return [(e.address.host, e.address.port) for e in found if e.address.kind == "socket"]


def _to_socket(scene: Scene, station: Station, address: str, port: int, conn: Connection) -> list[Course]:
    """A connection that no rule hands to a proxy: it reaches what listens there, which may be the proxy itself."""
    found = listens(station.sockets, address, port) if station.sockets is not None else None
    if found is not None and found.program == "ztunnel":
        why = f"port {port} is ztunnel's own: it takes only what the rules and other ztunnels send there"
        hop = sockets.socket_hop(station, address, port, found)
        mtls = conn.mtls if conn.layer == "plaintext" else None
        end = End("nobody", delivered=False, broken="reset", mtls=mtls, why=why)
        return [Course(1.0, end, (replace(hop, decision=why, mood="bad"),))]
    if found is not None and sockets.is_listener(station, found):
        return entering.at_listener(scene, station, address, port, conn)
    if found is not None and sockets.is_proxys(station, found) and station.proxy is None and port != ADMIN_PORT:
        gap = station.gaps.get("envoy/config_dump.json", "its configuration was not recorded")
        why = f"the proxy itself listens on port {port}, and what it does there cannot be told: {gap}"
        return [
            Course(
                1.0,
                untold(why, through_server=True, mtls=conn.mtls),
                (sockets.socket_hop(station, address, port, found),),
            )
        ]
    return [sockets.to_app(scene, station, address, port, conn, found)]

"""Between the pods: from the sender's interface past kube-proxy to a pod, a node or the world outside."""

from dataclasses import replace

from meshctl.path import entering, forwarding, kube_proxy, lifetime, network_policies, rules, server, sockets
from meshctl.path.ambient import HBONE_PORT
from meshctl.path.hosts import ANYWHERE
from meshctl.path.model import End, Hop, KubeProxy, succeeds
from meshctl.path.netns import is_loopback, listens
from meshctl.path.network_policies import Isolation
from meshctl.path.node_walk import Flow
from meshctl.path.outcome import Course, unsure, untold
from meshctl.path.passage import drop, straight
from meshctl.path.scene import Owner, Scene, Station
from meshctl.path.wire import Connection
from meshctl.words import show_address

MOST_PROXIES = 4
"""A request that passes more proxies than this is going in circles."""


def onto_network(
    scene: Scene,
    station: Station | None,
    owner: Owner | None,
    address: str,
    port: int,
    conn: Connection,
    tunnel: bool = False,
) -> list[Course]:
    """What happens to a connection that leaves a pod (its own rules included), up to its end.

    `tunnel`: it is inside of HBONE, whose port the packets go to.
    """
    if conn.depth > MOST_PROXIES:
        why = "the request goes in circles between proxies"
        return [Course(1.0, End("nobody", delivered=False, broken="reset", mtls=None, why=why))]
    own = station is not None and (is_loopback(address) or address in (*station.pod.ips, station.pod.ip))
    if station is not None and owner is not None and (own or conn.by_proxy):
        if not own and not station.pod.host_network and (why := rules.no_route(station, address)):
            hop = Hop("rules", "caller", station.key, "routing", why, (), (), "bad")
            return [Course(1.0, End("nobody", delivered=False, broken="refused", mtls=None, why=why), (hop,))]
        passage = rules.outbound(scene, station, owner, address, HBONE_PORT if tunnel else port)
        if passage.to is not None:
            address, port = passage.to
            own = is_loopback(address) or address in (*station.pod.ips, station.pod.ip)
        if own:
            return server.at_pod(scene, station, address, port, conn, passage)
        if passage.kind == "dropped":
            return [Course(1.0, drop(passage), (passage.hop,))]
        if passage.kind == "undecided" and station.rules_from != "none":
            return [Course(1.0, untold(passage.why, through_server=None), (passage.hop,))]
        if passage.kind == "proxy" and station.mode != "gateway":
            why = f"the rules send the proxy's own connection back to it ({passage.why})"
            return [Course(1.0, End("nobody", delivered=False, broken="reset", mtls=None, why=why), (passage.hop,))]
    if tunnel:
        return across(scene, station, address, port, conn, tunnel=True)
    return beyond(scene, station, address, port, conn)


def beyond(scene: Scene, station: Station | None, address: str, port: int, conn: Connection) -> list[Course]:
    """From the pod's interface on: kube-proxy on the node where the address is a Service's, then the other end."""
    node = station.pod.node if station is not None else (scene.nodes[0] if scene.nodes else "")
    if (sent := forwarding.sent_elsewhere(scene, station, address, port)) is not None:
        told = KubeProxy(False if sent.to is not None else None, sent.why)
        return [replace(c, kube_proxy=told) for c in _sent_on(scene, station, sent, (address, port), conn)]
    choice = kube_proxy.choose(scene, node, station, address, port)
    if choice is None:
        if (sent := forwarding.by_host_port(scene, station, address, port)) is not None:
            return _sent_on(scene, station, sent, (address, port), replace(conn, source=None))
        return across(scene, station, address, port, conn)
    return _chosen(scene, station, choice, address, port, conn)


def on_nodes_loopback(scene: Scene, station: Station, address: str, port: int, conn: Connection) -> list[Course] | None:
    """What a node's rules make of a connection to its loopback (a NodePort); None: it is for who listens there."""
    choice = kube_proxy.choose(scene, station.pod.node, station, address, port)
    if choice is not None:
        return _chosen(scene, station, choice, address, port, conn)
    if (sent := forwarding.on_loopback(scene, station, address, port)) is not None:
        return _sent_on(scene, station, sent, (address, port), conn)
    return None


def _chosen(
    scene: Scene, station: Station | None, choice: kube_proxy.NodeChoice, address: str, port: int, conn: Connection
) -> list[Course]:
    """What becomes of a connection that kube-proxy sends to one of a Service's endpoints, or ends."""
    if choice.end is not None:
        return [Course(1.0, choice.end, (choice.hop,), kube_proxy=choice.answer)]
    courses: list[Course] = []
    for place, number, chance in choice.places:
        courses += [
            replace(
                course,
                probability=course.probability * chance,
                end=_if_translated(course.end, choice.answer),
                hops=(choice.hop, *course.hops),
                kube_proxy=choice.answer,
            )
            for course in across(
                scene,
                station,
                place,
                number,
                _masqueraded(scene, station, address, place, conn),
                masqueraded=choice.masqueraded,
                asked=(address, port),
            )
        ]
    return courses


def _sent_on(
    scene: Scene, station: Station | None, sent: forwarding.Sent, asked: tuple[str, int], conn: Connection
) -> list[Course]:
    """What comes of a connection that a node's rules give another destination than the one `asked` for."""
    if sent.to is None:
        return [Course(1.0, untold(sent.why, through_server=None), (sent.hop,))]
    return [replace(c, hops=(sent.hop, *c.hops)) for c in across(scene, station, *sent.to, conn, asked=asked)]


def _if_translated(end: End, answer: KubeProxy) -> End:
    """An end behind a Service's address: where nothing is known to translate that, a success is not sure."""
    return _if_so(end, answer.why) if answer.used is None else end


def _if_so(end: End, doubt: str) -> End:
    """An end of which a success is not sure."""
    return unsure(end, doubt) if succeeds(end) is not False else end


def across(
    scene: Scene,
    station: Station | None,
    place: str,
    port: int,
    conn: Connection,
    *,
    tunnel: bool = False,
    masqueraded: bool = False,
    asked: tuple[str, int] | None = None,
) -> list[Course]:
    """From the sender's interface over its node, and that of the other end, to the other end itself.

    `asked`: what was called, where the sender's node gave the connection this place instead.
    """
    doubt = ""
    if station is not None:
        number = HBONE_PORT if tunnel else port
        flow = Flow(station, place, number, asked=asked, masqueraded=masqueraded)
        there = _node_of(scene, place)
        kept = forwarding.kept_back(scene, flow, there)
        if kept is not None:
            return [kept]
        doubt = forwarding.unread(scene, flow, there)
    courses = arrive(scene, place, port, conn, tunnel=tunnel)
    if doubt:
        courses = [replace(c, end=_if_so(c.end, doubt)) for c in courses]
    for isolation in network_policies.between(scene, station, conn.source, place, HBONE_PORT if tunnel else port):
        courses = [_isolated(course, isolation) for course in courses]
    return courses


def _node_of(scene: Scene, place: str) -> str:
    """The node that has an address itself, or the pod with it; empty where it is nobody's that was recorded."""
    pod, node = scene.pod_at(place), scene.node_at(place)
    return pod.node if pod is not None else node.name if node is not None else ""


def _isolated(course: Course, isolation: Isolation) -> Course:
    """A course past NetworkPolicies: where they may keep it back, only that no packet comes back is sure."""
    passed = replace(course, hops=(isolation.hop, *course.hops))
    if not isolation.doubt:
        return passed
    end = course.end
    if end.broken != "timeout":
        end = unsure(replace(end, through_server=None if end.through_server else end.through_server), isolation.doubt)
    return replace(passed, end=end, restricted=(*course.restricted, isolation.doubt))


def _masqueraded(scene: Scene, station: Station | None, address: str, place: str, conn: Connection) -> Connection:
    """The connection as the other end sees it: from the node, where it is to the sender itself or not to a cluster IP.

    Source: kube-proxy's ``KUBE-MARK-MASQ`` in its chains of endpoints and of external addresses; which of its addresses
    the node takes is not known.
    """
    service = scene.services.at(address)
    own = station is not None and place in (*station.pod.ips, station.pod.ip)
    inside = service is not None and address in service.addresses
    return replace(conn, source=None) if own or not inside else conn


def arrive(scene: Scene, address: str, port: int, conn: Connection, *, tunnel: bool = False) -> list[Course]:
    """What happens at an address that is nobody's but its owner's: a pod, a node, or the world outside."""
    pod = scene.pod_at(address)
    if pod is not None:
        station = scene.station(pod)
        if tunnel and station.mode == "ambient":
            passage = rules.inbound(scene, station, conn.source, address, HBONE_PORT)
            return server.through_tunnel(scene, station, address, port, conn, passage)
        passage = rules.inbound(scene, station, conn.source, address, port)
        if passage.to is not None and scene.pod_at(passage.to[0]) is not pod and not is_loopback(passage.to[0]):
            why = f"the rules of {station.key} send it on to {show_address(*passage.to)}: what comes of it there "
            why += "is not modelled"
            return [Course(1.0, untold(why, through_server=None), (passage.hop,))]
        address, port = passage.to or (address, port)
        if passage.kind == "straight" and station.mode == "gateway" and _is_gateway_port(station, port):
            return entering.at_gateway(scene, station, address, port, conn, passage.hop)
        return server.at_pod(scene, station, address, port, conn, passage)
    ended = scene.ended_at(address)
    found = lifetime.at_ended(scene, scene.station(ended), address) if ended is not None else None
    if found := found or lifetime.at_deleted(scene, address):
        end, mood = found
        hop = Hop("endpoint", "network", address, show_address(address, port), end.why, (), (), mood)
        return [Course(1.0, end, (hop,), endpoint=show_address(address, port))]
    return [_outside(scene, address, port, conn)]


def _is_gateway_port(station: Station, port: int) -> bool:
    if port in (15020, 15021, 15090):
        return False
    if station.sockets is not None:
        found = listens(station.sockets, station.pod.ip, port)
        if found is None or found.program not in ("envoy", ""):
            return False
    return station.proxy is None or bool(sockets.bound(station, port))


def _outside(scene: Scene, address: str, port: int, conn: Connection) -> Course:
    if address in ANYWHERE:
        why = "which address the name resolves to, and whether it answers, is not recorded"
        hop = Hop("endpoint", "network", "outside", f"port {port}", why, (), (), "warn")
        end = untold(why, mtls=conn.mtls)
        return Course(1.0, end, (hop,))
    node = scene.node_at(address)
    if node is not None:
        if (owner := _of_node(scene, node.name, address, port)) is not None:
            station, own = owner
            course = _on_host(scene, station, address, port, conn)
            return course if own else _at_node(course, node.name)
        why = f"{address} is node {node.name}: whether something listens there on port {port} is not recorded"
    elif (service := scene.services.at(address)) is not None:
        why = f"{address} is Service {service.namespace}/{service.name}'s, but the node's rules have nothing about it"
        if service.port(port) is None:
            why = f"Service {service.namespace}/{service.name} has no port {port} at {address}: who else answers there "
            why += "is not recorded"
    elif named := scene.endpoint_pod(address):
        why = f"{address} is pod {named}, which was not recorded: what it does with the connection cannot be told"
    elif owner_name := scene.endpoint_of(address):
        why = f"{address} is an endpoint of Service {owner_name}, and no pod that was recorded has it: whether it "
        why += f"answers on port {port} is not known"
    elif scene.in_pod_range(address):
        why = f"{address} is in the pods' range, but no pod that can be seen has it"
    elif scene.services.in_range(address):
        why = f"{address} is in the range of the Services' addresses, and no Service has it: most likely nothing "
        why += f"answers there, but whether another network has it, and port {port} there, is not recorded"
    else:
        why = f"{address} is outside of the cluster: whether it answers on port {port} is not recorded"
    inside = bool(scene.endpoint_of(address) or scene.services.at(address)) or scene.in_pod_range(address)
    through = (conn.layer == "mtls" or None) if inside else False
    end = untold(why, through_server=through, mtls=conn.mtls)
    hop = Hop("endpoint", "network", address, show_address(address, port), why, (), (), "warn")
    return Course(1.0, end, (hop,), endpoint=show_address(address, port))


def _of_node(scene: Scene, node: str, address: str, port: int) -> tuple[Station, bool] | None:
    """The pod on a node's own network that answers there: the one that listens, or that says so in its spec.

    The sockets of one such pod are all of the node's, so where none listens, any of them tells that nobody does, or
    that a process of no pod does: the second value says whether it is the pod's own matter.
    """
    stations = [scene.station(pod) for pod in scene.pods_of_node_network(node) if pod.phase in ("", "Running")]
    named = [s for s in stations if any(port == p.number for c in s.pod.containers for p in c.ports)]
    seeing = [s for s in stations if s.sockets is not None]
    by_socket = [
        s for s in seeing if (one := listens(s.sockets or (), address, port)) and one.container in s.containers
    ]
    if by_socket or named:
        return (*by_socket, *named)[0], True
    return (seeing[0], False) if seeing else None


def _at_node(course: Course, node: str) -> Course:
    """What a pod's view of its node's sockets tells, as the node's own matter."""
    hops = tuple(replace(hop, where="node", at=node) for hop in course.hops if hop.kind != "rules")
    return replace(course, hops=hops, pod="")


def _on_host(scene: Scene, station: Station, address: str, port: int, conn: Connection) -> Course:
    passage = straight(station, "the pod uses the node's network: no rules of a mesh there")
    found = server.at_pod(scene, station, address, port, conn, passage)
    return found[0]

"""The callee's side: its rules, its proxy's inbound decision, and the socket at the end."""

from dataclasses import replace
from typing import Literal

from meshctl.envoy.match import Query, match
from meshctl.envoy.model import Cluster
from meshctl.frozen import dataclass
from meshctl.path import policies, stale, wants
from meshctl.path.decision import Decision, evidence, of_match
from meshctl.path.model import End, Evidence, Hop, Request
from meshctl.path.netns import Socket, is_loopback, listens
from meshctl.path.outcome import Course, retries_on
from meshctl.path.rules import Passage
from meshctl.path.scene import Scene, Station
from meshctl.path.wire import Connection

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
            from meshctl.path import ambient

            courses = ambient.inbound(scene, station, address, port, conn)
        case "dropped":
            broken: Literal["refused", "timeout"] = "refused" if passage.refused else "timeout"
            end = End("nobody", delivered=False, broken=broken, mtls=None, why=passage.why, cause="rules")
            courses = [Course(1.0, end)]
        case "undecided":
            courses = [Course(1.0, _unknown(conn, passage.why, through=None))]
    at = f"{station.pod.namespace}/{station.pod.name}"
    return [replace(c, hops=(passage.hop, *c.hops), endpoint=f"{address}:{port}", pod=at) for c in courses]


def _unknown(conn: Connection, why: str, *, through: bool | None) -> End:
    return End(None, delivered=None, through_server=through, mtls=conn.mtls, why=why, undecided=(why,))


# --- through the callee's proxy --------------------------------------------------------------------------------------


def _through_proxy(
    scene: Scene, station: Station, address: str, port: int, conn: Connection, passage: Passage
) -> list[Course]:
    if station.sockets is not None and passage.port and listens(station.sockets, _own(station), passage.port) is None:
        why = f"the rules send it to port {passage.port}, but nothing listens there: the proxy is not up"
        end = End("nobody", delivered=False, broken="refused", mtls=None, why=why, cause="proxy-down")
        return [Course(1.0, end)]
    decisions = _decisions(scene, station, address, port, conn)
    courses: list[Course] = []
    for decision in decisions:
        decision = _named(scene, station, port, conn, decision)
        told = stale.of_inbound(scene, station, port, conn, decision)
        ended = _decided(scene, station, address, port, conn, decision)
        courses += [replace(c, hops=_marked(c.hops, told)) for c in ended] if told else ended
    return courses


def _marked(hops: tuple[Hop, ...], told: str) -> tuple[Hop, ...]:
    first = replace(hops[0], stale=told, facts=(*hops[0].facts, f"not up to date: {told}"))
    return (first, *hops[1:])


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
    if "policy[none]" in refusal.details or "no ALLOW policy" in refusal.why:
        names = wants.allowing(scene, station.pod)
        why = f"no rule of {names} allows it" if names else refusal.why
        return replace(decision, refusal=replace(refusal, why=why, cause="policy"))
    return decision


def _own(station: Station) -> str:
    return station.pod.ip or "0.0.0.0"


def _decisions(scene: Scene, station: Station, address: str, port: int, conn: Connection) -> tuple[Decision, ...]:
    request = conn.request
    if station.proxy is None:
        return (policies.inbound(scene, station, port, conn),)
    inner_tls = request.tls and conn.layer == "mtls"
    query = Query(
        direction="inbound",
        address=address,
        port=port,
        protocol="tcp" if inner_tls else request.protocol,
        tls=conn.layer,
        host=request.host or None,
        path=request.path,
        method=request.method,
        headers=request.headers,
        sni=conn.sni or None,
        alpn=conn.alpn,
        source=conn.source,
        principal=conn.principal,
        at=scene.now,
    )
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
    scene: Scene, station: Station, address: str, port: int, conn: Connection, decision: Decision
) -> list[Course]:
    hops = (_inbound_hop(station, decision),)
    ends: list[Course] = []
    if decision.undecided:
        end = End(
            None,
            through_server=True,
            delivered=None,
            mtls=conn.mtls,
            why=decision.undecided[0],
            undecided=decision.undecided,
        )
        return [Course(decision.probability, end, hops)]
    if decision.refusal is not None:
        return [Course(decision.probability, _refused(conn, decision), hops)]
    left = decision.probability
    for injected in decision.injected:
        if injected.status is not None:
            status, flags, why = injected.status, injected.flags, injected.why
            end = End("server-proxy", status, "", flags, False, False, True, conn.mtls, why=why, cause="fault")
            ends.append(Course(left * injected.share, end, hops))
            left *= 1 - injected.share
    for option in decision.options:
        course = _upstream(scene, station, option.cluster, address, port, conn, decision)
        ends.append(replace(course, probability=left * option.probability, hops=(*hops, *course.hops)))
    return ends


def _refused(conn: Connection, decision: Decision) -> End:
    refusal = decision.refusal
    assert refusal is not None
    flags, why, cause = refusal.flags, refusal.why, refusal.cause
    cause = cause or ("no-route" if "NR" in flags.split(",") else "")
    if refusal.status is not None:
        return End("server-proxy", refusal.status, "", flags, False, False, True, conn.mtls, why=why, cause=cause)
    mtls = conn.mtls if refusal.kind == "filter" else None
    return End("nobody", None, "", flags, False, False, True, mtls, "reset", why, cause=cause)


def _inbound_hop(station: Station, decision: Decision) -> Hop:
    facts = [f"filter chain {decision.chain}"] if decision.chain else []
    facts += [f"route {decision.route}"] if decision.route else []
    facts += [f"policy: {policy}" for policy in decision.policies]
    if decision.assumed:
        facts.append("assumed from the mesh's resources: this proxy's configuration was not recorded")
    found = tuple(e for step in decision.steps for e in evidence(step.origin, step.chosen))
    if decision.refusal is not None:
        answer = (
            f"answers {decision.refusal.status}" if decision.refusal.status is not None else "closes the connection"
        )
        said, mood = f"{answer}: {decision.refusal.why}", "bad"
    elif decision.undecided:
        said, mood = f"cannot be told: {decision.undecided[0]}", "warn"
    else:
        clusters = " or ".join(option.cluster for option in decision.options)
        said, mood = f"lets it through to {clusters}" if clusters else "lets it through", "good"
    at = f"{station.pod.namespace}/{station.pod.name}"
    title = f"inbound listener {decision.listener}" if decision.listener else "inbound proxy"
    kind = "policy" if decision.refusal is not None and decision.refusal.kind == "filter" else "listener"
    return Hop(kind, "callee", at, title, said, tuple(facts), found[-4:], mood)  # type: ignore[arg-type]


# --- the socket ------------------------------------------------------------------------------------------------------


def _upstream(
    scene: Scene, station: Station, cluster_name: str, address: str, port: int, conn: Connection, decision: Decision
) -> Course:
    """The proxy's own connection to the application."""
    places = _places(station, cluster_name, address, port, decision)
    if places is None:
        why = f"the proxy has no cluster {cluster_name}"
        status = None if decision.tcp else 503
        end = End("server-proxy" if status else "nobody", status, "", "NC", False, False, True, conn.mtls, why=why)
        return Course(1.0, replace(end, broken="" if status else "reset", cause="no-cluster"))
    if not places:
        why = f"{cluster_name} is not reached over TCP on an address that was recorded"
        return Course(1.0, _unknown(conn, why, through=True))
    host, number = places[0]
    if station.sockets is None:
        return _by_log(scene, station, host, number, conn)
    found = listens(station.sockets, host, number)
    hop = _socket_hop(station, host, number, found, True)
    if found is not None and _is_listener(station, found) and (why := _own_refusal(scene, station, host, number, conn)):
        if decision.tcp:
            return Course(1.0, End("nobody", None, "", "", False, False, True, conn.mtls, "reset", why), (hop,))
        return Course(1.0, End("server-proxy", 503, "", "UC", False, False, True, conn.mtls, why=why), (hop,))
    if found is not None:
        end = End(
            "app", None, "", "", True, False, True, conn.mtls, why=f"{found.program or 'the application'} answers"
        )
        return Course(1.0, end, (hop,))
    why = nobody_listens(station, host, number)
    if decision.tcp:
        end = End("nobody", None, "", "UF,URX", False, False, True, conn.mtls, "reset", why, cause="nobody-listens")
        return Course(1.0, end, (hop,))
    flags = "URX,UF" if retries_on(decision.retry, connected=False) else "UF"
    end = End("server-proxy", 503, "", flags, False, False, True, conn.mtls, why=why, cause="nobody-listens")
    return Course(1.0, end, (hop,))


def _own_refusal(scene: Scene, station: Station, host: str, number: int, conn: Connection) -> str:
    """Why the proxy closes a connection of its own to one of its own listeners; empty where it does not."""
    from meshctl.path import client

    own = replace(conn, source=None, sender=None, layer="plaintext")
    ends = [course.end for course in client.at_listener(scene, station, host, number, own)]
    return ends[0].why if ends and all(end.broken == "reset" for end in ends) else ""


def _by_log(scene: Scene, station: Station, host: str, number: int, conn: Connection) -> Course:
    """Without the sockets: an application that answered requests before is taken to be there still."""
    line = scene.answered(station.pod, number)
    if line:
        fact = "the listening sockets were not recorded: assumed from an earlier request that it answered"
        at, proof = station.key, (Evidence("logs/istio-proxy.txt", "", line),)
        hop = Hop(
            "socket", "callee", at, f"port {number}", "the application answered here before", (fact,), proof, "good"
        )
        end = End("app", None, "", "", True, False, True, conn.mtls, why="the application answers, as it did before")
        return Course(1.0, end, (hop,))
    why = f"whether something listens on {host}:{number} in {station.pod.name} was not recorded"
    return Course(1.0, _unknown(conn, why, through=True), (_socket_hop(station, host, number, None, True),))


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
        hop = _socket_hop(station, address, port, found, False)
        end = End("nobody", delivered=False, broken="reset", mtls=None, why=why)
        return [Course(1.0, end, (replace(hop, decision=why, mood="bad"),))]
    if found is not None and _is_listener(station, found):
        from meshctl.path import client

        return client.at_listener(scene, station, address, port, conn)
    if found is not None and found.program == "envoy" and station.proxy is None and port != ADMIN_PORT:
        gap = station.gaps.get("envoy/config_dump.json", "its configuration was not recorded")
        why = f"the proxy itself listens on port {port}, and what it does there cannot be told: {gap}"
        return [Course(1.0, _unknown(conn, why, through=True), (_socket_hop(station, address, port, found, False),))]
    return [_to_app(station, address, port, conn, found)]


def _is_listener(station: Station, socket: Socket) -> bool:
    """Whether a socket is one of the proxy's listeners (its admin port is none)."""
    if station.proxy is None or socket.program != "envoy":
        return False
    return any(a.port == socket.port and one.bind for one in station.proxy.listeners() for a in one.addresses)


def _to_app(station: Station, address: str, port: int, conn: Connection, found: Socket | None) -> Course:
    """A connection to the application itself."""
    hop = _socket_hop(station, address, port, found, False, known=station.sockets is not None)
    if station.sockets is not None and found is None:
        why = nobody_listens(station, address, port)
        end = End("nobody", delivered=False, broken="refused", mtls=None, why=why, cause="nobody-listens")
        return Course(1.0, end, (hop,))
    if station.mode == "grpc":
        why = f"{station.pod.name} speaks to istiod itself (proxyless gRPC): what it accepts is not recorded"
        return Course(1.0, _unknown(conn, why, through=False), (hop,))
    if conn.layer == "mtls":
        why = "mutual TLS of the mesh reaches the application itself, which does not speak it: no proxy takes the port"
        end = End("nobody", delivered=False, broken="tls", mtls=None, why=why, cause="mutual-tls")
        return Course(1.0, end, (hop,))
    if station.sockets is None:
        why = f"whether something listens on {address}:{port} in {station.pod.name} was not recorded"
        return Course(1.0, _unknown(conn, why, through=False), (hop,))
    end = End(
        "app", delivered=True, mtls=conn.mtls, why=f"{(found.program if found else '') or 'the application'} answers"
    )
    return Course(1.0, end, (hop,))


def nobody_listens(station: Station, address: str, port: int) -> str:
    """Why a connection to an address and port of the pod is refused, and where the application listens instead."""
    others = sorted({s.port for s in station.sockets or () if s.proto == "tcp" and _is_app(station, s)})
    elsewhere = [s for s in station.sockets or () if s.proto == "tcp" and s.port == port]
    if elsewhere:
        where = elsewhere[0].address
        return f"port {port} is open on {where} only, so a connection to {address} is refused"
    if station.pod.host_network:
        return f"nothing listens on {address}:{port} on node {station.pod.node}"
    listed = f"; the application listens on {', '.join(map(str, others))}" if others else ""
    return f"nothing listens on {address}:{port} in {station.pod.name}{listed}"


def _is_app(station: Station, socket: Socket) -> bool:
    name = station.containers.get(socket.container, "")
    if not name and station.pod.host_network:  # the node's other programs are seen as well
        return False
    return name not in ("istio-proxy",) and socket.program not in ("envoy", "pilot-agent", "ztunnel")


def _socket_hop(
    station: Station, address: str, port: int, found: Socket | None, proxied: bool, *, known: bool = True
) -> Hop:
    at = f"{station.pod.namespace}/{station.pod.name}"
    facts = (
        ["the proxy connects from 127.0.0.6, which the rules let pass"] if proxied and not is_loopback(address) else []
    )
    if found is not None:
        name = station.containers.get(found.container, "")
        who = f"{found.program or 'a process'}{f' in container {name}' if name else ''}"
        facts.append(f"listening on {found.address}:{found.port} as uid {found.uid}")
        proof = (Evidence(station.sockets_source, f"line {found.line}", found.text.partition(" users:")[0]),)
        return Hop("socket", "callee", at, f"port {port}", f"{who} listens", tuple(facts), proof, "good")
    if not known or station.sockets is None:
        gap = station.gaps.get("netns/sockets.txt", "the listening sockets were not recorded")
        return Hop(
            "socket", "callee", at, f"port {port}", "cannot be told whether anything listens", (gap,), (), "warn"
        )
    proof = (Evidence(station.sockets_source, "", ""),)
    return Hop("socket", "callee", at, f"port {port}", nobody_listens(station, address, port), (), proof, "bad")

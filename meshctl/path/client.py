"""The sending side: through a proxy to the clusters it chooses, or straight onto the network."""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from meshctl.envoy import upstream
from meshctl.envoy.match import Query, Step, match
from meshctl.envoy.model import Cluster
from meshctl.frozen import dataclass
from meshctl.path import hosts, kube_proxy, resources, rules, server, stale, wants, wire
from meshctl.path.decision import BLACK_HOLE, NO_LISTENER, Decision, Option, evidence, of_match
from meshctl.path.model import AnsweredBy, Cause, ClusterShare, End, EndpointSeen, Hop, Request
from meshctl.path.netns import listens
from meshctl.path.outcome import Course, through_client_http, through_client_tcp, with_retries
from meshctl.path.scene import Owner, Scene, Station
from meshctl.path.wire import Connection

MOST_PROXIES = 4
"""A request that passes more proxies than this is going in circles."""


TLS_MODE = "security.istio.io/tlsMode"
"""The label of a pod with a sidecar, which istiod gives its endpoint as ``tlsMode``."""


@dataclass(frozen=True, slots=True)
class Forwarding:
    """What came of a request at a sending proxy: its decision(s), the courses, and the clusters that may be chosen."""

    decisions: tuple[Decision, ...]
    courses: tuple[Course, ...]
    clusters: tuple[ClusterShare, ...]


def through_proxy(
    scene: Scene,
    station: Station,
    direction: Literal["outbound", "gateway"],
    address: str,
    port: int,
    conn: Connection,
) -> Forwarding:
    """Follow a request through the sending proxy of a pod (its sidecar, or the gateway that it is)."""
    request = conn.request
    if station.proxy is None:
        decisions: tuple[Decision, ...] = (resources.outbound(scene, station, direction, address, port, request),)
    else:
        query = Query(
            direction=direction,
            address=address,
            port=port,
            protocol=request.protocol,
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
        decisions = of_match(match(station.proxy, query, live=station.live), request)
    courses: list[Course] = []
    shares: list[ClusterShare] = []
    for decision in decisions:
        found, seen = _decided(scene, station, direction, address, port, conn, decision)
        courses += found
        shares += seen
    return Forwarding(decisions, tuple(courses), tuple({share.name: share for share in shares}.values()))


def _decided(
    scene: Scene,
    station: Station,
    direction: Literal["outbound", "gateway"],
    address: str,
    port: int,
    conn: Connection,
    decision: Decision,
) -> tuple[list[Course], list[ClusterShare]]:
    gateway = direction == "gateway"
    hops = _decision_hops(station, decision, gateway)
    told = "" if gateway else stale.of_route(scene, station, decision, address, port, conn.request)
    if told:
        last = hops[-1]
        hops = (*hops[:-1], replace(last, stale=told, facts=(*last.facts, f"not up to date: {told}")))
    chance = decision.probability
    by: Literal["gateway", "client-proxy"] = "gateway" if gateway else "client-proxy"
    if decision.refusal is not None and gateway and decision.refusal.details == NO_LISTENER:
        end = End(
            "nobody", delivered=False, mtls=None, broken="refused", why=decision.refusal.why, cause="nobody-listens"
        )
        return [Course(chance, end, hops)], []
    if decision.refusal is not None:
        missing = "NC" in decision.refusal.flags
        decision = _with_reason(scene, decision)
        return [Course(chance, _refused(decision, by), hops, None if missing else option_name(decision))], _named(
            decision
        )
    courses: list[Course] = []
    shares: list[ClusterShare] = []
    for option in decision.options:
        ways, share = _option(scene, station, address, port, conn, decision, option, by)
        shares.append(share)
        courses += [
            replace(c, probability=chance * option.probability * c.probability, hops=(*hops, *c.hops)) for c in ways
        ]
    if decision.undecided:
        why = decision.undecided
        end = End(None, delivered=None, through_client=True, through_server=None, mtls=None, why=why[0], undecided=why)
        return [Course(chance, end, hops, option_name(decision))], shares
    if not courses:
        why_none = "the proxy names no cluster"
        end = End(None, through_client=True, through_server=None, mtls=None, why=why_none, undecided=(why_none,))
        return [Course(chance, end, hops)], shares
    return _with_faults(courses, decision, hops, by), shares


def _with_reason(scene: Scene, decision: Decision) -> Decision:
    """A refusal for want of a cluster or of endpoints, with the reason that the mesh's resources show."""
    refusal = decision.refusal
    name = option_name(decision)
    if refusal is None or name in (None, BLACK_HOLE) or not {"UH", "NC"} & set(refusal.flags.split(",")):
        return decision
    why = hosts.lacking(scene, name, cluster="NC" in refusal.flags) or refusal.why
    return replace(decision, refusal=replace(refusal, why=why))


def _named(decision: Decision) -> list[ClusterShare]:
    return [ClusterShare(o.cluster, _subset(o.cluster), o.weight) for o in decision.options]


def _subset(cluster: str) -> str:
    return cluster.split("|")[2] if cluster.count("|") == 3 else ""


def option_name(decision: Decision) -> str | None:
    """The only cluster that a decision may choose, None where there are several or none."""
    return decision.options[0].cluster if len(decision.options) == 1 else None


def _refused(decision: Decision, by: Literal["gateway", "client-proxy"]) -> End:
    refusal = decision.refusal
    assert refusal is not None
    cause = refusal.cause or _of_flags(refusal.flags)
    end = End(by, refusal.status, refusal.flags, "", False, True, False, None, why=refusal.why, cause=cause)
    return end if refusal.status is not None else replace(end, answered_by="nobody", broken="reset")


def _of_flags(flags: str) -> Cause:
    known: tuple[tuple[str, Cause], ...] = (("UH", "no-endpoint"), ("NC", "no-cluster"), ("NR", "no-route"))
    return next((cause for flag, cause in known if flag in flags.split(",")), "")


def _with_faults(
    courses: list[Course], decision: Decision, hops: tuple[Hop, ...], by: Literal["gateway", "client-proxy"]
) -> list[Course]:
    """Split by injected faults: the filter rolls for a delay first, then for an abort (Envoy, fault filter)."""
    delays = [i for i in decision.injected if i.status is None]
    aborts = [i for i in decision.injected if i.status is not None]
    found = courses
    for abort in aborts:
        total = sum(c.probability for c in courses)
        end = End(by, abort.status, abort.flags, "", False, True, False, None, why=abort.why, cause="fault")
        kept = [replace(c, probability=c.probability * (1 - abort.share)) for c in found] if abort.share < 1 else []
        found = [*kept, Course(total * abort.share, end, hops, option_name(decision))]
    for delay in delays:
        slow = [_delayed(c, delay.share, delay.flags, delay.why) for c in found]
        fast = [replace(c, probability=c.probability * (1 - delay.share)) for c in found] if delay.share < 1 else []
        found = [*fast, *slow]
    return found


def _delayed(course: Course, share: float, flag: str, why: str) -> Course:
    flags = ",".join(part for part in (flag, course.end.flags) if part)
    end = replace(course.end, flags=flags, why=f"{course.end.why}; {why}")
    return replace(course, probability=course.probability * share, end=end)


# --- one cluster -----------------------------------------------------------------------------------------------------


def _option(
    scene: Scene,
    station: Station,
    address: str,
    port: int,
    conn: Connection,
    decision: Decision,
    option: Option,
    by: Literal["gateway", "client-proxy"],
) -> tuple[list[Course], ClusterShare]:
    name = option.cluster
    subset = _subset(name)
    cluster = station.proxy.cluster(name) if station.proxy is not None else None
    if station.proxy is None:
        picked = resources.hosts(scene, station, name, address, port)
    else:
        picked = hosts.pick(scene, station, name, address, port, option.upstream)
    share = ClusterShare(name, subset, option.weight, tuple(_seen(host) for host in picked.all))
    cluster_hop = hosts.hop(station, name, picked)
    if told := stale.of_hosts(scene, station, name, picked):
        cluster_hop = replace(cluster_hop, stale=told, facts=(*cluster_hop.facts, f"not up to date: {told}"))
    if picked.undecided:
        end = End(
            None,
            delivered=None,
            through_client=True,
            through_server=picked.through_server,
            mtls=None,
            why=picked.undecided,
            undecided=(picked.undecided,),
        )
        return [Course(1.0, end, (cluster_hop,), name)], share
    if not picked.chosen:
        return [replace(_nowhere(decision, by, picked.flag, picked.why, name), hops=(cluster_hop,))], share
    ways: list[Course] = []
    for host in picked.chosen:
        ways += _to_host(scene, station, conn, decision, cluster, name, host)
    if not decision.tcp:
        ways = with_retries(ways, decision.retry)
    turned = [replace(c, end=_turned(c.end, decision, by)) for c in ways]
    return [replace(c, hops=(cluster_hop, *c.hops), cluster=name) for c in turned], share


def _turned(end: End, decision: Decision, by: str) -> End:
    turned = through_client_tcp(end) if decision.tcp else through_client_http(end, decision.retry)
    if by == "gateway" and turned.answered_by == "client-proxy":
        turned = replace(turned, answered_by="gateway")
    return turned


def _nowhere(decision: Decision, by: Literal["gateway", "client-proxy"], flag: str, why: str, name: str) -> Course:
    cause: Cause = "registry-only" if name == BLACK_HOLE else _of_flags(flag)
    if decision.tcp:
        end = End("nobody", None, flag, "", False, True, False, None, "reset", why, cause=cause)
    else:
        end = End(by, 503, flag, "", False, True, False, None, why=why, cause=cause)
    return Course(1.0, end, (), None if flag == "NC" else name)


def _seen(host: hosts.Host) -> EndpointSeen:
    return EndpointSeen(host.shown, host.pod, host.health)


def _to_host(
    scene: Scene,
    station: Station,
    conn: Connection,
    decision: Decision,
    cluster: Cluster | None,
    name: str,
    host: hosts.Host,
) -> list[Course]:
    request = decision.forwarded or conn.request
    host = _labelled(scene, station, cluster, host)
    if cluster is not None and station.proxy is not None:
        opened = wire.opened(
            station.proxy,
            cluster,
            host.endpoint,
            station,
            scene.principal(station),
            request,
            decision.offers if not decision.tcp else (),
            conn.depth + 1,
        )
        opened = _inner(opened, conn, decision, cluster)
        if host.tunnel:
            opened = replace(opened, layer="mtls", principal=scene.principal(station), sni="", alpn=("h2",))
        socket = upstream.socket(cluster, host.endpoint)[1] if host.endpoint is not None else ""
        file = station.proxy.source
    else:
        opened = resources.opened(scene, station, name, host, request, conn.depth + 1, decision.tcp)
        socket, file = "", ""
    over = wire.hop(opened, host.shown, socket, name, file)
    callee = scene.pod_at(host.address)
    told = stale.of_transport(scene, station, name, host, opened, decision.tcp)
    over = replace(over, stale=told, facts=(*over.facts, f"not up to date: {told}")) if told else over
    wanted = [wants.sender(scene, station, name, host)]
    if callee is not None and scene.station(callee).has_proxy and scene.station(callee).mode != "gateway":
        wanted.append(wants.callee(scene, callee, host.port))
    over = replace(over, facts=(*over.facts, *(want for want in wanted if want)))
    if host.tunnel and callee is not None and scene.station(callee).has_proxy:
        why = f"it reaches {host.pod} through HBONE: what its proxy does with the tunnel is not modelled"
        end = End(None, delivered=None, through_server=True, mtls="mutual", why=why, undecided=(why,))
        return [Course(host.probability, end, (over,), endpoint=host.shown, pod=host.pod)]
    ways = onto_network(scene, station, _proxy_owner(station), host.address, host.port, opened)
    return [
        replace(
            c, probability=c.probability * host.probability, hops=(over, *c.hops), endpoint=c.endpoint or host.shown
        )
        for c in ways
    ]


def _labelled(scene: Scene, station: Station, cluster: Cluster | None, host: hosts.Host) -> hosts.Host:
    """A host with the label that chooses its transport: ``/clusters`` does not tell it, so it is the pod's own."""
    end, pod = host.endpoint, scene.pod_at(host.address)
    bare = end is not None and not end.socket_match and station.proxy is not None and not station.proxy.has("Endpoints")
    if end is None or pod is None or not bare or cluster is None or cluster.type != "EDS":
        return host
    told = pod.labels.get(TLS_MODE, "")
    return replace(host, endpoint=replace(end, socket_match={"tlsMode": told})) if told else host


def _inner(opened: Connection, conn: Connection, decision: Decision, cluster: Cluster) -> Connection:
    """What is inside the new connection: TLS that the proxy does not end goes through as it is."""
    request: Request = opened.request
    if conn.layer != "plaintext" and not decision.terminated:
        request = replace(request, protocol=conn.request.protocol)
        if opened.layer != "plaintext" or _has_tls(cluster):
            return replace(opened, request=request)
        return replace(
            opened, layer=conn.layer, sni=conn.sni, alpn=conn.alpn, principal=conn.principal, request=request
        )
    if decision.tcp:
        return replace(opened, request=replace(request, protocol=conn.request.protocol))
    speaks: Literal["http", "http2"] = "http"
    if cluster.http == "http2" or (cluster.http == "downstream" and conn.request.protocol == "http2"):
        speaks = "http2"
    inner = replace(request, protocol=speaks, tls=False if decision.terminated else request.tls)
    layer = "plaintext" if opened.layer == "tls" and not _has_tls(cluster) and decision.terminated else opened.layer
    return replace(opened, request=inner, layer=layer)


def _has_tls(cluster: Cluster) -> bool:
    sockets = [cluster.socket.get(), *(m.socket for m in cluster.socket_matches.get())]
    return any(socket.tls is not None for socket in sockets)


def _proxy_owner(station: Station) -> Owner:
    return Owner(station.proxy_uid, station.proxy_gid, "the proxy's own connection")


def _decision_hops(station: Station, decision: Decision, gateway: bool) -> tuple[Hop, ...]:
    at = station.key
    name = "gateway listener" if gateway else "outbound listener"
    where: Literal["caller", "callee"] = "callee" if gateway else "caller"
    early = [s for s in decision.steps if s.what in ("listener", "filter chain", "filter_chain", "entry", "tls")]
    late = [s for s in decision.steps if s not in early]
    first = Hop(
        "listener",
        where,
        at,
        f"{name} {decision.listener}".rstrip(),
        _said(early) or ("decided from the mesh's resources" if decision.assumed else "no listener"),
        tuple(_assumed(decision)),
        tuple(e for step in early for e in evidence(step.origin, step.chosen)),
    )
    facts: list[str] = []
    if decision.source:
        facts.append(f"made from {_origin(decision.source)}")
    if decision.virtual_host:
        facts.append(f"virtual host {decision.virtual_host}")
    if decision.retry is not None and decision.retry.attempts:
        facts.append(f"retries {decision.retry.attempts} on {', '.join(decision.retry.on)}")
    if decision.timeout_s:
        facts.append(f"timeout {decision.timeout_s:g}s")
    facts += [f"mirrored to {mirror}" for mirror in decision.mirrors]
    facts += [f"{injected.share:.0%}: {injected.why}" for injected in decision.injected]
    facts += [f"policy: {policy}" for policy in decision.policies]
    mood, said = "plain", _route_said(decision, late)
    if decision.refusal is not None:
        mood = "bad" if decision.refusal.status is None or decision.refusal.status >= 400 else "warn"
        answer = f"answers {decision.refusal.status}" if decision.refusal.status else "closes the connection"
        said = f"{answer}: {decision.refusal.why}"
    elif decision.undecided:
        mood, said = "warn", f"cannot be told: {decision.undecided[0]}"
    title = f"route {decision.route}" if decision.route else ("TCP proxy" if decision.tcp else "route")
    second = Hop(
        "route",
        where,
        at,
        title,
        said,
        tuple(facts),
        tuple(e for step in late for e in evidence(step.origin, step.chosen)),
        mood,  # type: ignore[arg-type]
    )
    return (first, second)


def _origin(source: str) -> str:
    """The object behind a route; what istiod makes of the Gateway API's routes is named for these."""
    made = re.fullmatch(r"virtual-service/(.+?)(?:-\d+)?-istio-autogenerated-k8s-gateway(\..+)", source)
    return f"a route of the Gateway API, {made[1]}{made[2]}" if made else source


def _said(steps: Iterable[Step]) -> str:
    parts = [step.because for step in steps]
    return "; ".join(part for part in parts if part)


def _route_said(decision: Decision, steps: Iterable[Step]) -> str:
    shares = [f"{o.cluster} {o.probability:.0%}" if len(decision.options) > 1 else o.cluster for o in decision.options]
    chosen = " or ".join(shares)
    route = next((step.because for step in steps if step.what == "route"), "")
    return f"{chosen}: {route}" if route and chosen else (chosen or route)


def _assumed(decision: Decision) -> Iterable[str]:
    if decision.assumed:
        yield "assumed from the mesh's resources: this proxy's configuration was not recorded"


# --- the network -----------------------------------------------------------------------------------------------------


def onto_network(
    scene: Scene, station: Station | None, owner: Owner | None, address: str, port: int, conn: Connection
) -> list[Course]:
    """What happens to a connection that leaves a pod (its own rules included), up to its end."""
    if conn.depth > MOST_PROXIES:
        why = "the request goes in circles between proxies"
        return [Course(1.0, End("nobody", delivered=False, broken="reset", mtls=None, why=why))]
    own = station is not None and (rules.is_loopback(address) or address in (*station.pod.ips, station.pod.ip))
    if station is not None and owner is not None and (own or conn.by_proxy):
        passage = rules.outbound(scene, station, owner, address, port)
        if own:
            return server.at_pod(scene, station, address, port, conn, passage)
        if passage.kind == "dropped":
            broken: Literal["refused", "timeout"] = "refused" if passage.refused else "timeout"
            end = End("nobody", delivered=False, broken=broken, mtls=None, why=passage.why, cause="rules")
            return [Course(1.0, end, (passage.hop,))]
        if passage.kind == "proxy" and station.mode != "gateway":
            why = f"the rules send the proxy's own connection back to it ({passage.why})"
            return [Course(1.0, End("nobody", delivered=False, broken="reset", mtls=None, why=why), (passage.hop,))]
    return beyond(scene, station, address, port, conn)


def beyond(scene: Scene, station: Station | None, address: str, port: int, conn: Connection) -> list[Course]:
    """From the pod's interface on: kube-proxy on the node where the address is a Service's, then the other end."""
    node = station.pod.node if station is not None else (scene.nodes[0] if scene.nodes else "")
    choice = kube_proxy.choose(scene, node, station, address, port)
    if choice is None:
        return arrive(scene, address, port, conn)
    if choice.end is not None:
        return [Course(1.0, choice.end, (choice.hop,), kube_proxy=choice.answer)]
    courses: list[Course] = []
    for place, number, chance in choice.places:
        courses += [
            replace(
                course,
                probability=course.probability * chance,
                hops=(choice.hop, *course.hops),
                kube_proxy=choice.answer,
            )
            for course in arrive(scene, place, number, _masqueraded(scene, station, address, place, conn))
        ]
    return courses


def _masqueraded(scene: Scene, station: Station | None, address: str, place: str, conn: Connection) -> Connection:
    """The connection as the other end sees it: from the node, where it is to the sender itself or not to a cluster IP.

    Source: kube-proxy's ``KUBE-MARK-MASQ`` in its chains of endpoints and of external addresses; which of its addresses
    the node takes is not known.
    """
    service = scene.services.at(address)
    own = station is not None and place in (*station.pod.ips, station.pod.ip)
    inside = service is not None and address in service.addresses
    return replace(conn, source=None) if own or not inside else conn


def arrive(scene: Scene, address: str, port: int, conn: Connection) -> list[Course]:
    """What happens at an address that is nobody's but its owner's: a pod, a node, or the world outside."""
    pod = scene.pod_at(address)
    if pod is not None:
        station = scene.station(pod)
        passage = rules.inbound(scene, station, conn.source, address, port)
        if passage.kind == "straight" and station.mode == "gateway" and _is_gateway_port(station, port):
            return _through_gateway(scene, station, address, port, conn, passage.hop)
        return server.at_pod(scene, station, address, port, conn, passage)
    return [_outside(scene, address, port, conn)]


def _is_gateway_port(station: Station, port: int) -> bool:
    if port in (15020, 15021, 15090):
        return False
    if station.sockets is not None and listens(station.sockets, station.pod.ip, port) is None:
        return False
    if station.proxy is None:
        return True
    return any(a.port == port and one.bind for one in station.proxy.listeners() for a in one.addresses)


def _through_gateway(
    scene: Scene, station: Station, address: str, port: int, conn: Connection, before: Hop
) -> list[Course]:
    found = through_proxy(scene, station, "gateway", address, port, replace(conn, depth=conn.depth + 1))
    ends = []
    for course in found.courses:
        end = course.end
        flags, through = end.flags, end.through_client
        inner = replace(
            end, flags="", server_flags=flags or end.server_flags, through_client=False, through_server=through
        )
        ends.append(
            replace(course, end=inner, hops=(before, *course.hops), endpoint=f"{address}:{port}", pod=station.key)
        )
    return ends


def at_listener(scene: Scene, station: Station, address: str, port: int, conn: Connection) -> list[Course]:
    """What a connection straight to a listener of a sidecar gets (health, statistics, or a port of its own)."""
    found = through_proxy(scene, station, "gateway", address, port, replace(conn, depth=conn.depth + 1))
    courses = []
    for course in found.courses:
        end = course.end
        by: AnsweredBy | None = "server-proxy" if end.answered_by in ("gateway", "client-proxy") else end.answered_by
        end = replace(
            end,
            answered_by=by,
            flags="",
            server_flags=end.flags or end.server_flags,
            through_client=False,
            through_server=end.through_client,
        )
        courses.append(replace(course, end=end, cluster=None))
    return courses


def _outside(scene: Scene, address: str, port: int, conn: Connection) -> Course:
    if address == hosts.ANYWHERE:
        why = "which address the name resolves to, and whether it answers, is not recorded"
        hop = Hop("endpoint", "network", "outside", f"port {port}", why, (), (), "warn")
        end = End(None, delivered=None, through_server=False, mtls=conn.mtls, why=why, undecided=(why,))
        return Course(1.0, end, (hop,))
    node = scene.node_at(address)
    if node is not None:
        if (owner := _of_node(scene, node.name, address, port)) is not None:
            return _on_host(scene, owner, address, port, conn)
        why = f"{address} is node {node.name}: whether something listens there on port {port} is not recorded"
    elif (service := scene.services.at(address)) is not None:
        why = f"{address} is Service {service.namespace}/{service.name}'s, but the node's rules have nothing about it"
        if service.port(port) is None:
            why = f"Service {service.namespace}/{service.name} has no port {port} at {address}: who else answers there "
            why += "is not recorded"
    elif named := scene.endpoint_pod(address):
        why = f"{address} is pod {named}, which was not recorded: what it does with the connection cannot be told"
    elif scene.in_pod_range(address):
        why = f"{address} is in the pods' range, but no pod that can be seen has it"
    else:
        why = f"{address} is outside of the cluster: whether it answers on port {port} is not recorded"
    inside = bool(scene.endpoint_pod(address) or scene.services.at(address)) or scene.in_pod_range(address)
    through = (conn.layer == "mtls" or None) if inside else False
    end = End(None, delivered=None, through_server=through, mtls=conn.mtls, why=why, undecided=(why,))
    hop = Hop("endpoint", "network", address, f"{address}:{port}", why, (), (), "warn")
    return Course(1.0, end, (hop,), endpoint=f"{address}:{port}")


def _of_node(scene: Scene, node: str, address: str, port: int) -> Station | None:
    """The pod on a node's own network that answers there: the one that listens, or that says so in its spec.

    The sockets of one such pod are all of the node's, so where none listens, any of them tells that nobody does.
    """
    stations = [scene.station(pod) for pod in scene.pods_of_node_network(node) if pod.phase in ("", "Running")]
    named = [s for s in stations if any(port == p.number for c in s.pod.containers for p in c.ports)]
    seeing = [s for s in stations if s.sockets is not None]
    by_socket = [
        s for s in seeing if (one := listens(s.sockets or (), address, port)) and one.container in s.containers
    ]
    return next(iter((*by_socket, *named, *seeing)), None)


def _on_host(scene: Scene, station: Station, address: str, port: int, conn: Connection) -> Course:
    from meshctl.path.rules import straight

    passage = straight(station, "the pod uses the node's network: no rules of a mesh there")
    found = server.at_pod(scene, station, address, port, conn, passage)
    return found[0]

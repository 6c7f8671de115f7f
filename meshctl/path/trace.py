"""The whole path of one request: name, caller's rules, proxies, wire, callee's rules, socket, and one outcome."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import Literal

from meshctl.envoy.config_dump import ConfigDump
from meshctl.envoy.match import Query, match
from meshctl.errors import BadInput
from meshctl.frozen import dataclass
from meshctl.kube.containers import Terminated, Waiting
from meshctl.path import client, dns, kube_proxy, network, rules, server, target, ztunnel
from meshctl.path.decision import Decision
from meshctl.path.dns import Name, Zone
from meshctl.path.hosts import ANYWHERE, is_address
from meshctl.path.model import (
    Aim,
    Cause,
    ClusterShare,
    End,
    Evidence,
    Finding,
    Hop,
    KubeProxy,
    Outcome,
    Request,
    Retries,
    Sender,
    Trace,
    succeeds,
)
from meshctl.path.netns import is_loopback
from meshctl.path.outcome import Course, branches, merged
from meshctl.path.rules import Passage
from meshctl.path.scene import Owner, Scene, Station
from meshctl.path.wire import Connection
from meshctl.refs import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Who sends what where; `caller` None is a client outside of the cluster, who enters at `gateway`."""

    caller: Station | None
    target: Target
    request: Request
    gateway: Station | None = None
    gateway_port: int | None = None
    chosen: str = ""
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Way:
    """What one address of the name leads to."""

    hops: tuple[Hop, ...]
    courses: tuple[Course, ...]
    decisions: tuple[Decision, ...] = ()
    clusters: tuple[ClusterShare, ...] = ()
    captured: bool = False


def trace(scene: Scene, question: Question) -> Trace:
    """Predict what happens to a request, hop by hop. Raises BadInput where the target leaves the port open.

    A proxy's configuration is read where a path needs it; if that part turns out to be broken, it goes without it all.
    """
    while True:
        try:
            return _trace(scene, question)
        except BadInput as error:
            if not scene.without_broken_proxy(str(error)):
                raise
        caller, gateway = question.caller, question.gateway
        question = replace(
            question,
            caller=scene.station(caller.pod) if caller is not None else None,
            gateway=scene.station(gateway.pod) if gateway is not None else None,
        )


def _trace(scene: Scene, question: Question) -> Trace:
    if question.caller is None:
        return _from_outside(scene, question)
    station = question.caller
    zone = zone_of(scene, station)
    asked = f"{question.target.host}{'.' if question.target.absolute else ''}"
    name = _known_to_proxy(station, dns.resolve(asked, zone), zone, question.target.absolute)
    aim, request = _aim(question, name)
    hops = [_app_hop(station, aim, request), _dns_hop(station, name)]
    sender = _sender(scene, station, question)
    if name.fails:
        return _unknown_name(sender, aim, request, hops, name)
    addresses = _of_own_family(station, name.addresses) or name.addresses or (ANYWHERE,)
    ways = [_from_pod(scene, station, address, aim.port, request) for address in addresses]
    shared = [replace(c, probability=c.probability / len(ways)) for way in ways for c in way.courses]
    if name.undecided:
        shared = [replace(c, end=_unsure(c.end, name.undecided)) for c in shared]
    answer = _kube_proxy(scene, station, name, aim, ways[0], shared)
    return _joined(scene, sender, aim, request, (*hops, *ways[0].hops), ways, shared, answer, station)


def _of_own_family(station: Station, addresses: tuple[str, ...]) -> tuple[str, ...]:
    """The addresses that the pod has a family for: getaddrinfo(3) puts those that it cannot reach last (RFC 6724)."""
    own = {":" in ip for ip in (*station.pod.ips, station.pod.ip) if ip}
    return tuple(a for a in addresses if (":" in a) in own or is_loopback(a))


def _unreachable(station: Station, address: str) -> str:
    """Why the kernel finds no way to an address: the pod, all of whose addresses are known, has none of its family."""
    if is_loopback(address) or not station.network.complete or _of_own_family(station, (address,)):
        return ""
    version = 6 if ":" in address else 4
    if any(a.version == version and not _local(str(a).partition("/")[0]) for a in station.network.addresses):
        return ""
    return f"the pod has no IPv{version} address, so there is no route to {address}: the connection is not even tried"


def _local(address: str) -> bool:
    known = ip_address(address)
    return known.is_loopback or known.is_link_local


def zone_of(scene: Scene, station: Station) -> Zone:
    """How a pod's lookups are answered, found out once."""
    key = ("zone", station.key)
    if key not in scene.cache:
        scene.cache[key] = _zone(scene, station)
    found = scene.cache[key]
    assert isinstance(found, Zone)
    return found


def _zone(scene: Scene, station: Station) -> Zone:
    resolver = station.resolver or dns.default_resolver(station.pod.namespace)
    captured = bool(resolver.servers) and rules.dns_captured(scene, station, resolver.servers[0])
    pod = station.pod
    policy = pod.dns_policy or "ClusterFirst"
    cluster_dns = policy != "Default" and not (pod.host_network and policy == "ClusterFirst")
    known = {service.namespace for service in scene.services.services}
    unrecorded = tuple(n for n in scene.namespaces if scene.recorded and n not in scene.recorded and n not in known)
    return Zone(
        scene.services,
        scene.mesh,
        scene.namespaces,
        pod.namespace,
        resolver,
        captured,
        cluster_dns,
        unrecorded,
        scene.services_gap,
        scene.endpoints_gap,
    )


def _known_to_proxy(station: Station, name: Name, zone: Zone, absolute: bool) -> Name:
    """A name that no recorded Service has, but that the caller's proxy was told of: then it was not recorded.

    Its address is in the proxy's configuration where it has one: Istio writes it into domains and listeners.
    """
    unknown = name.fails or (name.undecided and not name.addresses)
    if not unknown or name.service is not None or name.entry is not None or station.proxy is None:
        return name
    tried = () if absolute else [f"{name.asked}.{suffix}" for suffix in zone.resolver.search]
    for host in (name.asked, *tried) if zone.cluster_dns else ():
        if not host.endswith(f".{zone.domain}"):
            continue
        if not any(c.name.startswith("outbound|") and c.name.endswith(f"|{host}") for c in station.proxy.clusters()):
            continue
        known = replace(name, fails=False, full=host, undecided="", suggestions=())
        if addresses := _told_addresses(station.proxy, host):
            return replace(known, kind="service", addresses=addresses)
        reason = f"{host} is no recorded Service, but the caller's proxy has a cluster for it: its address is not known"
        return replace(known, undecided=reason)
    return name


def _told_addresses(proxy: ConfigDump, host: str) -> tuple[str, ...]:
    """The addresses that a proxy's configuration has for a Service: of its virtual host, or of its own listener."""
    for config in proxy.route_configs():
        for virtual in config.virtual_hosts:
            if virtual.name.rpartition(":")[0] == host and (own := [d for d in virtual.domains if is_address(d)]):
                return tuple(own[:1])
    for listener in proxy.listeners():
        for place in listener.addresses:
            if not is_address(place.host) or place.host in ("0.0.0.0", "::"):
                continue
            query = Query(direction="outbound", address=place.host, port=place.port, protocol="tcp")
            if any(share.name.endswith(f"|{host}") for share in match(proxy, query).clusters):
                return (place.host,)
    return ()


def _aim(question: Question, name: Name) -> tuple[Aim, Request]:
    service = name.service
    ports = tuple(p.number for p in name.entry.ports) if name.entry else ()
    port = target.port_of(question.target, service, ports) if not name.fails else (question.target.port or 80)
    entry = service.port(port) if service else None
    declared = target.protocol_of(entry) or _entry_protocol(name, port)
    request = target.request_for(question.target, port, question.request, declared)
    label = f"{service.name}.{service.namespace}" if service else (name.full or name.asked)
    return Aim(label, question.target.host, port, ", ".join(name.addresses), name.kind), request


def _entry_protocol(name: Name, port: int) -> str:
    if name.entry is None:
        return ""
    found = next((p.protocol for p in name.entry.ports if p.number == port), "")
    return found.lower()


def _sender(scene: Scene, station: Station, question: Question) -> Sender:
    pod = station.pod
    return Sender(
        pod.name,
        pod.namespace,
        pod.ip,
        pod.node,
        scene.principal(station) if station.has_proxy or station.mode == "ambient" else "",
        question.chosen,
        question.others,
    )


# --- the first hops --------------------------------------------------------------------------------------------------


def _app_hop(station: Station, aim: Aim, request: Request) -> Hop:
    what = f"{request.method} {request.path}" if request.protocol != "tcp" else "a TCP connection"
    owners = {(o.uid, o.gid): o for o in station.owners}
    facts = []
    for owner in owners.values():
        uid = "unknown" if owner.uid is None else owner.uid
        gid = "unknown" if owner.gid is None else owner.gid
        facts.append(f"sent as uid {uid}, gid {gid} ({owner.source})")
    if request.protocol != "tcp" and request.host:
        facts.append(f"Host: {request.host}")
    facts += [f"{name}: {value}" for name, value in request.headers]
    if not station.has_proxy and station.mode != "ambient":
        facts.append("this pod has no proxy: it is outside of the mesh")
    scheme = "TLS to " if request.tls else ""
    host = f"[{aim.host}]" if ":" in aim.host else aim.host
    return Hop(
        "app", "caller", station.key, "the application", f"sends {what} to {scheme}{host}:{aim.port}", tuple(facts)
    )


_KIND_WORDS = {
    "service": "a Service's cluster IP",
    "headless": "a headless Service: the pods' own addresses",
    "external-name": "an ExternalName Service",
    "entry": "a ServiceEntry",
    "pod": "a pod's own name",
    "address": "an address: nothing to look up",
    "loopback": "this pod itself",
    "outside": "a name outside of the cluster",
}


def _dns_hop(station: Station, name: Name) -> Hop:
    facts = []
    if name.tried:
        facts.append(f"tried before: {', '.join(name.tried[:6])}")
    if name.alias:
        facts.append(f"an alias of {name.alias}")
    if name.captured:
        by = "ztunnel" if station.mode == "ambient" else "the proxy's agent"
        facts.append(f"answered by {by} (DNS capture)")
    if station.resolver is not None and name.kind not in ("address", "loopback"):
        facts.append(f"search list from {'/'.join(station.resolver.source.split('/')[-2:])}")
    proof = []
    if name.service is not None:
        origin = name.service.origin
        proof.append(Evidence(origin.source, origin.path, f"Service {name.service.namespace}/{name.service.name}"))
    if name.entry is not None:
        origin = name.entry.meta.origin
        proof.append(
            Evidence(origin.source, origin.path, f"ServiceEntry {name.entry.meta.namespace}/{name.entry.meta.name}")
        )
    at, what = station.key, _KIND_WORDS[name.kind]
    title = f"look up {name.asked}" if name.kind not in ("address", "loopback") else f"address {name.asked}"
    if name.fails:
        said = f"{name.full}: no such name"
        if name.kind == "external-name":
            said = f"{name.full} is an alias of {name.alias or 'nothing'}, which does not resolve"
        elif name.service is not None:
            said = f"{name.full} has no address: {what} without ready pods"
        return Hop("dns", "caller", at, title, said, tuple(facts), tuple(proof), "bad")
    if name.undecided:
        return Hop("dns", "caller", at, title, f"cannot be told: {name.undecided}", tuple(facts), tuple(proof), "warn")
    addresses = ", ".join(name.addresses)
    said = f"{name.full} is {addresses}, {what}" if name.full != addresses else what
    return Hop("dns", "caller", at, title, said, tuple(facts), tuple(proof), arrow=addresses)


def _unknown_name(sender: Sender, aim: Aim, request: Request, hops: list[Hop], name: Name) -> Trace:
    if name.kind == "external-name":
        why = f"{name.full} is an alias of {name.alias or 'nothing'}, which does not resolve"
    elif name.service is not None:
        why = f"{name.full} resolves to nothing: the headless Service has no ready pods"
    else:
        why = f"{name.asked} is no Service or ServiceEntry: the lookup fails"
    end = End("nobody", delivered=False, mtls=None, broken="dns", why=why, cause="dns")
    outcome = Outcome(end, None, (), branches([Course(1.0, end)]))
    fix = f"did you mean {' or '.join(name.suggestions)}?" if name.suggestions else ""
    finding = Finding("MT101", "error", why, fix, "dns")
    kube = KubeProxy(False, "no connection is made: the name does not resolve")
    return Trace(sender, aim, request, tuple(hops), outcome, kube, (finding,))


def _unsure(end: End, why: str) -> End:
    """An end that holds only if the name resolves; what does not depend on the answer stays."""
    if end.undecided:
        return replace(end, why=why, undecided=(why, *end.undecided))
    unknown = replace(end, answered_by=None, status=None, flags="", server_flags="", delivered=None, broken="")
    return replace(unknown, why=why, undecided=(why,), cause="")


# --- leaving the pod -------------------------------------------------------------------------------------------------


def _from_pod(scene: Scene, station: Station, address: str, port: int, request: Request) -> _Way:
    host = request.host.rsplit(":", 1)[0] if request.host.count(":") == 1 else request.host
    conn = Connection(
        source=station.pod.ip or None,
        sender=station,
        layer="tls" if request.tls else "plaintext",
        request=request,
        sni=host if request.tls else "",
    )
    if why := _unreachable(station, address):
        hop = Hop("rules", "caller", station.key, "routing", why, (), (), "bad")
        return _Way((hop,), (Course(1.0, End("nobody", delivered=False, mtls=None, broken="refused", why=why)),))
    passage, doubt = _leaving(scene, station, address, port)
    way = _onwards(scene, station, address, port, conn, passage)
    if doubt:
        return replace(way, courses=tuple(replace(c, end=_unsure(c.end, doubt)) for c in way.courses))
    return way


def _onwards(scene: Scene, station: Station, address: str, port: int, conn: Connection, passage: Passage) -> _Way:
    mine = () if station.pod.host_network else (*station.pod.ips, station.pod.ip)  # the node's own are in its rules
    own = address in mine or is_loopback(address)
    match passage.kind:
        case "proxy" if own and _is_inbound(station, passage.port):
            return _Way((), tuple(server.at_pod(scene, station, address, port, conn, passage)))
        case "proxy":
            return _captured(scene, station, address, port, conn, passage)
        case "ztunnel":
            found = ztunnel.outbound(scene, station, address, port, conn)
            return _Way((passage.hop,), tuple(found), captured=True)
        case "dropped":
            broken: Literal["refused", "timeout"] = "refused" if passage.refused else "timeout"
            end = End("nobody", delivered=False, mtls=None, broken=broken, why=passage.why, cause="rules")
            return _Way((passage.hop,), (Course(1.0, end),))
        case "undecided":
            end = End(
                None, through_client=None, through_server=None, mtls=None, why=passage.why, undecided=(passage.why,)
            )
            return _Way((passage.hop,), (Course(1.0, end),))
        case "straight" if own:
            local = rules.straight(station, "a connection of the pod to itself is not taken on its way in")
            place = replace(conn, source=address if is_loopback(address) else conn.source)
            return _Way((passage.hop,), tuple(server.at_pod(scene, station, address, port, place, local)))
        case "straight":
            return _Way((passage.hop,), tuple(network.beyond(scene, station, address, port, conn)))


INBOUND_PORT = 15006
"""Where Istio's proxies take what comes in, where a proxy's configuration does not say it."""
NOBODY = 65534
"""Stands for an owner that is nobody of the mesh, where the true one is not known (nobody's uid and gid)."""


def _leaving(scene: Scene, station: Station, address: str, port: int) -> tuple[Passage, str]:
    """The passage through the caller's rules, and why it is in doubt (empty: it is not).

    An application whose user is known is taken not to be in the proxy's group, where its group is not known.
    """
    owners = station.owners or (Owner(None, None, "the sending process is not known"),)
    found = [_of_owner(scene, station, owner, address, port) for owner in owners]
    doubts = [doubt for _, doubt in found if doubt]
    if len({(passage.kind, passage.port) for passage, _ in found}) == 1:
        return found[0][0], doubts[0] if doubts else ""
    words = "; ".join(f"uid {o.uid}: {p.why}" for o, (p, _) in zip(owners, found, strict=True))
    return found[0][0], f"it depends on which process sends it: {words}"


def _of_owner(scene: Scene, station: Station, owner: Owner, address: str, port: int) -> tuple[Passage, str]:
    passage = rules.outbound(scene, station, owner, address, port)
    if passage.kind != "undecided" or (owner.uid is not None and owner.gid is not None):
        return passage, ""
    likely = replace(
        owner, uid=NOBODY if owner.uid is None else owner.uid, gid=NOBODY if owner.gid is None else owner.gid
    )
    supposed = rules.outbound(scene, station, likely, address, port)
    if supposed.kind == "undecided":
        return passage, ""
    who = "its user and group are" if owner.uid is None else "its group is"
    fact = f"{who} not recorded: assumed not to be the proxy's"
    facts = (*(f for f in supposed.hop.facts if not f.startswith("the sender is")), fact)
    supposed = replace(supposed, hop=replace(supposed.hop, facts=facts))
    if owner.uid is not None:
        return supposed, ""
    if waiting := _not_running(station, owner):
        return supposed, f"{waiting}, so as whom it would send cannot be told, and the rules depend on it"
    return supposed, f"as whom the application runs is not recorded, and the rules depend on it ({passage.why})"


def _not_running(station: Station, owner: Owner) -> str:
    """Why the container that would send does not run, empty where it may."""
    container = next((c for c in station.pod.containers if c.name == owner.container), None)
    match container.status.state if container is not None and container.status is not None else None:
        case Waiting(reason):
            return f"container {owner.container} does not run ({reason or 'waiting'})"
        case Terminated(_, reason):
            return f"container {owner.container} does not run ({reason or 'terminated'})"
        case _:
            return ""


def _is_inbound(station: Station, port: int | None) -> bool:
    """Whether a port is where the proxy takes what comes in: its rules send its own calls to the pod there."""
    entry = station.proxy.entry("inbound") if station.proxy is not None else None
    return port in {a.port for a in entry.addresses} if entry is not None else port == INBOUND_PORT


def _captured(scene: Scene, station: Station, address: str, port: int, conn: Connection, passage: Passage) -> _Way:
    from meshctl.path.netns import listens

    listening = station.sockets is None or passage.port is None
    if not listening and listens(station.sockets or (), "127.0.0.1", passage.port or 0) is None:
        why = f"the rules send it to port {passage.port}, but nothing listens there: the proxy is not up"
        end = End("nobody", delivered=False, mtls=None, broken="refused", why=why, cause="proxy-down")
        return _Way((passage.hop,), (Course(1.0, end),), captured=True)
    if not station.has_proxy:
        why = f"the rules send it to port {passage.port}, where this pod has no proxy of the mesh"
        end = End(None, through_client=None, through_server=None, mtls=None, why=why, undecided=(why,))
        return _Way((passage.hop,), (Course(1.0, end),), captured=True)
    found = client.through_proxy(scene, station, "outbound", address, port, conn)
    return _Way((passage.hop,), found.courses, found.decisions, found.clusters, True)


# --- entering at a gateway -------------------------------------------------------------------------------------------


def _from_outside(scene: Scene, question: Question) -> Trace:
    gateway = question.gateway
    assert gateway is not None
    port = question.gateway_port or 80
    declared = "https" if question.target.scheme == "https" else ""
    usual = 443 if declared else 80
    request = target.request_for(question.target, question.target.port or usual, question.request, declared)
    host = request.host.rsplit(":", 1)[0] if request.host.count(":") == 1 else request.host
    conn = Connection(
        source=None,
        sender=None,
        layer="tls" if request.tls else "plaintext",
        request=request,
        sni=host if request.tls else "",
    )
    aim = Aim(f"{gateway.pod.name}.{gateway.pod.namespace}", question.target.host, port, gateway.pod.ip, "gateway")
    sender = Sender("", "", chosen=question.chosen or "a client outside of the cluster", others=question.others)
    first = Hop(
        "app",
        "network",
        "outside",
        "a client outside of the cluster",
        f"sends {request.method} {request.path} to the ingress gateway, port {port}",
        (f"Host: {request.host}",),
    )
    found = client.through_proxy(scene, gateway, "gateway", gateway.pod.ip, port, replace(conn, depth=1))
    kube = KubeProxy(
        None, "how the client reaches the gateway (load balancer, NodePort, host port) is outside of the trace"
    )
    way = _Way((), found.courses, found.decisions, found.clusters, True)
    return _joined(scene, sender, aim, request, (first,), [way], list(found.courses), kube, gateway)


# --- joining ---------------------------------------------------------------------------------------------------------


def _kube_proxy(scene: Scene, station: Station, name: Name, aim: Aim, way: _Way, courses: list[Course]) -> KubeProxy:
    likeliest = max(courses, key=lambda c: c.probability, default=None)
    if likeliest is not None and likeliest.kube_proxy is not None:
        return likeliest.kube_proxy
    address = name.addresses[0] if name.addresses else ""
    if not address:
        return KubeProxy(None, "the address that the name resolves to is not recorded")
    if is_loopback(address):
        return KubeProxy(False, "the connection never leaves the pod")
    if way.captured:
        place = likeliest.endpoint if likeliest is not None and likeliest.endpoint else ""
        by = "ztunnel" if station.mode == "ambient" else "the caller's proxy"
        own = name.service is not None or scene.services.at(address) is not None
        choosing = f"chooses the endpoint itself{f' ({place})' if place else ''} and connects to the pod's own address"
        why = f"{by} {choosing if own else f'connects to {place}, which is no address of a Service'}"
        if likeliest is not None and not place:
            why = f"{by} takes the connection, and it ends there"
        return kube_proxy.not_used(scene, station, address, aim.port, why)
    if name.kind in ("service", "address") and name.service is not None:
        return kube_proxy.not_used(scene, station, address, aim.port, "the connection does not reach the node's rules")
    return KubeProxy(False, f"{address} is no Service's address: kube-proxy has no rule for it")


def _joined(
    scene: Scene,
    sender: Sender,
    aim: Aim,
    request: Request,
    before: tuple[Hop, ...],
    ways: list[_Way],
    courses: list[Course],
    answer: KubeProxy,
    station: Station,
) -> Trace:
    total = sum(c.probability for c in courses) or 1.0
    courses = [replace(c, probability=c.probability / total) for c in courses]
    together = merged(courses)
    best = together[0]
    first = next((d for way in ways for d in way.decisions), None)
    shares = tuple({s.name: s for way in ways for s in way.clusters}.values())
    outcome = Outcome(
        best.end,
        _route(ways),
        shares,
        branches(courses),
        _retries(first),
        f"{first.timeout_s:g}s" if first is not None and first.timeout_s else None,
        first.mirrors if first is not None else (),
    )
    hops = tuple(map(_unnamed, _with_node((*before, *best.hops), answer, station)))
    findings = (*_findings(together, aim), *_stale(hops, aim))
    return Trace(sender, aim, request, hops, outcome, answer, findings, tuple(_gaps(scene, station, best)))


def _unnamed(hop: Hop) -> Hop:
    """A hop without the address that stands for one that is not known."""
    if ANYWHERE not in f"{hop.title}{hop.decision}{hop.arrow}":
        return hop
    title, decision, arrow = (
        text.replace(f"{ANYWHERE}:", "that address, port ").replace(ANYWHERE, "that address")
        for text in (hop.title, hop.decision, hop.arrow)
    )
    return replace(hop, title=title, decision=decision, arrow=arrow)


def _with_node(hops: tuple[Hop, ...], answer: KubeProxy, station: Station) -> tuple[Hop, ...]:
    """The hops with the node's part said where the connection crosses it without kube-proxy having a say."""
    at = next((index for index, hop in enumerate(hops) if hop.kind == "wire"), None)
    if at is None or answer.used is not False or any(hop.kind == "kube-proxy" for hop in hops):
        return hops
    said = f"not used: {answer.why}"
    facts = (answer.choice,) if answer.choice else ()
    node = Hop("kube-proxy", "node", station.pod.node, "kube-proxy", said, facts, answer.evidence)
    return (*hops[: at + 1], replace(node, arrow=hops[at].arrow), *hops[at + 1 :])


def _route(ways: list[_Way]) -> str | None:
    best = max((d for way in ways for d in way.decisions), key=lambda d: d.probability, default=None)
    return best.route if best is not None else None


def _retries(decision: Decision | None) -> Retries | None:
    policy = decision.retry if decision is not None else None
    if policy is None or not policy.attempts:
        return None
    per_try = f"{policy.per_try_timeout_s:g}s" if policy.per_try_timeout_s else ""
    return Retries(policy.attempts, ",".join(policy.on), per_try)


_IDS = (("UH", "MT102"), ("NC", "MT103"), ("NR", "MT104"))
_OF_CAUSE: Mapping[Cause, str] = {
    "dns": "MT101",
    "no-endpoint": "MT102",
    "no-cluster": "MT103",
    "no-route": "MT104",
    "policy": "MT105",
    "fault": "MT106",
    "mutual-tls": "MT107",
    "strict": "MT107",
    "nobody-listens": "MT108",
}
_FIXES: Mapping[Cause, str] = {
    "no-endpoint": "meshctl proxy endpoints shows what the proxy knows",
    "no-cluster": "name a host and subset that exist in the VirtualService",
    "no-route": "add a route for this host and path, or correct the request",
    "policy": "change the policy, or call with what it asks for",
    "fault": "remove fault.abort from the VirtualService",
    "mutual-tls": "let both ends agree: PeerAuthentication of the callee, DestinationRule of the caller",
    "strict": "let the caller speak mutual TLS (a sidecar, and the Service's name), or set PERMISSIVE for the port",
    "registry-only": "add a ServiceEntry for it, name it in the Sidecar's egress hosts, or set ALLOW_ANY",
    "nobody-listens": "let targetPort name the port that the application listens on, on all addresses",
    "proxy-down": "meshctl describe pod shows why the proxy is not up",
    "no-port": "call a port that the Service has",
    "no-service": "call a Service by its name: the address is no Service's (any more)",
    "kube-proxy": "kubectl get endpointslices shows the Service's endpoints: let its selector fit pods that are ready",
    "rules": "meshctl iptables diff shows which rules are not the mesh's",
}


def _findings(courses: list[Course], aim: Aim) -> Iterator[Finding]:
    told: set[tuple[str, str]] = set()
    for course in courses:
        end = course.end
        if succeeds(end) is not False or (end.why, end.flags) in told:
            continue
        told.add((end.why, end.flags))
        alike = [c for c in courses if (c.end.why, c.end.flags) == (end.why, end.flags) and succeeds(c.end) is False]
        chance = sum(c.probability for c in alike)
        share = "" if chance > 0.999 else f" ({chance:.0%} of the requests)"
        severity: Literal["error", "warning"] = "error" if chance > 0.5 else "warning"
        text = f"{aim.service}:{aim.port}{share}: {end.why}"
        yield Finding(_id(end), severity, text, _FIXES.get(end.cause, ""), end.cause)


def _stale(hops: Iterable[Hop], aim: Aim) -> Iterator[Finding]:
    """Where what runs is not what the resources say: the outcome is that of what runs."""
    for hop in hops:
        if hop.stale:
            text = f"{aim.service}:{aim.port}: {hop.title} at {hop.at} is not up to date: {hop.stale}"
            yield Finding("MT109", "warning", text, "see whether the proxy hears of changes: istioctl proxy-status")


def _id(end: End) -> str:
    """The finding that an end is: by Envoy's flag where there is one that names it, else by its cause."""
    words = set(end.flags.split(",")) | set(end.server_flags.split(","))
    by_flag = next((id_ for flag, id_ in _IDS if flag in words), "")
    return by_flag or _OF_CAUSE.get(end.cause, "MT199")


_TOLD = ("netns/iptables-save.txt", "envoy/config_dump.json", "envoy/clusters.json", "netns/sockets.txt")


def _gaps(scene: Scene, station: Station, course: Course) -> Iterator[str]:
    yield from dict.fromkeys((*scene.gaps, *filter(None, (scene.services_gap, scene.endpoints_gap))))
    seen: set[str] = set()
    callee = scene.pod_named(course.pod) if course.pod else None
    for place in (station, scene.station(callee) if callee is not None else None):
        if place is None or place.key in seen:
            continue
        seen.add(place.key)
        for part, gap in place.gaps.items():
            if part in _TOLD:
                yield gap


def verdict(found: Trace) -> bool | None:
    """Whether the likeliest outcome is a success; None where it cannot be told."""
    return succeeds(found.outcome.end)

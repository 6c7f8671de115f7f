"""The whole path of one request: name, caller's rules, proxies, wire, callee's rules, socket, and one outcome."""

from dataclasses import replace

from meshctl.errors import BadInput
from meshctl.frozen import dataclass
from meshctl.path import client, entering, leaving, lifetime, lookup, target, tries, wire
from meshctl.path.dns import Name
from meshctl.path.hosts import ANYWHERE
from meshctl.path.joining import joined, kube_proxy_answer
from meshctl.path.leaving import Way
from meshctl.path.model import Aim, End, Finding, Hop, KubeProxy, Outcome, Request, Sender, Trace, succeeds
from meshctl.path.outcome import Course, branches, unsure
from meshctl.path.scene import Scene, Station
from meshctl.refs import Target
from meshctl.words import show_address


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
        question = replace(
            question, caller=_proxy_as_it_is(scene, question.caller), gateway=_proxy_as_it_is(scene, question.gateway)
        )


def _proxy_as_it_is(scene: Scene, station: Station | None) -> Station | None:
    """A station of the question after the scene did without a broken proxy; who sends was said, and stays."""
    if station is None:
        return None
    known = scene.station(station.pod)
    return replace(station, proxy=known.proxy, gaps={**station.gaps, **known.gaps})


def _trace(scene: Scene, question: Question) -> Trace:
    if question.caller is None:
        return _from_outside(scene, question)
    station = question.caller
    name = lookup.name_of(scene, station, question.target)
    aim, request = _aim(question, name)
    hops = [_app_hop(station, aim, request), lookup.hop(scene, station, name)]
    sender = _sender(scene, station, question)
    if (end := lifetime.sends_nothing(station)) is not None:
        return _unsent(sender, aim, request, hops[0], end)
    if name.fails:
        return _unknown_name(sender, aim, request, hops, name)
    addresses = leaving.of_own_family(station, name.addresses) or name.addresses or (_anywhere(station),)
    ways = [leaving.from_pod(scene, station, address, aim.port, request) for address in addresses]
    tried = tries.in_turn(addresses, ways, aim.port)
    ways, shared = list(tried.ways), list(tried.courses)
    if name.undecided:
        shared = [replace(c, end=_unresolved(c.end, name)) for c in shared]
    first = replace(name, addresses=tried.addresses) if name.addresses else name
    answer = kube_proxy_answer(scene, station, first, aim, ways[0], shared)
    if tried.facts:
        hops[1] = replace(hops[1], facts=(*hops[1].facts, *tried.facts))
    return joined(scene, sender, aim, request, (*hops, *ways[0].hops), ways, shared, answer, station)


def _unresolved(end: End, name: Name) -> End:
    """An end where it is not known what the name resolves to, if it does: that may fail all the same."""
    refused = name.foreign and end.cause == "registry-only"
    if end.undecided or succeeds(end) is not False or not (refused or name.addresses):
        return unsure(end, name.undecided)
    answer = f"{end.status} from the caller's proxy: " if end.status is not None else ""
    why = f"{answer}{end.why}; and if {name.asked} does not resolve, the request does not even get that far"
    return End(None, delivered=False, through_client=None, mtls=None, why=why, cause=end.cause)


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


def _app_hop(station: Station, aim: Aim, request: Request) -> Hop:
    if request.protocol == "tcp":
        what = "a TLS connection" if request.tls else "a TCP connection"
    else:
        what = f"{request.method} {request.path}{' over TLS' if request.tls else ''}"
    owners = {(o.uid, o.gid): o for o in station.owners}
    facts = []
    for owner in owners.values():
        uid = "unknown" if owner.uid is None else owner.uid
        gid = "unknown" if owner.gid is None else owner.gid
        facts.append(f"sent as uid {uid}, gid {gid} ({owner.source})")
    if request.protocol != "tcp" and request.host:
        facts.append(f"Host: {request.host}")
    facts += _server_name(request)
    facts += [f"{name}: {value}" for name, value in request.headers]
    if not station.has_proxy and station.mode != "ambient":
        facts.append("this pod has no proxy: it is outside of the mesh")
    said = f"sends {what} to {show_address(aim.host, aim.port)}"
    return Hop("app", "caller", station.key, "the application", said, tuple(facts))


def _anywhere(station: Station) -> str:
    """Some address outside, of the family that the pod has (of IPv4 where it has both)."""
    own = [ip for ip in (station.pod.ip, *station.pod.ips) if ip]
    return ANYWHERE[1] if own and all(":" in ip for ip in own) else ANYWHERE[0]


def _server_name(request: Request) -> list[str]:
    return [f"SNI: {wire.server_name(request) or 'none (an address is no server name)'}"] if request.tls else []


_ASK_THE_CLUSTER = (
    "let the pod ask the cluster's DNS: dnsPolicy ClusterFirst, on the node's network ClusterFirstWithHostNet"
)


def _unknown_name(sender: Sender, aim: Aim, request: Request, hops: list[Hop], name: Name) -> Trace:
    if name.why:
        why = f"{name.why}: the lookup fails"
    elif name.kind == "external-name":
        why = f"{name.full} is an alias of {name.alias or 'nothing'}, which does not resolve"
    elif name.service is not None:
        why = f"{name.full} resolves to nothing: the headless Service has no ready pods"
    elif name.by_node:
        why = f"{name.asked} is asked of the node's resolver, which completes no name of one label: the lookup fails"
    else:
        why = f"{name.asked} is no Service or ServiceEntry: the lookup fails"
    end = End("nobody", delivered=False, mtls=None, broken="dns", why=why, cause="dns")
    outcome = Outcome(end, None, (), branches([Course(1.0, end)]))
    fix = f"did you mean {' or '.join(name.suggestions)}?" if name.suggestions else ""
    fix = _ASK_THE_CLUSTER if name.by_node else fix
    finding = Finding("MT101", "error", why, fix, "dns")
    kube = KubeProxy(False, "no connection is made: the name does not resolve")
    return Trace(sender, aim, request, tuple(hops), outcome, kube, (finding,))


def _unsent(sender: Sender, aim: Aim, request: Request, hop: Hop, end: End) -> Trace:
    finding = Finding("MT114", "error", end.why, "name a pod that runs: --from POD", end.cause)
    hop = replace(hop, decision=end.why, mood="bad", arrow="")
    outcome = Outcome(end, None, (), branches([Course(1.0, end)]))
    return Trace(sender, aim, request, (hop,), outcome, KubeProxy(False, "no connection is made"), (finding,))


def _from_outside(scene: Scene, question: Question) -> Trace:
    gateway = question.gateway
    assert gateway is not None
    port = question.gateway_port or 80
    declared = "https" if question.target.scheme == "https" else ""
    usual = 443 if declared else 80
    request = target.request_for(question.target, question.target.port or usual, question.request, declared)
    conn = wire.by_application(request, None)
    aim = Aim(f"{gateway.pod.name}.{gateway.pod.namespace}", question.target.host, port, gateway.pod.ip, "gateway")
    sender = Sender("", "", chosen=question.chosen or "a client outside of the cluster", others=question.others)
    first = Hop(
        "app",
        "network",
        "outside",
        "a client outside of the cluster",
        f"sends {request.method} {request.path} to the ingress gateway, port {port}",
        (*_as_services(scene, gateway, port), f"Host: {request.host}", *_server_name(request)),
    )
    found = client.through_proxy(scene, gateway, "gateway", gateway.pod.ip, port, replace(conn, depth=1))
    courses = entering.kept_out(scene, gateway, port, conn, found.decisions) or found.courses
    kube = KubeProxy(
        None, "how the client reaches the gateway (load balancer, NodePort, host port) is outside of the trace"
    )
    reached = courses is found.courses
    way = Way((), courses, found.decisions if reached else (), found.clusters if reached else (), True)
    return joined(scene, sender, aim, request, (first,), [way], list(courses), kube, gateway)


def _as_services(scene: Scene, gateway: Station, port: int) -> list[str]:
    """The ports of Services behind which a gateway's port is."""
    pod = gateway.pod
    return [
        f"{port} in the pod is port {entry.number} of Service {one.name}"
        for one in scene.services.of_pod(pod.namespace, pod.labels)
        for entry in one.ports
        if entry.number != port == pod.port_of(entry.target, entry.protocol)
    ]


def verdict(found: Trace) -> bool | None:
    """Whether the likeliest outcome is a success; None where it cannot be told."""
    return succeeds(found.outcome.end)

"""From what the user typed after ``meshctl trace`` to a question that can be answered: who, what, where."""

import re
from dataclasses import replace

from meshctl.envoy.ask import header
from meshctl.errors import BadInput, NotFound
from meshctl.frozen import dataclass
from meshctl.gather import pods as gather_pods
from meshctl.gather import senders
from meshctl.gather.scope import Scope
from meshctl.injection.mode import recognise
from meshctl.istio.resource import host_fits
from meshctl.kube.pod_list import heads
from meshctl.kube.pods import Pod
from meshctl.kube.services import Service
from meshctl.path import caller, netns
from meshctl.path.gateway_servers import configures
from meshctl.path.model import Request
from meshctl.path.scene import Owner, Scene, Station
from meshctl.path.target import TLS_SCHEMES
from meshctl.path.trace import Question
from meshctl.path.wire import bare
from meshctl.refs import Target, parse_target
from meshctl.sources.world import World

INGRESS = ("ingress", "ingressgateway", "gateway", "outside")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The words of the command line; None and empty mean not given."""

    target: str
    sender: str | None = None
    path: str | None = None
    method: str | None = None
    headers: tuple[str, ...] = ()
    host: str | None = None
    sni: str | None = None
    uid: int | None = None
    gid: int | None = None


def question(world: World, scene: Scene, asked: Asked, scope: Scope) -> Question:
    """Resolve the caller and the request.

    Raises NotFound for a caller or namespace that is not there, BadInput for a Service named as pods are.
    """
    target = parse_target(asked.target)
    _demand_no_namespace_before_a_slash(scene, target)
    _demand_a_name_that_can_be_asked_for(scene, target)
    if asked.path is not None:
        target = replace(target, path=_path(asked.path))
    request = _request(asked)
    if asked.sender is not None and asked.sender.lower() in INGRESS:
        return _through_ingress(scene, target, request, scope)
    if asked.sender is not None:
        key = gather_pods.key(world, asked.sender, scope)
        pod = scene.pod_named(key) or gather_pods.one(world, asked.sender, scope)
        station = _as_whom(senders.with_users(world, scene.station(pod)), asked)
        return Question(caller=station, target=target, request=request)
    choice = _chosen(world, scene, target, scope)
    station = _as_whom(senders.with_users(world, scene.station(choice.pod)), asked)
    return Question(caller=station, target=target, request=request, chosen=choice.why, others=choice.others)


def _demand_no_namespace_before_a_slash(scene: Scene, target: Target) -> None:
    """``shop/web:80`` names a pod's kin, not a target: read as a URL it asks the host ``shop`` for ``/web:80``."""
    if target.scheme or target.port is not None or not target.path:
        return
    name, colon, port = target.path[1:].partition(":")
    services = scene.services.services
    if any(s.name == target.host for s in services):
        return
    if any((s.name, s.namespace) == (name, target.host) for s in services):
        better = f"{name}.{target.host}{colon}{port}"
        raise BadInput(
            f"'{target.text}' is no target: what stands before a slash is the host, and {target.host} is a namespace",
            hint=f"the Service {name} in namespace {target.host} is {better}",
        )


def _demand_a_name_that_can_be_asked_for(scene: Scene, target: Target) -> None:
    """What is no address may not look like one, and keeps the limits of DNS (RFC 1035, 2.3.4) that resolvers keep."""
    if target.address is not None or any(s.name == target.host for s in scene.services.services):
        return
    labels = target.host.split(".")
    forms = "use SERVICE:PORT, SERVICE.NS:PORT, IP:PORT, [IPV6]:PORT or a URL"
    if not target.host:
        raise BadInput(f"'{target.text}' is no target: it has no host", hint=forms)
    if ":" in target.host and "%" not in target.host:
        raise BadInput(
            f"'{target.text}' is no target: '{target.host}' is neither a name nor an IPv6 address", hint=forms
        )
    if all(label.isdigit() for label in labels):
        raise BadInput(f"'{target.text}' is no target: '{target.host}' is no IP address", hint="as in 10.0.0.1:80")
    if max(len(label.encode()) for label in labels) > 63 or len(target.host.encode()) > 253:
        limit = "a name in DNS has at most 63 bytes between its dots, and 253 in all"
        raise BadInput(f"'{target.text[:60]}...' is no target: its host is too long to be looked up", hint=limit)


def _as_whom(station: Station, asked: Asked) -> Station:
    """The caller with the user and group that were asked for; what is not asked for is as it was found."""
    if asked.uid is None and asked.gid is None:
        return station
    first = next(iter(station.owners), Owner(None, None, ""))
    uid = first.uid if asked.uid is None else asked.uid
    gid = first.gid if asked.gid is None else asked.gid
    return replace(station, owners=(Owner(uid, gid, "as asked for", first.container),))


def _request(asked: Asked) -> Request:
    headers = []
    host = asked.host or ""
    for text in asked.headers:
        name, value = header(text)
        if name in ("host", ":authority"):
            host = host or value
        else:
            headers.append((name, value))
    sni = asked.sni.strip().rstrip(".") if asked.sni is not None else None
    return Request(method=asked.method or "GET", host=host, headers=tuple(headers), sni=sni)


def _path(text: str) -> str:
    """A path as clients send it: from a slash on (``OPTIONS *`` has none), and without a fragment."""
    path = text.partition("#")[0]
    return path if path.startswith("/") or path == "*" else f"/{path}"


# --- the caller ------------------------------------------------------------------------------------------------------


def _chosen(world: World, scene: Scene, target: Target, scope: Scope) -> caller.Choice:
    namespace = scope.namespace or _home(world, scene, target)
    if scope.namespace and scope.namespace not in {*scene.namespaces, *(p.namespace for p in heads(scene.pods))}:
        known = ", ".join(sorted({p.namespace for p in heads(scene.pods)}))
        raise NotFound(f"there is no namespace '{scope.namespace}' here", hint=f"there are: {known}")
    service = _service(scene, target, namespace)
    meshed = [p for p in scene.pods_in(namespace) if _may_send(p)]
    evidence = (
        ("access log", lambda pod: _logged(world, pod, service, target)),
        ("proxy's statistics", lambda pod: _counted(world, pod, service, target)),
        ("connection tracking", lambda pod: _tracked(world, scene, pod, service, target)),
    )
    choice = caller.choose(meshed, service, evidence) if service is not None else caller.choose(meshed, None, ())
    if choice is None:
        others = [p for p in scene.pods_in(namespace) if p.phase in ("", "Running")]
        choice = caller.choose(others, service, ())
        if choice is not None:
            choice = replace(choice, why=choice.why.replace("meshed ", ""))
    if choice is None:
        raise NotFound(
            f"no pod runs in namespace {namespace}, so nobody could call", hint="name a caller with --from POD"
        )
    return choice


def _may_send(pod: Pod) -> bool:
    mode = recognise(pod).mode
    return mode in ("sidecar", "native-sidecar", "ambient") and pod.phase in ("", "Running")


def _home(world: World, scene: Scene, target: Target) -> str:
    """The namespace to look for a caller in: the world's own choice, else the only one that has the service."""
    chosen = world.default_namespace()
    if chosen:
        return chosen
    labels = target.host.split(".")
    control = scene.mesh.config.root_namespace
    recorded = [n for n in world.namespaces() if n != control]
    having = [s.namespace for s in scene.services.services if s.name == labels[0] and s.namespace in recorded]
    if len(labels) > 1 and labels[1] in recorded:
        return labels[1]
    if len(having) == 1:
        return having[0]
    return "default" if "default" in recorded or not recorded else recorded[0]


def _service(scene: Scene, target: Target, namespace: str) -> Service | None:
    if target.address:
        return scene.services.at(target.address)
    labels = target.host.split(".")
    return scene.services.named(labels[0], labels[1] if len(labels) > 1 else namespace)


def _pattern(service: Service, target: Target) -> re.Pattern[bytes]:
    port = str(target.port) if target.port is not None else r"\d+"
    host = re.escape(f"{service.name}.{service.namespace}.svc.")
    return re.compile(rf"outbound\|{port}\|[^|;\s\"]*\|{host}".encode())


def _logged(world: World, pod: Pod, service: Service | None, target: Target) -> int:
    if service is None:
        return 0
    content = world.part(pod.namespace, pod.name, "logs/istio-proxy.txt").content
    if not content or f"|{service.name}.{service.namespace}.svc.".encode() not in content:
        return 0
    return len(_pattern(service, target).findall(content))


def _counted(world: World, pod: Pod, service: Service | None, target: Target) -> int:
    """Requests and connections that the running proxy counted towards the service's hosts."""
    if service is None:
        return 0
    from meshctl.envoy import clusters_json

    part = world.part(pod.namespace, pod.name, "envoy/clusters.json")
    if part.content is None:
        return 0
    pattern = _pattern(service, target)
    if not pattern.search(part.content):
        return 0
    total = 0
    try:
        clusters = clusters_json.parse(part.content, part.source)
    except BadInput:
        return 0  # the trace of this pod names it
    for name, cluster in clusters.items():
        if pattern.match(name.encode()):
            total += sum(max(h.counters.get("rq_total", 0), h.counters.get("cx_total", 0)) for h in cluster.hosts)
    return total


def _tracked(world: World, scene: Scene, pod: Pod, service: Service | None, target: Target) -> int:
    if service is None:
        return 0
    content = world.part(pod.namespace, pod.name, "netns/conntrack.txt").content
    if not content:
        return 0
    places = {(address, port.number) for address in service.addresses for port in service.ports}
    places |= {(e.address, number) for e in scene.services.endpoints(service) for _, number in e.ports}
    if target.port is not None and service.port(target.port) is None:
        return 0
    found = netns.connections(content.decode("utf-8", "replace"))
    own = {pod.ip, *pod.ips}
    return sum(c.source in own and (c.destination, c.port) in places for c in found)


# --- the ingress gateway ---------------------------------------------------------------------------------------------


def _through_ingress(scene: Scene, target: Target, request: Request, scope: Scope) -> Question:
    gateways = _gateways(scene)
    if not gateways:
        raise NotFound("there is no ingress gateway here", hint="name a pod with --from POD")
    gateways.sort(key=lambda pod: not _serves(scene, pod, request.host or target.host))
    gateway = scene.station(gateways[0])
    namespace = scope.namespace or ""
    service = _service(scene, target, namespace) or _any_named(scene, target)
    own = _service_of(scene, gateway)
    host = request.host
    if not host and service is not None and service is not own:
        host = _public_host(scene, service) or target.host
    port = _gateway_port(scene, gateway.pod, target, service, own)
    stands_for_another = service is not None and (service is not own or target.address is None)
    if target.scheme in TLS_SCHEMES and stands_for_another and request.sni is None:
        # The Service says what is asked of the gateway: the client's URL has the public name.
        request = replace(request, sni=bare(host or target.host))
    why = f"a client outside of the cluster, through {gateway.key}, port {port}"
    others = tuple(f"{p.namespace}/{p.name}" for p in gateways[1:])
    return Question(
        caller=None,
        target=target,
        request=replace(request, host=host or request.host),
        gateway=gateway,
        gateway_port=port,
        chosen=why,
        others=others,
    )


def _gateways(scene: Scene) -> list[Pod]:
    found = [
        pod
        for pod in scene.pods
        if (injection := recognise(pod)).mode == "gateway"
        and injection.agent_mode != "waypoint"
        and pod.phase in ("", "Running")
    ]
    return sorted(found, key=lambda pod: ("ingress" not in pod.name, not pod.ready, pod.namespace, pod.name))


def _serves(scene: Scene, pod: Pod, host: str) -> bool:
    """Whether a Gateway that names a host (not all hosts) is for this pod."""
    return any(
        configures(scene, pod, gateway)
        and any(host_fits(name.rpartition("/")[2], host) for name in server.hosts if not name.endswith("*"))
        for gateway in (*scene.told.gateways, *scene.told.api.gateways)
        for server in gateway.servers
    ) or any(
        configures(scene, pod, gateway) and any(host_fits(name, host) for name in service.hosts if name != "*")
        for gateway in (*scene.told.gateways, *scene.told.api.gateways)
        for service in (*scene.told.virtual_services, *scene.told.api.routes)
        if gateway.key in {g if "/" in g else f"{service.meta.namespace}/{g}" for g in service.gateways}
    )


def _any_named(scene: Scene, target: Target) -> Service | None:
    name = target.host.split(".")[0]
    found = [s for s in scene.services.services if s.name == name]
    return found[0] if len(found) == 1 else None


def _service_of(scene: Scene, gateway: Station) -> Service | None:
    pod = gateway.pod
    return next((s for s in scene.services.of_pod(pod.namespace, pod.labels) if s.ports), None)


def _public_host(scene: Scene, service: Service) -> str:
    """The host of a VirtualService that a gateway uses for this service; empty where there is none but ``*``."""
    for virtual in (*scene.told.virtual_services, *scene.told.api.routes):
        if virtual.gateways == ("mesh",):
            continue
        to = {d.host for rule in virtual.http for d in rule.destinations}
        if service.full_name in to or f"{service.name}.{service.namespace}" in to:
            return next((h for h in virtual.hosts if not h.startswith("*")), "")
    return ""


def _gateway_port(scene: Scene, pod: Pod, target: Target, service: Service | None, own: Service | None) -> int:
    """The port of the gateway's pod: what its `own` Service maps the asked (else the usual) port to."""
    asked = target.port if target.port is not None and (service is None or service is own) else None
    usual = 443 if target.scheme == "https" else 80
    if own is not None:
        for entry in own.ports:
            mapped = entry.number == (asked or usual) or (asked is not None and entry.node_port == asked)
            if mapped and (number := pod.port_of(entry.target)) is not None:
                return number
        if asked is not None and any(pod.port_of(entry.target) == asked for entry in own.ports):
            return asked
    if asked is None:
        for one in scene.told.gateways:
            for server in one.servers:
                if server.protocol in ("HTTP", "HTTP2") and target.scheme != "https":
                    return server.port
    return asked or usual

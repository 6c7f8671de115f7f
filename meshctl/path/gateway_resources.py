"""What a gateway was told, from Gateways and VirtualServices alone, where its configuration was not recorded.

Followed is ``pilot/pkg/networking/core/gateway.go`` (1.30): servers by port, TLS by name, then the VirtualServices that
name the Gateway. What a client shows in its handshake beyond the name is not known here.
"""

from collections.abc import Sequence
from dataclasses import replace

from meshctl.istio.entries import Gateway, GatewayServer
from meshctl.istio.mesh import virtual_services_for
from meshctl.istio.resource import host_fits, selects
from meshctl.kube.services import ServicePort
from meshctl.path import route_rules
from meshctl.path.assumed import only_port, step
from meshctl.path.decision import NO_LISTENER, Decision, Refusal
from meshctl.path.model import Request
from meshctl.path.rule_fits import Setting
from meshctl.path.scene import Scene, Station
from meshctl.path.wire import bare, server_name

_Server = tuple[Gateway, GatewayServer]
_PLAIN = ("HTTP", "HTTP2", "GRPC", "GRPC-WEB")


def decide(scene: Scene, station: Station, port: int, request: Request) -> Decision:
    """What a gateway does with a request to one of its ports."""
    named = [
        (gateway, server)
        for gateway in (*scene.told.gateways, *scene.told.api.gateways)
        if selects(gateway.selector, station.pod.labels)
        for server in gateway.servers
        if _opens(scene, station, server.port, port)
    ]
    if not named:
        why = f"no Gateway opens port {port} on {station.pod.name}"
        if elsewhere := _unrecorded(scene):
            return Decision(undecided=(f"{why}, but {elsewhere}",), assumed=True)
        return _refused(Refusal(None, "", NO_LISTENER, why, "connection"), "", why)
    if request.tls:
        return _with_tls(scene, station, port, request, named)
    plain = [(g, s) for g, s in named if s.protocol in _PLAIN]
    if plain and request.protocol != "tcp":
        return _http(scene, station, port, request, plain)
    tcp = [(g, s) for g, s in named if s.protocol in ("TCP", "MONGO", "MYSQL", "REDIS")]
    if tcp:
        return _tcp(scene, station, port, request, tcp)
    if plain:
        return _refused(Refusal(400, "DPE", "", "bytes that are no HTTP reach an HTTP port of the gateway"), "", "")
    why = f"port {port} of the gateway takes TLS only ({named[0][0].meta}), and this is plain text"
    return _refused(
        Refusal(None, "NR", "filter_chain_not_found", why, "connection", "no-route"), str(named[0][0].meta), why
    )


def _unrecorded(scene: Scene) -> str:
    """Which namespaces may hold more of the mesh's resources, empty where all were recorded."""
    left = [name for name in scene.namespaces if scene.recorded and name not in scene.recorded]
    return f"what namespaces {', '.join(left[:3])} have was not recorded" if left else ""


def _refused(refusal: Refusal, chosen: str, why: str) -> Decision:
    return Decision(refusal=refusal, steps=(step("listener", chosen, why),) if why else (), assumed=True)


def _opens(scene: Scene, station: Station, written: int, port: int) -> bool:
    """Whether a Gateway's port is this port of the pod: itself, or what the gateway's Service maps it to."""
    if written == port:
        return True
    return any(
        entry.number == written and _target(station, entry) == port
        for service in scene.services.services
        if service.namespace == station.pod.namespace and service.selects(station.pod.labels)
        for entry in service.ports
    )


def _target(station: Station, entry: ServicePort) -> int:
    if entry.target.isdecimal():
        return int(entry.target)
    ports = (port for container in station.pod.containers for port in container.ports)
    return next((port.number for port in ports if port.name == entry.target), 0)


def _names(server: GatewayServer) -> tuple[str, ...]:
    return tuple(host.rpartition("/")[2] for host in server.hosts)


def _with_tls(scene: Scene, station: Station, port: int, request: Request, named: Sequence[_Server]) -> Decision:
    sni = server_name(request)
    secure = [(g, s) for g, s in named if s.tls or s.protocol in ("TLS", "HTTPS")]
    if not secure:
        why = f"port {port} of the gateway takes plain HTTP, and this is TLS"
        return _refused(Refusal(None, "DPE", "", why, "connection"), str(named[0][0].meta), why)
    fitting = [(g, s) for g, s in secure if any(host_fits(name, sni) for name in _names(s))]
    if not fitting:
        why = f"no server of the gateway's port {port} has the name {sni}"
        return _refused(Refusal(None, "NR", "filter_chain_not_found", why, "connection", "no-route"), "", why)
    gateway, server = fitting[0]
    match server.tls:
        case "SIMPLE" | "OPTIONAL_MUTUAL":
            serve = _http if server.protocol in ("HTTPS", *_PLAIN) else _tcp
            return _inside(serve(scene, station, port, request, fitting), request)
        case "PASSTHROUGH":
            return _tcp(scene, station, port, request, fitting)
        case mode:
            why = f"{gateway.meta} has TLS mode {mode} on port {port}: what the client shows there is not known"
            return Decision(undecided=(why,), assumed=True)


def _inside(decision: Decision, request: Request) -> Decision:
    """A decision about what was inside the client's TLS, which ends here."""
    return replace(decision, forwarded=replace(decision.forwarded or request, tls=False), terminated=True)


def _http(scene: Scene, station: Station, port: int, request: Request, named: Sequence[_Server]) -> Decision:
    host = bare(request.host)
    fitting = [(g, s) for g, s in named if any(host_fits(name, host) for name in _names(s))]
    if any(s.redirects for _, s in fitting) and not request.tls:
        why = f"{fitting[0][0].meta} sends plain HTTP on to https"
        return _refused(Refusal(301, "", "direct_response", why), str(fitting[0][0].meta), why)
    keys = tuple(dict.fromkeys(f"{g.meta.namespace}/{g.meta.name}" for g, _ in fitting))
    found = [s for key in keys for s in virtual_services_for(scene.told, host, station.pod.namespace, key) if s.http]
    shown = ", ".join(keys or (str(named[0][0].meta),))
    said = step("listener", shown, f"{named[0][0].meta} opens port {port}", named[0][0].meta.origin)
    if not found:
        because = f"no VirtualService of {shown} is about host {host}"
        if elsewhere := _unrecorded(scene):
            return Decision(undecided=(f"{because}, but {elsewhere}",), steps=(said,), assumed=True)
        refusal = Refusal(404, "NR", "route_not_found", because, cause="no-route")
        return Decision(refusal=refusal, steps=(said,), assumed=True)
    best = _best(found[0].hosts, host)
    alike = [s for s in found if _best(s.hosts, host) == best]
    setting = _setting(station, fitting, keys)
    return route_rules.http(
        tuple(dict.fromkeys(alike)), scene.told.virtual_services, setting, request, said, only_port(scene)
    )


def _setting(station: Station, named: Sequence[_Server], keys: tuple[str, ...]) -> Setting:
    """Rules speak of the port that the Gateway has, not of the pod's."""
    gateways = (*keys, *(key.partition("/")[2] for key in keys))
    return Setting(named[0][1].port, station.pod.namespace, station.pod.labels, gateways)


def _best(hosts: Sequence[str], host: str) -> tuple[bool, int]:
    return max((not pattern.startswith("*"), len(pattern)) for pattern in hosts if host_fits(pattern, host))


def _tcp(scene: Scene, station: Station, port: int, request: Request, named: Sequence[_Server]) -> Decision:
    keys = tuple(dict.fromkeys(f"{g.meta.namespace}/{g.meta.name}" for g, _ in named))
    setting = _setting(station, named, keys)
    wanted = set(keys)
    services = [
        s
        for s in (*scene.told.virtual_services, *scene.told.api.routes)
        if wanted & {g if "/" in g else f"{s.meta.namespace}/{g}" for g in s.gateways}
    ]
    said = step("listener", keys[0], f"{named[0][0].meta} opens port {port}", named[0][0].meta.origin)
    found = route_rules.tcp(services, setting, request, said, only_port(scene))
    if found is not None:
        return found
    why = f"no VirtualService of {', '.join(keys)} has a route for the connection"
    return _refused(Refusal(None, "NR", "filter_chain_not_found", why, "connection", "no-route"), keys[0], why)

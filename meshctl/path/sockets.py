"""The end of the path: what listens in the pod on the address and port that the connection reaches."""

from meshctl.kube.services import Endpoint
from meshctl.path.model import End, Evidence, Hop
from meshctl.path.netns import Socket, listens
from meshctl.path.outcome import Course, untold
from meshctl.path.scene import Scene, Station
from meshctl.path.target import protocol_of
from meshctl.path.wire import Connection
from meshctl.words import show_address

TLS_WORDS = ("https", "tls")
"""What a port is declared to speak whose application ends TLS itself."""

_HTTP2_WORDS = ("http2", "grpc", "grpc-web", "kubernetes.io/h2c")
AGENT_PORTS = (15004, 15020, 15053)
"""What pilot-agent listens on itself: istiod's debug interface passed on, metrics and health, DNS."""


def not_up(station: Station, address: str, port: int | None) -> End | None:
    """How a connection ends that the rules send to a proxy's port where nothing listens; None where something may.

    A proxy of one family has no listener for the other, though the pod may have rules for both.
    """
    if not port:
        return None
    if station.sockets is not None:
        if listens(station.sockets, address, port) is not None:
            return None
        others = any(one.proto == "tcp" and one.port == port for one in station.sockets)
    else:
        hosts = bound(station, port)
        if not hosts or any((":" in host) == (":" in address) for host in hosts):
            return None
        others = True
    if not others:
        why = f"the rules send it to port {port}, but nothing listens there: the proxy is not up"
        return End("nobody", delivered=False, mtls=None, broken="refused", why=why, cause="proxy-down")
    family = "IPv6" if ":" in address else "IPv4"
    why = f"the rules send it to port {port}, where the proxy does not listen for {family}"
    return End("nobody", delivered=False, mtls=None, broken="refused", why=why, cause="family")


def bound(station: Station, port: int) -> list[str]:
    """The addresses at which the proxy's configuration has listeners of its own on a port."""
    if station.proxy is None:
        return []
    return [a.host for one in station.proxy.serving(port) if one.bind for a in one.addresses if a.port == port]


def to_app(scene: Scene, station: Station, address: str, port: int, conn: Connection, found: Socket | None) -> Course:
    """A connection to the application itself."""
    hop = socket_hop(station, address, port, found, known=station.sockets is not None)
    if station.sockets is not None and found is None:
        why = nobody_listens(station, address, port)
        end = End("nobody", delivered=False, broken="refused", mtls=None, why=why, cause="nobody-listens")
        return Course(1.0, end, (hop,))
    if station.mode == "grpc":
        why = f"{station.pod.name} speaks to istiod itself (proxyless gRPC): what it accepts is not recorded"
        return Course(1.0, untold(why, through_server=False, mtls=conn.mtls), (hop,))
    if conn.layer == "mtls":
        why = "mutual TLS of the mesh reaches the application itself, which does not speak it: no proxy takes the port"
        end = End("nobody", delivered=False, broken="tls", mtls=None, why=why, cause="mutual-tls")
        return Course(1.0, end, (hop,))
    if station.sockets is None:
        why = f"whether something listens on {show_address(address, port)} in {station.pod.name} was not recorded"
        return Course(1.0, untold(why, through_server=False, mtls=conn.mtls), (hop,))
    program = (found.program if found else "") or "the application"
    if conn.layer == "tls" and (why := encrypted(scene, station, address, port, program)):
        return Course(1.0, untold(why, through_server=False, mtls=conn.mtls), (hop,))
    if conn.upgraded and not _declares(scene, station, address, port, _HTTP2_WORDS):
        why = f"the sender's proxy makes HTTP/2 of it: whether {program} speaks HTTP/2 on port {port} is not recorded"
        return Course(1.0, untold(why, through_server=False, mtls=conn.mtls), (hop,))
    return Course(1.0, End("app", delivered=True, mtls=conn.mtls, why=f"{program} answers"), (hop,))


def encrypted(scene: Scene, station: Station, address: str, port: int, program: str) -> str:
    """Why it cannot be told what an application makes of TLS; empty where a Service or the pod declares that port so.

    A socket is the same for an application that speaks TLS itself and for one that takes the handshake for noise.
    """
    if _declares(scene, station, address, port, TLS_WORDS):
        return ""
    return f"TLS of the sender reaches {program} as it is: whether {program} speaks TLS on port {port} is not recorded"


def _declares(scene: Scene, station: Station, address: str, port: int, words: tuple[str, ...]) -> bool:
    """Whether the pod or a Service that leads there declares that a port speaks one of some protocols."""
    named = {p.name: p.number for container in station.pod.containers for p in container.ports}
    if any(number == port and name.split("-")[0] in words for name, number in named.items()):
        return True
    for service in scene.services.services:
        asked = {entry.name for entry in service.ports if protocol_of(entry) in words}
        if any(
            end.port(name) == port and _is_at(end, station, address)
            for end in scene.services.endpoints(service)
            for name in asked
        ):
            return True
    return False


def _is_at(end: Endpoint, station: Station, address: str) -> bool:
    return end.address in (address, station.pod.ip, *station.pod.ips)


def by_log(scene: Scene, station: Station, host: str, number: int, conn: Connection, inside: bool) -> Course:
    """Without the sockets: an application that answered requests before is taken to be there still.

    Where TLS is what reaches it (`inside`), plain requests that it answered say nothing.
    """
    line = scene.answered(station.pod, number)
    if line and not inside:
        fact = "the listening sockets were not recorded: assumed from an earlier request that it answered"
        at, proof = station.key, (Evidence("logs/istio-proxy.txt", "", line),)
        hop = Hop(
            "socket", "callee", at, f"port {number}", "the application answered here before", (fact,), proof, "good"
        )
        end = End("app", None, "", "", True, False, True, conn.mtls, why="the application answers, as it did before")
        return Course(1.0, end, (hop,))
    why = f"whether something listens on {show_address(host, number)} in {station.pod.name} was not recorded"
    return Course(1.0, untold(why, through_server=True, mtls=conn.mtls), (socket_hop(station, host, number, None),))


def nobody_listens(station: Station, address: str, port: int) -> str:
    """Why a connection to an address and port of the pod is refused, and where the application listens instead."""
    others = sorted({s.port for s in station.sockets or () if s.proto == "tcp" and _is_app(station, s)})
    elsewhere = [s for s in station.sockets or () if s.proto == "tcp" and s.port == port]
    if elsewhere:
        where = elsewhere[0].address
        return f"port {port} is open on {where} only, so a connection to {address} is refused"
    if station.pod.host_network:
        return f"nothing listens on {show_address(address, port)} on node {station.pod.node}"
    listed = f"; the application listens on {', '.join(map(str, others))}" if others else ""
    return f"nothing listens on {show_address(address, port)} in {station.pod.name}{listed}"


def _is_app(station: Station, socket: Socket) -> bool:
    name = station.containers.get(socket.container, "")
    if not name and station.pod.host_network:  # the node's other programs are seen as well
        return False
    return name not in ("istio-proxy",) and socket.program not in ("envoy", "pilot-agent", "ztunnel")


def is_proxys(station: Station, socket: Socket) -> bool:
    """Whether Envoy has a socket; where ss was not allowed to see whose it is, its container or its user tells."""
    if socket.program or socket.port in AGENT_PORTS:
        return socket.program == "envoy"
    name = station.containers.get(socket.container, "")
    return name == "istio-proxy" or (not name and station.has_proxy and socket.uid == station.proxy_uid)


def is_listener(station: Station, socket: Socket) -> bool:
    """Whether a socket is one of the proxy's listeners (its admin port is none)."""
    return is_proxys(station, socket) and bool(bound(station, socket.port))


def socket_hop(station: Station, address: str, port: int, found: Socket | None, *, known: bool = True) -> Hop:
    """The socket as the last station; `known`: the sockets were seen."""
    at = station.key
    facts: list[str] = []
    if found is not None:
        name = station.containers.get(found.container, "")
        who = f"{found.program or 'a process'}{f' in container {name}' if name else ''}"
        facts.append(f"listening on {show_address(found.address, found.port)} as uid {found.uid}")
        proof = (Evidence(station.sockets_source, f"line {found.line}", found.text.partition(" users:")[0]),)
        return Hop("socket", "callee", at, f"port {port}", f"{who} listens", tuple(facts), proof, "good")
    if not known or station.sockets is None:
        gap = station.gaps.get("netns/sockets.txt", "the listening sockets were not recorded")
        return Hop(
            "socket", "callee", at, f"port {port}", "cannot be told whether anything listens", (gap,), (), "warn"
        )
    proof = (Evidence(station.sockets_source, "", ""),)
    return Hop("socket", "callee", at, f"port {port}", nobody_listens(station, address, port), (), proof, "bad")

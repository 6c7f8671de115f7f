"""Leaving the caller's pod: its rules, and who takes the connection."""

from dataclasses import replace
from ipaddress import ip_address

from meshctl.frozen import dataclass
from meshctl.kube.containers import Terminated, Waiting
from meshctl.path import client, network, rules, server, sockets, wire, ztunnel
from meshctl.path.decision import Decision
from meshctl.path.model import ClusterShare, End, Hop, Request
from meshctl.path.netns import is_loopback, loopback
from meshctl.path.outcome import Course, unsure, untold
from meshctl.path.passage import Passage, drop, straight
from meshctl.path.scene import Owner, Scene, Station
from meshctl.path.wire import Connection


@dataclass(frozen=True, slots=True)
class Way:
    """What one address of the name leads to."""

    hops: tuple[Hop, ...]
    courses: tuple[Course, ...]
    decisions: tuple[Decision, ...] = ()
    clusters: tuple[ClusterShare, ...] = ()
    captured: bool = False


INBOUND_PORT = 15006
"""Where Istio's proxies take what comes in, where a proxy's configuration does not say it."""
NOBODY = 65534
"""Stands for an owner that is nobody of the mesh, where the true one is not known (nobody's uid and gid)."""


def from_pod(scene: Scene, station: Station, address: str, port: int, request: Request) -> Way:
    """What becomes of a request to one address of the name, from the caller's rules on."""
    conn = wire.by_application(request, station)
    if why := _unreachable(station, address):
        hop = Hop("rules", "caller", station.key, "routing", why, (), (), "bad")
        return Way((hop,), (Course(1.0, End("nobody", delivered=False, mtls=None, broken="refused", why=why)),))
    passage, doubt = _passage(scene, station, address, port)
    way = _onwards(scene, station, address, port, conn, passage)
    if doubt:
        return replace(way, courses=tuple(replace(c, end=unsure(c.end, doubt)) for c in way.courses))
    return way


def _onwards(scene: Scene, station: Station, address: str, port: int, conn: Connection, passage: Passage) -> Way:
    mine = () if station.pod.host_network else (*station.pod.ips, station.pod.ip)  # the node's own are in its rules
    if passage.to is not None:
        address, port = passage.to
    own = address in mine or is_loopback(address)
    match passage.kind:
        case "proxy" if own and _is_inbound(station, passage.port):
            return Way((), tuple(server.at_pod(scene, station, address, port, conn, passage)))
        case "proxy":
            return _captured(scene, station, address, port, conn, passage)
        case "ztunnel":
            found = ztunnel.outbound(scene, station, address, port, conn)
            return Way((passage.hop,), tuple(found), captured=True)
        case "dropped":
            return Way((passage.hop,), (Course(1.0, drop(passage)),))
        case "undecided":
            end = untold(passage.why, through_client=None, through_server=None)
            return Way((passage.hop,), (Course(1.0, end),))
        case "straight" if own:
            local = straight(station, "a connection of the pod to itself is not taken on its way in")
            if station.pod.host_network and is_loopback(address):
                beyond = network.on_nodes_loopback(scene, station, address, port, conn)
                if beyond is not None:
                    return Way((passage.hop,), tuple(beyond))
            place = replace(conn, source=address if is_loopback(address) else conn.source)
            return Way((passage.hop,), tuple(server.at_pod(scene, station, address, port, place, local)))
        case "straight":
            return Way((passage.hop,), tuple(network.beyond(scene, station, address, port, conn)))


def _captured(scene: Scene, station: Station, address: str, port: int, conn: Connection, passage: Passage) -> Way:
    if (down := sockets.not_up(station, loopback(address), passage.port)) is not None:
        return Way((passage.hop,), (Course(1.0, down),), captured=True)
    if not station.has_proxy:
        why = f"the rules send it to port {passage.port}, where this pod has no proxy of the mesh"
        end = untold(why, through_client=None, through_server=None)
        return Way((passage.hop,), (Course(1.0, end),), captured=True)
    found = client.through_proxy(scene, station, "outbound", address, port, conn)
    return Way((passage.hop,), found.courses, found.decisions, found.clusters, True)


def _is_inbound(station: Station, port: int | None) -> bool:
    """Whether a port is where the proxy takes what comes in: its rules send its own calls to the pod there."""
    entry = station.proxy.entry("inbound") if station.proxy is not None else None
    return port in {a.port for a in entry.addresses} if entry is not None else port == INBOUND_PORT


def _passage(scene: Scene, station: Station, address: str, port: int) -> tuple[Passage, str]:
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


def of_own_family(station: Station, addresses: tuple[str, ...]) -> tuple[str, ...]:
    """The addresses that the pod has a family for: getaddrinfo(3) puts those that it cannot reach last (RFC 6724)."""
    own = {":" in ip for ip in (*station.pod.ips, station.pod.ip) if ip}
    return tuple(a for a in addresses if (":" in a) in own or is_loopback(a))


def _unreachable(station: Station, address: str) -> str:
    """Why the kernel finds no way to an address: the pod has none of its family, or no route leads there."""
    if is_loopback(address) or not station.network.complete:
        return ""
    version = 6 if ":" in address else 4
    known = any(a.version == version and not _local(str(a).partition("/")[0]) for a in station.network.addresses)
    if not known and not of_own_family(station, (address,)):
        return (
            f"the pod has no IPv{version} address, so there is no route to {address}: the connection is not even tried"
        )
    return rules.no_route(station, address)


def _local(address: str) -> bool:
    known = ip_address(address)
    return known.is_loopback or known.is_link_local

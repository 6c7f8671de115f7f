"""From a cluster to its hosts: which may be chosen, and the connection that the sending proxy opens to each."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from meshctl.envoy import release, upstream
from meshctl.envoy.model.clusters import Cluster
from meshctl.path import auto_mtls, handshake, hosts, network, resource_hosts, stale, wants, wire
from meshctl.path.decision import BLACK_HOLE, Decision, Option
from meshctl.path.model import Cause, ClusterShare, End, EndpointSeen, Hop, Request
from meshctl.path.outcome import (
    Course,
    Limits,
    failing,
    through_client_http,
    through_client_tcp,
    unsure,
    untold,
    with_retries,
)
from meshctl.path.retries import since
from meshctl.path.scene import Owner, Scene, Station
from meshctl.path.wire import Connection

TLS_MODE = "security.istio.io/tlsMode"
"""The label of a pod with a sidecar, which istiod gives its endpoint as ``tlsMode``."""


def to_cluster(
    scene: Scene,
    station: Station,
    address: str,
    port: int,
    conn: Connection,
    decision: Decision,
    option: Option,
    by: Literal["gateway", "client-proxy"],
) -> tuple[list[Course], ClusterShare]:
    """What becomes of a request that the proxy sends to one cluster: its courses, and the cluster with its hosts."""
    name = option.cluster
    decision = replace(decision, forwarded=option.forwarded or decision.forwarded)
    cluster = station.proxy.cluster(name) if station.proxy is not None else None
    if station.proxy is None:
        picked = resource_hosts.hosts(scene, station, name, address, port)
    else:
        picked = hosts.pick(scene, station, name, address, port, option.upstream)
    offered = share(option, picked.all)
    cluster_hop = stale.marked(hosts.hop(station, name, picked), stale.of_hosts(scene, station, name, picked))
    if picked.undecided:
        end = untold(picked.undecided, through_client=True, through_server=picked.through_server)
        return [Course(1.0, end, (cluster_hop,), name)], offered
    if not picked.chosen:
        return [replace(_nowhere(decision, by, picked.flag, picked.why, name), hops=(cluster_hop,))], offered
    ways: list[Course] = []
    for host in picked.chosen:
        ways += _to_host(scene, station, conn, decision, cluster, name, host)
    grpc = conn.request.is_grpc
    limits = Limits(decision.timeout_s, cluster.connect_timeout_s if cluster is not None else None)
    if not decision.tcp:
        ways = with_retries(ways, decision.retry, grpc=grpc, limits=limits)
        cluster_hop = _with_spared(cluster_hop, ways)
    resets = _passes_resets(station)
    turned = [replace(c, end=_turned(c.end, decision, by, grpc, limits, resets)) for c in ways]
    return [replace(c, hops=(cluster_hop, *c.hops), cluster=name) for c in turned], offered


def _passes_resets(station: Station) -> bool | None:
    """Whether the proxy hands resets on; by Istio's release where its Envoy's is not known (1.30 comes with 1.38)."""
    if station.proxy is not None and (build := station.proxy.build()) is not None:
        return release.passes_resets(build)
    return since(station.version, 30)


def subset_of(cluster: str) -> str:
    """The subset in Istio's name for a cluster; empty where it names none."""
    return cluster.split("|")[2] if cluster.count("|") == 3 else ""


def cause_of(flags: str) -> Cause:
    """What a failure comes from by Envoy's response flags; empty where they do not name it."""
    known: tuple[tuple[str, Cause], ...] = (("UH", "no-endpoint"), ("NC", "no-cluster"), ("NR", "no-route"))
    return next((cause for flag, cause in known if flag in flags.split(",")), "")


def _with_spared(hop: Hop, ways: list[Course]) -> Hop:
    """The cluster's station with the endpoints that fail, where another one is tried then."""
    found = tuple(dict.fromkeys(spared for way in ways for spared in way.spared))
    if not found:
        return hop
    facts = tuple(f"{one.place} {failing(one)}: {one.why}" for one in found)
    return replace(hop, facts=(*hop.facts, *facts), mood="warn" if hop.mood == "plain" else hop.mood)


def _turned(end: End, decision: Decision, by: str, grpc: bool, limits: Limits, passes_resets: bool | None) -> End:
    if decision.tcp:
        turned = through_client_tcp(end, passes_resets=passes_resets)
    else:
        turned = through_client_http(end, decision.retry, grpc=grpc, limits=limits)
    if by == "gateway" and turned.answered_by == "client-proxy":
        turned = replace(turned, answered_by="gateway")
    return turned


def _nowhere(decision: Decision, by: Literal["gateway", "client-proxy"], flag: str, why: str, name: str) -> Course:
    cause: Cause = "registry-only" if name == BLACK_HOLE else cause_of(flag)
    if decision.tcp:
        end = End("nobody", None, flag, "", False, True, False, None, "reset", why, cause=cause)
    else:
        status = decision.no_cluster if flag == "NC" else 503
        end = End(by, status, flag, "", False, True, False, None, why=why, cause=cause)
    return Course(1.0, end, (), None if flag == "NC" else name)


def share(option: Option, known: Iterable[hosts.Host]) -> ClusterShare:
    """A cluster that may be chosen, with the hosts that the proxy knows."""
    seen = tuple(EndpointSeen(host.shown, host.pod, host.health) for host in known)
    return ClusterShare(option.cluster, subset_of(option.cluster), option.weight, seen)


def _to_host(
    scene: Scene,
    station: Station,
    conn: Connection,
    decision: Decision,
    cluster: Cluster | None,
    name: str,
    host: hosts.Host,
) -> list[Course]:
    host = _labelled(scene, station, cluster, host)
    opened, socket = _opened(scene, station, conn, decision, cluster, name, host)
    callee = scene.pod_at(host.address)
    proxied = callee if callee is not None and scene.station(callee).has_proxy else None
    over = wire.hop(opened, host.shown, socket, cluster)
    over = stale.marked(over, stale.of_transport(scene, station, name, host, opened, decision.tcp))
    wanted = [wants.sender(scene, station, name, host)]
    if proxied is not None and scene.station(proxied).mode != "gateway":
        wanted.append(wants.callee(scene, proxied, host.port))
    over = replace(over, facts=(*over.facts, *filter(None, wanted)))
    if host.tunnel and proxied is not None:
        why = f"it reaches {host.pod} through HBONE: what its proxy does with the tunnel is not modelled"
        end = untold(why, through_server=True, mtls="mutual")
        return [Course(host.probability, end, (over,), endpoint=host.shown, pod=host.pod)]
    if (lacks := handshake.not_ready(station, opened.tls)) is not None:
        end = End("nobody", delivered=False, broken="tls", mtls=None, why=lacks.why, cause="certificate")
        failed = replace(over, decision=lacks.why, mood="bad")
        return [Course(host.probability, end, (failed,), endpoint=host.shown, pod=host.pod)]
    ways = network.onto_network(scene, station, _proxy_owner(station), host.address, host.port, opened, host.tunnel)
    return [
        replace(
            c,
            probability=c.probability * host.probability,
            end=_next_address(scene, cluster, host, c.end),
            hops=(over, *c.hops),
            endpoint=c.endpoint or host.shown,
        )
        for c in ways
    ]


def _next_address(scene: Scene, cluster: Cluster | None, host: hosts.Host, end: End) -> End:
    """An end at an address of a LOGICAL_DNS cluster: where it takes no connection, Envoy tries the name's next one.

    Only the first is in the proxy's own list of hosts. Source: Envoy, "Happy Eyeballs Support"; seen with 1.38.
    """
    if cluster is None or cluster.type != "LOGICAL_DNS" or end.broken not in ("refused", "timeout"):
        return end
    name = host.endpoint.hostname if host.endpoint is not None else ""
    short, _, rest = name.partition(".")
    service = scene.services.named(short, rest.partition(".")[0]) if ".svc" in name else None
    if hosts.is_address(name) or (service is not None and host.address in service.addresses):
        return end
    whose = f"{name}'s first address" if name else "the first address of the cluster's name"
    return unsure(end, f"{end.why}; this is {whose}, and the proxy goes on to the next, which is not recorded")


def _opened(
    scene: Scene,
    station: Station,
    conn: Connection,
    decision: Decision,
    cluster: Cluster | None,
    name: str,
    host: hosts.Host,
) -> tuple[Connection, str]:
    """The connection that the proxy opens to a host, and the name of the transport socket that it takes for it."""
    request = decision.forwarded or conn.request
    if cluster is None or station.proxy is None:
        return auto_mtls.opened(scene, station, name, host, request, conn.depth + 1, decision.tcp), ""
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
    return opened, upstream.socket(cluster, host.endpoint)[1] if host.endpoint is not None else ""


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
            opened,
            layer=conn.layer,
            sni=conn.sni,
            alpn=conn.alpn,
            principal=conn.principal,
            request=request,
            sender=conn.sender,
            tls=conn.tls,
        )
    if decision.tcp:
        return replace(opened, request=replace(request, protocol=conn.request.protocol))
    speaks: Literal["http", "http2"] = "http"
    if cluster.http == "http2" or (cluster.http == "downstream" and conn.request.protocol == "http2"):
        speaks = "http2"
    inner = replace(request, protocol=speaks, tls=False if decision.terminated else request.tls)
    layer = "plaintext" if opened.layer == "tls" and not _has_tls(cluster) and decision.terminated else opened.layer
    return replace(opened, request=inner, layer=layer, upgraded=speaks == "http2" != conn.request.protocol)


def _has_tls(cluster: Cluster) -> bool:
    sockets = [cluster.socket.get(), *(m.socket for m in cluster.socket_matches.get())]
    return any(socket.tls is not None for socket in sockets)


def _proxy_owner(station: Station) -> Owner:
    return Owner(station.proxy_uid, station.proxy_gid, "the proxy's own connection")

"""What goes over the wire between two ends: plain bytes, the application's own TLS, or the mesh's mutual TLS."""

from datetime import datetime
from typing import Literal

from meshctl.envoy import upstream
from meshctl.envoy.config_dump import ConfigDump
from meshctl.envoy.match import Query
from meshctl.envoy.model.clusters import Cluster, Endpoint
from meshctl.envoy.model.sockets import Tls
from meshctl.frozen import dataclass
from meshctl.path.decision import evidence
from meshctl.path.model import Hop, Mtls, Request
from meshctl.path.scene import Station


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A connection on its way to an address: who opened it and what is inside.

    `layer` is what the sender's proxy (or the application itself, ``tls``) puts around the bytes. `principal` is the
    sender's mesh identity where it shows a certificate. `by_proxy`: a proxy opened it, not the application. `newest` is
    the newest TLS version that the sender takes: Istio's proxies say so, Envoy's own default is ``TLSv1_2``. `tls` is
    the sender's own TLS context: what it shows, and which certificates it takes. `unsure`: whether the mesh's mutual
    TLS is around what is ``plaintext`` here cannot be told. `upgraded`: a proxy made HTTP/2 of HTTP/1.1.
    """

    source: str | None
    sender: Station | None
    layer: Literal["plaintext", "tls", "mtls"]
    request: Request
    sni: str = ""
    alpn: tuple[str, ...] = ()
    principal: str | None = None
    by_proxy: bool = False
    depth: int = 0
    newest: str = "TLSv1_3"
    tls: Tls | None = None
    unsure: bool = False
    upgraded: bool = False

    @property
    def handshake(self) -> Literal["", "TLSv1_2", "TLSv1_3"]:
        """The TLS version of a handshake that the sender's proxy makes itself; empty where it only passes bytes on."""
        if not self.by_proxy or self.layer == "plaintext" or (self.layer == "tls" and self.request.tls):
            return ""
        return "TLSv1_3" if self.newest == "TLSv1_3" else "TLSv1_2"

    @property
    def mtls(self) -> Mtls | None:
        """The word of the contract: one-way TLS counts as none; None where a certificate of its own may be shown."""
        if self.unsure:
            return None
        if self.layer == "tls" and self.tls is not None and self.tls.certificates:
            return None
        return "mutual" if self.layer == "mtls" else "none"


def by_application(request: Request, station: Station | None) -> Connection:
    """The connection that the application of a pod opens (None: a client outside of the cluster)."""
    return Connection(
        source=(station.pod.ip or None) if station is not None else None,
        sender=station,
        layer="tls" if request.tls else "plaintext",
        request=request,
        sni=server_name(request),
    )


def opened(
    dump: ConfigDump,
    cluster: Cluster,
    endpoint: Endpoint | None,
    station: Station,
    principal: str,
    request: Request,
    offers: tuple[str, ...],
    depth: int,
) -> Connection:
    """The connection that a proxy opens to an endpoint of a cluster."""
    socket = upstream.socket(cluster, endpoint)[0] if endpoint is not None else cluster.socket.get()
    source = station.pod.ip or next(iter(dump.bootstrap().ips), None)
    if socket.tls is None:
        layer: Literal["plaintext", "tls", "mtls"] = "tls" if request.tls else "plaintext"
        return Connection(
            source=source,
            sender=station,
            layer=layer,
            request=request,
            sni=server_name(request),
            by_proxy=True,
            depth=depth,
        )
    tls = socket.tls
    mutual = tls.istio_mutual
    alpn = offers or tls.alpn
    return Connection(
        source=source,
        sender=station,
        layer="mtls" if mutual else "tls",
        request=request,
        sni=tls.sni or (bare(request.host) if tls.auto_sni else ""),
        alpn=alpn,
        principal=principal if mutual else None,
        by_proxy=True,
        depth=depth,
        newest=tls.versions[1] or "TLSv1_2",
        tls=tls,
    )


def query(
    conn: Connection,
    direction: Literal["inbound", "outbound", "gateway"],
    address: str,
    port: int,
    at: datetime | None,
    protocol: Literal["http", "http2", "tcp"],
) -> Query:
    """What a proxy is asked about a connection to an address; `at` is when."""
    request = conn.request
    return Query(
        direction=direction,
        address=address,
        port=port,
        protocol=protocol,
        tls=conn.layer,
        host=request.host or None,
        path=request.path,
        method=request.method,
        headers=request.headers,
        unsure=request.unsure,
        sni=conn.sni,
        alpn=conn.alpn,
        source=conn.source,
        principal=conn.principal,
        at=at,
    )


def bare(host: str) -> str:
    """A Host header without its port, and an IPv6 address without its brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rsplit(":", 1)[0] if host.count(":") == 1 else host


def server_name(request: Request) -> str:
    """The server name in the application's own TLS; empty for none, and without TLS."""
    if not request.tls:
        return ""
    return (bare(request.host) if request.sni is None else request.sni).lower()


def hop(connection: Connection, address: str, socket: str, cluster: Cluster | None) -> Hop:
    """What an observer on the wire sees; `cluster` is the one whose transport `socket` was chosen."""
    layers = {
        "plaintext": "plain text: whoever is on the wire can read it",
        "tls": "TLS, one-way: encrypted, the sender shows no certificate of the mesh",
        "mtls": "mutual TLS: encrypted, both ends show their certificates",
    }
    facts = []
    if connection.layer == "mtls":
        facts.append(f"identity {connection.principal}")
    if connection.sni and connection.layer != "plaintext":
        facts.append(f"SNI {connection.sni}")
    if connection.alpn and connection.layer != "plaintext":
        facts.append(f"ALPN {', '.join(connection.alpn)}")
    if socket:
        facts.append(f"transport socket {socket}")
    decision = layers[connection.layer]
    if connection.unsure:
        decision = "plain text or mutual TLS: which of them cannot be told"
    text = f"{cluster.name}{f', transport socket {socket}' if socket else ''}" if cluster is not None else ""
    return Hop(
        "wire",
        "network",
        address,
        f"to {address}",
        decision,
        tuple(facts),
        evidence(cluster.origin if cluster is not None else None, text),
        "good" if connection.layer != "plaintext" else "plain",
        arrow={"plaintext": "plain text", "tls": "TLS", "mtls": "mutual TLS"}[connection.layer],
    )

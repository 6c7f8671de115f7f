"""What RequestAuthentications and AuthorizationPolicies do at a gateway whose configuration was not recorded.

Both come before the route: a request that they refuse meets no 404 and no redirect (Envoy's filters before its router).
"""

from dataclasses import replace

from meshctl.path.authorization import guard
from meshctl.path.decision import Decision
from meshctl.path.scene import Scene, Station
from meshctl.path.wire import Connection

KINDS = frozenset({"authorizationpolicies", "requestauthentications"})


def guarded(scene: Scene, station: Station, port: int, conn: Connection, decision: Decision) -> Decision:
    """The decision about a connection that reached a gateway's filters, after its policies; `port` is the pod's."""
    found = guard(scene, station, port, conn, tcp=decision.tcp)
    if found.undecided:
        return replace(decision, refusal=None, undecided=(found.undecided, *decision.undecided))
    if found.refusal is not None and found.said is not None:
        said = (*decision.steps[:1], found.said)
        return Decision(tcp=decision.tcp, refusal=found.refusal, steps=said, assumed=True)
    return decision


def as_seen(scene: Scene, station: Station, conn: Connection) -> Connection:
    """A connection as a gateway's filters see it: the client is who opened it, and X-Forwarded-For ends with that.

    Where proxies before it are believed, or speak the PROXY protocol, the client is not known here.
    Source: ``createGatewayHTTPFilterChainOpts`` (``use_remote_address``), 1.30.
    """
    own = station.pod.annotations.get("proxy.istio.io/config", "")
    told_by_others = scene.settings(station).trusted_proxies > 0 or "numTrustedProxies" in own or "proxyProtocol" in own
    if conn.source is None or told_by_others:
        return replace(conn, request=replace(conn.request, unsure=(*conn.request.unsure, "x-forwarded-for")))
    told = [value for name, value in conn.request.headers if name.lower() == "x-forwarded-for"]
    others = tuple(pair for pair in conn.request.headers if pair[0].lower() != "x-forwarded-for")
    header = ("x-forwarded-for", ",".join((*told, conn.source)))
    return replace(conn, request=replace(conn.request, headers=(*others, header)))

"""From the callee's proxy to its application: a connection inside the pod, which passes OUTPUT and INPUT on lo."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from meshctl.path import rules
from meshctl.path.decision import Decision
from meshctl.path.model import Cause, End
from meshctl.path.netns import is_loopback
from meshctl.path.outcome import Course, at_callee, retries_on, untold
from meshctl.path.passage import Passage
from meshctl.path.scene import Owner, Scene, Station
from meshctl.path.wire import Connection

Again: TypeAlias = Callable[[], tuple[Decision, ...]]

INBOUND_SOURCE = {4: "127.0.0.6", 6: "::6"}
"""From where Istio has its proxies connect to the application (``InboundPassthroughBindIpv4`` and ``Ipv6``)."""


def passage(
    scene: Scene, station: Station, cluster_name: str, host: str, port: int, conn: Connection, transparent: bool
) -> Passage | None:
    """What the pod's rules make of the connection that its proxy opens; None where there are no rules to walk.

    Where TPROXY handed the request over (`transparent`), the proxy takes the client's address, and marks its packets
    (listener filter ``original_src``).
    """
    owner = Owner(station.proxy_uid, station.proxy_gid, "the proxy's own connection")
    if transparent and conn.source is not None:
        return rules.to_application(scene, station, owner, conn.source, host, port, rules.PROXY_MARK)
    return rules.to_application(scene, station, owner, _bound(station, cluster_name, host), host, port)


def _bound(station: Station, cluster_name: str, host: str) -> str:
    """From where the proxy connects: Istio says it in every cluster that leads to the pod's own address."""
    cluster = station.proxy.cluster(cluster_name) if station.proxy is not None else None
    if cluster is not None and cluster.bind_address:
        return cluster.bind_address
    return "" if is_loopback(host) else INBOUND_SOURCE[6 if ":" in host else 4]


def facts(passed: Passage | None, host: str) -> tuple[str, ...]:
    """What is said of the connection where the rules let it pass."""
    if passed is None or is_loopback(host):
        return ()
    return (f"the proxy connects to the application inside the pod: {passed.why}",)


def stopped(passed: Passage, conn: Connection, decision: Decision, again: Again) -> Course | None:
    """How the request ends where the rules do not let the proxy's connection to the application; None where they do.

    `again`: what the proxy makes of a connection of its own.
    """
    match passed.kind:
        case "straight":
            return None
        case "dropped":
            why = f"the proxy's connection to the application fails: {passed.why}"
            return Course(1.0, unconnected(conn, decision, why, "rules"), (passed.hop,))
        case "undecided":
            return Course(1.0, untold(passed.why, through_server=True, mtls=conn.mtls), (passed.hop,))
        case "proxy" | "ztunnel":
            return Course(1.0, _in_circles(passed, conn, decision, again), (passed.hop,))


def own(conn: Connection, station: Station, cluster_name: str, host: str, inside: bool) -> Connection:
    """The connection that the proxy opens to its application, as it meets it where the rules send it back."""
    return replace(
        conn,
        source=_bound(station, cluster_name, host) or None,
        sender=None,
        layer="tls" if inside else "plaintext",
        alpn=(),
        principal=None,
        by_proxy=False,
        tls=None,
        unsure=False,
    )


def _in_circles(passed: Passage, conn: Connection, decision: Decision, again: Again) -> End:
    """The proxy's connection comes back to it: refused there for want of mutual TLS, by a policy, or taken once more.

    Envoy 1.40, run so: each pass is one more connection to itself, from one more of the pod's ports, some 40 KB each.
    Where these run out the last pass fails (UF), and its 503 is handed through all of them; a limit of the container's
    memory ends it earlier. No pass notices those before.
    """
    why = f"the rules send the proxy's connection to the application back to the proxy ({passed.why})"
    taken = again()
    refusals = [one.refusal for one in taken if one.refusal is not None and not one.undecided]
    if len(refusals) == len(taken) == 1:
        refusal = refusals[0]
        why += f", which refuses it: {refusal.why}"
        if decision.tcp or refusal.status is None:
            status, flags = (None, "") if decision.tcp else (503, "UC")
            return at_callee(status, flags, why, conn.mtls, "rules")
        return at_callee(refusal.status, "", why, conn.mtls, "rules", refusal.grpc_status)
    why += ", again and again, until the pod's ports, the proxy's memory or a timeout end it: the application gets"
    why += " nothing, and most likely the client gets 503" if not decision.tcp else " nothing"
    return End(None, None, "", "", False, False, True, conn.mtls, why=why, cause="rules")


def unconnected(conn: Connection, decision: Decision, why: str, cause: Cause) -> End:
    """How a request ends where the callee's proxy cannot connect to the application."""
    if decision.tcp:
        return at_callee(None, "UF,URX", why, conn.mtls, cause)
    flags = "URX,UF" if retries_on(decision.retry, connected=False) else "UF"
    return at_callee(503, flags, why, conn.mtls, cause)

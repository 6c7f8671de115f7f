"""A proxy that a connection reaches at one of its own listeners: a gateway, or a port that a sidecar has for itself."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from meshctl.path import forwarding, handshake, rules, sockets
from meshctl.path.decision import NO_LISTENER, Decision
from meshctl.path.model import AnsweredBy, End, Hop
from meshctl.path.netns import listens
from meshctl.path.outcome import Course, untold
from meshctl.path.passage import drop
from meshctl.path.scene import Scene, Station
from meshctl.path.wire import Connection
from meshctl.words import show_address


def at_gateway(scene: Scene, station: Station, address: str, port: int, conn: Connection, before: Hop) -> list[Course]:
    """What a gateway makes of a connection to one of its ports, as its callers see it; `before` is the way in."""
    return [
        replace(
            course,
            end=_inner(course.end),
            hops=(before, *course.hops),
            endpoint=show_address(address, port),
            pod=station.key,
        )
        for course in _onwards(scene, station, address, port, conn)
    ]


def kept_out(
    scene: Scene, station: Station, port: int, conn: Connection, decisions: Sequence[Decision]
) -> tuple[Course, ...]:
    """What a client from outside gets at a gateway whose rules or sockets do not let it to the proxy; none if they do.

    Where its configuration has no listener for the port, that is the reason already.
    """
    address = station.pod.ip
    if not all(ruleset.empty for ruleset in station.rulesets):
        passage = rules.inbound(scene, station, None, address, port)
        if passage.kind == "dropped":
            return (Course(1.0, drop(passage), (passage.hop,), pod=station.key),)
        if passage.kind == "undecided":
            return (Course(1.0, untold(passage.why), (passage.hop,), pod=station.key),)
    kept = forwarding.keeping_out(scene, address, port, station.pod.node) if station.pod.host_network else None
    if kept is not None:
        return (Course(1.0, untold(kept.why), (kept.hop,), pod=station.key),)
    found = listens(station.sockets, address, port) if station.sockets is not None else None
    if station.sockets is None or (found is not None and found.program in ("envoy", "")):
        return ()
    if found is None and any(d.refusal is not None and d.refusal.details == NO_LISTENER for d in decisions):
        return ()
    return (sockets.to_app(scene, station, address, port, conn, found),)


def at_listener(scene: Scene, station: Station, address: str, port: int, conn: Connection) -> list[Course]:
    """What a connection straight to a listener of a sidecar gets (health, statistics, or a port of its own)."""
    courses = []
    for course in _onwards(scene, station, address, port, conn):
        end = course.end
        by: AnsweredBy | None = "server-proxy" if end.answered_by in ("gateway", "client-proxy") else end.answered_by
        courses.append(replace(course, end=replace(_inner(end), answered_by=by), cluster=None))
    return courses


def _inner(end: End) -> End:
    """An end as the sender of the connection sees it: what the proxy did as a client is what the callee's side did."""
    flags = end.flags or end.server_flags
    return replace(end, flags="", server_flags=flags, through_client=False, through_server=end.through_client)


def _onwards(scene: Scene, station: Station, address: str, port: int, conn: Connection) -> tuple[Course, ...]:
    from meshctl.path import client  # the path turns back to a sending proxy here, and nowhere else

    found = client.through_proxy(scene, station, "gateway", address, port, replace(conn, depth=conn.depth + 1))
    ended = bool(found.decisions) and all(decision.terminated for decision in found.decisions)
    takes = handshake.receiving(station, found.decisions[0]) if ended else None
    failure = handshake.not_ready(station, takes) if conn.layer != "plaintext" else None
    if ended and conn.by_proxy and conn.layer == "mtls" and not found.decisions[0].assumed:
        failure = failure or handshake.failure(scene, station, conn, takes)
    if failure is not None:
        return (_without_handshake(conn, found.courses[0].hops[:1], failure),)
    if ended or conn.layer == "plaintext":
        return tuple(_came_in(course, conn) for course in found.courses)
    return found.courses


def _came_in(course: Course, conn: Connection) -> Course:
    """A course that ends at this proxy: what is known of the wire is how the connection came in."""
    onwards = any(hop.kind == "wire" for hop in course.hops)
    if onwards or course.end.undecided or course.end.mtls is not None or course.end.broken == "refused":
        return course
    return replace(course, end=replace(course.end, mtls=conn.mtls))


def _without_handshake(conn: Connection, hops: tuple[Hop, ...], failure: handshake.Failure) -> Course:
    """The end of a connection whose TLS this proxy does not get to see the end of."""
    if not failure.sure:
        return Course(1.0, untold(failure.why, through_client=True), hops)
    begun = not conn.handshake or (failure.late and conn.handshake == "TLSv1_3")
    broken: Literal["reset", "tls"] = "reset" if begun else "tls"
    end = End("nobody", None, "", "", False, True, False, None, broken, failure.why, cause="certificate")
    return Course(1.0, end, tuple(replace(hop, decision=failure.why, mood="bad") for hop in hops))

"""A proxy that a connection reaches at one of its own listeners: a gateway, or a port that a sidecar has for itself."""

from dataclasses import replace

from meshctl.path.model import AnsweredBy, End, Hop
from meshctl.path.outcome import Course
from meshctl.path.scene import Scene, Station
from meshctl.path.wire import Connection


def at_gateway(scene: Scene, station: Station, address: str, port: int, conn: Connection, before: Hop) -> list[Course]:
    """What a gateway makes of a connection to one of its ports, as its callers see it; `before` is the way in."""
    return [
        replace(
            course, end=_inner(course.end), hops=(before, *course.hops), endpoint=f"{address}:{port}", pod=station.key
        )
        for course in _onwards(scene, station, address, port, conn)
    ]


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

    return client.through_proxy(scene, station, "gateway", address, port, replace(conn, depth=conn.depth + 1)).courses

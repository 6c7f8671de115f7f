"""What a proxy was given and does not run: listeners and clusters that Envoy rejected, or that are still warming."""

from dataclasses import replace

from meshctl.envoy import listener
from meshctl.envoy.model.basics import Status
from meshctl.envoy.model.listeners import Listener
from meshctl.path.decision import Decision
from meshctl.path.model import End, succeeds
from meshctl.path.scene import Scene, Station


def listener_for(scene: Scene, station: Station, chosen: Listener | None, address: str, port: int) -> str:
    """Why the listener that is meant for a destination does not take it; empty where `chosen` is meant for it."""
    if station.proxy is None or (chosen is not None and any(place.port == port for place in chosen.addresses)):
        return ""
    for name, status in _idle(scene, station):
        meant = station.proxy.listener(name)
        if meant is not None and listener.at((meant,), address, port)[0] is not None:
            return f"listener {name}, which is meant for this destination, is not running: {_why(status)}"
    return ""


def _idle(scene: Scene, station: Station) -> tuple[tuple[str, Status], ...]:
    """The listeners of a proxy that are there by name only."""
    assert station.proxy is not None
    key = ("idle", station.key)
    known = scene.cache.get(key)
    if not isinstance(known, tuple):
        told = station.proxy.troubles()
        known = tuple((n, s) for kind, n, s in told if kind == "listener" and s.state in ("rejected", "warming"))
        scene.cache[key] = known
    return known


def _why(status: Status) -> str:
    if status.state == "warming":
        return "it is still warming, since something that it needs (routes, a certificate) has not arrived"
    return f"Envoy rejected it: {status.failure.details}" if status.failure is not None else "Envoy rejected it"


def older(station: Station, decision: Decision) -> str:
    """What became of a newer version of the listener that decides; empty where it is the newest."""
    found = station.proxy.listener(decision.listener) if station.proxy is not None and decision.listener else None
    if found is None or found.status.state not in ("static", "active"):
        return ""
    if found.status.failure is not None:
        return f"Envoy rejected a newer version of it: {found.status.failure.details}"
    return "a newer version of it is still warming" if "warming" in found.status.also else ""


def blamed(end: End, missed: str) -> End:
    """An end that is not what was asked for, with the listener that is not running as its first reason."""
    if not missed or succeeds(end) is not False:
        return end
    return replace(end, why=f"{missed}; without it: {end.why}" if end.why else missed, cause="not-running")


def cluster(station: Station, name: str | None) -> str:
    """That a cluster is still warming; empty where it is not."""
    found = station.proxy.cluster(name) if station.proxy is not None and name else None
    if found is None or found.status.state != "warming":
        return ""
    return f"cluster {name} is still warming: the proxy was given it, and does not use it yet"

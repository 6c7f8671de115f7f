"""The sending proxy: what it decides about a request, and the clusters that it may choose."""

from dataclasses import replace
from typing import Literal

from meshctl.envoy.match import match
from meshctl.frozen import dataclass
from meshctl.path import (
    decision_hops,
    gateway_resources,
    hosts,
    not_running,
    resource_hosts,
    resources,
    stale,
    upstream,
    wire,
)
from meshctl.path.decision import BLACK_HOLE, NO_LISTENER, Decision, of_match
from meshctl.path.model import ClusterShare, End, Hop
from meshctl.path.outcome import Course, untold
from meshctl.path.scene import Scene, Station
from meshctl.path.wire import Connection


@dataclass(frozen=True, slots=True)
class Forwarding:
    """What came of a request at a sending proxy: its decision(s), the courses, and the clusters that may be chosen."""

    decisions: tuple[Decision, ...]
    courses: tuple[Course, ...]
    clusters: tuple[ClusterShare, ...]


def through_proxy(
    scene: Scene,
    station: Station,
    direction: Literal["outbound", "gateway"],
    address: str,
    port: int,
    conn: Connection,
) -> Forwarding:
    """Follow a request through the sending proxy of a pod (its sidecar, or the gateway that it is)."""
    request = conn.request
    decisions: tuple[Decision, ...]
    if station.proxy is None and direction == "gateway":
        decisions = (gateway_resources.decide(scene, station, port, conn, address),)
    elif station.proxy is None:
        decisions = (resources.outbound(scene, station, address, port, request),)
    else:
        query = wire.query(conn, direction, address, port, scene.now, request.protocol)
        found = match(station.proxy, query, live=station.live)
        missed = not_running.listener_for(scene, station, found.listener, address, port)
        decisions = tuple(replace(decision, missed=missed) for decision in of_match(found, request))
    courses: list[Course] = []
    shares: list[ClusterShare] = []
    decisions = tuple(_with_dropped(scene, station, address, port, decision) for decision in decisions)
    for decision in decisions:
        ways, seen = _decided(scene, station, direction, address, port, conn, decision)
        courses += [replace(way, end=not_running.blamed(way.end, decision.missed)) for way in ways]
        shares += seen
    return Forwarding(decisions, tuple(courses), tuple({share.name: share for share in shares}.values()))


def _with_dropped(scene: Scene, station: Station, address: str, port: int, decision: Decision) -> Decision:
    """A decision with the copies that reach nobody: Envoy drops what a mirror without a cluster or host would get.

    Source: Envoy, router filter: "shadow cluster does not exist" is only written to its log.
    """
    if not decision.mirrors or decision.refusal is not None or decision.undecided:
        return decision
    dropped = []
    for mirror in decision.mirrors:
        name = mirror.partition(" ")[0]
        if station.proxy is None:
            picked = resource_hosts.hosts(scene, station, name, address, port)
        else:
            picked = hosts.pick(scene, station, name, address, port)
        if not picked.chosen and not picked.undecided:
            dropped.append((name, picked.why))
    return replace(decision, dropped=tuple(dropped))


def _decided(
    scene: Scene,
    station: Station,
    direction: Literal["outbound", "gateway"],
    address: str,
    port: int,
    conn: Connection,
    decision: Decision,
) -> tuple[list[Course], list[ClusterShare]]:
    gateway = direction == "gateway"
    hops = decision_hops.sending(station, decision, gateway)
    told = "" if gateway else stale.of_route(scene, station, decision, address, port, conn.request)
    hops = (stale.marked(hops[0], not_running.older(station, decision)), stale.marked(hops[-1], told))
    chance = decision.probability
    by: Literal["gateway", "client-proxy"] = "gateway" if gateway else "client-proxy"
    if decision.refusal is not None and gateway and decision.refusal.details == NO_LISTENER:
        end = End(
            "nobody", delivered=False, mtls=None, broken="refused", why=decision.refusal.why, cause="nobody-listens"
        )
        return [Course(chance, end, hops)], []
    if decision.refusal is not None:
        cluster = None if "NC" in decision.refusal.flags else _only(decision)
        shares = [upstream.share(o, hosts.unfit(scene, o.upstream)) for o in decision.options]
        refused = Course(chance, _refused(_with_reason(scene, station, decision), by), hops, cluster)
        return _with_faults([refused], decision, hops, by), shares
    courses: list[Course] = []
    shares = []
    for option in decision.options:
        ways, share = upstream.to_cluster(scene, station, address, port, conn, decision, option, by)
        shares.append(share)
        courses += [
            replace(c, probability=chance * option.probability * c.probability, hops=(*hops, *c.hops)) for c in ways
        ]
    if decision.undecided:
        why = decision.undecided
        end = replace(untold(why[0], through_client=True, through_server=None), undecided=why)
        return [Course(chance, end, hops, _only(decision))], shares
    if not courses:
        end = untold("the proxy names no cluster", through_client=True, through_server=None)
        return [Course(chance, end, hops)], shares
    return _with_faults(courses, decision, hops, by), shares


def _with_reason(scene: Scene, station: Station, decision: Decision) -> Decision:
    """A refusal for want of a cluster or of endpoints, with the reason that the mesh's resources show."""
    refusal = decision.refusal
    name = _only(decision)
    if refusal is None or name in (None, BLACK_HOLE) or not {"UH", "NC"} & set(refusal.flags.split(",")):
        return decision
    unfit = hosts.unfit(scene, decision.options[0].upstream)
    if unfit:
        why = f"{refusal.why}: {', '.join(map(hosts.told, unfit[:3]))}"
        return replace(decision, refusal=replace(refusal, why=why))
    why = not_running.cluster(station, name) or hosts.lacking(scene, name, cluster="NC" in refusal.flags) or refusal.why
    return replace(decision, refusal=replace(refusal, why=why))


def _only(decision: Decision) -> str | None:
    """The only cluster that a decision may choose, None where there are several or none."""
    return decision.options[0].cluster if len(decision.options) == 1 else None


def _refused(decision: Decision, by: Literal["gateway", "client-proxy"]) -> End:
    refusal = decision.refusal
    assert refusal is not None
    cause = refusal.cause or upstream.cause_of(refusal.flags)
    end = End(
        by,
        refusal.status,
        refusal.flags,
        "",
        False,
        True,
        False,
        None,
        why=refusal.why,
        cause=cause,
        grpc_status=refusal.grpc_status,
    )
    return end if refusal.status is not None else replace(end, answered_by="nobody", broken="reset")


def _with_faults(
    courses: list[Course], decision: Decision, hops: tuple[Hop, ...], by: Literal["gateway", "client-proxy"]
) -> list[Course]:
    """Split by injected faults: the filter rolls for a delay first, then for an abort (Envoy, fault filter)."""
    delays = [i for i in decision.injected if i.status is None]
    aborts = [i for i in decision.injected if i.status is not None]
    found = courses
    for abort in aborts:
        total = sum(c.probability for c in courses)
        end = End(
            by,
            abort.status,
            abort.flags,
            "",
            False,
            True,
            False,
            None,
            why=abort.why,
            cause="fault",
            grpc_status=abort.grpc_status,
        )
        kept = [replace(c, probability=c.probability * (1 - abort.share)) for c in found] if abort.share < 1 else []
        found = [*kept, Course(total * abort.share, end, hops, _only(decision))]
    for delay in delays:
        slow = [_delayed(c, delay.share, delay.flags, delay.why) for c in found]
        fast = [replace(c, probability=c.probability * (1 - delay.share)) for c in found] if delay.share < 1 else []
        found = [*fast, *slow]
    return found


def _delayed(course: Course, share: float, flag: str, why: str) -> Course:
    flags = ",".join(part for part in (flag, course.end.flags) if part)
    end = replace(course.end, flags=flags, why=f"{course.end.why}; {why}")
    return replace(course, probability=course.probability * share, end=end)

"""From all ways that a request may take to one trace: hops, outcome, the question of kube-proxy, and gaps."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from meshctl.path import findings, kube_proxy, lifetime
from meshctl.path.decision import Decision
from meshctl.path.dns import Name
from meshctl.path.hosts import ANYWHERE
from meshctl.path.leaving import Way
from meshctl.path.model import Aim, ClusterShare, Hop, KubeProxy, Outcome, Request, Retries, Sender, Trace
from meshctl.path.netns import is_loopback
from meshctl.path.outcome import Course, as_answered, branches, merged, unsure
from meshctl.path.scene import Scene, Station
from meshctl.words import show_address


def joined(
    scene: Scene,
    sender: Sender,
    aim: Aim,
    request: Request,
    before: tuple[Hop, ...],
    ways: list[Way],
    courses: list[Course],
    answer: KubeProxy,
    station: Station,
) -> Trace:
    """The trace whose hops are those of the likeliest course; `before` are the hops that all courses share."""
    total = sum(c.probability for c in courses) or 1.0
    grpc = request.is_grpc
    courses = [_doubted(scene, station, course) for course in courses]
    if sender.pod and (alive := lifetime.doubt(station)):
        courses = [replace(course, end=unsure(course.end, alive)) for course in courses]
    courses = [replace(c, probability=c.probability / total, end=as_answered(c.end, grpc=grpc)) for c in courses]
    together = merged(courses)
    best = together[0]
    first = next((d for way in ways for d in way.decisions), None)
    shares = shares_by_name(s for way in ways for s in way.clusters)
    outcome = Outcome(
        best.end,
        _route(ways),
        shares,
        branches(courses),
        _retries(first),
        f"{first.timeout_s:g}s" if first is not None and first.timeout_s else None,
        first.mirrors if first is not None else (),
    )
    hops = tuple(map(_unnamed, _with_node((*before, *best.hops), answer, station)))
    found = (
        *findings.failures(together, aim),
        *findings.not_running((d for way in ways for d in way.decisions), together, aim),
        *findings.hidden(courses, aim),
        *findings.copies((d for way in ways for d in way.decisions), aim),
        *findings.not_up_to_date(hops, aim),
        *findings.unlike_status(_remarks(scene, station, best), aim),
        *findings.restricted(courses, aim),
    )
    return Trace(sender, aim, request, hops, outcome, answer, found, tuple(_gaps(scene, station, best)))


def shares_by_name(shares: Iterable[ClusterShare]) -> tuple[ClusterShare, ...]:
    """Clusters by name: one that several addresses lead to has the endpoints of all (PassthroughCluster)."""
    found: dict[str, ClusterShare] = {}
    for share in shares:
        known = found.get(share.name)
        places = dict.fromkeys((*known.endpoints, *share.endpoints)) if known is not None else share.endpoints
        found[share.name] = replace(share, endpoints=tuple(places))
    return tuple(found.values())


def _doubted(scene: Scene, station: Station, course: Course) -> Course:
    """A course past assumed rules beside a dump of them that is there: what cannot be read may decide otherwise."""
    callee = scene.pod_named(course.pod) if course.pod else None
    for place in (station, scene.station(callee) if callee is not None else None):
        if place is not None and place.rules_broken:
            why = f"the rules of {place.key} cannot be read, and those that its arguments ask for are only assumed: "
            return replace(course, end=unsure(course.end, f"{why}{place.rules_broken}"))
    return course


def kube_proxy_answer(
    scene: Scene, station: Station, name: Name, aim: Aim, way: Way, courses: list[Course]
) -> KubeProxy:
    """Whether kube-proxy chose the endpoint on the likeliest course, and why (not)."""
    likeliest = max(courses, key=lambda c: c.probability, default=None)
    if likeliest is not None and likeliest.kube_proxy is not None:
        return likeliest.kube_proxy
    address = name.addresses[0] if name.addresses else ""
    if not address:
        return KubeProxy(None, "the address that the name resolves to is not recorded")
    if is_loopback(address):
        return KubeProxy(False, "the connection never leaves the pod")
    if way.captured:
        place = likeliest.endpoint if likeliest is not None and likeliest.endpoint else ""
        by = "ztunnel" if station.mode == "ambient" else "the caller's proxy"
        own = name.service is not None or scene.services.at(address) is not None
        whose = _whose(scene, place)
        choosing = f"chooses the endpoint itself{f' ({place})' if place else ''} and connects to {whose} own address"
        why = f"{by} {choosing if own else f'connects to {place}, which is no address of a Service'}"
        if place.startswith("waypoint "):
            why = f"{by} sends it to {place}, which chooses the endpoint"
        if likeliest is not None and not place:
            if likeliest.end.undecided:
                return KubeProxy(None, likeliest.end.undecided[0])
            why = f"{by} takes the connection, and it ends there"
            if likeliest.end.broken == "refused":
                why = f"the pod's rules send the connection to {by}, which does not listen for it"
        return kube_proxy.not_used(scene, station, address, aim.port, why)
    if name.kind in ("service", "address") and name.service is not None:
        if likeliest is not None and likeliest.end.undecided:
            return KubeProxy(None, likeliest.end.undecided[0])
        return kube_proxy.not_used(scene, station, address, aim.port, "the connection does not reach the node's rules")
    return KubeProxy(False, f"{address} is no Service's address: kube-proxy has no rule for it")


def _whose(scene: Scene, place: str) -> str:
    """Whose address it is that a proxy connects to (``ADDRESS:PORT``), as the start of ``... own address``."""
    address = place.rpartition(":")[0].strip("[]")
    pod = scene.pod_at(address) if address else None
    if pod is not None:
        return "the gateway's (or waypoint's)" if scene.station(pod).mode == "gateway" else "the pod's"
    if address and scene.node_at(address) is not None:
        return "the node's"
    return "its" if address and not scene.endpoint_pod(address) else "the pod's"


def _unnamed(hop: Hop) -> Hop:
    """A hop without the address that stands for one that is not known."""
    texts = [hop.title, hop.decision, hop.arrow]
    for stand_in in ANYWHERE:
        if any(stand_in in text for text in texts):
            before_port = show_address(stand_in, "")
            texts = [
                text.replace(before_port, "that address, port ").replace(stand_in, "that address") for text in texts
            ]
            hop = replace(hop, title=texts[0], decision=texts[1], arrow=texts[2])
    return hop


def _with_node(hops: tuple[Hop, ...], answer: KubeProxy, station: Station) -> tuple[Hop, ...]:
    """The hops with the node's part said where the connection crosses it without kube-proxy having a say."""
    at = next((index for index, hop in enumerate(hops) if hop.kind == "wire"), None)
    if at is None or answer.used is not False or any(hop.kind == "kube-proxy" for hop in hops):
        return hops
    said = f"not used: {answer.why}"
    facts = (answer.choice,) if answer.choice else ()
    node = Hop("kube-proxy", "node", station.pod.node, "kube-proxy", said, facts, answer.evidence)
    return (*hops[: at + 1], replace(node, arrow=hops[at].arrow), *hops[at + 1 :])


def _route(ways: list[Way]) -> str | None:
    best = max((d for way in ways for d in way.decisions), key=lambda d: d.probability, default=None)
    return best.route if best is not None else None


def _retries(decision: Decision | None) -> Retries | None:
    policy = decision.retry if decision is not None else None
    if policy is None or not policy.attempts:
        return None
    per_try = f"{policy.per_try_timeout_s:g}s" if policy.per_try_timeout_s else ""
    return Retries(policy.attempts, ",".join(policy.on), per_try)


_TOLD = ("netns/iptables-save.txt", "envoy/config_dump.json", "envoy/clusters.json", "netns/sockets.txt")


def _gaps(scene: Scene, station: Station, course: Course) -> Iterator[str]:
    yield from dict.fromkeys((*scene.gaps, *filter(None, (scene.services_gap, scene.endpoints_gap))))
    seen: set[str] = set()
    callee = scene.pod_named(course.pod) if course.pod else None
    for place in (station, scene.station(callee) if callee is not None else None):
        if place is None or place.key in seen:
            continue
        seen.add(place.key)
        for part, gap in place.gaps.items():
            if part in _TOLD:
                yield gap
        if gap := scene.network_policies(place.pod.namespace).gap:
            yield gap


def _remarks(scene: Scene, station: Station, course: Course) -> Iterator[str]:
    yield lifetime.remark(station, sends=True)
    callee = scene.pod_named(course.pod) if course.pod != station.key else None
    if callee is not None:
        yield lifetime.remark(scene.station(callee), sends=False)

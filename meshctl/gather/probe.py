"""Send a predicted request for real: from the caller's own container, and find it in the proxies' logs.

curl, Python or wget of the container send it; where none is there, meshctl itself from inside the pod's network
namespace (root on its node). Without access logs Envoy's counters before and after say which endpoint got it.

It adds one request to the mesh's traffic and nothing else: no pod is made, nothing is installed.
"""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from meshctl.envoy import clusters_json
from meshctl.envoy.access_log import parse_line
from meshctl.errors import MeshctlError, NoAccess, Unavailable
from meshctl.frozen import dataclass
from meshctl.gather import probe_logs
from meshctl.path.model import Trace
from meshctl.path.observed import Answer, Logged, Observation, gave_up, judge
from meshctl.path.scene import Owner, Scene, Station
from meshctl.path.wire import server_name
from meshctl.sources import request_tools
from meshctl.sources.plain_request import PlainAnswer, PlainRequest
from meshctl.sources.world import World
from meshctl.words import show_address

WAIT_S = 15.0
"""How long the request may take."""
HOLD_S = 4.0
"""How long a TCP connection is watched: a proxy accepts it at once, and closes it when the other end does not."""


def send(world: World, scene: Scene, trace: Trace, uid: int | None = None, gid: int | None = None) -> Observation:
    """Send the request. Raises Unavailable where there is no cluster to send it in, or no pod to send it from.

    With a `uid` or `gid` it is sent as that user, which only meshctl itself can: from inside the pod's namespace.
    """
    api: Any = getattr(world, "api", None)
    if not world.live or api is None:
        raise Unavailable("--probe sends a real request, and a recording has no cluster", hint="leave out --probe")
    station = _sender(scene, trace)
    if uid is not None or gid is not None:
        first = next(iter(station.owners), Owner(None, None, ""))
        owner = Owner(first.uid if uid is None else uid, first.gid if gid is None else gid, "as asked for")
        station = replace(station, owners=(owner,))
    token = _given_token(trace) or str(uuid.uuid4())
    before = _counters(world, station, trace)
    began = time.monotonic()
    tried = _sent(world, api, station, trace, token)
    if isinstance(tried, _Not):
        return Observation(f"pod {station.key}", "", missing=(tried.why, *tried.more), denied=tried.denied)
    logs, missing = probe_logs.found(world, scene, trace, station, probe_logs.Left(token, tried.answer.local, began))
    counted: tuple[str, ...] = ()
    if not logs and station.has_proxy:
        counted = _difference(before, _counters(world, station, trace))
    return _observation(trace, tried, logs, missing, counted)


def _sender(scene: Scene, trace: Trace) -> Station:
    """The pod to send from; of a client outside, the gateway itself: it takes its own connection as it takes others."""
    if trace.sender.pod:
        pod = scene.pod_named(f"{trace.sender.namespace}/{trace.sender.pod}")
    else:
        pod = scene.pod_at(trace.aim.address) if trace.aim.kind == "gateway" else None
    if pod is None:
        raise Unavailable("--probe needs a pod to send from", hint="name one with --from POD")
    return scene.station(pod)


def _observation(
    trace: Trace, tried: "_Sent", logs: tuple[Logged, ...], missing: tuple[str, ...], counted: tuple[str, ...]
) -> Observation:
    got = tried.answer
    answer = Answer(got.status, got.broken, got.text, got.connected, got.spoke)
    lines = {side: [x for one in logs if one.side == side and (x := parse_line(one.line))] for side in _SIDES}
    verdict = judge(trace, answer, lines["caller"], lines["callee"])
    if verdict.agrees is None and got.connected and got.status is None and not got.broken and not got.spoke:
        missing = (*missing, "no byte was sent, and a proxy may wait for the first one before it decides")
    if verdict.agrees is None and gave_up(answer, lines["caller"]):
        missing = (*missing, f"the client gave up after {WAIT_S:g} s, while the caller's proxy still tried")
    return Observation(
        sent_from=tried.where,
        command=tried.shown,
        status=got.status,
        error="" if got.status is not None else got.text,
        broken=got.broken,
        logs=logs,
        missing=missing,
        agrees=verdict.agrees,
        counted=counted,
        points=verdict.points,
        branch=verdict.branch,
        connected=got.connected,
    )


_SIDES = ("caller", "callee")


# --- sending ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Sent:
    """What came of the request, from where it was sent, and the command (or what stands for one)."""

    where: str
    shown: str
    answer: PlainAnswer


@dataclass(frozen=True, slots=True)
class _Not:
    """Why no tool of the container could send it; `denied` where this user may not run any.

    `lost`: it may have been sent, and nothing is known of it. It is not sent a second time.
    """

    why: str
    denied: bool = False
    lost: bool = False
    more: tuple[str, ...] = ()


_KILLED = (137, 143)
"""128 and SIGKILL or SIGTERM: what a command ends with when its container does."""


def _given_token(trace: Trace) -> str:
    return next((value for name, value in trace.request.headers if name.lower() == "x-request-id"), "")


def _request(trace: Trace, token: str) -> PlainRequest:
    """The request as the application would send it, by name; to a gateway, by its address. CONNECT names its host."""
    request, aim = trace.request, trace.aim
    tcp = request.protocol == "tcp" and not request.tls
    host = request.host or show_address(aim.host, aim.port)
    rest = tuple((name, value) for name, value in request.headers if name.lower() != "x-request-id")
    return PlainRequest(
        address=aim.address if aim.kind == "gateway" else aim.host,
        port=aim.port,
        method="" if tcp else request.method,
        path=host if request.method == "CONNECT" and not tcp else request.path,
        headers=(("Host", host), ("x-request-id", token), *rest),
        timeout_s=HOLD_S if tcp else WAIT_S,
        tls=request.tls,
        sni=server_name(request),
        http2=request.protocol == "http2",
    )


def _sent(world: World, api: Any, station: Station, trace: Trace, token: str) -> _Sent | _Not:
    """Send it from a container, else from inside the pod's network namespace; why not, where neither can."""
    pod = station.pod
    containers = tuple(dict.fromkeys(o.container for o in station.owners if o.container))
    if station.owners and not containers:
        tried: _Sent | _Not = _Not("the containers send as their own users, not as --uid and --gid say")
    else:
        containers = containers or tuple(c.name for c in pod.app_containers[:1])
        tried = _by_any(api, station, containers, _request(trace, token))
    if isinstance(tried, _Sent):
        return tried
    if tried.lost:
        return replace(tried, why=f"no answer came: {tried.why}")
    inside = _from_inside(world, station, trace, token)
    if isinstance(inside, _Sent):
        return inside
    help_ = [
        f"try: kubectl debug -it {pod.name} -n {pod.namespace} --image=curlimages/curl --target={name}"
        for name in containers[:1]
    ]
    if tried.denied:
        help_ = ["pods/exec is needed (`meshctl doctor --role proxy`)"]
    return replace(tried, why=f"no request was sent: {tried.why}", more=(inside, *help_))


def _by_any(api: Any, station: Station, containers: Sequence[str], request: PlainRequest) -> _Sent | _Not:
    """Send it from the first of the application's containers that can; they share a network, not always a user."""
    lacking: list[str] = []
    for container in containers:
        tried = _by_tool(api, station, container, request)
        if not isinstance(tried, _Not) or tried.lost or tried.denied:
            return tried
        lacking.append(tried.why)
    return _Not("; ".join(lacking))


def _by_tool(api: Any, station: Station, container: str, request: PlainRequest) -> _Sent | _Not:
    """Send it with the first tool that the container has; why not, where it has none."""
    lacking: list[str] = []
    where = f"container {container} of {station.key}"
    for tool in request_tools.TOOLS:
        for argv in tool.ways(request):
            shown = request_tools.shown(tool, argv, request)
            began = time.monotonic()
            try:
                done = api.run(station.pod.namespace, station.pod.name, container, argv, request.timeout_s + 5.0)
            except MeshctlError as error:
                if time.monotonic() - began < request.timeout_s:
                    return _Not(str(error), denied=isinstance(error, NoAccess), lost=not isinstance(error, NoAccess))
                return _Sent(where, shown, PlainAnswer(broken="timeout", text=str(error)))
            if done.code in _KILLED:
                return _Not(f"{tool.name} was killed ({done.code}): has the container ended?", lost=True)
            if done.problem and tool is request_tools.CURL and "executable file not found" not in done.problem:
                return _Not(f"nothing can be run in {container}: {done.problem}")
            started = not done.problem and done.code not in (126, 127)
            answer = tool.read(request, done.stdout, done.stderr, done.code) if started else None
            if answer is not None:
                return _Sent(where, shown, answer)
            if not started:
                break
        lacking.append(tool.name)
    return _Not(f"{container} has no {', '.join(lacking[:-1])} or {lacking[-1]} that can send it")


def _from_inside(world: World, station: Station, trace: Trace, token: str) -> _Sent | str:
    """Send it from inside the pod's network namespace as the application's user; why that cannot be done."""
    enter: Any = getattr(world, "send_inside", None)
    address = trace.aim.address.split(",")[0].strip()
    if enter is None:
        return "its network namespace cannot be entered from here"
    if trace.request.protocol == "http2":
        return "meshctl itself sends only HTTP/1.1 and TCP, and this is HTTP/2"
    if not address:
        return f"{trace.aim.host} has no known address, and its name is only looked up in the container"
    owner = next((o for o in station.owners if o.uid is not None), None)
    user = (owner.uid, owner.gid) if owner is not None else (None, None)
    plain = replace(_request(trace, token), address=address, uid=user[0], gid=user[1])
    try:
        answer = enter(station.pod.namespace, station.pod.name, plain)
    except MeshctlError as error:
        return str(error)
    if isinstance(answer, str):
        return answer
    who = f"as uid {owner.uid}" if owner is not None else "as root: the application's user is not known"
    who += f", gid {owner.gid}" if owner is not None and owner.gid is not None else ""
    host = f" (Host: {plain.headers[0][1]})" if plain.method else ""
    where = show_address(address, plain.port)
    what = f"{plain.method} {'https' if plain.tls else 'http'}://{where}{plain.path}" if plain.method else where
    return _Sent(
        f"the network namespace of {station.key}, {who}",
        f"meshctl itself: {what if plain.method else f'connect to {what}'}{host}",
        answer,
    )


# --- the counters ----------------------------------------------------------------------------------------------------

_Counters: TypeAlias = Mapping[tuple[str, str, str], int]


def _counters(world: World, station: Station, trace: Trace) -> _Counters:
    """Envoy's counters of the hosts of every cluster that may be chosen: cluster, host and counter."""
    names = {share.name for share in trace.outcome.clusters}
    if not station.has_proxy or not names:
        return {}
    try:
        part = world.part(station.pod.namespace, station.pod.name, "envoy/clusters.json")
        found = clusters_json.parse(part.content, part.source) if part.content else {}
    except MeshctlError:
        return {}
    return {
        (name, f"{host.address.host}:{host.address.port}", counter): value
        for name in sorted(names & set(found))
        for host in found[name].hosts
        for counter, value in host.counters.items()
        if not counter.endswith("_active")
    }


def _difference(before: _Counters, after: _Counters) -> tuple[str, ...]:
    """What was counted meanwhile; other requests of the same moment are in it, too."""
    changed = [(key, value - before.get(key, 0)) for key, value in after.items() if value > before.get(key, 0)]
    return tuple(f"{cluster} {host}: {counter} +{more}" for (cluster, host, counter), more in changed)

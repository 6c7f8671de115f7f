"""Send a predicted request for real: from the caller's container, with curl, and find it in the proxies' logs.

Without curl there it is sent from inside the pod's network namespace (root on its node); without access logs Envoy's
counters before and after say which endpoint got it.

It adds one request to the mesh's traffic and nothing else: no pod is made, nothing is installed.
"""

import shlex
import time
import uuid
from collections.abc import Mapping
from typing import Any, TypeAlias

from meshctl.envoy import clusters_json
from meshctl.envoy.access_log import parse_line
from meshctl.errors import MeshctlError, Unavailable
from meshctl.frozen import dataclass
from meshctl.path.model import Trace
from meshctl.path.observed import CURL_ERRORS, Logged, Observation, agrees
from meshctl.path.scene import Scene, Station
from meshctl.sources.plain_request import PlainRequest
from meshctl.sources.world import World

WAIT_S = 15
"""How long the request may take."""
LOG_DELAY_S = 1.5
"""Envoy flushes its access log every second (``--file-flush-interval-msec 1000``, as the agent starts it)."""


def send(world: World, scene: Scene, trace: Trace) -> Observation:
    """Send the request. Raises Unavailable where there is no cluster to send it in, or no pod to send it from."""
    api: Any = getattr(world, "api", None)
    if not world.live or api is None:
        raise Unavailable("--probe sends a real request, and a recording has no cluster", hint="leave out --probe")
    pod = scene.pod_named(f"{trace.sender.namespace}/{trace.sender.pod}") if trace.sender.pod else None
    if pod is None:
        raise Unavailable("--probe needs a pod to send from", hint="name one with --from POD")
    station = scene.station(pod)
    owner = next((o for o in station.owners if o.container), None)
    container = owner.container if owner is not None else pod.app_containers[0].name
    token = str(uuid.uuid4())
    before = _counters(world, station, trace)
    tried = _by_curl(api, station, container, trace, token)
    if isinstance(tried, str):
        no_curl = f"{container} has no curl that could be run ({tried})"
        tried = _from_inside(world, station, trace, token)
        if isinstance(tried, str):
            help_ = f"try: kubectl debug -it {pod.name} -n {pod.namespace} --image=curlimages/curl --target={container}"
            said = (f"no request was sent: {no_curl}", tried, help_)
            return Observation(f"container {container} of {station.key}", "", missing=said)
    time.sleep(LOG_DELAY_S)
    logs, missing = _logs(world, scene, trace, station, token)
    counted: tuple[str, ...] = ()
    if not logs:
        counted = _difference(before, _counters(world, station, trace))
        missing = (*missing, *(() if counted else ("Envoy's counters of the predicted clusters did not change",)))
    parsed = [parse_line(seen.line) for seen in logs if seen.side == "caller"]
    flags = next((frozenset(line.flags) for line in parsed if line is not None), None)
    verdict = agrees(trace, tried.status, tried.broken, flags)
    return Observation(
        tried.where, tried.shown, tried.status, tried.error, tried.broken, logs, missing, verdict, counted
    )


@dataclass(frozen=True, slots=True)
class _Sent:
    """What came of the request, from where it was sent, and the command (or what stands for one)."""

    where: str
    shown: str
    status: int | None
    error: str
    broken: str


def _by_curl(api: Any, station: Station, container: str, trace: Trace, token: str) -> _Sent | str:
    """Send it with curl in the container; why not, where there is none."""
    argv = _curl(trace, token)
    answer = api.run(station.pod.namespace, station.pod.name, container, argv, WAIT_S + 5.0)
    if answer.problem or answer.code in (126, 127):
        return str(answer.problem or answer.stderr.decode("utf-8", "replace").strip())
    status, error, broken = _answer(answer.stdout.decode("utf-8", "replace"), answer.code)
    return _Sent(f"container {container} of {station.key}", shlex.join(argv), status, error, broken)


def _from_inside(world: World, station: Station, trace: Trace, token: str) -> _Sent | str:
    """Send it from inside the pod's network namespace as the application's user; why that cannot be done."""
    enter: Any = getattr(world, "send_inside", None)
    address = trace.aim.address.split(",")[0].strip()
    request = trace.request
    if enter is None:
        return "its network namespace cannot be entered from here"
    if request.tls or request.protocol == "http2":
        return "without curl only plain HTTP/1.1 and TCP are sent: TLS and HTTP/2 are not"
    if not address:
        return f"{trace.aim.host} has no known address, and its name is only looked up in the container"
    owner = next((o for o in station.owners if o.uid is not None), None)
    host = request.host or f"{trace.aim.host}:{trace.aim.port}"
    headers = (("Host", host), ("x-request-id", token), *request.headers)
    plain = PlainRequest(
        address=address,
        port=trace.aim.port,
        method="" if request.protocol == "tcp" else request.method,
        path=request.path,
        headers=headers,
        uid=owner.uid if owner is not None else None,
        gid=owner.gid if owner is not None else None,
        timeout_s=WAIT_S,
    )
    try:
        answer = enter(station.pod.namespace, station.pod.name, plain)
    except MeshctlError as error:
        return str(error)
    if isinstance(answer, str):
        return answer
    who = f"as uid {owner.uid}" if owner is not None else "as root: the application's user is not known"
    where = f"the network namespace of {station.key}, {who}"
    shown = f"{plain.method or 'connect to'} {address}:{plain.port}{plain.path if plain.method else ''} (Host: {host})"
    return _Sent(where, shown, answer.status, "" if answer.status else answer.text, answer.broken)


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


def _curl(trace: Trace, token: str) -> list[str]:
    request, aim = trace.request, trace.aim
    host = f"[{aim.host}]" if ":" in aim.host else aim.host
    scheme = "https" if request.tls else "http"
    words = ["curl", "-sS", "-o", "/dev/null", "-m", str(WAIT_S), "-w", "%{http_code}\\n", "-X", request.method]
    words += ["-H", f"x-request-id: {token}"]
    for name, value in request.headers:
        words += ["-H", f"{name}: {value}"]
    if request.host and request.host.partition(":")[0] != aim.host:
        words += ["-H", f"Host: {request.host}"]
    if request.protocol == "http2":
        words.append("--http2-prior-knowledge")
    return [*words, f"{scheme}://{host}:{aim.port}{request.path}"]


def _answer(text: str, code: int) -> tuple[int | None, str, str]:
    digits = text.strip().splitlines()[-1] if text.strip() else ""
    status = int(digits) if digits.isdecimal() and int(digits) >= 100 else None
    if status is not None:
        return status, "", ""
    broken = CURL_ERRORS.get(str(code), "")
    return None, f"curl ended with {code}{f' ({broken})' if broken else ''}", broken


def _logs(
    world: World, scene: Scene, trace: Trace, caller: Station, token: str
) -> tuple[tuple[Logged, ...], tuple[str, ...]]:
    """The lines with the request's id in the caller's proxy and in those of every pod that it may have reached."""
    found: list[Logged] = []
    missing: list[str] = []
    names = {endpoint.pod for share in trace.outcome.clusters for endpoint in share.endpoints if endpoint.pod}
    callees = [pod for name in sorted(names) if (pod := scene.pod_named(name)) is not None]
    for side, pod in (("caller", caller.pod), *(("callee", pod) for pod in callees)):
        try:
            part = world.part(pod.namespace, pod.name, "logs/istio-proxy.txt")
        except MeshctlError as error:
            missing.append(str(error))
            continue
        text = (part.content or b"").decode("utf-8", "replace")
        lines = [line for line in text.splitlines() if token in line and ("inbound|" in line) == (side == "callee")]
        found += [Logged(f"{pod.namespace}/{pod.name}", "caller" if side == "caller" else "callee", x) for x in lines]
    if not found:
        missing.append("no proxy logged it: is the access log on (meshConfig.accessLogFile)?")
    return tuple(found), tuple(missing)

"""Send a predicted request for real: from the caller's container, with curl, and find it in the proxies' logs.

It adds one request to the mesh's traffic and nothing else: no pod is made, nothing is installed.
"""

import shlex
import time
import uuid
from typing import Any

from meshctl.envoy.access_log import parse_line
from meshctl.errors import MeshctlError, Unavailable
from meshctl.path.model import Trace
from meshctl.path.observed import CURL_ERRORS, Logged, Observation, agrees
from meshctl.path.scene import Scene, Station
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
    container = next((o.container for o in station.owners if o.container), pod.app_containers[0].name)
    token = str(uuid.uuid4())
    argv = _curl(trace, token)
    where = f"container {container} of {station.key}"
    shown = shlex.join(argv)
    answer = api.run(pod.namespace, pod.name, container, argv, WAIT_S + 5.0)
    if answer.problem or answer.code in (126, 127):
        reason = answer.problem or answer.stderr.decode("utf-8", "replace").strip()
        said = f"no request was sent: {container} has no curl that could be run ({reason})"
        return Observation(where, shown, missing=(said, f"try: kubectl debug -it {pod.name} --image=curlimages/curl"))
    status, error, broken = _answer(answer.stdout.decode("utf-8", "replace"), answer.code)
    time.sleep(LOG_DELAY_S)
    logs, missing = _logs(world, scene, trace, station, token)
    parsed = [parse_line(seen.line) for seen in logs if seen.side == "caller"]
    flags = next((frozenset(line.flags) for line in parsed if line is not None), None)
    return Observation(where, shown, status, error, broken, logs, missing, agrees(trace, status, broken, flags))


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

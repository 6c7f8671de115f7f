"""Find a request that was sent in the logs of the proxies that it came through: by its id, else by its connection."""

import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from meshctl.envoy.access_log import LogLine, parse_line
from meshctl.frozen import dataclass
from meshctl.kube.pods import Pod
from meshctl.path.model import Trace
from meshctl.path.observed import Logged
from meshctl.path.scene import Scene, Station
from meshctl.sources.world import World

LOG_DELAY_S = 1.1
"""Envoy flushes its access log every second (``--file-flush-interval-msec 1000``, as the agent starts it)."""
LOG_TRIES = 3


@dataclass(frozen=True, slots=True)
class Left:
    """What the request left behind: its id, the client's ``address:port``, and when it began (monotonic clock)."""

    token: str
    local: str
    began: float

    @property
    def pattern(self) -> re.Pattern[str]:
        """The id as any proxy may log it."""
        return re.compile(".".join(map(re.escape, _plain_id(self.token).split("?"))))


_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _plain_id(request_id: str) -> str:
    """A request id with ``?`` where Envoy writes into it: its choice about tracing is the 15th character of a UUID.

    Source: source/extensions/request_id/uuid/config.cc, ``setTraceReason`` (4 becomes 9, a or b).
    """
    return f"{request_id[:14]}?{request_id[15:]}" if _UUID.fullmatch(request_id) else request_id


def found(
    world: World, scene: Scene, trace: Trace, caller: Station, left: Left
) -> tuple[tuple[Logged, ...], tuple[str, ...]]:
    """What the caller's proxy wrote of it, and the proxy that it was handed to; asked again until both are there."""
    ends = [branch.end for branch in trace.outcome.branches]
    wanted = set()
    if caller.has_proxy and any(end.through_client is not False for end in ends):
        wanted.add("caller")
    if any(end.through_server is not False for end in ends):
        wanted.add("callee")
    if not wanted:
        return (), ()
    seen: tuple[Logged, ...] = ()
    problems: tuple[str, ...] = ()
    for _ in range(LOG_TRIES):
        time.sleep(LOG_DELAY_S)
        seen, problems = _read(world, scene, trace, caller, left)
        if wanted <= {one.side for one in seen} or problems:
            break
    if not seen and not problems:
        problems = ("no proxy logged it: is the access log on (meshConfig.accessLogFile)?",)
    return seen, problems


def _read(
    world: World, scene: Scene, trace: Trace, caller: Station, left: Left
) -> tuple[tuple[Logged, ...], tuple[str, ...]]:
    problems: list[str] = []
    read = _reader(world, left, problems)
    mine: list[LogLine] = []
    if caller.has_proxy:
        mine = [line for line in read(caller.pod) if not line.inbound and _is_it(line, left, {left.local})]
    # A gateway gives what comes from outside an id of its own, and hands that on.
    ids = {_plain_id(line.request_id) for line in mine if line.request_id}
    found = [Logged(caller.key, "caller", line.text) for line in mine]
    tcp = not any(left.pattern.search(line.text) for line in mine)
    senders = {line.upstream_local for line in mine if tcp} | ({left.local} if not mine else set())
    for pod in _callees(scene, trace, mine):
        key = f"{pod.namespace}/{pod.name}"
        lines = [line for line in read(pod) if line.inbound or (not line.cluster and key != caller.key)]
        lines = [line for line in lines if _plain_id(line.request_id) in ids or _is_it(line, left, senders)]
        found += [Logged(key, "callee", line.text) for line in lines]
    return tuple(found), tuple(problems)


def _is_it(line: LogLine, left: Left, senders: set[str]) -> bool:
    """Whether a line is about the request: by its id, else by the connection that it came over."""
    return bool(left.pattern.search(line.text)) or (bool(line.remote) and line.remote in senders)


def _callees(scene: Scene, trace: Trace, lines: Sequence[LogLine]) -> Iterable[Pod]:
    """The pods with a proxy that got it: those that the caller's proxy names, else all that it may have chosen."""
    hosts = {line.upstream_host.rpartition(":")[0].strip("[]") for line in lines if line.upstream_host}
    named = [pod for host in sorted(hosts) if (pod := scene.pod_at(host)) is not None]
    if not hosts:
        keys = {endpoint.pod for share in trace.outcome.clusters for endpoint in share.endpoints if endpoint.pod}
        named = [pod for key in sorted(keys or _behind(scene, trace)) if (pod := scene.pod_named(key)) is not None]
    return [pod for pod in named if pod.container("istio-proxy") is not None]


def _behind(scene: Scene, trace: Trace) -> set[str]:
    """The pods that a caller without a proxy may reach: those of the Service, else the one at the address."""
    name, _, namespace = trace.aim.service.partition(".")
    service = scene.services.named(name, namespace)
    places = [e.address for e in scene.services.endpoints(service)] if service is not None else [trace.aim.address]
    return {f"{pod.namespace}/{pod.name}" for place in places if (pod := scene.pod_at(place)) is not None}


def _reader(world: World, left: Left, problems: list[str]) -> Callable[[Pod], list[LogLine]]:
    """The lines that a pod's proxy logged since the request was sent; why not goes to `problems`."""
    recent: Any = getattr(world, "recent_log", None)
    since_s = int(time.monotonic() - left.began) + 10

    def read(pod: Pod) -> list[LogLine]:
        part = recent(pod.namespace, pod.name, "istio-proxy", since_s)
        if part.content is None:
            problems.append(part.gap)
            return []
        return [_line(one) for one in part.content.decode("utf-8", "replace").splitlines()]

    return read


def _line(text: str) -> LogLine:
    """A line of the log; in a format of the mesh's own only its text counts, and the kind of cluster that it names."""
    found = parse_line(text)
    return found if found is not None else LogLine(text=text, cluster="inbound|" if "inbound|" in text else "")

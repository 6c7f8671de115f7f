"""Which of the usual causes it is here: the logged requests that ended so, traced again over what is recorded."""

from collections.abc import Iterable, Iterator

from meshctl.envoy.access_log import LogLine
from meshctl.errors import MeshctlError
from meshctl.frozen import dataclass
from meshctl.path.model import Request
from meshctl.path.netns import listens
from meshctl.path.scene import Scene, Station
from meshctl.path.sockets import nobody_listens
from meshctl.path.trace import Question, trace
from meshctl.path.why import Reading
from meshctl.refs import parse_target


@dataclass(frozen=True, slots=True)
class Here:
    """What the recording or cluster says of one such line."""

    says: str
    pod: str = ""
    line: str = ""
    command: str = ""
    bad: bool = True


def fits(reading: Reading, line: LogLine) -> bool:
    """Whether a logged line ended as the user says."""
    if reading.status is not None and (line.status or 0) != reading.status:
        return False
    return set(reading.flags) <= set(line.flags)


def explain(scene: Scene, station: Station, reading: Reading, lines: Iterable[LogLine]) -> Iterator[Here]:
    """For each different request of a pod that ended so: what a trace of it says today."""
    seen: set[tuple[str, str, str]] = set()
    for line in lines:
        key = (line.method, line.authority or line.local, line.cluster)
        if key in seen or not fits(reading, line):
            continue
        seen.add(key)
        yield _one(scene, station, line)


def _inbound(station: Station, line: LogLine) -> str:
    """What is known of a request that came in: whether something listens where its proxy wanted to go."""
    said = (line.failure or line.termination or line.details or "no detail logged").replace("_", " ")
    _, _, port = line.upstream_host.rpartition(":")
    if station.sockets is not None and port.isdecimal() and "refused" in said:
        address = line.upstream_host.rpartition(":")[0]
        if listens(station.sockets, address, int(port)) is None:
            return nobody_listens(station, address, int(port))
    return f"inbound to {station.key}: {said}"


def _one(scene: Scene, station: Station, line: LogLine) -> Here:
    if line.cluster.startswith("inbound|") or not (line.authority or line.local):
        return Here(_inbound(station, line), station.key, line.text)
    target = f"http://{line.authority}{line.path}" if line.method else f"tcp://{line.local}"
    command = f"meshctl trace '{target}' --from {station.pod.name} -n {station.pod.namespace}"
    try:
        request = Request(method=line.method or "GET")
        found = trace(scene, Question(caller=station, target=parse_target(target), request=request))
    except MeshctlError as error:
        return Here(str(error), station.key, line.text, command)
    end = found.outcome.end
    same = end.status == line.status and set(end.flags.split(",")) - {""} == set(line.flags)
    if end.undecided:
        return Here(f"cannot be told: {end.undecided[0]}", station.key, line.text, command)
    if same or (end.status is None and end.delivered is False):
        return Here(end.why, station.key, line.text, command)
    now = (
        "it would be delivered"
        if end.delivered
        else f"it would end with {end.status or end.broken} {end.flags}".strip()
    )
    return Here(f"not any more, as recorded: {now}", station.key, line.text, command, bad=False)

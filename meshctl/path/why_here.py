"""Which of the usual causes it is here: the logged requests that ended so, traced again over what is recorded."""

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

from meshctl.envoy.access_log import LogLine
from meshctl.errors import MeshctlError
from meshctl.frozen import dataclass
from meshctl.injection.mode import recognise
from meshctl.kube.pods import Pod
from meshctl.path import lookup
from meshctl.path.flags import is_refused
from meshctl.path.hosts import is_address
from meshctl.path.model import Request, Trace
from meshctl.path.netns import listens
from meshctl.path.scene import Scene, Station
from meshctl.path.sockets import nobody_listens
from meshctl.path.trace import Question, trace
from meshctl.path.why import Reading
from meshctl.path.wire import bare
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


# --- whose line it is ------------------------------------------------------------------------------------------------


def writer(scene: Scene, line: LogLine) -> Pod | None:
    """The pod whose proxy wrote a line, by the addresses in it; None where they tell of none.

    Only the writer connects from its own address to the endpoint. Else it is the client's proxy or the server's: the
    one that the cluster is named for, and without a cluster the server's where it has no filter chain for what came.
    """
    at = {side: _with_proxy(scene, address) for side, address in _addresses(line).items()}
    if line.inbound:
        return at["local"]
    if at["upstream"] is not None:
        return at["upstream"]
    if not line.cluster and "filter_chain_not_found" in (line.details, line.termination):
        return at["local"] or at["remote"]
    return at["remote"] or at["local"]


def _with_proxy(scene: Scene, address: str) -> Pod | None:
    pod = scene.pod_at(address) if address else None
    return pod if pod is not None and recognise(pod).mode in ("sidecar", "native-sidecar", "gateway") else None


def _addresses(line: LogLine) -> dict[str, str]:
    places = {"upstream": line.upstream_local, "local": line.local, "remote": line.remote}
    return {side: place.rpartition(":")[0].strip("[]") for side, place in places.items()}


def _side(station: Station, line: LogLine) -> Literal["caller", "callee", "gateway"]:
    """What the pod was in this connection: whoever is connected to at its own address is not the one who calls."""
    own, at = {station.pod.ip, *station.pod.ips}, _addresses(line)
    if line.inbound:
        return "callee"
    if at["local"] not in own or at["remote"] in own:
        return "caller"
    if station.mode == "gateway":
        return "gateway"
    return "caller" if line.cluster else "callee"


# --- what is known of it ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Asked:
    """A logged request as one may trace it again, and the options of the command that does."""

    target: str
    request: Request
    options: str = ""


def _one(scene: Scene, station: Station, line: LogLine) -> Here:
    side = _side(station, line)
    if side == "callee":
        return _arrived(scene, station, line)
    if not (line.authority or line.local):
        return Here(_of_callee(station, line), station.key, line.text)
    if side == "gateway":
        return _at_gateway(scene, station, line)
    asked = _asked(scene, station, line)
    command = _command(asked, station)
    return _compared(
        scene,
        Question(caller=station, target=parse_target(asked.target), request=asked.request),
        line,
        station,
        command,
    )


def _command(asked: _Asked, sender: Station) -> str:
    words = f"meshctl trace {shlex.quote(asked.target)} --from {sender.pod.name} -n {sender.pod.namespace}"
    return f"{words}{asked.options}"


def _asked(scene: Scene, sender: Station, line: LogLine) -> _Asked:
    """The request by its Host header where that name leads to the address that was called; else by that address."""
    if not line.method:
        named = "" if re.match(r"outbound_\.", line.server_name) else line.server_name
        if named:
            return _Asked(f"tls://{line.local}", Request(sni=named), f" --sni {shlex.quote(named)}")
        return _Asked(f"tcp://{line.local}", Request())
    request = Request(method=line.method)
    options = "" if line.method == "GET" else f" -X {shlex.quote(line.method)}"
    by_name = f"http://{line.authority}{line.path}"
    if not line.local or (line.authority and _leads_to(scene, sender, by_name, _addresses(line)["local"])):
        return _Asked(by_name, request, options)
    host = line.authority
    options += f" --host {shlex.quote(host)}" if host else ""
    return _Asked(f"http://{line.local}{line.path}", replace(request, host=host), options)


def _leads_to(scene: Scene, sender: Station, url: str, address: str) -> bool:
    """Whether the name in a URL is that of an address, or may be: nothing says otherwise."""
    try:
        target = parse_target(url)
    except MeshctlError:
        return False
    if target.address is not None:
        return target.address == address
    name = lookup.name_of(scene, sender, target)
    return not name.fails and (not name.addresses or address in name.addresses)


def _compared(scene: Scene, question: Question, line: LogLine, station: Station, command: str) -> Here:
    """What a trace says beside what was logged."""
    try:
        found = trace(scene, question)
    except MeshctlError as error:
        return Here(str(error), station.key, line.text, command)
    end = found.outcome.end
    if end.undecided:
        return Here(f"cannot be told: {end.undecided[0]}", station.key, line.text, command)
    if end.delivered and line.status is not None and 100 <= line.status < 400 and not line.flags:
        return Here("it would be delivered, as it was", station.key, line.text, command, bad=False)
    if _same(found, line, of_callee=_side(station, line) == "callee"):
        return Here(end.why, station.key, line.text, command)
    now = (
        f"it would be delivered{', unless headers that are not logged decide' if line.method else ''}"
        if end.delivered
        else f"it would end with {end.status or end.broken} {end.flags}".strip()
    )
    return Here(f"not any more, as recorded: {now}", station.key, line.text, command, bad=False)


def _same(found: Trace, line: LogLine, *, of_callee: bool) -> bool:
    """Whether a prediction is what was logged: of the callee's proxy only its own refusal is."""
    end = found.outcome.end
    if of_callee:
        own = end.server_flags == ",".join(line.flags) and (line.status or None) == end.status
        return end.delivered is False and (own or end.cause == "strict" or end.answered_by == "server-proxy")
    same = end.status == line.status and set(end.flags.split(",")) - {""} == set(line.flags)
    return same or (end.status is None and end.delivered is False)


def _at_gateway(scene: Scene, station: Station, line: LogLine) -> Here:
    """A request that came to a gateway, from inside or outside: it is followed from there on."""
    _, _, port = line.local.rpartition(":")
    scheme = "https" if line.server_name else "http"
    host = line.authority or line.server_name or _addresses(line)["local"]
    sni = f" --sni {shlex.quote(line.server_name)}" if line.server_name else ""
    request = Request(method=line.method or "GET", host=line.authority, sni=line.server_name or None)
    asked = _Asked(f"{scheme}://{host}{line.path}", request)
    command = f"meshctl trace {shlex.quote(asked.target)} --from ingress{sni}"
    question = Question(
        caller=None,
        target=parse_target(asked.target),
        request=request,
        gateway=station,
        gateway_port=int(port) if port.isdecimal() else None,
    )
    return _compared(scene, question, line, station, command)


def _arrived(scene: Scene, station: Station, line: LogLine) -> Here:
    """A request that came in: what its proxy refused is traced from who sent it, the rest is the application's."""
    refused = not line.cluster or line.details.startswith("rbac_")  # of a token nothing is logged
    client = scene.pod_at(_addresses(line)["remote"])
    if not refused or client is None or not line.local:
        return Here(_of_callee(station, line), station.key, line.text)
    sender = scene.station(client)
    asked = _as_sent(scene, sender, line)
    question = Question(caller=sender, target=parse_target(asked.target), request=asked.request)
    return _compared(scene, question, line, station, _command(asked, sender))


def _as_sent(scene: Scene, sender: Station, line: LogLine) -> _Asked:
    """What the client called: the name in the mesh's mutual TLS, else the Host header, else the pod's own address."""
    named = re.match(r"outbound_\.(\d+)_\.[^|]*?_\.(.+)$", line.server_name)
    options = "" if line.method in ("", "GET") else f" -X {shlex.quote(line.method)}"
    request = Request(method=line.method or "GET")
    by_host = f"http://{line.authority}{line.path}"
    host = bare(line.authority)
    service = lookup.name_of(scene, sender, parse_target(by_host)).service if host and not is_address(host) else None
    called = (f"{host}:{named[1]}", named[2]) if named else ()
    if service is not None and (not called or called == (line.authority, service.full_name)):
        return _Asked(by_host, request, options)
    if named:
        scheme = "http://" if line.method else ""
        host = line.authority if bare(line.authority) != named[2] else ""
        more = f" --host {shlex.quote(host)}" if host else ""
        return _Asked(f"{scheme}{named[2]}:{named[1]}{line.path}", replace(request, host=host), options + more)
    return _Asked(f"{line.local}{line.path}", replace(request, host=line.authority), options)


def _of_callee(station: Station, line: LogLine) -> str:
    """What is known of a request that came in: whether something listens where its proxy wanted to go."""
    said = (line.failure or line.termination or line.details or "no detail logged").replace("_", " ")
    _, _, port = line.upstream_host.rpartition(":")
    if station.sockets is not None and port.isdecimal() and is_refused(f"{line.failure} {line.details}"):
        address = line.upstream_host.rpartition(":")[0]
        if listens(station.sockets, address, int(port)) is None:
            return nobody_listens(station, address, int(port))
    return f"inbound to {station.key}: {said}"

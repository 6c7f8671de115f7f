"""The recordings of real requests, opened once, and what a prediction must not contradict."""

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from meshctl.gather import trace as gather
from meshctl.path.model import Branch, End, Request, Trace
from meshctl.path.scene import Scene
from meshctl.path.trace import Question, trace
from meshctl.refs import parse_target
from meshctl.sources import snapshot
from meshctl.sources.snapshot import Files
from meshctl.sources.world import World

FOLDER = Path(__file__).parent.parent.parent / "fixtures" / "trace"
NAMES = ("bookinfo", "classic", "policies", "broken", "cnimode", "nftmode", "ambient")
DUMPS = ("config_dump.json", "clusters.json")
CURL = {"6": "dns", "7": "refused", "28": "timeout", "52": "reset", "56": "reset"}


@cache
def world(name: str) -> World:
    return snapshot.open_snapshot(str(FOLDER / f"{name}.tar.gz"))


@cache
def scene(name: str) -> Scene:
    return gather.scene(world(name))


class Without:
    """Files without some of them."""

    def __init__(self, files: Files, gone: tuple[str, ...]) -> None:
        self.files, self.gone = files, gone

    def read(self, name: str) -> bytes | None:
        return None if self.gone and name.endswith(self.gone) else self.files.read(name)

    def names(self, folder: str) -> tuple[str, ...]:
        return tuple(name for name in self.files.names(folder) if not self.gone or not name.endswith(self.gone))


class Case(NamedTuple):
    name: str
    number: int
    raw: dict[str, Any]

    @property
    def id(self) -> str:
        return f"{self.name}-{self.number}-{self.raw['url']}"


def truths() -> list[Case]:
    found = []
    for name in NAMES:
        files = snapshot.open_snapshot(str(FOLDER / f"{name}.tar.gz")).files
        recorded = json.loads(files.read("truth.json") or b"[]")
        found += [Case(name, number, raw) for number, raw in enumerate(recorded)]
    return found


def predicted(name: str, sender: str, url: str, request: Request) -> Trace:
    place = scene(name)
    pod = place.pod_named(sender)
    assert pod is not None
    return trace(place, Question(caller=place.station(pod), target=parse_target(url), request=request))


def of_case(case: Case) -> Trace:
    headers = tuple((key.lower(), value) for key, value in case.raw.get("headers", {}).items())
    request = Request(method=case.raw.get("method", "GET"), headers=headers)
    return predicted(case.name, case.raw["from_pod"], case.raw["url"], request)


def none_if_dash(text: str) -> str:
    return "" if text == "-" else text


def client_line(raw: dict[str, Any]) -> dict[str, str] | None:
    """Hop one: the line of the sender's own proxy."""
    lines = [x for x in raw["proxy_logs"] if x["pod"] == raw["from_pod"] and not x["cluster"].startswith("inbound")]
    return lines[0] if lines else None


def server_line(raw: dict[str, Any]) -> dict[str, str] | None:
    """The inbound line of the host that hop one went to."""
    first = client_line(raw)
    for line in raw["proxy_logs"]:
        if not line["cluster"].startswith("inbound"):
            continue
        if first is None or (line["dlocal"] == first["upstream"] and line["dremote"] == first["ulocal"]):
            return dict(line)
    return None


def contradictions(raw: dict[str, Any], branch: Branch) -> list[str]:
    """What a branch says otherwise than what was recorded; what it leaves undecided contradicts nothing."""
    end, first, server = branch.end, client_line(raw), server_line(raw)
    found = [] if end.undecided else [*_of_client(raw, end), *_of_flags(end, first, server)]
    if first is not None and (branch.cluster or "") != none_if_dash(first["cluster"]):
        found.append(f"cluster {branch.cluster}, recorded {first['cluster']}")
    if raw["proxy_logs"]:
        if end.through_client is not None and end.through_client != (first is not None):
            found.append(f"through the caller's proxy: {end.through_client}")
        if end.through_server is not None and end.through_server != (server is not None):
            found.append(f"through the callee's proxy: {end.through_server}")
    return found


def _of_client(raw: dict[str, Any], end: End) -> list[str]:
    code = int(raw["client"]["http_code"])
    if code == 0:
        seen = CURL[raw["client"]["curl_exit"]]
        return [] if end.broken == seen and not end.delivered else [f"{end.broken or end.status}, recorded {seen}"]
    if end.status is not None:
        return [] if end.status == code else [f"status {end.status}, recorded {code}"]
    return [] if end.delivered and code < 400 else [f"delivered {end.delivered}, recorded {code}"]


def _of_flags(end: End, first: dict[str, str] | None, server: dict[str, str] | None) -> list[str]:
    found = []
    if first is not None and end.flags != none_if_dash(first["flags"]):
        found.append(f"flags {end.flags}, recorded {first['flags']}")
    if server is not None and end.server_flags != none_if_dash(server["flags"]):
        found.append(f"callee's flags {end.server_flags}, recorded {server['flags']}")
    return found

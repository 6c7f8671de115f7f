"""One match and one trace in process, beside json.loads of every file that they read."""

import json
from dataclasses import replace
from pathlib import Path

from bench.measure import Row, ms, seconds
from meshctl.envoy import config_dump
from meshctl.envoy.match import match
from meshctl.envoy.query import Query
from meshctl.gather.prediction import predict
from meshctl.gather.question import Asked
from meshctl.gather.scope import Scope
from meshctl.path.model import Trace
from meshctl.sources import kinds
from meshctl.sources.snapshot import Files, Snapshot, open_demo, open_snapshot

SENDER, TARGET = "deploy/productpage-v1", "reviews:9080"
RECORDED = Path(__file__).parent.parent / "fixtures" / "trace" / "bookinfo.tar.gz"


class Noted:
    """The files of a snapshot, remembering which were read."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.contents: dict[str, bytes] = {}

    def read(self, name: str) -> bytes | None:
        """Read and remember."""
        content = self.files.read(name)
        if content is not None:
            self.contents[name] = content
        return content

    def names(self, folder: str) -> tuple[str, ...]:
        """As the files say."""
        return self.files.names(folder)


def rows() -> list[Row]:
    """The match alone on one dump, then whole traces with all that they read: of a small mesh, and of a usual one."""
    recorded = open_snapshot(str(RECORDED), "bookinfo")  # an archive is unpacked once
    return [_match(recorded), _trace("demo", open_demo()), _trace("a mesh of 70 clusters", recorded)]


def _match(world: Snapshot) -> Row:
    pods = (item["metadata"] for item in world.objects(kinds.PODS).items)
    pod = next(each for each in pods if each["name"].startswith("productpage"))
    content = world.part(pod["namespace"], pod["name"], "envoy/config_dump.json").content or b""
    query = Query(direction="outbound", address="10.0.0.1", port=9080, host="reviews:9080")
    base = seconds(lambda: json.loads(content))
    took = seconds(lambda: match(config_dump.parse(content, "dump"), query))
    return Row(
        f"proxy match, {len(content) >> 10} KB dump", ms(took), f"json.loads: {ms(base)}", took / base, "under 2"
    )


def _trace(name: str, world: Snapshot) -> Row:
    noted = Noted(world.files)
    _one_trace(replace(world, files=noted))
    documents = [content for file, content in noted.contents.items() if file.endswith(".json")]
    base = seconds(lambda: [json.loads(content) for content in documents])
    took = seconds(lambda: _one_trace(world))
    size = sum(map(len, noted.contents.values()))
    what = f"trace, {name}: {len(noted.contents)} files, {size >> 10} KB"
    return Row(what, ms(took), f"json.loads: {ms(base)}", took / base, "under 2")


def _one_trace(world: Snapshot) -> Trace:
    fresh = Snapshot(world.name, world.files, world.about)  # nothing of it has been parsed
    return predict(fresh, Asked(target=TARGET, sender=SENDER), Scope())[1]

"""One match and one trace in process, beside json.loads of every file that they read."""

import json
from collections.abc import Callable
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
from meshctl.sources.snapshot import Files, Snapshot, open_demo

SENDER, TARGET = "deploy/productpage-v1", "reviews:9080"


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
    """The match alone on one dump, then a whole trace with all that it reads."""
    return [_match(), _trace()]


def _match() -> Row:
    file = next(Path(_demo_root()).glob("pods/*/productpage*/envoy/config_dump.json"))
    content = file.read_bytes()
    query = Query(direction="outbound", address="10.0.0.1", port=9080, host="reviews:9080")
    base = seconds(lambda: json.loads(content))
    took = seconds(lambda: match(config_dump.parse(content, "dump"), query))
    return Row(
        f"proxy match, {len(content) >> 10} KB dump", ms(took), f"json.loads: {ms(base)}", took / base, "under 2"
    )


def _demo_root() -> Path:
    import meshctl

    return Path(meshctl.__file__).parent / "demo" / "snapshot"


def _trace() -> Row:
    noted = Noted(open_demo().files)
    _one_trace(lambda: replace(open_demo(), files=noted))
    documents = [content for name, content in noted.contents.items() if name.endswith(".json")]
    base = seconds(lambda: [json.loads(content) for content in documents])
    took = seconds(lambda: _one_trace(open_demo))
    size = sum(map(len, noted.contents.values()))
    what = f"trace, {len(noted.contents)} files, {size >> 10} KB"
    return Row(what, ms(took), f"json.loads: {ms(base)}", took / base, "under 2")


def _one_trace(world: Callable[[], Snapshot]) -> Trace:
    return predict(world(), Asked(target=TARGET, sender=SENDER), Scope())[1]

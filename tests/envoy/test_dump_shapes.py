"""What people have instead of a whole config dump reads as well: parts, lists of resources, bootstrap files."""

import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from meshctl.envoy import config_dump
from meshctl.envoy.match import match
from meshctl.envoy.query import Query
from meshctl.envoy.reading import camel
from meshctl.errors import BadInput, NotFound
from meshctl.gather import proxies
from meshctl.yaml_text import dump as to_yaml
from tests.envoy import dumps

LISTENER = dumps.listener("web", "0.0.0.0", 80, dumps.http_chain("chain", dumps.route_config("inline")))
CLUSTER = dumps.cluster("app", "10.0.0.1")
BOOTSTRAP = {"node": {"id": "n"}, "static_resources": {"listeners": [LISTENER], "clusters": [CLUSTER]}}
ASKED = Query(direction="gateway", address="10.0.0.9", port=80, host="a.com")


def recased(value: Any) -> Any:
    """In protobuf's other spelling; the keys of typed configs' URLs stay."""
    match value:
        case dict():
            return {camel(key): recased(each) for key, each in value.items()}
        case list():
            return [recased(each) for each in value]
        case _:
            return value


def names(document: Any) -> tuple[list[str], ...]:
    found = config_dump.read(document, "t")
    return tuple([each.name for each in every()] for every in (found.listeners, found.route_configs, found.clusters))


@pytest.mark.parametrize("turn", [lambda d: d, recased], ids=["snake", "camel"])
@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (dumps.document([LISTENER], [dumps.route_config("rds")], [CLUSTER]), (["web"], ["rds"], ["app"])),
        ({"config_dump": dumps.document([LISTENER])}, (["web"], [], ["app"])),
        ([LISTENER], (["web"], ["inline"], [])),
        (LISTENER, (["web"], ["inline"], [])),
        ([dumps.route_config("rds")], ([], ["rds"], [])),
        ([CLUSTER], ([], [], ["app"])),
        ({"dynamic_active_clusters": [{"cluster": CLUSTER}]}, ([], [], ["app"])),
        ({"static_listeners": [{"listener": LISTENER}]}, (["web"], [], [])),
        (BOOTSTRAP, (["web"], ["inline"], ["app"])),
    ],
)
def test_shapes_of_a_configuration(document: Any, expected: tuple[list[str], ...], turn: Any) -> None:
    assert names(turn(document)) == expected


def test_a_part_leaves_undecided_what_it_does_not_hold() -> None:
    routes = match(config_dump.read([dumps.route_config("rds")], "t"), ASKED)
    assert (routes.error, routes.undecided_because) == (None, ("the dump has no listeners",))
    listeners = match(config_dump.read([LISTENER], "t"), ASKED)
    assert listeners.undecided_because == ("app: the dump has no clusters",)
    assert match(config_dump.read(BOOTSTRAP, "t"), ASKED).forwards is True


def zipped(*files: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in files:
            archive.writestr(name, json.dumps(BOOTSTRAP))
    return made.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        to_yaml(BOOTSTRAP).encode(),
        gzip.compress(json.dumps(BOOTSTRAP).encode()),
        zipped("a.json"),
        b"\xef\xbb\xbf" + json.dumps(BOOTSTRAP).encode(),
        json.dumps(BOOTSTRAP).encode("utf-16"),
        gzip.compress(to_yaml(BOOTSTRAP).encode()),
    ],
    ids=["yaml", "gzip", "zip", "bom", "utf-16", "yaml-gzip"],
)
def test_files_as_people_keep_them(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "dump"
    file.write_bytes(content)
    assert [each.name for each in proxies.from_file(str(file)).dump.listeners()] == ["web"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (gzip.compress(json.dumps(BOOTSTRAP).encode())[:40], "cannot be unpacked"),
        (zipped("a.json", "b.json"), "a zip file of 2 files"),
        (gzip.compress(b"x" * 257 + b"ustar" + b"\0" * 300), "it is an archive"),
        (b"PK\x03\x04 no zip", "cannot be unpacked"),
        (b"key: [1,\nb: }", "not valid YAML"),
        (b"key: value", "not a config dump"),
        (b"\x00\x01\x02", "not valid JSON"),
        (b"\x1b[\xff\xfe", "no JSON: byte 2 is not UTF-8"),
    ],
    ids=[
        "cut gzip",
        "two in a zip",
        "tar",
        "no zip",
        "broken yaml",
        "other yaml",
        "zeros",
        "noise",
    ],  # the bytes hold the time
)
def test_broken_files_are_bad_input(content: bytes, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "dump"
    file.write_bytes(content)
    with pytest.raises(BadInput, match=problem):
        proxies.from_file(str(file))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        proxies.from_file(str(tmp_path / "none"))
    with pytest.raises(BadInput, match="directory"):
        proxies.from_file(str(tmp_path))

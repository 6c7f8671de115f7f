import contextlib
import gzip
import json
import os
import re
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshctl.errors import BadInput, NotFound
from meshctl.sources import kinds, snapshot
from meshctl.sources.selector import selects
from tests import recording

PODS = [
    recording.pod("a", "shop", labels={"app": "a", "tier": "web"}),
    recording.pod("b", "shop", labels={"app": "b"}),
    recording.pod("c", "mesh-root", labels={"app": "a"}),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return recording.write(
        tmp_path / "snap",
        namespaces=["mesh-root", "shop"],
        resources={"pods": PODS},
        files={
            "resources/configmap.mesh-root.istio.json": '{"metadata": {"name": "istio"}}',
            "pods/shop/a/netns/iptables-save.txt": b"*nat\nCOMMIT\n",
            "pods/shop/a/logs/app.txt": "hello",
            "nodes/node/netns/iptables-save.txt": "*filter\nCOMMIT\n",
        },
    )


@pytest.fixture
def archive(folder: Path, tmp_path: Path) -> Path:
    file = tmp_path / "snap.tar.gz"
    with tarfile.open(file, "w:gz") as tar:
        tar.add(folder, arcname="some-name")
    return file


def test_a_directory_and_its_archive_say_the_same(folder: Path, archive: Path) -> None:
    for world in (snapshot.open_snapshot(str(folder)), snapshot.open_snapshot(str(archive))):
        assert [p["metadata"]["name"] for p in world.objects(kinds.PODS).items] == ["a", "b", "c"]
        assert [p["metadata"]["name"] for p in world.objects(kinds.PODS, "shop", "app=a").items] == ["a"]
        assert world.part("shop", "a", "netns/iptables-save.txt").content == b"*nat\nCOMMIT\n"
        assert world.part_names("shop", "a", "logs") == ("app.txt",)
        assert world.part_names("shop", "nobody", "logs") == ()
        assert world.node_part("node", "netns/iptables-save.txt").there
        assert world.one(kinds.CONFIG_MAPS, "mesh-root", "istio") == {"metadata": {"name": "istio"}}
        assert world.one(kinds.PODS, "shop", "c") is None
        assert world.default_namespace() == "shop"
        assert world.now() == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_what_is_missing_is_a_gap_that_says_how_to_record_it(folder: Path) -> None:
    world = snapshot.open_snapshot(str(folder))
    part = world.part("shop", "a", "envoy/config_dump.json")
    assert part.content is None
    assert "pods/shop/a/envoy/config_dump.json" in part.gap
    assert "snapshot record" in part.gap
    assert not world.objects(kinds.SERVICES).recorded


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"items": [\n  {,\n]}', r"resources/services\.json:2:4"),
        (b"\xff\xfe\x00binary", r"services\.json"),
        (b"[]", "no Kubernetes List"),
        (b'{"items": [7]}', r"items\[0\] should be an object, is a number"),
        (b'{"items": [{}, {"metadata": "x"}]}', r"items\[1\]\.metadata should be an object, is a string"),
    ],
)
def test_what_is_broken_is_a_gap_that_says_where(folder: Path, content: bytes, said: str) -> None:
    (folder / "resources/services.json").write_bytes(content)
    told: list[str] = []
    world = snapshot.open_snapshot(str(folder), tell=told.append)
    for _ in range(2):
        found = world.objects(kinds.SERVICES)
        assert (found.recorded, found.broken, found.items) == (False, True, ())
        assert re.search(said, found.gap)
    assert len(told) == 1
    assert re.search(said, told[0])


def test_a_broken_config_map_is_told_and_left_out(folder: Path) -> None:
    (folder / "resources/configmap.mesh-root.istio.json").write_text('{"x')
    told: list[str] = []
    assert snapshot.open_snapshot(str(folder), tell=told.append).one(kinds.CONFIG_MAPS, "mesh-root", "istio") is None
    assert "configmap.mesh-root.istio.json:1:2" in told[0]


def test_without_readable_pods_there_is_no_answer(folder: Path) -> None:
    (folder / "resources/pods.json").write_text('{"items": [\n  {,\n]}')
    with pytest.raises(BadInput, match=r"resources/pods\.json:2:4"):
        snapshot.open_snapshot(str(folder)).objects(kinds.PODS)


def test_refuses_what_is_no_snapshot(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(NotFound, match="no snapshot at"):
        snapshot.open_snapshot(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"no snapshot\.json"):
        snapshot.open_snapshot(str(tmp_path / "empty"))
    (folder / "snapshot.json").write_text(json.dumps({"schema": "other/v1"}))
    with pytest.raises(BadInput, match="other/v1"):
        snapshot.open_snapshot(str(folder))


def test_refuses_archives_that_are_cut_off_or_none(archive: Path, tmp_path: Path) -> None:
    whole = archive.read_bytes()
    for content in (whole[: len(whole) // 2], b"\x00\x01\x02 noise", b"", gzip.compress(b"no tar")):
        file = tmp_path / "cut.tar.gz"
        file.write_bytes(content)
        with pytest.raises(BadInput, match=r"cut\.tar\.gz"):
            snapshot.open_snapshot(str(file))


def test_the_demo_is_a_snapshot_and_small() -> None:
    world = snapshot.open_demo()
    assert world.name == "demo"
    assert len(world.objects(kinds.PODS).items) > 3
    root = Path(snapshot.__file__).parent.parent / "demo"
    assert sum(f.stat().st_size for f in root.rglob("*") if f.is_file()) < 1_500_000


LABELS = {"app": "reviews", "version": "v1"}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("app=reviews", True),
        ("app==reviews,version!=v2", True),
        ("app = reviews", True),
        ("version in (v1, v2),app", True),
        ("version notin (v1)", False),
        ("!app", False),
        ("!old", True),
        ("old!=x", True),
        ("old", False),
        ("app=", False),
    ],
)
def test_selectors_select_as_the_api_server_does(selector: str, expected: bool) -> None:
    assert selects(selector, LABELS) is expected


@given(st.text(max_size=30))
def test_any_selector_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(BadInput):
        assert selects(text, LABELS) in (True, False)


def test_what_may_not_be_read_is_said_and_not_taken_for_a_fault_of_meshctl(
    folder: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    world = snapshot.open_snapshot(str(folder))
    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(BadInput, match="pods: cannot be read: Permission denied"):
        world.files.names("pods")
    monkeypatch.setattr(tarfile, "open", refuse)
    with pytest.raises(BadInput, match=r"cannot be read: Permission denied$"):
        snapshot.open_snapshot(str(archive))


@pytest.mark.parametrize("part", ["snapshot.json", "pods", "pods/shop/a", "resources/pods.json"])
def test_a_part_of_a_recording_is_told_with_the_whole(folder: Path, part: str) -> None:
    with pytest.raises(BadInput, match="is a part of a recording") as caught:
        snapshot.open_snapshot(str(folder / part))
    assert caught.value.hint == f"name the whole of it: --snapshot {folder}"


def test_a_recording_may_lie_in_the_folder_of_another(folder: Path, archive: Path) -> None:
    inside = folder / "copy.tar.gz"
    inside.write_bytes(archive.read_bytes())
    assert snapshot.open_snapshot(str(inside)).namespaces() == snapshot.open_snapshot(str(folder)).namespaces()

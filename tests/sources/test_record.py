"""Recordings: whole or absent, resumed, redacted, and written without holding them all in memory."""

import errno
import json
import tarfile
import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from meshctl.errors import BadInput, NotFound, Unavailable
from meshctl.gather import recordings
from meshctl.sources import kinds, recording_files
from meshctl.sources.record import Plan, record
from meshctl.sources.snapshot import open_demo, open_snapshot
from meshctl.sources.world import Kind, Objects, Part

DEMO = Plan("demo", ("classic",))


def test_a_recording_of_a_recording_says_the_same(tmp_path: Path) -> None:
    done = record(open_demo(), DEMO, tmp_path / "copy.tar.gz")
    again = open_snapshot(done.path)
    assert done.pods == 6
    assert again.now() == open_demo().now()
    found = recordings.compare(open_demo(), again)
    assert [change for change in found.changes if change.area in ("rules", "proxy", "mesh")] == []
    assert not list(tmp_path.glob("*.partial"))


def test_a_directory_and_an_archive_hold_the_same_files(tmp_path: Path) -> None:
    record(open_demo(), DEMO, tmp_path / "folder")
    record(open_demo(), DEMO, tmp_path / "packed.tar.gz")
    inside = {str(path.relative_to(tmp_path / "folder")) for path in (tmp_path / "folder").rglob("*") if path.is_file()}
    with tarfile.open(tmp_path / "packed.tar.gz") as tar:
        packed = tar.getnames()
    assert packed[0] == "snapshot.json"
    assert set(packed) == inside


def test_a_target_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "x.tar.gz"
    target.write_text("precious")
    with pytest.raises(BadInput, match="is there already"):
        record(open_demo(), DEMO, target)
    assert target.read_text() == "precious"


def test_two_runs_at_once_do_not_mix(tmp_path: Path) -> None:
    target = tmp_path / "x.tar.gz"
    with (
        recording_files.open_partial(target, {}),
        pytest.raises(BadInput, match="another meshctl is recording"),
        recording_files.open_partial(target, {}),
    ):
        pass


def test_a_pod_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"ghost\.classic"):
        record(open_demo(), Plan("x", ("classic",), (("classic", "ghost"),)), tmp_path / "x.tar.gz")


@dataclass
class Crowd:
    """A world of many pods, each with a large proxy dump; `breaks_after` parts it stops answering."""

    count: int
    size: int = 40_000
    breaks_after: int | None = None
    asked: int = 0
    name: str = "crowd"
    live: bool = True
    fetched: list[str] = field(default_factory=list)

    def now(self) -> datetime:
        return datetime.now(UTC)

    def _pod(self, number: int) -> Mapping[str, Any]:
        env = [{"name": "DB_PASSWORD", "value": "hunter2"}]
        containers = [{"name": "istio-proxy", "image": "proxy", "env": env}]
        metadata = {"name": f"p{number}", "namespace": "crowd", "uid": str(number)}
        return {"metadata": metadata, "spec": {"containers": containers}, "status": {"phase": "Running"}}

    def stream(self, kind: Kind, _namespace: str | None) -> Any:
        if kind == kinds.PODS:
            yield from (self._pod(number) for number in range(self.count))
        if kind == kinds.NAMESPACES:
            yield from ({"metadata": {"name": name}} for name in ("crowd", "empty"))

    def objects(self, kind: Kind, *_: Any) -> Objects:
        return Objects("crowd", ())

    def one(self, *_: Any) -> None:
        return None

    def namespaces(self) -> tuple[str, ...]:
        return ()

    def default_namespace(self) -> str:
        return "crowd"

    def part(self, namespace: str, pod: str, name: str) -> Part:
        return self.parts(namespace, pod, [name])[name]

    def parts(self, namespace: str, pod: str, names: Sequence[str]) -> Mapping[str, Part]:
        self.asked += 1
        if self.breaks_after is not None and self.asked > self.breaks_after:
            raise KeyboardInterrupt
        self.fetched += [f"{pod}/{name}" for name in names]
        dump = json.dumps({"pod": pod, "filler": "x" * self.size}).encode()
        return {
            name: Part(name, dump if name.endswith("config_dump.json") else None, "not to be had here")
            for name in names
        }

    def part_names(self, *_: Any) -> tuple[str, ...]:
        return ()

    def node_part(self, node: str, name: str) -> Part:
        return Part(name, None, "no node")


def test_a_thousand_pods_do_not_fill_the_memory(tmp_path: Path) -> None:
    tracemalloc.start()
    done = record(Crowd(1000), Plan("crowd", None, parallel=4), tmp_path / "crowd.tar.gz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert done.pods == 1000
    assert done.redactions["value of a credential's name"] == 1000
    # 40 MB went through; what is kept of a pod is its name, its containers and its reasons.
    assert peak < 20_000_000
    about = json.loads(_read(tmp_path / "crowd.tar.gz", "snapshot.json"))
    assert {entry["why"]: entry["count"] >= 1000 for entry in about["left_out"]}["not to be had here"]
    assert len(about["left_out"]) < 10
    assert b"hunter2" not in _read(tmp_path / "crowd.tar.gz", "resources/pods.json")


def _read(archive: Path, name: str) -> bytes:
    with tarfile.open(archive) as tar:
        file = tar.extractfile(name)
        assert file is not None
        return file.read()


def test_an_interrupted_recording_goes_on_where_it_stopped(tmp_path: Path) -> None:
    target, plan = tmp_path / "x.tar.gz", Plan("x", None, parallel=1)
    broken = Crowd(5, 10, breaks_after=12)
    with pytest.raises(KeyboardInterrupt):
        record(broken, plan, target)
    assert not target.exists()
    assert (tmp_path / "x.tar.gz.partial").is_dir()
    again = Crowd(5, 10)
    done = record(again, plan, target)
    dumps = [name for name in again.fetched if name.endswith("config_dump.json")]
    had = [name for name in broken.fetched if name.endswith("config_dump.json")]
    assert set(dumps) | set(had) == {f"p{n}/envoy/config_dump.json" for n in range(5)}
    assert not set(dumps) & set(had)
    assert done.resumed > 0
    assert target.exists()
    assert open_snapshot(str(target)).namespaces() == ("crowd", "empty", "istio-system")


@pytest.mark.parametrize("given", [None, ("crowd",)])
def test_of_all_namespaces_those_without_pods_are_recorded_too(tmp_path: Path, given: tuple[str, ...] | None) -> None:
    record(Crowd(1, 10), Plan("x", given, parallel=1), tmp_path / "x")
    empty = ("empty",) if given is None else ()
    assert open_snapshot(str(tmp_path / "x")).namespaces() == ("crowd", *empty, "istio-system")


def test_all_of_a_recording_is_no_more_than_it_has(tmp_path: Path) -> None:
    record(open_demo(), Plan("x", None), tmp_path / "x")
    assert set(open_snapshot(str(tmp_path / "x")).namespaces()) == {*open_demo().namespaces(), "istio-system"}


def test_what_another_plan_left_is_not_gone_on_with(tmp_path: Path) -> None:
    target = tmp_path / "x.tar.gz"
    with pytest.raises(KeyboardInterrupt):
        record(Crowd(5, 10, breaks_after=3), Plan("x", None, parallel=1), target)
    with pytest.raises(BadInput, match="holds another recording"):
        record(Crowd(5, 10), Plan("x", ("elsewhere",), parallel=1), target)


def test_a_full_disk_keeps_what_there_is_and_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Path.replace
    done = 0

    def full(self: Path, target: Any) -> Any:
        nonlocal done
        done += 1
        if done > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(Unavailable, match="the disk is full") as caught:
        record(Crowd(3, 10), Plan("x", None, parallel=1), tmp_path / "x.tar.gz")
    assert "goes on where it stopped" in (caught.value.hint or "")
    monkeypatch.undo()
    assert not (tmp_path / "x.tar.gz").exists()
    assert not list((tmp_path / "x.tar.gz.partial").rglob(".*.??????"))
    assert record(Crowd(3, 10), Plan("x", None, parallel=1), tmp_path / "x.tar.gz").pods == 3


def test_replaced_addresses_are_the_same_in_every_file(tmp_path: Path) -> None:
    record(open_demo(), Plan("x", ("classic",), redact_addresses=True), tmp_path / "x")
    pods = json.loads((tmp_path / "x/resources/pods.json").read_text())["items"]
    slices = (tmp_path / "x/resources/endpointslices.discovery.k8s.io.json").read_text()
    originals = {p["metadata"]["name"]: p["status"]["podIP"] for p in open_demo().objects(kinds.PODS).items}
    for pod in pods:
        if pod["metadata"]["namespace"] == "classic" and pod["metadata"]["labels"].get("app"):
            assert pod["status"]["podIP"] != originals[pod["metadata"]["name"]]
            assert pod["status"]["podIP"] in slices
    listing = "".join(path.read_text(errors="replace") for path in (tmp_path / "x").rglob("*") if path.is_file())
    assert not [address for address in originals.values() if f'"{address}"' in listing]


def test_contents_name_what_is_there_and_what_is_not(tmp_path: Path) -> None:
    record(open_demo(), DEMO, tmp_path / "x.tar.gz")
    found = recordings.contents(open_snapshot(str(tmp_path / "x.tar.gz")))
    assert [pod.namespace for pod in found.pods] == ["classic"] * 6
    assert dict(found.resources)["pods"] == len(open_demo().objects(kinds.PODS, "classic").items) + len(
        open_demo().objects(kinds.PODS, "istio-system").items
    )
    assert found.left_out


def test_differences_are_found_where_they_are(tmp_path: Path) -> None:
    for name in ("before", "after"):
        record(open_demo(), DEMO, tmp_path / name)
    folder = next((tmp_path / "after/pods/classic").iterdir())
    rules = folder / "netns/iptables-save.txt"
    rules.write_text(rules.read_text().replace("15006", "15099", 1))
    services = tmp_path / "after/resources/virtualservices.networking.istio.io.json"
    if services.exists():
        services.write_text(json.dumps({"kind": "List", "items": []}))
    found = recordings.compare(open_snapshot(str(tmp_path / "before")), open_snapshot(str(tmp_path / "after")))
    areas = {change.area for change in found.changes}
    assert areas <= {"rules", "mesh"}
    (change,) = [change for change in found.changes if change.area == "rules"]
    assert folder.name in change.subject
    assert any("15099" in detail for detail in change.details)


def test_paths_compare_named_lists_by_name() -> None:
    old = {"c": [{"name": "a", "v": 1}, {"name": "b", "v": 1}], "n": [1, 2], "resourceVersion": "1"}
    new = {"c": [{"name": "b", "v": 2}, {"name": "a", "v": 1}], "n": [1], "resourceVersion": "2"}
    assert list(recordings.paths(old, new)) == ["c[b].v: 1 -> 2", "n[1]: 2 -> null"]

"""Recordings that may be edited: what no recording holds is made from one that was."""

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshctl.gather import question
from meshctl.gather import trace as gather
from meshctl.gather.scope import Scope
from meshctl.path.model import Trace
from meshctl.path.trace import trace
from meshctl.sources.snapshot import open_snapshot
from tests.path.recordings import FOLDER

PAST, YESTERDAY, SOON, FAR = (
    "2026-01-01T00:00:00Z",
    "2026-11-22T00:00:00Z",
    "2026-12-01T00:00:00Z",
    "2036-01-01T00:00:00Z",
)
Edit = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("recorded")
    with tarfile.open(FOLDER / "policies.tar.gz") as archive:
        archive.extractall(place, filter="data")
    return next(place.rglob("snapshot.json")).parent


def _certificates(account: str, number: int) -> dict[str, Any]:
    """What ``/certs`` says of a workload's certificate and of the mesh's root."""
    valid = {"path": "<inline>", "valid_from": YESTERDAY, "expiration_time": SOON}
    names = [{"uri": f"spiffe://cluster.local/ns/policies/sa/{account}"}]
    return {
        "ca_cert": [{**valid, "serial_number": "7ba4", "subject_alt_names": []}],
        "cert_chain": [{**valid, "serial_number": str(number), "subject_alt_names": names}],
    }


class Mesh:
    """A copy of the recording whose files may be edited."""

    def __init__(self, original: Path, place: Path) -> None:
        self.folder = place / "mesh"
        shutil.copytree(original, self.folder)
        for number, dump in enumerate(sorted(self.folder.glob("pods/policies/*/envoy/config_dump.json"))):
            certs = {"certificates": [_certificates(dump.parent.parent.name.split("-")[0], number)]}
            (dump.parent / "certs.json").write_text(json.dumps(certs))

    def edit(self, pods: str, part: str, change: Edit) -> None:
        """Change a part of all pods whose name starts so."""
        found = list(self.folder.glob(f"pods/policies/{pods}-*/envoy/{part}"))
        assert found
        for path in found:
            document = json.loads(path.read_text())
            change(document)
            path.write_text(json.dumps(document))

    def drop(self, part: str) -> None:
        """Leave out a part of all pods."""
        for path in self.folder.glob(f"pods/*/*/envoy/{part}"):
            path.unlink()

    def resources(self, kind: str, *items: Any) -> None:
        (self.folder / "resources" / f"{kind}.json").write_text(json.dumps({"kind": "List", "items": items}))

    def ask(self, target: str = "http://backend:9080/api/list", **asked: Any) -> Trace:
        world = open_snapshot(str(self.folder))
        scene = gather.scene(world, Scope("policies"))
        sender = next(self.folder.glob("pods/policies/client-*")).name
        words = {"path": None, "method": None, "host": None, **asked}
        told = question.Asked(target=target, sender=sender, **words)
        return trace(scene, question.question(world, scene, told, Scope("policies")))


@pytest.fixture
def mesh(original: Path, tmp_path: Path) -> Mesh:
    return Mesh(original, tmp_path)

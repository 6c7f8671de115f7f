import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import meshctl
from meshctl.cli.app import app


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return Path(shutil.copytree(Path(meshctl.__file__).parent / "demo" / "snapshot", tmp_path / "recording"))


def described(recording: Path, spec: dict[str, Any], *words: str) -> str:
    place = recording / "resources/services.json"
    services = json.loads(place.read_text())
    services["items"].append({"metadata": {"name": "new", "namespace": "classic"}, "spec": spec})
    place.write_text(json.dumps(services))
    done = CliRunner().invoke(
        app, ["--snapshot", str(recording), "describe", "service", "new", "-n", "classic", *words]
    )
    assert done.exit_code == 0
    return done.stdout


ALIAS = {"type": "ExternalName", "externalName": "db.example.com", "ports": [{"port": 80, "name": "http"}]}


def test_an_external_name_is_an_alias_and_nobody_writes_its_endpoints(recording: Path) -> None:
    text = described(recording, ALIAS)
    assert "stands for  db.example.com" in text
    assert "an alias in DNS (ExternalName)" in text
    assert "somebody else" not in text


def test_its_name_is_in_the_document_too(recording: Path) -> None:
    assert json.loads(described(recording, ALIAS, "-o", "json"))["service"]["external_name"] == "db.example.com"


def test_ports_that_istio_knows_are_tcp_unless_they_are_declared(recording: Path) -> None:
    ports = [{"port": 25, "name": "smtp"}, {"port": 3306, "name": "x"}, {"port": 53, "name": "http"}, {"port": 99}]
    found = json.loads(described(recording, {"clusterIP": "10.1.1.1", "ports": ports}, "-o", "json"))["service"]
    assert [port["mesh_protocol"] for port in found["ports"]] == ["tcp", "tcp", "http", "auto"]

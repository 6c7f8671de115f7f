"""Every document of every command fits the schema that it names, and yaml says what json says."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from meshctl.cli.app import app

ROOT = Path(__file__).parents[2] / "meshctl"
DEMO = str(ROOT / "demo" / "snapshot")
SCHEMAS = {file.stem: json.loads(file.read_text()) for file in (ROOT / "schemas").glob("*.json")}
POD = "productpage"
COMMANDS = {
    "describe-pod": ("describe", "pod", POD),
    "describe-pods": ("describe", "pod", "svc/reviews"),
    "describe-service": ("describe", "service", "reviews"),
    "describe-namespace": ("describe", "namespace", "classic"),
    "ruleset": ("iptables", "dump", POD),
    "drift": ("iptables", "diff", POD),
    "drifts": ("iptables", "diff", "--all"),
    "walk": ("iptables", "walk", POD, "--out", "10.0.0.1:80"),
    "trace": ("trace", "reviews:9080"),
    "trace-matrix": ("trace", "--all", "classic"),
    "proxy-listeners": ("proxy", "listeners", POD),
    "proxy-routes": ("proxy", "routes", POD),
    "proxy-clusters": ("proxy", "clusters", POD),
    "proxy-endpoints": ("proxy", "endpoints", POD),
    "proxy-secrets": ("proxy", "secrets", POD),
    "proxy-bootstrap": ("proxy", "bootstrap", POD),
    "proxy-match": ("proxy", "match", POD, "--address", "10.96.1.1", "--port", "9080", "--host", "reviews:9080"),
    "findings": ("check",),
    "snapshot-contents": ("snapshot", "show"),
    "snapshot-diff": ("snapshot", "diff", DEMO, DEMO),
    "why": ("why", "503", "UF,URX"),
    "finding": ("why", "MC101", "mt199"),
}
ELSEWHERE = {
    "doctor": "tests/cli/test_recordings.py",
    "pids": "tests/cli/test_recordings.py",
    "watch": "tests/cli/test_iptables_walk.py",
}
"""Documents about a machine as it is right now: no command gives the same twice."""


def test_no_schema_is_without_a_test() -> None:
    assert set(SCHEMAS) == {*COMMANDS, *ELSEWHERE}


@pytest.mark.parametrize("kind", COMMANDS)
def test_the_document_fits_its_schema_in_both_spellings(kind: str) -> None:
    words = COMMANDS[kind]
    world = () if words[:2] == ("snapshot", "diff") else ("--demo",)
    done = [CliRunner().invoke(app, [*world, *words, "-o", spelling]) for spelling in ("json", "yaml")]
    assert {result.exit_code for result in done} <= {0, 10}, done[0].output
    document = json.loads(done[0].stdout)
    assert document["schema"] == f"meshctl.{kind}/v1"
    jsonschema.Draft202012Validator(SCHEMAS[kind]).validate(document)
    assert yaml.safe_load(done[1].stdout) == document

"""`iptables dump` of a cluster that forbids to look."""

import os
from typing import Any

import pytest
from typer.testing import CliRunner

from meshctl.cli.app import app
from meshctl.errors import NoAccess, Unavailable
from meshctl.sources import kube_client
from meshctl.sources.serve import SnapshotServer
from tests.sources.conftest import served, served_config  # noqa: F401

POD = ("productpage-v1-65b96ccf8f-8mxlc", "-n", "classic")


@pytest.fixture
def laptop(served_config: str, served: SnapshotServer, monkeypatch: pytest.MonkeyPatch) -> str:  # noqa: F811
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return served_config


def dump(config: str, *words: str) -> Any:
    return CliRunner().invoke(app, ["iptables", "dump", *POD, "--kubeconfig", config, *words])


def test_forbidden_exec_names_the_permission(laptop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> Any:
        raise NoAccess('not allowed to run commands in the pod: User "dev" cannot create resource "pods/exec"')

    monkeypatch.setattr(kube_client.Api, "run", refused)
    for words in ((), ("--raw",), ("-o", "json")):
        done = dump(laptop, *words)
        assert done.exit_code == 4
        assert 'cannot create resource "pods/exec"' in done.stderr
        assert "kubectl auth can-i create pods/exec -n classic" in done.stderr
        assert "iptables expect" in done.stderr
        assert done.stdout == ""


def test_what_is_only_out_of_reach_is_said_and_no_error(laptop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: Any) -> Any:
        raise Unavailable("no answer")

    monkeypatch.setattr(kube_client.Api, "run", silent)
    done = dump(laptop)
    assert done.exit_code == 0
    assert "--via ephemeral" in done.stdout


def test_rules_that_may_be_read_are_shown(laptop: str) -> None:
    done = dump(laptop, "--raw")
    assert done.exit_code == 0
    assert "ISTIO_OUTPUT" in done.stdout

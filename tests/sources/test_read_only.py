"""The promise of docs/security.md: nothing is changed without a flag, and no Secret is ever read."""

import ast
import os
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from meshctl.cli.app import app
from meshctl.sources import kinds
from meshctl.sources.serve import SnapshotServer

SOURCES = Path(__file__).parents[2] / "meshctl"
POD = "productpage-v1-65b96ccf8f-8mxlc"
EXEC = {"iptables-nft-save", "iptables-save", "nft", "ss", "ip", "conntrack", "cat", "pilot-agent"}

# Requests of one command to the API server: for objects and logs, and streams (exec, port-forward) for each pod that
# it looks into. By exec each part of the namespace is a stream of its own; on the node itself there are none.
COMMANDS: dict[str, tuple[list[str], int, int]] = {
    "describe a pod": (["describe", "pod", POD], 22, 15),
    "dump its rules": (["iptables", "dump", POD], 1, 11),
    "compare its rules": (["iptables", "diff", POD], 1, 11),
    "its listeners": (["proxy", "listeners", POD], 1, 5),
    "judge a namespace, its requests too": (["check", "-n", "classic"], 36, 16),
    "trace": (["trace", "reviews:9080", "--from", POD], 21, 15),
}


@pytest.fixture
def laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


@pytest.mark.usefixtures("laptop")
@pytest.mark.parametrize(("words", "objects", "streams"), COMMANDS.values(), ids=COMMANDS.keys())
def test_a_command_only_reads_and_asks_no_more_than_it_needs(
    words: list[str], objects: int, streams: int, served: SnapshotServer, served_config: str
) -> None:
    done = CliRunner().invoke(app, ["--kubeconfig", served_config, *words])
    assert done.exit_code in (0, 10), done.output
    assert all(asked.startswith("GET ") for asked in served.asked), served.asked
    assert not [asked for asked in served.asked if "secrets" in asked]
    opened = Counter(
        asked.partition("?")[0].split("/")[-2] for asked in served.asked if "command=" in asked or "ports=" in asked
    )
    plain = [asked for asked in served.asked if "command=" not in asked and "ports=" not in asked]
    assert 0 < len(plain) <= objects, "\n".join(plain)
    assert max(opened.values()) <= streams, opened
    assert len(set(plain)) == len(plain), "an object is fetched twice"


@pytest.mark.usefixtures("laptop")
def test_a_pod_by_its_full_name_is_one_request(served: SnapshotServer, served_config: str) -> None:
    CliRunner().invoke(app, ["--kubeconfig", served_config, "iptables", "dump", POD])
    assert served.asked[0] == f"GET /api/v1/namespaces/classic/pods/{POD}"


@pytest.mark.usefixtures("laptop")
def test_recording_only_reads(served: SnapshotServer, served_config: str, tmp_path: Path) -> None:
    words = ["--kubeconfig", served_config, "snapshot", "record", "-n", "classic", "-o", str(tmp_path / "x.tar.gz")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert all(asked.startswith("GET ") for asked in served.asked)
    assert not [asked for asked in served.asked if "secrets" in asked]


@pytest.mark.usefixtures("laptop")
def test_the_doctor_only_asks_what_is_allowed(served: SnapshotServer, served_config: str) -> None:
    done = CliRunner().invoke(app, ["--kubeconfig", served_config, "doctor"])
    assert done.exit_code == 0, done.output
    writes = [asked for asked in served.asked if not asked.startswith("GET ")]
    assert set(writes) == {"POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews"}


def test_secrets_are_no_kind_that_is_read() -> None:
    assert not [kind for kind in kinds.KUBERNETES + kinds.MESH if "secret" in kind.plural]


def test_mutating_verbs_are_only_spoken_where_a_flag_was_asked_for() -> None:
    """`create`, `patch` and `delete` of an API session: by module, so that a new use has to be looked at here."""
    found: dict[str, set[str]] = {}
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="api"), attr="create" | "patch" | "delete" as verb)):
                    found.setdefault(path.name, set()).add(verb)
                case _:
                    pass
    assert found == {
        "access.py": {"create"},  # SelfSubjectAccessReview: asks, changes nothing
        "debug_pod.py": {"create"},  # --via debug-pod
        "ephemeral.py": {"patch"},  # --via ephemeral
        "made.py": {"delete"},  # takes away what was made, and debug-pods clean
    }


def test_no_module_sends_other_methods_than_the_session() -> None:
    """The words POST, PUT, PATCH and DELETE stand in the session and in the server that refuses them."""
    holders = {
        path.name
        for path in (SOURCES / "sources").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in ("POST", "PUT", "PATCH", "DELETE")
    }
    assert holders == {"kube_client.py"}

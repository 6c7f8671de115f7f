import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import meshctl
from meshctl.cli import complete
from meshctl.cli.app import app
from meshctl.gather import on_node
from meshctl.reports import NodePod, NodePods


def line(root: dict[str, Any] | None = None, **params: Any) -> Any:
    """A half-written command line, as Typer gives it to a completer."""
    above = SimpleNamespace(params=root or {})
    return SimpleNamespace(params=params, find_root=lambda: above)


def test_completes_pods_of_the_named_world() -> None:
    found = complete.pods(line({"demo": True}), "product")
    assert len(found) == 1
    assert found[0].startswith("productpage-v1-")
    assert complete.pods(line(demo=True), "deploy/prod") == ["deploy/productpage-v1"]


@pytest.mark.parametrize(
    ("kind", "word", "expected"),
    [
        ("pods", "cla", {"classic/"}),
        ("pods", "classic/prod", {"classic/productpage-v1-"}),
        ("pods", "nowhere/", set()),
        ("pods", "deploy/productpage-v1.cl", {"deploy/productpage-v1.classic"}),
        ("pods", "svc/reviews.cl", {"svc/reviews.classic"}),
        ("callers", "classic/prod", {"classic/productpage-v1-"}),
        ("service_names", "classic/rev", {"classic/reviews"}),
        ("service_names", "reviews.", {"reviews.classic"}),
        ("services", "reviews.cl", {"reviews.classic:9080"}),
        ("services", "rev", {"reviews:9080"}),
    ],
)
def test_completes_the_forms_with_a_namespace_that_the_commands_take(kind: str, word: str, expected: set[str]) -> None:
    found = getattr(complete, kind)(line(demo=True), word)
    assert all(any(name.startswith(start) for start in expected) for name in found)
    assert bool(found) is bool(expected)
    for name in found[:1] if kind == "pods" else ():
        assert CliRunner().invoke(app, ["--demo", "proxy", "bootstrap", name]).exit_code == 0


def test_a_pods_name_with_its_namespace_is_completed_and_taken() -> None:
    (full,) = complete.pods(line(demo=True), "prod")
    assert complete.pods(line(demo=True), f"{full}.") == [f"{full}.classic"]
    assert complete.pods(line(demo=True), f"{full}.classic.") == []


def test_no_candidate_ends_in_a_slash_behind_which_a_shell_would_put_a_space() -> None:
    assert set(complete.pods(line(demo=True), "dep")) >= {"deploy/productpage-v1", "deploy/reviews-v1"}
    assert all(name.startswith("svc/") and name != "svc/" for name in complete.pods(line(demo=True), "s"))
    assert "classic/reviews" in complete.service_names(line(demo=True), "cla")


def test_pods_of_a_node_are_completed_with_their_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    def pods(text: None, namespace: str | None, runtime: str) -> NodePods:
        found = (NodePod(name, space, "", "cri", False, ()) for name, space in (("web-1", "shop"), ("db-0", "data")))
        return NodePods("node", runtime, tuple(p for p in found if namespace in (None, p.namespace)), ())

    monkeypatch.setattr(on_node, "pods", pods)
    assert complete.node_pods(line(namespace="shop"), "") == ["web-1"]
    assert complete.node_pods(line(namespace="shop"), "data/") == ["data/db-0"]
    assert complete.node_pods(line(), "web-1.") == ["web-1.shop"]


def test_completes_services_with_ports_and_namespaces() -> None:
    assert complete.services(line(demo=True), "reviews:") == ["reviews:9080"]
    assert "classic" in complete.namespaces(line(demo=True), "")


def test_says_nothing_where_the_world_cannot_be_reached() -> None:
    assert complete.pods(line(snapshot="/nowhere/at/all"), "") == ["deploy/", "svc/"]


def completed(*words: str, env: dict[str, str] | None = None) -> tuple[list[str], str]:
    """What bash is told for the last word, and what lands on the terminal beside it."""
    done = subprocess.run(
        [sys.executable, "-c", "from meshctl.cli.app import app; app(prog_name='meshctl')"],
        env={
            **os.environ,
            **(env or {}),
            "_MESHCTL_COMPLETE": "complete_bash",
            "COMP_WORDS": " ".join(["meshctl", *words]),
            "COMP_CWORD": str(len(words)),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.split(), done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("describe", "pod", "prod"), "productpage-v1-"),
        (("describe", "pod", "deploy/prod"), "deploy/productpage-v1"),
        (("describe", "service", "rev"), "reviews"),
        (("describe", "namespace", "cla"), "classic"),
        (("check", "reviews-v1"), "reviews-v1-"),
        (("check", "-n", "cla"), "classic"),
        (("trace", "rev"), "reviews:9080"),
        (("trace", "reviews:9080", "--from", "ingr"), "ingress"),
        (("trace", "reviews:9080", "--from", "deploy/prod"), "deploy/productpage-v1"),
        (("trace", "--all", "cla"), "classic"),
        (("why", "503", "--pod", "prod"), "productpage-v1-"),
        (("proxy", "listeners", "prod"), "productpage-v1-"),
        (("iptables", "dump", "prod"), "productpage-v1-"),
        (("iptables", "diff", "prod"), "productpage-v1-"),
        (("iptables", "expect", "prod"), "productpage-v1-"),
        (("iptables", "walk", "prod"), "productpage-v1-"),
        (("iptables", "watch", "prod"), "productpage-v1-"),
        (("snapshot", "record", "prod"), "productpage-v1-"),
        (("snapshot", "record", "--also", "cla"), "classic"),
    ],
    ids=" ".join,
)
def test_every_name_of_a_pod_service_or_namespace_is_completed(words: tuple[str, ...], expected: str) -> None:
    found, said = completed("--demo", *words)
    assert (len(found), said) == (1, "")
    assert found[0].startswith(expected)


def test_a_snapshot_before_or_after_the_command_is_the_world_and_one_that_is_broken_is_silent(tmp_path: Path) -> None:
    demo = str(Path(meshctl.__file__).parent / "demo" / "snapshot")
    for words in (("--snapshot", demo, "check", "prod"), ("check", "--snapshot", demo, "prod")):
        assert len(completed(*words)[0]) == 1
    (tmp_path / "resources").mkdir()
    (tmp_path / "snapshot.json").write_text('{"schema": "meshctl.snapshot/v1"}')
    (tmp_path / "resources/services.json").write_text("noise")
    for words in (("trace", "rev"), ("describe", "service", "rev"), ("describe", "pod", "prod")):
        assert completed("--snapshot", str(tmp_path), *words) == ([], "")


NAMED = re.compile(r"\b(?:POD|SERVICE|NS|NAMESPACE)\b")


def test_no_argument_that_names_a_pod_service_or_namespace_is_without_completion() -> None:
    def every(command: Any, path: str) -> Iterator[tuple[str, Any]]:
        below = command.list_commands(None) if hasattr(command, "list_commands") else ()
        for name in below:
            yield from every(command.get_command(None, name), f"{path} {name}".strip())
        yield from ((path, param) for param in command.params)

    lacking = [
        f"{path} {param.name}"
        for path, param in every(typer.main.get_command(app), "")
        if NAMED.search(str(param.metavar)) and param._custom_shell_complete is None
    ]
    assert lacking == []

"""`meshctl snapshot`, `doctor`, `pod pids` and `debug-pods` as a user calls them."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner, Result

from meshctl.cli.app import app
from meshctl.reports import NodeContainer, NodePod, NodePods, RunningProcess
from meshctl.sources import local_pods, node
from meshctl.sources.local_pods import LocalContainer, LocalPod
from meshctl.views import pids as pids_view

SCHEMAS = Path(__file__).parents[2] / "meshctl" / "schemas"


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def valid(text: str, schema: str) -> Any:
    document = json.loads(text)
    jsonschema.validate(document, json.loads((SCHEMAS / f"{schema}.json").read_text()))
    return document


def test_record_show_and_diff(tmp_path: Path) -> None:
    target = tmp_path / "a.tar.gz"
    done = run("--demo", "snapshot", "record", "-n", "classic", "-o", str(target))
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{target}\n"
    assert "6 pods" in done.stderr
    shown = valid(run("snapshot", "show", str(target), "-o", "json").stdout, "snapshot-contents")
    assert shown["namespaces"] == ["classic", "istio-system"]
    assert "Pods with parts" in run("snapshot", "show", str(target)).stdout
    same = run("snapshot", "diff", str(target), str(target), "-o", "json", "--exit-code")
    assert same.exit_code == 0
    assert valid(same.stdout, "snapshot-diff")["same"] is True


def test_a_difference_is_10_where_the_user_asks_for_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert run("--demo", "snapshot", "record", "-n", "classic", "-o", str(tmp_path / name)).exit_code == 0
    services = tmp_path / "b" / "resources" / "services.json"
    services.write_text(json.dumps({"kind": "List", "items": []}))
    words = ("snapshot", "diff", str(tmp_path / "a"), str(tmp_path / "b"))
    assert run(*words).exit_code == 0
    done = run(*words, "--exit-code", "-o", "json")
    assert done.exit_code == 10
    changes = valid(done.stdout, "snapshot-diff")["changes"]
    assert {change["kind"] for change in changes} == {"removed"}
    assert "removed services/classic/reviews" in run(*words).stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--demo", "snapshot", "record"), 2, "no file is named"),
        (("--demo", "snapshot", "record", "ghost", "-o", "x.tar.gz"), 3, "there is no pod 'ghost'"),
        (("snapshot", "show", "nothing-here"), 3, "there is no snapshot"),
        (("snapshot", "diff", "nothing-here", "x"), 3, "there is no snapshot"),
        (("--demo", "snapshot", "record", "--redact", "names", "-o", "x"), 2, "names"),
        (("pod", "pids", "--runtime", "magic"), 2, "no runtime 'magic'"),
        (("--kubeconfig", "/no/such/file", "debug-pods", "clean"), 2, "no kubeconfig at"),
    ],
)
def test_what_cannot_be_done_says_why(words: tuple[str, ...], code: int, said: str) -> None:
    done = run(*words)
    assert (done.exit_code, said in done.stderr) == (code, True), done.output


def test_the_doctor_is_of_use_without_any_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/no/such/file")
    done = run("doctor", "-o", "json", "--runtime", "proc")
    document = valid(done.stdout, "doctor")
    assert {"area": "cluster", "what": "kubeconfig", "grade": "bad"}.items() <= document["probes"][0].items()
    assert document["ways"][-1] == {"what": "recordings: everything", "works": True, "by": "--snapshot PATH, --demo"}
    assert "What is reachable from here" in run("doctor", "--runtime", "proc").stdout


def _pod(name: str, host: bool = False) -> LocalPod:
    containers = (
        LocalContainer("(sandbox)", "s" * 64, 0, "exited", True),
        LocalContainer("app", "a" * 64, 0, "exited", started_at="2026-01-01T00:00:00Z", found_by="CRI"),
    )
    return LocalPod("shop", name, "uid", "CRI /x", host, containers=containers)


def test_pids_of_a_pod_that_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    way = node.Way("CRI /x", lambda wanted: [p for p in (_pod("a-1"), _pod("b")) if wanted.fits("shop", p.name, "uid")])
    monkeypatch.setattr(node, "ways", lambda *_: (way,))
    document = valid(run("pod", "pids", "a-1", "-o", "json").stdout, "pids")
    assert "no container of a-1.shop runs here" in document["pods"][0]["not_entered_because"]
    assert len(valid(run("pod", "pids", "-o", "json").stdout, "pids")["pods"]) == 2
    missing = run("pod", "pids", "c")
    assert missing.exit_code == 3
    assert run("pod", "pids", "a-1.shop").exit_code == 0
    assert run("pod", "pids", "a-1", "-n", "elsewhere").exit_code == 3


def test_the_page_of_a_pod_names_every_process() -> None:
    from meshctl.render import terminal

    container = NodeContainer(
        "istio-proxy", "c" * 64, 41, "running", 1, "proxy", "2026-01-01T00:00:00.1Z", "CRI", "net:[7]"
    )
    process = RunningProcess(41, "envoy -c x", 1337, "envoy", "2026-01-01T00:00:00+00:00", "istio-proxy")
    pod = NodePod("web", "shop", "u", "CRI", False, (container,), (process,), "net:[7]", "istio-proxy (PID 41)")
    text = terminal.draw(
        pids_view.page(NodePods("n", "CRI", (pod,), ("docker: not there",)), True), width=120, color=False
    )
    for word in ("running, restart 1", "envoy -c x", "1337", "net:[7]", "iptables dump --pid 41", "docker: not there"):
        assert word in text


@pytest.mark.parametrize(
    ("names", "wanted", "chosen"),
    [
        (["web-1"], "web", "web-1"),
        (["web", "web-1"], "web", "web"),
    ],
)
def test_a_name_or_its_beginning_chooses(names: list[str], wanted: str, chosen: str) -> None:
    found = [_pod(name) for name in names]
    assert local_pods.choose(found, local_pods.Wanted("", wanted), "x").name == chosen


def test_a_beginning_of_several_is_ambiguous() -> None:
    from meshctl.errors import BadInput

    with pytest.raises(BadInput, match="may mean 2 pods"):
        local_pods.choose([_pod("web-1"), _pod("web-2")], local_pods.Wanted("", "web"), "x")


@pytest.mark.skipif(os.geteuid() != 0, reason="as root no permission is missing, as a user the message differs")
def test_pids_without_any_pod_here() -> None:
    done = run("pod", "pids", "--runtime", "/no/such.sock")
    assert done.exit_code == 5
    assert "there is no container runtime at /no/such.sock" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("-n", "nope", "-o", "r.tar.gz"), 3, "there is no namespace 'nope' here"),
        (("-n", "classic", "--also", "nope", "-o", "r.tar.gz"), 3, "there is no namespace 'nope' here"),
        (("-n", "classic", "-o", "x.zip"), 2, "a recording is a .tar.gz, a .tgz or a directory"),
        (("-n", "classic", "-o", "nosuch/x.tar.gz"), 3, "there is no folder nosuch"),
    ],
)
def test_what_would_be_no_recording_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("--demo", "snapshot", "record", *words)
    assert (done.exit_code, list(tmp_path.iterdir())) == (code, [])
    assert said in done.stderr


def test_after_recording_it_says_what_was_taken_out_and_that_one_should_look(tmp_path: Path) -> None:
    world = tmp_path / "world"
    shutil.copytree(SCHEMAS.parent / "demo" / "snapshot", world)
    pods = json.loads((world / "resources/pods.json").read_text())
    for pod in pods["items"]:
        pod["metadata"].setdefault("annotations", {})["vault.token"] = "hunter2"
    (world / "resources/pods.json").write_text(json.dumps(pods))
    done = run("--snapshot", str(world), "snapshot", "record", "-n", "classic", "-o", str(tmp_path / "out"))
    assert done.exit_code == 0
    assert f"taken out: annotation: {len(pods['items'])}" in done.stderr
    assert "look through it before you share it" in done.stderr
    assert "hunter2" not in (tmp_path / "out/resources/pods.json").read_text()


def test_without_any_world_the_hint_names_them_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setattr(node, "is_node", lambda: True)
    monkeypatch.setattr(node, "look", lambda *_: node.Answer(pods=(), way="CRI", problems=()))
    done = run("check")
    assert done.exit_code == 3
    assert "no cluster is named" in done.stderr
    for way in ("KUBECONFIG", "--snapshot PATH", "--demo", "--runtime containerd"):
        assert way in done.stderr


def test_the_doctors_ways_have_columns() -> None:
    shown = run("doctor").stdout.partition("So from here you can look at")[2]
    assert [word in shown for word in ("what", "now", "by way of")] == [True] * 3


def test_a_recording_is_counted_in_words(tmp_path: Path) -> None:
    assert run("--demo", "snapshot", "record", "productpage", "-o", str(tmp_path / "x")).stderr.startswith("1 pod, ")
    assert "nodes: 1" in run("--demo", "snapshot", "show").stdout

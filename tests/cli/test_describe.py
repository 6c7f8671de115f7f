import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from meshctl.cli.app import app
from tests import recording
from tests.injection import build


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    pod = build.recorded("classic-sidecar")
    owners = build.recorded("classic-sidecar.owners")
    service = {
        "metadata": {"name": "reviews", "namespace": "classic"},
        "spec": {"selector": {"app": "reviews"}, "ports": [{"port": 9080, "name": "http"}], "clusterIP": "10.0.0.1"},
    }
    runtime = build.FIXTURES / "classic-sidecar.runtime"
    place = f"pods/classic/{pod['metadata']['name']}"
    files = {f"{place}/runtime/{f.name}": f.read_bytes() for f in runtime.glob("*.json") if f.name != "processes.json"}
    files[f"{place}/logs/istio-proxy.txt"] = (runtime / "istio-proxy.txt").read_bytes()
    files[f"{place}/netns/processes.json"] = (runtime / "processes.json").read_bytes()
    files[f"{place}/netns/sockets.txt"] = (runtime / "sockets.txt").read_bytes()
    files["resources/configmap.istio-system.istio.json"] = json.dumps(build.recorded("mesh")).encode()
    files["resources/configmap.istio-system.istio-sidecar-injector.json"] = json.dumps(
        build.recorded("injector")
    ).encode()
    return recording.write(
        tmp_path / "shot",
        namespaces=["istio-system", "classic"],
        resources={
            "pods": [pod],
            "services": [service],
            "namespaces": [{"metadata": {"name": "classic", "labels": {"istio-injection": "enabled"}}}],
            "replicasets.apps": owners[:1],
            "deployments.apps": owners[1:],
            "mutatingwebhookconfigurations.admissionregistration.k8s.io": build.recorded("webhooks")["items"],
        },
        files=files,
    )


def run(*args: str, stdin: str | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(args), input=stdin)
    return result.exit_code, result.stdout, result.stderr


def test_describe_pod_from_a_snapshot(snapshot: Path) -> None:
    code, out, _ = run("--snapshot", str(snapshot), "describe", "pod", "deploy/reviews-v1", "-o", "json")
    found = json.loads(out)
    assert code == 0
    assert found["injection"]["reasons"][0]["rule"] == "policy"
    assert found["services"] == ["reviews"]
    assert [c for c in found["changes"] if c["by"] == "others"] == []
    assert found["answers"][1]["verdict"] is True
    assert "MC201" in {f["id"] for f in found["findings"]}


def test_describe_takes_workloads_and_services_without_the_word(snapshot: Path) -> None:
    assert run("--snapshot", str(snapshot), "describe", "deploy/reviews-v1")[0] == 0
    code, out, _ = run("--snapshot", str(snapshot), "describe", "svc/reviews", "-o", "json")
    assert code == 0
    assert json.loads(out)["schema"] == "meshctl.describe-service/v1"
    code, out, _ = run("--snapshot", str(snapshot), "describe", "namespace", "classic", "-o", "json")
    assert code == 0
    assert json.loads(out)["decision"]["outcome"] == "injected"


def test_the_article_is_one_html_page(snapshot: Path) -> None:
    code, out, _ = run("--snapshot", str(snapshot), "describe", "pod", "deploy/reviews-v1", "-o", "html")
    assert code == 0
    assert out.startswith("<!doctype html>")
    assert "172.17.0.138" in out


def test_what_is_not_there_is_exit_3_with_suggestions(snapshot: Path) -> None:
    code, _, err = run("--snapshot", str(snapshot), "describe", "service", "review", "-n", "classic")
    assert (code, "reviews" in err) == (3, True)
    code, _, err = run("--snapshot", str(snapshot), "describe", "namespace", "clasic")
    assert (code, "classic" in err) == (3, True)


MANIFEST = """
kind: Deployment
metadata: {name: web, namespace: classic}
spec:
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: app, image: app}]}
"""


def test_a_manifest_that_does_not_exist_yet(snapshot: Path, tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    file.write_text(MANIFEST)
    found = json.loads(run("describe", "pod", "-f", str(file), "-o", "json")[1])
    assert found["injection"]["decision"]["outcome"] == "undecided"
    found = json.loads(run("--snapshot", str(snapshot), "describe", "pod", "-f", str(file), "-o", "json")[1])
    assert found["injection"]["decision"]["outcome"] == "injected"
    two = json.loads(run("describe", "pod", "-f", "-", "-o", "json", stdin=f"{MANIFEST}---{MANIFEST}")[1])
    assert (two["schema"], len(two["items"])) == ("meshctl.describe-pods/v1", 2)


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("kind: Service\nmetadata: {name: x}\n", 3, "it holds Service"),
        ("", 3, "no Kubernetes object"),
        ("a: [b", 2, "not valid YAML"),
        ("kind: Pod\nspec: {containers: 7}\n", 0, ""),
    ],
)
def test_manifests_that_hold_no_pod_or_cannot_be_read(text: str, code: int, words: str) -> None:
    found, _, err = run("describe", "pod", "-f", "-", stdin=text)
    assert (found, words in err) == (code, True)


def test_binary_noise_and_a_missing_file(tmp_path: Path) -> None:
    noise = tmp_path / "noise"
    noise.write_bytes(b"\xff\xfe\x00\x81")
    code, _, err = run("describe", "pod", "-f", str(noise))
    assert (code, "not a text file" in err) == (2, True)
    assert run("describe", "pod", "-f", str(tmp_path / "nowhere"))[0] == 3


def test_check_lists_findings_and_its_exit_code(snapshot: Path) -> None:
    code, out, _ = run("--snapshot", str(snapshot), "check", "-o", "json")
    found = json.loads(out)
    assert found["schema"] == "meshctl.findings/v1"
    assert code == (10 if found["counts"]["error"] else 0)
    assert "MC201" in {f["id"] for f in found["findings"]}
    code, out, _ = run("--snapshot", str(snapshot), "check", "--ignore", "MC201", "-o", "json")
    assert "MC201" not in {f["id"] for f in json.loads(out)["findings"]}
    code, out, _ = run("--snapshot", str(snapshot), "check", "-o", "sarif")
    assert json.loads(out)["version"] == "2.1.0"
    assert run("--snapshot", str(snapshot), "check", "-n", "nowhere")[0] == 3


@pytest.mark.parametrize(
    "written", [["-f", "-"], ["-f-"], ["--filename", "-"], ["--filename=-", "-n", "shop"], ["pod", "-f", "-"]]
)
def test_a_manifest_needs_no_further_word(written: list[str]) -> None:
    code, out, _ = run("describe", *written, "-o", "json", stdin=json.dumps(build.plain()))
    assert code == 0
    assert json.loads(out)["pod"]["name"] == "web"


def test_a_service_may_be_named_as_pods_are(snapshot: Path) -> None:
    def shown(name: str) -> str:
        done = CliRunner().invoke(app, ["describe", "service", name, "--snapshot", str(snapshot), "-o", "json"])
        assert done.exit_code == 0, done.stderr
        return done.stdout

    assert shown("classic/reviews") == shown("reviews.classic") == shown("reviews")
    wrong = CliRunner().invoke(app, ["describe", "service", "classic/review", "--snapshot", str(snapshot)])
    assert (wrong.exit_code, "did you mean reviews?" in wrong.stderr) == (3, True)


def test_a_manifest_that_the_api_server_refuses_is_not_said_to_be_injected(snapshot: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "pod.json"
    raw = build.plain({"traffic.sidecar.istio.io/includeInboundPorts": 8080})
    raw["metadata"]["namespace"] = "classic"
    manifest.write_text(json.dumps(raw))
    shown = CliRunner().invoke(app, ["describe", "-f", str(manifest), "--snapshot", str(snapshot)]).stdout
    assert "a pod made from this would be rejected" in shown
    assert "would be injected" not in shown
    assert "MC121" in shown

"""``meshctl proxy``: the documents fit their schemas, filters narrow, mistakes get a line and a hint."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from meshctl.cli.app import app
from tests.envoy import dumps

SNAPSHOT = str(dumps.RECORDED / "policies.tar.gz")
SCHEMAS = Path(__file__).parents[2] / "meshctl" / "schemas"


def run(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, [*words])
    assert result.exit_code == code, result.output
    return result.output if code else result.stdout


def document(*words: str) -> Any:
    found = json.loads(run("proxy", *words, "-o", "json"))
    kind = found["schema"].removeprefix("meshctl.").removesuffix("/v1")
    jsonschema.validate(found, json.loads((SCHEMAS / f"{kind}.json").read_text()))
    return found


@pytest.fixture
def dump_file(tmp_path: Path) -> str:
    file = tmp_path / "config_dump.json"
    file.write_bytes(dumps.part("policies", "policies", "client", "envoy/config_dump.json")[0])
    return str(file)


@pytest.mark.parametrize("topic", ["listeners", "routes", "clusters", "endpoints", "secrets", "bootstrap"])
def test_every_table_has_a_document_and_a_page(topic: str, dump_file: str) -> None:
    assert document(topic, "client", "--snapshot", SNAPSHOT)["proxy"].startswith("policies/client")
    assert document(topic, "-f", dump_file)["proxy"] == dump_file
    assert len(run("proxy", topic, "-f", dump_file).splitlines()) > 3


def test_the_chain_behind_15006_is_found_by_its_own_port() -> None:
    found = document("listeners", "backend-v3", "--snapshot", SNAPSHOT, "--port", "9080")["items"]
    inbound = [row for row in found if row["listener"] == "virtualInbound"]
    assert [row["destination"] for row in inbound] == ["inline routes inbound|9080|| -> inbound|9080||"]
    assert inbound[0]["tls"] == "mutual TLS (default)"


def test_a_route_shows_its_clusters_with_their_weights_and_its_virtual_service() -> None:
    found = document("routes", "client", "--snapshot", SNAPSHOT, "--name", "9080", "--fqdn", "backend")["items"]
    split = next(row for row in found if row["route"] == "split")
    assert [c["weight"] for c in split["clusters"]] == [80, 20]
    assert split["object"] == {"kind": "VirtualService", "namespace": "policies", "name": "backend"}


def test_filters_of_clusters_and_endpoints() -> None:
    words = ("--snapshot", SNAPSHOT, "--fqdn", "backend", "--port", "9080")
    assert [c["subset"] for c in document("clusters", "client", *words, "--subset", "v2")["items"]] == ["v2"]
    v1 = "outbound|9080|v1|backend"
    rows = document("endpoints", "client", "--snapshot", SNAPSHOT, "--cluster", v1, "--status", "healthy")["items"]
    assert [row["tls"] for row in rows] == ["Istio mutual TLS", "Istio mutual TLS"]


def test_match_from_a_file(dump_file: str) -> None:
    words = ("--address", "10.106.33.104", "--port", "9080", "--host", "backend:9080", "--header", "end-user=jason")
    found = document("match", "-f", dump_file, "--direction", "outbound", "--path", "/api/list", *words)
    assert (found["listener"], found["filter_chain"], found["route_config"]) == ("0.0.0.0_9080", None, "9080")
    assert (found["route"], found["cluster"]) == ("beta-users", "outbound|9080|v2|backend.policies.svc.cluster.local")
    assert (found["error"], found["undecided_because"]) == (None, [])
    assert all(step["path"] for step in found["steps"])


def test_a_server_name_makes_it_tls(dump_file: str) -> None:
    words = ("--address", "10.9.9.9", "--port", "443", "--protocol", "tcp", "--sni", "a.com")
    query = document("match", "-f", dump_file, *words)["query"]
    assert (query["tls"], query["sni"]) == ("tls", "a.com")


def test_match_in_words(dump_file: str) -> None:
    page = run("proxy", "match", "-f", dump_file, "--address", "10.9.9.9", "--port", "4444", "--protocol", "tcp")
    assert "virtualOutbound" in page
    assert "10.9.9.9:4444" in page


def test_match_of_yaml_is_the_same_document(dump_file: str) -> None:
    import yaml

    words = ("proxy", "match", "-f", dump_file, "--address", "10.9.9.9", "--port", "80", "--host", "x")
    assert yaml.safe_load(run(*words, "-o", "yaml")) == json.loads(run(*words, "-o", "json"))


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (("match", "-f", "/no/such/file", "--port", "1"), 3, "no such file"),
        (("match", "--port", "1"), 2, "name a POD"),
        (("match", "-f", "{dump}", "--address", "1.1.1.1"), 2, "--port is missing"),
        (("match", "-f", "{dump}", "--port", "80"), 2, "--address is missing"),
        (("match", "-f", "{dump}", "--port", "80", "--address", "reviews"), 2, "no IP address"),
        (("match", "-f", "{dump}", "--port", "80", "--address", "1.1.1.1", "--header", "x"), 2, "no header"),
        (("match", "-f", "{dump}", "--port", "99999", "--address", "1.1.1.1"), 2, "65535"),
        (("routes", "-f", "{dump}", "client"), 2, "name a POD"),
        (("routes", "nobody", "--snapshot", SNAPSHOT), 3, "nobody"),
    ],
)
def test_mistakes(words: tuple[str, ...], code: int, problem: str, dump_file: str) -> None:
    assert problem in run("proxy", *(word.replace("{dump}", dump_file) for word in words), code=code)


def test_a_dump_from_stdin(dump_file: str) -> None:
    result = CliRunner().invoke(app, ["proxy", "bootstrap", "-f", "-"], input=Path(dump_file).read_bytes())
    assert result.exit_code == 0, result.output
    assert "sidecar~" in result.output

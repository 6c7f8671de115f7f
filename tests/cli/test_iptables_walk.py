"""``iptables walk`` and ``watch``, through the command line."""

import gzip
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from meshctl.cli.app import app
from tests import recording

SCHEMAS = Path(__file__).parents[2] / "meshctl" / "schemas"


def run(*words: str, code: int = 0, text: str | None = None) -> str:
    result = CliRunner().invoke(app, list(words), input=text)
    assert result.exit_code == code, result.output
    return result.output if code else result.stdout


def files(folder: Path) -> list[str]:
    return [word for name in ("iptables-save.txt", "ip6tables-save.txt") for word in ("--rules", str(folder / name))]


def test_many_packets_at_once(fixtures: Path, tmp_path: Path) -> None:
    folder = fixtures / "rulesets" / "1.30.3" / "tproxy"
    said = json.loads((fixtures / "rules" / "routing.json").read_text())["1.30.3/tproxy"]
    (tmp_path / "ip-rule.json").write_text(json.dumps(said["rule"]))
    (tmp_path / "ip-route.json").write_text(json.dumps(said["route"]))
    with gzip.open(fixtures / "rules" / "walks.jsonl.gz", "rt") as lines:
        recorded = [one for one in map(json.loads, lines) if one["case"] == "1.30.3/tproxy"]
    more = ["--ip-rule", str(tmp_path / "ip-rule.json"), "--ip-route", str(tmp_path / "ip-route.json")]
    sent = "".join(json.dumps(one["packet"]) + "\n" for one in recorded)
    told = run(
        *("iptables", "walk", *files(folder), "--address", "172.17.0.7", *more, "--packets", "-"), text=sent
    ).splitlines()
    schema = json.loads((SCHEMAS / "walk.json").read_text())
    assert len(told) == len(recorded)
    for one, line in zip(recorded, told, strict=True):
        document = json.loads(line)
        jsonschema.validate(document, schema)
        assert (document["verdict"], document["redirect_port"]) == (one["verdict"], one["port"])
        steps = [step for step in document["steps"] if step["matched"] and step["rule"]]
        assert [[step[key] for key in ("hook", "family", "table", "chain", "rule")] for step in steps] == one["rules"]


def test_one_packet_in_every_format(fixtures: Path) -> None:
    words = ("iptables", "walk", *files(fixtures / "rulesets" / "1.30.3" / "default"), "--address", "172.17.0.7")
    text = run(*words, "--out", "10.0.0.1:80", "--uid", "1000")
    assert "redirected to local port 15001" in text
    assert "its uid is 1000" in text
    document = json.loads(run(*words, "--out", "10.0.0.1:80", "--uid", "1337", "-o", "json"))
    assert (document["schema"], document["verdict"]) == ("meshctl.walk/v1", "accepted")
    assert "verdict: redirected" in run(*words, "--in", ":8080", "-o", "yaml")
    assert "flowchart" in run(*words, "--in", ":8080", "-o", "mermaid")
    assert "accepted" in run(*words, "--in", "10.0.0.9", ":8080", "--udp")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--out", "10.0.0.1:80", "--in", ":80"), "say one of --out"),
        ((), "say one of --out"),
        (("--out", "reviews:80"), "is not ADDRESS"),
        (("--out", "10.0.0.1:80", "--mark", "x"), "--mark x is not a number"),
        (("--packets", "-"), "stdin:1: not JSON"),
        (("--family", "ipv5", "--out", "1.2.3.4:5"), "there are ipv4 and ipv6"),
    ],
)
def test_bad_usage(fixtures: Path, words: tuple[str, ...], says: str) -> None:
    rules = files(fixtures / "rulesets" / "1.30.3" / "default")
    assert says in run("iptables", "walk", *rules, "--address", "172.17.0.7", *words, code=2, text="nonsense\n")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "there is no file" in run("iptables", "walk", "--rules", str(tmp_path / "no"), "--out", "1.2.3.4:5", code=3)


def snapshot(folder: Path, packets: int, at: str) -> str:
    dump = f"*nat\n:OUTPUT ACCEPT [0:0]\n[{packets}:600] -A OUTPUT -p tcp -j REDIRECT --to-ports 15001\nCOMMIT\n"
    made = recording.write(
        folder,
        namespaces=["apps"],
        resources={"pods": [recording.pod("web", "apps")]},
        files={"pods/apps/web/netns/iptables-save.txt": dump},
        captured_at=at,
    )
    return str(made)


def test_a_pod_of_a_recording(tmp_path: Path) -> None:
    path = snapshot(tmp_path / "a", 3, "2026-01-02T03:04:05+00:00")
    document = json.loads(run("--snapshot", path, "iptables", "walk", "web", "--out", "1.2.3.4:80", "-o", "json"))
    assert (document["verdict"], document["packet"]["src"]) == ("redirected", "10.0.0.9")
    assert any("routes were not recorded" in note for note in document["notes"])


def test_watch_compares_two_recordings(tmp_path: Path) -> None:
    first = snapshot(tmp_path / "a", 3, "2026-01-02T03:04:05+00:00")
    second = snapshot(tmp_path / "b", 13, "2026-01-02T03:04:10+00:00")
    words = ("--snapshot", first, "iptables", "watch", "web")
    document: dict[str, Any] = json.loads(run(*words, "--until", second, "-o", "json"))
    jsonschema.validate(document, json.loads((SCHEMAS / "watch.json").read_text()))
    (moved,) = document["moved"]
    assert (moved["packets"], moved["per_second"], document["seconds"]) == (10, 2.0, 5.0)
    assert "1 rule counted in 5.0 s" in run(*words, "--until", second)
    assert "does not move" in run(*words, code=2)
    assert "is older than" in run("--snapshot", second, "iptables", "watch", "web", "--until", first, code=2)

"""What ``meshctl trace`` and ``why`` print: the contracts validate, the exit codes are those promised."""

import json
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from meshctl.blocks import Note
from meshctl.cli.app import app
from meshctl.gather.matrix import matrix
from meshctl.path.flags import FLAGS, WITHOUT_FLAG
from meshctl.path.model import Aim, Branch, End, KubeProxy, Outcome, Request, Sender, Trace
from meshctl.views import matrix as matrix_view
from meshctl.views import trace as view
from meshctl.views import trace_document
from tests.path.recordings import FOLDER, Case, of_case, truths, world

SCHEMAS = Path(__file__).parent.parent.parent / "meshctl" / "schemas"
CASES = truths()


def schema(name: str) -> Any:
    return json.loads((SCHEMAS / f"{name}.json").read_text())


def run(*words: str) -> Any:
    return CliRunner().invoke(app, list(words), prog_name="meshctl")


def recorded(name: str) -> tuple[str, str]:
    return "--snapshot", str(FOLDER / f"{name}.tar.gz")


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_every_trace_keeps_the_contract(case: Case) -> None:
    document = json.loads(json.dumps(trace_document.document(of_case(case))))
    jsonschema.validate(document, schema("trace"))


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_every_trace_can_be_drawn(case: Case) -> None:
    from meshctl.render import terminal

    for width in (60, 100, 200):
        text = terminal.draw(view.page(of_case(case)), width=width)
        assert "Outcome" in text
        assert "kube-proxy" in text


@pytest.mark.parametrize(
    ("snapshot", "words", "code"),
    [
        ("classic", ["reviews:9080"], 0),
        ("classic", ["reviews:9080", "--strict"], 0),
        ("classic", ["review:9080"], 10),
        ("classic", ["reviews.default:9080"], 0),
        ("classic", ["reviews.default:9080", "--strict"], 10),
        ("classic", ["reviews:9080", "--from", "nobody"], 3),
        ("classic", ["reviews:9080", "-n", "nowhere"], 3),
        ("classic", ["reviews:port"], 2),
        ("classic", ["reviews:9080", "--expect", "status=200,mtls,cluster=outbound|9080|v1|*"], 0),
        ("classic", ["reviews:9080", "--expect", "status=503"], 10),
        ("classic", ["reviews:9080", "--expect", "status=200,"], 0),
        ("classic", ["reviews:9080", "--expect", "status=abc"], 2),
        ("classic", ["reviews:9080", "--expect", "kube_proxy=no"], 2),
        ("classic", ["reviews:9080", "--expect", "colour=blue"], 2),
        ("policies", ["backend:9080", "-n", "policies", "--from", "deploy/intruder-v1"], 10),
        ("policies", ["backend:9080", "-n", "policies", "--from", "deploy/intruder-v1", "--expect", "status=403"], 0),
        ("policies", ["grpc://backend:9080", "-n", "policies", "--from", "deploy/intruder-v1"], 10),
        (
            "policies",
            ["grpc://backend:9080", "-n", "policies", "--from", "deploy/intruder-v1", "--expect", "status=200"],
            10,
        ),
        (
            "policies",
            ["grpc://backend:9080", "-n", "policies", "--from", "deploy/intruder-v1", "--expect", "status=grpc-7"],
            0,
        ),
        ("policies", ["backend.policies:9080", "-n", "outside", "--from", "plainclient"], 10),
        ("broken", ["wrongport:8080"], 10),
        ("bookinfo", ["productpage:9080", "--from", "ingress", "--path", "/productpage"], 0),
        ("bookinfo", ["productpage:9080", "--from", "ingress", "--path", "/nowhere"], 10),
        ("bookinfo", ["192.168.49.2:30440", "--from", "ingress", "--path", "/productpage"], 0),
        ("broken", ["--all", "broken"], 10),
        ("classic", ["-A"], 0),
        ("classic", [], 2),
    ],
)
def test_exit_codes(snapshot: str, words: list[str], code: int) -> None:
    result = run("trace", *recorded(snapshot), *words, "-o", "json")
    assert result.exit_code == code, result.output
    if code in (0, 10):
        name = "trace-matrix" if words[0] in ("--all", "-A") else "trace"
        jsonschema.validate(json.loads(result.stdout), schema(name))


def test_rules_that_nft_listed_are_not_said_to_be_missing() -> None:
    found = json.loads(run("trace", *recorded("nftmode"), "web:8080", "-n", "nftmode", "-o", "json").stdout)
    assert any("netns/nft.json" in proof["file"] for hop in found["hops"] for proof in hop["evidence"])
    assert found["gaps"] == []


def test_a_way_through_the_ingress_names_the_gateway_and_its_service() -> None:
    words = ["productpage:9080", "--from", "ingress", "--host", "a.example", "--path", "/productpage"]
    lines = run("trace", *recorded("bookinfo"), *words).stdout.splitlines()
    gateway = "istio-ingressgateway-8478855c84-wvtpp"
    assert lines[0] == f"outside → productpage, through {gateway}.istio-system:8080"
    assert any("8080 in the pod is port 80 of Service istio-ingressgateway" in line for line in lines)
    lanes = [line.strip("╭─╮ ") for line in lines if line.startswith("╭")]
    assert lanes[:2] == ["outside", f"gateway pod istio-system/{gateway}"]
    assert lanes[-1].startswith("callee pod default/productpage-v1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["reviews:9080/a?b=c"], {"path": "/a?b=c"}),
        (["http://reviews:9080?b=c"], {"path": "/?b=c"}),
        (["reviews:9080/a", "--path", "x?y=1#z"], {"path": "/x?y=1"}),
        (["reviews:9080/a", "--path", "/"], {"path": "/"}),
        (["reviews:9080", "-H", "x=a", "-H", "y=1", "-H", "X: b"], {"headers": {"x": "a,b", "y": "1"}}),
        (["reviews:9080", "-H", "cookie: a=1", "-H", "cookie=b=2"], {"headers": {"cookie": "a=1; b=2"}}),
        (["reviews:9080", "-H", "authorization: Bearer a="], {"headers": {"authorization": "Bearer a="}}),
        (["reviews:9080", "-X", "post"], {"method": "post"}),
        (["https://reviews:9080", "--host", "b.com"], {"host": "b.com", "sni": "reviews"}),
        (["https://10.1.2.3:9080", "--host", "b.com"], {"host": "b.com", "sni": None}),
        (["https://10.1.2.3:9080", "--host", "b.com", "--sni", "B.com."], {"sni": "b.com"}),
        (["http://reviews:9080"], {"sni": None}),
    ],
)
def test_a_request_is_what_was_asked_for(words: list[str], said: dict[str, object]) -> None:
    found = json.loads(run("trace", *recorded("classic"), *words, "-o", "json").stdout)
    assert {key: found["request"][key] for key in said} == said


@pytest.mark.parametrize(
    ("target", "sni"),
    [
        ("https://productpage:9080", "b.com"),
        ("https://istio-ingressgateway.istio-system", "b.com"),
        ("https://a.com", "a.com"),
        ("https://10.1.2.3", None),
    ],
)
def test_a_client_outside_names_the_public_host_in_its_tls(target: str, sni: str | None) -> None:
    words = (target, "--from", "ingress", "--host", "b.com", "-o", "json")
    request = json.loads(run("trace", *recorded("bookinfo"), *words).stdout)["request"]
    assert (request["host"], request["sni"]) == ("b.com", sni)


def test_a_method_in_lower_case_is_another_one() -> None:
    outcome = json.loads(run("trace", *recorded("classic"), "reviews:9080", "-X", "post", "-o", "json").stdout)[
        "outcome"
    ]
    assert (outcome["status"], outcome["response_flags"], outcome["answered_by"]) == (400, "DPE", "client-proxy")
    assert "POST is one" in outcome["reason"]


def test_a_near_miss_is_suggested() -> None:
    result = run("trace", *recorded("classic"), "review:9080", "-o", "json")
    assert "reviews" in json.loads(result.stdout)["findings"][0]["fix"]


@pytest.mark.parametrize(
    ("aim", "expected"),
    [
        (Aim("10.1.2.3", "10.1.2.3", 80, "10.1.2.3", "address"), ("10.1.2.3", None, "10.1.2.3", 1)),
        (Aim("fd00::1", "fd00::1", 80, "fd00::1", "address"), ("fd00::1", None, "fd00::1", 1)),
        (Aim("web.shop", "10.96.0.1", 80, "10.96.0.1", "address"), ("web", "shop", "10.96.0.1", 1)),
        (Aim("db.shop", "db", 80, "10.1.2.3, 10.1.2.4", "headless"), ("db", "shop", "10.1.2.3", 2)),
        (Aim("a.example.com", "a.example.com", 80, "", "entry"), ("a.example.com", None, None, 0)),
        (Aim("example.com", "example.com", 80, "", "outside"), ("example.com", None, None, 0)),
    ],
)
def test_what_is_called_names_a_namespace_only_for_services(aim: Aim, expected: tuple[object, ...]) -> None:
    end = End("app", delivered=True)
    outcome = Outcome(end, None, (), (Branch(1.0, None, end),))
    made = Trace(Sender("a", "b"), aim, Request(), (), outcome, KubeProxy(False, ""))
    document = trace_document.document(made)
    jsonschema.validate(json.loads(json.dumps(document)), schema("trace"))
    to = document["to"]
    assert isinstance(to, dict)
    assert (to["service"], to["namespace"], to["address"], len(to["addresses"])) == expected


def test_the_caller_is_the_one_that_calls_most_and_the_evidence_is_named() -> None:
    document = json.loads(run("trace", *recorded("classic"), "reviews:9080", "-o", "json").stdout)
    assert document["from"]["pod"].startswith("productpage-v1-")
    assert "access log" in document["from"]["chosen_because"]


def test_an_intruder_is_denied_by_a_policy_that_is_named() -> None:
    words = ("backend:9080", "-n", "policies", "--from", "deploy/intruder-v1", "--path", "/api/list", "-o", "json")
    outcome = json.loads(run("trace", *recorded("policies"), *words).stdout)["outcome"]
    assert outcome["status"] == 403
    assert outcome["answered_by"] == "server-proxy"
    assert "backend-allow-client" in outcome["reason"]


@pytest.mark.parametrize("words", [["503", "UF,URX"], ["UH"], ["404", "NR"], ["0", "-"]])
def test_why_keeps_the_contract(words: list[str]) -> None:
    result = run("why", *words, "-o", "json")
    assert result.exit_code == 0
    jsonschema.validate(json.loads(result.stdout), schema("why"))


def suggested() -> list[str]:
    """Each command of meshctl's own that ``why`` knows, with what a user puts in place of the capitals."""
    places = {
        **{"SERVICE:PORT": "reviews:9080", "PROVIDER:PORT": "reviews:9080", "ADDRESS": "10.96.0.1", "PORT": "9080"},
        **{"CLUSTER": "reviews", "--host HOST": "--host reviews", "POD": "deploy/productpage-v1", "PATH": "/reviews"},
    }
    causes = [cause for meaning in FLAGS.values() for cause in meaning.causes]
    causes += [cause for some in WITHOUT_FLAG.values() for cause in some]
    found = dict.fromkeys(cause.command for cause in causes if cause.command.startswith("meshctl "))
    for word, value in places.items():
        found = dict.fromkeys(command.replace(word, value) for command in found)
    return sorted(found)


@pytest.mark.parametrize("command", suggested())
def test_every_command_that_why_suggests_runs(command: str) -> None:
    _, *words = shlex.split(command)
    result = run(*words, *recorded("classic"))
    assert result.exit_code in (0, 10), result.output


def test_why_says_which_cause_it_is_here() -> None:
    document = json.loads(run("why", *recorded("broken"), "UH", "-o", "json").stdout)
    assert any("subset v9" in here["says"] for here in document["here"])


def test_why_reads_many_lines_from_stdin() -> None:
    line = '[2026-01-01T00:00:00.000Z] "GET / HTTP/1.1" {} - "-" 0 9 1 1 "-" "-" "id" "a" "-" outbound|80||a - - - - -'
    given = "\n".join(line.format(words) for words in ("503 UH no_healthy_upstream -", "200 - via_upstream -"))
    done = CliRunner().invoke(app, ["why", "-", "-o", "json"], input=given, prog_name="meshctl")
    document = json.loads(done.stdout)
    jsonschema.validate(document, schema("why"))
    for other in document["others"]:
        jsonschema.validate({**other, "others": []}, schema("why"))
    assert (document["status"], [other["status"] for other in document["others"]]) == (503, [200])


def test_why_refuses_what_it_does_not_know() -> None:
    assert run("why", "purple").exit_code == 2


def test_a_matrix_says_once_what_is_the_same_for_every_service() -> None:
    found = matrix(world("variants"), "variants")
    notes = [str(block.line) for block in matrix_view.page(found).blocks if isinstance(block, Note)]
    asked = [text for text in notes if "asked of the node's resolver" in text]
    assert [text.partition(" ")[0] for text in asked] == ["SERVICE.variants"]
    assert "kube-proxy refuses it: variants/none has no endpoints" in notes

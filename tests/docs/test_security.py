"""docs/security.md against the code: the roles grant what is read, and nothing more."""

import re
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from meshctl import yaml_text
from meshctl.cli.app import app
from meshctl.sources import debug_pod, kinds, shipped
from meshctl.sources.readonly import BY_PART

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")


def roles() -> dict[str, Any]:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    found = [document for block in blocks for document in yaml_text.documents(block, "docs/security.md")]
    return {document["metadata"]["name"]: document["rules"] for document in found}


def granted(rules: Any) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_reading_role_is_the_kinds_that_are_read() -> None:
    wanted = {(kind.group, kind.plural, verb) for kind in kinds.KUBERNETES + kinds.MESH for verb in ("get", "list")}
    wanted |= {("", "configmaps", "get"), ("", "pods/log", "get")}
    assert granted(roles()["meshctl-read"]) == wanted


def test_the_roles_can_be_printed_for_kubectl() -> None:
    assert {f"meshctl-{name}" for name in shipped.roles()} == set(roles())
    for name in shipped.roles():
        for words, namespace in (
            (("doctor", "--role", name), None),
            (("-n", "shop", "doctor", "--role", name), "shop"),
        ):
            done = CliRunner().invoke(app, list(words))
            (document,) = yaml_text.documents(done.stdout, "stdout")
            assert document["rules"] == roles()[f"meshctl-{name}"]
            assert document["metadata"].get("namespace") == (namespace if document["kind"] == "Role" else None)


def test_a_role_that_is_not_there_is_refused() -> None:
    done = CliRunner().invoke(app, ["doctor", "--role", "all"])
    assert done.exit_code == 2
    assert "there are: read, proxy, debug" in done.stderr


def test_no_role_has_secrets_or_wildcards() -> None:
    everything = {entry for rules in roles().values() for entry in granted(rules)}
    assert not [entry for entry in everything if "secrets" in entry[1] or "*" in entry]


def test_the_debug_role_is_enough_for_a_debug_pod() -> None:
    needed = {(right.group, right.resource, right.verb) for right in debug_pod.rights("x")}
    assert needed <= granted(roles()["meshctl-debug"])


def test_every_command_that_runs_in_a_namespace_is_named() -> None:
    plain = {" ".join(argv) for command in BY_PART.values() for argv in command.argvs}
    unnamed = {text for text in plain if f"`{text}`" not in PAGE}
    assert all(re.match(r"ip6?tables-(nft|legacy)-save -c$", text) for text in unnamed), unnamed


def test_deadlines_are_those_of_the_code() -> None:
    assert f"after {debug_pod.DEADLINE_S} seconds" in PAGE
    assert f"removes it {debug_pod.TTL_S} seconds later" in PAGE

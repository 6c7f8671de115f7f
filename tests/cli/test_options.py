from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from meshctl.cli import app as root
from meshctl.cli.options import Invocation, command, group
from meshctl.errors import ExitCode, NoAccess

seen: list[Invocation] = []


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """A root with one group of its own: ``probe look`` notes its invocation, ``probe fail`` fails as it is told."""
    probe = group("A group for the test.")

    @command(probe, "look", outputs=("text", "json"), examples="  meshctl probe look")
    def look(call: Invocation, name: Annotated[str, typer.Argument()] = "") -> None:
        """Look."""
        seen.append(call)

    wrapped = RuntimeError("Error calling __set_name__ on 'Field' instance 'a' in 'B'")
    wrapped.__cause__ = KeyboardInterrupt()

    @command(probe, "fail")
    def fail(call: Invocation, how: str) -> None:
        """Fail."""
        raise {
            "known": NoAccess("not allowed", hint="ask"),
            "bug": KeyError("lost"),
            "interrupt": KeyboardInterrupt(),
            "wrapped": wrapped,
            "denied": PermissionError(13, "Permission denied", "/etc/shadow"),
        }[how]

    module = type("module", (), {"app": probe})
    monkeypatch.setattr(root, "import_module", lambda _name: module)
    monkeypatch.setitem(root.COMMANDS, "probe", ("somewhere", "A test's group"))
    seen.clear()
    return CliRunner()


def test_shared_options_stand_before_or_after_the_command(run: CliRunner) -> None:
    for words in (["-n", "a", "-o", "json", "probe", "look"], ["probe", "look", "-n", "a", "-o", "json"]):
        assert run.invoke(root.app, words).exit_code == 0
    assert seen[0] == seen[1]
    assert (seen[0].namespace, seen[0].output) == ("a", "json")


def test_what_comes_after_the_command_wins(run: CliRunner) -> None:
    assert run.invoke(root.app, ["-n", "a", "--demo", "probe", "look", "-n", "b", "--snapshot", "x"]).exit_code == 0
    assert (seen[0].namespace, seen[0].snapshot, seen[0].demo) == ("b", "x", None)


def test_the_first_format_is_the_default_and_others_are_refused(run: CliRunner) -> None:
    run.invoke(root.app, ["probe", "look"])
    assert seen[0].output == "text"
    refused = run.invoke(root.app, ["probe", "look", "-o", "xml"])
    assert refused.exit_code == ExitCode.BAD_INPUT
    assert "use one of: text, json" in refused.stderr


@pytest.mark.parametrize(
    ("how", "code", "words"),
    [
        ("known", ExitCode.NO_ACCESS, "error: not allowed\nhint: ask\n"),
        ("bug", ExitCode.INTERNAL, "error: meshctl itself failed: KeyError"),
        ("interrupt", ExitCode.INTERRUPTED, "interrupted"),
        ("denied", ExitCode.NO_ACCESS, "error: /etc/shadow: Permission denied\n"),
        ("wrapped", ExitCode.INTERRUPTED, "interrupted"),
    ],
)
def test_errors_become_one_line_and_a_code(run: CliRunner, how: str, code: int, words: str) -> None:
    failed = run.invoke(root.app, ["probe", "fail", how])
    assert failed.exit_code == code
    assert words in failed.stderr
    assert "Traceback" not in failed.output
    assert failed.stdout == ""


def test_debug_lets_the_traceback_through(run: CliRunner) -> None:
    assert isinstance(run.invoke(root.app, ["--debug", "probe", "fail", "bug"]).exception, KeyError)


def test_worlds_exclude_each_other() -> None:
    for call in (Invocation(snapshot="x", demo=True), Invocation(demo=True, context="c")):
        with pytest.raises(Exception, match="exclude each other"):
            call.world()


def test_the_environment_names_a_snapshot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MESHCTL_SNAPSHOT", str(tmp_path / "gone"))
    with pytest.raises(Exception, match="gone"):
        Invocation().world()
    assert Invocation(demo=True).world().name == "demo"


def test_help_lists_the_commands_and_the_version_is_printed() -> None:
    runner = CliRunner()
    shown = runner.invoke(root.app, ["--help"]).stdout
    assert all(f"  {name}" in shown for name in root.COMMANDS)
    assert runner.invoke(root.app, ["--version"]).stdout.startswith("meshctl ")
    assert runner.invoke(root.app, ["nonsense"]).exit_code == ExitCode.BAD_INPUT

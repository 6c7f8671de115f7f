"""docs/reference.md is every command's own --help; --update-golden writes it anew."""

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from meshctl.cli.app import COMMANDS, app

PAGE = Path(__file__).parent.parent.parent / "docs" / "reference.md"


def every_command(command: Any, words: list[str]) -> list[tuple[list[str], Any]]:
    names = sorted(getattr(command, "commands", {}))
    return [(words, command), *(pair for n in names for pair in every_command(command.commands[n], [*words, n]))]


def loaded() -> list[tuple[list[str], Any]]:
    root = typer.main.get_command(app)
    context: Any = None
    for name in COMMANDS:
        root.get_command(context, name)  # type: ignore[attr-defined]
    return every_command(root, [])


def helped(words: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "100")
    shown = CliRunner().invoke(app, [*words, "--help"], prog_name="meshctl")
    assert shown.exit_code == 0, shown.output
    return "\n".join(line.rstrip() for line in shown.stdout.strip("\n").split("\n"))


def test_the_reference_is_what_help_prints(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = ["# Reference\n\nEvery command's own `--help`, written by a test.\n"]
    for words, _ in loaded():
        title = " ".join(["meshctl", *words])
        parts.append(f"## {title}\n\n```text\n{helped(words, monkeypatch)}\n```\n")
    expected = "\n".join(parts)
    if request.config.getoption("--update-golden"):
        PAGE.write_text(expected)
    assert PAGE.read_text() == expected


def test_every_command_says_what_it_does_and_shows_an_example() -> None:
    for words, command in loaded():
        assert command.help, words
        if words and not hasattr(command, "commands"):
            assert "meshctl" in (command.epilog or ""), f"{words}: no example"


def test_every_option_says_what_it_does() -> None:
    for words, command in loaded():
        silent = [p.name for p in command.params if p.param_type_name == "option" and not p.help]
        assert not silent, (words, silent)

"""The help as a first-time user reads it: whole sentences, real formats, and examples that work."""

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from meshctl.cli.app import app


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    below = command.list_commands(None) if hasattr(command, "list_commands") else ()
    if not below:
        yield path
    for name in below:
        yield from commands(command.get_command(None, name), (*path, name))


EVERY = tuple(commands(typer.main.get_command(app)))
GROUPS = sorted({words[:1] for words in EVERY if len(words) > 1})


def shown(*words: str) -> str:
    done = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "80"})
    assert done.exit_code == 0
    return done.stdout


def examples(words: tuple[str, ...]) -> list[str]:
    _, _, told = shown(*words).partition("Examples:\n")
    return [line.strip() for line in told.replace("\\\n", " ").splitlines() if line.strip()]


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_every_command_has_examples_of_itself_that_it_can_read(words: tuple[str, ...]) -> None:
    told = [line.rpartition("| ")[2].removeprefix("sudo ") for line in examples(words)]
    told = [line for line in told if line.startswith("meshctl ")]  # others show what to do with what is running
    assert told
    for line in told:
        given = shlex.split(line)
        assert " ".join(words) in " ".join(word for word in given if word != "--demo")
        read = CliRunner().invoke(app, [*given[1 : given.index("--") if "--" in given else None], "--help"])
        assert read.exit_code == 0, (line, read.stderr)


@pytest.mark.parametrize("line", [line for words in EVERY for line in examples(words) if "--demo" in line])
def test_every_example_with_the_demo_works(line: str) -> None:
    done = CliRunner().invoke(app, shlex.split(line)[1:])
    assert done.exit_code == 0, done.stderr
    assert done.stdout.count("\n") > 3


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_no_help_speaks_python_or_doubles_brackets(words: tuple[str, ...]) -> None:
    told = shown(*words)
    for slip in ("<str>", "<int>", "list[", "[[", "<Path>", "...]...", "-completion"):
        assert slip not in told


@pytest.mark.parametrize("words", GROUPS, ids=" ".join)
def test_a_group_tells_all_of_what_its_commands_do(words: tuple[str, ...]) -> None:
    assert "..." not in shown(*words).partition("Commands:")[2]


def test_the_commands_of_a_group_stand_as_they_are_used() -> None:
    told = shown("iptables").partition("Commands:")[2].splitlines()
    first = [line.split()[0] for line in told if line.startswith("  ") and line[2:3].strip()]
    assert first == ["dump", "explain", "expect", "diff", "walk", "watch"]


def test_formats_are_those_of_the_command() -> None:
    told = " ".join(shown("check").split())
    assert "-o, --output FORMAT text (if not given), json, yaml, sarif." in told

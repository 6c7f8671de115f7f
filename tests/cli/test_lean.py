"""The shortcut round Typer's coercion gives every command exactly what Typer would."""

from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer

from meshctl.cli.lean import lean

GIVEN: dict[str, Any] = {}
Words = Annotated[list[str] | None, typer.Argument()]
Many = Annotated[list[str] | None, typer.Option("--many")]


class Color(Enum):
    RED = "red"


def _app() -> typer.Typer:
    app = typer.Typer()

    @app.command()
    def run(
        words: Words = None,
        many: Many = None,
        text: Annotated[str | None, typer.Option("--text")] = None,
        number: Annotated[int | None, typer.Option("--number", min=1)] = None,
        path: Annotated[Path | None, typer.Option("--path")] = None,
        choice: Annotated[Literal["a", "b"] | None, typer.Option("--choice")] = None,
        color: Annotated[Color, typer.Option("--color")] = Color.RED,
        flag: Annotated[bool | None, typer.Option("--flag/--no-flag")] = None,
        parsed: Annotated[Any, typer.Option("--parsed", parser=lambda text: text.upper())] = "",
        some: Annotated[list[int] | None, typer.Option("--some")] = None,
        rest: Annotated[str, typer.Option("--rest", envvar="LEAN_REST")] = "x",
    ) -> None:
        GIVEN.clear()
        GIVEN.update(locals())

    return app


LINES = (
    "",
    "a b --many x --many y",
    "--text t --number 3 --path /tmp --choice b --flag",
    "--no-flag --parsed up --some 1 --some 2 --color red --rest y",
    "--text '' --rest ''",
    "--number 0",
    "--number x",
    "--choice c",
    "--some x",
    "--color blue",
    "--nothing",
)


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("environment", [{}, {"LEAN_REST": "z"}])
def test_values_and_errors_are_typers_own(line: str, environment: dict[str, str]) -> None:
    results = []
    for change in (lambda command: command, lean):
        GIVEN.clear()
        command = change(typer.main.get_command(_app()))
        result = _invoke(command, line, environment)
        results.append((result, dict(GIVEN)))
    assert results[0] == results[1]


def _invoke(command: Any, line: str, environment: dict[str, str]) -> tuple[int, str]:
    import shlex

    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            command.main(args=shlex.split(line), prog_name="x", standalone_mode=False)
        except Exception as error:
            return getattr(error, "exit_code", 1), str(error)
    return 0, ""

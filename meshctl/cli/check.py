"""``meshctl check``: everything that is wrong with a pod or a namespace, worst first."""

from collections.abc import Collection, Sequence
from typing import Annotated

import typer

from meshctl.cli import options
from meshctl.cli.options import Invocation, completer
from meshctl.cli.show import emit, show
from meshctl.errors import BadInput, ExitCode

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)

Ignored = Annotated[list[str] | None, typer.Option("--ignore", metavar="ID", help="Leave out this id (repeatable).")]
Pods = Annotated[
    list[str] | None,
    typer.Argument(metavar="POD", help="POD, deploy/X, svc/X; else all pods.", autocompletion=completer("pods")),
]


@options.command(
    app,
    "check",
    outputs=("text", "json", "yaml", "sarif"),
    examples="  meshctl check -n shop\n  meshctl check deploy/cart -o json\n  meshctl check -A --ignore MC114 -o sarif",
)
def check(call: Invocation, names: Pods = None, ignore: Ignored = None) -> None:
    """List what is wrong with pods, worst first; exit code 10 if there is an error among it."""
    from meshctl.gather import findings as gathering
    from meshctl.views import findings as view

    _demand_ids(ignore or (), {id for id, _ in view.titles()})
    found = gathering.check(call.world(), names or (), call.scope(), ignore or ())
    code = ExitCode.FINDINGS if found.failed else ExitCode.OK
    if call.output == "sarif":
        emit(view.sarif_text(found.findings), "sarif")
        raise typer.Exit(code)
    show(
        call,
        lambda: view.document(found.findings, found.looked_at),
        lambda: view.page(found.findings, found.looked_at, found.gaps),
        code=code,
    )


def _demand_ids(ignore: Sequence[str], known: Collection[str]) -> None:
    for id in ignore:
        if id.upper() not in known:
            raise BadInput(f"--ignore: there is no finding '{id}'", hint="ids are like MC114; check shows them")

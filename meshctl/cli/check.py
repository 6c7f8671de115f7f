"""``meshctl check``: everything that is wrong with a pod or a namespace, worst first."""

from typing import Annotated

import typer

from meshctl.cli import options
from meshctl.cli.options import Invocation, completer
from meshctl.cli.show import emit, show
from meshctl.errors import ExitCode

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

    found = gathering.check(call.world(), names or (), call.scope(), call.istio_namespace or "", ignore or ())
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

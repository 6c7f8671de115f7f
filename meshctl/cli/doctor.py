"""``meshctl doctor``: what is reachable from here."""

import typer

from meshctl.cli.options import RECORDINGS, Invocation, command
from meshctl.errors import ExitCode

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


@command(
    app,
    "doctor",
    outputs=("text", "wide", "json", "yaml"),
    examples="  meshctl doctor\n  sudo meshctl doctor",
    without=(*RECORDINGS, "all_namespaces", "selector", "via", "debug_image", "yes"),
)
def doctor(call: Invocation) -> None:
    """Look at the kubeconfig, the API, permissions, the mesh, and this machine's runtimes, rights and tools."""
    from meshctl.cli.show import show
    from meshctl.gather import health
    from meshctl.views import doctor as view

    found = health.examine(call.connection(), call.istio_namespace or "istio-system", call.runtime or "auto")
    failed = any(probe.grade == "bad" for probe in found.probes) and not any(works for _, works, _ in found.ways[:-1])
    show(
        call,
        lambda: view.document(found),
        lambda: view.page(found),
        code=ExitCode.FINDINGS if failed else ExitCode.OK,
    )

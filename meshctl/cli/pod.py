"""``meshctl pod``: a pod as its node sees it."""

from typing import Annotated

import typer

from meshctl.cli.options import CLUSTER, RECORDINGS, WAYS, Invocation, command, completer, group

app = group("A pod's containers, processes and namespaces on this node.")


@app.callback()
def pod() -> None:
    """Show a pod as its node sees it."""


@command(
    app,
    "pids",
    outputs=("text", "wide", "json", "yaml"),
    without=(*RECORDINGS, *CLUSTER, *WAYS, "selector"),
    examples="  sudo meshctl pod pids\n  sudo meshctl pod pids productpage-v1-68bb77d8cf-ws7df -n default",
)
def pids(
    call: Invocation,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="POD", help="A pod on this node; all without one.", autocompletion=completer("node_pods")
        ),
    ] = None,
) -> None:
    """Show containers, PIDs, processes and network namespaces of this node's pods, and how each was found."""
    from meshctl.cli.show import show
    from meshctl.gather import on_node
    from meshctl.views import pids as view

    found = on_node.pods(name, call.namespace, call.runtime or "auto")
    show(call, lambda: view.document(found), lambda: view.page(found, name is not None))

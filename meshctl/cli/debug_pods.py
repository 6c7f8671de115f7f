"""``meshctl debug-pods``: what an interrupted meshctl left on a cluster."""

from typing import Annotated

import typer

from meshctl.cli.options import RECORDINGS, Invocation, command, group

app = group("Remove what an interrupted meshctl left on a cluster.")


@app.callback()
def debug_pods() -> None:
    """Remove what an interrupted meshctl left on a cluster."""


@command(
    app,
    "clean",
    without=("output", *RECORDINGS, "selector", "via", "debug_image", "debug_namespace", "runtime", "istio_namespace"),
    examples="  meshctl debug-pods clean -n default --yes",
)
def clean(
    call: Invocation,
    everyone: Annotated[bool, typer.Option("--all-owners", help="Also those that other users' runs made.")] = False,
) -> None:
    """Remove the Jobs that meshctl made for debug pods: your own, in one namespace (-n) or in all."""
    from meshctl.cli.show import say
    from meshctl.sources import kube_client, leftovers

    api = kube_client.connect(call.connection())
    for line in leftovers.clean(api, call.namespace, everyone=everyone, assume_yes=bool(call.yes)):
        say(line)

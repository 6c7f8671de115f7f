"""``meshctl doctor``: what is reachable from here."""

from typing import Annotated

import typer

from meshctl.cli.options import RECORDINGS, Invocation, command
from meshctl.errors import BadInput, ExitCode

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)

RoleOption = Annotated[
    str | None,
    typer.Option("--role", metavar="read|proxy|debug", help="Print the smallest role for that, as YAML for kubectl."),
]


@command(
    app,
    "doctor",
    outputs=("text", "wide", "json", "yaml"),
    examples="  meshctl doctor\n  sudo meshctl doctor\n  meshctl doctor --role read | kubectl apply -f -",
    without=(*RECORDINGS, "all_namespaces", "selector", "via", "debug_image", "yes"),
)
def doctor(call: Invocation, role: RoleOption = None) -> None:
    """Look at the kubeconfig, the API, permissions, the mesh, and this machine's runtimes, rights and tools."""
    from meshctl.cli.show import emit, show

    if role is not None:
        emit(_role(role, call.namespace))
        return
    from meshctl.gather import health
    from meshctl.views import doctor as view

    found = health.examine(call.connection(), call.runtime or "auto")
    failed = any(probe.grade == "bad" for probe in found.probes) and not any(works for _, works, _ in found.ways[:-1])
    show(
        call,
        lambda: view.document(found),
        lambda: view.page(found),
        code=ExitCode.FINDINGS if failed else ExitCode.OK,
    )


def _role(name: str, namespace: str | None) -> str:
    """A role as YAML: of a namespace, else of the one that kubectl is told."""
    from meshctl.sources import shipped

    known = shipped.roles()
    if name not in known:
        raise BadInput(f"there is no role '{name}'", hint=f"there are: {', '.join(known)}")
    return known[name].replace(", namespace: NAMESPACE", f", namespace: {namespace}" if namespace else "")

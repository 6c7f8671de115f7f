"""``meshctl describe``: what the mesh did to a pod, a service, a namespace or a manifest, and why."""

import os
from typing import Annotated, Any

import typer

from meshctl.cli import options
from meshctl.cli.group import Group
from meshctl.cli.options import Invocation, completer
from meshctl.cli.show import show
from meshctl.errors import BadInput
from meshctl.refs import near_misses
from meshctl.sources.world import World


class Describe(Group):
    """A group that takes ``describe deploy/x`` for ``describe pod deploy/x`` and ``svc/x`` for ``service x``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take ``describe -f FILE`` for ``describe pod -f FILE``."""
        if _names_a_file(args) and not self.commands.keys() & set(args):
            args = ["pod", *args]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Send what is no subcommand to `pod`, or to `service` for ``svc/NAME``."""
        if args and args[0] not in self.commands:
            kind, slash, name = args[0].partition("/")
            if slash and kind in ("svc", "service", "services"):
                args = ["service", name, *args[1:]]
            elif slash and kind in ("ns", "namespace"):
                args = ["namespace", name, *args[1:]]
            elif slash:
                args = ["pod", *args]
            elif not (args[0].startswith("-") or ctx.resilient_parsing or near_misses(args[0], tuple(self.commands))):
                raise BadInput(f"describe what: '{args[0]}' is no kind of thing", hint=_kinds(args[0]))
        return super().resolve_command(ctx, args)


def _kinds(name: str) -> str:
    return f"meshctl describe pod {name}, or: describe service {name}, describe namespace {name}"


def _names_a_file(args: list[str]) -> bool:
    return any(a[:2] == "-f" or a.partition("=")[0] == "--filename" for a in args)


app = typer.Typer(
    cls=Describe,
    add_completion=False,
    help="What the mesh did to a pod, a service, a namespace or a manifest, and why.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

Pods = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="POD",
        help="POD, POD.NAMESPACE, NAMESPACE/POD, deploy/X, svc/X ...",
        autocompletion=completer("pods"),
    ),
]
Manifest = Annotated[
    list[str] | None,
    typer.Option(
        "--filename", "-f", metavar="FILE", help="Describe what a manifest asks for; - is stdin (repeatable)."
    ),
]
_OUTPUTS = ("text", "wide", "json", "yaml", "html")


@options.command(
    app,
    "pod",
    outputs=_OUTPUTS,
    examples="  meshctl --demo describe pod deploy/productpage-v1\n  meshctl describe pod -f deployment.yaml",
)
def pod(call: Invocation, names: Pods = None, filename: Manifest = None) -> None:
    """Explain pods: what was injected and why, every argument, what is captured, the start order, what is wrong."""
    from meshctl.gather import evidence
    from meshctl.views import pods

    if filename and (names or call.selector):
        raise BadInput("-f and a pod's name or labels exclude each other", hint="a manifest's pods are all described")
    if filename:
        found = evidence.manifest(_world_if_named(call), filename, call.namespace)
    else:
        found = evidence.pods(call.world(), names or (), call.scope())
    show(call, lambda: pods.document_of(found), lambda: pods.page_for(call.output, found))


def _world_if_named(call: Invocation) -> World | None:
    """A manifest needs no cluster; one that is named says what its injector would do."""
    named = call.snapshot or call.demo or call.context or call.kubeconfig or os.environ.get("MESHCTL_SNAPSHOT")
    return call.world() if named else None


@options.command(
    app,
    "service",
    outputs=_OUTPUTS,
    examples="  meshctl --demo describe service reviews\n  meshctl describe service reviews.bookinfo -o wide",
)
def service(
    call: Invocation,
    name: Annotated[
        str,
        typer.Argument(
            metavar="SERVICE",
            help="SERVICE, SERVICE.NAMESPACE or NAMESPACE/SERVICE.",
            autocompletion=completer("service_names"),
        ),
    ],
) -> None:
    """Explain a service by all of its pods: ports, protocols, what differs between the pods, what is wrong."""
    from meshctl.gather import evidence
    from meshctl.views import service as view

    found = evidence.service(call.world(), name, call.scope())
    show(call, lambda: view.document(found), lambda: view.page(found))


@options.command(app, "namespace", outputs=_OUTPUTS, examples="  meshctl --demo describe namespace classic")
def namespace(
    call: Invocation,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAMESPACE", help="Else that of -n.", autocompletion=completer("namespaces")),
    ] = None,
) -> None:
    """Say whether pods of a namespace are injected and why, and list its pods."""
    from meshctl.gather import evidence
    from meshctl.views import namespace as view

    found = evidence.namespace(call.world(), name, call.scope())
    show(call, lambda: view.document(found), lambda: view.page(found))

"""The options that every command shares, accepted before and after the command's name, and what they make.

A command declares ``call: Invocation`` as its first parameter and is registered with `command`, which adds the
shared options to its signature. What is given after the name wins over what is given before it.
"""

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import wraps
from typing import Annotated, Any, TypeVar, cast, get_type_hints

import typer

from meshctl.cli.group import Group
from meshctl.errors import BadInput
from meshctl.frozen import dataclass
from meshctl.gather.scope import Scope
from meshctl.sources.world import World

F = TypeVar("F", bound=Callable[..., Any])


def _show_version(value: bool) -> None:
    if value:
        from meshctl import __version__

        typer.echo(f"meshctl {__version__}")
        raise typer.Exit


def _note(text: str) -> None:
    typer.echo(f"note: {text}", err=True)


Version = Annotated[
    bool, typer.Option("--version", "-V", help="Print the version and leave.", callback=_show_version, is_eager=True)
]


@dataclass(frozen=True, slots=True)
class Invocation:
    """What the user asked for besides the command itself: which world, which part of it, how to show it.

    None means "not given" throughout; `output` is one of the command's own formats by the time a command sees it.
    """

    snapshot: str | None = None
    demo: bool | None = None
    context: str | None = None
    kubeconfig: str | None = None
    namespace: str | None = None
    all_namespaces: bool | None = None
    selector: str | None = None
    istio_namespace: str | None = None
    as_user: str | None = None
    as_group: list[str] | None = None
    request_timeout: float | None = None
    via: str | None = None
    debug_image: str | None = None
    debug_namespace: str | None = None
    yes: bool | None = None
    runtime: str | None = None
    output: str | None = None
    no_color: bool | None = None
    width: int | None = None
    verbose: bool | None = None
    debug: bool | None = None

    def world(self) -> World:
        """Open the source of truth that the options name: --snapshot, --demo, a cluster, else MESHCTL_SNAPSHOT."""
        if self.via:
            from meshctl.sources.connection import demand_way

            demand_way(self.via)
        named = self.snapshot
        cluster = self.context or self.kubeconfig or self.runtime
        if sum(1 for given in (named, self.demo, cluster) if given) > 1:
            raise BadInput("--snapshot, --demo, --runtime and --context/--kubeconfig exclude each other")
        if not named and not self.demo and not cluster:
            named = os.environ.get("MESHCTL_SNAPSHOT") or None
        if self.demo or named:
            from meshctl.sources import snapshot

            world = snapshot.open_demo() if self.demo else snapshot.open_snapshot(str(named), tell=_note)
            world.control_plane = self.istio_namespace or ""
            return world
        if self.runtime:
            from meshctl.sources import node

            return node.open(self.runtime)
        from meshctl.sources import live

        return live.open(self.connection())

    def connection(self) -> Any:
        """How to reach the cluster, for the live source."""
        from meshctl.sources.connection import Connection

        return Connection(
            context=self.context,
            kubeconfig=self.kubeconfig,
            namespace=self.namespace,
            as_user=self.as_user,
            as_groups=tuple(self.as_group or ()),
            timeout_s=self.request_timeout or 15.0,
            via=self.via or "auto",
            debug_image=self.debug_image,
            debug_namespace=self.debug_namespace,
            assume_yes=bool(self.yes),
            verbose=bool(self.verbose),
            istio_namespace=self.istio_namespace or "",
        )

    def scope(self, namespace: str | None = None) -> Scope:
        """Where to look for pods: -n, else `namespace`, else what the world says."""
        return Scope(self.namespace or namespace, bool(self.all_namespaces), self.selector or "")

    @property
    def color(self) -> bool | None:
        """False where colour is refused, None where the terminal decides."""
        return False if self.no_color or os.environ.get("NO_COLOR") else None


def _option(kind: Any, *names: str, help: str, hidden: bool = False, **more: Any) -> Any:
    return Annotated[kind, typer.Option(*names, help=help, hidden=hidden, **more)]


def completer(kind: str) -> Callable[[typer.Context, str], list[str]]:
    """A function of ``meshctl.cli.complete`` by its name, imported when a word is completed."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        from meshctl.cli import complete as completing

        found: list[str] = getattr(completing, kind)(ctx, incomplete)
        return found

    return complete


POD_HELP = "NAME, NAME.NAMESPACE, NAMESPACE/NAME, a prefix, deploy/NAME, svc/NAME ...; or none with -l."
PodArgument = Annotated[str | None, typer.Argument(metavar="POD", help=POD_HELP, autocompletion=completer("pods"))]
_KUBECONFIG = "Read this kubeconfig instead of KUBECONFIG or ~/.kube/config."
_VIA = "How to reach a remote pod's rules: auto, node, debug-pod, ephemeral. auto adds nothing to the cluster."
_RUNTIME = "Ask this container runtime on this node, not the API server: auto, containerd, crio, docker, podman, proc."
SHARED: dict[str, Any] = {
    "snapshot": _option(
        str | None, "--snapshot", help="Read this recording (a directory or .tar.gz), not a cluster.", metavar="PATH"
    ),
    "demo": _option(bool | None, "--demo", help="Read the recording inside meshctl: no cluster needed."),
    "context": _option(str | None, "--context", help="The kubeconfig context of the cluster to ask.", metavar="NAME"),
    "kubeconfig": _option(str | None, "--kubeconfig", "-c", help=_KUBECONFIG, metavar="FILE", hidden=True),
    "namespace": _option(
        *(str | None, "--namespace", "-n"),
        help="The namespace to look in.",
        metavar="NS",
        autocompletion=completer("namespaces"),
    ),
    "all_namespaces": _option(bool | None, "--all-namespaces", "-A", help="Look in all namespaces."),
    "selector": _option(str | None, "--selector", "-l", help="Pods with these labels, e.g. app=x.", metavar="LABELS"),
    "istio_namespace": _option(
        *(str | None, "--istio-namespace", "-i"),
        help="The control plane's namespace.",
        metavar="NS",
        hidden=True,
        autocompletion=completer("namespaces"),
    ),
    "as_user": _option(str | None, "--as", help="Impersonate this user.", metavar="USER", hidden=True),
    "as_group": _option(
        list[str] | None, "--as-group", help="Impersonate this group (repeatable).", metavar="GROUP", hidden=True
    ),
    "request_timeout": _option(
        float | None, "--request-timeout", help="Seconds to wait for an answer.", metavar="SECONDS", hidden=True
    ),
    "via": _option(str | None, "--via", help=_VIA, metavar="WAY"),
    "debug_image": _option(str | None, "--debug-image", help="The image of a debug pod.", metavar="IMAGE", hidden=True),
    "debug_namespace": _option(
        *(str | None, "--debug-namespace"),
        help="The namespace of a debug pod.",
        metavar="NS",
        hidden=True,
        autocompletion=completer("namespaces"),
    ),
    "yes": _option(bool | None, "--yes", "-y", help="Do not ask before something is created.", hidden=True),
    "runtime": _option(str | None, "--runtime", help=_RUNTIME, metavar="NAME", hidden=True),
    "output": _option(
        str | None, "--output", "-o", help="text, wide, json, yaml, or what the command adds.", metavar="FORMAT"
    ),
    "no_color": _option(bool | None, "--no-color", help="No colour, as with NO_COLOR=1.", hidden=True),
    "width": _option(
        int | None, "--width", help="Columns to draw in; else the terminal's.", metavar="COLUMNS", hidden=True
    ),
    "verbose": _option(
        bool | None, "--verbose", "-v", help="Say on stderr what is being fetched and run.", hidden=True
    ),
    "debug": _option(bool | None, "--debug", help="Show a traceback when something fails.", hidden=True),
}
_REPLACED_BY = {"demo": "snapshot", "snapshot": "demo"}
"""Naming one world after the command's name takes back the other one before it."""

_state: dict[str, Any] = {"debug": False}


def begin() -> None:
    """Forget what an earlier command line of this process asked for."""
    _state["debug"] = False


def debugging() -> bool:
    """Whether tracebacks were asked for."""
    return bool(_state["debug"])


def _parameters(skip: Sequence[str] = (), unhide: bool = False, outputs: Sequence[str] = ()) -> list[inspect.Parameter]:
    shared = []
    for name, annotation in SHARED.items():
        if name in skip:
            continue
        if unhide:
            annotation = _but(annotation, hidden=False)
        elif name == "output":
            annotation = _but(annotation, help=f"{outputs[0]} (if not given), {', '.join(outputs[1:])}.")
        shared.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation))
    return shared


def _but(annotation: Any, **otherwise: Any) -> Any:
    """An option that differs in something."""
    option = typer.models.OptionInfo(**{**vars(annotation.__metadata__[0]), **otherwise})
    return Annotated[annotation.__origin__, option]


def _resigned(wrapper: Any, function: Callable[..., Any], drop: str | None, shared: list[inspect.Parameter]) -> None:
    hints = get_type_hints(function, include_extras=True)
    own = [
        p.replace(annotation=hints.get(p.name, p.annotation), kind=inspect.Parameter.KEYWORD_ONLY)
        for p in inspect.signature(function).parameters.values()
        if p.name != drop
    ]
    context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    everything = [context, *own, *shared]
    wrapper.__signature__ = inspect.Signature(everything, return_annotation=None)
    wrapper.__annotations__ = {p.name: p.annotation for p in everything}


def at_the_root(function: F) -> F:
    """Let the root take the shared options, and keep them for the command that follows."""

    @wraps(function)
    def wrapper(ctx: typer.Context, **given: Any) -> None:
        ctx.obj = Invocation(**{name: given.pop(name) for name in SHARED})
        _state["debug"] = bool(ctx.obj.debug)
        function(**given)

    del wrapper.__wrapped__
    _resigned(wrapper, function, None, _parameters(unhide=True))
    return cast(F, wrapper)


def command(
    app: typer.Typer,
    name: str,
    *,
    outputs: Sequence[str] = ("text", "json", "yaml"),
    examples: str = "",
    without: Sequence[str] = (),
    **settings: Any,
) -> Callable[[F], F]:
    """Register a command with the shared options; `outputs` are its formats, the first its default.

    `examples` are shown at the end of its help; `without` leaves out shared options that its own ones replace, or that
    mean nothing to it: given before the command's name, they are refused.
    """

    def register(function: F) -> F:
        @wraps(function)
        def wrapper(ctx: typer.Context, **given: Any) -> Any:
            before = ctx.find_root().obj
            before = before if isinstance(before, Invocation) else Invocation()
            after = {key: given.pop(key) for key in SHARED if key not in without}
            call = _merged(before, after)
            _state["debug"] = bool(call.debug)
            _refuse(ctx, before, without, {**{f.name: getattr(call, f.name) for f in fields(call)}, **given})
            return function(replace(call, output=_format(call.output, outputs)), **given)

        del wrapper.__wrapped__
        _resigned(wrapper, function, "call", _parameters(skip=without, outputs=outputs))
        epilog = "More options, for every command: meshctl --help." + (
            f"\n\n\b\nExamples:\n{examples.strip(chr(10))}" if examples else ""
        )
        app.command(name, epilog=epilog, **settings)(wrapper)
        return function

    return register


def _refuse(ctx: typer.Context, before: Invocation, without: Sequence[str], given: Mapping[str, Any]) -> None:
    """Raise BadInput for an option that the command would pass over, or that is empty (a shell's unset variable)."""
    known = {param.name: param for param in (*ctx.find_root().command.params, *ctx.command.params)}
    for key in without:
        if getattr(before, key) not in (None, []):
            name, flag = ctx.command_path.partition(" ")[2], max(known[key].opts, key=len)
            raise BadInput(
                f"{flag} before the command means nothing to `{name}`", hint=f"what it takes: meshctl {name} --help"
            )
    for key, value in given.items():
        param = known.get(key)
        names_place = key in SHARED or (param is not None and str(param.metavar).strip("[].") in _PLACES)
        texts = value if isinstance(value, list) else [value]
        empty = any(isinstance(text, str) and not text.strip() for text in texts)
        if empty and names_place and key != "selector" and param is not None and param.default != value:
            named = max(param.opts, key=len) if param.opts[0].startswith("-") else str(param.metavar)
            raise BadInput(f"{named.strip('[].')} is empty", hint="give it a value, or leave it out")


_PLACES = frozenset(("FILE", "FILE|-", "PATH", "NAMESPACE"))
"""What own arguments and options name that cannot be empty; others may be: ``istio-iptables -b ''``."""
RECORDINGS = ("snapshot", "demo")
CLUSTER = ("context", "kubeconfig", "as_user", "as_group", "request_timeout", "istio_namespace")
WAYS = ("via", "debug_image", "debug_namespace", "yes")
"""The shared options that name a recording, a cluster, and a way into a pod's node: for `without`."""


def group(help: str) -> typer.Typer:
    """A group of commands."""
    return typer.Typer(
        cls=Group,
        help=help,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )


def _merged(before: Invocation, after: dict[str, Any]) -> Invocation:
    given = {key: value for key, value in after.items() if value is not None and value != []}
    taken_back = {_REPLACED_BY[key]: None for key in given if key in _REPLACED_BY and _REPLACED_BY[key] not in given}
    return replace(before, **taken_back, **given)


def _format(asked: str | None, outputs: Sequence[str]) -> str:
    if asked is None:
        return outputs[0]
    if asked not in outputs:
        raise BadInput(f"there is no output format '{asked}' here", hint=f"use one of: {', '.join(outputs)}")
    return asked


assert {f.name for f in fields(Invocation)} == set(SHARED)

"""``meshctl trace``: what will happen to a request."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from meshctl.cli import options
from meshctl.cli.options import Invocation, completer
from meshctl.cli.show import show
from meshctl.errors import BadInput, ExitCode

if TYPE_CHECKING:
    from meshctl.path.model import Trace
    from meshctl.path.observed import Observation
    from meshctl.path.scene import Scene
    from meshctl.sources.world import World

_LAST_ID = 0xFFFFFFFE
"""Of users and groups: the kernel takes the next one for none (``(uid_t) -1``)."""
app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)

_EXAMPLES = """
  meshctl --demo trace reviews:9080
  meshctl trace http://reviews:9080/reviews/0 --from deploy/productpage-v1 --header end-user=jason
  meshctl trace grpc://cart:7070/shop.Cart/Add --from deploy/frontend
  meshctl trace productpage:9080 --from ingress --host bookinfo.example.com --path /productpage
  meshctl trace reviews:9080 -n bookinfo --expect 'status=200,cluster=outbound|9080|v1|*,mtls'
  meshctl trace -A -o json
"""

To = Annotated[
    str | None,
    typer.Argument(
        metavar="SERVICE[.NS]:PORT|URL",
        help="What is called.",
        show_default=False,
        autocompletion=completer("services"),
    ),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="POD|deploy/x|ingress",
        help="Who calls; else the pod that is seen to call it most often.",
        autocompletion=completer("callers"),
    ),
]
Path = Annotated[
    str | None, typer.Option("--path", metavar="/PATH", help="The path of the request; else that of the URL, else /.")
]
Method = Annotated[
    str | None, typer.Option("--method", "-X", metavar="METHOD", help="The method of the request; else GET.")
]
Headers = Annotated[
    list[str] | None, typer.Option("--header", "-H", metavar="NAME=VALUE", help="A header of the request (repeatable).")
]
Host = Annotated[
    str | None, typer.Option("--host", metavar="HOST", help="The Host header, not the name in TLS; else the target.")
]
Sni = Annotated[
    str | None,
    typer.Option(
        "--sni", metavar="NAME", help="The server name of its TLS; else that of the URL, none for an address."
    ),
]
Uid = Annotated[
    int | None,
    typer.Option(
        "--uid",
        metavar="UID",
        min=0,
        max=_LAST_ID,
        help="As which user it is sent; else as the container's processes run.",
    ),
]
Gid = Annotated[
    int | None, typer.Option("--gid", metavar="GID", min=0, max=_LAST_ID, help="As which group it is sent.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Leave with 10 where the outcome cannot be told, too.")]
Expect = Annotated[
    str | None,
    typer.Option(
        "--expect",
        metavar="EXPR",
        help="Leave with 10 unless the prediction is this: status=503,flags=UF, also cluster, route, pod ...",
    ),
]
Probe = Annotated[bool, typer.Option("--probe", help="Really send it (live only), and show what happened beside it.")]
All = Annotated[
    str | None,
    typer.Option(
        "--all",
        metavar="NS",
        help="Every caller of a namespace to every service.",
        autocompletion=completer("namespaces"),
    ),
]


@options.command(app, "trace", outputs=("text", "wide", "json", "yaml", "mermaid", "svg", "html"), examples=_EXAMPLES)
def trace(
    call: Invocation,
    target: To = None,
    sender: From = None,
    path: Path = None,
    method: Method = None,
    header: Headers = None,
    host: Host = None,
    sni: Sni = None,
    uid: Uid = None,
    gid: Gid = None,
    strict: Strict = False,
    expect: Expect = None,
    every: All = None,
    probe: Probe = False,
) -> None:
    """Predict the whole path of a request and how it ends, with the evidence for each step."""
    if target is not None and every is not None:
        raise BadInput("a target and --all exclude each other", hint="--all NS is every caller to every service")
    if target is None and (probe or expect is not None):
        raise BadInput(f"{'--probe' if probe else '--expect'} is about one request", hint="name a target: reviews:9080")
    if target is None:
        return _matrix(call, every, strict)
    from meshctl.gather.prediction import predict
    from meshctl.gather.question import Asked
    from meshctl.gather.scope import Scope
    from meshctl.path import expect as expectations
    from meshctl.path import trace as path_trace
    from meshctl.views import trace as view
    from meshctl.views import trace_document

    world = call.world()
    asked = Asked(
        target=target,
        sender=sender,
        path=path,
        method=method,
        headers=tuple(header or ()),
        host=host,
        sni=sni,
        uid=uid,
        gid=gid,
    )
    scene, found = predict(world, asked, Scope(call.namespace))
    met = expectations.judge(expect, found) if expect is not None else None
    observed = _sent(world, scene, found, uid, gid) if probe else None
    show(
        call,
        lambda: trace_document.document(found, met, observed),
        lambda: view.page(found, met, observed, wide=call.output == "wide"),
        code=_code(path_trace.verdict(found), strict, met.met if met else None, observed),
    )
    return None


def _sent(world: "World", scene: "Scene", found: "Trace", uid: int | None, gid: int | None) -> "Observation":
    """Send the request from the caller's container, and read what the proxies logged of it."""
    from meshctl.gather import probe

    return probe.send(world, scene, found, uid, gid)


def _code(succeeds: bool | None, strict: bool, met: bool | None, observed: "Observation | None" = None) -> int:
    """What was seen decides over what was predicted: 10 where they differ; 4 or 5 where nothing could be sent."""
    if observed is not None and not observed.sent:
        return ExitCode.NO_ACCESS if observed.denied else ExitCode.UNAVAILABLE
    if observed is not None and observed.agrees is False:
        return ExitCode.FINDINGS
    if observed is not None and succeeds is None:
        succeeds = observed.succeeded
    if met is not None:
        return ExitCode.OK if met else ExitCode.FINDINGS
    if succeeds is None:
        return ExitCode.FINDINGS if strict else ExitCode.OK
    return ExitCode.OK if succeeds else ExitCode.FINDINGS


def _progress() -> Callable[[int, int], None] | None:
    """A line on stderr that says how far it is; nothing where stderr is no terminal."""
    if not sys.stderr.isatty():
        return None

    def tick(done: int, total: int) -> None:
        if done == total or done % 50 == 0:
            bar = "#" * (done * 30 // max(total, 1))
            sys.stderr.write(f"\r{bar:<30} {done}/{total}" if done < total else "\r" + " " * 60 + "\r")
            sys.stderr.flush()

    return tick


def _matrix(call: Invocation, namespace: str | None, strict: bool) -> None:
    if namespace is None and not call.all_namespaces:
        raise BadInput("trace what?", hint="name a target (reviews:9080), or use --all NS or -A for every pair")
    from meshctl.gather import matrix as gather
    from meshctl.views import matrix as view

    found = gather.matrix(call.world(), namespace, _progress())
    show(call, lambda: view.document(found), lambda: view.page(found), code=_code(found.verdict, strict, None))

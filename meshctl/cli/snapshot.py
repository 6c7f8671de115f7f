"""``meshctl snapshot``: record, show, compare and serve recordings."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from meshctl.cli.options import CLUSTER, RECORDINGS, WAYS, Invocation, command, completer, group
from meshctl.cli.show import emit, say, show
from meshctl.errors import BadInput, ExitCode
from meshctl.words import counted

if TYPE_CHECKING:
    from meshctl.sources.record import Plan, Recorded
    from meshctl.sources.world import World

app = group("Record, show, compare and serve recordings.")

Path_ = Annotated[str | None, typer.Argument(metavar="PATH", help="A directory or .tar.gz; else --snapshot, --demo.")]


@command(
    app,
    "record",
    without=("output",),
    examples="  meshctl snapshot record -n shop -o shop.tar.gz\n"
    "  meshctl snapshot record -A --redact ips -o share.tar.gz\n"
    "  sudo meshctl snapshot record productpage-v1-68bb77d8cf-ws7df -o pod.tar.gz",
)
def record(
    call: Invocation,
    pods: Annotated[
        list[str] | None,
        typer.Argument(metavar="POD", help="Only these pods' parts.", autocompletion=completer("pods")),
    ] = None,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="A .tar.gz, or a directory.")] = "",
    redact: Annotated[
        Literal["ips"] | None, typer.Option("--redact", help="Also replace IP addresses, consistently.")
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option("--also", metavar="NS", help="One more namespace.", autocompletion=completer("namespaces")),
    ] = None,
    parallel: Annotated[int, typer.Option("--parallel", min=1, max=32, help="Pods to read at the same time.")] = 4,
) -> None:
    """Record objects, rules, proxies and logs; Secrets are never read, what looks like a credential is taken out."""
    from meshctl.sources.record import record as write

    if not output:
        raise BadInput("no file is named", hint="-o FILE.tar.gz")
    world = call.world()
    plan = _plan(call, world, Path(output), tuple(pods or ()), tuple(also or ()), bool(redact), parallel)
    try:
        with _progress() as progress:
            done = write(world, plan, Path(output), progress)
    except KeyboardInterrupt:
        say(f"what was recorded stays in {output}.partial: run the same command to go on, or remove it")
        raise
    _summary(done)
    emit(done.path)


def _plan(
    call: Invocation,
    world: "World",
    target: Path,
    pods: tuple[str, ...],
    also: tuple[str, ...],
    addresses: bool,
    parallel: int,
) -> "Plan":
    from meshctl.gather import pods as find
    from meshctl.sources.record import Plan

    name = target.name.removesuffix(".gz").removesuffix(".tgz").removesuffix(".tar")
    find.demand_namespaces(world, [*([call.namespace] if call.namespace else []), *also])
    scope = call.scope()
    found = [find.one(world, text, scope) for text in pods]
    named = tuple(dict.fromkeys((*(pod.namespace for pod in found), *also)))
    own = (call.namespace or world.default_namespace() or "default",) if not found else ()
    return Plan(
        name=name,
        namespaces=None if call.all_namespaces else (*own, *named),
        pods=tuple((pod.namespace, pod.name) for pod in found) if found else None,
        root_namespace=world.root_namespace(),
        redact_addresses=addresses,
        parallel=parallel,
    )


@contextmanager
def _progress() -> "Iterator[Callable[[str, int, int], None]]":
    """A bar on a terminal, silence elsewhere."""
    import sys

    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)


def _summary(done: "Recorded") -> None:
    resumed = f"{counted(done.resumed, 'file')} {'was' if done.resumed == 1 else 'were'}"
    again = f", {resumed} there from before" if done.resumed else ""
    say(f"{counted(done.pods, 'pod')}, {counted(done.files, 'file')}{again}")
    taken = ", ".join(f"{what}: {count}" for what, count in sorted(done.redactions.items()) if count)
    say(f"taken out: {taken or 'nothing that looks like a credential was found'}")
    say("look through it before you share it: a password where nothing says so (-p WORD, a log line) is not found")
    if done.left_out:
        reasons = dict.fromkeys(why for _, why in done.left_out)
        say(f"left out: {counted(len(done.left_out), 'part')} (`meshctl snapshot show {done.path}` lists why)")
        for why in list(reasons)[:5]:
            say(f"  {why}")


_OF_OTHERS = (*CLUSTER, *WAYS, "namespace", "all_namespaces", "selector", "runtime")
"""What a recording that is named by its path has no use for."""


@command(
    app,
    "show",
    outputs=("text", "wide", "json", "yaml"),
    without=_OF_OTHERS,
    examples="  meshctl --demo snapshot show\n  meshctl snapshot show shop.tar.gz",
)
def show_(call: Invocation, path: Path_ = None) -> None:
    """Say what a recording holds, when and of what it was taken, and what was left out."""
    from meshctl.gather import recordings
    from meshctl.views import snapshot as view

    found = recordings.contents(recordings.snapshot_of(_opened(call, path)))
    show(call, lambda: view.contents_document(found), lambda: view.contents_page(found))


def _opened(call: Invocation, path: str | None) -> "World":
    from meshctl.sources.snapshot import open_snapshot

    if path and (call.snapshot or call.demo):
        raise BadInput("a PATH and --snapshot or --demo exclude each other")
    return open_snapshot(path) if path else call.world()


@command(
    app,
    "diff",
    outputs=("text", "json", "yaml"),
    examples="  meshctl snapshot diff before.tar.gz after.tar.gz",
    without=(*RECORDINGS, *_OF_OTHERS),
)
def diff(
    call: Invocation,
    before: Annotated[str, typer.Argument(metavar="BEFORE", help="A recording.")],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="A later one.")],
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Leave with 10 where anything changed.")] = False,
) -> None:
    """Compare two recordings: pods, packet rules, proxy configuration, mesh resources."""
    from meshctl.gather import recordings
    from meshctl.sources.snapshot import open_snapshot
    from meshctl.views import snapshot as view

    found = recordings.compare(open_snapshot(before), open_snapshot(after))
    code = ExitCode.FINDINGS if exit_code and found.changes else ExitCode.OK
    show(call, lambda: view.diff_document(found), lambda: view.diff_page(found), code=code)


@command(
    app,
    "serve",
    without=("output", *_OF_OTHERS),
    examples="  meshctl snapshot serve shop.tar.gz --port 8001\n  kubectl --server http://127.0.0.1:8001 get pods -A",
)
def serve(
    call: Invocation,
    path: Path_ = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="On 127.0.0.1; 0 takes a free one.")] = 0,
) -> None:
    """Serve a recording as a read-only Kubernetes API on this machine, for kubectl, k9s and meshctl itself."""
    from meshctl.gather import recordings
    from meshctl.sources.serve import SnapshotServer

    server = SnapshotServer(recordings.snapshot_of(_opened(call, path)), port)
    emit(server.url)
    say(f"try: kubectl --server {server.url} get pods -A     (Ctrl-C ends it)")
    try:
        server.serve_forever()
    finally:
        server.server_close()

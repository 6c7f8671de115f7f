"""``meshctl iptables watch``: which rules count, live or between two recordings. Registered by cli/iptables.py."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from meshctl.cli.options import Invocation, PodArgument, command
from meshctl.errors import BadInput

if TYPE_CHECKING:
    from meshctl.netfilter.counters import Movements
    from meshctl.netfilter.model import Ruleset
    from meshctl.sources.world import World

Pid = Annotated[int | None, typer.Option("--pid", metavar="PID", help="Watch this process's network namespace (root).")]
Interval = Annotated[float, typer.Option("--interval", metavar="SECONDS", help="Time between two readings.")]
Count = Annotated[int | None, typer.Option("--count", metavar="N", help="Leave after N readings; else Ctrl-C ends it.")]
Until = Annotated[
    str | None, typer.Option("--until", metavar="PATH", help="A later recording to compare --snapshot with.")
]


def register(app: typer.Typer) -> None:
    """Add the command to the group."""
    command(
        app,
        "watch",
        examples="  meshctl iptables watch productpage --interval 2\n"
        "  sudo meshctl iptables watch --pid 4711 --count 5\n"
        "  meshctl --snapshot before.tar.gz iptables watch productpage --until after.tar.gz",
    )(watch)


def watch(
    call: Invocation,
    pod: PodArgument = None,
    pid: Pid = None,
    interval: Interval = 1.0,
    count: Count = None,
    until: Until = None,
) -> None:
    """Show which rules counted since the start, and how many packets a second; no counter is set to zero."""
    if interval <= 0 or (count is not None and count < 1):
        raise BadInput("--interval and --count must be positive")
    if pid is not None:
        if pod is not None or until is not None:
            raise BadInput("--pid, POD and --until exclude each other")
        _live(call, f"process {pid}", lambda: _of_process(pid), interval, count)
        return
    world = call.world()
    if until is not None:
        _compare(call, world, replace(call, snapshot=until, demo=None).world(), pod)
        return
    if not world.live:
        raise BadInput("a recording does not move", hint="name a later recording of the same pod with --until PATH")
    namespace, name = _pod(call, world, pod)
    _live(call, f"{name}.{namespace}", lambda: _of_pod(world, namespace, name), interval, count)


def _pod(call: Invocation, world: "World", text: str | None) -> tuple[str, str]:
    from meshctl.gather import pods

    found = pods.one(world, text, call.scope())
    return found.namespace, found.name


def _of_pod(world: "World", namespace: str, name: str) -> "Sequence[Ruleset]":
    from meshctl.gather import netns

    return netns.of_pod(world, namespace, name).rulesets


def _of_process(pid: int) -> "Sequence[Ruleset]":
    from meshctl.gather import netns
    from meshctl.sources import netns as namespaces

    return netns.of_parts(namespaces.collect(pid)).rulesets


def _compare(call: Invocation, first: "World", second: "World", pod: str | None) -> None:
    """Two recordings of one pod."""
    from meshctl.netfilter.counters import between

    namespace, name = _pod(call, first, pod)
    seconds = (second.now() - first.now()).total_seconds()
    if seconds < 0:
        raise BadInput(
            f"{second.name} is older than {first.name}", hint="--snapshot is the first one, --until the later"
        )
    before, after = _of_pod(first, namespace, name), _of_pod(second, namespace, name)
    _show(call, between(before, after, seconds or None), f"{name}.{namespace}")


def _live(
    call: Invocation, subject: str, read: "Callable[[], Sequence[Ruleset]]", interval: float, count: int | None
) -> None:
    """Read again and again; each page shows what happened since the first reading."""
    from meshctl.netfilter.counters import between

    first, began = read(), time.monotonic()
    rounds = 0
    while count is None or rounds < count:
        time.sleep(interval)
        rounds += 1
        now = read()
        if rounds > 1 and call.output == "text" and sys.stdout.isatty():
            sys.stdout.write("\x1b[H\x1b[2J")
        _show(call, between(first, now, time.monotonic() - began), subject, lines=count != 1)


def _show(call: Invocation, result: "Movements", subject: str, *, lines: bool = False) -> None:
    from meshctl.cli.show import emit, show
    from meshctl.views import watch as view

    if lines and call.output == "json":
        from meshctl.render.document import to_json_line

        emit(to_json_line(view.document(result, subject)))
        return
    show(call, lambda: view.document(result, subject), lambda: view.page(result, subject))

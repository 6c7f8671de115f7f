"""``meshctl why``: what a status, a flag, an access-log line or the id of a finding means."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from meshctl.cli import options
from meshctl.cli.options import Invocation, completer
from meshctl.cli.show import show
from meshctl.errors import BadInput

if TYPE_CHECKING:
    from meshctl.path.why import Reading
    from meshctl.path.why_here import Here

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)

_EXAMPLES = """
  meshctl why 503 UF,URX
  meshctl why UH --snapshot broken.tar.gz
  meshctl why MC201
  meshctl why '[2026-01-01T00:00:00.000Z] "GET / HTTP/1.1" 503 UC ...' --pod deploy/productpage-v1
  kubectl logs deploy/productpage-v1 -c istio-proxy | tail -20 | meshctl why -
"""

Words = Annotated[
    list[str],
    typer.Argument(metavar="STATUS|FLAGS|LINE|ID...", help="What was seen; - reads it (or many lines) from stdin."),
]
PodOption = Annotated[
    str | None,
    typer.Option("--pod", metavar="POD", help="Say which cause it is for this pod.", autocompletion=completer("pods")),
]


@options.command(app, "why", outputs=("text", "json", "yaml"), examples=_EXAMPLES)
def why(call: Invocation, words: Words, pod: PodOption = None) -> None:
    """Put a status, response flags, an access-log line or a finding's id into plain words, with causes and cures."""
    from meshctl.path import why as meanings
    from meshctl.path.flags import FLAGS
    from meshctl.views import why as view

    readings = meanings.read_all(tuple(_given(words)))
    reading = readings[0]
    if not reading.meanings and not reading.unknown and reading.log is None:
        raise BadInput(
            f"'{' '.join(words)}' is no status, flag or access-log line", hint="for example: meshctl why 503 UF,URX"
        )
    if not reading.meanings and reading.log is None:
        _explain(call, reading.unknown, f"a status is 100 to 599; flags are: {', '.join(sorted(FLAGS))}")
        return
    found = [(each, _here(call, each, pod) if each.failed or each is reading else ()) for each in readings]
    show(call, lambda: view.document(found), lambda: view.page(found))


def _explain(call: Invocation, words: Sequence[str], hint: str) -> None:
    """Show what ids of findings mean. Raises BadInput for other words."""
    from meshctl.checks.explained import explained
    from meshctl.sources import shipped
    from meshctl.views import explained as view

    known = {id.upper(): one for id, one in explained(shipped.findings()).items()}
    strange = [word for word in words if word.upper() not in known]
    if strange:
        raise BadInput(f"'{' '.join(strange)}' is not known", hint=hint)
    found = [known[word.upper()] for word in words]
    show(call, lambda: view.document(found), lambda: view.page(found))


def _given(words: list[str]) -> list[str]:
    if words != ["-"]:
        return words
    import sys

    return [sys.stdin.read().strip()]


def _here(call: Invocation, reading: "Reading", pod: str | None) -> "tuple[Here, ...]":
    """What a named world says; the words alone need none."""
    if not (pod or call.snapshot or call.demo or call.context or os.environ.get("MESHCTL_SNAPSHOT")):
        return ()
    from meshctl.gather import why as gather
    from meshctl.gather.scope import Scope

    return gather.here(call.world(), reading, pod, Scope(call.namespace))

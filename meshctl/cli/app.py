"""The command line's root: which commands there are, and the one boundary that turns errors into words and codes.

Command modules are imported when their command is called, so that ``meshctl --help`` costs next to nothing.
"""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from meshctl.cli import options
from meshctl.cli.lean import lean
from meshctl.cli.on_demand import built
from meshctl.errors import BadInput, ExitCode, MeshctlError, is_interrupt

COMMANDS = {
    "describe": ("meshctl.cli.describe", "What the mesh did to a pod, a service, a namespace or a manifest, and why"),
    "iptables": ("meshctl.cli.iptables", "A pod's packet rules: dump, explain, expect, diff, walk, watch"),
    "trace": ("meshctl.cli.trace", "What will happen to a request, hop by hop"),
    "proxy": ("meshctl.cli.proxy", "What a proxy was told: listeners, routes, clusters; and what it would decide"),
    "check": ("meshctl.cli.check", "Everything that is wrong with a pod or a namespace, worst first"),
    "why": ("meshctl.cli.why", "What a status, a response flag or an access-log line means, and its usual causes"),
    "pod": ("meshctl.cli.pod", "A pod's containers, processes and namespaces on this node"),
    "snapshot": ("meshctl.cli.snapshot", "Record, show, compare and serve recordings"),
    "doctor": ("meshctl.cli.doctor", "What is reachable from here, and by which way"),
    "debug-pods": ("meshctl.cli.debug_pods", "Remove what an interrupted meshctl left on a cluster"),
}


class Shell(TyperGroup):
    """The root group: loads a command when it is called, and is the error boundary (also under a test's runner)."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        lean(self)

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """Read the command line, which prints help and version, within the error boundary."""
        options.begin()
        with _boundary():
            return super().make_context(*args, **extra)

    def list_commands(self, _ctx: Any) -> list[str]:
        """The commands, most used first."""
        return list(COMMANDS)

    def get_command(self, _ctx: Any, cmd_name: str) -> Any:
        """Import the command's module, which has a Typer app named `app`."""
        if cmd_name not in COMMANDS:
            return None
        if cmd_name not in self.commands:
            loaded = import_module(COMMANDS[cmd_name][0])
            self.commands[cmd_name] = built(loaded.app)
            self.commands[cmd_name].name = cmd_name
        return self.commands[cmd_name]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is meant; one that is not there is told with the nearest ones, since none is loaded yet."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            from meshctl.refs import near_misses

            close = near_misses(args[0], tuple(COMMANDS))
            hint = f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(COMMANDS)}"
            raise BadInput(f"there is no command '{args[0]}'", hint=hint)
        return super().resolve_command(ctx, args)

    def format_commands(self, _ctx: Any, formatter: Any) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: Any) -> Any:
        """Run the command within the error boundary."""
        with _boundary():
            return super().invoke(ctx)


@contextmanager
def _boundary() -> Iterator[None]:
    """Say what went wrong in a line and a hint on stderr, and leave with its code."""
    try:
        yield
    except MeshctlError as error:
        if options.debugging():
            raise
        typer.echo(f"error: {error}", err=True)
        if error.hint:
            typer.echo(f"hint: {error.hint}", err=True)
        raise typer.Exit(error.exit_code) from error
    except BrokenPipeError as error:
        _silence(sys.stdout)
        raise typer.Exit(ExitCode.OK) from error
    except KeyboardInterrupt as error:
        typer.echo("interrupted", err=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from error
    except (typer.Exit, typer.Abort):
        raise
    except RecursionError as error:  # meshctl recurses over documents only, and only as deep as they are
        if options.debugging():
            raise
        typer.echo("error: the input is nested too deep to be read", err=True)
        raise typer.Exit(ExitCode.BAD_INPUT) from error
    except Exception as error:
        if is_interrupt(error):
            typer.echo("interrupted", err=True)
            raise typer.Exit(ExitCode.INTERRUPTED) from error
        if options.debugging() or _is_usage(error):
            raise
        if isinstance(error, PermissionError) and error.filename:
            typer.echo(f"error: {error.filename}: {error.strerror}", err=True)
            raise typer.Exit(ExitCode.NO_ACCESS) from error
        if isinstance(error, OSError) and error.errno in _NO_PLACE:
            name = str(error.filename)
            typer.echo(f"error: {name if len(name) < 80 else name[:60] + '...'}: {error.strerror}", err=True)
            raise typer.Exit(ExitCode.BAD_INPUT) from error
        if isinstance(error, OSError) and error.errno in _NO_OUTPUT and not error.filename:
            _silence(sys.stdout)
            typer.echo(f"error: the output cannot be written: {error.strerror}", err=True)
            raise typer.Exit(ExitCode.UNAVAILABLE) from error
        typer.echo(f"error: meshctl itself failed: {type(error).__name__}: {error}", err=True)
        typer.echo("hint: run it again with --debug for the traceback, and report it", err=True)
        raise typer.Exit(ExitCode.INTERNAL) from error


_NO_PLACE = (errno.ENAMETOOLONG, errno.ELOOP)
"""Of a path that no file can have, whoever asks for it."""
_NO_OUTPUT = (errno.ENOSPC, errno.EDQUOT, errno.EBADF)
"""Of an error that names no file: a full disk, or a stdout that was closed before meshctl began."""


def _is_usage(error: Exception) -> bool:
    """Typer's own usage errors know how to show themselves (exit 2); its vendored Click is not to be imported."""
    return hasattr(error, "exit_code") and hasattr(error, "format_message")


def _silence(stream: Any) -> None:
    """Point a closed pipe at nothing, so that the interpreter's last flush does not complain (Python docs, SIGPIPE)."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


app = typer.Typer(
    cls=Shell,
    name="meshctl",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Try it without a cluster: meshctl --demo trace reviews:9080",
)


@app.callback()
@options.at_the_root
def root(
    version: options.Version = False,
) -> None:
    """Show what a service mesh did to a pod, and what will happen to a request."""

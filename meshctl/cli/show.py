"""The last step of every command: draw a page, or write a document, in the format that was asked for."""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import typer

from meshctl.blocks import Page
from meshctl.cli.options import Invocation
from meshctl.errors import ExitCode

Document = Callable[[], Mapping[str, Any]]
Pager = Callable[[], Page]


def show(call: Invocation, document: Document, page: Pager, *, code: int = ExitCode.OK) -> None:
    """Write the result to stdout and leave with `code`; only the form that is asked for is made."""
    emit(_drawn(call, document, page), call.output or "text")
    if code:
        raise typer.Exit(code)


def emit(text: str, form: str = "text") -> None:
    """Write text to stdout, with one newline at its end, in what the encoding of the terminal or pipe has."""
    whole = text if text.endswith("\n") or not text else f"{text}\n"
    encoding = sys.stdout.encoding or "utf-8"
    if not whole.isascii() and encoding.lower().replace("-", "") not in ("utf8", "utf8sig"):
        whole = _in_encoding(whole, form, encoding)
    sys.stdout.write(whole.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


def _in_encoding(text: str, form: str, encoding: str) -> str:
    from meshctl.render import ascii as plain

    match form:
        case "json" | "sarif":
            return plain.escaped_json(text, encoding)
        case "yaml":
            return text
        case "html" | "svg":
            return plain.escaped_markup(text, encoding)
        case _:
            return plain.spoken(text, encoding)


def say(text: str) -> None:
    """Talk to the user on stderr."""
    typer.echo(text, err=True)


def _drawn(call: Invocation, document: Document, page: Pager) -> str:
    match call.output:
        case "json":
            from meshctl.render import document as documents

            return documents.to_json(document())
        case "yaml":
            from meshctl.render import document as documents

            return documents.to_yaml(document())
        case "mermaid":
            from meshctl.render import mermaid

            return mermaid.draw(page())
        case "svg":
            from meshctl.render import svg

            return svg.draw(page())
        case "html":
            from meshctl.render import html

            return html.draw(page())
        case _:
            from meshctl.render import terminal

            return terminal.draw(page(), width=width(call), color=color(call))


def width(call: Invocation) -> int:
    """The columns to draw in: --width, else COLUMNS, else the terminal's, else 100; wide output has no upper bound."""
    import shutil

    if call.width:
        return max(call.width, 40)
    columns = shutil.get_terminal_size((100, 24)).columns
    return max(columns, 40) if call.output == "wide" else min(max(columns, 40), 200)


def color(call: Invocation) -> bool:
    """Whether to colour: not for pipes, NO_COLOR, --no-color or a dumb terminal; FORCE_COLOR turns it on for pipes."""
    if call.color is False or os.environ.get("TERM") == "dumb":
        return False
    return bool(os.environ.get("FORCE_COLOR")) or sys.stdout.isatty()

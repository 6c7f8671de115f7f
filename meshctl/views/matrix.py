"""The matrix of callers and services as a document (``meshctl.trace-matrix/v1``) and as a page."""

import re

from meshctl.blocks import Block, Column, Heading, Line, Note, Page, Span, Style, Table, Text
from meshctl.path.matrix import Cell, Matrix
from meshctl.path.model import succeeds
from meshctl.views import outcome
from meshctl.words import counted

SCHEMA = "meshctl.trace-matrix/v1"
_MOST_COLUMNS = 12


def document(found: Matrix) -> dict[str, object]:
    """Callers, targets, and a cell for each pair with the outcome as in ``meshctl.trace/v1``."""
    return {
        "schema": SCHEMA,
        "callers": [{"workload": r.name, "namespace": r.namespace, "pod": r.pod} for r in found.rows],
        "targets": [{"service": c.name, "namespace": c.namespace, "port": c.port} for c in found.columns],
        "cells": [
            {
                "from": {"pod": cell.row.pod, "workload": cell.row.name, "namespace": cell.row.namespace},
                "to": {"service": cell.column.name, "namespace": cell.column.namespace, "port": cell.column.port},
                "outcome": outcome.document(cell.outcome),
            }
            for cell in found.cells
        ],
    }


def page(found: Matrix) -> Page:
    """A table, then what fails and why, each reason once."""
    spaces = {c.namespace for c in found.columns} | {r.namespace for r in found.rows}
    several = len(spaces) > 1
    title = f"{counted(len(found.rows), 'caller')}, {counted(len(found.columns), 'service port')}"
    blocks: list[Block] = [Heading(title, 1)]
    cells = {(cell.row, cell.column): cell for cell in found.cells}
    if not found.rows or not found.columns:
        blocks.append(Text("There is nothing to trace: no running pod, or no Service."))
    elif len(found.columns) <= _MOST_COLUMNS:
        heads = tuple(Column(_name(c.name, c.namespace, several) + f":{c.port}", keep=5) for c in found.columns)
        rows: tuple[tuple[Line, ...], ...] = tuple(
            (_name(row.name, row.namespace, several), *(_cell(cells[(row, column)]) for column in found.columns))
            for row in found.rows
        )
        blocks.append(Table((Column("from \\ to", keep=9), *heads), rows))
    else:
        blocks.append(_long(found, several))
    blocks += _reasons(found)
    return Page("matrix", tuple(blocks))


def _name(name: str, namespace: str, several: bool) -> str:
    return f"{name}.{namespace}" if several else name


def _cell(cell: Cell) -> Span:
    end = cell.outcome.end
    verdict = succeeds(end)
    style: Style = "warn" if verdict is None else ("good" if verdict else "bad")
    share = cell.outcome.branches[0].probability if cell.outcome.branches else 1.0
    mixed = "" if share > 0.999 or _alike(cell) else f" {share:.0%}"
    if end.delivered:
        return Span(f"✓ {'mTLS' if end.mtls == 'mutual' else 'plain'}{mixed}", style)
    if end.undecided:
        return Span(f"?{mixed}", style)
    flags = f" {end.flags}" if end.flags else ""
    word = str(end.status) if end.status is not None else end.broken
    return Span(f"{word}{flags}{mixed}", style)


def _alike(cell: Cell) -> bool:
    return len({(b.end.status, b.end.flags, b.end.delivered, b.end.broken) for b in cell.outcome.branches}) == 1


def _long(found: Matrix, several: bool) -> Table:
    columns = (Column("from", keep=9), Column("to", keep=8), Column("ends", keep=7))
    rows: list[tuple[Line, ...]] = []
    for row in found.rows:
        groups: dict[str, tuple[Span, list[str]]] = {}
        for cell in found.cells:
            if cell.row == row:
                span = _cell(cell)
                name = f"{_name(cell.column.name, cell.column.namespace, several)}:{cell.column.port}"
                groups.setdefault(span.text, (span, []))[1].append(name)
        for span, names in groups.values():
            listed = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
            rows.append((_name(row.name, row.namespace, several), listed, span))
    return Table(columns, tuple(rows))


def _reasons(found: Matrix) -> list[Block]:
    """Why cells fail or cannot be told; what is the same but for the callee's name is said once."""
    reasons: dict[str, list[Cell]] = {}
    for cell in found.cells:
        if not succeeds(cell.outcome.end):
            reasons.setdefault(_of_any(cell), []).append(cell)
    notes: list[Block] = []
    for why, cells in list(reasons.items())[:20]:
        pairs = [f"{cell.row.name} → {cell.column.name}:{cell.column.port}" for cell in cells]
        listed = ", ".join(pairs[:4]) + (f" and {len(pairs) - 4} more" if len(pairs) > 4 else "")
        own = {cell.outcome.end.why for cell in cells}
        unsure = any(succeeds(cell.outcome.end) is None for cell in cells)
        notes.append(Note(own.pop() if len(own) == 1 else why, "warn" if unsure else "bad", (listed,)))
    if len(reasons) > 20:
        notes.append(Text(f"and {len(reasons) - 20} more reasons; -o json has all"))
    return notes


def _of_any(cell: Cell) -> str:
    """The reason with SERVICE in place of the callee's name."""
    name, namespace = re.escape(cell.column.name), re.escape(cell.column.namespace)
    named = rf"(?<![\w.-])(?:{name}(?=\.{namespace}\b)|(?<={namespace}/){name}(?![\w-])|(?<=Service ){name}(?![\w-]))"
    return re.sub(named, "SERVICE", cell.outcome.end.why)

"""Recordings: ``meshctl.snapshot-contents/v1``, ``meshctl.snapshot-diff/v1`` and their pages."""

from typing import Any

from meshctl.blocks import Block, Column, Facts, Heading, Line, Node, Note, Page, Span, Style, Table, Text, Tree
from meshctl.reports import Changes, Contents

CONTENTS = "meshctl.snapshot-contents/v1"
DIFF = "meshctl.snapshot-diff/v1"
_AREAS = {
    "pods": "Pods",
    "rules": "Packet rules",
    "proxy": "Proxy configuration",
    "mesh": "Mesh resources",
    "resources": "Other resources",
}


def contents_document(found: Contents) -> dict[str, Any]:
    """What is in a recording."""
    return {
        "schema": CONTENTS,
        "name": found.name,
        "captured_at": found.captured_at,
        "namespaces": list(found.namespaces),
        "versions": dict(found.versions),
        "resources": dict(found.resources),
        "pods": [{"namespace": p.namespace, "name": p.name, "parts": dict(p.parts)} for p in found.pods],
        "nodes": list(found.nodes),
        "redactions": dict(found.redactions),
        "left_out": [{"why": why, "count": count} for why, count in found.left_out],
    }


def contents_page(found: Contents) -> Page:
    """When it was taken, of what, and what it lacks."""
    rows: list[tuple[str, Line]] = [
        ("taken at", found.captured_at),
        ("namespaces", ", ".join(found.namespaces) or "-"),
        ("versions", ", ".join(f"{what} {version}" for what, version in found.versions) or "-"),
        ("nodes with own rules", ", ".join(found.nodes) or "none"),
    ]
    if found.redactions:
        rows.append(("taken out", ", ".join(f"{what}: {count}" if count else what for what, count in found.redactions)))
    folders = sorted({part for pod in found.pods for part, _ in pod.parts})
    columns = (Column("pod", keep=9), Column("namespace", keep=8), *(Column(f, right=True) for f in folders))
    pods: tuple[tuple[Line, ...], ...] = tuple(
        (Span(pod.name, "name"), pod.namespace, *(str(dict(pod.parts).get(folder, "-")) for folder in folders))
        for pod in found.pods
    )
    resources = ", ".join(f"{name}: {count}" for name, count in found.resources)
    blocks: list[Block] = [Heading(f"Recording {found.name}", 1), Facts(tuple(rows))]
    blocks += [Heading("Resources"), Text(resources or "none")]
    blocks += [Heading("Pods with parts of their own (number of files)"), Table(columns, pods)]
    if found.left_out:
        blocks.append(Heading("What was left out"))
        blocks += [Note((f"{count} x ", why), "info") for why, count in found.left_out]
    return Page(f"Recording {found.name}", tuple(blocks))


def diff_document(found: Changes) -> dict[str, Any]:
    """Every difference."""
    return {
        "schema": DIFF,
        "before": found.before,
        "after": found.after,
        "same": not found.changes,
        "changes": [
            {"area": c.area, "subject": c.subject, "kind": c.kind, "details": list(c.details)} for c in found.changes
        ],
        "not_compared": list(found.gaps),
    }


def diff_page(found: Changes) -> Page:
    """The differences by area."""
    blocks: list[Block] = [Heading((f"From {found.before}", Span(f" to {found.after}", "dim")), 1)]
    if not found.changes:
        blocks.append(Note("nothing changed in what both have", "good"))
    for area, title in _AREAS.items():
        changes = [c for c in found.changes if c.area == area]
        if changes:
            roots = tuple(
                Node((Span(*_mark(c.kind)), " ", Span(c.subject, "name")), tuple(Node(detail) for detail in c.details))
                for c in changes
            )
            blocks += [Heading(f"{title} ({len(changes)})"), Tree(roots)]
    blocks += [Note(f"not compared: {gap}", "info") for gap in found.gaps]
    return Page(f"{found.before} -> {found.after}", tuple(blocks))


def _mark(kind: str) -> tuple[str, Style]:
    match kind:
        case "added":
            return "added", "good"
        case "removed":
            return "removed", "bad"
        case _:
            return "changed", "warn"

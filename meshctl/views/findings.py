"""Findings: the document ``meshctl.findings/v1``, SARIF 2.1.0, and the list that `check` shows."""

from collections.abc import Iterable, Sequence
from typing import Any

from meshctl.blocks import Block, Heading, Line, Note, Page, Span, Text
from meshctl.checks.finding import Finding
from meshctl.words import counted

SCHEMA = "meshctl.findings/v1"


def document(findings: Sequence[Finding], looked_at: Sequence[str] = ()) -> dict[str, Any]:
    """All findings, worst first; `looked_at` names the pods that were judged."""
    return {
        "schema": SCHEMA,
        "findings": [
            {
                "id": f.id,
                "severity": f.severity,
                "subject": f.subject,
                "text": f.text,
                "evidence": f.evidence,
                "fix": f.fix,
                "docs": f.docs,
            }
            for f in findings
        ],
        "looked_at": list(looked_at),
        "counts": {s: sum(1 for f in findings if f.severity == s) for s in ("error", "warning", "info")},
    }


_LEVELS = {"error": "error", "warning": "warning", "info": "note"}


def sarif(findings: Sequence[Finding], titles: Iterable[tuple[str, str]], version: str) -> dict[str, Any]:
    """The findings as SARIF 2.1.0 (OASIS), which code hosts show; subjects are logical locations."""
    used = {f.id for f in findings}
    known = dict(titles)
    rules = [
        {"id": id, "shortDescription": {"text": known.get(id, id)}, "helpUri": f"docs/findings.md#{id.lower()}"}
        for id in sorted(used)
    ]
    results = [
        {
            "ruleId": f.id,
            "level": _LEVELS[f.severity],
            "message": {"text": f.text + (f" Fix: {f.fix}." if f.fix else "")},
            "locations": [
                {
                    "physicalLocation": {"artifactLocation": {"uri": f.subject}},
                    "logicalLocations": [{"fullyQualifiedName": f.subject, "kind": "resource"}],
                }
            ],
            "properties": {"evidence": f.evidence},
        }
        for f in findings
    ]
    driver = {"name": "meshctl", "version": version, "rules": rules}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }


def titles() -> list[tuple[str, str]]:
    """Every id that meshctl can find, with its title."""
    from meshctl.checks import drifted, mesh_wide, traced
    from meshctl.checks.registry import CHECKS

    told = [*((c.ID, c.TITLE) for c in CHECKS), (drifted.ID, drifted.TITLE)]
    return [*told, *mesh_wide.TITLES.items(), *traced.TITLES.items(), *drifted.REMARKS.items()]


def sarif_text(findings: Sequence[Finding]) -> str:
    """The SARIF document as text, with every check that could have found something named."""
    import json

    from meshctl import __version__

    return json.dumps(sarif(findings, titles(), __version__), indent=2, ensure_ascii=False)


_MOOD: dict[str, Any] = {"error": "bad", "warning": "warn", "info": "info"}


def page(findings: Sequence[Finding], looked_at: Sequence[str] = (), gaps: Sequence[str] = ()) -> Page:
    """The list, worst first, each with its evidence and what to do."""
    counts = {s: sum(1 for f in findings if f.severity == s) for s in ("error", "warning", "info")}
    words = {"error": "error", "warning": "warning", "info": "remark"}
    said = ", ".join(counted(counts[key], word) for key, word in words.items())
    where = f" on {looked_at[0] if len(looked_at) == 1 else counted(len(looked_at), 'pod')}"
    blocks: list[Block] = [Heading(f"{said}{where}", 1)]
    if not findings:
        blocks.append(Note("nothing is wrong as far as could be seen", "good"))
    title = ""
    for f in findings:
        if f.severity != title:
            title = f.severity
            blocks.append(Heading({"error": "Errors", "warning": "Warnings", "info": "Remarks"}[title]))
        more: list[Line] = []
        if f.evidence:
            more.append((Span("seen in: ", "dim"), f.evidence))
        if f.fix:
            more.append((Span("fix: ", "dim"), f.fix))
        blocks.append(
            Note((Span(f"{f.id} ", "dim"), Span(f.subject, "name"), f": {f.text}"), _MOOD[f.severity], tuple(more))
        )
    if gaps:
        blocks.append(Heading("Not looked at"))
        blocks += [Text(gap, 2) for gap in gaps]
    if findings:
        blocks.append(Text(Span("`meshctl why ID` explains an id; --ignore ID leaves one out.", "dim")))
    return Page("Findings", tuple(blocks))

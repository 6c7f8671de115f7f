"""Several pods or manifests at once: ``meshctl.describe-pods/v1``, and what differs between them."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from meshctl.blocks import Block, Column, Heading, Line, Note, Page, Span, Table, Text
from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.injection.description import Description
from meshctl.views import pod as pod_view
from meshctl.views import pod_document
from meshctl.words import counted

SCHEMA = "meshctl.describe-pods/v1"
Described: TypeAlias = tuple[Evidence, Sequence[Finding]]


def document(results: Sequence[Described]) -> dict[str, Any]:
    """One item a pod, in order."""
    return {
        "schema": SCHEMA,
        "items": [pod_document.document(*result) for result in results],
        "differences": [
            {"what": what, "values": [{"value": v, "pods": list(pods)} for v, pods in values]}
            for what, values in differences([r.description for r, _ in results])
        ],
    }


def document_of(results: Sequence[Described]) -> dict[str, Any]:
    """describe-pod for one pod, describe-pods for several."""
    return pod_document.document(*results[0]) if len(results) == 1 else document(results)


def differences(results: Sequence[Description]) -> list[tuple[str, list[tuple[str, list[str]]]]]:
    """The settings in which the pods differ, each with its values and the pods that have them."""
    summaries = [(r.pod.template_of or r.pod.name, pod_view.summary(r)) for r in results]
    found = []
    for key in summaries[0][1] if summaries else ():
        values: dict[str, list[str]] = {}
        for name, summary in summaries:
            values.setdefault(summary[key], []).append(name)
        if len(values) > 1:
            found.append((key, list(values.items())))
    return found


def page(results: Sequence[Described], *, wide: bool = False, title: str = "") -> Page:
    """A table of all, what differs, then each with what is wrong; the whole story where there is one pod only."""
    if len(results) == 1:
        return pod_view.page(*results[0], wide=wide)
    blocks: list[Block] = [Heading(title or counted(len(results), "pod"), 1), _table(results)]
    blocks += _differences([r.description for r, _ in results])
    for result, findings in results:
        if wide:
            blocks += pod_view.page(result, findings, wide=True).blocks
            continue
        for f in findings:
            blocks.append(_note(result, f))
    if not wide:
        blocks.append(Text("Describe one of them for everything about it; -o wide tells it of all."))
    return Page(title or counted(len(results), "pod"), tuple(blocks))


def page_for(output: str | None, results: Sequence[Described]) -> Page:
    """The page for an output format: the article for one pod as HTML, everything with wide."""
    if output == "html" and len(results) == 1:
        from meshctl.views import article

        return article.page(*results[0])
    return page(results, wide=output in ("wide", "html"))


def _note(result: Evidence, finding: Finding) -> Note:
    mood: Any = {"error": "bad", "warning": "warn", "info": "info"}[finding.severity]
    more: tuple[Line, ...] = (("fix: ", finding.fix),) if finding.fix else ()
    return Note((Span(result.pod.name, "name"), ": ", Span(f"{finding.id} ", "dim"), finding.text), mood, more)


def _mesh(found: Description) -> str:
    """How a pod is in the mesh; of a manifest, what becomes of it."""
    if found.injection.mode != "none" or found.pod.has_status:
        return found.injection.mode
    told = {"injected": "to be injected", "rejected": "to be rejected", "undecided": "undecided"}
    return told.get(found.decision.outcome, found.injection.mode)


def _table(results: Sequence[Described]) -> Table:
    rows: list[tuple[Line, ...]] = []
    for result, findings in results:
        worst = sum(1 for f in findings if f.severity == "error"), sum(1 for f in findings if f.severity == "warning")
        ready: Line = {True: Span("yes", "good"), False: Span("no", "bad"), None: Span("")}[result.pod.ready]
        if result.pod.deleted_at:
            ready = Span("being deleted", "warn")
        said = f"{counted(worst[0], 'error')}, {counted(worst[1], 'warning')}" if any(worst) else "-"
        name = result.pod.template_of or result.pod.name
        rows.append(
            (
                Span(name, "name"),
                result.pod.namespace,
                _mesh(result.description),
                result.description.injection.release.text or "-",
                ready,
                said,
            )
        )
    columns = (
        Column("pod", keep=9),
        Column("namespace", keep=3),
        Column("mesh", keep=8),
        Column("Istio"),
        Column("ready"),
        Column("findings"),
    )
    return Table(columns, tuple(rows))


def _differences(results: Sequence[Description]) -> list[Block]:
    found = differences(results)
    if not found:
        return [Text("They do not differ in their mesh settings.")]
    rows: list[tuple[Line, ...]] = []
    for what, values in found:
        for value, names in values:
            rows.append((what, Span(value or "(none)", "strong"), _names(names)))
            what = ""
    return [Heading("What differs"), Table((Column("setting", keep=8), Column("value"), Column("pods")), tuple(rows))]


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"

"""A namespace: ``meshctl.describe-namespace/v1`` and its page."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from meshctl.blocks import Block, Column, Facts, Heading, Line, Note, Page, Span, Style, Table, Text
from meshctl.checks.finding import RANK, Finding
from meshctl.checks.stories import NamespaceStory
from meshctl.views.pod_decision import tries_table
from meshctl.views.pod_document import decision_document

SCHEMA = "meshctl.describe-namespace/v1"
_LABELS = ("istio-injection", "istio.io/rev", "istio.io/dataplane-mode", "istio.io/use-waypoint")


def document(story: NamespaceStory) -> dict[str, Any]:
    """Its labels, the decision for a pod made now, and each pod in a line."""
    return {
        "schema": SCHEMA,
        "namespace": {"name": story.namespace.name, "labels": dict(story.namespace.labels)},
        "decision": decision_document(story.decision),
        "pods": [
            {
                "name": d.pod.name,
                "mode": d.description.injection.mode,
                "istio_version": d.description.injection.release.text or None,
                "revision": d.description.injection.revision or None,
                "would_be": d.description.decision.outcome,
                "because": d.description.decision.text,
                "findings": [f.id for f in findings],
            }
            for d, findings in story.pods
        ],
    }


def page(story: NamespaceStory) -> Page:
    """Whether its pods are injected and why, then the pods with what is different about them."""
    namespace, decision = story.namespace, story.decision
    rows: list[tuple[str, Line]] = [(key, namespace.labels.get(key, "not set")) for key in _LABELS]
    blocks: list[Block] = [Heading(f"Namespace {namespace.name}", 1), Facts(tuple(rows))]
    if namespace.labels.get("istio.io/dataplane-mode") == "ambient":
        blocks.append(
            Note("ambient: pods without a proxy of their own send their connections through the node's proxy (ztunnel)")
        )
    blocks += [Heading("A pod made here now, without labels of its own"), tries_table(decision.tries)]
    mood: Any = "good" if decision.outcome == "injected" else "info"
    blocks.append(Note((Span(decision.outcome, "strong"), f": {decision.text}"), mood, tuple(decision.remarks)))
    blocks += [Heading("Its pods"), _pods(story)] if story.pods else [Text("There are no pods here.")]
    return Page(f"Namespace {namespace.name}", tuple(blocks))


def _pods(story: NamespaceStory) -> Table:
    rows: list[tuple[Line, ...]] = []
    for d, findings in story.pods:
        said = (
            f"would be {d.description.decision.outcome} now"
            if (d.description.injection.receipt is not None) != (d.description.decision.outcome == "injected")
            and d.description.decision.outcome != "undecided"
            and d.description.injection.mode != "gateway"
            else ""
        )
        rows.append(
            (
                Span(d.pod.name, "name"),
                d.description.injection.mode,
                d.description.injection.release.text or "-",
                said,
                _ids(findings),
            )
        )
    columns = (Column("pod", keep=9), Column("mesh", keep=8), Column("Istio"), Column("remark"), Column("findings"))
    if any(row[3] for row in rows):
        return Table(columns, tuple(rows))
    return Table((*columns[:3], columns[4]), tuple((*row[:3], row[4]) for row in rows))


_TONES: dict[str, Style] = {"error": "bad", "warning": "warn", "info": "dim"}


def _ids(findings: Sequence[Finding]) -> Line:
    """Each id once, worst first, with how often it was found; remarks stand back."""
    counts = Counter((f.id, f.severity) for f in findings)
    shown: list[Span | str] = []
    for (id, severity), count in sorted(counts.items(), key=lambda item: RANK[item[0][1]]):
        shown += [", "] if shown else []
        shown.append(Span(id, _TONES[severity]))
        shown += [f" ({count})"] if count > 1 else []
    return tuple(shown) or "-"

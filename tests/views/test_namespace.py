"""The page of a namespace."""

from typing import Any

from meshctl.blocks import Line, Span, Table
from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding, Severity
from meshctl.checks.stories import NamespaceStory
from meshctl.views import namespace as view
from tests.injection import build


def words(line: Line) -> str:
    parts = line if isinstance(line, tuple) else (line,)
    return "".join(p.text if isinstance(p, Span) else p for p in parts)


def pods_table(raw: dict[str, Any], *findings: Finding, **subject: Any) -> tuple[list[str], list[str]]:
    """The titles of the columns and the cells of the only pod."""
    it = Evidence(description=build.described(raw, **subject))
    story = NamespaceStory(build.namespace(), it.description.decision, ((it, findings),), None)
    table = [b for b in view.page(story).blocks if isinstance(b, Table)][-1]
    columns = [words(c.title) for c in table.columns]
    return columns, [words(cell) for cell in table.rows[0]]


def found(id: str, severity: Severity, text: str = "") -> Finding:
    return Finding(id=id, severity=severity, subject="pod/shop/web", text=text)


def test_each_finding_is_named_once_and_remarks_are_not_left_out() -> None:
    several = (found("MC203", "error"), found("MC402", "warning", "a"), found("MC402", "warning", "b"))
    columns, cells = pods_table(build.injected(), *several, found("MC102", "info"))
    assert cells[-1] == "MC203, MC402 (2), MC102"
    assert "remark" not in columns


def test_a_pod_that_would_be_injected_now_has_a_remark() -> None:
    here: dict[str, Any] = {
        "namespace": build.namespace(istio_injection="enabled"),
        "webhooks": build.recorded_webhooks(),
    }
    columns, cells = pods_table(build.plain(), **here)
    assert (columns[3], cells[3]) == ("remark", "would be injected now")

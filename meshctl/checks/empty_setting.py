"""An empty value is a setting: it turns a direction off."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.injection import annotations

ID = "MC109"
TITLE = "An empty value that turns capturing off"


def check(it: Evidence) -> Iterator[Finding]:
    """An empty value that turns capturing off."""
    for slip in annotations.empty(it.description.annotations):
        yield it.finding(ID, "warning", slip.text, evidence=f"annotation {slip.key}", fix=slip.better)

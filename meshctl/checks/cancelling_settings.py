"""Inclusions and exclusions that contradict each other or have no effect together."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.injection import annotations

ID = "MC110"
TITLE = "An inclusion and an exclusion that cancel each other"


def check(it: Evidence) -> Iterator[Finding]:
    """An inclusion and an exclusion that cancel each other."""
    for slip in annotations.cancelling(it.description.annotations):
        yield it.finding(ID, "warning", slip.text, evidence=f"annotation {slip.key}: {slip.value}", fix=slip.better)

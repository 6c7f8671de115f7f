"""Ports in annotations are single numbers (istio#45810)."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.checks.rejection import told
from meshctl.injection import annotations

ID = "MC106"
TITLE = "Ports given as a range"


def check(it: Evidence) -> Iterator[Finding]:
    """Ports given as a range."""
    for slip in annotations.ranges(it.description.annotations):
        yield it.finding(ID, "error", told(it, slip), evidence=f"annotation {slip.key}: {slip.value}", fix=slip.better)

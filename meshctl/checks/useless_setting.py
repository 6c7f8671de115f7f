"""includeOutboundPorts adds to what is captured; it never narrows it (istio#32677)."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.injection import annotations

ID = "MC111"
TITLE = "A setting that changes nothing"


def check(it: Evidence) -> Iterator[Finding]:
    """A setting that changes nothing."""
    for slip in annotations.useless(it.description.annotations):
        yield it.finding(ID, "info", slip.text, evidence=f"annotation {slip.key}: {slip.value}", fix=slip.better)

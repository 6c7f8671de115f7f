"""Annotations and labels of Istio that no release reads."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.injection import annotations, proxy_config

ID = "MC103"
TITLE = "An annotation that Istio does not know"


def check(it: Evidence) -> Iterator[Finding]:
    """An annotation that Istio does not know."""
    written = it.description.annotations
    for slip in (*annotations.unknown(written), *proxy_config.unknown(written)):
        yield it.finding(ID, "warning", slip.text, evidence=f"annotation {slip.key}: {slip.value}", fix=slip.better)

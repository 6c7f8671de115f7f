"""The page for ``describe pod -o html``: how this pod's traffic comes to pass through its proxy, told as an article."""

from collections.abc import Sequence

from meshctl.blocks import Page
from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.views import pod as pod_view


def page(it: Evidence, findings: Sequence[Finding]) -> Page:
    """The whole story with this pod's own values."""
    return pod_view.page(it, findings, wide=True)

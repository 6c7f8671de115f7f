"""A native sidecar starts before the application anyway: holdApplicationUntilProxyStarts is ignored."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC127"
TITLE = "holdApplicationUntilProxyStarts has no effect on a native sidecar"


def check(it: Evidence) -> Iterator[Finding]:
    """holdApplicationUntilProxyStarts has no effect on a native sidecar."""
    if it.description.injection.native and it.description.overlay.tree.get("holdApplicationUntilProxyStarts") is True:
        text = "holdApplicationUntilProxyStarts is ignored: the proxy is a native sidecar and starts first anyway"
        yield it.finding(ID, "info", text, evidence="annotation proxy.istio.io/config", fix="remove it")

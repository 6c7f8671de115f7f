"""A revision that no injector has: nothing is injected, silently."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC118"
TITLE = "istio.io/rev names a revision that no injector has"


def check(it: Evidence) -> Iterator[Finding]:
    """istio.io/rev names a revision that no injector has."""
    deciding = it.description.decision.deciding
    if deciding is None or "no injector has it" not in deciding.text:
        return
    fix = "use the name of a revision or tag that is installed (istioctl tag list)"
    yield it.finding(ID, "error", f"not injected: {deciding.text}", evidence=deciding.source, fix=fix)

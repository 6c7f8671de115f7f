"""istio-init with arguments that its release does not know ends with an error, and the pod never starts."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC123"
TITLE = "istio-init has arguments that would make it fail"


def check(it: Evidence) -> Iterator[Finding]:
    """istio-init has arguments that would make it fail."""
    problem = it.description.capture_problem
    if problem and it.description.injection.init is not None:
        own = it.description.capture is None and problem.endswith("cannot be told")
        fix = "" if own else "let the injector write the arguments, or use those of the image's release"
        where = f"{it.description.injection.init.origin.path}.args"
        yield it.finding(ID, "warning" if own else "error", problem, evidence=where, fix=fix)

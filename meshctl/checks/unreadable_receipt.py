"""The injector's receipt or the pod's other JSON cannot be read."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC121"
TITLE = "A part of the pod that cannot be read"


def check(it: Evidence) -> Iterator[Finding]:
    """A part of the pod that cannot be read."""
    for problem in it.description.injection.problems:
        yield it.finding(ID, "warning", problem, evidence="metadata.annotations", fix="")
    for flaw in it.pod.flaws:
        fix = ""
        if ".annotations." in flaw.path or ".labels." in flaw.path:
            fix = f'put the value in quotes: "{flaw.raw}"; the API server refuses it otherwise'
        yield it.finding(ID, "warning", f"{flaw.path} {flaw.problem}: {flaw.raw}", evidence=flaw.path, fix=fix)

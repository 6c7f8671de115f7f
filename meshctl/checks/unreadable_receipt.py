"""The injector's receipt or the pod's other JSON cannot be read."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding, Severity
from meshctl.kube.fields import Flaw

ID = "MC121"
TITLE = "A part of the pod that cannot be read"


def check(it: Evidence) -> Iterator[Finding]:
    """A part of the pod that cannot be read."""
    for problem in it.description.injection.problems:
        yield it.finding(ID, "warning", problem, evidence="metadata.annotations", fix="")
    for flaw in it.pod.flaws:
        text, severity = f"{flaw.path} {flaw.problem}: {flaw.raw}", _severity(it)
        yield it.finding(ID, severity, text, evidence=flaw.path, fix=_quoted(flaw))


def _severity(it: Evidence) -> Severity:
    """A pod that is there was taken by the API server; a manifest is not, with a field of the wrong type."""
    return "warning" if it.pod.has_status else "error"


def _quoted(flaw: Flaw) -> str:
    if ".annotations." not in flaw.path and ".labels." not in flaw.path:
        return ""
    mark = "'" if '"' in flaw.raw else '"'
    return f"put the value in quotes: {mark}{flaw.raw}{mark}; the API server refuses it otherwise"

"""The application ran while its proxy was not ready: its connections went nowhere (istio#11130)."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC201"
TITLE = "The application ran before its proxy was ready"


def check(it: Evidence) -> Iterator[Finding]:
    """The application ran before its proxy was ready."""
    for answer in it.description.answers:
        if answer.question.startswith("Did the application") and answer.verdict is True:
            fix = "use native sidecars, or set holdApplicationUntilProxyStarts: true in proxy.istio.io/config"
            text = answer.text.replace("Yes, for", "the application ran before its proxy was ready, for", 1)
            yield it.finding(ID, "warning", text, evidence="; ".join(answer.evidence), fix=fix)

"""istio-injection wins over istio.io/rev on a namespace (IST0123)."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC117"
TITLE = "istio-injection and istio.io/rev contradict each other"


def check(it: Evidence) -> Iterator[Finding]:
    """istio-injection and istio.io/rev contradict each other."""
    namespace = it.description.subject.namespace
    if namespace is None or "istio-injection" not in namespace.labels:
        return
    here = namespace.labels.get("istio.io/rev")
    own = it.pod.labels.get("istio.io/rev")
    if here is None and own is None:
        return
    if it.pod.labels.get("sidecar.istio.io/inject") == "false":
        return
    where = f"namespace {namespace.name}" if here else "the pod"
    rest = f"istio-injection: {namespace.labels['istio-injection']} and istio.io/rev: {here or own} ({where})"
    text = f"{rest}: istio.io/rev is ignored while the namespace has istio-injection"
    yield it.finding(ID, "warning", text, evidence=f"labels of {where}", fix="remove one of the two labels")

"""app and version labels name the workload in telemetry; istioctl describe suggests them too.

The order is that of ``pkg/model`` and ``injection-template.yaml``: the canonical labels, ``app.kubernetes.io/``, the
plain ones; the injector writes the canonical ones where the user did not.
"""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC113"
TITLE = "No app or version label"


def check(it: Evidence) -> Iterator[Finding]:
    """No app or version label."""
    if it.description.injection.mode not in ("sidecar", "native-sidecar", "ambient", "grpc"):
        return
    template = it.description.subject.workload.template
    theirs = template.labels if template is not None else it.pod.labels
    ours = template is None and it.description.injection.receipt is not None
    name, revision = ("",) if ours else (_CANONICAL_NAME,), ("",) if ours else (_CANONICAL_REVISION,)
    missing, effects = [], []
    if not any(key in theirs for key in (*name, *_NAMES)):
        missing.append("app")
        shown = it.pod.labels.get(_CANONICAL_NAME, "")
        effects.append("names it after its workload" + (f", {shown}," if shown else ""))
    if not any(key in theirs for key in (*revision, *_VERSIONS)):
        missing.append("version")
        effects.append("cannot tell its versions apart")
    if missing:
        text = f"the pod has no {' and no '.join(missing)} label: telemetry {' and '.join(effects).rstrip(',')}"
        fix = f"add the label{'s' if len(missing) > 1 else ''} {' and '.join(missing)}"
        yield it.finding(ID, "info", text, evidence="metadata.labels", fix=fix)


_CANONICAL_NAME = "service.istio.io/canonical-name"
_CANONICAL_REVISION = "service.istio.io/canonical-revision"
_NAMES = ("app", "app.kubernetes.io/name")
_VERSIONS = ("version", "app.kubernetes.io/version")

"""app and version labels name the workload in telemetry; istioctl describe suggests them too."""

from collections.abc import Iterator

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding

ID = "MC113"
TITLE = "No app or version label"


def check(it: Evidence) -> Iterator[Finding]:
    """No app or version label."""
    if it.description.injection.mode not in ("sidecar", "native-sidecar", "ambient", "grpc"):
        return
    labels = it.pod.labels
    missing = []
    if not any(key in labels for key in _NAMES):
        missing.append("app")
    if not any(key in labels for key in _VERSIONS):
        missing.append("version")
    if missing:
        text = f"the pod has no {' and no '.join(missing)} label: telemetry shows it under a name that was made up"
        yield it.finding(ID, "info", text, evidence="metadata.labels", fix=f"add the label {' and '.join(missing)}")


_NAMES = ("app", "app.kubernetes.io/name")
_VERSIONS = ("version", "app.kubernetes.io/version")

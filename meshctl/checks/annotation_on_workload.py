"""All annotations and labels are read from the pod: on the Deployment itself they do nothing (istio#38415)."""

from collections.abc import Iterator, Mapping

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.injection.catalog_metadata import SETTINGS
from meshctl.kube.pods import Pod

ID = "MC105"
TITLE = "An Istio annotation or label on the workload instead of its pod template"

_LABELS = ("sidecar.istio.io/inject", "istio.io/rev", "istio.io/dataplane-mode")
_OF_ISTIO = (
    "operator.istio.io/component",
    "install.operator.istio.io/owning-resource",
    "gateway.istio.io/managed",
    "gateway.networking.k8s.io/gateway-name",
)
"""Labels of what Istio's own charts and controllers make: there istio.io/rev says to which revision it belongs."""


def check(it: Evidence) -> Iterator[Finding]:
    """An Istio annotation or label on the workload instead of its pod template."""
    owner = it.pod.template_of or "the workload"
    annotations, labels = _outside(it)
    for what, found, known in (("annotation", annotations, tuple(SETTINGS)), ("label", labels, _LABELS)):
        inside = it.pod.annotations if what == "annotation" else it.pod.labels
        for key, value in found.items():
            if key not in known or inside.get(key) == value:
                continue
            text = f"{key} stands on {owner} itself, where Istio does not read it: it must be in the pod template"
            fix = f"move it to spec.template.metadata.{what}s"
            yield it.finding(ID, "warning", text, evidence=f"metadata.{what}s of {owner}: {key}: {value}", fix=fix)


def _outside(it: Evidence) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The annotations and the labels of the workload itself, of the topmost that is known."""
    workload = it.description.subject.workload
    above = [t for t in (it.pod, workload.current, workload.template) if t is not None]
    annotations = next((t.parent_annotations for t in above if t.parent_annotations), {})
    labels = next((t.parent_labels for t in above if t.parent_labels), {})
    return annotations, {} if _of_istio(labels, above) else labels


def _of_istio(labels: Mapping[str, str], above: list[Pod]) -> bool:
    if any(key in labels for key in _OF_ISTIO) or labels.get("app.kubernetes.io/part-of") == "istio":
        return True
    return any(key in t.labels for t in above for key in _OF_ISTIO)

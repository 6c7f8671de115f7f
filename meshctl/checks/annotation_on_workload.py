"""All annotations are read from the pod: on the Deployment itself they do nothing (istio#38415)."""

from collections.abc import Iterator, Mapping

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.injection.catalog_metadata import SETTINGS

ID = "MC105"
TITLE = "An Istio annotation on the workload instead of its pod template"


def check(it: Evidence) -> Iterator[Finding]:
    """An Istio annotation on the workload instead of its pod template."""
    for key, value in _outside(it).items():
        if key not in SETTINGS or it.pod.annotations.get(key) == value:
            continue
        owner = it.pod.template_of or "the workload"
        text = f"{key} stands on {owner} itself, where Istio does not read it: it must be in the pod template"
        fix = "move it to spec.template.metadata.annotations"
        yield it.finding(ID, "warning", text, evidence=f"metadata.annotations of {owner}: {key}: {value}", fix=fix)


def _outside(it: Evidence) -> Mapping[str, str]:
    workload = it.description.subject.workload
    for template in (it.pod, workload.current, workload.template):
        if template is not None and template.parent_annotations:
            return template.parent_annotations
    return {}

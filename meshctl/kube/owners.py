"""From a pod to the workload that made it, and to the template that its user wrote."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from meshctl.frozen import dataclass
from meshctl.kube.pods import Owner, Pod, template_pod

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Workload:
    """What made the pod, from the nearest owner up; `template` is what the nearest readable one asks for.

    `current` is the template of the topmost one where that differs in name (a Deployment may have moved on), its
    metadata only: to read its containers too would cost as much as the pod itself.
    """

    chain: tuple[Owner, ...] = ()
    template: Pod | None = None
    current: Pod | None = None

    @property
    def top(self) -> Owner | None:
        """The topmost owner that is known."""
        return self.chain[-1] if self.chain else None


Name = tuple[str, str, str]
"""Kind, namespace and name."""


def by_name(objects: Iterable[Raw]) -> dict[Name, Raw]:
    """Objects by kind, namespace and name: made once for many pods."""
    return {_key(raw): raw for raw in objects}


def workload(pod: Pod, objects: Sequence[Raw] | Mapping[Name, Raw]) -> Workload:
    """Follow the owner references through the objects at hand (ReplicaSets, Deployments, Jobs, ...)."""
    known = objects if isinstance(objects, Mapping) else by_name(objects)
    chain: list[Owner] = []
    templates: list[Pod] = []
    owner = pod.controller
    while owner is not None and len(chain) < 5:
        chain.append(owner)
        raw = known.get((owner.kind, pod.namespace, owner.name))
        if raw is None:
            break
        template = template_pod(
            _metadata_only(raw) if templates else raw, source=owner.kind.lower(), namespace=pod.namespace
        )
        if template is not None:
            templates.append(template)
        owner = _owner_of(raw)
    return Workload(tuple(chain), templates[0] if templates else None, templates[-1] if len(templates) > 1 else None)


def _metadata_only(raw: Raw) -> Raw:
    """A workload whose template has no containers; as it is where it has no template of its own (a CronJob)."""
    spec = raw.get("spec")
    template = spec.get("template") if isinstance(spec, Mapping) else None
    if not isinstance(spec, Mapping) or not isinstance(template, Mapping):
        return raw
    return {**raw, "spec": {"template": {"metadata": template.get("metadata"), "spec": {}}}}


def _key(raw: Raw) -> Name:
    meta = raw.get("metadata")
    meta = meta if isinstance(meta, Mapping) else {}
    return str(raw.get("kind", "")), str(meta.get("namespace", "")), str(meta.get("name", ""))


def _owner_of(raw: Raw) -> Owner | None:
    meta = raw.get("metadata")
    references = meta.get("ownerReferences") if isinstance(meta, Mapping) else None
    if not isinstance(references, list):
        return None
    for reference in references:
        if isinstance(reference, Mapping) and reference.get("controller"):
            return Owner(str(reference.get("kind", "")), str(reference.get("name", "")), controller=True)
    return None

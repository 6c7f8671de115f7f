"""NetworkPolicies, as far as to say which of them are about a pod: the cluster's network plugin enforces them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from meshctl.kube.fields import Fields, Flaw
from meshctl.kube.pods import Pod
from meshctl.kube.selectors import selector


def about(policies: Sequence[Mapping[str, Any]], pod: Pod, direction: Literal["Ingress", "Egress"]) -> Iterator[str]:
    """The names (``namespace/name``) of those that restrict a pod's connections in a direction.

    Without ``policyTypes`` one is about Ingress, and about Egress where it has such rules (networking/v1 defaults).
    """
    flaws: list[Flaw] = []
    for raw in policies:
        top = Fields(raw, "", flaws)
        meta, spec = top.below("metadata"), top.below("spec")
        types = spec.texts("policyTypes") or (
            "Ingress",
            *(("Egress",) if any(True for _ in spec.each("egress")) else ()),
        )
        if meta.text("namespace") != pod.namespace or direction not in types:
            continue
        if selector(spec.below("podSelector")).holds(pod.labels) is not False:
            yield f"{pod.namespace}/{meta.text('name')}"

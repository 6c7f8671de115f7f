"""What every mesh resource has: a name, a place to cite, and (many of them) a selector or hosts."""

from collections.abc import Mapping
from typing import Any

from meshctl.frozen import dataclass
from meshctl.kube.fields import Fields, Flaw
from meshctl.kube.names import USUAL_DOMAIN, service_host
from meshctl.origin import Origin


@dataclass(frozen=True, slots=True)
class Meta:
    """Which resource this is, and where it was read; `created` is as written, empty where it is not.

    `domain` is the cluster's, in which a short name is looked for.
    """

    kind: str
    namespace: str
    name: str
    origin: Origin
    created: str = ""
    domain: str = USUAL_DOMAIN

    def host(self, name: str) -> str:
        """A host as Istio resolves it in this resource: a name without a dot is a Service of its namespace.

        Source: ``pkg/config/host`` and ``model.ResolveShortnameToFQDN``, 1.30.
        """
        if not name or name == "*" or "." in name:
            return name
        return service_host(name, self.namespace, self.domain)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}.{self.namespace}" if self.namespace else f"{self.kind} {self.name}"


Labels = tuple[tuple[str, str], ...]
"""Label pairs, sorted by key; empty selects everything."""


def read(raw: Mapping[str, Any], kind: str, source: str, index: int, domain: str = USUAL_DOMAIN) -> tuple[Meta, Fields]:
    """The resource's name and its ``spec``; fields of the wrong type read as absent."""
    flaws: list[Flaw] = []
    top = Fields(raw, f"items[{index}]", flaws)
    meta = top.below("metadata")
    spec = top.below("spec")
    place = Origin(source, path=spec.path)
    return Meta(kind, meta.text("namespace"), meta.text("name"), place, meta.text("creationTimestamp"), domain), spec


def by_age(meta: Meta) -> tuple[str, str, str]:
    """The order in which Istio looks at resources of one kind: the oldest first (``sortConfigByCreationTime``)."""
    return meta.created, meta.name, meta.namespace


def labels_of(fields: Fields) -> Labels:
    """The ``matchLabels`` of a selector, or the labels of a Sidecar's or subset's selector."""
    for key in ("matchLabels", "labels"):
        if fields.has(key):
            return tuple(sorted(fields.strings(key).items()))
    return ()


def selects(labels: Labels, pod_labels: Mapping[str, str]) -> bool:
    """Whether every pair is among the pod's labels; an empty selector selects every pod."""
    return all(pod_labels.get(key) == value for key, value in labels)


def host_fits(pattern: str, host: str) -> bool:
    """Whether a host pattern (exact, ``*``, or ``*.suffix``) covers a host."""
    pattern, host = pattern.lower(), host.lower()
    if pattern == "*":
        return True
    if pattern.startswith("*"):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1
    return pattern == host


def host_overlaps(one: str, two: str) -> bool:
    """Whether one of two host patterns covers the other (``host.Name.Matches``)."""
    return host_fits(one, two) or host_fits(two, one)


def exported(export_to: tuple[str, ...], home: str, to: str) -> bool:
    """Whether a resource of namespace `home` is visible in `to`; no exportTo means everywhere."""
    return not export_to or "*" in export_to or to in export_to or ("." in export_to and home == to)

"""Ingresses, as far as to say which of them a controller takes up and which hosts they are about (networking/v1)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from meshctl.kube.fields import Fields

_CLASS = "kubernetes.io/ingress.class"


def about(ingresses: Sequence[Mapping[str, Any]], class_name: str, host: str, *, unclassed: bool) -> Iterator[str]:
    """The names (``namespace/name``) of those of a class that have rules for a host; `unclassed`: of no class as well.

    IngressClasses are not looked at: a class counts by its name.
    """
    for raw in ingresses:
        top = Fields(raw, "", [])
        meta, spec = top.below("metadata"), top.below("spec")
        own = meta.strings("annotations").get(_CLASS, "") or spec.text("ingressClassName")
        if own != class_name and (own or not unclassed):
            continue
        hosts = [rule.text("host").lower() for rule in spec.each("rules")]
        if spec.has("defaultBackend") or any(_fits(pattern, host.lower()) for pattern in hosts):
            yield f"{meta.text('namespace')}/{meta.text('name')}"


def _fits(pattern: str, host: str) -> bool:
    """A rule without a host is for all; a wildcard stands for one label."""
    if pattern.startswith("*."):
        return host.partition(".")[2] == pattern[2:]
    return pattern in ("", host)

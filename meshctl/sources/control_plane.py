"""Where the mesh's control plane is, and how its objects are called."""

from collections.abc import Iterable, Mapping
from typing import Any

from meshctl.errors import NoAccess
from meshctl.sources import kinds
from meshctl.sources.world import World

USUAL = "istio-system"
MESH, INJECTOR = "istio", "istio-sidecar-injector"
"""The ConfigMaps of the default revision; those of another one end with ``-REVISION``."""


def by_pods(world: World) -> str:
    """The namespace of istiod's pods; the usual one where one of several is that, or none can be seen."""
    try:
        found = world.objects(kinds.PODS, None, "app=istiod").items
    except NoAccess:
        return USUAL
    places = sorted({str((raw.get("metadata") or {}).get("namespace") or "") for raw in found} - {""})
    return USUAL if USUAL in places or not places else places[0]


def revisions(raw_pods: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The revisions that the labels of pods name, but for the default one."""
    labels = ((raw.get("metadata") or {}).get("labels") for raw in raw_pods)
    named = {str(own.get("istio.io/rev") or "") for own in labels if isinstance(own, Mapping)}
    return tuple(sorted(named - {"", "default"}))

"""The mesh's own settings: the ConfigMaps of a revision of the control plane, else of the default one."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from meshctl.istio import mesh_config
from meshctl.istio.mesh_config import MeshConfig
from meshctl.sources import kinds
from meshctl.sources.control_plane import MESH, revisions
from meshctl.sources.world import World

Raw = Mapping[str, Any]


def config_map(world: World, name: str, revision: str) -> Raw | None:
    """One of the two ConfigMaps, of a revision or (where that has none of its own) of the default one."""
    root = world.root_namespace()
    own = None if revision in ("", "default") else world.one(kinds.CONFIG_MAPS, root, f"{name}-{revision}")
    return own or world.one(kinds.CONFIG_MAPS, root, name)


def of_revision(world: World, revision: str) -> MeshConfig:
    """The settings of a revision; Istio's defaults, with an empty `source`, where none were found.

    Raises BadInput where their YAML is broken.
    """
    found, root = config_map(world, MESH, revision), world.root_namespace()
    if found is None:
        return replace(mesh_config.parse(None, ""), root_namespace=root)
    name = (found.get("metadata") or {}).get("name") or MESH
    return mesh_config.parse(found, f"{world.name}/resources/configmap.{root}.{name}.json")


def of_mesh(world: World, raw_pods: Iterable[Raw]) -> MeshConfig:
    """The settings of the default revision, else those of the first that an istiod or a proxy among the pods has.

    Raises BadInput as `of_revision`.
    """
    found = of_revision(world, "")
    for revision in () if found.source else revisions(raw_pods):
        found = of_revision(world, revision)
        if found.source:
            break
    return found

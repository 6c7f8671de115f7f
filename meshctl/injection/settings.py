"""The mesh's settings that shape an injection: mesh config, the injector's helm values, and the pod's own overlay.

Mesh config is the ConfigMap ``istio`` (key ``mesh``, YAML), the values are the ConfigMap ``istio-sidecar-injector``
(key ``values``, JSON; key ``config`` holds templates, policy and selectors, YAML), the overlay is the pod's annotation
``proxy.istio.io/config``.
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from meshctl import json_text
from meshctl.errors import BadInput
from meshctl.frozen import dataclass
from meshctl.kube.pods import Pod
from meshctl.yaml_text import documents

OVERLAY_KEY = "proxy.istio.io/config"
Tree = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MeshSettings:
    """What could be read; None for what was not there. `problems` name what could not be parsed."""

    mesh: Tree | None = None
    values: Tree | None = None
    injector: Tree | None = None
    namespace: str = ""
    revision: str = ""
    problems: tuple[str, ...] = ()

    def value(self, path: str) -> Any:
        """A helm value by its dotted path (``global.proxy.includeIPRanges``); None where it is not known."""
        return look(self.values, path)

    def mesh_value(self, path: str) -> Any:
        """A mesh config value by its dotted path; None where it is not set."""
        return look(self.mesh, path)


NO_SETTINGS = MeshSettings()


def look(tree: Tree | None, path: str) -> Any:
    """The value at a dotted path of nested mappings; None where a step is missing."""
    found: Any = tree
    for step in path.split("."):
        if not (type(found) is dict or isinstance(found, Mapping)):
            return None
        found = found.get(step)
    return found


def read(istio: Tree | None, injector: Tree | None) -> MeshSettings:
    """Parse the two ConfigMaps (raw objects, None where they are not there)."""
    problems: list[str] = []
    mesh = _yaml(look(istio, "data.mesh"), "ConfigMap istio, key mesh", problems)
    config = _yaml(look(injector, "data.config"), "ConfigMap istio-sidecar-injector, key config", problems)
    values: Tree | None = None
    text = look(injector, "data.values")
    if isinstance(text, str):
        try:
            parsed = json_text.loads(text)
            values = parsed if isinstance(parsed, Mapping) else None
        except ValueError as error:
            problems.append(f"ConfigMap istio-sidecar-injector, key values: not valid JSON: {error}")
    namespace = look(istio, "metadata.namespace") or look(injector, "metadata.namespace") or ""
    revision = look(istio, "metadata.labels") or {}
    return MeshSettings(
        mesh, values, config, str(namespace), str(look({"l": revision}, "l.istio.io/rev") or ""), tuple(problems)
    )


def _yaml(text: Any, source: str, problems: list[str]) -> Tree | None:
    if not isinstance(text, str):
        return None
    try:
        found = documents(text, source)
    except BadInput as error:
        problems.append(str(error))
        return None
    return found[0] if found and isinstance(found[0], Mapping) else {}


@dataclass(frozen=True, slots=True)
class Overlay:
    """The pod's own proxy settings; `problem` says why they could not be read."""

    tree: Tree = field(default_factory=dict)
    problem: str = ""


def overlay(pod: Pod) -> Overlay:
    """The pod's annotation ``proxy.istio.io/config``, parsed."""
    return overlay_of(pod.annotations)


def overlay_of(annotations: Mapping[str, str]) -> Overlay:
    """The annotation ``proxy.istio.io/config`` among these, parsed."""
    text = annotations.get(OVERLAY_KEY)
    if not text:
        return Overlay()
    source = f"annotation {OVERLAY_KEY}"
    try:
        found = documents(text, source)
    except BadInput as error:
        return Overlay(problem=str(error))
    top = found[0] if found else {}
    return Overlay(top) if isinstance(top, Mapping) else Overlay(problem=f"{source}: it has no fields")

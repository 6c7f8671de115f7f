"""The injector's templates as they are now, against a pod that was made from them at some time.

They stand in the ConfigMap ``istio-sidecar-injector``, key ``config`` (``templates``, by name), and are programs in
Go's template language. meshctl does not run them; it looks whether they mention what the mesh's containers have.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from meshctl import json_text
from meshctl.frozen import dataclass
from meshctl.injection import explain
from meshctl.injection.mode import Injection
from meshctl.injection.settings import MeshSettings, Overlay, look
from meshctl.kube.pods import Pod

ASKED = "inject.istio.io/templates"
_BY_CODE = frozenset(("ISTIO_KUBE_APP_PROBERS", "ISTIO_PROMETHEUS_ANNOTATIONS"))
"""Variables that the injector writes itself, after the templates (``pkg/kube/inject/webhook.go``, 1.30)."""


@dataclass(frozen=True, slots=True)
class Templates:
    """What the injector's templates say of a pod: `names` are those that made it, `unmentioned` what they lack."""

    readable: bool
    text: str
    names: tuple[str, ...] = ()
    unmentioned: tuple[str, ...] = ()


def against(pod: Pod, injection: Injection, settings: MeshSettings, own: Overlay, template: Pod | None) -> Templates:
    """Compare an injected pod with the templates; `template` is what the user wrote, None where it is not known."""
    texts = look(settings.injector, "templates")
    single = look(settings.injector, "template")
    if not isinstance(texts, Mapping) and isinstance(single, str):
        texts = {"sidecar": single}
    names = _names(pod, settings)
    if not isinstance(texts, Mapping) or not texts:
        return Templates(False, _unreadable(settings), names)
    absent = [name for name in names if name not in texts]
    if absent:
        said = f"The injector has no template {' or '.join(absent)} (any more), from which this pod was made."
        return Templates(True, said, names)
    text = "\n".join(str(texts[name]) for name in names)
    unmentioned = tuple(n for n in dict.fromkeys(_parts(pod, injection, settings, own, template)) if not _in(n, text))
    said = f"The injector's templates ({', '.join(names)}) are programs, and are not run here; compared by names: "
    if unmentioned:
        said += "they do not mention these parts of the mesh's containers, so another template or setting made this pod"
    else:
        said += "they mention everything that the mesh's containers have"
    return Templates(True, f"{said}.", names, unmentioned)


def _unreadable(settings: MeshSettings) -> str:
    why = "the ConfigMap istio-sidecar-injector was not read"
    if settings.injector is not None or settings.values is not None:
        why = "the ConfigMap istio-sidecar-injector holds none"
    return (
        f"The injector's templates are not readable here ({why}), so a new pod is compared with this one only by "
        "image, revision and release, as far as these are known."
    )


def _names(pod: Pod, settings: MeshSettings) -> tuple[str, ...]:
    asked = pod.annotations.get(ASKED, "")
    if asked:
        return tuple(name.strip() for name in asked.split(",") if name.strip())
    default = look(settings.injector, "defaultTemplates")
    return tuple(map(str, default)) if isinstance(default, list) and default else ("sidecar",)


def _parts(pod: Pod, injection: Injection, settings: MeshSettings, own: Overlay, template: Pod | None) -> Iterator[str]:
    """The names that a template must have written: containers, volumes, flags, variables."""
    written = _by_user(template)
    settable: set[Any] = set(_BY_CODE)
    for tree in (look(settings.mesh, "defaultConfig.proxyMetadata"), look(own.tree, "proxyMetadata")):
        settable |= set(tree) if isinstance(tree, Mapping) else set()
    settable |= _datadog(pod)
    yield from (name for name in injection.ours if name not in written)
    theirs = f"{pod.annotations.get('sidecar.istio.io/userVolume', '')}"
    volumes = injection.receipt.volumes if injection.receipt else ()
    yield from (name for name in volumes if name not in written and f'"{name}"' not in theirs)
    for container in pod.containers:
        if container.name not in injection.ours:
            continue
        yield from (a.flag for a in explain.parsed(container) if a.name and a.flag not in written)
        yield from (e.name for e in container.env if e.name not in written and e.name not in settable)


def _datadog(pod: Pod) -> set[str]:
    """The variables that the template takes from Datadog's annotation, a JSON object."""
    try:
        found = json_text.loads(pod.annotations.get("apm.datadoghq.com/env", "{}"))
    except ValueError:
        return set()
    return set(found) if isinstance(found, dict) else set()


def _by_user(template: Pod | None) -> set[str]:
    """The names that the user wrote: containers that the template merges into, their variables and arguments."""
    found: set[str] = set()
    for container in template.containers if template is not None else ():
        found |= {container.name, *container.args, *(e.name for e in container.env)}
    return found | {v.name for v in (template.volumes if template is not None else ())}


def _in(name: str, text: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) is not None

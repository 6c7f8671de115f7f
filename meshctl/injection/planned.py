"""What the injector would add to a pod that is not made yet, as far as that decides in which order things start.

The order is ``reorderPod``'s (``pkg/kube/inject/webhook.go``, 1.12 to 1.30): with a native sidecar istio-init or
istio-validation and then istio-proxy come before all other init containers; otherwise istio-validation is the first
and istio-init the last of them, and istio-proxy the last container, or the first with holdApplicationUntilProxyStarts.
"""

from typing import Any

from meshctl.frozen import dataclass
from meshctl.injection.catalog import minor
from meshctl.injection.decision import Decision
from meshctl.injection.inside import TEMPLATES
from meshctl.injection.mode import PROXY_NAME, Injection
from meshctl.injection.settings import MeshSettings, Overlay, look
from meshctl.kube.pods import Pod

_NATIVE = "sidecar.istio.io/nativeSidecar"
_NATIVE_SINCE = (1, 19)


@dataclass(frozen=True, slots=True)
class Planned:
    """What a pod made now would get; `sidecar` False for templates other than that of the sidecar.

    `captures` False where no init container writes or checks rules (interception mode NONE), `cni` whether the node's
    plugin writes them, `native` whether the proxy is a native sidecar, `hold` whether the application waits for an
    ordinary one; None each where that is not known. `own_hook`: the pod has a postStart hook for istio-proxy itself,
    which takes the place of the one that waits.
    """

    sidecar: bool
    templates: str = ""
    captures: bool = True
    cni: bool | None = None
    native: bool | None = None
    hold: bool | None = None
    own_hook: bool = False

    @property
    def init(self) -> str:
        """The init container that writes or checks the rules; both names where it can be either."""
        return {True: "istio-validation", False: "istio-init", None: "istio-init or istio-validation"}[self.cni]


def of(
    pod: Pod, injection: Injection, decision: Decision, settings: MeshSettings, own: Overlay, releases: tuple[str, ...]
) -> Planned | None:
    """What the injector would add to a pod that was not made yet; None where it would not, or has done so."""
    if pod.has_status or injection.receipt is not None or injection.proxy is not None or decision.outcome != "injected":
        return None
    asked = [name.strip() for name in pod.annotations.get(TEMPLATES, "sidecar").split(",")]
    default = look(settings.injector, "defaultTemplates")
    if TEMPLATES not in pod.annotations and isinstance(default, list) and default:
        asked = [str(name) for name in default]
    if asked != ["sidecar"]:
        return Planned(False, ", ".join(asked))
    mode = pod.annotations.get("sidecar.istio.io/interceptionMode") or _proxy_setting("interceptionMode", settings, own)
    return Planned(
        True,
        captures=mode != "NONE",
        cni=_cni(settings),
        native=_native(pod, releases),
        hold=_hold(settings, own),
        own_hook=any(c.name == PROXY_NAME and c.hook("postStart") is not None for c in pod.containers),
    )


def _proxy_setting(name: str, settings: MeshSettings, own: Overlay) -> Any:
    found = own.tree.get(name)
    return settings.mesh_value(f"defaultConfig.{name}") if found is None else found


def _cni(settings: MeshSettings) -> bool | None:
    """``pilot.cni.enabled``, up to 1.21 ``istio_cni.enabled``; a chart without either has no CNI plugin."""
    if settings.values is None:
        return None
    found = settings.value("pilot.cni.enabled")
    return (found if found is not None else settings.value("istio_cni.enabled")) is True


def _native(pod: Pod, releases: tuple[str, ...]) -> bool | None:
    """By the annotation; without it istiod's ENABLE_NATIVE_SIDECARS and the nodes decide, which are not known here."""
    numbers = [minor(release) for release in releases]
    if numbers and all(number is not None and number < _NATIVE_SINCE for number in numbers):
        return False
    asked = pod.annotations.get(_NATIVE)
    if asked is None or not all(number is not None and number >= _NATIVE_SINCE for number in numbers or (None,)):
        return False if asked == "false" else None
    return asked != "false"


def _hold(settings: MeshSettings, own: Overlay) -> bool | None:
    found = _proxy_setting("holdApplicationUntilProxyStarts", settings, own)
    if found is None and settings.value("global.proxy.holdApplicationUntilProxyStarts") is True:
        return True
    if found is None and settings.mesh is None:
        return None
    return found is True

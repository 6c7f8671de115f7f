"""Whether a pod would be injected differently today: proxy image, revision and control plane against its own."""

from meshctl.frozen import dataclass
from meshctl.injection import release as releases
from meshctl.injection.catalog import minor
from meshctl.injection.mode import Injection
from meshctl.injection.settings import MeshSettings


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that a new pod would have otherwise."""

    what: str
    now: str
    would_be: str
    text: str


def against(
    injection: Injection, settings: MeshSettings, control_planes: tuple[str, ...], revision: str
) -> tuple[Difference, ...]:
    """Compare with the injector's values and the releases of the control planes (istiod) that run.

    `revision` is the one that would inject now, empty where that is not known.
    """
    if injection.receipt is None or injection.proxy is None:
        return ()
    return tuple(
        d for d in (_image(injection, settings), _behind(injection, control_planes), _moved(injection, revision)) if d
    )


def _image(injection: Injection, settings: MeshSettings) -> Difference | None:
    hub, name, tag = (settings.value(f"global.{key}") for key in ("hub", "proxy.image", "tag"))
    image = injection.proxy.image if injection.proxy else ""
    if not isinstance(name, str) or not name:
        return None
    wanted = name if "/" in name else f"{hub}/{name}:{tag}"
    variant = str(settings.value("global.variant") or "")
    if image in (wanted, f"{wanted}-{variant}") or releases.tag_of(image) == releases.tag_of(wanted):
        return None
    if image.startswith(f"{wanted}-"):
        return None  # another variant of the same image, chosen by an annotation
    return Difference("image", image, wanted, f"the proxy's image is {image}; a new pod would get {wanted}")


def _behind(injection: Injection, control_planes: tuple[str, ...]) -> Difference | None:
    own = injection.release
    numbers = [(minor(text), text) for text in control_planes]
    newest = max(((n, t) for n, t in numbers if n), default=None)
    if newest is None or not own.exact or own.high >= (newest[0] or (0, 0)):
        return None
    text = f"the proxy is Istio {own.text}, the control plane {newest[1]}: restart the pod to update the proxy"
    return Difference("release", own.text, newest[1], text)


def _moved(injection: Injection, revision: str) -> Difference | None:
    own = injection.revision
    if not revision or not own or own == revision:
        return None
    text = f"revision {own} injected the pod; now revision {revision} would"
    return Difference("revision", own, revision, text)

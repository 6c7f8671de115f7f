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
    if injection.proxy is None:
        return ()
    apart = _behind(injection, control_planes) or _ahead(injection, control_planes)
    if injection.receipt is None:  # a gateway or a waypoint that istiod made itself: no injector has a say
        return (apart,) if apart else ()
    return tuple(d for d in (_image(injection, settings), apart, _moved(injection, revision)) if d)


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
    """Against the newest control plane that runs; a release that is told by what was added counts by its newest."""
    own = injection.release
    newest = _newest(control_planes)
    mine = _numbers(own.text) if own.exact else None
    if newest is None or not own.text:
        return None
    behind = mine < newest[0] if mine else own.high < newest[0][:2]
    if not behind:
        return None
    said = f"the proxy is Istio {own.text}, {_which(control_planes)} {newest[1]}"
    text = f"{said}: a proxy keeps its release until its pod is made again"
    return Difference("release", own.text, newest[1], text)


def _ahead(injection: Injection, control_planes: tuple[str, ...]) -> Difference | None:
    """A proxy that is newer than every control plane that runs: Istio supports only the opposite."""
    own = injection.release
    newest, mine = _newest(control_planes), _numbers(own.text) if own.exact else None
    if newest is None or mine is None or mine <= newest[0]:
        return None
    text = f"the proxy is Istio {own.text} and newer than {_which(control_planes)}, {newest[1]}"
    return Difference(AHEAD, own.text, newest[1], text)


AHEAD = "ahead"
"""What differs where the proxy is newer than its control plane."""


def _newest(control_planes: tuple[str, ...]) -> tuple[tuple[int, ...], str] | None:
    return max(((numbers, text) for text in control_planes if (numbers := _numbers(text))), default=None)


def _which(control_planes: tuple[str, ...]) -> str:
    return "the control plane" if len(control_planes) == 1 else "the newest control plane"


def other_minor(difference: Difference) -> bool:
    """Whether the two releases of a difference are of different minor ones (patches are a smaller matter)."""
    return minor(difference.now.rpartition("-")[2]) != minor(difference.would_be)


def older(difference: Difference) -> bool:
    """Whether a pod that is made again gets an older release than it has."""
    if difference.what == AHEAD:
        return True
    before, after = (_numbers(releases.of_image(image)) for image in (difference.now, difference.would_be))
    return difference.what == "image" and before is not None and after is not None and after < before


def _numbers(text: str) -> tuple[int, ...] | None:
    """``1.30.3`` as numbers; None for what is no release."""
    parts = text.partition("-")[0].split(".")
    return tuple(map(int, parts)) if len(parts) > 1 and all(p.isdigit() for p in parts) else None


def _moved(injection: Injection, revision: str) -> Difference | None:
    own = injection.revision
    if not revision or not own or own == revision:
        return None
    text = f"revision {own} injected the pod; now revision {revision} would"
    return Difference("revision", own, revision, text)

"""What the mesh added to a pod: by its receipt and its catalog, and against the user's template where that is known."""

from collections.abc import Mapping

from meshctl.frozen import dataclass
from meshctl.injection.catalog_metadata import CNI_ONLY, WRITTEN_ANNOTATIONS, WRITTEN_LABELS
from meshctl.injection.catalog_pod import VOLUMES
from meshctl.injection.mode import REDIRECTION, Injection
from meshctl.kube.pods import Pod

_PROMETHEUS = ("prometheus.io/scrape", "prometheus.io/port", "prometheus.io/path")
_DEFAULT_CONTAINER = ("kubectl.kubernetes.io/default-container", "kubectl.kubernetes.io/default-logs-container")


@dataclass(frozen=True, slots=True)
class Added:
    """Names of what the mesh added; `certain` False where the user's own annotations could not be told apart."""

    init_containers: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    certain: bool = True


def of(pod: Pod, injection: Injection, template: Pod | None) -> Added:
    """Name what the mesh added; `template` is what the pod's owner asked for, None where that is not known."""
    receipt = injection.receipt
    if receipt is None and injection.mode in ("gateway", "none", "ambient"):
        return Added(annotations=tuple(k for k in (REDIRECTION,) if k in pod.annotations))
    before = {c.name for c in template.containers} if template else set()
    ours = injection.ours - before if template and injection.mode != "gateway" else injection.ours
    return Added(
        init_containers=tuple(c.name for c in pod.init_containers if c.name in ours),
        containers=tuple(c.name for c in pod.app_containers if c.name in ours),
        volumes=_volumes(pod, injection, template),
        annotations=_annotations(pod, injection, template),
        labels=_labels(pod, template),
        certain=template is not None,
    )


def _volumes(pod: Pod, injection: Injection, template: Pod | None) -> tuple[str, ...]:
    before = {v.name for v in template.volumes} if template else set()
    named = set(injection.receipt.volumes) if injection.receipt and not injection.receipt.problem else set(VOLUMES)
    return tuple(v.name for v in pod.volumes if v.name in named and v.name not in before)


def _annotations(pod: Pod, injection: Injection, template: Pod | None) -> tuple[str, ...]:
    found = []
    for key, value in pod.annotations.items():
        if key not in WRITTEN_ANNOTATIONS or (template and template.annotations.get(key) == value):
            continue
        if key in CNI_ONLY and not injection.cni:
            continue
        if template is None and not _plausible(key, pod, injection):
            continue
        found.append(key)
    return tuple(found)


def _plausible(key: str, pod: Pod, injection: Injection) -> bool:
    """Without the user's template: whether the injector, rather than the user, is likely to have written it."""
    if key in _PROMETHEUS:
        return pod.annotations.get("prometheus.io/path") == "/stats/prometheus"
    if key in _DEFAULT_CONTAINER:
        return injection.receipt is not None
    return True


def _labels(pod: Pod, template: Pod | None) -> tuple[str, ...]:
    before: Mapping[str, str] = template.labels if template else {}
    return tuple(k for k, v in pod.labels.items() if k in WRITTEN_LABELS and before.get(k) != v)

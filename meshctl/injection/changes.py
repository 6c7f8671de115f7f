"""What changed between the template that the user wrote and the pod that runs, and who changed it.

By Istio: what its templates add. By Kubernetes: defaulting (``pkg/apis/core/v1/defaults.go``), the service account
admission and the controllers. By others: what neither explains.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

from meshctl.frozen import dataclass
from meshctl.injection.catalog_metadata import CNI_ONLY, WRITTEN_ANNOTATIONS, WRITTEN_LABELS
from meshctl.injection.mode import Injection
from meshctl.injection.probes import originals
from meshctl.kube.pods import Pod

By: TypeAlias = Literal["Istio", "Kubernetes", "others"]
Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: `before` and `after` are short texts, empty where there was or is nothing."""

    path: str
    before: str
    after: str
    by: By
    why: str = ""


def between(template: Pod, pod: Pod, injection: Injection) -> tuple[Change, ...]:
    """Every difference of the pod from its template, metadata first."""
    return tuple(_Comparison(template, pod, injection).all())


_KUBERNETES_LABELS = (
    "pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "statefulset.kubernetes.io/",
    "apps.kubernetes.io/",
    "batch.kubernetes.io/",
    "job-name",
    "controller-uid",
    "topology.kubernetes.io/",
)
_KUBERNETES_SPEC = {
    "nodeName": "the scheduler chose a node",
    "serviceAccount": "an old copy of serviceAccountName",
    "serviceAccountName": "the default service account",
    "tolerations": "pods stay 300 s on a node that is gone",
    "priority": "from the priority class",
    "priorityClassName": "the default priority class",
    "preemptionPolicy": "from the priority class",
    "enableServiceLinks": "default",
    "dnsPolicy": "default",
    "restartPolicy": "default",
    "schedulerName": "default",
    "terminationGracePeriodSeconds": "default",
    "securityContext": "default",
    "hostname": "from the StatefulSet",
    "subdomain": "from the StatefulSet",
    "imagePullSecrets": "from the service account",
    "affinity": "from the DaemonSet: this pod's node",
}
_KUBERNETES_FIELDS = frozenset(
    (
        "terminationMessagePath",
        "terminationMessagePolicy",
        "imagePullPolicy",
        "resources",
        "securityContext",
        "protocol",
        "apiVersion",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
        "scheme",
        "path",
        "defaultMode",
        "divisor",
        "type",
    )
)


class _Comparison:
    def __init__(self, template: Pod, pod: Pod, injection: Injection) -> None:
        self.template, self.pod, self.injection = template, pod, injection
        receipt = injection.receipt
        self.volumes = frozenset(receipt.volumes) if receipt else frozenset()
        self.secrets = frozenset(receipt.image_pull_secrets) if receipt else frozenset()
        self.probers = originals(injection.proxy)

    def all(self) -> Iterator[Change]:
        yield from self.metadata("annotations", self.template.annotations, self.pod.annotations)
        yield from self.metadata("labels", self.template.labels, self.pod.labels)
        before, after = _mapping(self.template.raw, "spec"), _mapping(self.pod.raw, "spec")
        for key in ("initContainers", "containers", "ephemeralContainers"):
            yield from self.containers(key, _named(before.get(key)), _named(after.get(key)))
        yield from self.named_volumes(_named(before.get("volumes")), _named(after.get("volumes")))
        for key in sorted({*before, *after} - {"initContainers", "containers", "ephemeralContainers", "volumes"}):
            if before.get(key) != after.get(key):
                yield self.spec_field(key, before.get(key), after.get(key))

    def metadata(self, where: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Change]:
        for key in sorted({*before, *after}):
            if before.get(key) == after.get(key):
                continue
            by, why = self.metadata_author(where, key)
            yield Change(f"metadata.{where}.{key}", _short(before.get(key)), _short(after.get(key)), by, why)

    def metadata_author(self, where: str, key: str) -> tuple[By, str]:
        if where == "annotations" and key in CNI_ONLY and not self.injection.cni:
            return "others", ""
        if key in WRITTEN_ANNOTATIONS and where == "annotations":
            return "Istio", WRITTEN_ANNOTATIONS[key].meaning
        if where == "labels" and key in WRITTEN_LABELS:
            return "Istio", ""
        if key.startswith("prometheus") and self.injection.receipt:
            return "Istio", "moved into ISTIO_PROMETHEUS_ANNOTATIONS: the agent merges the metrics"
        if key.startswith(_KUBERNETES_LABELS) or key.startswith("kubernetes.io/"):
            return "Kubernetes", "written by the controller"
        return "others", ""

    def containers(self, where: str, before: Mapping[str, Raw], after: Mapping[str, Raw]) -> Iterator[Change]:
        for name in after:
            path = f"spec.{where}[{name}]"
            if name not in before:
                ours = name in self.injection.ours
                by: By = "Istio" if ours else "others"
                why = "added while the pod ran" if where == "ephemeralContainers" else ""
                yield Change(path, "", f"image {after[name].get('image', '?')}", by, why)
            elif before[name] != after[name]:
                ours = name in self.injection.ours
                for change in _fields(path, before[name], after[name]):
                    yield self.container_field(change, ours)
        for name in before:
            if name not in after:
                moved = name in self.injection.ours
                yield Change(
                    f"spec.{where}[{name}]", "there", "", "Istio" if moved else "others", "moved" if moved else ""
                )

    def container_field(self, change: Change, ours: bool) -> Change:
        last = change.path.rpartition(".")[2].partition("[")[0]
        if ours:
            return _by(change, "Istio", "the injector completes this container")
        if "/app-health/" in change.after or "/app-lifecycle/" in change.after:
            return _by(change, "Istio", "the check goes through the agent now")
        if self.rewritten(change.path):
            return _by(change, "Istio", "the check goes through the agent now")
        if last == "hostPort" and self.pod.host_network:
            return _by(change, "Kubernetes", "with hostNetwork a port is the node's own")
        if "kube-api-access" in change.after or "kube-api-access" in change.path:
            return _by(change, "Kubernetes", "the token of the service account")
        if last in _KUBERNETES_FIELDS and not change.before:
            return _by(change, "Kubernetes", "default")
        if self.injection.mode == "grpc" and ("env" in change.path or "volumeMounts" in change.path):
            return _by(change, "Istio", "for an application that speaks to istiod itself")
        if any(f"volumeMounts[{v}]" in change.path for v in self.volumes):
            return _by(change, "Istio", "")
        return change

    def rewritten(self, path: str) -> bool:
        """Whether the path lies in a check of a container that has rewritten checks."""
        name = path.partition("[")[2].partition("]")[0]
        inside = "Probe." in path or "lifecycle." in path
        return inside and any(p.split("/")[2:3] == [name] for p in self.probers if p.startswith("/app-"))

    def named_volumes(self, before: Mapping[str, Raw], after: Mapping[str, Raw]) -> Iterator[Change]:
        for name in after:
            if before.get(name) == after[name]:
                continue
            kind = next((k for k in after[name] if k != "name"), "emptyDir")
            by: By = "others"
            why = ""
            if name in self.volumes:
                by = "Istio"
            elif name.startswith("kube-api-access-") or name.startswith("default-token-"):
                by, why = "Kubernetes", "the token of the service account"
            yield Change(f"spec.volumes[{name}]", "" if name not in before else "other", kind, by, why)
        for name in before:
            if name not in after:
                yield Change(f"spec.volumes[{name}]", "there", "", "others")

    def spec_field(self, key: str, before: Any, after: Any) -> Change:
        change = Change(f"spec.{key}", _short(before), _short(after), "others")
        if key == "securityContext" and _only_added(before, after, ("fsGroup", "sysctls")):
            return _by(change, "Istio", "for the proxy")
        if key == "imagePullSecrets" and self.secrets:
            return _by(change, "Istio", "to pull the proxy's image")
        if key == "dnsConfig" and self.injection.receipt:
            return _by(change, "Istio", "helm value global.podDNSSearchNamespaces")
        if key in _KUBERNETES_SPEC and (
            not before or key in ("tolerations", "nodeName", "affinity", "imagePullSecrets")
        ):
            return _by(change, "Kubernetes", _KUBERNETES_SPEC[key])
        return change


def _by(change: Change, by: By, why: str) -> Change:
    return Change(change.path, change.before, change.after, by, why)


def _only_added(before: Any, after: Any, keys: tuple[str, ...]) -> bool:
    old = before if isinstance(before, Mapping) else {}
    new = after if isinstance(after, Mapping) else {}
    changed = {k for k in {*old, *new} if old.get(k) != new.get(k)}
    return bool(changed) and changed <= set(keys)


def _mapping(raw: Raw, key: str) -> Raw:
    value = raw.get(key)
    return value if isinstance(value, Mapping) else {}


def _named(raw: Any) -> dict[str, Raw]:
    entries = raw if isinstance(raw, list) else []
    return {str(e.get("name", i)): e for i, e in enumerate(entries) if isinstance(e, Mapping)}


def _key(entry: Any) -> str:
    for key in ("name", "containerPort", "mountPath"):
        if isinstance(entry, Mapping) and key in entry:
            return str(entry[key])
    return ""


def _fields(path: str, before: Any, after: Any) -> Iterator[Change]:
    """The differing leaves of two objects; lists of named entries are compared by name."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in [*before, *(k for k in after if k not in before)]:
            if before.get(key) != after.get(key):
                yield from _fields(f"{path}.{key}", before.get(key), after.get(key))
    elif isinstance(before, list) and isinstance(after, list) and all(map(_key, [*before, *after])):
        old, new = {_key(e): e for e in before}, {_key(e): e for e in after}
        for name in [*old, *(n for n in new if n not in old)]:
            if old.get(name) != new.get(name):
                yield from _fields(f"{path}[{name}]", old.get(name), new.get(name))
    else:
        yield Change(path, _short(before), _short(after), "others")


def _short(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 160 else text[:157] + "..."

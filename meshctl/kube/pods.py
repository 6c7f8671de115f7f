"""The slice of a Pod that meshctl reads: parsed once, tolerant of fields that are missing or of the wrong type.

`pod(raw)` reads one Pod object; `pods_in(documents)` finds the pods in a manifest: Pods themselves, and the template
inside a Deployment, StatefulSet, DaemonSet, ReplicaSet, ReplicationController, Job, CronJob, PodTemplate or List.
Facts are those of the Kubernetes API (core/v1 Pod); nothing here knows a mesh.
"""

from collections.abc import Iterable, Mapping
from dataclasses import field
from datetime import datetime
from typing import Any

from meshctl.frozen import dataclass
from meshctl.kube.container_fields import containers, security_of, statuses
from meshctl.kube.containers import Container, Security
from meshctl.kube.fields import Fields, Flaw
from meshctl.origin import NOWHERE, Origin

ENDED = ("Succeeded", "Failed")
"""The phases of a pod whose containers have all ended, for ever (Kubernetes API, PodPhase)."""


@dataclass(frozen=True, slots=True)
class Owner:
    """An owner reference; `controller` marks the one that makes and deletes the pod."""

    kind: str
    name: str
    uid: str = ""
    controller: bool = False
    api_version: str = ""


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume: `kind` is its source's key in the manifest (``emptyDir``, ``configMap``, ``projected``, ...)."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Condition:
    """A pod condition; `status` is ``True``, ``False`` or ``Unknown``."""

    kind: str
    status: str
    reason: str = ""
    message: str = ""
    changed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod, or the pod that a template asks for (`template_of` then names the workload, as ``Deployment/x``).

    `containers` holds all of them in the order init, app, ephemeral, each as the manifest orders them; the properties
    pick by kind. `flaws` are the fields that could not be read. `raw` is the object itself, for comparing and showing.
    """

    name: str
    namespace: str
    uid: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    created_at: datetime | None = None
    deleted_at: datetime | None = None
    owners: tuple[Owner, ...] = ()
    node: str = ""
    service_account: str = ""
    host_network: bool = False
    restart_policy: str = ""
    dns_policy: str = ""
    security: Security = Security()
    image_pull_secrets: tuple[str, ...] = ()
    containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    has_status: bool = False
    phase: str = ""
    reason: str = ""
    message: str = ""
    ip: str = ""
    ips: tuple[str, ...] = ()
    host_ip: str = ""
    started_at: datetime | None = None
    conditions: tuple[Condition, ...] = ()
    template_of: str = ""
    parent_labels: Mapping[str, str] = field(default_factory=dict)
    parent_annotations: Mapping[str, str] = field(default_factory=dict)
    flaws: tuple[Flaw, ...] = ()
    origin: Origin = NOWHERE
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def init_containers(self) -> tuple[Container, ...]:
        """Everything under ``initContainers``, sidecars of Kubernetes' own kind included, in start order."""
        return tuple(c for c in self.containers if c.kind in ("init", "sidecar"))

    @property
    def app_containers(self) -> tuple[Container, ...]:
        """Everything under ``containers``."""
        return tuple(c for c in self.containers if c.kind == "app")

    def container(self, name: str) -> Container | None:
        """The first container of a name, of whatever kind."""
        return next((c for c in self.containers if c.name == name), None)

    def port_of(self, target: str, protocol: str = "TCP") -> int | None:
        """The number that a Service's target port stands for here; None for a name that no container declares.

        Source: Kubernetes pkg/api/v1/pod FindPort: the containers first, then the init containers that go on running.
        """
        if target.isdecimal():
            return int(target)
        lasting = (*self.app_containers, *(c for c in self.containers if c.kind == "sidecar"))
        ports = (port for container in lasting for port in container.ports)
        return next((port.number for port in ports if port.name == target and port.protocol == protocol), None)

    def condition(self, kind: str) -> Condition | None:
        """The condition of a kind (``Ready``, ``Initialized``, ...)."""
        return next((c for c in self.conditions if c.kind == kind), None)

    @property
    def controller(self) -> Owner | None:
        """The owner that manages the pod; the only owner where none is marked as such."""
        marked = next((o for o in self.owners if o.controller), None)
        return marked or (self.owners[0] if len(self.owners) == 1 else None)

    @property
    def ready(self) -> bool | None:
        """The Ready condition; None where the pod has none."""
        condition = self.condition("Ready")
        return None if condition is None else condition.status == "True"


def pod(raw: Mapping[str, Any], source: str = "", path: str = "") -> Pod:
    """Read one Pod object as the API returns it; never raises for its content (see `Pod.flaws`)."""
    return _pod(raw, Origin(source, path=path), default_namespace="")


def pods_in(documents: Iterable[object], source: str, namespace: str = "") -> tuple[Pod, ...]:
    """Every pod and pod template in parsed manifest documents, Lists unpacked, in order.

    `namespace` is used where a document names none. Documents that hold no pod (Services, ...) are skipped.
    """
    found: list[Pod] = []
    for index, document in enumerate(documents):
        _collect(document, Origin(source, path=f"document {index + 1}"), namespace, found)
    return tuple(found)


_TEMPLATE_PATHS: Mapping[str, tuple[str, ...]] = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "DeploymentConfig": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "PodTemplate": ("template",),
}


def template_of(raw: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The pod template inside a workload object; None where the kind has none or it is not a mapping."""
    steps = _TEMPLATE_PATHS.get(str(raw.get("kind", "")), ("spec", "template"))
    inner: Any = raw
    for step in steps:
        inner = inner.get(step) if isinstance(inner, Mapping) else None
    if not isinstance(inner, Mapping):
        return None
    if raw.get("kind") not in _TEMPLATE_PATHS and not _looks_like_pod(inner):
        return None
    return inner


def template_pod(raw: Mapping[str, Any], source: str = "", namespace: str = "", path: str = "") -> Pod | None:
    """The pod that a workload's template asks for, named as the workload; None where it has no template."""
    template = template_of(raw)
    if template is None:
        return None
    flaws: list[Flaw] = []
    meta = Fields(raw.get("metadata"), "metadata", flaws)
    workload = f"{raw.get('kind') or 'workload'}/{meta.text('name') or meta.text('generateName')}"
    return _pod(template, Origin(source, path=path), default_namespace=namespace, parent=meta, workload=workload)


def _collect(document: object, origin: Origin, namespace: str, found: list[Pod]) -> None:
    if not isinstance(document, Mapping):
        if isinstance(document, list):
            for item in document:
                _collect(item, origin, namespace, found)
        return
    kind = str(document.get("kind") or "")
    items = document.get("items")
    if isinstance(items, list) and (kind.endswith("List") or not kind):
        for index, item in enumerate(items):
            if isinstance(item, Mapping) and not item.get("kind") and kind.endswith("List") and kind != "List":
                item = {"kind": kind.removesuffix("List"), **item}
            _collect(item, Origin(origin.source, path=f"{origin.path} items[{index}]"), namespace, found)
    elif kind == "Pod" or (not kind and _looks_like_pod(document)):
        found.append(_pod(document, origin, default_namespace=namespace))
    else:
        inner = template_pod(document, origin.source, namespace, origin.path)
        if inner is not None:
            found.append(inner)


def _looks_like_pod(raw: Mapping[str, Any]) -> bool:
    spec = raw.get("spec")
    return isinstance(spec, Mapping) and "containers" in spec


def _pod(
    raw: Mapping[str, Any],
    origin: Origin,
    *,
    default_namespace: str,
    parent: Fields | None = None,
    workload: str = "",
) -> Pod:
    flaws: list[Flaw] = parent.flaws if parent else []
    top = Fields(raw, "", flaws)
    meta, spec, status = top.below("metadata"), top.below("spec"), top.below("status")
    told = statuses(status)
    own_name = meta.text("name") or meta.text("generateName")
    parent_name = parent.text("name") or parent.text("generateName") if parent else ""
    parent_namespace = parent.text("namespace") if parent else ""
    return Pod(
        name=parent_name or own_name,
        namespace=parent_namespace or meta.text("namespace") or default_namespace,
        uid=meta.text("uid"),
        labels=meta.strings("labels"),
        annotations=meta.strings("annotations"),
        created_at=meta.time("creationTimestamp"),
        deleted_at=meta.time("deletionTimestamp"),
        owners=tuple(map(_owner, meta.each("ownerReferences"))),
        node=spec.text("nodeName"),
        service_account=spec.text("serviceAccountName") or spec.text("serviceAccount"),
        host_network=bool(spec.flag("hostNetwork")),
        restart_policy=spec.text("restartPolicy"),
        dns_policy=spec.text("dnsPolicy"),
        security=security_of(spec.below("securityContext")),
        image_pull_secrets=tuple(s.text("name") for s in spec.each("imagePullSecrets")),
        containers=containers(spec, told, origin.source),
        volumes=tuple(map(_volume, spec.each("volumes"))),
        has_status=bool(status.raw),
        phase=status.text("phase"),
        reason=status.text("reason"),
        message=status.text("message"),
        ip=status.text("podIP"),
        ips=tuple(i.text("ip") for i in status.each("podIPs")),
        host_ip=status.text("hostIP"),
        started_at=status.time("startTime"),
        conditions=tuple(map(_condition, status.each("conditions"))),
        template_of=workload,
        parent_labels=parent.strings("labels") if parent else {},
        parent_annotations=parent.strings("annotations") if parent else {},
        flaws=tuple(flaws),
        origin=origin,
        raw=raw,
    )


def _owner(ref: Fields) -> Owner:
    return Owner(
        ref.text("kind"), ref.text("name"), ref.text("uid"), bool(ref.flag("controller")), ref.text("apiVersion")
    )


def _volume(raw: Fields) -> Volume:
    kind = next((str(key) for key in raw.raw if key != "name"), "emptyDir")
    return Volume(raw.text("name"), kind)


def _condition(raw: Fields) -> Condition:
    return Condition(
        raw.text("type"), raw.text("status"), raw.text("reason"), raw.text("message"), raw.time("lastTransitionTime")
    )

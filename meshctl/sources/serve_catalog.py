"""What a snapshot holds, as an API server would list it: resources by group and version, objects by selectors."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from meshctl import json_text
from meshctl.errors import BadInput
from meshctl.frozen import dataclass
from meshctl.sources import kinds
from meshctl.sources.selector import selects
from meshctl.sources.snapshot import Snapshot

Raw = Mapping[str, Any]

# plural.group: (kind, short names). What is missing here is taken from the recorded objects.
_NAMES: dict[str, tuple[str, tuple[str, ...]]] = {
    "pods": ("Pod", ("po",)),
    "services": ("Service", ("svc",)),
    "namespaces": ("Namespace", ("ns",)),
    "nodes": ("Node", ("no",)),
    "events": ("Event", ("ev",)),
    "configmaps": ("ConfigMap", ("cm",)),
    "serviceaccounts": ("ServiceAccount", ("sa",)),
    "endpoints": ("Endpoints", ("ep",)),
    "deployments.apps": ("Deployment", ("deploy",)),
    "replicasets.apps": ("ReplicaSet", ("rs",)),
    "statefulsets.apps": ("StatefulSet", ("sts",)),
    "daemonsets.apps": ("DaemonSet", ("ds",)),
    "jobs.batch": ("Job", ()),
    "cronjobs.batch": ("CronJob", ("cj",)),
    "endpointslices.discovery.k8s.io": ("EndpointSlice", ()),
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": ("MutatingWebhookConfiguration", ()),
    "networkpolicies.networking.k8s.io": ("NetworkPolicy", ("netpol",)),
    "ingresses.networking.k8s.io": ("Ingress", ("ing",)),
    "virtualservices.networking.istio.io": ("VirtualService", ("vs",)),
    "destinationrules.networking.istio.io": ("DestinationRule", ("dr",)),
    "gateways.networking.istio.io": ("Gateway", ("gw",)),
    "serviceentries.networking.istio.io": ("ServiceEntry", ("se",)),
    "sidecars.networking.istio.io": ("Sidecar", ()),
    "envoyfilters.networking.istio.io": ("EnvoyFilter", ()),
    "workloadentries.networking.istio.io": ("WorkloadEntry", ("we",)),
    "peerauthentications.security.istio.io": ("PeerAuthentication", ("pa",)),
    "authorizationpolicies.security.istio.io": ("AuthorizationPolicy", ("ap",)),
    "requestauthentications.security.istio.io": ("RequestAuthentication", ("ra",)),
    "telemetries.telemetry.istio.io": ("Telemetry", ("telemetry",)),
    "wasmplugins.extensions.istio.io": ("WasmPlugin", ()),
    "gateways.gateway.networking.k8s.io": ("Gateway", ("gtw",)),
    "httproutes.gateway.networking.k8s.io": ("HTTPRoute", ()),
    "grpcroutes.gateway.networking.k8s.io": ("GRPCRoute", ()),
    "tcproutes.gateway.networking.k8s.io": ("TCPRoute", ()),
    "tlsroutes.gateway.networking.k8s.io": ("TLSRoute", ()),
    "referencegrants.gateway.networking.k8s.io": ("ReferenceGrant", ("refgrant",)),
    "backendtlspolicies.gateway.networking.k8s.io": ("BackendTLSPolicy", ("btlspolicy",)),
}
_CLUSTER_WIDE = {kind.file_stem for kind in (*kinds.KUBERNETES, *kinds.MESH) if not kind.namespaced}
_VERSIONS = {kind.file_stem: kind.versions[0] for kind in (*kinds.KUBERNETES, *kinds.MESH)}
_BASICS = ("pods", "services", "namespaces", "nodes", "events", "configmaps", "serviceaccounts")


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind that the recording has (or, of the basic ones, could have)."""

    plural: str
    group: str
    version: str
    kind: str
    short_names: tuple[str, ...]
    namespaced: bool
    items: Sequence[Raw] = field(repr=False)

    @property
    def api_version(self) -> str:
        """As in an object's ``apiVersion``."""
        return f"{self.group}/{self.version}" if self.group else self.version


@dataclass(frozen=True, slots=True)
class Chosen:
    """A page of a list; `token` continues it, empty at its end; `left` is how many are still to come."""

    items: Sequence[Raw]
    token: str = ""
    left: int = 0


class Catalog:
    """Every resource of a snapshot, read once."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        found = [_resource(stem, items) for stem, items in _recorded(snapshot).items()]
        self.resources = {(r.group, r.version, r.plural): r for r in found}

    def groups(self) -> dict[str, list[str]]:
        """The versions of each group, the core group among them as an empty name."""
        found: dict[str, list[str]] = {}
        for group, version, _ in self.resources:
            if version not in found.setdefault(group, []):
                found[group].append(version)
        return found

    def of(self, group: str, version: str) -> list[Resource]:
        """The resources of a group's version."""
        return [r for (g, v, _), r in self.resources.items() if (g, v) == (group, version)]

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """One resource."""
        return self.resources.get((group, version, plural))


def _recorded(snapshot: Snapshot) -> dict[str, list[Raw]]:
    found: dict[str, list[Raw]] = {stem: [] for stem in _BASICS}
    for name in snapshot.files.names("resources"):
        stem = name.removesuffix(".json")
        if not name.endswith(".json"):
            continue
        content = snapshot.files.read(f"resources/{name}")
        document = None if content is None else json_text.read(content, f"{snapshot.name}/resources/{name}")
        if stem.startswith("configmap."):
            found["configmaps"] += [document] if isinstance(document, dict) else []
        elif isinstance(document, dict) and isinstance(document.get("items"), list):
            found[stem] = [item for item in document["items"] if isinstance(item, dict)]
    return found


def _resource(stem: str, items: list[Raw]) -> Resource:
    plural, _, group = stem.partition(".")
    of_object = str(items[0].get("apiVersion") or "").rpartition("/")[2] if items else ""
    version = of_object or _VERSIONS.get(stem, "v1")
    kind, shorts = _NAMES.get(stem, (str(items[0].get("kind") or plural) if items else plural, ()))
    namespaced = stem not in _CLUSTER_WIDE
    if stem not in _NAMES and items:
        namespaced = any((item.get("metadata") or {}).get("namespace") for item in items)
    api_version = f"{group}/{version}" if group else version
    complete = [_complete(item, api_version, kind, number) for number, item in enumerate(items)]
    ordered = sorted(complete, key=lambda raw: (raw["metadata"].get("namespace", ""), raw["metadata"].get("name", "")))
    return Resource(plural, group, version, kind, shorts, namespaced, ordered)


def _complete(item: Raw, api_version: str, kind: str, number: int) -> Raw:
    """What a client expects of every object."""
    metadata = dict(item.get("metadata") or {})
    metadata.setdefault("resourceVersion", "1")
    metadata.setdefault("uid", f"00000000-0000-0000-0000-{number:012d}")
    return {"apiVersion": api_version, "kind": kind, **item, "metadata": metadata}


def choose(
    resource: Resource, namespace: str | None, labels: str, fields: str, limit: int = 0, token: str = ""
) -> Chosen:
    """The objects that a request selects, a page of them. Raises BadInput for a selector that is none."""
    found = [
        item
        for item in resource.items
        if (namespace is None or item["metadata"].get("namespace") == namespace)
        and (not labels or selects(labels, item["metadata"].get("labels")))
        and (not fields or _field_fits(item, fields))
    ]
    start = _offset(token)
    page = found[start : start + limit] if limit else found[start:]
    left = len(found) - start - len(page)
    following = base64.urlsafe_b64encode(f"after:{start + len(page)}".encode()).decode() if left > 0 else ""
    return Chosen(page, following, max(left, 0))


def _offset(token: str) -> int:
    if not token:
        return 0
    try:
        word, _, number = base64.urlsafe_b64decode(token.encode()).decode().partition(":")
        if word == "after":
            return int(number)
    except ValueError:
        pass
    raise BadInput("the continue token is not one of this server")


def _field_fits(item: Raw, selector: str) -> bool:
    """Field selectors: ``a.b=c``, ``==``, ``!=``, parted by commas; a field that is not there is empty."""
    for clause in filter(None, selector.split(",")):
        negated = "!=" in clause
        path, sign, wanted = clause.partition("!=" if negated else "==" if "==" in clause else "=")
        if not sign or not path:
            raise BadInput(f"'{clause}' is no field selector")
        value: Any = item
        for key in path.strip().split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        if (text == wanted.strip()) == negated:
            return False
    return True

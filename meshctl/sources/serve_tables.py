"""Tables as an API server prints them for kubectl (meta.k8s.io/v1 Table); `-o wide` shows the columns of priority 1.

The columns are those of kubernetes pkg/printers/internalversion/printers.go, and of Istio's CRDs for its kinds.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from meshctl.sources.serve_catalog import Resource

Raw = Mapping[str, Any]
Cell = Callable[[Raw, datetime], Any]
Columns = Sequence[tuple[str, Cell] | tuple[str, Cell, int]]


def table(resource: Resource, items: Sequence[Raw], now: datetime, metadata: Raw) -> dict[str, Any]:
    """A Table of some objects; each row carries the object's metadata, as kubectl asks for by default."""
    columns = _COLUMNS.get((resource.plural, resource.group), (("Age", _age),))
    if resource.plural != "events":
        columns = (("Name", _name), *columns)
    definitions = [
        {
            "name": column[0],
            "type": "string",
            "format": "name" if column[0] == "Name" else "",
            "description": "",
            "priority": column[2] if len(column) == 3 else 0,
        }
        for column in columns
    ]
    rows = [
        {
            "cells": [column[1](item, now) for column in columns],
            "object": {
                "apiVersion": "meta.k8s.io/v1",
                "kind": "PartialObjectMetadata",
                "metadata": item.get("metadata", {}),
            },
        }
        for item in items
    ]
    return {
        "apiVersion": "meta.k8s.io/v1",
        "kind": "Table",
        "metadata": metadata,
        "columnDefinitions": definitions,
        "rows": rows,
    }


def duration(seconds: float) -> str:
    """An age as kubectl writes it: two units where the larger one is small (k8s.io/apimachinery duration)."""
    total = int(seconds)
    if total < 0:
        return "<invalid>"
    if total < 120:
        return f"{total}s"
    minutes = total // 60
    if minutes < 10:
        return f"{minutes}m{total % 60}s" if total % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours = minutes // 60
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    return f"{days}d{hours % 24}h" if days < 8 and hours % 24 else f"{days}d"


def _at(raw: Raw, *path: str | int) -> Any:
    value: Any = raw
    for key in path:
        if isinstance(key, int):
            value = value[key] if isinstance(value, list) and len(value) > key else None
        else:
            value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _since(text: Any, now: datetime) -> str:
    try:
        moment = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return "<unknown>"
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return duration((now - moment).total_seconds())


def _name(raw: Raw, _now: datetime) -> Any:
    return _at(raw, "metadata", "name")


def _age(raw: Raw, now: datetime) -> Any:
    return _since(_at(raw, "metadata", "creationTimestamp"), now)


def _field(*path: str | int, none: str = "<none>") -> Cell:
    def cell(raw: Raw, _now: datetime) -> Any:
        value = _at(raw, *path)
        return none if value in (None, "", []) else value

    return cell


def _joined(*path: str | int, key: str = "") -> Cell:
    def cell(raw: Raw, _now: datetime) -> Any:
        values = _at(raw, *path) or []
        words = [str(value.get(key) if key and isinstance(value, Mapping) else value) for value in values]
        return ",".join(words) or "<none>"

    return cell


def _json(*path: str | int) -> Cell:
    """As a CRD's printer column writes a list."""

    def cell(raw: Raw, _now: datetime) -> Any:
        import json

        value = _at(raw, *path)
        return "" if value is None else value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))

    return cell


def _all_statuses(raw: Raw) -> list[Raw]:
    """Of the containers that count for readiness: the ordinary ones, and init containers that keep running."""
    always = {c.get("name") for c in _at(raw, "spec", "initContainers") or () if c.get("restartPolicy") == "Always"}
    inits = [s for s in _at(raw, "status", "initContainerStatuses") or () if s.get("name") in always]
    return [*inits, *(_at(raw, "status", "containerStatuses") or ())]


def _ready(raw: Raw, _now: datetime) -> str:
    always = [c for c in _at(raw, "spec", "initContainers") or () if c.get("restartPolicy") == "Always"]
    total = len(_at(raw, "spec", "containers") or ()) + len(always)
    return f"{sum(1 for s in _all_statuses(raw) if s.get('ready'))}/{total}"


def _pod_status(raw: Raw, _now: datetime) -> str:
    reason = str(_at(raw, "status", "reason") or _at(raw, "status", "phase") or "Unknown")
    inits = _at(raw, "status", "initContainerStatuses") or []
    always = {c.get("name") for c in _at(raw, "spec", "initContainers") or () if c.get("restartPolicy") == "Always"}
    for number, status in enumerate(inits):
        state = status.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting")
        if (ended and ended.get("exitCode") == 0) or (status.get("name") in always and status.get("started")):
            continue
        if ended:
            return f"Init:{ended.get('reason') or 'ExitCode:' + str(ended.get('exitCode'))}"
        if waiting and waiting.get("reason") not in (None, "", "PodInitializing"):
            return f"Init:{waiting['reason']}"
        return f"Init:{number}/{len(inits)}"
    for status in reversed(_at(raw, "status", "containerStatuses") or []):
        state = status.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
        reason = str(waiting.get("reason") or ended.get("reason") or reason)
    if _at(raw, "metadata", "deletionTimestamp"):
        return "Terminating"
    return reason


def _restarts(raw: Raw, now: datetime) -> str:
    statuses = _all_statuses(raw)
    count = sum(int(status.get("restartCount") or 0) for status in statuses)
    ends = [at for s in statuses if (at := _at(s, "lastState", "terminated", "finishedAt"))]
    return f"{count} ({_since(max(ends), now)} ago)" if count and ends else str(count)


def _ports(raw: Raw, _now: datetime) -> str:
    words = []
    for port in _at(raw, "spec", "ports") or ():
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        words.append(f"{port.get('port')}{node}/{port.get('protocol') or 'TCP'}")
    return ",".join(words) or "<none>"


def _external(raw: Raw, _now: datetime) -> str:
    kind = _at(raw, "spec", "type")
    if kind == "ExternalName":
        return str(_at(raw, "spec", "externalName") or "<none>")
    ingress = [str(i.get("ip") or i.get("hostname")) for i in _at(raw, "status", "loadBalancer", "ingress") or ()]
    addresses = [*ingress, *(_at(raw, "spec", "externalIPs") or ())]
    return ",".join(addresses) or ("<pending>" if kind == "LoadBalancer" else "<none>")


def _selector(*path: str) -> Cell:
    def cell(raw: Raw, _now: datetime) -> str:
        labels = _at(raw, *path) or {}
        return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or "<none>"

    return cell


def _replicas(raw: Raw, _now: datetime) -> str:
    return f"{_at(raw, 'status', 'readyReplicas') or 0}/{_at(raw, 'spec', 'replicas') or 0}"


def _count(*path: str) -> Cell:
    return _field(*path, none="0")


def _node_status(raw: Raw, _now: datetime) -> str:
    conditions = _at(raw, "status", "conditions") or ()
    is_ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    word = "Ready" if is_ready else "NotReady"
    return f"{word},SchedulingDisabled" if _at(raw, "spec", "unschedulable") else word


def _roles(raw: Raw, _now: datetime) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = _at(raw, "metadata", "labels") or {}
    return ",".join(sorted(key.removeprefix(prefix) for key in labels if key.startswith(prefix))) or "<none>"


def _address(kind: str) -> Cell:
    def cell(raw: Raw, _now: datetime) -> str:
        found = [a.get("address") for a in _at(raw, "status", "addresses") or () if a.get("type") == kind]
        return str(found[0]) if found else "<none>"

    return cell


def _seen(raw: Raw, now: datetime) -> str:
    moment = _at(raw, "lastTimestamp") or _at(raw, "eventTime") or _at(raw, "metadata", "creationTimestamp")
    return _since(moment, now)


def _about(raw: Raw, _now: datetime) -> str:
    return f"{str(_at(raw, 'involvedObject', 'kind') or '').lower()}/{_at(raw, 'involvedObject', 'name') or ''}"


def _endpoints(raw: Raw, _now: datetime) -> str:
    addresses = [address for e in _at(raw, "endpoints") or () for address in e.get("addresses") or ()]
    shown = ",".join(addresses[:3])
    return f"{shown} + {len(addresses) - 3} more..." if len(addresses) > 3 else shown or "<unset>"


def _data_count(raw: Raw, _now: datetime) -> int:
    return len(_at(raw, "data") or {}) + len(_at(raw, "binaryData") or {})


_TEMPLATE = ("spec", "template", "spec", "containers")
_WORKLOAD_WIDE: Columns = (
    ("Containers", _joined(*_TEMPLATE, key="name"), 1),
    ("Images", _joined(*_TEMPLATE, key="image"), 1),
    ("Selector", _selector("spec", "selector", "matchLabels"), 1),
)
_COLUMNS: dict[tuple[str, str], Columns] = {
    ("pods", ""): (
        ("Ready", _ready),
        ("Status", _pod_status),
        ("Restarts", _restarts),
        ("Age", _age),
        ("IP", _field("status", "podIP"), 1),
        ("Node", _field("spec", "nodeName"), 1),
        ("Nominated Node", _field("status", "nominatedNodeName"), 1),
        ("Readiness Gates", lambda _raw, _now: "<none>", 1),
    ),
    ("services", ""): (
        ("Type", _field("spec", "type")),
        ("Cluster-IP", _field("spec", "clusterIP")),
        ("External-IP", _external),
        ("Port(s)", _ports),
        ("Age", _age),
        ("Selector", _selector("spec", "selector"), 1),
    ),
    ("namespaces", ""): (("Status", _field("status", "phase")), ("Age", _age)),
    ("nodes", ""): (
        ("Status", _node_status),
        ("Roles", _roles),
        ("Age", _age),
        ("Version", _field("status", "nodeInfo", "kubeletVersion")),
        ("Internal-IP", _address("InternalIP"), 1),
        ("External-IP", _address("ExternalIP"), 1),
        ("OS-Image", _field("status", "nodeInfo", "osImage", none="<unknown>"), 1),
        ("Kernel-Version", _field("status", "nodeInfo", "kernelVersion", none="<unknown>"), 1),
        ("Container-Runtime", _field("status", "nodeInfo", "containerRuntimeVersion", none="<unknown>"), 1),
    ),
    ("events", ""): (
        ("Last Seen", _seen),
        ("Type", _field("type", none="")),
        ("Reason", _field("reason", none="")),
        ("Object", _about),
        ("Message", _field("message", none="")),
        ("Count", _field("count", none=""), 1),
        ("Name", _name, 1),
    ),
    ("configmaps", ""): (("Data", _data_count), ("Age", _age)),
    ("deployments", "apps"): (
        ("Ready", _replicas),
        ("Up-to-date", _count("status", "updatedReplicas")),
        ("Available", _count("status", "availableReplicas")),
        ("Age", _age),
        *_WORKLOAD_WIDE,
    ),
    ("replicasets", "apps"): (
        ("Desired", _count("spec", "replicas")),
        ("Current", _count("status", "replicas")),
        ("Ready", _count("status", "readyReplicas")),
        ("Age", _age),
        *_WORKLOAD_WIDE,
    ),
    ("statefulsets", "apps"): (("Ready", _replicas), ("Age", _age), *_WORKLOAD_WIDE[:2]),
    ("daemonsets", "apps"): (
        ("Desired", _count("status", "desiredNumberScheduled")),
        ("Current", _count("status", "currentNumberScheduled")),
        ("Ready", _count("status", "numberReady")),
        ("Up-to-date", _count("status", "updatedNumberScheduled")),
        ("Available", _count("status", "numberAvailable")),
        ("Node Selector", _selector("spec", "template", "spec", "nodeSelector")),
        ("Age", _age),
        *_WORKLOAD_WIDE,
    ),
    ("endpointslices", "discovery.k8s.io"): (
        ("AddressType", _field("addressType")),
        ("Ports", _joined("ports", key="port")),
        ("Endpoints", _endpoints),
        ("Age", _age),
    ),
    ("virtualservices", "networking.istio.io"): (
        ("Gateways", _json("spec", "gateways")),
        ("Hosts", _json("spec", "hosts")),
        ("Age", _age),
    ),
    ("destinationrules", "networking.istio.io"): (("Host", _json("spec", "host")), ("Age", _age)),
    ("serviceentries", "networking.istio.io"): (
        ("Hosts", _json("spec", "hosts")),
        ("Location", _json("spec", "location")),
        ("Resolution", _json("spec", "resolution")),
        ("Age", _age),
    ),
    ("peerauthentications", "security.istio.io"): (("Mode", _json("spec", "mtls", "mode")), ("Age", _age)),
    ("authorizationpolicies", "security.istio.io"): (("Action", _json("spec", "action")), ("Age", _age)),
}

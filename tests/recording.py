"""Small snapshots written for one test, in the format of the snapshots that users record."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CAPTURED_AT = "2026-01-02T03:04:05+00:00"


def pod(name: str, namespace: str, *, ready: bool = True, labels: Mapping[str, str] | None = None, **more: Any) -> Any:
    """A running pod as the API returns it, with one container."""
    metadata = {"name": name, "namespace": namespace, "labels": dict(labels or {}), **more.pop("metadata", {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [{"name": "app", "image": "app:1"}], "nodeName": "node", **more.pop("spec", {})},
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.9",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            **more.pop("status", {}),
        },
    }


def owned(kind: str, name: str) -> Any:
    """The metadata of a pod that a controller manages."""
    return {"ownerReferences": [{"kind": kind, "name": name, "controller": True}]}


def write(
    folder: Path,
    *,
    namespaces: Sequence[str],
    resources: Mapping[str, Sequence[Any]] | None = None,
    files: Mapping[str, str | bytes] | None = None,
    **about: Any,
) -> Path:
    """Write a snapshot: `resources` by file stem (``pods``, ``services`` ...), `files` by their path in it."""
    folder.mkdir(parents=True, exist_ok=True)
    described = {"schema": "meshctl.snapshot/v1", "name": folder.name, "captured_at": CAPTURED_AT, **about}
    (folder / "snapshot.json").write_text(json.dumps({**described, "namespaces": list(namespaces)}))
    for stem, items in (resources or {}).items():
        put(folder, f"resources/{stem}.json", json.dumps({"kind": "List", "items": list(items)}))
    for name, content in (files or {}).items():
        put(folder, name, content)
    return folder


def put(folder: Path, name: str, content: str | bytes) -> None:
    """Write one file of a snapshot."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)

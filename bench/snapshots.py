"""Snapshots of any size, made from the demo: one workload, Service and proxy for each name, all knowing each other."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEMO = Path(__file__).parent.parent / "meshctl" / "demo" / "snapshot"
SPACE = "classic"
SERVICES = ("details", "productpage", "ratings", "reviews")
OWN, OTHER = "ratings", "details"
"""Each made pod is like the demo's `OWN`; each made Service is, to a proxy, like `OTHER`."""


@dataclass(frozen=True, slots=True)
class Made:
    """A made workload: its name, its pod's name and address, its Service's address."""

    name: str
    pod: str
    address: str
    service: str


def make(root: Path, count: int, *, parts: bool = True) -> None:
    """Write a snapshot of `count` workloads; without `parts` nothing but the Kubernetes objects."""
    world = [_made(number) for number in range(count)]
    own = next(item for item in _items("pods") if item["metadata"]["name"].startswith(f"{OWN}-"))
    pod, address = own["metadata"]["name"], own["status"]["podIP"]
    _copy_resources(root)
    like = _Like(pod, address, _service(OWN)["spec"]["clusterIP"])
    for stem, template in (
        ("pods", own),
        ("services", _service(OWN)),
        ("endpointslices.discovery.k8s.io", _named("endpointslices.discovery.k8s.io", f"{OWN}-")),
        ("replicasets.apps", _named("replicasets.apps", f"{OWN}-")),
        ("deployments.apps", _named("deployments.apps", f"{OWN}-")),
        ("serviceaccounts", _named("serviceaccounts", f"bookinfo-{OWN}")),
    ):
        text = json.dumps(template)
        _write_list(root, stem, [json.loads(like.renamed(text, made)) for made in world])
    for stem in ("events", "virtualservices.networking.istio.io", "destinationrules.networking.istio.io"):
        _write_list(root, stem, [])
    if parts:
        _write_parts(root, world, like, DEMO / "pods" / SPACE / pod)


def _made(number: int) -> Made:
    name = f"shop{number:04d}"
    high, low = divmod(number + 10, 250)
    return Made(name, f"{name}-v1-59fd7df6c-kq4bh", f"10.244.{high}.{low + 1}", f"10.112.{high}.{low + 1}")


@dataclass(frozen=True, slots=True)
class _Like:
    """What is replaced in the text of a template."""

    pod: str
    address: str
    service: str

    def renamed(self, text: str, made: Made) -> str:
        for old, new in (
            (self.pod, made.pod),
            (self.address, made.address),
            (self.service, made.service),
            (OWN, made.name),
        ):
            text = text.replace(old, new)
        return text


def _items(stem: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads((DEMO / "resources" / f"{stem}.json").read_text())["items"]
    return items


def _named(stem: str, start: str) -> dict[str, Any]:
    return next(
        item
        for item in _items(stem)
        if item["metadata"]["name"].startswith(start) and item["metadata"].get("namespace") == SPACE
    )


def _service(name: str) -> dict[str, Any]:
    return next(item for item in _items("services") if item["metadata"]["name"] == name)


def _copy_resources(root: Path) -> None:
    (root / "resources").mkdir(parents=True)
    (root / "snapshot.json").write_bytes((DEMO / "snapshot.json").read_bytes())
    for file in (DEMO / "resources").iterdir():
        (root / "resources" / file.name).write_bytes(file.read_bytes())


def _write_list(root: Path, stem: str, items: Sequence[Mapping[str, Any]]) -> None:
    """Replace the demo's objects of its application namespace with the made ones; others stay."""
    others = [item for item in _items(stem) if item["metadata"].get("namespace") != SPACE]
    (root / "resources" / f"{stem}.json").write_text(json.dumps({"kind": "List", "items": [*others, *items]}))


def _write_parts(root: Path, world: Sequence[Made], like: _Like, folder: Path) -> None:
    dump = json.loads((folder / "envoy" / "config_dump.json").read_text())
    shared = json.dumps(_knowing_all(dump, world))
    files = [file for file in folder.rglob("*") if file.is_file() and file.name != "config_dump.json"]
    texts = {file.relative_to(folder): file.read_text() for file in files}
    for made in world:
        place = root / "pods" / SPACE / made.pod
        for name, text in texts.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(like.renamed(text, made))
        (place / "envoy" / "config_dump.json").write_text(like.renamed(shared, made))


def _knowing_all(dump: dict[str, Any], world: Sequence[Made]) -> dict[str, Any]:
    """A proxy's configuration with every made Service in it, instead of the demo's own."""
    for section in dump["configs"]:
        for key, entries in section.items():
            if key in ("dynamic_active_clusters", "dynamic_endpoint_configs"):
                section[key] = _multiplied(entries, world)
            elif key == "dynamic_route_configs":
                for entry in entries:
                    config = entry["route_config"]
                    config["virtual_hosts"] = _multiplied(config.get("virtual_hosts", []), world)
    return dump


def _multiplied(entries: Sequence[Any], world: Sequence[Made]) -> list[Any]:
    """The entries that are about no Service of the demo, and a copy for each made Service of the one about `OTHER`."""
    texts = {id(entry): json.dumps(entry) for entry in entries}
    outward = [entry for entry in entries if '"inbound|' not in texts[id(entry)]]
    about = {name: [e for e in outward if f"{name}.{SPACE}" in texts[id(e)]] for name in SERVICES}
    known = [id(entry) for found in about.values() for entry in found]
    kept = [entry for entry in entries if id(entry) not in known]
    templates = [json.dumps(entry) for entry in about[OTHER]]
    pod = next(i for i in _items("pods") if i["metadata"]["name"].startswith(f"{OTHER}-"))["status"]["podIP"]
    service = _service(OTHER)["spec"]["clusterIP"]
    for made in world:
        for text in templates:
            made_text = text.replace(pod, made.address).replace(service, made.service).replace(OTHER, made.name)
            kept.append(json.loads(made_text))
    return kept

"""A small made mesh as a snapshot on disk: pods, Services and the proxies' configurations that a test writes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshctl.gather import question
from meshctl.gather import trace as gather
from meshctl.gather.scope import Scope
from meshctl.path.model import Trace
from meshctl.path.trace import trace
from meshctl.sources.snapshot import open_snapshot

NAMESPACES = ("shop", "istio-system", "kube-system")
"""The namespaces that are recorded."""

INIT = ["istio-iptables", "-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT", "-i", "*", "-x", "", "-b", "*"]
INIT += ["-d", "15090,15021,15020"]
SOCKETS = "Netid State Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n"


def pod(
    name: str, ip: str, *, gateway: bool = False, ips: Sequence[str] = (), namespace: str = "shop"
) -> dict[str, Any]:
    """A running pod with a sidecar, or a gateway."""
    image = "docker.io/istio/proxyv2:1.30.3"
    proxy: dict[str, Any] = {"name": "istio-proxy", "image": image}
    proxy["args"] = ["proxy", "router" if gateway else "sidecar"]
    proxy["securityContext"] = {"runAsUser": 1337, "runAsGroup": 1337}
    app = {"name": name, "image": "example/app:1", "securityContext": {"runAsUser": 1000, "runAsGroup": 1000}}
    spec: dict[str, Any] = {"nodeName": "one", "serviceAccountName": name, "containers": [proxy]}
    annotations = {} if gateway else {"sidecar.istio.io/status": "{}"}
    if not gateway:
        spec["containers"] = [app, proxy]
        spec["initContainers"] = [{"name": "istio-init", "image": image, "args": INIT}]
    metadata = {"name": name, "namespace": namespace, "labels": {"app": name}, "annotations": annotations}
    ready = [{"type": "Ready", "status": "True"}]
    status = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": one} for one in (ip, *ips)], "conditions": ready}
    return {"metadata": metadata, "spec": spec, "status": status}


def plain(name: str, ip: str, *, on: str = "one", phase: str = "Running") -> dict[str, Any]:
    """A pod outside of the mesh."""
    made = pod(name, ip)
    made["metadata"]["annotations"] = {}
    made["spec"]["containers"] = made["spec"]["containers"][:1]
    del made["spec"]["initContainers"]
    made["spec"]["nodeName"] = on
    made["status"]["phase"] = phase
    return made


def service(
    name: str, address: str, port: int, target: int, *, namespace: str = "shop", more: Sequence[str] = ()
) -> dict[str, Any]:
    """A Service with one http port."""
    ports = [{"name": "http", "port": port, "targetPort": target, "protocol": "TCP"}]
    spec = {"clusterIP": address, "clusterIPs": [address, *more], "ports": ports, "selector": {"app": name}}
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


def endpoints(
    name: str, port: int, *addresses: str, namespace: str = "shop", pods: Sequence[str] = ()
) -> dict[str, Any]:
    """An EndpointSlice whose endpoints are ready."""
    names = pods or [name] * len(addresses)
    ends = [
        {
            "addresses": [a],
            "conditions": {"ready": True},
            "targetRef": {"kind": "Pod", "namespace": namespace, "name": p},
        }
        for a, p in zip(addresses, names, strict=True)
    ]
    labels = {"kubernetes.io/service-name": name}
    metadata = {"name": f"{name}-1", "namespace": namespace, "labels": labels}
    return {"metadata": metadata, "endpoints": ends, "ports": [{"name": "http", "port": port}]}


@dataclass
class Mesh:
    """What is written; `dumps`, `listening`, `rules` (iptables-save) are by the pod's name, `files` by their path.

    `settings` is the MeshConfig.
    """

    pods: Sequence[Mapping[str, Any]]
    services: Sequence[Mapping[str, Any]] = ()
    slices: Sequence[Mapping[str, Any]] = ()
    entries: Sequence[Mapping[str, Any]] = ()
    dumps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    listening: Mapping[str, Sequence[str]] = field(default_factory=dict)
    rules: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    settings: str = "rootNamespace: istio-system"

    def trace(self, folder: Path, target: str, sender: str | None, **asked: Any) -> Trace:
        """Predict one request in it."""
        self.write(folder)
        world = open_snapshot(str(folder))
        scene = gather.scene(world, Scope("shop"))
        words = {"path": None, "method": None, "host": None, **asked}
        told = question.Asked(target=target, sender=sender, **words)
        return trace(scene, question.question(world, scene, told, Scope("shop")))

    def write(self, folder: Path) -> None:
        """Write the snapshot."""
        resources = folder / "resources"
        resources.mkdir(parents=True)
        about = {"schema": "meshctl.snapshot/v1", "name": "made", "captured_at": "2026-01-01T00:00:00+00:00"}
        (folder / "snapshot.json").write_text(json.dumps({**about, "namespaces": NAMESPACES}))
        for stem, items in (
            ("pods", self.pods),
            ("services", self.services),
            ("endpointslices.discovery.k8s.io", self.slices),
            ("serviceentries.networking.istio.io", self.entries),
        ):
            (resources / f"{stem}.json").write_text(json.dumps({"kind": "List", "items": list(items)}))
        settings = {"metadata": {"name": "istio", "namespace": "istio-system"}, "data": {"mesh": self.settings}}
        (resources / "configmap.istio-system.istio.json").write_text(json.dumps(settings))
        for each in self.pods:
            name, namespace = each["metadata"]["name"], each["metadata"]["namespace"]
            place = folder / "pods" / namespace / name
            (place / "envoy").mkdir(parents=True)
            (place / "netns").mkdir()
            if name in self.dumps:
                (place / "envoy" / "config_dump.json").write_text(json.dumps(self.dumps[name]))
            proxy = ['tcp LISTEN 0 4096 0.0.0.0:15001 0.0.0.0:* users:(("envoy",pid=9,fd=1)) uid:1337']
            proxy += ['tcp LISTEN 0 4096 0.0.0.0:15006 0.0.0.0:* users:(("envoy",pid=9,fd=2)) uid:1337']
            proxy += ['tcp LISTEN 0 4096 [::]:15001 [::]:* users:(("envoy",pid=9,fd=3)) uid:1337']
            proxy += ['tcp LISTEN 0 4096 [::]:15006 [::]:* users:(("envoy",pid=9,fd=4)) uid:1337']
            alone = [c["name"] for c in each["spec"]["containers"]] == ["istio-proxy"]
            program = '(("envoy",pid=9,fd=5)) uid:1337' if alone else '(("app",pid=7,fd=3)) uid:1000'
            app = [f"tcp LISTEN 0 128 {at} 0.0.0.0:* users:{program}" for at in self.listening.get(name, ())]
            (place / "netns" / "sockets.txt").write_text(SOCKETS + "\n".join([*proxy, *app]) + "\n")
            if name in self.rules:
                (place / "netns" / "iptables-save.txt").write_text(self.rules[name])
                (place / "netns" / "ip6tables-save.txt").write_text("")
        for path, text in self.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)

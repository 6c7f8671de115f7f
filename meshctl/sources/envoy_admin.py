"""A remote proxy's admin interface: port-forward to it, or let pilot-agent ask from inside; whichever is allowed."""

import re
from collections.abc import Mapping
from typing import Any

from meshctl import json_text
from meshctl.errors import MeshctlError, NoAccess, Unavailable
from meshctl.sources.kube_client import Api
from meshctl.sources.world import Part

Raw = Mapping[str, Any]

DEFAULT_PORT = 15000
PATHS = {
    "envoy/config_dump.json": "/config_dump?include_eds",
    "envoy/clusters.json": "/clusters?format=json",
    "envoy/server_info.json": "/server_info",
    "envoy/certs.json": "/certs",
    "envoy/stats.txt": "/stats",
    "ztunnel/config_dump.json": "/config_dump",
}
"""What is asked for each part; all of them GET, and none of them changes anything in Envoy."""

_BOOTSTRAPS = ("/etc/istio/proxy/envoy-rev.json", "/etc/istio/proxy/envoy-rev0.json")


def fetch(api: Api, pod: Raw, name: str, timeout_s: float) -> Part:
    """One part from the admin port; a gap with every way's reason where none works."""
    path = PATHS[name]
    metadata = pod.get("metadata", {})
    namespace, pod_name = str(metadata.get("namespace", "default")), str(metadata.get("name", ""))
    container = proxy_container(pod)
    where = f"{pod_name}.{namespace}"
    port = admin_port(pod)
    source = f"{where}:{port}{path}"
    problems: list[str] = []
    refused = True
    for way in (_forward, _exec):
        if way is _exec and (container is None or name.startswith("ztunnel/")):
            continue
        try:
            return Part(source, way(api, namespace, pod_name, container or "", port, path, timeout_s))
        except MeshctlError as error:
            refused = refused and isinstance(error, NoAccess)
            problems.append(str(error))
    hint = "; pods/portforward or pods/exec is needed (`meshctl doctor --role proxy`)" if refused else ""
    return Part(source, None, f"the proxy of {where} cannot be asked: {'; '.join(dict.fromkeys(problems))}{hint}")


def proxy_container(pod: Raw) -> str | None:
    """The container that runs pilot-agent and Envoy, if the pod has one."""
    spec = pod.get("spec", {})
    names = [c.get("name") for c in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))]
    return "istio-proxy" if "istio-proxy" in names else None


def admin_port(pod: Raw) -> int:
    """The port that the bootstrap will be written with: ``proxyAdminPort`` of the pod's proxy configuration."""
    spec = pod.get("spec", {})
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        for variable in container.get("env") or ():
            if variable.get("name") == "PROXY_CONFIG":
                return _port_in(str(variable.get("value") or ""))
    annotations = pod.get("metadata", {}).get("annotations") or {}
    return _port_in(str(annotations.get("proxy.istio.io/config") or ""))


def _port_in(text: str) -> int:
    found = re.search(r"[\"']?proxyAdminPort[\"']?\s*:\s*(\d{1,5})", text)
    return int(found[1]) if found else DEFAULT_PORT


def _forward(api: Api, namespace: str, pod: str, _container: str, port: int, path: str, timeout_s: float) -> bytes:
    return api.forwarded_get(namespace, pod, port, path, timeout_s)


def _exec(api: Api, namespace: str, pod: str, container: str, port: int, path: str, timeout_s: float) -> bytes:
    content, problem = _ask_agent(api, namespace, pod, container, port, path, timeout_s)
    if "connection refused" in problem:
        # The mesh's defaults may have moved the port: the bootstrap that Envoy was started with knows.
        written = _port_of_bootstrap(api, namespace, pod, container, timeout_s)
        if written and written != port:
            content, problem = _ask_agent(api, namespace, pod, container, written, path, timeout_s)
    if problem:
        raise Unavailable(f"pilot-agent in {pod}.{namespace} says: {problem}")
    return content


def _ask_agent(
    api: Api, namespace: str, pod: str, container: str, port: int, path: str, timeout_s: float
) -> tuple[bytes, str]:
    which = [] if port == DEFAULT_PORT else [f"--debug-port={port}"]
    done = api.run(namespace, pod, container, ["pilot-agent", "request", *which, "GET", path], timeout_s)
    if done.code == 0:
        return done.stdout, ""
    said = done.problem or done.stderr.decode(errors="replace").strip().split("\n")[-1]
    return b"", said or f"exit code {done.code}"


def _port_of_bootstrap(api: Api, namespace: str, pod: str, container: str, timeout_s: float) -> int | None:
    for file in _BOOTSTRAPS:
        done = api.run(namespace, pod, container, ["cat", file], timeout_s)
        if done.code == 0:
            try:
                return int(json_text.loads(done.stdout)["admin"]["address"]["socket_address"]["port_value"])
            except (ValueError, KeyError, TypeError):
                return None
    return None

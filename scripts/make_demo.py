"""Make the embedded demo from a recorded snapshot: whole files, less what belongs to namespaces outside it.

    python scripts/make_demo.py RECORDING meshctl/demo/snapshot

Nothing is invented or altered: objects, Envoy resources and virtual hosts of other namespaces are left out, long
lists that no command reads (the bootstrap's statistics rules, the runtime's seccomp profile) are dropped, JSON is
written without blanks.
"""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

HOST = re.compile(r"\.([a-z0-9-]+)\.svc\.cluster\.local")
UNREAD = {
    *("seccomp", "maskedPaths", "readonlyPaths", "devices", "mounts", "runtimeOptions", "node", "config", "env"),
    *("resources", "capabilities", "rlimits", "cniResult", "root", "envs", "verbosity"),
}

_pods: set[str] = set()


def main(source: Path, target: Path) -> None:
    """Copy a snapshot, trimmed."""
    about = json.loads((source / "snapshot.json").read_text())
    spaces = set(about["namespaces"])
    _pods.update(p.name for space in spaces for p in (source / "pods" / space).iterdir() if space != "istio-system")
    shutil.rmtree(target, ignore_errors=True)
    for file in sorted(p for p in source.rglob("*") if p.is_file()):
        name = file.relative_to(source)
        content = trimmed(name, file, spaces)
        if content is not None:
            place = target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
    print(f"{sum(p.stat().st_size for p in target.rglob('*') if p.is_file()):,} bytes in {target}")


def trimmed(name: Path, file: Path, spaces: set[str]) -> bytes | None:
    """The bytes to keep of one file, None to leave it out."""
    parts = name.parts
    if parts[0] == "pods" and parts[1] == "istio-system" and parts[3] != "netns":
        return None
    if file.name in ("server_info.json", "processes.json", "sandbox.json") or file.name.startswith("container-"):
        return compact(small(json.loads(file.read_bytes())))
    if file.name == "config_dump.json" and "envoy" in parts:
        return compact(config_dump(json.loads(file.read_bytes()), spaces - {"istio-system"}))
    if file.name == "clusters.json":
        return compact(clusters(json.loads(file.read_bytes()), spaces - {"istio-system"}))
    if parts[0] == "nodes" and file.name == "iptables-save.txt":
        return node_rules(file.read_text(), spaces | {"kube-system"}).encode()
    if file.name == "certs.json":
        return compact(certs(json.loads(file.read_bytes())))
    if parts[0] == "resources":
        return compact(resources(json.loads(file.read_bytes()), spaces))
    if file.suffix == ".json" and file.name != "snapshot.json":
        return compact(json.loads(file.read_bytes()))
    return file.read_bytes()


def compact(document: Any) -> bytes:
    """JSON without blanks."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def ours(text: str, spaces: set[str]) -> bool:
    """Whether a host or cluster name belongs to a namespace of the snapshot, or to none."""
    found = HOST.search(text)
    return found is None or found[1] in spaces


def config_dump(dump: dict[str, Any], spaces: set[str]) -> dict[str, Any]:
    """Envoy's configuration without the clusters, endpoints, listeners and virtual hosts of other namespaces."""
    parts = sorted(dump["configs"], key=lambda c: c["@type"].endswith("ListenersConfigDump"))
    for part in parts:
        kind = part["@type"].rpartition(".")[2]
        if kind == "BootstrapConfigDump":
            for unread in ("stats_config", "layered_runtime", "overload_manager"):
                part["bootstrap"].pop(unread, None)
            part["bootstrap"].get("node", {}).pop("extensions", None)
        if kind == "ClustersConfigDump":
            part["dynamic_active_clusters"] = [
                c for c in part["dynamic_active_clusters"] if ours(c["cluster"]["name"], spaces)
            ]
        if kind == "EndpointsConfigDump":
            part["dynamic_endpoint_configs"] = [
                e
                for e in part["dynamic_endpoint_configs"]
                if ours(e["endpoint_config"].get("cluster_name", ""), spaces)
            ]
        if kind == "RoutesConfigDump":
            for route in part.get("dynamic_route_configs", ()):
                config = route["route_config"]
                config["virtual_hosts"] = [
                    v for v in config.get("virtual_hosts", ()) if ours(" ".join(v.get("domains", ())), spaces)
                ]
        if kind == "ListenersConfigDump":
            part["dynamic_listeners"] = [
                without_log_format(x)
                for x in part["dynamic_listeners"]
                if all(ours(c, spaces) for c in _clusters_of(x)) and not _tables_of(x) & _emptied(dump)
            ]
    return dump


def _emptied(dump: dict[str, Any]) -> set[str]:
    """The route tables that name no service of the snapshot."""
    tables = next(c for c in dump["configs"] if c["@type"].endswith(".RoutesConfigDump"))
    return {
        route["route_config"]["name"]
        for route in tables.get("dynamic_route_configs", ())
        if not any(HOST.search(" ".join(v.get("domains", ()))) for v in route["route_config"]["virtual_hosts"])
        and not any("." in domain for v in route["route_config"]["virtual_hosts"] for domain in v.get("domains", ()))
    }


def _tables_of(listener: Any) -> set[str]:
    return set(re.findall(r'"route_config_name": "([^"]+)"', json.dumps(listener)))


def without_log_format(node: Any) -> Any:
    """An Envoy resource without the text of its access-log format, which stands in each filter chain."""
    if isinstance(node, dict):
        return {key: without_log_format(value) for key, value in node.items() if key != "log_format"}
    if isinstance(node, list):
        return [without_log_format(item) for item in node]
    return node


def _clusters_of(listener: Any) -> list[str]:
    text = json.dumps(listener)
    return [name for name in set(re.findall(r'"cluster": "([^"]+)"', text)) if name.startswith("outbound")]


def clusters(document: dict[str, Any], spaces: set[str]) -> dict[str, Any]:
    """The /clusters answer of the clusters that are kept, without their counters."""
    document["cluster_statuses"] = [c for c in document["cluster_statuses"] if ours(c["name"], spaces)]
    for cluster in document["cluster_statuses"]:
        for host in cluster.get("host_statuses", ()):
            host.pop("stats", None)
    return document


def certs(document: dict[str, Any]) -> dict[str, Any]:
    """The certificates, each once: Envoy lists the same one for every cluster that uses it."""
    seen: dict[str, Any] = {}
    for certificate in document.get("certificates", ()):
        seen.setdefault(json.dumps(certificate, sort_keys=True), certificate)
    return {"certificates": list(seen.values())}


def resources(document: dict[str, Any], spaces: set[str]) -> dict[str, Any]:
    """Kubernetes objects of the snapshot's namespaces, without managedFields."""
    if isinstance(document.get("items"), list):
        document["items"] = [
            item
            for item in document["items"]
            if item.get("metadata", {}).get("namespace") in (None, *spaces)
            and not (item.get("kind") == "Event" and item["involvedObject"]["name"] not in _pods)
        ]
        for item in document["items"]:
            item.get("metadata", {}).pop("managedFields", None)
            item.get("metadata", {}).get("annotations", {}).pop(
                "kubectl.kubernetes.io/last-applied-configuration", None
            )
    return document


def node_rules(text: str, spaces: set[str]) -> str:
    """The node's rules without the Services of other namespaces: kube-proxy names each in a comment."""
    kept, gone = [], set()
    for line in text.splitlines():
        service = re.search(r'--comment "?([a-z0-9-]+)/[a-z0-9-]+', line)
        if service and service[1] not in spaces:
            gone.update(re.findall(r"KUBE-(?:SVC|SEP|EXT|FW)-[A-Z0-9]+", line))
        else:
            kept.append(line)
    return "".join(f"{line}\n" for line in kept if not gone & set(re.findall(r"KUBE-[A-Z]+-[A-Z0-9]+", line)))


def small(document: Any) -> Any:
    """Drop the long parts of the runtime's answer that say nothing about the mesh."""
    if isinstance(document, dict):
        return {key: small(value) for key, value in document.items() if key not in UNREAD}
    if isinstance(document, list):
        return [small(item) for item in document]
    return document


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

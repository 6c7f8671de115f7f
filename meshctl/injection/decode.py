"""Environment variables that carry structured settings, put into words. Pure text work; raises nothing."""

import json
from collections.abc import Mapping
from typing import Any

from meshctl import json_text


def decode(name: str, value: str) -> tuple[str, ...]:
    """What a variable's value says, one statement a line; empty where the value speaks for itself.

    A value that should be JSON and is not yields one line that says so.
    """
    if name not in _DECODERS and not name.startswith("ISTIO_METAJSON_"):
        return ()
    if not value.strip():
        return ()
    if name == "ISTIO_META_OWNER":
        return _owner(value)
    try:
        document = json_text.loads(value)
    except ValueError as error:
        return (f"not valid JSON ({error}); shown as it is",)
    return _DECODERS.get(name, _pairs)(document)


def _owner(value: str) -> tuple[str, ...]:
    parts = value.removeprefix("kubernetes://").strip("/").split("/")
    try:
        at = parts.index("namespaces")
        namespace, kind, name = parts[at + 1 : at + 4]
    except ValueError:
        return ()
    return (f"{kind.removesuffix('s')} {name} in namespace {namespace}",)


def _pod_ports(document: Any) -> tuple[str, ...]:
    if not isinstance(document, list):
        return ("not a list; shown as it is",)
    ports = []
    for port in document:
        if isinstance(port, Mapping):
            name = f" ({port['name']})" if port.get("name") else ""
            ports.append(f"{port.get('containerPort', '?')}/{port.get('protocol', 'TCP')}{name}")
    return (", ".join(ports),) if ports else ("the application declares no port",)


def _prometheus(document: Any) -> tuple[str, ...]:
    if not isinstance(document, Mapping):
        return ("not an object; shown as it is",)
    port, path = document.get("port") or "80", document.get("path") or "/metrics"
    if str(document.get("scrape", "true")).lower() == "false":
        return ("the application's metrics are not collected",)
    return (f"the application's own metrics are at port {port}, path {path}",)


def action_text(probe: Any) -> str:
    """A probe or hook as Kubernetes writes it, in one phrase: ``GET http :8080/ready``."""
    if not isinstance(probe, Mapping):
        return str(probe)
    get, tcp, grpc = probe.get("httpGet"), probe.get("tcpSocket"), probe.get("grpc")
    if isinstance(get, Mapping):
        scheme = str(get.get("scheme") or "HTTP").lower()
        return f"GET {scheme}://{get.get('host') or ''}:{get.get('port', '?')}{_path(get.get('path'))}"
    if isinstance(tcp, Mapping):
        return f"connect to {tcp.get('host') or ''}:{tcp.get('port', '?')}"
    if isinstance(grpc, Mapping):
        service = f", service {grpc['service']}" if grpc.get("service") else ""
        return f"gRPC health check on :{grpc.get('port', '?')}{service}"
    return json.dumps(probe, ensure_ascii=False)


def _path(path: Any) -> str:
    text = str(path or "/")
    return text if text.startswith("/") else f"/{text}"


def _probers(document: Any) -> tuple[str, ...]:
    if not isinstance(document, Mapping):
        return ("not an object; shown as it is",)
    return tuple(f"{path} really means {action_text(probe)}" for path, probe in document.items())


def _pairs(document: Any, prefix: str = "") -> tuple[str, ...]:
    if not isinstance(document, Mapping):
        return (f"{prefix or 'value'}: {json.dumps(document, ensure_ascii=False)}",)
    if not document:
        return (f"{prefix}: nothing",) if prefix else ()
    lines: list[str] = []
    for key, value in document.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping):
            lines.extend(_pairs(value, name))
        else:
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            lines.append(f"{name}: {shown}")
    return tuple(lines)


def _proxy_config(document: Any) -> tuple[str, ...]:
    return _pairs(document) or ("nothing differs from the defaults",)


_DECODERS = {
    "PROXY_CONFIG": _proxy_config,
    "ISTIO_META_PROXY_CONFIG": _proxy_config,
    "ISTIO_META_POD_PORTS": _pod_ports,
    "ISTIO_KUBE_APP_PROBERS": _probers,
    "ISTIO_PROMETHEUS_ANNOTATIONS": _prometheus,
    "ISTIO_META_OWNER": _pairs,
    "GCP_METADATA": _pairs,
}

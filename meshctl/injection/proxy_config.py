"""What is wrong with a pod's own proxy settings (annotation ``proxy.istio.io/config``): names and types of its fields.

The fields are those of ``ProxyConfig`` in ``istio.io/api/mesh/v1alpha1/proxy.proto``, 1.12 to 1.30; a name may be in
camel or snake case. ``validateProxyConfig`` (``pkg/kube/inject/validate.go``) reads them as JSON of protocol buffers: a
value of another type makes the API server reject the pod, an unknown field is ignored. A word that an enumeration does
not have is refused by older releases and ignored by newer ones, so what comes of it is left open.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

from meshctl.errors import BadInput
from meshctl.injection.annotations import Slip, nearest
from meshctl.injection.settings import OVERLAY_KEY
from meshctl.yaml_text import documents

Kind: TypeAlias = Literal["text", "bool", "int", "number", "port", "duration", "texts", "text-map", "message", "enum"]

_MODES = ("REDIRECT", "TPROXY", "NONE")
FIELDS: Mapping[str, Kind] = {
    "configPath": "text",
    "binaryPath": "text",
    "serviceCluster": "text",
    "tracingServiceName": "enum",
    "drainDuration": "duration",
    "parentShutdownDuration": "duration",
    "discoveryAddress": "text",
    "discoveryRefreshDelay": "duration",
    "zipkinAddress": "text",
    "connectTimeout": "duration",
    "statsdUdpAddress": "text",
    "envoyMetricsServiceAddress": "text",
    "proxyAdminPort": "port",
    "availabilityZone": "text",
    "controlPlaneAuthPolicy": "enum",
    "customConfigFile": "text",
    "statNameLength": "int",
    "concurrency": "int",
    "proxyBootstrapTemplatePath": "text",
    "interceptionMode": "enum",
    "tracing": "message",
    "sds": "message",
    "envoyAccessLogService": "message",
    "envoyMetricsService": "message",
    "proxyMetadata": "text-map",
    "runtimeValues": "text-map",
    "statusPort": "port",
    "extraStatTags": "texts",
    "gatewayTopology": "message",
    "terminationDrainDuration": "duration",
    "meshId": "text",
    "readinessProbe": "message",
    "proxyStatsMatcher": "message",
    "holdApplicationUntilProxyStarts": "bool",
    "caCertificatesPem": "texts",
    "image": "message",
    "privateKeyProvider": "message",
    "proxyHeaders": "message",
    "fileFlushInterval": "duration",
    "fileFlushMinSizeKb": "int",
    "statsCompression": "bool",
}


def slips(annotations: Mapping[str, str]) -> Iterator[Slip]:
    """The values that cannot be read, and fields with a word that nothing knows."""
    text = annotations.get(OVERLAY_KEY)
    for name, value in _tree(text).items():
        kind = FIELDS.get(_camel(name))
        problem, rejects = _problem(kind, name, value, text or "") if kind else ("", False)
        if problem:
            yield Slip(OVERLAY_KEY, text or "", f"{OVERLAY_KEY}: {problem}", rejects=rejects)


def unknown(annotations: Mapping[str, str]) -> Iterator[Slip]:
    """The fields that no release reads."""
    text = annotations.get(OVERLAY_KEY)
    for name in _tree(text):
        if _camel(name) not in FIELDS:
            better = nearest(f"/{name}", tuple(f"/{known}" for known in FIELDS)).lstrip("/")
            told = f"{OVERLAY_KEY}: no Istio release from 1.12 to 1.30 reads the field {name}"
            yield Slip(OVERLAY_KEY, text or "", told, better=f"did you mean {better}?" if better else "")


def _tree(text: str | None) -> Mapping[str, Any]:
    if not text:
        return {}
    try:
        found = documents(text, "")
    except BadInput:
        return {}  # told by itself: see settings.overlay
    top = found[0] if found else None
    return {str(k): v for k, v in top.items()} if isinstance(top, Mapping) else {}


def _camel(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda m: m[1].upper(), name)


def _problem(kind: Kind, name: str, value: Any, text: str) -> tuple[str, bool]:
    """What is wrong with a value, and whether the API server certainly rejects the pod for it."""
    shown = f"'{value}'" if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    if value is None:
        return "", False
    match kind:
        case "bool":
            # A plain y or n is true or false for Go's YAML, and a word for Python's.
            return _unless(
                isinstance(value, bool) or value in ("y", "Y", "n", "N"), f"{name}: {shown} is no true or false"
            )
        case "int" | "port":
            return _unless(
                _is_int(value, kind == "port"), f"{name}: {shown} is no {'port' if kind == 'port' else 'number'}"
            )
        case "number":
            return _unless(_is_number(value), f"{name}: {shown} is no number")
        case "text":
            return _unless(not _is_other(value, text), f"{name}: {shown} is no text: it needs quotes")
        case "texts":
            fine = isinstance(value, list) and not any(_is_other(v, text) for v in value)
            return _unless(fine, f"{name} is no list of texts")
        case "text-map":
            return _map_problem(name, value, text)
        case "message":
            return _unless(isinstance(value, Mapping), f"{name} has no fields below it, but a value: {shown}")
        case "duration":
            return _duration_problem(name, value, shown)
        case "enum":
            known = name != "interceptionMode" or value in _MODES or not isinstance(value, str)
            return ("", False) if known else (f"{name}: {shown} is not one of {', '.join(_MODES)}", False)


def _unless(fine: bool, problem: str) -> tuple[str, bool]:
    return ("", False) if fine else (problem, True)


def _map_problem(name: str, value: Any, text: str) -> tuple[str, bool]:
    if not isinstance(value, Mapping):
        return f"{name} has no fields below it", True
    bad = [str(k) for k, v in value.items() if v is not None and _is_other(v, text)]
    return _unless(not bad, f"{name}: the value of {', '.join(bad)} is no text: it needs quotes")


def _duration_problem(name: str, value: Any, shown: str) -> tuple[str, bool]:
    if isinstance(value, str) and re.fullmatch(r"-?(\d+\.?\d*|\.\d+)s", value):
        return "", False
    if isinstance(value, str) and re.search(r"[a-zµ]$", value) and re.match(r"[-+.\d]", value):
        return f"{name}: {shown}: write seconds (like 90s); newer releases read nothing else", False
    return f"{name}: {shown} is no duration (like 90s)", True


def _is_int(value: Any, port: bool) -> bool:
    if not _is_number(value):
        return False
    number = float(value)
    return number.is_integer() and (-1 < number < 65536 if port else -(2**31) <= number < 2**32)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, (int, float)):
        return True
    return isinstance(value, str) and bool(re.fullmatch(r"-?\d+(\.\d+)?([eE][-+]?\d+)?", value))


def _is_other(value: Any, text: str) -> bool:
    """Whether a value is certainly no text; a number that is not written so (``1:30``) may be one for Go's YAML."""
    if isinstance(value, (bool, list, dict)):
        return True
    return isinstance(value, (int, float)) and str(value) in text

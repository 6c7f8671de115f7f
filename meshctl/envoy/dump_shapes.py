"""The forms in which people have a proxy's configuration, brought into that of a config dump.

Besides ``/config_dump`` itself: one section of it, what ``istioctl proxy-config X -o json`` prints (a list of
resources, in protobuf's other spelling), and a bootstrap file with static resources.
"""

from collections.abc import Iterator, Mapping
from typing import Any

_TYPE = "type.googleapis.com/envoy.admin.v3."
_SECTIONS = {
    "bootstrap": "Bootstrap",
    "static_listeners": "Listeners",
    "dynamic_listeners": "Listeners",
    "static_clusters": "Clusters",
    "dynamic_active_clusters": "Clusters",
    "dynamic_warming_clusters": "Clusters",
    "static_route_configs": "Routes",
    "dynamic_route_configs": "Routes",
    "static_endpoint_configs": "Endpoints",
    "dynamic_endpoint_configs": "Endpoints",
    "static_secrets": "Secrets",
    "dynamic_active_secrets": "Secrets",
    "dynamic_warming_secrets": "Secrets",
    "inline_scoped_route_configs": "ScopedRoutes",
    "dynamic_scoped_route_configs": "ScopedRoutes",
    "ecds_filters": "Ecds",
}
Document = Mapping[str, Any]


def as_dump(document: object) -> Document | str:
    """A config dump in its own form, or what the document is instead, in words that complete ``it is ...``."""
    if isinstance(document, list):
        return _of_resources(document)
    if not isinstance(document, dict):
        return "no JSON object"
    if "configs" in document:
        return document
    for key in ("config_dump", "configDump"):
        if isinstance(document.get(key), dict):
            return as_dump(document[key])
    if kind := _section(document):
        return {"configs": [{"@type": f"{_TYPE}{kind}ConfigDump", **document}]}
    if _has(document, "static_resources", "dynamic_resources") or ("node" in document and "admin" in document):
        return _of_bootstrap(document)
    if _has(document, "cluster_statuses"):
        return "what /clusters says: health, and no configuration"
    if _has(document, "kind") and _has(document, "metadata"):
        return f"a Kubernetes {document['kind']}"
    return _of_resources([document]) if document else "empty"


def _camel(key: str) -> str:
    head, *tail = key.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in tail)


def _has(document: Document, *keys: str) -> bool:
    return any(key in document or _camel(key) in document for key in keys)


def _section(document: Document) -> str:
    """Which section of a dump this is; empty for none."""
    named = str(document.get("@type", "")).rpartition(".")[2].removesuffix("ConfigDump")
    if named in set(_SECTIONS.values()):
        return named
    return next((kind for key, kind in _SECTIONS.items() if isinstance(_get(document, key), dict | list)), "")


def _get(document: Document, key: str) -> Any:
    return document.get(key, document.get(_camel(key)))


def _of_resources(found: list[Any]) -> Document | str:
    """Resources without a frame: as if they had come from the control plane, and were all that did."""
    if not found:
        return "an empty list"
    sections: dict[str, list[dict[str, Any]]] = {}
    for each in found:
        kind = _resource(each) if isinstance(each, dict) else ""
        if kind == "health":
            return "what istioctl proxy-config endpoints prints: health, and no configuration"
        if not kind:
            return "a list of something else" if len(found) > 1 or not isinstance(each, dict) else "something else"
        sections.setdefault(kind, []).append(each)
    configs = [_framed(kind, resources) for kind, resources in sections.items()]
    if "Listeners" in sections:
        configs.append(_inline_routes(sections["Listeners"]))
    return {"configs": configs}


def _inline_routes(listeners: list[dict[str, Any]]) -> Document:
    """The route configurations inside of connection managers, where a dump has them once more."""
    found = [{"route_config": each} for listener in listeners for each in _routes_in(listener)]
    return {"@type": f"{_TYPE}RoutesConfigDump", "static_route_configs": found}


def _routes_in(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for each in value:
            yield from _routes_in(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key in ("route_config", "routeConfig") and isinstance(each, dict) and _has(each, "virtual_hosts"):
                yield each
            else:
                yield from _routes_in(each)


def _resource(each: Document) -> str:
    """Which kind of resource this is; empty where it is none that is known."""
    if _has(each, "host_statuses"):
        return "health"
    if _has(each, "virtual_hosts"):
        return "Routes"
    if _has(each, "filter_chains", "default_filter_chain", "listener_filters", "api_listener"):
        return "Listeners"
    if _has(each, "cluster_name") and "endpoints" in each:
        return "Endpoints"
    known = (
        "load_assignment",
        "eds_cluster_config",
        "lb_policy",
        "connect_timeout",
        "cluster_type",
        "circuit_breakers",
    )
    return "Clusters" if "name" in each and (_has(each, *known) or "type" in each) else ""


def _framed(kind: str, found: list[dict[str, Any]]) -> Document:
    frame: dict[str, Any] = {"@type": f"{_TYPE}{kind}ConfigDump"}
    match kind:
        case "Routes":
            frame["dynamic_route_configs"] = [{"route_config": each} for each in found]
        case "Listeners":
            frame["dynamic_listeners"] = [
                {"name": each.get("name", ""), "active_state": {"listener": each}} for each in found
            ]
        case "Endpoints":
            frame["dynamic_endpoint_configs"] = [{"endpoint_config": each} for each in found]
        case _:
            frame["dynamic_active_clusters"] = [{"cluster": each} for each in found]
    return frame


def _of_bootstrap(document: Document) -> Document:
    """A bootstrap file: what is static in it is all that there is."""
    static = _get(document, "static_resources") or {}
    dynamic = _has(document, "dynamic_resources")
    parts: dict[str, dict[str, Any]] = {
        "Bootstrap": {"bootstrap": document},
        "Listeners": {"static_listeners": [{"listener": each} for each in _get(static, "listeners") or ()]},
        "Clusters": {"static_clusters": [{"cluster": each} for each in _get(static, "clusters") or ()]},
        "Secrets": {
            "static_secrets": [
                {"name": each.get("name", ""), "secret": each} for each in _get(static, "secrets") or () if each
            ]
        },
    }
    if not dynamic:
        parts |= {"Endpoints": {}}
    configs = [{"@type": f"{_TYPE}{kind}ConfigDump", **fields} for kind, fields in parts.items()]
    return {"configs": [*configs, _inline_routes(list(_get(static, "listeners") or ()))]}

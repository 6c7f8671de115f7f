"""Who a proxy says it is, its versions, and what it rejected or waits for."""

from typing import Any

from meshctl.blocks import Facts, Note, Page
from meshctl.envoy.config_dump import ConfigDump
from meshctl.envoy.server_info import ServerInfo
from meshctl.views.proxy import titled


def document(name: str, dump: ConfigDump, info: ServerInfo | None) -> dict[str, Any]:
    """``meshctl.proxy-bootstrap/v1``: who the proxy is, its versions, and what it rejected or waits for."""
    found = dump.bootstrap()
    return {
        "schema": "meshctl.proxy-bootstrap/v1",
        "proxy": name,
        "node": found.node_id or None,
        "type": found.proxy_type or None,
        "ips": list(found.ips),
        "namespace": found.namespace or None,
        "service_account": found.service_account or None,
        "istio_version": found.istio_version or None,
        "envoy_version": (info.envoy_release if info else "") or found.envoy_version or None,
        "state": info.state if info else None,
        "interception_mode": found.interception_mode or None,
        "admin_port": found.admin_port,
        "labels": dict(found.labels),
        "static_clusters": list(found.clusters),
        "static_listeners": list(found.listeners),
        "versions": dict(dump.versions()),
        "troubles": [
            {
                "kind": kind,
                "name": what,
                "state": status.state,
                "details": status.failure.details if status.failure else None,
            }
            for kind, what, status in dump.troubles()
        ],
    }


def page(name: str, dump: ConfigDump, info: ServerInfo | None) -> Page:
    """Who the proxy says it is, and what it rejected or waits for."""
    found = document(name, dump, info)
    left_out = ("schema", "proxy", "labels", "versions", "troubles")
    shown = {k: v for k, v in found.items() if k not in left_out and v not in (None, [])}
    rows = tuple((k.replace("_", " "), ", ".join(v) if isinstance(v, list) else str(v)) for k, v in shown.items())
    rows += tuple((f"version of {k.lower()}", v) for k, v in found["versions"].items())
    rows += tuple((f"label {k}", v) for k, v in sorted(found["labels"].items()))
    notes = tuple(
        Note(f"{t['kind']} {t['name']} is {t['state']}{': ' + t['details'] if t['details'] else ''}", "bad")
        for t in found["troubles"]
    )
    return titled("Bootstrap", name, (*notes, Facts(rows)), "the dump has no bootstrap")

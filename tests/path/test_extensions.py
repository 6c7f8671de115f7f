"""EnvoyFilters and WasmPlugins: what they do is not modelled, so without a proxy's configuration they leave it open."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshctl.blocks import Page
from meshctl.istio import extensions
from meshctl.path.model import End
from meshctl.render import terminal
from meshctl.views import outcome
from tests.path.made import Mesh, endpoints, pod, service

LIMIT = {"name": "envoy.filters.http.local_ratelimit", "typed_config": {"stat_prefix": "x"}}
STATS = {"name": "istio.stats", "typed_config": {"vm_config": {}}}


def patch(
    value: dict[str, Any], context: str | None = None, *, operation: str = "INSERT_BEFORE", **match: Any
) -> dict[str, Any]:
    """One entry of configPatches."""
    where = {**({"context": context} if context else {}), **match}
    return {"applyTo": "HTTP_FILTER", "match": where, "patch": {"operation": operation, "value": value}}


def envoy_filter(*patches: dict[str, Any], namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "own", "namespace": namespace}, "spec": {"configPatches": list(patches), **spec}}


def plugin(namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "own", "namespace": namespace}, "spec": {"url": "oci://example.org/x", **spec}}


def end(folder: Path, *, filters: Any = (), plugins: Any = (), sender: dict[str, Any] | None = None) -> End:
    """A request between two pods whose proxies' configurations were not recorded."""
    files = {
        "resources/envoyfilters.networking.istio.io.json": json.dumps({"kind": "List", "items": list(filters)}),
        "resources/wasmplugins.extensions.istio.io.json": json.dumps({"kind": "List", "items": list(plugins)}),
    }
    return (
        Mesh(
            pods=[sender or pod("client", "10.0.0.5"), pod("web", "10.0.0.6")],
            services=[service("web", "10.96.0.6", 80, 8080)],
            slices=[endpoints("web", 8080, "10.0.0.6")],
            listening={"web": ["0.0.0.0:8080"]},
            files=files,
        )
        .trace(folder, "web:80", "client")
        .outcome.branches[0]
        .end
    )


@pytest.mark.parametrize(
    ("one", "leaves_open"),
    [
        (envoy_filter(patch(LIMIT)), True),
        (envoy_filter(patch(LIMIT), namespace="istio-system"), True),
        (envoy_filter(patch(LIMIT), namespace="other"), False),
        (envoy_filter(patch(LIMIT, "SIDECAR_OUTBOUND")), True),
        (envoy_filter(patch(LIMIT, "SIDECAR_INBOUND")), True),
        (envoy_filter(patch(LIMIT, "GATEWAY")), False),
        (envoy_filter(patch(LIMIT), workloadSelector={"labels": {"app": "web"}}), True),
        (envoy_filter(patch(LIMIT), workloadSelector={"labels": {"app": "other"}}), False),
        (envoy_filter(patch(LIMIT, "SIDECAR_OUTBOUND"), workloadSelector={"labels": {"app": "web"}}), False),
        (envoy_filter(patch(LIMIT, "SIDECAR_OUTBOUND", listener={"portNumber": 80})), True),
        (envoy_filter(patch(LIMIT, "SIDECAR_OUTBOUND", listener={"portNumber": 81})), False),
        (envoy_filter(patch(LIMIT, proxy={"proxyVersion": r"^1\.30.*"})), True),
        (envoy_filter(patch(LIMIT, proxy={"proxyVersion": r"^1\.13.*"})), False),
        (envoy_filter(patch(LIMIT, proxy={"proxyVersion": "("})), True),
        (envoy_filter(patch(STATS)), False),
        (envoy_filter(patch({"filters": [STATS]}, operation="MERGE")), False),
        (envoy_filter(patch({"filters": [STATS, LIMIT]}, operation="MERGE")), True),
        (envoy_filter(patch({"typed_config": {"@type": "x", "access_log": []}}, operation="MERGE")), False),
        (envoy_filter(patch({"typed_config": {"@type": "x", "request_timeout": "1s"}}, operation="MERGE")), True),
        (envoy_filter(patch({"name": "istio_authn"}, operation="REMOVE")), True),
        (envoy_filter(), False),
    ],
)
def test_a_filter_counts_where_it_is_for_a_proxy_on_the_way(tmp_path: Path, one: Any, leaves_open: bool) -> None:
    found = end(tmp_path, filters=[one])
    assert (found.delivered is None) is leaves_open
    assert any("EnvoyFilter own" in why and "not modelled" in why for why in found.undecided) is leaves_open


@pytest.mark.parametrize(
    ("one", "leaves_open"),
    [
        (plugin(), True),
        (plugin(selector={"matchLabels": {"app": "client"}}), True),
        (plugin(selector={"matchLabels": {"app": "client"}}, match=[{"mode": "SERVER"}]), False),
        (plugin(selector={"matchLabels": {"app": "web"}}, match=[{"mode": "CLIENT"}]), False),
        (plugin(match=[{"mode": "CLIENT"}, {"mode": "SERVER"}]), True),
        (plugin(phase="STATS"), False),
        (plugin(namespace="other"), False),
        (plugin(targetRefs=[{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"}]), False),
    ],
)
def test_a_plugin_counts_where_it_runs(tmp_path: Path, one: Any, leaves_open: bool) -> None:
    found = end(tmp_path, plugins=[one])
    assert (found.delivered is None) is leaves_open


def test_without_any_all_is_decided(tmp_path: Path) -> None:
    assert end(tmp_path).delivered is True


def test_a_list_that_cannot_be_read_leaves_it_open(tmp_path: Path) -> None:
    mesh = Mesh(
        pods=[pod("client", "10.0.0.5"), pod("web", "10.0.0.6")],
        services=[service("web", "10.96.0.6", 80, 8080)],
        slices=[endpoints("web", 8080, "10.0.0.6")],
        listening={"web": ["0.0.0.0:8080"]},
        files={"resources/envoyfilters.networking.istio.io.json": "{"},
    )
    found = mesh.trace(tmp_path, "web:80", "client").outcome.end
    assert found.delivered is None
    assert "envoyfilters could not be read" in found.undecided[0]


def test_what_is_open_at_the_caller_is_open_for_the_wire_and_the_node(tmp_path: Path) -> None:
    files = {
        "resources/envoyfilters.networking.istio.io.json": json.dumps(
            {"kind": "List", "items": [envoy_filter(patch(LIMIT, "SIDECAR_OUTBOUND"))]}
        )
    }
    mesh = Mesh(pods=[pod("client", "10.0.0.5")], services=[service("web", "10.96.0.6", 80, 8080)], files=files)
    found = mesh.trace(tmp_path, "web:80", "client")
    assert found.kube_proxy.used is None
    assert "EnvoyFilter own" in found.kube_proxy.why
    shown = terminal.draw(Page("x", tuple(outcome.blocks(found))), width=100, color=False)
    assert re.search(r"on the wire +cannot be told", shown)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["configPatches", "match", "patch", "value", "context", "proxy", "filters", "mode", "targetRefs"]
            )
            | st.text(max_size=4),
            below,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(JSON, JSON)
def test_any_spec_is_read(spec: Any, metadata: Any) -> None:
    for parse in (extensions.parse_filter, extensions.parse_plugin):
        found = parse({"metadata": metadata, "spec": spec}, "x.json", 0)
        assert found.meta.origin.path == "items[0].spec"

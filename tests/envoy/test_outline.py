"""A resource found by the outline is the resource of the whole document, in every way that JSON is written."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshctl.envoy import config_dump
from meshctl.envoy.config_dump import ConfigDump
from meshctl.envoy.model.clusters import Cluster
from meshctl.envoy.model.listeners import Listener
from meshctl.envoy.model.routes import RouteConfig
from meshctl.envoy.outline import outline
from meshctl.errors import BadInput
from tests.envoy import dumps

WRITINGS: list[Callable[[Any], str]] = [
    lambda document: json.dumps(document, separators=(",", ":")),
    json.dumps,
    lambda document: json.dumps(document, indent=1),
    lambda document: json.dumps(document, indent=4, sort_keys=True),
    lambda document: json.dumps(document, indent="\t", separators=(" ,", " : ")),
]
NAMES = ["a", "b", "a.b", "outbound|80||x.y", 'quoted"', "back\\slash", "ü", "<a>", "", "name"]
PODS = [
    ("policies", "policies", "client"),
    ("bookinfo", "istio-system", "istio-ingressgateway"),
    ("bookinfo", "default", "productpage"),
    ("ambient", "ambient", "waypoint"),
]


def _whole(document: Mapping[str, Any]) -> ConfigDump:
    return config_dump.read(document, "dump")


def _place(found: Cluster | Listener | RouteConfig | None) -> object:
    return found and (found.name, found.origin, found.status)


def _same(found: ConfigDump, whole: ConfigDump, names: list[str], ports: list[int]) -> None:
    for name in names:
        assert _place(found.cluster(name)) == _place(whole.cluster(name))
        assert _place(found.listener(name)) == _place(whole.listener(name))
        assert _place(found.route_config(name)) == _place(whole.route_config(name))
        wanted = whole.cluster(name)
        if wanted is not None:
            assert found.endpoints(wanted) == whole.endpoints(wanted)
    for port in ports:
        assert [(e.name, e.origin) for e in found.serving(port)] == [(e.name, e.origin) for e in whole.serving(port)]


@pytest.mark.parametrize(("snapshot", "namespace", "pod"), PODS)
@pytest.mark.parametrize("written", range(len(WRITINGS)))
def test_a_recorded_dump_reads_the_same_piece_by_piece(snapshot: str, namespace: str, pod: str, written: int) -> None:
    content, _ = dumps.part(snapshot, namespace, pod, "envoy/config_dump.json")
    document = json.loads(content)
    whole, text = _whole(document), WRITINGS[written](document)
    names = [c.name for c in whole.clusters()] + [r.name for r in whole.route_configs()]
    names += [one.name for one in whole.listeners()] + ["nobody"]
    ports = sorted({a.port for one in whole.listeners() for a in one.addresses} | {1})
    _same(config_dump.parse(text, "dump"), whole, names, ports)


def test_what_is_looked_for_is_all_that_is_parsed() -> None:
    content, _ = dumps.part("bookinfo", "default", "productpage", "envoy/config_dump.json")
    found = outline(content)
    assert found is not None
    held = found.named("Clusters", "outbound|9080||reviews.default.svc.cluster.local")
    assert held is not None
    assert held.holder["cluster"]["name"] == "outbound|9080||reviews.default.svc.cluster.local"
    assert len(json.dumps([value for value, _ in found._parsed.values()])) < len(content) / 10


RESOURCES = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from((0, 80, 8080))), max_size=5)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Dumps with resources of equal names, in several lists, one of them perhaps rejected."""
    clusters = [{"cluster": dumps.cluster(name, "10.0.0.1", alt_stat_name=name)} for name, _ in draw(RESOURCES)]
    static = [{"cluster": dumps.cluster(name, "10.0.0.2")} for name, _ in draw(RESOURCES)]
    listeners: list[Any] = [
        {"name": name, "active_state": {"listener": dumps.listener(name, "0.0.0.0", port)}}
        for name, port in draw(RESOURCES)
    ]
    odd = draw(st.sampled_from([None, {"name": "a", "error_state": {"details": "bad"}}]))
    if odd is not None:
        listeners.insert(draw(st.integers(0, len(listeners))), odd)
        clusters.insert(draw(st.integers(0, len(clusters))), odd)
    routes = [{"route_config": dumps.route_config(name)} for name, _ in draw(RESOURCES)]
    ends = [{"endpoint_config": dumps.cluster(n, "10.0.0.3")["load_assignment"]} for n, _ in draw(RESOURCES)]
    parts = {
        "Clusters": {"version_info": "1", "static_clusters": static, "dynamic_active_clusters": clusters},
        "Endpoints": {"dynamic_endpoint_configs": ends},
        "Listeners": {"dynamic_listeners": listeners},
        "Routes": {"static_route_configs": [], "dynamic_route_configs": routes},
    }
    order = draw(st.permutations(list(parts)))
    return {"configs": [dumps.typed(f"envoy.admin.v3.{name}ConfigDump", **parts[name]) for name in order]}


@settings(deadline=None, max_examples=150)
@given(documents(), st.sampled_from(WRITINGS))
def test_any_dump_reads_the_same_piece_by_piece(document: dict[str, Any], write: Callable[[Any], str]) -> None:
    _same(config_dump.parse(write(document), "dump"), _whole(json.loads(write(document))), NAMES, [0, 80, 81, 8080])


@settings(deadline=None, max_examples=150)
@given(documents(), st.sampled_from(WRITINGS), st.floats(0, 1), st.sampled_from(["", "{", "}", "]", '"', ",", "\0"]))
def test_a_damaged_dump_is_bad_input_or_reads_what_is_whole(
    document: dict[str, Any], write: Callable[[Any], str], where: float, put: str
) -> None:
    text = write(document)
    at = int(where * len(text))
    damaged = text[:at] + put + text[at + 1 :]
    try:
        found = config_dump.parse(damaged, "dump")
        for name in NAMES:
            found.cluster(name), found.listener(name), found.route_config(name)
        (
            found.serving(80),
            found.clusters(),
            found.troubles(),
            found.listeners(),
            found.route_configs(),
            found.versions(),
        )
    except BadInput:
        return
    json.loads(damaged)  # all of it was read, so all of it is whole


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_a_dump_that_breaks_off_is_bad_input(share: float) -> None:
    content, _ = dumps.part("bookinfo", "default", "productpage", "envoy/config_dump.json")
    with pytest.raises(BadInput, match="not valid JSON"):
        config_dump.parse(content[: int(len(content) * share)], "dump")

"""What depends on Envoy's release: `make check ENVOYS=...` puts the whole of it to older binaries."""

import json
from typing import Any

import pytest

from meshctl.envoy import bootstrap, config_dump, release
from meshctl.envoy.match import match
from meshctl.envoy.model.state import Build
from meshctl.envoy.query import Query
from meshctl.envoy.reading import Json

RELEASED = {"build.type": "RELEASE"}


def build(version: str, **metadata: str) -> Build | None:
    numbers = dict(zip(("major_number", "minor_number", "patch"), map(int, version.split(".")), strict=True))
    return bootstrap.build(Json({"version": numbers, "metadata": {**RELEASED, **metadata}}, "t"))


def test_a_build_is_read() -> None:
    assert build("1.37.4") == Build((1, 37, 4), released=True)
    assert build("1.37.4", **{"build.label": "dev"}) == Build((1, 37, 4), released=False)
    assert bootstrap.build(Json({"version": {"major_number": 1, "minor_number": 40}}, "t")) == Build((1, 40, 0))
    assert bootstrap.build(Json({}, "t")) is None


@pytest.mark.parametrize(("version", "passed"), [("1.37.4", False), ("1.38.0", True), ("1.40.0", True)])
def test_resets_are_handed_on_from_1_38(version: str, passed: bool) -> None:
    assert release.passes_resets(build(version)) is passed
    assert release.passes_resets(None) is None


@pytest.mark.parametrize(
    ("version", "metadata", "policies", "routes"),
    [
        ("1.33.14", {}, False, False),
        ("1.35.7", {}, False, False),
        ("1.35.8", {}, None, False),
        ("1.35.9", {}, True, False),
        ("1.36.4", {}, False, False),
        ("1.36.5", {}, True, False),
        ("1.36.4", {"build.label": "dev"}, None, False),
        ("1.38.0", {"build.label": "dev"}, True, False),
        ("1.39.0", {}, True, True),
        ("2.0.0", {}, True, True),
    ],
)
def test_headers_that_came_twice(
    version: str, metadata: dict[str, str], policies: bool | None, routes: bool | None
) -> None:
    found = build(version, **metadata)
    assert (release.each_value_in_policies(found), release.each_value(found)) == (policies, routes)
    assert (release.each_value_in_policies(None), release.each_value(None)) == (None, None)


MANAGER = {
    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    "route_config": {
        "ignore_path_parameters_in_path_matching": True,
        "virtual_hosts": [
            {"name": "all", "domains": ["*"], "routes": [{"match": {"path": "/a"}, "direct_response": {"status": 204}}]}
        ],
    },
}
LISTENER = {
    "name": "web",
    "address": {"socket_address": {"address": "0.0.0.0", "port_value": 80}},
    "listener_filters": [
        {
            "name": "http",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector"
            },
        }
    ],
    "filter_chains": [
        {
            "name": "http",
            "filter_chain_match": {"application_protocols": ["http/1.1"]},
            "filters": [{"name": "manager", "typed_config": MANAGER}],
        },
        {"name": "other", "filters": []},
    ],
}


def dump(version: str | None) -> Any:
    node = {}
    if version is not None:
        told = build(version)
        assert told is not None
        parts = zip(("major_number", "minor_number", "patch"), told.version, strict=True)
        node = {"node": {"user_agent_build_version": {"version": dict(parts)}}}
    return {
        "configs": [
            {"@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump", "bootstrap": node},
            {
                "@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
                "static_listeners": [{"listener": LISTENER}],
            },
        ]
    }


def asked(version: str | None, method: str, path: str = "/a") -> Any:
    query = Query(direction="gateway", address="10.0.0.1", port=80, host="a.com", method=method, path=path)
    return match(config_dump.parse(json.dumps(dump(version)), "dump"), query)


@pytest.mark.parametrize(
    ("version", "method", "chain"),
    [
        ("1.40.0", "FOO", "http"),
        ("1.39.0", "get", "http"),
        ("1.38.3", "FOO", "other"),
        ("1.20.0", "get", "other"),
        ("1.20.0", "GET", "http"),
        (None, "PURGE", "http"),
        (None, "FOO", None),
    ],
)
def test_which_methods_the_inspector_takes_for_http(version: str | None, method: str, chain: str | None) -> None:
    found = asked(version, method)
    assert (found.filter_chain.name if found.filter_chain else None) == chain
    assert bool(found.undecided_because) is (chain is None)


@pytest.mark.parametrize(
    ("method", "path", "said"),
    [
        ("FOO", "/a", "the HTTP inspector does not know the method FOO"),
        ("get", "/a", "the HTTP inspector does not know the method get (case counts: GET is one)"),
        ("GET", "a", "the bytes are no HTTP"),
    ],
)
def test_why_the_inspector_does_not_take_it_for_http(method: str, path: str, said: str) -> None:
    (looked,) = [step for step in asked("1.38.3", method, path).steps if step.what == "listener filters"]
    assert looked.because == said


def test_an_inspector_that_takes_any_method_is_not_said_to_miss_one() -> None:
    (looked,) = [step for step in asked("1.40.0", "FOO", "a").steps if step.what == "listener filters"]
    assert looked.because == "the bytes are no HTTP"


def test_ignored_parameters_of_a_path_are_not_modelled() -> None:
    assert asked("1.40.0", "GET").status == 204
    assert asked("1.40.0", "GET", "/a;b=1").undecided_because

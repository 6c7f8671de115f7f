"""Access-log lines, statistics, server info and certificates, as proxies write them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshctl.envoy import access_log, clusters_json, server_info, stats
from meshctl.errors import BadInput
from tests.conftest import FIXTURES
from tests.envoy import dumps

ENVOY = FIXTURES / "envoy"

LINE = (
    '[2026-11-23T00:56:00.185Z] "GET /other HTTP/1.1" 403 - rbac_access_denied_matched_policy[none] - "-" 0 19 0 - "-" '
    '"curl/7.88.1 (a b)" "3f76ca14-bb74-4341-bad2-82f1b2d3f61e" "backend:9080" "-" inbound|9080|| - 172.17.0.114:9080 '
    "172.17.0.111:47502 outbound_.9080_.v1_.backend.policies.svc.cluster.local default"
)
TCP = (
    '[2026-11-23T00:56:00.185Z] "- - -" 0 UF,URX - - "delayed connect error: 111" 0 0 3 - "-" "-" "-" "-" '
    '"10.0.0.1:3306" PassthroughCluster 172.17.0.1:4 10.0.0.1:3306 172.17.0.1:5 - -'
)
JSON = (
    '{"start_time":"2026-11-23T00:56:00.185Z","method":"GET","path":"/a","protocol":"HTTP/2","response_code":503,'
    '"response_flags":"UH","upstream_cluster":"outbound|80||x","authority":"x","route_name":null,"duration":7}'
)


def test_an_http_line() -> None:
    found = access_log.parse_line(LINE)
    assert found is not None
    assert found.start == datetime(2026, 11, 23, 0, 56, 0, 185000, tzinfo=UTC)
    assert (found.method, found.path, found.protocol, found.status, found.flags) == (
        "GET",
        "/other",
        "HTTP/1.1",
        403,
        (),
    )
    assert found.details == "rbac_access_denied_matched_policy[none]"
    assert (found.user_agent, found.authority, found.upstream_host) == ("curl/7.88.1 (a b)", "backend:9080", "")
    assert (found.cluster, found.inbound, found.route) == ("inbound|9080||", True, "default")
    assert (found.local, found.remote) == ("172.17.0.114:9080", "172.17.0.111:47502")


def test_a_tcp_line() -> None:
    found = access_log.parse_line(TCP)
    assert found is not None
    assert (found.is_http, found.flags, found.failure) == (False, ("UF", "URX"), "delayed connect error: 111")
    assert (found.cluster, found.upstream_host, found.inbound) == ("PassthroughCluster", "10.0.0.1:3306", False)


def test_a_json_line() -> None:
    found = access_log.parse_line(JSON)
    assert found is not None
    assert (found.method, found.path, found.protocol, found.status, found.flags) == (
        "GET",
        "/a",
        "HTTP/2",
        503,
        ("UH",),
    )
    assert (found.cluster, found.route, found.duration_ms) == ("outbound|80||x", "", 7)


def test_what_tools_put_in_front_and_what_is_cut_off() -> None:
    prefixed = access_log.parse_line(f"reviews-v1 istio-proxy | [pod/x] {LINE}")
    assert prefixed is not None
    assert prefixed.status == 403
    cut = access_log.parse_line(LINE[:110])
    assert cut is not None
    assert (cut.status, cut.cluster) == (403, "")


@pytest.mark.parametrize(
    "text", ["", "[2026-11-23][critical] hello", "2026-11-23T00:51:27Z info FLAG: --x", "{}", '{"a":1}']
)
def test_other_lines_are_none(text: str) -> None:
    assert access_log.parse_line(text) is None


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=80), st.integers(0, len(LINE)), st.sampled_from([LINE, TCP, JSON]))
def test_no_line_stops_the_reading(noise: str, place: int, line: str) -> None:
    access_log.parse_line(line[:place] + noise + line[place:])
    access_log.parse_line(noise)


def test_the_lines_of_a_recorded_log() -> None:
    content, source = dumps.part("policies", "policies", "client", "logs/istio-proxy.txt")
    found = list(access_log.parse(content.decode(), source))
    assert len(found) > 10
    assert all(line.start is not None and line.origin is not None and line.origin.line for line in found)


def test_statistics_and_their_changes() -> None:
    before = stats.parse('a|b||c;.x: 1\nh: P0(nan,1)\nt: "text"\ny: 5\n')
    assert before == {"a|b||c;.x": 1, "y": 5}
    assert stats.changes(before, {"a|b||c;.x": 3, "y": 5, "z": 1}) == {"a|b||c;.x": 2, "z": 1}
    assert len(stats.parse((ENVOY / "stats.txt").read_text())) > 30


def test_server_info_and_certificates() -> None:
    info = server_info.parse((ENVOY / "server_info.json").read_bytes(), "server_info.json")
    assert (info.envoy_release, info.state) == ("1.40.0", "LIVE")
    found = server_info.certificates((ENVOY / "certs.json").read_bytes(), "certs.json")
    assert [c.principal for c in found if c.kind == "certificate"] == ["spiffe://cluster.local/ns/policies/sa/client"]
    assert len(found) == 2


def test_recorded_endpoints_of_now() -> None:
    found = clusters_json.parse(*dumps.part("policies", "policies", "client", "envoy/clusters.json"))
    hosts = found["outbound|9080|v1|backend.policies.svc.cluster.local"].hosts
    assert {h.health for h in hosts} == {"healthy"}
    assert len(hosts) == 2


@pytest.mark.parametrize(
    "text", ["", "[]", '{"x": 1}', '{"cluster_statuses": 1}', '{"cluster_statuses": [{"host_statuses": 3}]}']
)
def test_broken_endpoint_lists_are_bad_input(text: str) -> None:
    with pytest.raises(BadInput):
        clusters_json.parse(text, "clusters.json")

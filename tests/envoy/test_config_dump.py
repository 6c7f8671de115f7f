"""Reading dumps: states and versions, both spellings, recorded ones whole, broken ones, and fuzzed ones."""

import contextlib
import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshctl.envoy import clusters_json, config_dump, select
from meshctl.envoy.match import Query, match
from meshctl.envoy.reading import camel
from meshctl.errors import BadInput
from tests.envoy import dumps

PODS = [
    ("policies", "policies", "client"),
    ("policies", "policies", "backend-v3"),
    ("bookinfo", "istio-system", "istio-ingressgateway"),
    ("ambient", "ambient", "waypoint"),
]


@pytest.mark.parametrize(("snapshot", "namespace", "pod"), PODS)
def test_recorded_dumps_are_read_whole(snapshot: str, namespace: str, pod: str) -> None:
    found = dumps.recorded(snapshot, namespace, pod)
    rows = list(select.chains(found, select.Wanted()))
    assert all(row.manager or row.proxy or row.listener.status.failure for row in rows)
    assert list(select.routes(found, select.Wanted()))
    for cluster in found.clusters():
        assert cluster.status.state in ("static", "active")
        cluster.socket.get(), cluster.socket_matches.get()
        assert found.endpoints(cluster) is not None or cluster.type == "ORIGINAL_DST"
    assert found.bootstrap().istio_version == "1.30.3"
    assert {secret.name for secret in found.secrets()} == {"default", "ROOTCA"}


def test_a_rejected_listener_keeps_its_reason() -> None:
    found = dumps.recorded("ambient", "ambient", "waypoint")
    rejected = found.rejected()
    assert rejected
    details = [r.status.failure.details for r in rejected if r.status.failure is not None]
    assert len(details) == len(rejected)
    assert any("registered implementation" in text for text in details)
    assert not {r.name for r in rejected} & {r.name for r in found.serving()}


def test_a_rejected_listener_has_its_name_where_envoy_does_not_keep_what_it_was_given() -> None:
    section = {"dynamic_listeners": [{"name": "x", "error_state": {"details": "bad cert"}}]}
    (found,) = dumps.dump(Listeners=section).rejected()
    assert (found.name, found.status.failure and found.status.failure.details) == ("x", "bad cert")


def test_an_older_version_that_is_still_active_names_the_failure() -> None:
    active = {"version_info": "1", "listener": dumps.listener("x", "0.0.0.0", 80)}
    error = {"failed_configuration": {}, "details": "bad", "version_info": "2"}
    section = {"dynamic_listeners": [{"name": "x", "active_state": active, "error_state": error}]}
    (found,) = dumps.dump(Listeners=section).listeners()
    assert (found.status.state, found.status.version, found.status.failure and found.status.failure.details) == (
        "active",
        "1",
        "bad",
    )


def test_warming_listeners_and_clusters_do_not_serve_yet() -> None:
    warming = {"name": "x", "warming_state": {"listener": dumps.listener("x", "0.0.0.0", 80)}}
    clusters = {"dynamic_warming_clusters": [{"cluster": dumps.cluster("w", "10.0.0.1")}]}
    found = dumps.dump(Listeners={"dynamic_listeners": [warming]}, Clusters=clusters)
    assert found.serving(80) == ()
    cluster = found.cluster("w")
    assert cluster is not None
    assert cluster.status.state == "warming"
    assert [(kind, name, status.state) for kind, name, status in found.troubles()] == [
        ("listener", "x", "warming"),
        ("cluster", "w", "warming"),
    ]


def test_istioctls_spelling_reads_the_same() -> None:
    chain = dumps.http_chain("c", filter_chain_match={"transport_protocol": "raw_buffer"})
    listeners = [dumps.listener("x", "0.0.0.0", 80, chain, default_filter_chain=dumps.tcp_chain("d", "app"))]
    snake = dumps.document(listeners, clusters=[dumps.cluster("app", "10.0.0.1")])

    def recased(value: Any) -> Any:
        if isinstance(value, dict):
            return {camel(k) if k != "@type" else k: recased(v) for k, v in value.items()}
        return [recased(v) for v in value] if isinstance(value, list) else value

    query = Query(direction="gateway", address="10.0.0.2", port=80, host="a")
    answers = [match(config_dump.read(document, "t"), query) for document in (snake, recased(snake))]
    assert [(m.filter_chain and m.filter_chain.name, m.cluster) for m in answers] == [("c", "app"), ("c", "app")]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it is empty"),
        ("Error from server", "it starts with 'Error from server'"),
        ('{"configs": [', "not valid JSON"),
        ("[]", "it is an empty list"),
        ("7", "it is no JSON object"),
        ("[7]", "it is a list of something else"),
        ("{}", "it is empty"),
        ('{"kind": "Pod", "metadata": {}}', "it is a Kubernetes Pod"),
        ('{"cluster_statuses": []}', "it is what /clusters says"),
        ('[{"hostStatuses": []}]', "it is what istioctl proxy-config endpoints prints"),
        ('{"configs": {}}', "configs should be a list"),
        ('{"configs": [1]}', "configs[0] should be an object"),
        ("\x00\xff", "not valid JSON"),
    ],
)
def test_broken_dumps_are_named_with_the_place(text: str, problem: str) -> None:
    with pytest.raises(BadInput) as caught:
        config_dump.parse(text, "dump.json")
    assert "dump.json" in str(caught.value)
    assert problem in str(caught.value)


def test_binary_noise_is_bad_input() -> None:
    with pytest.raises(BadInput):
        config_dump.parse(b"\x80\x81\xff\xfe", "dump.json")


def test_a_wrong_type_is_named_by_its_path() -> None:
    broken = dumps.listener("x", "0.0.0.0", 80, {"filters": 7})
    with pytest.raises(BadInput, match=r"filter_chains\[0\]\.filters should be a list, is a number"):
        match(dumps.dump([broken]), Query(direction="gateway", address="1.1.1.1", port=80))


SMALL = dumps.document(
    [
        dumps.listener(
            "g", "0.0.0.0", 80,
            dumps.http_chain("http", filter_chain_match={"application_protocols": ["http/1.1"]}),
            dumps.tcp_chain("tcp", "app", filter_chain_match={"server_names": ["a.com"], "transport_protocol": "tls"}),
            dumps.http_chain("rds", rds="r", filters=[{"name": "f", "typed_config": dumps.typed("x.Y")}]),
            listener_filters=dumps.INSPECTORS,
        )
    ],
    [dumps.route_config("r")],
)  # fmt: skip
WRONG: list[Any] = [None, True, 7, -1.5, "text", "", [], {}, [[]], {"x": 1}, "10.0.0.1", "1s"]


def mutated(value: Any, random: Random, share: float) -> Any:
    """A copy in which some fields are missing, of the wrong type, or new."""
    if random.random() < share:
        return random.choice(WRONG)
    if isinstance(value, dict):
        kept = {k: mutated(v, random, share) for k, v in value.items() if random.random() > share}
        return {**kept, "a_field_of_the_future": 1} if random.random() < share else kept
    if isinstance(value, list):
        return [mutated(v, random, share) for v in value]
    return value


@settings(deadline=None, max_examples=300)
@given(seed=st.integers(0, 2**40), share=st.sampled_from((0.01, 0.03, 0.1)), query=st.integers(0, 3))
def test_a_broken_dump_is_bad_input_or_undecided_and_never_a_crash(seed: int, share: float, query: int) -> None:
    document = mutated(SMALL, Random(seed), share)
    asked: list[dict[str, Any]] = [{}, {"tls": "tls", "sni": "a.com"}, {"protocol": "tcp"}, {"tls": "mtls"}]
    try:
        found = config_dump.parse(json.dumps(document), "fuzzed")
        match(found, Query(direction="gateway", address="10.0.0.1", port=80, host="a.com", **asked[query]))
        for row in select.chains(found, select.Wanted()):
            select.chain_shown(row.chain) if row.chain else None
        list(select.routes(found, select.Wanted()))
        list(select.endpoints(found, None, select.Wanted()))
        found.secrets(), found.bootstrap()
    except BadInput:
        return


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**40))
def test_a_recorded_dump_that_is_damaged_never_crashes(seed: int) -> None:
    content, _ = dumps.part("policies", "policies", "backend-v3", "envoy/config_dump.json")
    document = mutated(json.loads(content), Random(seed), 0.0005)
    query = Query(direction="inbound", address="172.17.0.116", port=9080, tls="mtls", host="backend", path="/api/x")
    with contextlib.suppress(BadInput):
        match(config_dump.read(document, "fuzzed"), query)


def test_how_many_endpoints_are_healthy_is_told_where_they_are_known() -> None:
    content, source = dumps.part("policies", "policies", "client", "envoy/config_dump.json")
    dump = config_dump.parse(content, source)
    seen = clusters_json.parse(*dumps.part("policies", "policies", "client", "envoy/clusters.json"))
    told = {c.name: select.healthy(dump, seen, c) for c in dump.clusters()}
    assert told["outbound|9080|v1|backend.policies.svc.cluster.local"] == (2, 2)
    assert told["PassthroughCluster"] is None
    document = json.loads(content)
    document["configs"] = [each for each in document["configs"] if "EndpointsConfigDump" not in each["@type"]]
    unknown = config_dump.parse(json.dumps(document), source)
    (routed,) = (c for c in unknown.clusters() if c.name == "outbound|9080|v1|backend.policies.svc.cluster.local")
    assert select.healthy(unknown, None, routed) is None
    assert select.healthy(unknown, seen, routed) == (2, 2)

import json

import pytest

from meshctl.injection.decode import decode
from meshctl.injection.explain import UNKNOWN, parsed
from meshctl.injection.flags import FlagShape, parse
from meshctl.injection.settings import MeshSettings
from meshctl.kube import pods
from tests.injection import build

RECORDED = sorted(f.stem for f in build.FIXTURES.glob("*.json") if "containers" in f.read_text() and "." not in f.stem)


@pytest.mark.parametrize("name", [n for n in RECORDED if n not in ("webhooks", "injector", "mesh")])
def test_nothing_that_istio_wrote_is_unknown(name: str) -> None:
    found = build.described(build.recorded(name))
    assert [(s.container.name, s.unknown) for s in found.containers if s.unknown] == []


def test_each_argument_of_istio_init_has_a_meaning_an_effect_and_a_source() -> None:
    found = build.described(build.recorded("native-exclude"))
    story = found.story("istio-init")
    assert story is not None
    told = {a.flag: a for a in story.arguments}
    assert list(told)[:3] == ["istio-iptables", "-p", "-z"]
    assert told["-x"].value == "10.0.0.0/24,192.168.49.0/24"
    assert "go out directly, without the proxy" in told["-x"].meaning
    assert "excludeOutboundIPRanges" in told["-x"].source
    assert "8081" in told["-d"].effect
    assert all(a.meaning and a.source for a in story.arguments)


@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("-b", "*", "8080 (app) included"),
        ("-b", "", "nothing incoming is captured"),
        ("-b", "9999", "8080 (app) is reached without the proxy"),
        ("-b", "8080", "all that the application declares"),
        ("-d", "8080", "8080 (app): callers go around the proxy"),
        ("-i", "", "nothing outgoing is captured"),
        ("-i", "10.0.0.0/8", "only connections to 10.0.0.0/8"),
        ("-x", "", "no address is left out"),
        ("-q", "443", "changes nothing here"),
        ("-o", "3306", "port 3306 go out directly"),
        ("-m", "TPROXY", "callers' real addresses"),
        ("-m", "SIDEWAYS", "no mode that Istio knows"),
        ("-k", "net1", "as if the application sent it"),
    ],
)
def test_effects_on_this_pod(flag: str, value: str, words: str) -> None:
    args = [
        a
        for pair in zip(build.INIT_ARGS[1:-1:2], build.INIT_ARGS[2:-1:2], strict=True)
        if pair[0] != flag
        for a in pair
    ]
    found = build.described(build.injected(init_args=["istio-iptables", *args, flag, value]))
    story = found.story("istio-init")
    assert story is not None
    assert words in next(a.effect for a in story.arguments if a.flag == flag)


def test_an_empty_value_is_kept_and_a_lost_one_swallows_the_next_flag() -> None:
    shapes = (FlagShape("exclude", "x"), FlagShape("ports", "b"), FlagShape("dry", "n", boolean=True))
    kept = parse(["-x", "", "-b", "*"], shapes)
    assert [(a.flag, a.value, a.swallowed) for a in kept] == [("-x", "", False), ("-b", "*", False)]
    lost = parse(["-x", "-b", "*"], shapes)
    assert [(a.flag, a.value, a.swallowed) for a in lost] == [("-x", "-b", True), ("*", None, False)]
    assert [(a.flag, a.value) for a in parse(["-x1", "-b=2", "--ports=3", "--dry", "-n"], shapes)] == [
        ("-x", "1"), ("-b", "2"), ("--ports", "3"), ("--dry", None), ("-n", None),
    ]  # fmt: skip


def test_an_unknown_argument_is_listed_as_unknown() -> None:
    found = build.described(build.injected(init_args=[*build.INIT_ARGS, "--teleport", "now"]))
    story = found.story("istio-init")
    assert story is not None
    assert story.arguments[-1].meaning == UNKNOWN
    assert story.unknown == ("argument --teleport",)


def test_the_users_own_arguments_for_the_proxy_are_told_as_theirs() -> None:
    overrides = json.dumps({"containers": [{"name": "istio-proxy", "args": ["-c", "mine.yaml"]}]})
    raw = build.injected({"proxy.istio.io/overrides": overrides}, proxy={"args": ["-c", "mine.yaml"]})
    story = build.described(raw).story("istio-proxy")
    assert story is not None
    assert story.unknown == ()
    assert "written by the user" in story.arguments[0].meaning


def test_rewritten_checks_name_their_originals() -> None:
    found = build.described(build.recorded("native-probes"))
    story = next(s for s in found.containers if not s.by_mesh)
    told = {p.kind: (p.now, p.originally) for p in story.probes}
    assert told["liveness"] == ("GET http://:15020/app-health/probes/livez", "GET http://:8080/live")
    assert told["readiness"] == ("GET http://:15020/app-health/probes/readyz", "connect to :8080")
    assert told["preStop"] == ("run sleep 1", None)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("PROXY_CONFIG", "{}\n", ("nothing differs from the defaults",)),
        ("PROXY_CONFIG", '{"concurrency":2,"tracing":{"zipkin":{"address":"z:1"}}}',
         ("concurrency: 2", "tracing.zipkin.address: z:1")),
        ("PROXY_CONFIG", "{oops", ("not valid JSON",)),
        ("ISTIO_META_POD_PORTS", '[{"containerPort":1,"protocol":"UDP","name":"dns"}]', ("1/UDP (dns)",)),
        ("ISTIO_META_POD_PORTS", "[\n]", ("the application declares no port",)),
        ("ISTIO_PROMETHEUS_ANNOTATIONS", '{"scrape":"true","path":"","port":"9102"}',
         ("the application's own metrics are at port 9102, path /metrics",)),
        ("ISTIO_META_OWNER", "kubernetes://apis/apps/v1/namespaces/n/deployments/d", ("deployment d in namespace n",)),
        ("ISTIO_META_DNS_CAPTURE", "true", ()),
    ],
)  # fmt: skip
def test_values_are_decoded(name: str, value: str, expected: tuple[str, ...]) -> None:
    found = decode(name, value)
    assert len(found) == len(expected)
    assert all(shown.startswith(start) for shown, start in zip(found, expected, strict=True))


def test_fields_are_resolved_from_the_pod() -> None:
    story = build.described(build.recorded("classic-sidecar")).story("istio-proxy")
    assert story is not None
    env = {e.name: e.value for e in story.env}
    assert env["POD_NAME"] == "reviews-v1-7756f78fff-dmtc8"
    assert env["INSTANCE_IP"] == "172.17.0.138"


def test_where_a_setting_comes_from() -> None:
    values = MeshSettings(
        values={"global": {"proxy": {"includeIPRanges": "10.0.0.0/8"}}},
        mesh={"defaultConfig": {"interceptionMode": "TPROXY", "proxyMetadata": {"A": "1"}}},
    )
    args = [*build.INIT_ARGS]
    args[args.index("-i") + 1] = "10.0.0.0/8"
    raw = build.injected(
        {"proxy.istio.io/config": "proxyMetadata:\n  B: '2'\n"},
        init_args=args,
        proxy={"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
    )
    found = build.described(raw, settings=values)
    init, proxy = found.story("istio-init"), found.story("istio-proxy")
    assert init is not None
    assert proxy is not None
    source = {a.flag: a.source for a in init.arguments}
    assert source["-i"] == "helm value global.proxy.includeIPRanges"
    assert source["-m"] == "mesh config defaultConfig.interceptionMode"
    assert {e.name: e.source for e in proxy.env} == {
        "A": "mesh config defaultConfig.proxyMetadata",
        "B": "annotation proxy.istio.io/config (proxyMetadata)",
    }


def test_the_capture_is_what_the_arguments_ask_for() -> None:
    found = build.described(build.recorded("native-exclude")).capture
    assert found is not None
    assert (found.mode, found.include_inbound_ports, found.exclude_outbound_ports) == ("REDIRECT", "*", "3306,6379")
    dns = build.described(build.recorded("dns")).capture
    assert dns is not None
    assert dns.dns
    assert build.described(build.recorded("mode-none")).capture is None


def test_a_foreign_program_or_argument_in_istio_init_is_told() -> None:
    found = build.described(build.injected(init_args=["my", "script"]))
    assert found.capture is None
    assert "something of the user" in found.capture_problem
    found = build.described(build.injected(init_args=[*build.INIT_ARGS, "--teleport"]))
    assert found.capture is not None
    assert "teleport" in found.capture_problem


def test_three_hundred_containers() -> None:
    raw = build.injected()
    raw["spec"]["containers"] += [{"name": f"c{i}", "image": "x"} for i in range(300)]
    assert len(build.described(raw).containers) == 303


def test_parsed_arguments_of_the_agent() -> None:
    proxy = build.recorded_pod("classic-sidecar").container("istio-proxy")
    assert proxy is not None
    assert [a.name for a in parsed(proxy)][:3] == ["", "", "domain"]
    assert pods.pod({}).containers == ()


def test_the_cni_plugin_may_capture_otherwise_than_the_arguments_say() -> None:
    differing = {name: (mine, theirs) for name, mine, theirs in build.described(build.recorded("cni")).cni_differs}
    assert differing["exclude_outbound_ports"] == ("", "15020")
    assert build.described(build.recorded("classic-sidecar")).cni_differs == ()


def test_each_container_has_the_role_that_fits_what_is_said_elsewhere() -> None:
    raw = build.plain()
    raw["spec"]["containers"].append({"name": "linkerd-proxy"})
    raw["spec"]["initContainers"] = [{"name": "linkerd-init"}, {"name": "linkerd-network-validator"}, {"name": "own"}]
    raw["spec"]["ephemeralContainers"] = [{"name": "debug"}]
    found = build.described(raw)
    roles = {story.container.name: story.role for story in found.containers}
    assert "Linkerd" in roles["linkerd-init"]
    assert "Linkerd" in roles["linkerd-network-validator"]
    assert roles["own"].startswith("an init container of the user")
    assert "captured" not in roles["debug"]


def test_a_second_proxy_is_called_a_proxy() -> None:
    raw = build.injected()
    raw["spec"]["containers"].append({"name": "second", "args": ["proxy", "sidecar"]})
    story = build.described(raw).story("second")
    assert story is not None
    assert story.role.startswith("another proxy of the mesh")
    assert not story.by_mesh


def test_an_init_container_that_runs_something_else_is_not_said_to_write_the_rules() -> None:
    for init in ({"command": ["sh", "-c"], "args": ["true"]}, {"args": ["proxy"]}, {"args": []}):
        found = build.described(build.injected(init=init))
        story = found.story("istio-init")
        assert found.capture is None
        assert story is not None
        assert "cannot be told" in story.role
        assert "writes the rules" not in story.role

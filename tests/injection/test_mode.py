import json
from dataclasses import replace
from typing import Any

import pytest

from meshctl.injection.mode import recognise
from meshctl.kube import pods
from tests.injection import build


@pytest.mark.parametrize(
    ("name", "mode", "ours"),
    [
        ("classic-sidecar", "sidecar", {"istio-init", "istio-proxy"}),
        ("native-exclude", "native-sidecar", {"istio-init", "istio-proxy"}),
        ("cni", "native-sidecar", {"istio-validation", "istio-proxy"}),
        ("mode-none", "native-sidecar", {"istio-proxy"}),
        ("ambient", "ambient", set()),
        ("sidecar-in-ambient", "native-sidecar", {"istio-validation", "istio-proxy"}),
        ("waypoint", "gateway", {"istio-proxy"}),
        ("ingress-gateway", "gateway", {"istio-proxy"}),
        ("ztunnel", "none", {"istio-proxy"}),
        ("host-network", "none", set()),
        ("opted-out", "none", set()),
    ],
)
def test_recorded_pods(name: str, mode: str, ours: set[str]) -> None:
    found = recognise(build.recorded_pod(name))
    assert (found.mode, set(found.ours)) == (mode, ours)


def test_the_release_is_read_from_the_image() -> None:
    assert recognise(build.recorded_pod("waypoint")).release.text == "1.30.3"
    assert recognise(pods.pod(build.injected(image="r/proxyv2:1.24-alpha.abc"))).release.text == "1.24"


def test_without_a_telling_tag_the_release_is_a_range_by_shape() -> None:
    found = recognise(pods.pod(build.injected(image="proxyv2:latest"))).release
    assert not found.exact
    assert found.evidence
    assert found.has("1.12", "1.30") is True


@pytest.mark.parametrize(
    ("volumes", "env", "args", "text"),
    [
        ([], ["JWT_POLICY"], ["--concurrency", "2"], "1.12-1.13"),
        (["workload-socket"], ["JWT_POLICY"], [], "1.14-1.15"),
        (["workload-socket", "credential-socket"], ["JWT_POLICY"], [], "1.16-1.17"),
        (["workload-socket", "credential-socket"], ["JWT_POLICY", "ISTIO_CPU_LIMIT"], [], "1.18"),
        (["workload-socket", "credential-socket"], ["ISTIO_CPU_LIMIT", "GOMEMLIMIT"], [], "1.22-1.26"),
        (["workload-socket", "credential-socket", "istio-ca-crl"], ["ISTIO_CPU_LIMIT", "GOMEMLIMIT"], [], "1.27-1.30"),
    ],
)
def test_shapes_of_the_templates(volumes: list[str], env: list[str], args: list[str], text: str) -> None:
    proxy = {
        "env": [{"name": n, "value": "x"} for n in env],
        "args": ["proxy", "sidecar", *args],
        "startupProbe": None,
    }
    raw = build.injected(image="proxyv2:latest", proxy=proxy)
    raw["spec"]["volumes"] = [{"name": v, "emptyDir": {}} for v in volumes]
    assert recognise(pods.pod(raw)).release.text == text


def test_a_gateway_of_the_template() -> None:
    raw = build.plain({"inject.istio.io/templates": "gateway"})
    raw["spec"]["containers"] = [{"name": "istio-proxy", "image": build.IMAGE, "args": ["proxy", "router"]}]
    assert recognise(pods.pod(raw)).mode == "gateway"


def test_grpc_without_a_proxy() -> None:
    raw = build.plain()
    raw["spec"]["initContainers"] = [{"name": "grpc-bootstrap-init", "image": "busybox"}]
    assert recognise(pods.pod(raw)).mode == "grpc"
    raw = build.injected(proxy={"env": [{"name": "DISABLE_ENVOY", "value": "true"}]})
    assert recognise(pods.pod(raw)).mode == "grpc"


def test_a_planned_ambient_pod_is_told_by_labels() -> None:
    labels = {"istio.io/dataplane-mode": "ambient"}
    assert recognise(pods.pod(build.plain(labels=labels))).mode == "ambient"
    assert recognise(pods.pod(build.plain()), labels).mode == "ambient"
    assert recognise(pods.pod(build.plain(labels={"istio.io/dataplane-mode": "none"})), labels).mode == "none"
    running = {**build.plain(), "status": {"phase": "Running"}}
    assert recognise(pods.pod(running), labels).mode == "none"


@pytest.mark.parametrize(
    ("container", "mesh"), [("linkerd-proxy", "linkerd"), ("kuma-sidecar", "kuma"), ("consul-dataplane", "consul")]
)
def test_other_meshes_are_recognised_and_not_judged(container: str, mesh: str) -> None:
    raw = build.plain()
    raw["spec"]["containers"].append({"name": container})
    found = recognise(pods.pod(raw))
    assert (found.mode, found.mesh) == ("none", mesh)
    assert found.reasons[-1].source == f"container {container}"


def test_broken_receipts_and_two_proxies_are_named() -> None:
    raw = build.injected({"sidecar.istio.io/status": "{not json"})
    raw["spec"]["containers"].append({"name": "second", "args": ["proxy", "sidecar"]})
    found = recognise(pods.pod(raw))
    assert found.mode == "sidecar"
    assert len(found.problems) == 2
    assert "not valid JSON" in found.problems[0]
    assert "2 containers are proxies" in found.problems[1]


@pytest.mark.parametrize("text", ["[]", "3", '{"containers": 5}', '{"initContainers": [1]}'])
def test_a_receipt_of_another_shape_is_a_problem_not_an_error(text: str) -> None:
    assert recognise(pods.pod(build.injected({"sidecar.istio.io/status": text}))).problems


def test_a_receipt_of_an_old_version_is_read() -> None:
    text = json.dumps({"version": "abc", "initContainers": ["istio-init"], "containers": ["istio-proxy"]})
    found = recognise(pods.pod(build.injected({"sidecar.istio.io/status": text})))
    assert found.receipt is not None
    assert found.problems == ()


def test_istio_init_with_a_restart_policy_is_no_native_sidecar() -> None:
    raw = build.injected(init={"restartPolicy": "Always"})
    found = build.described(raw)
    assert found.injection.mode == "sidecar"
    story = found.story("istio-init")
    assert story is not None
    assert story.kind == "init"


@pytest.mark.parametrize(
    "container",
    [
        {"name": "istio-proxy", "image": "auto"},
        {"name": "istio-proxy", "image": "nginx"},
        {"name": "istio-proxy", "image": "nginx", "command": ["nginx", "proxy"]},
        {"name": "istio-proxy", "image": build.IMAGE, "lifecycle": {"postStart": {"exec": {"command": ["a"]}}}},
        {"name": "enable-core-dump", "image": "busybox"},
    ],
)
def test_a_container_of_the_user_is_not_the_meshs_for_its_name(container: dict[str, Any]) -> None:
    raw = build.plain()
    raw["spec"]["containers"].insert(0, container)
    raw["spec"]["initContainers"] = [{"name": "istio-init", "image": "busybox", "command": ["sh", "-c", "true"]}]
    for pod in (raw, {**raw, "status": {"phase": "Running"}}):
        found = build.described(pod)
        assert (found.injection.mode, found.injection.proxy, found.injection.init) == ("none", None, None)
        assert found.added.containers == ()
        assert found.added.init_containers == ()
        assert not any(story.by_mesh for story in found.containers)
        roles = {story.container.name: story.role for story in found.containers}
        assert "the injector" in roles[container["name"]]
        assert "the mesh did not add it" in roles["istio-init"]


@pytest.mark.parametrize(
    ("command", "args", "mode"),
    [
        ([], ["proxy", "sidecar"], "sidecar"),
        (["/usr/local/bin/pilot-agent"], ["proxy", "sidecar"], "sidecar"),
        (["/usr/local/bin/pilot-agent", "proxy"], ["router"], "gateway"),
        (["pilot-agent", "request"], ["GET", "stats"], "none"),
        (["envoy"], ["-c", "x"], "none"),
    ],
)
def test_a_proxy_without_a_receipt_is_told_by_what_it_runs(command: list[str], args: list[str], mode: str) -> None:
    raw = build.plain()
    raw["spec"]["containers"].append({"name": "edge", "image": build.IMAGE, "command": command, "args": args})
    assert recognise(pods.pod(raw)).mode == mode


@pytest.mark.parametrize(
    ("command", "args"),
    [
        ([], ["-p", "15001"]),
        ([], ["istio-iptables", "-p", "15001"]),
        (["/usr/local/bin/istio-iptables"], ["-p", "15001"]),
        (["/usr/local/bin/pilot-agent", "istio-iptables"], []),
    ],
)
def test_an_init_container_that_writes_the_rules_counts_without_a_receipt(command: list[str], args: list[str]) -> None:
    raw = build.plain()
    raw["spec"]["initContainers"] = [{"name": "istio-init", "image": build.IMAGE, "command": command, "args": args}]
    found = recognise(pods.pod(raw))
    assert found.init is not None
    assert found.ours == {"istio-init"}


def test_a_pod_to_be_made_with_a_sidecar_is_not_called_ambient() -> None:
    both = replace(build.namespace(), labels={"istio-injection": "enabled", "istio.io/dataplane-mode": "ambient"})
    found = build.described(build.plain(), namespace=both, webhooks=build.recorded_webhooks())
    assert found.injection.mode == "none"
    assert found.planned is not None
    only = replace(both, labels={"istio.io/dataplane-mode": "ambient"})
    found = build.described(build.plain(), namespace=only, webhooks=build.recorded_webhooks())
    assert found.injection.mode == "ambient"
    assert found.planned is None

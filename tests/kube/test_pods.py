import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshctl.kube import pods
from meshctl.kube.containers import Exec, Grpc, HttpGet, Running, TcpSocket, Terminated, UnknownAction, Waiting
from tests.injection import build


def test_reads_a_recorded_pod_whole() -> None:
    pod = build.recorded_pod("classic-sidecar")
    assert (pod.name, pod.namespace, pod.phase, pod.ready) == (
        "reviews-v1-7756f78fff-dmtc8", "classic", "Running", True,
    )  # fmt: skip
    assert [c.name for c in pod.init_containers] == ["istio-init"]
    assert [c.name for c in pod.app_containers] == ["reviews", "istio-proxy"]
    assert pod.controller is not None
    assert pod.controller.kind == "ReplicaSet"
    init = pod.container("istio-init")
    assert init is not None
    assert init.args[:3] == ("istio-iptables", "-p", "15001")
    assert init.args[init.args.index("-x") + 1] == ""
    assert init.status is not None
    assert isinstance(init.status.state, Terminated)
    assert init.status.state.exit_code == 0
    assert init.security.added == ("NET_ADMIN", "NET_RAW")
    assert pod.flaws == ()


def test_an_init_container_that_keeps_running_is_a_sidecar() -> None:
    pod = build.recorded_pod("native-exclude")
    assert [(c.name, c.kind) for c in pod.init_containers] == [("istio-init", "init"), ("istio-proxy", "sidecar")]


def test_env_says_where_kubernetes_takes_a_value_from() -> None:
    env = [
        {"name": "A", "value": "x"},
        {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "C", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "D", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        {"name": "E", "valueFrom": {"fileKeyRef": {"path": "p"}}},
    ]
    pod = pods.pod({"spec": {"containers": [{"name": "c", "env": env}]}})
    found = {e.name: (e.value, e.source) for e in pod.containers[0].env}
    assert found["A"] == ("x", "")
    assert found["B"] == (None, "field metadata.name")
    assert found["C"] == (None, "resource limits.cpu")
    assert found["D"] == (None, "Secret s key k")
    assert found["E"] == (None, '{"fileKeyRef": {"path": "p"}}')


@pytest.mark.parametrize(
    ("raw", "action"),
    [
        ({"httpGet": {"path": "/a", "port": "web"}}, HttpGet("/a", "web")),
        ({"tcpSocket": {"port": 80}}, TcpSocket("80")),
        ({"grpc": {"port": 9, "service": "s"}}, Grpc("9", "s")),
        ({"exec": {"command": ["true"]}}, Exec(("true",))),
        ({"carrierPigeon": {}}, UnknownAction('{"carrierPigeon": {}}')),
    ],
)
def test_probes_of_every_kind(raw: dict[str, object], action: object) -> None:
    pod = pods.pod({"spec": {"containers": [{"name": "c", "readinessProbe": raw}]}})
    probe = pod.containers[0].probe("readiness")
    assert probe is not None
    assert probe.action == action


def test_states_of_a_container() -> None:
    statuses = [
        {"name": "a", "state": {"running": {"startedAt": "2026-01-02T03:04:05Z"}}, "ready": True},
        {"name": "b", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 4},
        {"name": "c", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}},
    ]
    raw = {
        "spec": {"containers": [{"name": n} for n in "abcd"]},
        "status": {"containerStatuses": statuses},
    }
    found = {c.name: c.status for c in pods.pod(raw).containers}
    assert found["a"] is not None
    assert isinstance(found["a"].state, Running)
    assert found["b"] is not None
    assert found["b"].state == Waiting("CrashLoopBackOff")
    assert found["b"].restarts == 4
    assert found["c"] is not None
    assert isinstance(found["c"].state, Terminated)
    assert found["d"] is None


def test_wrong_types_become_named_flaws_and_the_rest_is_read() -> None:
    raw = {
        "metadata": {"name": "x", "annotations": {"sidecar.istio.io/inject": True}, "labels": ["a"]},
        "spec": {
            "hostNetwork": "yes",
            "containers": [{"name": "c", "args": "one", "ports": [{"containerPort": "http"}]}, "nonsense"],
        },
    }
    pod = pods.pod(raw)
    assert {f.path for f in pod.flaws} == {
        "metadata.annotations.sidecar.istio.io/inject",
        "metadata.labels",
        "spec.hostNetwork",
        "spec.containers[0].args",
        "spec.containers[0].ports[0].containerPort",
        "spec.containers[1]",
    }
    assert pod.annotations["sidecar.istio.io/inject"] == "true"
    assert [c.name for c in pod.containers] == ["c"]


@pytest.mark.parametrize(
    "kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "DeploymentConfig"]
)
def test_finds_the_template_inside_a_workload(kind: str) -> None:
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c"}]}}
    workload = {"kind": kind, "metadata": {"name": "w", "namespace": "n"}, "spec": {"template": template}}
    (pod,) = pods.pods_in([workload], "m.yaml")
    assert (pod.name, pod.namespace, pod.template_of, pod.labels) == ("w", "n", f"{kind}/w", {"app": "x"})


def test_finds_pods_in_cron_jobs_lists_and_several_documents() -> None:
    template = {"spec": {"containers": [{"name": "c"}]}}
    cron = {"kind": "CronJob", "metadata": {"name": "j"}, "spec": {"jobTemplate": {"spec": {"template": template}}}}
    listed = {"kind": "List", "items": [cron, {"kind": "Service", "spec": {}}]}
    typed = {"kind": "PodList", "items": [{"metadata": {"name": "p"}, "spec": {"containers": []}}]}
    found = pods.pods_in([listed, typed, None, "text", {"kind": "ConfigMap"}], "m.yaml", namespace="home")
    assert [(p.name, p.namespace) for p in found] == [("j", "home"), ("p", "home")]


def test_a_custom_resource_with_a_pod_template_is_found_as_well() -> None:
    rollout = {"kind": "Rollout", "metadata": {"name": "r"}, "spec": {"template": {"spec": {"containers": []}}}}
    assert [p.template_of for p in pods.pods_in([rollout], "m")] == ["Rollout/r"]
    gateway = {"kind": "Certificate", "metadata": {"name": "g"}, "spec": {"template": {"type": "x"}}}
    assert pods.pods_in([gateway], "m") == ()


KEYS = ["metadata", "spec", "status", "containers", "name", "args", "env", "httpGet", "port", "template", "kind"]
KEYS += ["items", "valueFrom", "labels", "annotations", "state", "running", "startedAt"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(JSON)
def test_nothing_makes_the_reader_fail(document: object) -> None:
    pods.pods_in([document, {"kind": "Pod", "spec": document, "metadata": document, "status": document}], "m")


def test_the_user_that_the_kubelet_says_a_container_was_started_as() -> None:
    told = {"linux": {"uid": 1000, "gid": 3000, "supplementalGroups": [3000]}}
    statuses = [{"name": "a", "user": told}, {"name": "b", "user": {}}, {"name": "c"}]
    raw = {"spec": {"containers": [{"name": n} for n in "abc"]}, "status": {"containerStatuses": statuses}}
    users = [c.status.user for c in pods.pod(raw).containers if c.status is not None]
    assert users == [(1000, 3000), None, None]

from meshctl.injection import changes, outdated
from meshctl.injection.mode import recognise
from meshctl.injection.settings import MeshSettings
from meshctl.kube import owners, pods
from tests.injection import build


def test_a_recorded_pod_is_explained_by_istio_and_kubernetes_alone() -> None:
    pod = build.recorded_pod("classic-sidecar")
    template = owners.workload(pod, build.recorded("classic-sidecar.owners")).template
    assert template is not None
    found = changes.between(template, pod, recognise(pod))
    assert [c.path for c in found if c.by == "others"] == []
    paths = {c.path: c.by for c in found}
    assert paths["spec.containers[istio-proxy]"] == "Istio"
    assert paths["spec.nodeName"] == "Kubernetes"
    assert paths["metadata.annotations.sidecar.istio.io/status"] == "Istio"


def test_what_neither_explains_is_by_others() -> None:
    template, raw = pods.pod(build.plain()), build.injected()
    raw["spec"]["containers"].append({"name": "agent", "image": "tracing:1"})
    raw["spec"]["containers"][0]["image"] = "mirror/app:1"
    raw["metadata"]["labels"]["team"] = "x"
    pod = pods.pod(raw)
    found = {c.path for c in changes.between(template, pod, recognise(pod)) if c.by == "others"}
    assert found == {"spec.containers[agent]", "spec.containers[app].image", "metadata.labels.team"}


def test_nothing_changed_is_no_change() -> None:
    pod = pods.pod(build.plain())
    assert changes.between(pod, pod, recognise(pod)) == ()


def test_a_proxy_older_than_the_control_plane() -> None:
    injection = recognise(pods.pod(build.injected(image="docker.io/istio/proxyv2:1.28.1")))
    (found,) = outdated.against(injection, MeshSettings(), ("1.30.3",), "default")
    assert found.what == "release"
    assert outdated.against(injection, MeshSettings(), ("1.28.4",), "default") == ()


def test_another_image_or_revision() -> None:
    injection = recognise(pods.pod(build.injected()))
    values = {"global": {"hub": "r", "tag": "1.31.0", "proxy": {"image": "proxyv2"}}}
    found = outdated.against(injection, MeshSettings(values=values), (), "canary")
    assert [d.what for d in found] == ["image", "revision"]
    same = {"global": {"hub": "docker.io/istio", "tag": "1.30.3", "proxy": {"image": "proxyv2"}}}
    assert outdated.against(injection, MeshSettings(values=same), (), "default") == ()


def test_a_pod_that_was_not_injected_is_not_outdated() -> None:
    assert outdated.against(recognise(pods.pod(build.plain())), MeshSettings(), ("1.30.3",), "x") == ()

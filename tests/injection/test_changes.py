from typing import Any

from meshctl.injection import added, changes, outdated, templates
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
    assert outdated.against(injection, MeshSettings(), ("1.28.1",), "default") == ()


def test_another_image_or_revision() -> None:
    injection = recognise(pods.pod(build.injected()))
    values = {"global": {"hub": "r", "tag": "1.31.0", "proxy": {"image": "proxyv2"}}}
    found = outdated.against(injection, MeshSettings(values=values), (), "canary")
    assert [d.what for d in found] == ["image", "revision"]
    same = {"global": {"hub": "docker.io/istio", "tag": "1.30.3", "proxy": {"image": "proxyv2"}}}
    assert outdated.against(injection, MeshSettings(values=same), (), "default") == ()


def test_a_pod_that_was_not_injected_is_not_outdated() -> None:
    assert outdated.against(recognise(pods.pod(build.plain())), MeshSettings(), ("1.30.3",), "x") == ()


def test_a_patch_behind_counts_and_a_release_that_is_only_guessed_by_its_newest() -> None:
    def of(raw: Any, *planes: str) -> tuple[outdated.Difference, ...]:
        return outdated.against(recognise(pods.pod(raw)), MeshSettings(), planes, "default")

    (found,) = of(build.injected(image="proxyv2:1.30.1"), "1.30.3")
    assert found.text.startswith("the proxy is Istio 1.30.1, the control plane 1.30.3: a proxy keeps its release")
    assert not outdated.other_minor(found)
    assert of(build.injected(image="proxyv2:1.30.3"), "1.30.3", "1.29.0") == ()
    assert of(build.injected(image="mine:latest"), "1.30.3") == ()


TEMPLATE = """
- name: istio-init
  args: [istio-iptables, "-p", 15001, "-z", 15006, "-u", 1337, "-m", x, "-i", x, "-x", x, "-b", x, "-d", x,
    --log_output_level={{ .Values.global.logging.level }}]
- name: istio-proxy
  args: [proxy, sidecar, --domain, x]
  env:
  - name: ISTIO_META_APP_CONTAINERS
volumes:
- name: istio-envoy
"""


def told(config: Any, raw: Any = None, **values: Any) -> templates.Templates:
    settings = MeshSettings(injector=config, **values)
    found = build.described(raw or build.injected(), settings=settings).templates
    assert found is not None
    return found


def test_templates_that_are_not_readable_are_said_to_be_so() -> None:
    assert not told(None).readable
    assert "was not read" in told(None).text
    assert "holds none" in told(None, values={"global": {}}).text
    assert build.described(build.plain()).templates is None


def test_templates_are_compared_by_the_names_that_they_mention() -> None:
    now = {"templates": {"sidecar": TEMPLATE}, "defaultTemplates": ["sidecar"]}
    assert told(now).unmentioned == ()
    assert told(now).readable
    older = {"templates": {"sidecar": TEMPLATE.replace("--domain", "--dom").replace("istio-envoy", "istio-data")}}
    assert told(older).unmentioned == ("istio-envoy", "--domain")
    assert "another template" in told(older).text


def test_what_settings_and_users_add_needs_no_template() -> None:
    now = {"templates": {"sidecar": TEMPLATE}}
    env = {"env": [{"name": "BOOTSTRAP_XDS_AGENT", "value": "1"}, {"name": "DD_AGENT", "value": "x"}]}
    raw = build.injected({"apm.datadoghq.com/env": '{"DD_AGENT": "x"}'}, proxy=env)
    assert told(now, raw).unmentioned == ("BOOTSTRAP_XDS_AGENT",)
    mesh = {"defaultConfig": {"proxyMetadata": {"BOOTSTRAP_XDS_AGENT": "1"}}}
    assert told(now, raw, mesh=mesh).unmentioned == ()


def test_a_template_that_is_gone_is_named() -> None:
    raw = build.injected({"inject.istio.io/templates": "sidecar,mine"})
    assert "no template mine (any more)" in told({"templates": {"sidecar": TEMPLATE}}, raw).text


def test_an_annotation_that_was_added_to_the_running_pod_is_not_the_meshs() -> None:
    key = "traffic.sidecar.istio.io/excludeOutboundPorts"
    template = pods.pod(build.plain())
    for init, by in (("istio-init", "others"), ("istio-validation", "Istio")):
        pod = pods.pod(build.injected({key: "3306"}, init={"name": init}))
        injection = recognise(pod)
        (change,) = (c for c in changes.between(template, pod, injection) if key in c.path)
        assert change.by == by
        assert (key in added.of(pod, injection, template).annotations) is (by == "Istio")

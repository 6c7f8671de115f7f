from dataclasses import replace
from typing import Any

import pytest

from meshctl.injection.decision import Situation, decide
from meshctl.injection.description import Subject, describe
from meshctl.injection.settings import MeshSettings
from meshctl.kube import owners, pods, webhooks
from tests.injection import build

HOOKS = build.recorded_webhooks()
ENABLED = {"istio-injection": "enabled"}
VALUES = MeshSettings(values={"global": {"proxy": {"autoInject": "enabled"}}, "sidecarInjectorWebhook": {}})


def asked(**given: Any) -> Situation:
    base: dict[str, Any] = {
        "labels": {"app": "web"}, "namespace": "shop", "namespace_labels": ENABLED, "webhooks": HOOKS,
        "settings": VALUES, "releases": ("1.30.3",),
    }  # fmt: skip
    return Situation(**{**base, **given})


INJECT, REV = "sidecar.istio.io/inject", "istio.io/rev"


@pytest.mark.parametrize(
    ("rule", "outcome", "triggers", "near"),
    [
        ("pod-label-false", "not injected", {"labels": {INJECT: "false"}}, {"labels": {INJECT: "true"}}),
        ("namespace-label", "not injected", {"namespace_labels": {"istio-injection": "disabled"}},
         {"namespace_labels": ENABLED}),
        ("injector", "not injected", {"webhooks": ()}, {"webhooks": HOOKS}),
        ("selectors", "not injected", {"namespace_labels": {}}, {"namespace_labels": {REV: "default"}}),
        ("selectors", "not injected", {"namespace_labels": {REV: "canary"}}, {"namespace_labels": {REV: "default"}}),
        ("selectors", "not injected", {"namespace_labels": {}, "labels": {REV: "canary"}},
         {"namespace_labels": {}, "labels": {REV: "default"}}),
        ("selectors", "not injected", {"namespace_labels": {}, "annotations": {INJECT: "true"}},
         {"namespace_labels": {}, "labels": {INJECT: "true"}}),
        ("host-network", "not injected", {"host_network": True}, {"host_network": False}),
        ("ignored-namespace", "not injected", {"namespace": "kube-system"}, {"namespace": "kube-systems"}),
        ("pod-choice", "not injected", {"annotations": {INJECT: "false"}}, {"annotations": {INJECT: "perhaps"}}),
        ("never-inject", "not injected",
         {"settings": MeshSettings(injector={"neverInjectSelector": [{"matchLabels": {"app": "web"}}]})},
         {"settings": MeshSettings(injector={"neverInjectSelector": [{"matchLabels": {"app": "x"}}]})}),
        ("policy", "not injected", {"settings": MeshSettings(injector={"policy": "disabled"})},
         {"settings": MeshSettings(injector={"policy": "enabled"})}),
        ("policy", "not injected", {"settings": MeshSettings(injector={"policy": "sometimes"})},
         {"settings": MeshSettings(injector={"policy": "enabled"})}),
    ],
)  # fmt: skip
def test_each_rule_decides_where_it_must_and_only_there(
    rule: str, outcome: str, triggers: dict[str, Any], near: dict[str, Any]
) -> None:
    found = decide(asked(**triggers))
    assert (found.outcome, found.deciding and found.deciding.rule) == (outcome, rule)
    other = decide(asked(**near))
    assert other.outcome == "injected", other.text


def test_an_always_selector_injects_where_the_policy_would_not() -> None:
    settings = MeshSettings(injector={"policy": "disabled", "alwaysInjectSelector": [{"matchLabels": {"app": "web"}}]})
    found = decide(asked(settings=settings))
    assert (found.outcome, found.deciding and found.deciding.rule) == ("injected", "always-inject")
    settings = MeshSettings(injector={"policy": "disabled", "alwaysInjectSelector": [{}]})
    assert decide(asked(settings=settings)).outcome == "not injected"


def test_never_comes_before_always() -> None:
    both = {"neverInjectSelector": [{"matchLabels": {"app": "web"}}], "alwaysInjectSelector": [{"matchLabels": {}}]}
    assert decide(asked(settings=MeshSettings(injector=both))).outcome == "not injected"


def test_an_opt_in_counts_before_the_policy() -> None:
    settings = MeshSettings(injector={"policy": "disabled"})
    found = decide(asked(settings=settings, labels={INJECT: "true"}))
    assert (found.outcome, found.deciding and found.deciding.rule) == ("injected", "pod-choice")


def test_the_namespaces_no_cannot_be_overruled_by_the_pod() -> None:
    found = decide(asked(namespace_labels={"istio-injection": "disabled"}, labels={INJECT: "true"}))
    assert found.outcome == "not injected"
    assert "a pod's label cannot change that" in found.text


def test_both_labels_are_remarked() -> None:
    found = decide(asked(namespace_labels={**ENABLED, REV: "canary"}))
    assert found.outcome == "injected"
    assert any("istio.io/rev: canary is ignored" in r for r in found.remarks)


def test_an_unknown_revision_is_named_with_those_there_are() -> None:
    found = decide(asked(namespace_labels={REV: "canary"}))
    assert "revision canary" in found.text
    assert "there are: default" in found.text


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        ({"webhooks": None}, "injected"),
        ({"webhooks": None, "namespace_labels": {REV: "default"}}, "undecided"),
        ({"webhooks": None, "namespace_labels": {}}, "not injected"),
        ({"webhooks": None, "namespace_labels": {}, "labels": {INJECT: "true"}}, "injected"),
        ({"webhooks": None, "namespace_labels": None}, "undecided"),
        ({"namespace_labels": None}, "undecided"),
        ({"namespace_labels": None, "labels": {INJECT: "false"}}, "not injected"),
    ],
)
def test_what_could_not_be_looked_at_is_not_guessed(given: dict[str, Any], outcome: str) -> None:
    assert decide(asked(**given)).outcome == outcome


def test_a_deactivated_webhook_is_told_in_one_line() -> None:
    found = decide(asked())
    asleep = [t for t in found.tries if "deactivated" in t.text]
    assert [t.source for t in asleep] == ["istio-sidecar-injector"]
    assert found.revision == "default"


def test_the_failure_policy_is_told() -> None:
    text = " ".join(t.text for t in decide(asked()).tries)
    assert "the pod is rejected (failurePolicy Fail)" in text


@pytest.mark.parametrize("name", ["classic-sidecar", "native-exclude", "opted-out", "host-network"])
def test_recorded_pods_are_decided_as_they_were(name: str) -> None:
    pod = build.recorded_pod(name)
    given = asked(
        labels=pod.labels, annotations=pod.annotations, host_network=pod.host_network, namespace=pod.namespace
    )
    injected = "sidecar.istio.io/status" in pod.annotations
    assert (decide(given).outcome == "injected") is injected


@pytest.mark.parametrize(
    "given",
    [
        {"host_network": True},
        {"namespace": "kube-system"},
        {"annotations": {INJECT: "false"}},
        {"settings": MeshSettings(injector={"policy": "disabled"})},
        {"settings": MeshSettings(injector={"policy": "sometimes"}), "labels": {INJECT: "true"}},
        {"settings": MeshSettings(injector={"neverInjectSelector": [{"matchLabels": {"app": "web"}}]})},
    ],
)
def test_a_certain_no_of_istiod_holds_whatever_is_not_known_of_namespace_and_webhooks(given: dict[str, Any]) -> None:
    for unknown in ({"webhooks": None, "namespace_labels": None}, {"namespace_labels": None}):
        found = decide(asked(**{**given, **unknown}))
        assert found.outcome == "not injected"
        assert "whether or not a webhook takes the pod" in found.text
        assert sum(t.decides for t in found.tries) == 1


def test_the_label_counts_before_the_annotation_where_nothing_else_is_known() -> None:
    given = {"labels": {INJECT: "true"}, "annotations": {INJECT: "false"}, "webhooks": None, "namespace_labels": None}
    assert decide(asked(**given)).outcome == "undecided"


def hooks(**change: Any) -> tuple[webhooks.Webhook, ...]:
    """The recorded webhooks, each changed in the same way."""
    items = build.recorded("webhooks")["items"]
    for item in items:
        for hook in item["webhooks"]:
            hook.update(change)
    return tuple(w for raw in items for w in webhooks.configuration(raw))


@pytest.mark.parametrize(
    ("expressions", "outcome"),
    [
        ((), "injected"),
        (("true",), "injected"),
        (("true", " false "), "not injected"),
        (("object.metadata.name != 'x'",), "undecided"),
        (("object.metadata.name != 'x'", "false"), "not injected"),
    ],
)
def test_match_conditions_are_judged_as_far_as_they_are_constants(expressions: tuple[str, ...], outcome: str) -> None:
    conditions = [{"name": f"c{i}", "expression": e} for i, e in enumerate(expressions)]
    found = decide(asked(webhooks=hooks(matchConditions=conditions)))
    assert found.outcome == outcome
    if outcome != "injected":
        assert "matchCondition c" in found.text


def test_a_rule_for_other_objects_than_pods_makes_no_call() -> None:
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
    assert decide(asked(webhooks=hooks(rules=[rule]))).outcome == "injected"
    for change in ({"apiGroups": ["apps"]}, {"apiVersions": ["v2"]}, {"scope": "Cluster"}, {"operations": ["UPDATE"]}):
        assert decide(asked(webhooks=hooks(rules=[{**rule, **change}]))).outcome == "not injected"


_PORTS = "traffic.sidecar.istio.io/excludeInboundPorts"


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        ({"annotations": {_PORTS: "8000-9000"}}, "rejected"),
        ({"annotations": {"sidecar.istio.io/interceptionMode": "tproxy"}}, "rejected"),
        ({"annotations": {INJECT: "perhaps"}}, "injected"),
        ({"annotations": {"proxy.istio.io/config": "concurrency: many"}}, "rejected"),
        ({"annotations": {"proxy.istio.io/config": "concurrency: 2"}}, "injected"),
        ({"annotations": {"proxy.istio.io/config": "interceptionMode: TPROXI"}}, "undecided"),
        ({"annotations": {"sidecar.istio.io/proxyCPU": "abc"}}, "rejected"),
        ({"annotations": {_PORTS: "8000"}}, "injected"),
        ({"annotations": {_PORTS: "8000-9000"}, "namespace_labels": {}}, "not injected"),
        ({"annotations": {_PORTS: "8000-9000"}, "host_network": True}, "not injected"),
        ({"annotations": {"inject.istio.io/templates": "gateway"}}, "injected"),
        ({"annotations": {"inject.istio.io/templates": "sidecar,own"}}, "undecided"),
        ({"annotations": {"inject.istio.io/templates": "sidecar,own"},
          "settings": MeshSettings(injector={"templates": {"sidecar": "", "own": ""}})}, "injected"),
        ({"annotations": {"inject.istio.io/templates": "sidecar,own"},
          "settings": MeshSettings(injector={"templates": {"sidecar": ""}})}, "rejected"),
        ({"annotations": {"inject.istio.io/templates": "both"},
          "settings": MeshSettings(injector={"templates": {"sidecar": ""}, "aliases": {"both": ["sidecar"]}})},
         "injected"),
    ],
)  # fmt: skip
def test_a_pod_that_istiod_cannot_make_is_rejected_not_injected(given: dict[str, Any], outcome: str) -> None:
    assert decide(asked(**given)).outcome == outcome


def test_settings_that_are_no_yaml_reject_the_pod() -> None:
    raw = build.plain({"proxy.istio.io/config": "concurrency: ["}, labels={"app": "web"})
    found = build.described(raw, namespace=build.namespace(istio_injection="enabled"), webhooks=HOOKS)
    assert found.decision.outcome == "rejected"
    assert "MC119" not in build.ids({**raw, "status": {"phase": "Running"}},
                                    namespace=build.namespace(istio_injection="enabled"), webhooks=HOOKS)  # fmt: skip


_NEVER = MeshSettings(injector={"policy": "enabled", "neverInjectSelector": [{"matchLabels": {"app": "web"}}]})
_OFF = MeshSettings(injector={"policy": "disabled"})


@pytest.mark.parametrize(
    ("word", "settings", "releases", "outcome"),
    [
        ("yes", VALUES, ("1.30.3",), "injected"),
        ("yes", _OFF, ("1.30.3",), "not injected"),
        ("yes", _NEVER, ("1.30.3",), "not injected"),
        ("yes", _NEVER, ("1.24.0",), "injected"),
        ("True", _NEVER, ("1.26.1",), "injected"),
        ("True", _NEVER, ("1.27.0",), "not injected"),
        ("yes", _OFF, (), "undecided"),
        ("yes", _OFF, ("1.24.0", "1.30.3"), "undecided"),
        ("yes", VALUES, (), "injected"),
        ("perhaps", VALUES, ("1.24.0",), "not injected"),
        ("perhaps", VALUES, ("1.30.3",), "injected"),
        ("perhaps", VALUES, (), "undecided"),
        ("", VALUES, (), "injected"),
        ("true", _OFF, (), "injected"),
    ],
)
def test_the_pods_own_word_counts_as_its_release_reads_it(
    word: str, settings: MeshSettings, releases: tuple[str, ...], outcome: str
) -> None:
    found = decide(asked(labels={"app": "web", INJECT: word}, settings=settings, releases=releases))
    assert found.outcome == outcome, found.text


def test_the_requirement_that_fails_is_named() -> None:
    wanted = {"matchExpressions": [{"key": "mesh", "operator": "In", "values": ["yes"]}]}
    found = decide(asked(webhooks=hooks(objectSelector=wanted)))
    assert "webhook namespace" in found.text
    assert "pod: mesh is yes (not set)" in found.text
    assert "Deactivated: istio-sidecar-injector" in found.text
    never = {"matchLabels": {"istio.io/deactivated": "never-match"}}
    found = decide(asked(webhooks=hooks(objectSelector=never, namespaceSelector=never)))
    assert "every injector is deactivated" in found.text
    assert "istio-revision-tag-default" in found.text


def test_a_pod_that_asks_itself_is_not_told_that_nobody_asks() -> None:
    excluded = {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["shop"]}]}
    given = {"namespace_labels": {}, "labels": {INJECT: "true"}, "webhooks": hooks(namespaceSelector=excluded)}
    assert "kubernetes.io/metadata.name is not shop" in decide(asked(**given)).text


def of_deployment(pod: dict[str, Any], template: dict[str, str], **namespace: str) -> Any:
    """A pod of a Deployment with these labels in its template."""
    pod["metadata"]["ownerReferences"] = [{"kind": "Deployment", "name": "web", "controller": True}]
    spec = {"template": {"metadata": {"labels": template}, "spec": pod["spec"]}}
    raw = {"kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}, "spec": spec}
    made = owners.workload(pods.pod(pod, "pod.yaml"), [raw])
    given: dict[str, Any] = {"workload": made, "webhooks": HOOKS, "control_planes": ("1.30.3",)}
    return build.described(pod, **given, namespace=build.namespace(**namespace))


def test_what_was_read_of_the_template_is_said_to_be_of_the_template() -> None:
    raw = build.plain(labels={"app": "web", INJECT: "false"})
    found = of_deployment({**raw, "status": {"phase": "Running"}}, {"app": "web"}, istio_injection="enabled")
    assert found.decision.outcome == "injected"
    assert found.decision.tries[0].source == f"label {INJECT} in the template of Deployment web"
    assert any(f"this pod itself has the label {INJECT}: false" in r for r in found.decision.remarks)
    alike = of_deployment(build.plain(labels={"app": "web"}), {"app": "web"}, istio_injection="enabled")
    assert alike.decision.remarks == ()


def test_a_pod_made_now_follows_the_template_that_its_deployment_has_now() -> None:
    pod = pods.pod(build.plain(labels={"app": "web"}), "pod.yaml")
    old, new = replace(pod, name=""), replace(pod, name="", labels={"app": "web", INJECT: "false"})
    chain = (pods.Owner("ReplicaSet", "web-1"), pods.Owner("Deployment", "web"))
    found = describe(
        Subject(pod=pod, workload=owners.Workload(chain, old, new), webhooks=HOOKS,
                namespace=build.namespace(istio_injection="enabled"))
    )  # fmt: skip
    assert found.decision.outcome == "not injected"
    assert found.decision.tries[0].source.endswith("in the template of Deployment web")


@pytest.mark.parametrize("written", [{"annotations": {"a": 8080}}, {"labels": {"b": True}}], ids=str)
def test_a_manifest_that_the_api_server_cannot_decode_is_rejected_whoever_would_inject_it(written: Any) -> None:
    raw = {**build.plain(), "metadata": {"name": "web", "namespace": "shop", **written}}
    namespace = build.namespace(istio_injection="enabled")
    for hooks in (HOOKS, (), None):
        found = build.described(raw, namespace=namespace, webhooks=hooks)
        assert (found.decision.outcome, found.planned) == ("rejected", None)
        assert "should be a string" in found.decision.text
    there = build.described({**raw, "status": {"phase": "Running"}}, namespace=namespace, webhooks=HOOKS)
    assert there.decision.outcome == "injected"

from typing import Any

import pytest

from meshctl.injection.decision import Situation, decide
from meshctl.injection.settings import MeshSettings
from tests.injection import build

HOOKS = build.recorded_webhooks()
ENABLED = {"istio-injection": "enabled"}
VALUES = MeshSettings(values={"global": {"proxy": {"autoInject": "enabled"}}, "sidecarInjectorWebhook": {}})


def asked(**given: Any) -> Situation:
    base: dict[str, Any] = {
        "labels": {"app": "web"}, "namespace": "shop", "namespace_labels": ENABLED, "webhooks": HOOKS,
        "settings": VALUES,
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

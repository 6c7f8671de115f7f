"""Mutating webhooks that are called when a pod is created (admissionregistration.k8s.io/v1)."""

from collections.abc import Mapping
from typing import Any

from meshctl.frozen import dataclass
from meshctl.kube.fields import Fields, Flaw
from meshctl.kube.selectors import Selector, selector


@dataclass(frozen=True, slots=True)
class MatchCondition:
    """A condition for a call, in CEL: only the constants ``true`` and ``false`` are judged."""

    name: str
    expression: str

    @property
    def holds(self) -> bool | None:
        """Whether it holds for a pod; None where meshctl cannot tell."""
        return {"true": True, "false": False}.get(self.expression.strip())


@dataclass(frozen=True, slots=True)
class Webhook:
    """One webhook of a configuration; `labels` are the configuration's, `path` the URL path that it calls."""

    name: str
    configuration: str
    labels: Mapping[str, str]
    namespaces: Selector
    objects: Selector
    failure_policy: str
    service: str
    path: str
    on_pod_creation: bool
    timeout_s: int | None = None
    conditions: tuple[MatchCondition, ...] = ()

    @property
    def conditions_hold(self) -> bool | None:
        """Whether the matchConditions let it be called: all must hold; None where that cannot be told."""
        answers = [condition.holds for condition in self.conditions]
        return False if False in answers else None if None in answers else True

    @property
    def injector(self) -> bool:
        """Whether it is Istio's sidecar injector (its names end in ``sidecar-injector.istio.io``)."""
        return self.name.endswith("sidecar-injector.istio.io")

    @property
    def revision(self) -> str:
        """The revision of the control plane that it calls (label ``istio.io/rev``)."""
        return self.labels.get("istio.io/rev", "")

    @property
    def tag(self) -> str:
        """The revision tag (a second name for a revision) that it belongs to; empty for none."""
        return self.labels.get("istio.io/tag", "")


def configuration(raw: Mapping[str, Any]) -> tuple[Webhook, ...]:
    """The webhooks of one MutatingWebhookConfiguration."""
    flaws: list[Flaw] = []
    top = Fields(raw, "", flaws)
    name, labels = top.below("metadata").text("name"), top.below("metadata").strings("labels")
    return tuple(_webhook(entry, name, labels) for entry in top.each("webhooks"))


def _webhook(entry: Fields, configuration_name: str, labels: Mapping[str, str]) -> Webhook:
    client = entry.below("clientConfig")
    service = client.below("service")
    target = f"{service.text('name')}.{service.text('namespace')}" if service.raw else client.text("url")
    return Webhook(
        name=entry.text("name"),
        configuration=configuration_name,
        labels=labels,
        namespaces=selector(entry.below("namespaceSelector")),
        objects=selector(entry.below("objectSelector")),
        failure_policy=entry.text("failurePolicy") or "Fail",
        service=target,
        path=service.text("path"),
        on_pod_creation=_creates_pods(entry),
        timeout_s=entry.number("timeoutSeconds"),
        conditions=tuple(MatchCondition(c.text("name"), c.text("expression")) for c in entry.each("matchConditions")),
    )


def _creates_pods(entry: Fields) -> bool:
    """Whether a rule takes the making of pods: group "" (the core's), version v1, objects of a namespace."""
    return any(
        {"CREATE", "*"}.intersection(rule.texts("operations"))
        and {"pods", "*", "*/*"}.intersection(rule.texts("resources"))
        and {"", "*"}.intersection(rule.texts("apiGroups") or ("",))
        and {"v1", "*"}.intersection(rule.texts("apiVersions") or ("v1",))
        and rule.text("scope") != "Cluster"
        for rule in entry.each("rules")
    )

"""Mutating webhooks that are called when a pod is created (admissionregistration.k8s.io/v1)."""

from collections.abc import Mapping
from typing import Any

from meshctl.frozen import dataclass
from meshctl.kube.fields import Fields, Flaw
from meshctl.kube.selectors import Selector, selector


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
    )


def _creates_pods(entry: Fields) -> bool:
    return any(
        {"CREATE", "*"}.intersection(rule.texts("operations"))
        and {"pods", "*", "*/*"}.intersection(rule.texts("resources"))
        for rule in entry.each("rules")
    )

"""Descriptions of more than one pod: a service by all of its pods, a namespace with all of its pods."""

from collections.abc import Sequence
from typing import TypeAlias

from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.frozen import dataclass
from meshctl.injection.decision import Decision
from meshctl.kube.namespaces import Namespace
from meshctl.kube.services import Endpoint, Service
from meshctl.kube.webhooks import Webhook

Judged: TypeAlias = tuple[Evidence, tuple[Finding, ...]]


@dataclass(frozen=True, slots=True)
class ServiceStory:
    """A service, every pod that it selects with its findings, and its endpoints."""

    service: Service
    pods: Sequence[Judged]
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class NamespaceStory:
    """A namespace, the decision for a pod without labels of its own, and the pods that are there."""

    namespace: Namespace
    decision: Decision
    pods: Sequence[Judged]
    webhooks: tuple[Webhook, ...] | None

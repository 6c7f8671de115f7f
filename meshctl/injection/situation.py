"""What the decision to inject is made from, and what comes out of it: the situation, the rules tried, the outcome."""

from collections.abc import Mapping
from dataclasses import field
from typing import Literal, TypeAlias

from meshctl.frozen import dataclass
from meshctl.injection.settings import NO_SETTINGS, MeshSettings
from meshctl.kube.fields import Flaw
from meshctl.kube.webhooks import Webhook

Outcome: TypeAlias = Literal["injected", "not injected", "rejected", "undecided"]
INJECT = "sidecar.istio.io/inject"
REVISION = "istio.io/rev"
INJECTION = "istio-injection"


@dataclass(frozen=True, slots=True)
class Try:
    """One rule that was tried: `answer` yes/no/unknown to its question, `decides` where it ended the search."""

    rule: str
    question: str
    answer: str
    text: str
    source: str
    decides: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome, the rule that decided it, the revision that would inject, all rules tried, and remarks."""

    outcome: Outcome
    text: str
    tries: tuple[Try, ...]
    revision: str = ""
    remarks: tuple[str, ...] = ()
    webhooks: tuple[str, ...] = ()

    @property
    def deciding(self) -> Try | None:
        """The rule that decided."""
        return next((t for t in self.tries if t.decides), None)

    @property
    def asked(self) -> bool:
        """Whether a webhook takes the pod, so that istiod is asked: labels of namespace or pod see to it."""
        return any(t.rule in ("webhook", "selectors") and t.answer == "yes" for t in self.tries)


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What the decision is made from; `webhooks` None where they could not be looked at.

    `unreadable` says why the pod's own proxy settings (``proxy.istio.io/config``) cannot be read, empty where they can.
    `template` names the workload whose template the labels and annotations are of (``Deployment/web``), empty where
    they are the pod's own. `releases` are those of the control planes, one of which injects; empty where not known.
    `malformed` are the fields of a manifest that have the wrong type: the API server decodes before it asks anyone.
    """

    labels: Mapping[str, str]
    annotations: Mapping[str, str] = field(default_factory=dict)
    host_network: bool = False
    namespace: str = "default"
    namespace_labels: Mapping[str, str] | None = None
    webhooks: tuple[Webhook, ...] | None = None
    settings: MeshSettings = NO_SETTINGS
    unreadable: str = ""
    template: str = ""
    releases: tuple[str, ...] = ()
    malformed: tuple[Flaw, ...] = ()

    def place(self, what: str) -> str:
        """Where something of the pod stands: ``pod label x``, or ``label x of the template of Deployment web``."""
        return f"{what} in the template of {self.template.replace('/', ' ')}" if self.template else f"pod {what}"


class Trail:
    """The rules tried so far."""

    def __init__(self) -> None:
        self.tries: list[Try] = []
        self.remarks: list[str] = []

    def branch(self) -> "Trail":
        """A trail that goes on from here, without changing this one."""
        other = Trail()
        other.tries, other.remarks = [*self.tries], [*self.remarks]
        return other

    def tried(self, rule: str, question: str, answer: str, text: str, source: str) -> None:
        """A rule that did not decide."""
        self.tries.append(Try(rule, question, answer, text, source))

    def decided(self, outcome: Outcome, rule: str, question: str, answer: str, text: str, source: str) -> Decision:
        """The rule that decides."""
        self.tries.append(Try(rule, question, answer, text, source, decides=True))
        return Decision(outcome, text, tuple(self.tries), remarks=tuple(self.remarks))

"""Would a pod be injected, and why: every rule in the order in which the API server and istiod try them.

Steps before istiod: ``templates/{mutatingwebhook,revision-tags-mwc}.yaml``. Steps inside: ``injectRequired`` in
``pkg/kube/inject/inject.go``, the same order in 1.12 and 1.30.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Literal, TypeAlias

from meshctl.frozen import dataclass
from meshctl.injection.settings import NO_SETTINGS, MeshSettings, look
from meshctl.kube.fields import Fields, Flaw
from meshctl.kube.namespaces import Namespace
from meshctl.kube.pods import Pod
from meshctl.kube.selectors import Selector, selector
from meshctl.kube.webhooks import Webhook

Outcome: TypeAlias = Literal["injected", "not injected", "rejected", "undecided"]
INJECT = "sidecar.istio.io/inject"
REVISION = "istio.io/rev"
INJECTION = "istio-injection"
IGNORED = ("kube-system", "kube-public", "kube-node-lease", "local-path-storage")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What the decision is made from; `webhooks` None where they could not be looked at."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str] = field(default_factory=dict)
    host_network: bool = False
    namespace: str = "default"
    namespace_labels: Mapping[str, str] | None = None
    webhooks: tuple[Webhook, ...] | None = None
    settings: MeshSettings = NO_SETTINGS


def situation(
    pod: Pod, namespace: Namespace | None, webhooks: tuple[Webhook, ...] | None, settings: MeshSettings
) -> Situation:
    """The situation of a pod, or of the pod of a template."""
    return Situation(
        labels=pod.labels,
        annotations=pod.annotations,
        host_network=pod.host_network,
        namespace=pod.namespace or "default",
        namespace_labels=namespace.labels if namespace else None,
        webhooks=webhooks,
        settings=settings,
    )


class _Trail:
    """The rules tried so far."""

    def __init__(self) -> None:
        self.tries: list[Try] = []
        self.remarks: list[str] = []

    def tried(self, rule: str, question: str, answer: str, text: str, source: str) -> None:
        """A rule that did not decide."""
        self.tries.append(Try(rule, question, answer, text, source))

    def decided(self, outcome: Outcome, rule: str, question: str, answer: str, text: str, source: str) -> Decision:
        """The rule that decides."""
        self.tries.append(Try(rule, question, answer, text, source, decides=True))
        return Decision(outcome, text, tuple(self.tries), remarks=tuple(self.remarks))


def decide(situation: Situation) -> Decision:
    """Try all rules in order; what could not be looked at ends undecided where it matters."""
    trail = _Trail()
    early = _opt_out(situation, trail)
    if early is not None:
        return early
    matched = _called(situation, trail)
    if isinstance(matched, Decision):
        return matched
    decision = _inside(situation, trail)
    revision = matched[0].revision if matched else ""
    names = tuple(f"{w.configuration}/{w.name}" for w in matched)
    if decision.outcome == "injected" and len({w.configuration for w in matched}) > 1 and not _same_target(matched):
        trail.remarks.append(
            "several configurations match, so the pod is sent to an injector more than once; one of them should go"
        )
    return Decision(decision.outcome, decision.text, decision.tries, revision, tuple(trail.remarks), names)


def _same_target(matched: Sequence[Webhook]) -> bool:
    return len({w.configuration for w in matched}) <= 1


def _opt_out(s: Situation, trail: _Trail) -> Decision | None:
    """The two labels that keep every webhook from being called."""
    value = s.labels.get(INJECT)
    question = "Does the pod say no (label sidecar.istio.io/inject: false)?"
    if value == "false":
        text = "the pod's label sidecar.istio.io/inject: false keeps the injector from being called"
        return trail.decided("not injected", "pod-label-false", question, "yes", text, f"pod label {INJECT}")
    trail.tried("pod-label-false", question, "no", f"the label is {value or 'not set'}", f"pod label {INJECT}")
    labels, where = s.namespace_labels, f"label of namespace {s.namespace}"
    question = "Does the namespace say no (label istio-injection with anything but enabled)?"
    if labels is None:
        trail.tried("namespace-label", question, "unknown", "the namespace could not be looked at", where)
        return None
    value = labels.get(INJECTION)
    if value is not None and value != "enabled":
        text = (
            f"the namespace's label istio-injection: {value} keeps the injector away; a pod's label cannot change that"
        )
        return trail.decided("not injected", "namespace-label", question, "yes", text, where)
    said = f"istio-injection is {value or 'not set'}, istio.io/rev is {labels.get(REVISION, 'not set')}"
    trail.tried("namespace-label", question, "no", said, where)
    if value == "enabled" and (REVISION in labels or REVISION in s.labels):
        other = labels.get(REVISION) or s.labels.get(REVISION)
        trail.remarks.append(
            f"istio-injection: enabled asks for the default revision; istio.io/rev: {other} is ignored"
        )
    return None


def _called(s: Situation, trail: _Trail) -> tuple[Webhook, ...] | Decision:
    """Which injector's webhook the API server calls for this pod."""
    question = "Is there an injector (a webhook that the API server calls when a pod is made)?"
    source = "MutatingWebhookConfigurations"
    if s.webhooks is None:
        trail.tried("injector", question, "unknown", "the webhooks could not be looked at", source)
        return _by_convention(s, trail)
    injectors = [w for w in s.webhooks if w.injector and w.on_pod_creation]
    if not injectors:
        text = "no Istio injector is installed: no webhook of this cluster is one"
        return trail.decided("not injected", "injector", question, "no", text, source)
    names = sorted({w.configuration for w in injectors})
    trail.tried("injector", question, "yes", f"{len(names)}: {', '.join(names)}", source)
    if s.namespace_labels is None:
        question = "Do the selectors of a webhook fit?"
        text = "without the namespace's labels it cannot be told whether a webhook is called"
        return trail.decided("undecided", "selectors", question, "unknown", text, source)
    return _selected(s, injectors, trail)


def _selected(s: Situation, injectors: Sequence[Webhook], trail: _Trail) -> tuple[Webhook, ...] | Decision:
    namespace_labels = {"kubernetes.io/metadata.name": s.namespace, **(s.namespace_labels or {})}
    matched: list[Webhook] = []
    unknown = False
    asleep = [hook for hook in injectors if _deactivated(hook)]
    for name in sorted({hook.configuration for hook in asleep}):
        text = "deactivated: its selectors ask for a label that nothing has (istio.io/deactivated: never-match)"
        trail.tried("selectors", f"Does a webhook of {name} take this pod?", "no", text, name)
    for hook in (hook for hook in injectors if hook not in asleep):
        source = f"{hook.configuration}, webhook {hook.name.partition('.sidecar-injector')[0]}"
        misses = [f"namespace: {r}" for r in hook.namespaces.against(namespace_labels)]
        misses += [f"pod: {r}" for r in hook.objects.against(s.labels)]
        fits = (hook.namespaces.holds(namespace_labels), hook.objects.holds(s.labels))
        question = f"Does it take this pod ({hook.namespaces}; {hook.objects})?"
        if fits == (True, True):
            matched.append(hook)
            trail.tried("selectors", question, "yes", "namespace and pod fit", source)
        elif False in fits:
            trail.tried("selectors", question, "no", "not fulfilled: " + "; ".join(misses), source)
        else:
            unknown = True
            trail.tried("selectors", question, "unknown", "a condition that meshctl cannot judge", source)
    question = "Does any webhook take this pod?"
    if not matched:
        outcome: Outcome = "undecided" if unknown else "not injected"
        return trail.decided(
            outcome, "selectors", question, "no", _why_none(s, injectors), "MutatingWebhookConfigurations"
        )
    hook = matched[0]
    text = f"the API server asks {hook.service or 'the injector'} (revision {hook.revision or 'unknown'})"
    if hook.failure_policy == "Fail":
        text += "; if it does not answer, the pod is rejected (failurePolicy Fail)"
    else:
        text += f"; if it does not answer, the pod is made without a proxy (failurePolicy {hook.failure_policy})"
    trail.tried("webhook", question, "yes", text, hook.configuration)
    return tuple(matched)


def _deactivated(hook: Webhook) -> bool:
    """Whether Istio put the webhook to sleep, since another configuration (the default tag's) took over."""
    return any(r.key == "istio.io/deactivated" for r in hook.namespaces.requirements)


def _why_none(s: Situation, injectors: Sequence[Webhook]) -> str:
    labels = s.namespace_labels or {}
    asked = labels.get(REVISION) or s.labels.get(REVISION)
    known = sorted({w.revision for w in injectors if w.revision} | {w.tag for w in injectors if w.tag})
    if asked and asked not in known:
        return (
            f"istio.io/rev asks for revision {asked}, and no injector has it (there are: {', '.join(known) or 'none'})"
        )
    if s.annotations.get(INJECT) == "true" and INJECT not in s.labels:
        return "the annotation sidecar.istio.io/inject: true does not count here: only the label calls the injector"
    if INJECTION not in labels and REVISION not in labels:
        return "neither the namespace (istio-injection, istio.io/rev) nor the pod (label sidecar.istio.io/inject) asks"
    return "no webhook's selectors fit the labels of the namespace and the pod"


def _by_convention(s: Situation, trail: _Trail) -> tuple[Webhook, ...] | Decision:
    """Without the webhooks: what Istio's own webhooks would do, where that depends on no revision's existence."""
    question = "Would Istio's usual webhooks take this pod?"
    source = "Istio's usual webhooks (not looked at)"
    labels = s.namespace_labels
    if labels is None:
        text = "neither the namespace's labels nor the webhooks are known"
        return trail.decided("undecided", "selectors", question, "unknown", text, source)
    if labels.get(INJECTION) == "enabled":
        trail.tried("selectors", question, "yes", "the namespace has istio-injection: enabled", source)
        return ()
    if REVISION in labels or REVISION in s.labels:
        text = "it depends on whether an injector of that revision is installed, which could not be looked at"
        return trail.decided("undecided", "selectors", question, "unknown", text, source)
    if s.labels.get(INJECT) == "true":
        trail.tried("selectors", question, "yes", "the pod has the label sidecar.istio.io/inject: true", source)
        return ()
    text = "neither the namespace nor the pod asks for it"
    return trail.decided("not injected", "selectors", question, "no", text, source)


def _inside(s: Situation, trail: _Trail) -> Decision:
    """istiod's own rules, once it is asked."""
    question = "Does the pod use the node's network (hostNetwork)?"
    if s.host_network:
        text = "with hostNetwork: true the rules would redirect the whole node's traffic, so istiod refuses"
        return trail.decided("not injected", "host-network", question, "yes", text, "pod spec.hostNetwork")
    trail.tried("host-network", question, "no", "the pod has a network of its own", "pod spec.hostNetwork")
    question = "Is the namespace one that istiod always leaves alone?"
    if s.namespace in IGNORED:
        text = f"istiod never injects into {s.namespace}"
        return trail.decided("not injected", "ignored-namespace", question, "yes", text, "istiod")
    trail.tried("ignored-namespace", question, "no", f"{s.namespace} is not one of {', '.join(IGNORED)}", "istiod")
    said = _said(s, trail)
    if said is not None:
        return said
    return _by_selectors(s, trail)


def _said(s: Situation, trail: _Trail) -> Decision | None:
    question = "Does the pod say yes or no itself?"
    for where, values in (("label", s.labels), ("annotation", s.annotations)):
        value = values.get(INJECT)
        if value is None:
            continue
        source = f"pod {where} {INJECT}"
        match value.lower():
            case "y" | "yes" | "true" | "on":
                return trail.decided(
                    "injected", "pod-choice", question, "yes", f"the pod's {where} says {value}", source
                )
            case "n" | "no" | "false" | "off":
                text = f"the pod's {where} sidecar.istio.io/inject says {value}"
                return trail.decided("not injected", "pod-choice", question, "no", text, source)
            case _:
                trail.remarks.append(f"the {where} {INJECT}: {value!r} is neither true nor false and is ignored")
        break
    trail.tried("pod-choice", question, "neither", "it has no label or annotation that says so", f"pod label {INJECT}")
    return None


def _by_selectors(s: Situation, trail: _Trail) -> Decision:
    for rule, key, outcome in (
        ("never-inject", "neverInjectSelector", "not injected"),
        ("always-inject", "alwaysInjectSelector", "injected"),
    ):
        question = f"Does the installation's {key} take it?"
        source = f"helm value sidecarInjectorWebhook.{key}"
        selectors = _selectors(s.settings, key)
        if selectors is None:
            trail.tried(
                rule, question, "unknown", "the injector's settings could not be looked at; usually empty", source
            )
            continue
        fitting = next((x for x in selectors if x.holds(s.labels)), None)
        if fitting is not None:
            verdict: Outcome = "injected" if outcome == "injected" else "not injected"
            return trail.decided(verdict, rule, question, "yes", f"{key}: {fitting}", source)
        trail.tried(rule, question, "no", "there are none" if not selectors else "none fits", source)
    question = "What does the installation do with everything else (policy)?"
    source = "helm value global.proxy.autoInject"
    policy = look(s.settings.injector, "policy") or s.settings.value("global.proxy.autoInject")
    match policy:
        case "enabled":
            return trail.decided(
                "injected", "policy", question, "inject", "the installation's policy is enabled", source
            )
        case "disabled":
            text = "the installation's policy is disabled: only pods that say yes themselves are injected"
            return trail.decided("not injected", "policy", question, "leave alone", text, source)
        case None:
            text = "the webhook takes the pod and nothing known speaks against it (the default policy is assumed)"
            return trail.decided("injected", "policy", question, "assumed: inject", text, source)
        case _:
            text = f"the installation's policy {policy!r} is neither enabled nor disabled: istiod does not inject"
            return trail.decided("not injected", "policy", question, "leave alone", text, source)


def _selectors(settings: MeshSettings, key: str) -> tuple[Selector, ...] | None:
    raw: Any = look(settings.injector, key)
    if raw is None:
        raw = settings.value(f"sidecarInjectorWebhook.{key}")
    if raw is None:
        return () if settings.injector is not None else None
    if not isinstance(raw, list):
        return None
    flaws: list[Flaw] = []
    # An empty selector matches nothing here (`selector.Empty()` in injectRequired).
    return tuple(x for x in (selector(Fields(item, key, flaws)) for item in raw) if x.requirements)

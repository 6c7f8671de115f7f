"""Would a pod be injected, and why: every rule in the order in which the API server and istiod try them.

The API server's part: ``templates/{mutatingwebhook,revision-tags-mwc}.yaml``, 1.12 to 1.30, and what Kubernetes makes
of selectors, rules and matchConditions. istiod's part is in ``inside``.
"""

from collections.abc import Sequence

from meshctl.frozen import dataclass
from meshctl.injection import inside
from meshctl.injection.settings import MeshSettings, overlay
from meshctl.injection.situation import INJECT, INJECTION, REVISION, Decision, Outcome, Situation, Trail, Try
from meshctl.kube.namespaces import Namespace
from meshctl.kube.pods import Pod
from meshctl.kube.selectors import Selector
from meshctl.kube.webhooks import Webhook

__all__ = ["Decision", "Outcome", "Situation", "Try", "decide", "situation"]
_HOOKS = "MutatingWebhookConfigurations"


def situation(
    pod: Pod,
    namespace: Namespace | None,
    webhooks: tuple[Webhook, ...] | None,
    settings: MeshSettings,
    *,
    template: str = "",
    releases: tuple[str, ...] = (),
) -> Situation:
    """The situation of a pod, or of the pod of a template (`template` then names its workload)."""
    return Situation(
        labels=pod.labels,
        annotations=pod.annotations,
        host_network=pod.host_network,
        namespace=pod.namespace or "default",
        namespace_labels=namespace.labels if namespace else None,
        webhooks=webhooks,
        settings=settings,
        unreadable=overlay(pod).problem,
        template=template,
        releases=releases,
        malformed=() if pod.has_status else pod.flaws,
    )


def decide(situation: Situation) -> Decision:
    """Try all rules in order; what could not be looked at ends undecided where it matters."""
    trail = Trail()
    early = _undecodable(situation, trail) or _opt_out(situation, trail)
    if early is not None:
        return early
    matched = _called(situation, trail)
    if isinstance(matched, Decision):
        return _not_anyway(situation, trail, matched)
    decision = inside.decide(situation, trail)
    if decision.outcome == "injected":
        decision = _or_refused(situation, decision)
    revision = matched[0].revision if matched else ""
    names = tuple(f"{w.configuration}/{w.name}" for w in matched)
    remarks = list(decision.remarks)
    if decision.outcome == "injected" and len({w.configuration for w in matched}) > 1:
        remarks.append(
            "several configurations match, so the pod is sent to an injector more than once; one of them should go"
        )
    return Decision(decision.outcome, decision.text, decision.tries, revision, tuple(remarks), names)


def _not_anyway(s: Situation, trail: Trail, undecided: Decision) -> Decision:
    """A certain no of istiod where it cannot be told whether it is asked: the pod is not injected in either case."""
    if undecided.outcome != "undecided":
        return undecided
    branch = trail.branch()
    branch.tries = [_passed(t) for t in branch.tries]
    found = inside.decide(s, branch)
    if found.outcome != "not injected":
        return undecided
    text = f"{found.text}; that holds whether or not a webhook takes the pod"
    return Decision("not injected", text, found.tries, remarks=found.remarks)


def _passed(t: Try) -> Try:
    return Try(t.rule, t.question, t.answer, t.text, t.source)


def _or_refused(s: Situation, decision: Decision) -> Decision:
    """The decision, or that istiod answers with an error: it does not make a pod whose settings it cannot read."""
    refusal = inside.refusal(s)
    if refusal is None:
        return decision
    outcome: Outcome = "rejected" if refusal.certain else "undecided"
    text = f"istiod would refuse to inject it, so the API server rejects the pod ({refusal.text})"
    if not refusal.certain:
        text = f"the pod is injected, or rejected where istiod cannot do that: {refusal.text}"
    answer = "no" if refusal.certain else "unknown"
    last = Try("refused", "Can istiod do what the pod's settings ask?", answer, refusal.text, refusal.source, True)
    return Decision(outcome, text, (*map(_passed, decision.tries), last), remarks=decision.remarks)


def _undecodable(s: Situation, trail: Trail) -> Decision | None:
    """A manifest with a field of the wrong type is refused when it is decoded, before any webhook is called."""
    if not s.malformed:
        return None
    first, more = s.malformed[0], len(s.malformed) - 1
    said = f"{first.path} {first.problem}" + (f"; {more} more like it" if more else "")
    text = f"the API server refuses the manifest before it asks any webhook ({said})"
    return trail.decided("rejected", "decoding", "Can the API server read the manifest?", "no", text, first.path)


def _opt_out(s: Situation, trail: Trail) -> Decision | None:
    """The two labels that keep every webhook from being called."""
    value = s.labels.get(INJECT)
    question = "Does the pod say no (label sidecar.istio.io/inject: false)?"
    where = s.place(f"label {INJECT}")
    if value == "false":
        text = "the pod's label sidecar.istio.io/inject: false keeps the injector from being called"
        return trail.decided("not injected", "pod-label-false", question, "yes", text, where)
    trail.tried("pod-label-false", question, "no", f"the label is {value or 'not set'}", where)
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


def _called(s: Situation, trail: Trail) -> tuple[Webhook, ...] | Decision:
    """Which injector's webhook the API server calls for this pod."""
    question = "Is there an injector (a webhook that the API server calls when a pod is made)?"
    if s.webhooks is None:
        trail.tried("injector", question, "unknown", "the webhooks could not be looked at", _HOOKS)
        return _by_convention(s, trail)
    injectors = [w for w in s.webhooks if w.injector and w.on_pod_creation]
    if not injectors:
        text = "no Istio injector is installed: no webhook of this cluster is one"
        return trail.decided("not injected", "injector", question, "no", text, _HOOKS)
    names = sorted({w.configuration for w in injectors})
    trail.tried("injector", question, "yes", f"{len(names)}: {', '.join(names)}", _HOOKS)
    return _selected(s, injectors, trail)


@dataclass(frozen=True, slots=True)
class _Fit:
    """How a webhook's selectors and conditions suit a pod: `holds` None where that cannot be told, `misses` why not."""

    hook: Webhook
    holds: bool | None
    misses: tuple[str, ...]

    @property
    def source(self) -> str:
        """The webhook as it is shown."""
        return f"{self.hook.configuration}, webhook {self.hook.name.partition('.sidecar-injector')[0]}"


def _fit(s: Situation, hook: Webhook) -> _Fit:
    at_hand = None if s.namespace_labels is None else {"kubernetes.io/metadata.name": s.namespace, **s.namespace_labels}
    in_namespace = _holds(hook.namespaces, at_hand)
    on_pod, called = hook.objects.holds(s.labels), hook.conditions_hold
    misses = ["namespace: its labels are not known"] if in_namespace is None and at_hand is None else []
    if at_hand is not None:
        misses += [f"namespace: {_miss(str(r), at_hand.get(r.key))}" for r in hook.namespaces.against(at_hand)]
    misses += [f"pod: {_miss(str(r), s.labels.get(r.key))}" for r in hook.objects.against(s.labels)]
    misses += [f"its matchCondition {c.name or '(unnamed)'}: `{c.expression}`" for c in hook.conditions if not c.holds]
    answers = (in_namespace, on_pod, called)
    return _Fit(hook, False if False in answers else None if None in answers else True, tuple(misses))


def _holds(wanted: Selector, labels: dict[str, str] | None) -> bool | None:
    """Whether a namespace fits; one whose labels are not known fits for certain only a selector of everything."""
    if labels is not None:
        return wanted.holds(labels)
    return None if wanted.requirements else True


def _miss(wanted: str, there: str | None) -> str:
    return f"{wanted} ({'not set' if there is None else there or 'empty'})"


def _selected(s: Situation, injectors: Sequence[Webhook], trail: Trail) -> tuple[Webhook, ...] | Decision:
    asleep = [hook for hook in injectors if _deactivated(hook)]
    for name in sorted({hook.configuration for hook in asleep}):
        text = "deactivated: its selectors ask for a label that nothing has (istio.io/deactivated: never-match)"
        trail.tried("selectors", f"Does a webhook of {name} take this pod?", "no", text, name)
    fits = [_fit(s, hook) for hook in injectors if hook not in asleep]
    for fit in fits:
        wanted = f"{fit.hook.namespaces}; {fit.hook.objects}"
        question = f"Does it take this pod ({wanted}{'; its matchConditions' if fit.hook.conditions else ''})?"
        match fit.holds:
            case True:
                trail.tried("selectors", question, "yes", "namespace and pod fit", fit.source)
            case False:
                trail.tried("selectors", question, "no", "not fulfilled: " + "; ".join(fit.misses), fit.source)
            case None:
                text = "cannot be told: " + "; ".join(fit.misses)
                trail.tried("selectors", question, "unknown", text, fit.source)
    question = "Does any webhook take this pod?"
    matched = tuple(fit.hook for fit in fits if fit.holds)
    if matched:
        trail.tried("webhook", question, "yes", _asks(matched[0]), matched[0].configuration)
        return matched
    open_ones = [fit for fit in fits if fit.holds is None]
    if open_ones:
        if s.namespace_labels is None:
            text = "without the namespace's labels it cannot be told whether a webhook is called"
        else:
            text = f"it depends on what meshctl cannot judge ({open_ones[0].source}: {'; '.join(open_ones[0].misses)})"
        return trail.decided("undecided", "selectors", question, "unknown", text, _HOOKS)
    return trail.decided("not injected", "selectors", question, "no", _why_none(s, injectors, asleep, fits), _HOOKS)


def _asks(hook: Webhook) -> str:
    text = f"the API server asks {hook.service or 'the injector'} (revision {hook.revision or 'unknown'})"
    if hook.failure_policy == "Fail":
        return f"{text}; if it does not answer, the pod is rejected (failurePolicy Fail)"
    return f"{text}; if it does not answer, the pod is made without a proxy (failurePolicy {hook.failure_policy})"


def _deactivated(hook: Webhook) -> bool:
    """Whether Istio put the webhook to sleep, since another configuration (the default tag's) took over."""
    return any(r.key == "istio.io/deactivated" and r.operator in ("In", "Exists") for r in hook.namespaces.requirements)


def _why_none(s: Situation, injectors: Sequence[Webhook], asleep: Sequence[Webhook], fits: Sequence[_Fit]) -> str:
    labels = s.namespace_labels or {}
    if not fits:
        names = ", ".join(sorted({hook.configuration for hook in asleep}))
        return (
            f"every injector is deactivated ({names}): its selectors ask for the label istio.io/deactivated: "
            "never-match, which nothing has"
        )
    asked = (labels.get(REVISION) or s.labels.get(REVISION)) if INJECTION not in labels else None
    known = sorted({w.revision for w in injectors if w.revision} | {w.tag for w in injectors if w.tag})
    if asked and asked not in known:
        return (
            f"istio.io/rev asks for revision {asked}, and no injector has it (there are: {', '.join(known) or 'none'})"
        )
    opted_in = s.labels.get(INJECT) == "true" or REVISION in s.labels
    if s.namespace_labels is not None and not (INJECTION in labels or REVISION in labels or opted_in):
        if s.annotations.get(INJECT) == "true" and INJECT not in s.labels:
            return "the annotation sidecar.istio.io/inject: true does not count here: only the label calls the injector"
        return "neither the namespace (istio-injection, istio.io/rev) nor the pod (label sidecar.istio.io/inject) asks"
    nearest = min(fits, key=lambda fit: len(fit.misses))
    text = f"no webhook takes it; the nearest ({nearest.source}) does not, for this is not fulfilled: "
    text += "; ".join(nearest.misses)
    if asleep:
        text += f". Deactivated: {', '.join(sorted({hook.configuration for hook in asleep}))}"
    return text


def _by_convention(s: Situation, trail: Trail) -> tuple[Webhook, ...] | Decision:
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

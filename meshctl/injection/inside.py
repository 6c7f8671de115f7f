"""istiod's own rules, once a webhook asks it, and what it refuses: ``injectRequired`` in ``pkg/kube/inject/inject.go``.

The order is the same from 1.12 to 1.30. What counts as the pod's own yes or no is not: 1.27 and later take ``true`` and
``false`` only and go on with everything else (istio#56737); before, ``y``, ``yes`` and ``on`` were a yes in any case of
letters, and every other word but the empty one a no.
"""

from typing import Any, Literal, TypeAlias

from meshctl.frozen import dataclass
from meshctl.injection import annotations, proxy_config
from meshctl.injection.catalog import minor
from meshctl.injection.settings import OVERLAY_KEY, look
from meshctl.injection.situation import INJECT, Decision, Outcome, Situation, Trail
from meshctl.kube.fields import Fields, Flaw
from meshctl.kube.selectors import Selector, selector

IGNORED = ("kube-system", "kube-public", "kube-node-lease", "local-path-storage")
TEMPLATES = "inject.istio.io/templates"
_STRICT_SINCE = (1, 27)
_Choice: TypeAlias = Literal["yes", "no", "neither"]


def decide(s: Situation, trail: Trail) -> Decision:
    """What istiod answers for a pod that a webhook sends to it."""
    question = "Does the pod use the node's network (hostNetwork)?"
    where = s.place("spec.hostNetwork")
    if s.host_network:
        text = "with hostNetwork: true the rules would redirect the whole node's traffic, so istiod refuses"
        return trail.decided("not injected", "host-network", question, "yes", text, where)
    trail.tried("host-network", question, "no", "the pod has a network of its own", where)
    question = "Is the namespace one that istiod always leaves alone?"
    if s.namespace in IGNORED:
        text = f"istiod never injects into {s.namespace}"
        return trail.decided("not injected", "ignored-namespace", question, "yes", text, "istiod")
    trail.tried("ignored-namespace", question, "no", f"{s.namespace} is not one of {', '.join(IGNORED)}", "istiod")
    return _by_choice(s, trail)


def _by_choice(s: Situation, trail: Trail) -> Decision:
    """By what the pod says itself; where releases take its word differently, by each of them."""
    readings = _readings(s)
    if len(readings) == 1:
        return _chosen(s, trail, readings[0])
    found = [_chosen(s, trail.branch(), reading) for reading in readings]
    if len({d.outcome for d in found}) == 1:
        return found[0]
    where, value = _choice_of(s)
    text = (
        f"the pod's {where} says {value!r}: Istio before 1.27 takes that for a {readings[0]}, later releases take true "
        "and false only, and which release injects here is not known"
    )
    question = "Does the pod say yes or no itself?"
    return trail.decided("undecided", "pod-choice", question, "unknown", text, s.place(f"{where} {INJECT}"))


def _choice_of(s: Situation) -> tuple[str, str]:
    """Where the pod says something itself, and what; the label counts before the annotation, even an empty one."""
    if INJECT in s.labels:
        return "label", s.labels[INJECT]
    return "annotation", s.annotations.get(INJECT, "")


def _readings(s: Situation) -> tuple[_Choice, ...]:
    """What the pod's own word means to the releases that may be asked: before 1.27, since then, or both."""
    value = _choice_of(s)[1]
    before: _Choice = "yes" if value.lower() in ("y", "yes", "true", "on") else "no" if value else "neither"
    since: _Choice = "yes" if value == "true" else "no" if value == "false" else "neither"
    numbers = [minor(release) for release in s.releases]
    strict = {number >= _STRICT_SINCE for number in numbers if number}
    if before == since or strict == {False}:
        return (before,)
    return (since,) if strict == {True} and None not in numbers else (before, since)


def _chosen(s: Situation, trail: Trail, reading: _Choice) -> Decision:
    question = "Does the pod say yes or no itself?"
    where, value = _choice_of(s)
    source = s.place(f"{where} {INJECT}")
    policy = _policy(s)
    if policy not in ("enabled", "disabled", None):
        text = f"the installation's policy {policy!r} is neither enabled nor disabled: istiod injects nothing at all"
        ask = "Is the installation's policy one that istiod knows?"
        return trail.decided("not injected", "policy", ask, "no", text, "helm value global.proxy.autoInject")
    taken = "" if value in ("true", "false") else f", which Istio before 1.27 takes for a {reading}"
    match reading:
        case "yes":
            text = f"the pod's {where} says {value}{taken}"
            return trail.decided("injected", "pod-choice", question, "yes", text, source)
        case "no":
            text = f"the pod's {where} sidecar.istio.io/inject says {value}{taken}"
            return trail.decided("not injected", "pod-choice", question, "no", text, source)
        case "neither":
            said = "it has no label or annotation that says so"
            if value:
                said = f"{value!r} is neither true nor false"
                trail.remarks.append(f"the {where} {INJECT}: {value!r} is neither true nor false and is ignored")
            source = source if value else s.place(f"label {INJECT}")
            trail.tried("pod-choice", question, "neither", said, source)
            return _by_selectors(s, trail)


def _policy(s: Situation) -> Any:
    return look(s.settings.injector, "policy") or s.settings.value("global.proxy.autoInject")


def _by_selectors(s: Situation, trail: Trail) -> Decision:
    rules: tuple[tuple[str, str, Outcome], ...] = (
        ("never-inject", "neverInjectSelector", "not injected"),
        ("always-inject", "alwaysInjectSelector", "injected"),
    )
    for rule, key, outcome in rules:
        question = f"Does the installation's {key} take it?"
        source = f"helm value sidecarInjectorWebhook.{key}"
        selectors = _selectors(s, key)
        if selectors is None:
            said = "the injector's settings could not be looked at; usually empty"
            trail.tried(rule, question, "unknown", said, source)
            continue
        fitting = next((x for x in selectors if x.holds(s.labels)), None)
        if fitting is not None:
            return trail.decided(outcome, rule, question, "yes", f"{key}: {fitting}", source)
        trail.tried(rule, question, "no", "there are none" if not selectors else "none fits", source)
    return _by_policy(s, trail)


def _by_policy(s: Situation, trail: Trail) -> Decision:
    question = "What does the installation do with everything else (policy)?"
    source = "helm value global.proxy.autoInject"
    match _policy(s):
        case "enabled":
            text = "the installation's policy is enabled"
            return trail.decided("injected", "policy", question, "inject", text, source)
        case "disabled":
            text = "the installation's policy is disabled: only pods that say yes themselves are injected"
            return trail.decided("not injected", "policy", question, "leave alone", text, source)
        case _:
            text = "the webhook takes the pod and nothing known speaks against it (the default policy is assumed)"
            return trail.decided("injected", "policy", question, "assumed: inject", text, source)


def _selectors(s: Situation, key: str) -> tuple[Selector, ...] | None:
    raw: Any = look(s.settings.injector, key)
    if raw is None:
        raw = s.settings.value(f"sidecarInjectorWebhook.{key}")
    if raw is None:
        return () if s.settings.injector is not None else None
    if not isinstance(raw, list):
        return None
    flaws: list[Flaw] = []
    # An empty selector matches nothing here (`selector.Empty()` in injectRequired).
    return tuple(x for x in (selector(Fields(item, key, flaws)) for item in raw) if x.requirements)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why istiod refuses a pod that it is to inject; `certain` False where that depends on what is not known."""

    text: str
    source: str
    certain: bool = True


def refusal(s: Situation) -> Refusal | None:
    """What keeps istiod from injecting a pod that it is to inject; None where nothing known does.

    The webhook then answers with an error, and the API server rejects the pod whatever the failurePolicy is
    (``toAdmissionResponse`` in ``pkg/kube/inject/webhook.go``).
    """
    where = s.place(f"annotation {OVERLAY_KEY}")
    settings = tuple(proxy_config.slips(s.annotations))
    for slip in (*annotations.values(s.annotations), *annotations.ranges(s.annotations), *settings):
        if slip.rejects and slip.key != INJECT:
            return Refusal(slip.text, s.place(f"annotation {slip.key}"))
    if s.unreadable:
        return Refusal(s.unreadable, where)
    if TEMPLATES in s.annotations and (lacking := _lacking_template(s)):
        return lacking
    return Refusal(f"{settings[0].text}, which not all releases take", where, certain=False) if settings else None


_ISTIOS_TEMPLATES = ("sidecar", "gateway", "grpc-simple", "grpc-agent")


def _lacking_template(s: Situation) -> Refusal | None:
    known, aliases = look(s.settings.injector, "templates"), look(s.settings.injector, "aliases")
    there = {*known, *(aliases if type(aliases) is dict else ())} if type(known) is dict and known else None
    where = s.place(f"annotation {TEMPLATES}")
    for name in map(str.strip, s.annotations[TEMPLATES].split(",")):
        if there is not None and name not in there:
            text = f"{TEMPLATES}: the injector has no template {name!r} (there are: {', '.join(sorted(there))})"
            return Refusal(text, where)
        if there is None and name not in _ISTIOS_TEMPLATES:
            text = f"{TEMPLATES} asks for {name!r}, and the injector's templates could not be looked at"
            return Refusal(text, where, certain=False)
    return None

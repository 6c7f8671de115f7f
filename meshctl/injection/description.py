"""Everything about one pod, put together: what `describe pod` shows and what the checks judge."""

from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from datetime import datetime

from meshctl.errors import BadInput
from meshctl.frozen import dataclass
from meshctl.injection import (
    added,
    answers,
    changes,
    decision,
    endings,
    explain,
    origins,
    outdated,
    planned,
    start_order,
    templates,
    timeline,
)
from meshctl.injection.added import Added
from meshctl.injection.answers import Answer
from meshctl.injection.changes import Change
from meshctl.injection.decision import Decision
from meshctl.injection.endings import Ending
from meshctl.injection.explain import ContainerStory
from meshctl.injection.mode import Injection, Reason, recognise
from meshctl.injection.origins import Sources
from meshctl.injection.outdated import Difference
from meshctl.injection.planned import Planned
from meshctl.injection.settings import NO_SETTINGS, MeshSettings, Overlay, overlay
from meshctl.injection.situation import INJECT, REVISION
from meshctl.injection.start_order import Step
from meshctl.injection.templates import Templates
from meshctl.injection.timeline import Clues, Timeline
from meshctl.kube.containers import Container
from meshctl.kube.namespaces import Namespace
from meshctl.kube.owners import Workload
from meshctl.kube.pods import Pod
from meshctl.kube.services import Service
from meshctl.kube.webhooks import Webhook
from meshctl.netfilter import release as netfilter_release
from meshctl.netfilter.capture import Capture
from meshctl.netfilter.capture_cni import of_annotations
from meshctl.netfilter.capture_flags import of_arguments

NO_CLUES = Clues()
NO_WORKLOAD = Workload()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What was fetched about a pod. Only `pod` is needed; None means that it could not be looked at.

    `services` are those of the pod's namespace (or only those that select it), `mesh_services` those of all (only where
    they matter), `control_planes` the releases of the istiods that run; `gaps` say what is missing and how to get it.
    """

    pod: Pod
    namespace: Namespace | None = None
    services: tuple[Service, ...] | None = None
    mesh_services: tuple[Service, ...] | None = None
    webhooks: tuple[Webhook, ...] | None = None
    settings: MeshSettings = NO_SETTINGS
    workload: Workload = NO_WORKLOAD
    clues: Clues = NO_CLUES
    control_planes: tuple[str, ...] = ()
    now: datetime | None = None
    gaps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """One pod, explained.

    `cni_differs` are the settings (name, by the arguments, by the plugin) in which the istio-cni plugin, which writes
    the rules from the pod's annotations, goes another way than the arguments of istio-validation say. `templates` is
    None for a pod that no injector made; `planned` is what it would add to a pod that is not made yet.
    """

    subject: Subject
    injection: Injection
    capture: Capture | None
    capture_problem: str
    cni_differs: tuple[tuple[str, str, str], ...]
    containers: tuple[ContainerStory, ...]
    added: Added
    timeline: Timeline
    steps: tuple[Step, ...]
    answers: tuple[Answer, ...]
    endings: tuple[Ending, ...]
    decision: Decision
    services: tuple[Service, ...]
    changes: tuple[Change, ...] | None
    outdated: tuple[Difference, ...]
    overlay: Overlay
    templates: Templates | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    planned: Planned | None = None

    @property
    def pod(self) -> Pod:
        """The pod itself."""
        return self.subject.pod

    def story(self, name: str) -> ContainerStory | None:
        """The explanation of a container."""
        return next((c for c in self.containers if c.container.name == name), None)


def describe(subject: Subject) -> Description:
    """Explain one pod; pure, and never raises for what the pod holds."""
    pod = subject.pod
    namespace_labels = subject.namespace.labels if subject.namespace else None
    verdict = decided(subject)
    injection = _with_sidecar(recognise(pod, namespace_labels), pod, verdict)
    template = subject.workload.template
    own = overlay(pod)
    theirs = template.annotations if template else (pod.annotations if not injection.cni else None)
    sources = Sources(pod, injection, subject.settings, own, theirs, origins.of_metadata(subject.settings, own))
    line = timeline.of(pod, injection, subject.clues)
    capture, problem = capture_of(injection)
    added_then = planned.of(pod, injection, verdict, subject.settings, own, subject.control_planes)
    asked_answers = (
        answers.pause_first(pod, line, subject.clues, added_then),
        answers.app_before_proxy(pod, injection, line, added_then),
    )
    return Description(
        subject=subject,
        injection=injection,
        capture=capture,
        capture_problem=problem,
        cni_differs=_cni_differs(pod, injection, capture),
        containers=explain.containers(sources),
        added=added.of(pod, injection, template),
        timeline=line,
        steps=start_order.order(pod, injection, line, added_then),
        answers=tuple(a for a in asked_answers if a is not None),
        endings=endings.of(pod, injection, line, subject.clues),
        decision=verdict,
        services=tuple(s for s in subject.services or () if s.selects(pod.labels)),
        changes=changes.between(template, pod, injection) if template is not None else None,
        outdated=outdated.against(injection, subject.settings, subject.control_planes, verdict.revision),
        overlay=own,
        templates=templates.against(pod, injection, subject.settings, own, template) if injection.receipt else None,
        annotations=theirs if theirs is not None else pod.annotations,
        planned=added_then,
    )


def _with_sidecar(injection: Injection, pod: Pod, verdict: Decision) -> Injection:
    """A pod to be made that labels ask into ambient mode, but that will get a proxy of its own, which keeps it out.

    istio-cni leaves alone what has the injector's receipt (``cni/pkg/util/podutil.go``, 1.18 to 1.30).
    """
    if injection.mode != "ambient" or pod.has_status or injection.receipt or verdict.outcome != "injected":
        return injection
    text = "labels ask for ambient mode, but the injector takes the pod, and a sidecar keeps it out of ambient mode"
    return replace(injection, mode="none", reasons=(Reason("sidecar-first", text, verdict.tries[-1].source),))


def decided(subject: Subject) -> Decision:
    """The decision for a pod made now: by the template that its workload has now, where that is known."""
    pod, workload = subject.pod, subject.workload
    asked, owner = workload.template, workload.chain[0] if workload.chain else None
    if asked is not None and workload.current is not None:
        asked = replace(asked, labels=workload.current.labels, annotations=workload.current.annotations)
        owner = workload.top
    source = f"{owner.kind}/{owner.name}" if asked is not None and owner is not None else ""
    made = replace(asked, namespace=asked.namespace or pod.namespace) if asked is not None else pod
    found = decision.decide(
        decision.situation(
            made,
            subject.namespace,
            subject.webhooks,
            subject.settings,
            template=source,
            releases=subject.control_planes,
        )
    )
    remarks = tuple(_of_its_own(pod, made, source)) if asked is not None else ()
    return replace(found, remarks=(*found.remarks, *remarks))


def _of_its_own(pod: Pod, made: Pod, source: str) -> Iterator[str]:
    """What this pod says itself, and a pod made now would not: it was written to the pod after it was made."""
    for where, own, theirs in (("label", pod.labels, made.labels), ("annotation", pod.annotations, made.annotations)):
        for key in (INJECT, REVISION) if where == "label" else (INJECT,):
            if key in own and own[key] != theirs.get(key):
                there = f"has {theirs[key]!r}" if key in theirs else "does not have it"
                yield (
                    f"this pod itself has the {where} {key}: {own[key]}; the template of {source.replace('/', ' ')}, "
                    f"from which a pod is made now, {there}"
                )


_COMPARED = (
    "include_inbound_ports",
    "exclude_inbound_ports",
    "include_outbound_ranges",
    "exclude_outbound_ranges",
    "include_outbound_ports",
    "exclude_outbound_ports",
    "owner_groups_exclude",
    "dns",
)


def _cni_differs(pod: Pod, injection: Injection, capture: Capture | None) -> tuple[tuple[str, str, str], ...]:
    if not injection.cni or capture is None or injection.proxy is None:
        return ()
    env = {e.name: e.value for e in injection.proxy.env if e.value is not None}
    try:
        plugin = of_annotations(pod.annotations, env, netfilter_release.tell(injection.proxy.image).release)
    except BadInput:
        return ()
    pairs = ((name, _listed(getattr(capture, name)), _listed(getattr(plugin, name))) for name in _COMPARED)
    return tuple((name, mine, theirs) for name, mine, theirs in pairs if set(mine.split(",")) != set(theirs.split(",")))


def _listed(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def capture_of(injection: Injection) -> tuple[Capture | None, str]:
    """What the arguments of istio-init or istio-validation ask for, and what was wrong with them."""
    init = injection.init
    if init is None:
        return None, ""
    env = {e.name: e.value for e in init.env if e.value is not None}
    told = netfilter_release.tell(image=init.image, revision=injection.revision)
    release = told.release
    if told.evidence == "none" and injection.release.text:
        release = netfilter_release.Release(*injection.release.high)
    own = explain.own_program(init)
    if own:
        return None, f"{init.name} {own}: what it captures cannot be told"
    try:
        return of_arguments(init.args, env, release), ""
    except BadInput as error:
        return _as_far_as_known(init, env, release), str(error)


def _as_far_as_known(init: Container, env: Mapping[str, str], release: netfilter_release.Release) -> Capture | None:
    """The capture by the flags that are known, where an argument would make the real istio-iptables fail."""
    args = [f"--{a.name}={a.value}" if a.value is not None else f"--{a.name}" for a in explain.parsed(init) if a.name]
    try:
        return of_arguments(args, env, release)
    except BadInput:
        return None

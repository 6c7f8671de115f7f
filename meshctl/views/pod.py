"""One pod as the page that `describe pod` shows: what a colleague would tell about it, the most important first."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from meshctl.blocks import Block, Column, Facts, Heading, Line, Note, Page, Span, Table, Text
from meshctl.checks.evidence import Evidence
from meshctl.checks.finding import Finding
from meshctl.injection.description import Description
from meshctl.views import standing as standing_view
from meshctl.views.pod_capture import capture_blocks, rules_note
from meshctl.views.pod_changes import changes_blocks
from meshctl.views.pod_containers import containers_blocks
from meshctl.views.pod_decision import decision
from meshctl.views.pod_gaps import closing
from meshctl.views.pod_services import services_blocks
from meshctl.views.pod_start import start_blocks

MODES = {
    "sidecar": "sidecar: a proxy (Envoy) runs beside the application as an ordinary container",
    "native-sidecar": "native sidecar: a proxy (Envoy) runs beside the application, started before it",
    "gateway": "gateway: the pod itself is a proxy (Envoy) of the mesh",
    "grpc": "gRPC without a proxy: the application speaks to the control plane (istiod) itself",
    "ambient": "ambient: no proxy in the pod; the node's proxy (ztunnel) carries its connections",
    "none": "not in the mesh: no proxy carries its connections",
}


def page(it: Evidence, findings: Sequence[Finding], *, wide: bool = False) -> Page:
    """Everything a colleague would tell about the pod, the most important first."""
    result = it.description
    blocks: list[Block] = [
        *head(result),
        *findings_blocks(findings),
        *added_blocks(result),
        *containers_blocks(result, wide),
    ]
    blocks += [
        *capture_blocks(result),
        *rules_note(it),
        *decision(result),
        Heading("Start order"),
        *start_blocks(result),
        *changes_blocks(result, wide),
        *services_blocks(result),
    ]
    blocks += standing_view.blocks(it)
    blocks += closing(it)
    what = result.pod.template_of or f"Pod {result.pod.name}"
    return Page(what, tuple(blocks))


def head(result: Description) -> Iterator[Block]:
    """Who the pod is, in a few lines."""
    pod, injection = result.pod, result.injection
    title = pod.template_of or f"Pod {pod.name}"
    yield Heading((title, Span(f" in namespace {pod.namespace}", "dim") if pod.namespace else ""), 1)
    rows: list[tuple[str, Line]] = [("mesh", _mode_line(result))]
    if injection.release.text:
        exact = "" if injection.release.exact else " (by what was added; the image's tag names no release)"
        rows.append(("Istio", (Span(injection.release.text, "strong"), Span(exact, "dim"))))
    if injection.revision:
        rows.append(("revision", (injection.revision, Span(" (which installation of the control plane)", "dim"))))
    chain = result.subject.workload.chain
    if chain:
        rows.append(("made by", " < ".join(f"{o.kind} {o.name}" for o in chain)))
    if pod.has_status:
        ready = {True: Span("ready", "good"), False: Span("not ready", "bad"), None: Span("readiness unknown", "warn")}
        leaving = (
            Span(f", being deleted (to be gone by {pod.deleted_at:%Y-%m-%d %H:%M:%S})", "warn")
            if pod.deleted_at
            else ""
        )
        rows.append(("state", (pod.phase or "?", ", ", ready[pod.ready], leaving)))
        rows.append(("where", f"{pod.ip or 'no address'} on node {pod.node or '(none yet)'}"))
    if result.subject.services is not None:
        names = ", ".join(s.name for s in result.services) or "none selects this pod"
        rows.append(("services", names))
    yield Facts(tuple(rows))


def _mode_line(result: Description) -> Line:
    injection = result.injection
    if injection.mesh not in ("istio", ""):
        return (Span(injection.mesh.title(), "strong"), ": another mesh; its parts are named below, not judged")
    word, colon, rest = MODES[injection.mode].partition(":")
    if injection.agent_mode == "waypoint":
        rest = " the pod is a waypoint, a proxy (Envoy) that services of an ambient mesh share"
    if injection.agent_mode == "ztunnel":
        word, rest = "ztunnel", " the proxy of this node, which the pods of an ambient mesh share"
    if injection.mode == "none" and not injection.agent_mode:
        word, rest = _outside(result, word, rest)
    return (Span(word, "strong"), f"{colon or ':'}{rest}")


def _outside(result: Description, word: str, rest: str) -> tuple[str, str]:
    """What "not in the mesh" means: rules without a proxy, and what becomes of a manifest when a pod is made of it."""
    init = result.injection.init
    if init is not None and result.pod.has_status:
        return word, f" there is {init.name}, but no proxy for what its rules capture"
    if result.planned is not None:
        kind = {True: " with a native sidecar", False: " with a sidecar", None: " with a sidecar"}[
            result.planned.native
        ]
        kind = kind if result.planned.sidecar else ""
        return f"{word} as written", f" a pod made from this would be injected{kind}"
    told = {"rejected": "would be rejected", "undecided": "may be injected"}.get(result.decision.outcome)
    if result.pod.has_status or told is None:
        return word, rest
    return f"{word} as written", f" a pod made from this {told}, see below"


_MOOD = {"error": "bad", "warning": "warn", "info": "info"}
_ALIKE = 2
"""How many findings are shown of those that differ only in what they are about."""


def findings_blocks(findings: Sequence[Finding], *, every: bool = False) -> Iterator[Block]:
    """What is wrong, worst first; of many that say the same of other things, the first few, unless all are wanted."""
    if not findings:
        return
    yield Heading("What is wrong or worth a look")
    for (id_, severity, fix), alike in groupby(findings, key=lambda f: (f.id, f.severity, f.fix)):
        found = list(alike)
        shown = found if every or len(found) <= _ALIKE + 1 else found[:_ALIKE]
        more: list[Line] = [("fix: ", fix)] if fix else []
        mood: Any = _MOOD[severity]
        for f in shown:
            yield Note((Span(f"{id_} ", "dim"), f.text), mood, tuple(more))
        if left := len(found) - len(shown):
            yield Note((Span(f"{id_} ", "dim"), f"the same of {left} more: `meshctl check` names all"), mood)


def added_blocks(result: Description) -> Iterator[Block]:
    """What the mesh added, beside what was there without it."""
    added, pod, injection = result.added, result.pod, result.injection
    if not any((added.init_containers, added.containers, added.volumes, added.annotations, added.labels)):
        return
    yield Heading("What the mesh added")
    theirs = [c.name for c in pod.containers if c.name not in injection.ours]
    rows: list[tuple[Line, ...]] = []
    for title, names, before in (
        ("init containers", added.init_containers, [c.name for c in pod.init_containers if c.name in theirs]),
        ("containers", added.containers, [c.name for c in pod.app_containers if c.name in theirs]),
        ("volumes", added.volumes, [v.name for v in pod.volumes if v.name not in added.volumes]),
        ("annotations", added.annotations, [k for k in pod.annotations if k not in added.annotations]),
        ("labels", added.labels, [k for k in pod.labels if k not in added.labels]),
    ):
        if names or before:
            rows.append((title, Span(", ".join(names) or "-", "added"), ", ".join(before) or "-"))
    yield Table((Column("", wrap=False), Column("added by the mesh"), Column("there without it", keep=3)), tuple(rows))
    if not added.certain and injection.cni:
        yield Text(
            "What the user wrote is not known here, so an annotation that counts as added may be the user's own.", 2
        )


def summary(result: Description) -> Mapping[str, str]:
    """The settings in which pods are compared with each other, in words."""
    capture = result.capture
    return {
        "mesh": result.injection.mode,
        "istio": result.injection.release.text,
        "revision": result.injection.revision,
        "captures incoming": capture.include_inbound_ports if capture else "",
        "not incoming": capture.exclude_inbound_ports if capture else "",
        "captures outgoing": capture.include_outbound_ranges if capture else "",
        "not to addresses": capture.exclude_outbound_ranges if capture else "",
        "not to ports": capture.exclude_outbound_ports if capture else "",
        "mode": capture.mode if capture else "",
        "dns": str(capture.dns).lower() if capture else "",
        "containers": ", ".join(c.container.name for c in result.containers),
        "proxy image": result.injection.proxy.image if result.injection.proxy else "",
        "ready": {True: "yes", False: "no", None: ""}[result.pod.ready],
        "services": ", ".join(s.name for s in result.services),
    }

"""What changed on a pod, on the page: against its template, and against a pod made now."""

from collections.abc import Iterator, Sequence

from meshctl.blocks import Block, Column, Heading, Note, Span, Table, Text
from meshctl.injection.changes import Change
from meshctl.injection.description import Description
from meshctl.injection.outdated import AHEAD
from meshctl.words import counted


def changes_blocks(result: Description, wide: bool = False) -> Iterator[Block]:
    """What differs from the user's template, by whom, and from what a new pod would be."""
    if result.changes is None and result.templates is None and not result.outdated:
        return
    yield Heading("What changed")
    if result.changes is not None:
        yield from _changes(result.changes, wide)
    else:
        yield Text("What the user wrote before the injection is not known here, so the pod is not compared with it.")
    if result.injection.proxy is not None:
        yield Heading("Against a pod made now", 3)
        yield from _now(result)


def _changes(changes: Sequence[Change], wide: bool) -> Iterator[Block]:
    counts = {by: sum(1 for c in changes if c.by == by) for by in ("Istio", "Kubernetes", "others")}
    yield Text(
        f"Against the template in the pod's workload: {counted(counts['Istio'], 'change')} by Istio, "
        f"{counts['Kubernetes']} by Kubernetes (defaults, tokens, scheduling), {counts['others']} by others."
    )
    listed = changes if wide else [c for c in changes if c.by == "others" or (c.by == "Istio" and c.before)]
    if listed:
        rows = tuple((Span(c.path, "code"), c.before or "-", c.after or "-", c.by, c.why) for c in listed)
        yield Table(
            (Column("what", keep=8), Column("was"), Column("is"), Column("by", wrap=False), Column("why", keep=2)), rows
        )


def _now(result: Description) -> Iterator[Block]:
    """What a pod that is made now would have otherwise, as far as that can be told."""
    for d in result.outdated:
        yield Note(d.text, "warn" if d.what in _OF_RELEASE else "info")
    planes = result.subject.control_planes
    if not any(d.what in _OF_RELEASE for d in result.outdated):
        yield Text(_beside_control_plane(planes, result), 2)
    if result.templates is not None:
        yield Text(result.templates.text, 2)
        if result.templates.unmentioned:
            yield Text(", ".join(result.templates.unmentioned), 4)


_OF_RELEASE = ("release", AHEAD)


def _beside_control_plane(planes: Sequence[str], result: Description) -> str:
    """What is said of a proxy that is not told to be older than the control plane."""
    if not planes:
        return "The release of the control plane is not known here, so the proxy is not compared with it."
    here = f"The control plane here is Istio {', '.join(planes)}"
    if not result.injection.release.exact:
        return f"{here}; the proxy's release is not known exactly, so whether it is older cannot be told."
    return f"{here}; the proxy (Istio {result.injection.release.text}) is not older."

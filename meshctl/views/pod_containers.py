"""The containers of a pod on the page: state, image, ports, checks, arguments and environment."""

from collections.abc import Iterator, Sequence

from meshctl.blocks import Block, Column, Facts, Heading, Line, Span, Table, Text
from meshctl.injection.description import Description
from meshctl.injection.explain import ContainerStory
from meshctl.kube.containers import Running, Terminated, Waiting


def state_words(story: ContainerStory) -> str:
    """The container's state in a few words; empty where the pod does not run."""
    status = story.container.status
    if status is None:
        return ""
    match status.state:
        case Running():
            word = "running" + ("" if status.ready else ", not ready")
        case Terminated(code, reason, _, _, _, _):
            word = "done" if code == 0 else f"ended with exit code {code}" + (f" ({reason})" if reason else "")
        case Waiting(reason, _):
            word = f"waiting ({reason})" if reason else "waiting"
        case None:
            word = "unknown"
    times = "once" if status.restarts == 1 else f"{status.restarts} times"
    return word + (f", restarted {times}" if status.restarts else "")


def containers_blocks(result: Description, wide: bool) -> Iterator[Block]:
    """Every container under its name."""
    yield Heading("Containers")
    for story in result.containers:
        state = state_words(story)
        name = Span(story.container.name, "added" if story.by_mesh else "name")
        kind = {"init": "init container", "sidecar": "sidecar", "app": "container", "ephemeral": "debug container"}
        yield Heading((name, Span(f"  {kind[story.kind]}{', ' + state if state else ''}", "dim")), 3)
        yield Text(f"{story.role[:1].upper()}{story.role[1:]}.", 2)
        yield from container_blocks(story, wide)


def container_blocks(story: ContainerStory, wide: bool) -> Iterator[Block]:
    """A container's image, ports, checks, arguments and (with `wide`) everything else."""
    rows: list[tuple[str, Line]] = [("image", Span(story.container.image, "code"))]
    if story.ports:
        shown = (
            f"{p.number}/{p.protocol}" + (f" {p.name}" if p.name else "") + _in_brackets(p.meaning) for p in story.ports
        )
        rows.append(("ports", ", ".join(shown)))
    for probe in story.probes:
        line: Line = probe.now
        if probe.originally is not None:
            line = (
                probe.now,
                Span("  really: ", "dim"),
                Span(probe.originally, "strong"),
                Span(", made by the agent", "dim"),
            )
        elif probe.lost:
            line = (probe.now, Span("  the original check is not known", "warn"))
        rows.append((probe.kind, line))
    yield Facts(tuple(rows), 2)
    if story.by_mesh and story.arguments:
        yield _arguments(story)
    env = [e for e in story.env if wide or (story.by_mesh and (e.decoded or e.source or not e.known))]
    if env:
        yield Table(
            (Column("variable", keep=8), Column("value", keep=3), Column("meaning")),
            tuple((Span(e.name, "code"), _env_value(e.value, e.taken_from, e.decoded), e.meaning) for e in env),
            2,
        )
    if wide and story.mounts:
        yield Table(
            (Column("mounted at", keep=8), Column("volume"), Column("meaning")),
            tuple(
                (Span(m.path, "code"), m.volume + (" (read-only)" if m.read_only else ""), m.meaning)
                for m in story.mounts
            ),
            2,
        )


def _arguments(story: ContainerStory) -> Table:
    rows: list[tuple[Line, ...]] = []
    for a in story.arguments:
        value = "" if a.value is None else (a.value or '""')
        meaning: Line = a.meaning
        if a.effect:
            before, _, here = a.meaning.partition(" Here: ")
            meaning = (Span(before + " Here: ", ""), Span(here, "strong"))
        rows.append((Span(a.flag, "code"), Span(value, "code"), meaning, Span(a.source, "dim")))
    columns = (
        Column("argument", keep=8, wrap=False),
        Column("value", keep=6),
        Column("meaning"),
        Column("from", keep=2),
    )
    return Table(columns, tuple(rows), 2)


def _env_value(value: str | None, taken_from: str, decoded: Sequence[str]) -> str:
    if decoded:
        return "; ".join(decoded)
    if value is None:
        return f"(from {taken_from})" if taken_from else ""
    return value.strip() + (f" (from {taken_from})" if taken_from else "")


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""

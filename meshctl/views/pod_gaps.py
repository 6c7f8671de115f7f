"""What of a pod is not known, could not be read or was not looked at."""

from collections.abc import Iterator

from meshctl.blocks import Block, Heading, Note, Text
from meshctl.checks.evidence import Evidence
from meshctl.injection.description import Description
from meshctl.kube.fields import Flaw


def problems(result: Description) -> Iterator[str]:
    """What of the pod, its settings and its configuration could not be read."""
    yield from result.injection.problems
    if result.capture_problem:
        yield result.capture_problem
    if result.overlay.problem:
        yield result.overlay.problem
    yield from map(_flaw, result.pod.flaws)
    yield from result.subject.settings.problems


def _flaw(flaw: Flaw) -> str:
    return f"{flaw.path}: {flaw.problem}: {flaw.raw}"


def closing(it: Evidence) -> Iterator[Block]:
    """What is not known, what could not be read or looked at."""
    result = it.description
    unknown = [f"{s.container.name}: {u}" for s in result.containers for u in s.unknown]
    if unknown:
        yield Heading("Not known to meshctl")
        yield Text("Named here so that nothing is hidden: " + "; ".join(unknown))
    told = {*result.injection.problems, *map(_flaw, result.pod.flaws)}  # by MC121, with what to do
    found = tuple(problem for problem in problems(result) if problem not in told)
    if found:
        yield Heading("Could not be read")
        for problem in found:
            yield Note(problem, "warn")
    if all_gaps(it):
        yield Heading("Not looked at")
        for gap in all_gaps(it):
            yield Text(gap, 2)


def all_gaps(it: Evidence) -> tuple[str, ...]:
    """What could not be looked at, and how to get it."""
    return (*it.description.subject.gaps, *(it.state.gaps if it.state else ()))

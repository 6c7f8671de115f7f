"""A name with several addresses: a client tries one after the other until one takes its connection.

So do curl, Go, Python and what else walks the list of getaddrinfo(3). In which order is left to chance within a family
(the cluster's DNS turns them), and between the families to the client (RFC 6724 and RFC 8305, which libraries follow
each in its own way).
"""

from dataclasses import replace
from math import prod

from meshctl.frozen import dataclass
from meshctl.path.leaving import Way
from meshctl.path.model import End
from meshctl.path.outcome import Course, Spared, alike, unsure
from meshctl.words import show_address

_NOT_TAKEN = ("proxy-down", "family")


@dataclass(frozen=True, slots=True)
class Tries:
    """The ways of a name's addresses, those first that lead on; the courses with their shares; what is passed by."""

    addresses: tuple[str, ...]
    ways: tuple[Way, ...]
    courses: tuple[Course, ...]
    facts: tuple[str, ...] = ()


def in_turn(addresses: tuple[str, ...], ways: list[Way], port: int) -> Tries:
    """What becomes of a request to a name with these addresses, each of which leads somewhere (`ways`)."""
    if len(ways) == 1:
        return Tries(addresses, tuple(ways), ways[0].courses)
    refused = [sum(c.probability for c in way.courses if _is_refused(way, c)) for way in ways]
    leading = [any(not _is_refused(way, c) for c in way.courses) for way in ways]
    lost, failing = prod(refused), sum(refused)
    leads_on = len(ways) - failing
    found: list[tuple[bool, Course]] = []
    for address, way in zip(addresses, ways, strict=True):
        for course in way.courses:
            whole, share = (failing, lost) if _is_refused(way, course) else (leads_on, 1 - lost)
            if whole and share > 1e-9:
                found.append((":" in address, replace(course, probability=course.probability / whole * share)))
    order = sorted(range(len(ways)), key=lambda index: not leading[index])
    passed_by = [
        (show_address(address, port), way.courses[0].end)
        for address, way, leads in zip(addresses, ways, leading, strict=True)
        if any(leading) and not leads and way.courses
    ]
    facts = [
        f"{place} refuses the connection ({end.why}): the client goes on to the next address"
        for place, end in passed_by
    ]
    # That a mesh of one family has no listener of the other is no fault of an address.
    spared = tuple(Spared(place, 1.0, end.why) for place, end in passed_by if end.cause != "family")
    return Tries(
        tuple(addresses[index] for index in order),
        tuple(ways[index] for index in order),
        tuple(replace(course, spared=(*course.spared, *spared)) for course in _of_either_family(found)),
        tuple(facts),
    )


def _is_refused(way: Way, course: Course) -> bool:
    """Whether the client's own connection is refused: a proxy that took it would tell it otherwise."""
    return course.end.broken == "refused" and (not way.captured or course.end.cause in _NOT_TAKEN)


def _of_either_family(shared: list[tuple[bool, Course]]) -> list[Course]:
    """The courses; one that is left open where those of the families end otherwise."""
    courses = [course for _, course in shared]
    four, six = ([course for of_six, course in shared if of_six is family] for family in (False, True))
    if not four or not six or alike(four, six):
        return courses
    why = (
        "the name has addresses of both families, and which the client tries first is its own choice: "
        f"by IPv4 {_said(four[0].end)}; by IPv6 {_said(six[0].end)}"
    )
    best = four[0]
    clusters, endpoints, pods = ({getattr(c, each) for c in courses} for each in ("cluster", "endpoint", "pod"))
    return [
        replace(
            best,
            probability=1.0,
            end=_common([c.end for c in courses], why),
            cluster=best.cluster if len(clusters) == 1 else None,
            endpoint=best.endpoint if len(endpoints) == 1 else "",
            pod=best.pod if len(pods) == 1 else "",
        )
    ]


def _said(end: End) -> str:
    way = {True: "through the caller's proxy: ", False: "without the caller's proxy: ", None: ""}
    return f"{way[end.through_client]}{end.why}"


def _common(ends: list[End], why: str) -> End:
    """What all ends have in common, the rest left open."""
    first = ends[0]
    return replace(
        unsure(replace(first, undecided=()), why),
        through_client=first.through_client if len({e.through_client for e in ends}) == 1 else None,
        through_server=first.through_server if len({e.through_server for e in ends}) == 1 else None,
        mtls=first.mtls if len({e.mtls for e in ends}) == 1 else None,
    )

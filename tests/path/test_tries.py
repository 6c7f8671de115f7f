"""Names with several addresses: what the client tries, and what is left to it."""

import pytest

from meshctl.path.joining import shares_by_name
from meshctl.path.leaving import Way
from meshctl.path.model import ClusterShare, End, EndpointSeen
from meshctl.path.outcome import Course
from meshctl.path.tries import Tries, in_turn

TAKEN = Course(1.0, End("app", delivered=True, why="it answers"))
REFUSED = Course(1.0, End("nobody", delivered=False, broken="refused", why="nothing listens there"))
SILENT = Course(1.0, End("nobody", delivered=False, broken="timeout", why="no packet comes back"))


def tried(*ways: tuple[str, Way]) -> Tries:
    return in_turn(tuple(address for address, _ in ways), [way for _, way in ways], 80)


def shares(found: Tries) -> list[tuple[float, str]]:
    return [(round(course.probability, 6), course.end.broken) for course in found.courses]


def test_an_address_that_refuses_is_passed_by() -> None:
    bad, good = Way((), (REFUSED,)), Way((), (TAKEN,))
    found = tried(("10.0.0.1", bad), ("10.0.0.2", good))
    assert shares(found) == [(1.0, "")]
    assert found.addresses == ("10.0.0.2", "10.0.0.1")
    assert found.ways == (good, bad)
    fact = "10.0.0.1:80 refuses the connection (nothing listens there): the client goes on to the next address"
    assert found.facts == (fact,)
    assert [(one.place, one.why) for one in found.courses[0].spared] == [("10.0.0.1:80", "nothing listens there")]


def test_where_all_refuse_it_is_refused() -> None:
    found = tried(("10.0.0.1", Way((), (REFUSED,))), ("fd00::1", Way((), (REFUSED,))))
    assert shares(found) == [(0.5, "refused"), (0.5, "refused")]
    assert found.facts == ()


@pytest.mark.parametrize(
    ("captured", "cause", "expected"), [(True, "", [0.5, 0.5]), (True, "family", [1.0]), (False, "", [1.0])]
)
def test_what_a_proxy_takes_first_is_not_tried_elsewhere(captured: bool, cause: str, expected: list[float]) -> None:
    end = End("nobody", delivered=False, broken="refused", cause="family" if cause else "")
    found = tried(("10.0.0.1", Way((), (Course(1.0, end),), captured=captured)), ("10.0.0.2", Way((), (TAKEN,))))
    assert [share for share, _ in shares(found)] == expected


def test_an_address_that_never_answers_is_waited_for() -> None:
    found = tried(("10.0.0.1", Way((), (SILENT,))), ("10.0.0.2", Way((), (TAKEN,))))
    assert shares(found) == [(0.5, "timeout"), (0.5, "")]


def test_of_addresses_that_refuse_at_times_all_have_to() -> None:
    half = Way((), (Course(0.5, TAKEN.end), Course(0.5, REFUSED.end)))
    found = tried(("10.0.0.1", half), ("10.0.0.2", half))
    assert sum(share for share, broken in shares(found) if broken) == pytest.approx(0.25)
    assert sum(share for share, _ in shares(found)) == pytest.approx(1.0)
    assert shares(tried(("10.0.0.1", half))) == [(0.5, ""), (0.5, "refused")]


def test_families_that_end_otherwise_leave_it_to_the_client() -> None:
    through = Course(1.0, End("app", delivered=True, through_client=True, why="the proxy passes it on"), cluster="a")
    found = tried(("fd00::1", Way((), (TAKEN,))), ("10.0.0.1", Way((), (through,))))
    (course,) = found.courses
    assert course.probability == 1.0
    assert (course.end.delivered, course.end.through_client, course.end.through_server) == (None, None, False)
    assert course.end.undecided[0].endswith(
        "by IPv4 through the caller's proxy: the proxy passes it on; by IPv6 without the caller's proxy: it answers"
    )
    assert course.cluster is None


def test_a_cluster_that_several_addresses_lead_to_has_the_endpoints_of_all() -> None:
    one, two = (EndpointSeen(f"10.0.0.{n}:80", "", "healthy") for n in (1, 2))
    found = shares_by_name([ClusterShare("PassthroughCluster", "", 1, (end,)) for end in (one, two, one)])
    assert [share.endpoints for share in found] == [(one, two)]

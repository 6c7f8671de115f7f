"""Real requests: what is predicted is what was recorded, or is undecided for a reason that no recording removes."""

import pytest

from meshctl.path.retries import older, since
from tests.path.recordings import Case, client_line, contradictions, none_if_dash, of_case, scene, truths

UNDECIDED = {
    ("bookinfo", 6): "no Service has it",
    ("classic", 4): "was not recorded",
    ("policies", 6): "resolver forwards the name",
    ("policies", 7): "outside of the cluster",
    ("cnimode", 2): "no Service has it",
    ("nftmode", 2): "no Service has it",
}
"""The only requests whose end a recording cannot tell, with the reason."""

CASES = truths()


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_no_prediction_contradicts_what_was_recorded(case: Case) -> None:
    found = of_case(case)
    problems = [contradictions(case.raw, branch) for branch in found.outcome.branches]
    assert [] in problems, problems
    first = client_line(case.raw)
    if first is not None:
        assert (found.outcome.route or "") == none_if_dash(first["route"])
    if first is not None and first["upstream"] != "-":
        hosts = [endpoint.address for share in found.outcome.clusters for endpoint in share.endpoints]
        assert first["upstream"] in hosts


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_only_what_a_recording_cannot_tell_is_undecided(case: Case) -> None:
    found = of_case(case)
    reasons = [reason for branch in found.outcome.branches for reason in branch.end.undecided]
    expected = UNDECIDED.get((case.name, case.number))
    if expected is None:
        assert not reasons
    else:
        assert any(expected in reason for reason in reasons), reasons


def test_a_pod_that_was_not_recorded_has_its_proxy_on_the_path_where_the_connection_is_mutual_tls() -> None:
    (found,) = (of_case(case) for case in CASES if (case.name, case.number) == ("classic", 4))
    assert {branch.end.through_server for branch in found.outcome.branches} == {True}


def test_every_recorded_request_is_tried() -> None:
    assert len(CASES) == 41


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_branches_sum_to_one_and_every_hop_says_what_was_decided(case: Case) -> None:
    found = of_case(case)
    assert sum(branch.probability for branch in found.outcome.branches) == pytest.approx(1.0)
    assert all(hop.title and hop.decision for hop in found.hops)
    assert found.outcome.branches[0].end == found.outcome.end


def test_stations_know_the_release_that_their_proxies_are_of() -> None:
    place = scene("classic")
    injected = {place.station(pod).version for pod in place.pods if pod.namespace == "classic"}
    others = {place.station(pod).version for pod in place.pods if not pod.namespace.startswith(("classic", "istio"))}
    assert injected == {"1.30.3"}
    assert others <= {"", "1.30.3"}


@pytest.mark.parametrize(
    ("version", "minor", "is_since"),
    [
        ("1.30.3", 30, True),
        ("1.29.9", 30, False),
        ("1.12-1.13", 24, False),
        ("1.22-1.26", 24, None),
        ("1.25-1.26", 24, True),
        ("", 24, None),
        ("2.0", 24, None),
        ("x", 24, None),
    ],
)
def test_a_release_or_a_range_of_them_is_held_against_another(version: str, minor: int, is_since: bool | None) -> None:
    assert since(version, minor) is is_since
    assert older(version, minor) is (is_since is False)

import pytest

from meshctl.errors import BadInput
from meshctl.netfilter import fingerprint
from meshctl.netfilter.release import Release, from_image, from_revision, nearest_recorded, parse, tell
from tests.netfilter.rulings import CASES, Case, case


@pytest.mark.parametrize(
    ("image", "release"),
    [
        ("docker.io/istio/proxyv2:1.30.3", Release(1, 30, 3)),
        ("docker.io/istio/proxyv2:1.30.3-distroless", Release(1, 30, 3)),
        ("registry:5000/istio/proxyv2:1.22", Release(1, 22)),
        ("gcr.io/istio/proxyv2:1.24.0@sha256:00", Release(1, 24, 0)),
        ("registry:5000/istio/proxyv2", None),
        ("istio/proxyv2@sha256:00", None),
        ("istio/proxyv2:latest", None),
        ("istio/proxyv2:2.6.1-ossm", None),
        ("", None),
    ],
)
def test_an_image_tag_tells_the_release(image: str, release: Release | None) -> None:
    assert from_image(image) == release


@pytest.mark.parametrize(
    ("revision", "release"),
    [("1-30-3", Release(1, 30, 3)), ("v1-24", Release(1, 24)), ("istio-1-22-1", Release(1, 22, 1)), ("canary", None)],
)
def test_a_revision_may_tell_the_release(revision: str, release: Release | None) -> None:
    assert from_revision(revision) == release


def test_refuses_what_is_no_release() -> None:
    with pytest.raises(BadInput, match="no Istio release"):
        parse("latest")


def test_what_was_not_recorded_is_unverified_and_names_the_nearest() -> None:
    assert tell("istio/proxyv2:1.30.3").verified
    told = tell("istio/proxyv2:1.22.0")
    assert not told.verified
    assert "unverified, nearest verified: 1.30.3" in told.sentence
    assert nearest_recorded(Release(1, 14)) == Release(1, 12, 1)


@pytest.mark.parametrize(("asked", "nearest"), [("9.9", "1.30.3"), ("2.0", "1.30.3"), ("0.8", "1.12.1")])
@pytest.mark.parametrize("ambient", [False, True])
def test_a_later_major_is_nearest_to_the_newest_and_an_earlier_one_to_the_oldest(
    asked: str, nearest: str, ambient: bool
) -> None:
    known = nearest if nearest == "1.30.3" or not ambient else "1.22.0"
    assert str(nearest_recorded(parse(asked), ambient=ambient)) == known


def test_says_what_told_it() -> None:
    assert tell("", "1-29").evidence == "revision"
    assert tell("", "", (Release(1, 12, 1), "port 22")).evidence == "rules"
    assert tell().evidence == "none"


@pytest.mark.parametrize("recorded", CASES, ids=lambda c: c.name)
def test_rules_tell_the_release_that_wrote_them(recorded: Case) -> None:
    found = fingerprint.release(recorded.found)
    assert found is not None
    # Without inbound rules nothing in 1.12's rules tells it from 1.17's.
    same = found[0].line == recorded.release.line
    assert same or (recorded.release.minor == 12 and found[0] == Release(1, 17))


def test_rules_tell_their_nameservers() -> None:
    assert fingerprint.resolvers(case("1.30.3/dns").found) == ("10.96.0.10",)
    assert fingerprint.resolvers(case("1.30.3/default").found) == ()

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshctl.errors import BadInput
from meshctl.refs import PodRef, Target, near_misses, parse_pod, parse_target


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("web", None, "web"),
        ("web.shop", None, "web.shop"),
        ("pod/web", "pod", "web"),
        ("deploy/web", "deployment", "web"),
        ("deployment.apps/web", "deployment", "web"),
        ("svc/web", "service", "web"),
        ("sts/db.prod", "statefulset", "db.prod"),
    ],
)
def test_reads_the_names_that_users_write(text: str, kind: str | None, name: str) -> None:
    ref = parse_pod(text)
    assert (ref.kind, ref.name) == (kind, name)


def test_a_name_with_a_dot_is_first_taken_literally() -> None:
    assert PodRef("a.b.c", None, "a.b.c").readings() == (("a.b.c", None), ("a.b", "c"))
    assert PodRef("a", None, "a").readings() == (("a", None),)
    assert PodRef("a.", None, "a.").readings() == (("a.", None),)


@pytest.mark.parametrize("text", ["", "pod/", "/x", "shop/", "a/b/c"])
def test_refuses_what_names_no_pod(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_pod(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("reviews:9080", Target("", "reviews", 9080)),
        ("reviews.shop", Target("", "reviews.shop", None)),
        ("svc/reviews:80", Target("", "reviews", 80)),
        ("http://Reviews:9080/a/b?c=d#e", Target("", "reviews", 9080, "http", "/a/b?c=d")),
        ("https://api.example.com", Target("", "api.example.com", 443, "https")),
        ("http://user:secret@host/x", Target("", "host", 80, "http", "/x")),
        ("reviews:9080/a?b=c", Target("", "reviews", 9080, "", "/a?b=c")),
        ("reviews:9080?b=c/d", Target("", "reviews", 9080, "", "/?b=c/d")),
        ("http://reviews:9080?b=c", Target("", "reviews", 9080, "http", "/?b=c")),
        ("http://reviews#top", Target("", "reviews", 80, "http", "")),
        ("reviews:9080/a?to=http://x@y:80/z#top", Target("", "reviews", 9080, "", "/a?to=http://x@y:80/z")),
        ("http://reviews/?to=https://x", Target("", "reviews", 80, "http", "/?to=https://x")),
        ("svc/reviews:80/a", Target("", "reviews", 80, "", "/a")),
        ("10.0.0.1:80", Target("", "10.0.0.1", 80)),
        ("[fd00::1]:8080", Target("", "fd00::1", 8080)),
        ("fd00::1", Target("", "fd00::1", None)),
        ("reviews.shop.svc.cluster.local.:9080", Target("", "reviews.shop.svc.cluster.local", 9080)),
    ],
)
def test_reads_targets(text: str, target: Target) -> None:
    found = parse_target(text)
    assert (found.host, found.port, found.scheme, found.path) == (target.host, target.port, target.scheme, target.path)


@pytest.mark.parametrize(
    "text", ["", ":80", "a:0", "a:65536", "a:x", "http://", "://x", "?a=b", "/a", "#a", "a b:80", "a:²"]
)
def test_refuses_what_is_no_target(text: str) -> None:
    with pytest.raises(BadInput):
        parse_target(text)


def test_knows_an_address_from_a_name() -> None:
    assert parse_target("[FD00:0::1]:80").address == "fd00::1"
    assert parse_target("reviews:80").address is None


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_pod, parse_target):
        with contextlib.suppress(BadInput):
            assert parse(text).text == text


def test_suggests_the_nearest_names_first() -> None:
    assert near_misses("reviws", ("reviews", "ratings", "details")) == ("reviews",)
    assert near_misses("zzz", ("reviews",)) == ()


@pytest.mark.parametrize("text", ["ftp://reviews:9080/", "file:///etc/passwd", "unix://x"])
def test_a_scheme_that_no_request_has_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"(is not followed|it has no host)"):
        parse_target(text)

"""Prefixes, addresses and the containers' small helpers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshctl.netfilter.addresses import Prefix, address_number, address_text, prefix, span
from meshctl.netfilter.matches import Comment, Opaque
from meshctl.netfilter.model import Rule, hook_priority
from meshctl.netfilter.targets import Drop, SetMark


@pytest.mark.parametrize(
    ("text", "shown", "host"),
    [
        ("10.1.2.3", "10.1.2.3/32", True),
        ("10.1.2.3/8", "10.0.0.0/8", False),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8", False),
        ("10.0.0.1/255.0.0.255", "10.0.0.1/255.0.0.255", False),
        ("0.0.0.0/0", "0.0.0.0/0", False),
        ("::ffff:1.2.3.4", "::ffff:102:304/128", True),
        ("FD00::/8", "fd00::/8", False),
    ],
)
def test_prefixes(text: str, shown: str, host: bool) -> None:
    assert str(prefix(text)).replace("::ffff:1.2.3.4", "::ffff:102:304") == shown
    assert prefix(text).is_host is host


@pytest.mark.parametrize("text", ["", "10.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/::", "lo", "10.0.0.0/8/8"])
def test_what_is_no_prefix(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        prefix(text)


@given(st.ip_addresses())
def test_addresses_round_trip(address: object) -> None:
    version, number = address_number(str(address))
    assert address_number(address_text(version, number)) == (version, number)


def test_masks_with_holes() -> None:
    odd = prefix("10.0.0.1/255.0.0.255")
    assert odd.length is None
    assert odd.contains(4, address_number("10.9.9.1")[1])
    assert not odd.contains(4, address_number("10.9.9.2")[1])
    assert not odd.contains(6, odd.address)
    assert Prefix(4, 0, 0).length == 0


def test_a_rule_tells_its_comment_and_what_is_not_understood() -> None:
    rule = Rule("X", (Comment("hello"), Opaque("-m novel")), Drop(), also=(SetMark(1),))
    assert rule.comment == "hello"
    assert rule.targets == (SetMark(1), Drop())
    assert rule.opaque == (Opaque("-m novel"),)


def test_spans_and_priorities() -> None:
    assert 5 in span(1, 9)
    assert 5 not in span(4)
    assert (hook_priority("nat", "INPUT"), hook_priority("nat", "OUTPUT"), hook_priority("own", "OUTPUT")) == (
        100,
        -100,
        None,
    )

"""Reading nft's JSON, and joining it with iptables-save."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshctl.errors import BadInput
from meshctl.netfilter import iptables_save, nft_json
from meshctl.netfilter.addresses import Span, prefix
from meshctl.netfilter.matches import Destination, InInterface, Lookup, Mark, NfProto, Opaque, Owner, Ports, TcpFlags
from meshctl.netfilter.merge import merge
from meshctl.netfilter.model import Rule
from meshctl.netfilter.targets import Accept, Redirect, Reject, RestoreMark, SaveMark, SetConnmark, SetMark, VerdictMap
from meshctl.origin import Origin


def rule(*expressions: Any) -> Rule:
    return nft_json.read_rule({"chain": "x", "expr": list(expressions)}, Origin("t"))


def match(left: Any, right: Any, op: str = "==") -> Any:
    return {"match": {"op": op, "left": left, "right": right}}


META = {"meta": {"key": "mark"}}
CT = {"ct": {"key": "mark"}}


@pytest.mark.parametrize(
    ("expression", "clause"),
    [
        (
            match({"payload": {"protocol": "tcp", "field": "dport"}}, 80, "!="),
            Ports("destination", (Span(80, 80),), True, "tcp"),
        ),
        (
            match({"payload": {"protocol": "tcp", "field": "dport"}}, {"set": [53, {"range": [1, 9]}]}),
            Ports("destination", (Span(53, 53), Span(1, 9)), False, "tcp"),
        ),
        (match({"payload": {"protocol": "ip", "field": "daddr"}}, "127.0.0.1"), Destination(prefix("127.0.0.1"))),
        (
            match({"payload": {"protocol": "ip6", "field": "daddr"}}, {"prefix": {"addr": "fd00::", "len": 8}}, "!="),
            Destination(prefix("fd00::/8"), True),
        ),
        (match({"meta": {"key": "iifname"}}, "eth*"), InInterface("eth+")),
        (match({"meta": {"key": "skuid"}}, "root", "!="), Owner("uid", Span(0, 0), True, strict=True)),
        (match({"meta": {"key": "nfproto"}}, "ipv6"), NfProto("ipv6")),
        (match({"&": [META, 0xFFF]}, 0x539, "!="), Mark(0x539, 0xFFF, True)),
        (match({"payload": {"protocol": "tcp", "field": "flags"}}, "syn", "in"), TcpFlags(("SYN",), (), True)),
        (match({"payload": {"protocol": "ip", "field": "daddr"}}, "@pods"), Lookup(("ip daddr",), (), "pods")),
    ],
)
def test_matches(expression: Any, clause: object) -> None:
    assert rule(expression).matches == (clause,)


@pytest.mark.parametrize(
    ("value", "target"),
    [
        ((META, 0x539), SetMark(0x539)),
        ((META, {"|": [META, 0x4000]}), SetMark(0x4000, 0x4000)),
        ((META, {"&": [META, 0xFFFF00FF]}), SetMark(0, 0xFF00)),
        ((META, {"^": [META, 1]}), SetMark(1, 0)),
        ((META, CT), RestoreMark()),
        ((META, {"&": [CT, 0xFF]}), RestoreMark(0xFFFFFFFF, 0xFF)),
        ((CT, {"|": [{"&": [CT, 0xFF]}, 1]}), SetConnmark(1, 0xFFFFFF01)),
        ((CT, META), SaveMark()),
    ],
)
def test_marks_are_set_as_masks(value: tuple[Any, Any], target: object) -> None:
    assert rule({"mangle": {"key": value[0], "value": value[1]}}).target == target


def test_several_actions_keep_their_order() -> None:
    found = rule({"tproxy": {"family": "ip", "port": 15006}}, {"mangle": {"key": META, "value": 1}}, {"accept": None})
    assert [type(target).__name__ for target in found.targets] == ["Tproxy", "SetMark", "Accept"]


def test_a_match_behind_an_action_is_not_judged() -> None:
    found = rule({"mangle": {"key": META, "value": 1}}, match(META, 1), {"accept": None})
    assert isinstance(found.targets[1], Opaque)


def test_every_form_of_a_hand_written_table_is_read_but_hashes(fixtures: Path) -> None:
    text = (fixtures / "rules" / "tools" / "nft-many-forms.json").read_text()
    rules = [rule for ruleset in nft_json.parse(text) for _, _, _, rule in ruleset.rules]
    assert len(rules) > 60
    assert [part.text for rule in rules for part in rule.opaque if "jhash" not in part.text] == []
    maps = [rule.target for rule in rules if isinstance(rule.target, VerdictMap)]
    assert VerdictMap(("ip daddr", "meta l4proto", "th dport"), (), "svc") in maps
    assert [rule.comment for rule in rules if rule.comment] == ["hello world"]


def test_native_tables_are_understood(fixtures: Path) -> None:
    files = sorted((fixtures / "rulesets").rglob("nft.json"))
    assert files
    for file in files:
        for ruleset in nft_json.parse(file.read_text(), file.name):
            assert ruleset.backend == "nftables"
            assert not [rule.opaque for _, _, _, rule in ruleset.rules if rule.opaque]
            assert any(isinstance(rule.target, Redirect) for _, _, _, rule in ruleset.rules)


def test_tables_of_iptables_are_shown_once(fixtures: Path) -> None:
    tools = fixtures / "rules" / "tools"
    saved = iptables_save.parse((tools / "ambient-web-v1.txt").read_text(), "iptables-save.txt")
    seen = nft_json.parse((tools / "ambient-web-v1.nft.json").read_text())
    assert any(ruleset.through_nft and any(rule.opaque for _, _, _, rule in ruleset.rules) for ruleset in seen)
    merged = merge((saved, *seen))
    shown = [(ruleset.family, table.name) for ruleset in merged for table in ruleset.tables]
    assert len(shown) == len(set(shown))
    assert not [
        rule.opaque for ruleset in merged for _, _, _, rule in ruleset.rules if ruleset.family == "ipv4" and rule.opaque
    ]
    assert {table.handle for table in merged[0].tables} != {None}
    assert merge(seen) == tuple(seen)


def test_two_dumps_of_the_same_are_refused() -> None:
    first = iptables_save.parse("*nat\nCOMMIT\n", "a.txt")
    second = iptables_save.parse("*nat\nCOMMIT\n", "b.txt")
    with pytest.raises(BadInput, match=r"a\.txt and b\.txt both show table nat"):
        merge((first, second))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"nftables": [', "n:1: the nft listing breaks off"),
        ("[]", "n:1: JSON, but not of nft"),
        ('{"nftables": [3]}', r"n nftables\[0\]: not an object of nft"),
        ('{"nftables": [{"chain": {}}]}', r"n nftables\[0\]: a chain that cannot be read"),
    ],
)
def test_bad_listings_say_where(text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        nft_json.parse(text, "n")


def test_families_that_are_not_walked_are_said() -> None:
    text = json.dumps({"nftables": [{"table": {"family": "bridge", "name": "b", "handle": 1}}]})
    (ruleset,) = nft_json.parse(text)
    assert "table bridge b" in ruleset.remarks[0]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 70000)
    | st.sampled_from(("tcp", "ip", "@s", "lo", "meta", "mark", "1.2.3.4")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                """match op left right payload meta ct protocol field key set range prefix addr len & |
            concat xt vmap data jump target mangle value accept redirect port dnat counter tproxy""".split()  # noqa: SIM905
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(("match", "mangle", "dnat", "vmap", "xt", "jump", "redirect")), JSON, min_size=1, max_size=1
        ),
        max_size=3,
    )
)
@settings(max_examples=300, deadline=None)
def test_whatever_a_rule_says_it_is_kept(expressions: list[Any]) -> None:
    text = json.dumps({"nftables": [{"rule": {"family": "inet", "table": "t", "chain": "c", "expr": expressions}}]})
    try:
        (ruleset,) = nft_json.parse(text)
    except BadInput:
        return
    (found,) = [one for _, _, _, one in ruleset.rules]
    assert len(found.matches) + len(found.targets) == len(expressions)
    assert found.text or not expressions


def test_accept_is_a_verdict() -> None:
    assert rule({"counter": {"packets": 3, "bytes": 9}}, {"accept": None}).target == Accept()
    assert rule({"counter": {"packets": 3, "bytes": 9}}).packets == 3


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, ""),
        ({"type": "tcp reset"}, "tcp reset"),
        ({"type": "icmpx", "expr": "port-unreachable"}, "icmpx port-unreachable"),
        ({"type": "later", "other": 1}, '{"type": "later", "other": 1}'),
    ],
)
def test_a_refusal_is_read_as_nft_prints_it(value: Any, kind: str) -> None:
    found = rule({"reject": value})
    assert found.target == Reject(kind)
    assert found.text.endswith(f"reject with {kind}" if kind else "reject")

import json
from typing import Any

import pytest

from meshctl.netfilter import iptables_save, nft_json
from meshctl.netfilter.capture_ambient import of_ambient
from meshctl.netfilter.capture_flags import of_arguments
from meshctl.netfilter.dump import Dump, remarks
from meshctl.netfilter.expected import predict
from meshctl.netfilter.explain import Explained, explain
from meshctl.netfilter.model import Family, Ruleset
from meshctl.netfilter.release import LATEST, Release, parse
from meshctl.netfilter.role_catalog import ROLES
from tests.netfilter.rulings import CASES, Case, case

OLD_SCRIPT = """*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:ISTIO_INBOUND - [0:0]
:ISTIO_OUTPUT - [0:0]
:ISTIO_REDIRECT - [0:0]
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A OUTPUT -p tcp -j ISTIO_OUTPUT
-A ISTIO_INBOUND -p tcp -m tcp --dport 22 -j RETURN
-A ISTIO_INBOUND -p tcp -j ISTIO_REDIRECT
-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -j ISTIO_REDIRECT
-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN
-A ISTIO_OUTPUT -j ISTIO_REDIRECT
-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001
COMMIT
"""


def told(text: str, family: Family = "ipv4") -> list[Explained]:
    return list(explain(iptables_save.parse(text, family=family)))


def filter_table(*rules: str) -> str:
    heads = ":INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
    return f"*filter\n{heads}" + "".join(f"-A {rule}\n" for rule in rules) + "COMMIT\n"


@pytest.mark.parametrize("recorded", CASES, ids=lambda c: c.name)
def test_every_rule_of_istios_has_a_role_and_a_reason(recorded: Case) -> None:
    for ruleset in recorded.found:
        for entry in explain(ruleset, recorded.capture):
            assert entry.told.role in ROLES, entry.rule.text
            assert entry.told.opaque == ()
            assert entry.told.setting is not None, entry.rule.text
            assert entry.told.setting.source, entry.rule.text
            assert "{}" not in entry.told.title + entry.told.missing
            assert entry.told.place


def test_ambient_rules_are_understood_natively_and_in_iptables() -> None:
    for native in (False, True):
        for ruleset in predict(of_ambient({}, native_nftables=native), Release(1, 30, 3)).rulesets:
            roles = {entry.told.role for entry in explain(ruleset)}
            assert "" not in roles
            assert {"ambient-inbound", "ambient-outbound", "ambient-dns", "ambient-probe"} <= roles | {"ambient-zone"}


def test_names_argument_variable_and_default_behind_a_rule() -> None:
    recorded = case("1.30.3/dns")
    found = {entry.told.role: entry.told.setting for entry in explain(recorded.found[0], recorded.capture)}
    assert found["redirect-out"].source == "argument -p"
    assert found["dns-redirect"].source == "environment variable ISTIO_META_DNS_CAPTURE"
    assert found["tunnel-return"].source == "default"


def test_the_meaning_is_a_sentence_of_the_rules_parts() -> None:
    meanings = {entry.rule.text: entry.told.meaning for entry in told(case("1.30.3/dns").expected.texts[0][1])}
    assert meanings["-A ISTIO_OUTPUT_DNS -d 10.96.0.10/32 -p udp -m udp --dport 53 -j REDIRECT --to-ports 15053"] == (
        "UDP to port 53 of 10.96.0.10 is redirected to local port 15053"
    )
    assert meanings["-A ISTIO_OUTPUT -o lo -p tcp -m tcp ! --dport 53 -m owner ! --uid-owner 1337 -j RETURN"] == (
        "TCP to any port but 53, leaving through lo, sent by any uid but 1337, goes back to where this chain was called"
    )


@pytest.mark.parametrize(
    ("option", "meaning"),
    [
        ("MARK --set-xmark 0x4000/0x0", "Everything has the bits 0x4000 of its mark flipped"),
        ("MARK --set-xmark 0x4000/0x4000", "Everything gets mark 0x4000/0x4000"),
        ("MARK --set-xmark 0x5/0x1", "Everything gets mark 0x1/0x1 and has the bits 0x4 of its mark flipped"),
        ("MARK --set-xmark 0x0/0x0", "Everything keeps its mark"),
        ("MARK --set-xmark 0x0/0x4000", "Everything gets mark 0x0/0x4000"),
        ("CONNMARK --set-xmark 0x2/0x0", "Everything has the bits 0x2 of its connection's mark flipped"),
    ],
)
def test_a_mark_is_told_bit_by_bit_where_the_mask_leaves_some_to_be_flipped(option: str, meaning: str) -> None:
    (entry,) = told(f"*mangle\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j {option}\nCOMMIT\n")
    assert entry.told.meaning == meaning


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["-x", "0.0.0.0/0", "-i", "*"], "excluded range: traffic to 0.0.0.0/0 leaves without the proxy"),
        (["-i", "*"], "not asked for: Istio writes such a rule for other arguments only"),
        (None, "excluded range: traffic to every address leaves without the proxy"),
    ],
)
def test_a_return_for_everything_before_the_end_is_no_end_of_ranges(args: list[str] | None, said: str) -> None:
    text = "*nat\n:OUTPUT ACCEPT [0:0]\n:ISTIO_OUTPUT - [0:0]\n:ISTIO_REDIRECT - [0:0]\n-A OUTPUT -j ISTIO_OUTPUT\n"
    text += "-A ISTIO_OUTPUT -j RETURN\n-A ISTIO_OUTPUT -j ISTIO_REDIRECT\nCOMMIT\n"
    ruleset = iptables_save.parse(text, "x", family="ipv4")
    capture = None if args is None else of_arguments(args, {}, LATEST)
    assert [e.told.title for e in explain(ruleset, capture)][1] == said


def test_a_list_that_is_empty_is_not_said_to_have_asked_for_a_capture() -> None:
    there = predict(of_arguments(["-b", "*", "-i", "*"], {}, LATEST), LATEST).rulesets[0]
    asked = of_arguments(["-b", ""], {}, LATEST)
    told = {e.told.role: e.told.setting for e in explain(there, asked)}
    for role, words in (
        ("inbound-jump", "argument -b, which asks for no such rule"),
        ("inbound-all", "argument -b, which asks for no such rule"),
        ("outbound-all", "default, which asks for no such rule"),
    ):
        setting = told[role]
        assert setting is not None
        assert setting.source == words
    kept = told["outbound-jump"]
    assert kept is not None
    assert kept.source == "default"


def test_the_end_of_ranges_is_known_by_its_place() -> None:
    capture = of_arguments(["-i", "10.0.0.0/8"], {}, parse("1.12.1"))
    found = list(explain(predict(capture, parse("1.12.1")).rulesets[0], capture))
    assert [e.told.role for e in found if e.rule.text == "-A ISTIO_OUTPUT -j RETURN"] == ["ranges-end"]


def through_nft(*, jump: str = "ISTIO_OUTPUT") -> Ruleset:
    """Istio's rules as ``nft -j`` lists those of iptables-nft: some clauses by name only."""

    def rule(chain: str, *parts: Any) -> Any:
        return {"rule": {"family": "ip", "table": "nat", "chain": chain, "expr": list(parts)}}

    def named(kind: str, name: str) -> Any:
        return {"xt": {"type": kind, "name": name}}

    base: Any = {"family": "ip", "table": "nat", "name": "OUTPUT", "type": "nat", "hook": "output", "prio": -100}
    chains: Any = [
        base,
        *({"family": "ip", "table": "nat", "name": n} for n in ("ISTIO_OUTPUT", "ISTIO_REDIRECT", jump)),
    ]
    items = [
        {"table": {"family": "ip", "name": "nat"}},
        *({"chain": chain} for chain in {str(c["name"]): c for c in chains}.values()),
        rule("OUTPUT", named("match", "owner"), {"jump": {"target": jump}}),
        rule("ISTIO_OUTPUT", named("match", "owner"), {"return": None}),
        rule("ISTIO_OUTPUT", {"jump": {"target": "ISTIO_REDIRECT"}}),
        rule("ISTIO_REDIRECT", named("target", "REDIRECT")),
    ]
    (ruleset,) = nft_json.parse(json.dumps({"nftables": items}), "nft.json")
    return ruleset


def test_whose_a_rule_is_that_nft_shows_by_name_is_not_guessed() -> None:
    ruleset = through_nft()
    assert ruleset.through_nft
    told = [entry.told for entry in explain(ruleset) if entry.rule.by_name]
    assert [entry.foreign for entry in told] == [""] * 3
    assert told[0].title == "whose it is cannot be told: nft shows `xt match owner` by name only"
    (remark,) = remarks(Dump("x", (ruleset,)))
    assert "3 of the rules have a part that nft shows by name only: xt match owner, xt target REDIRECT" in remark.text


def test_another_tools_chain_tells_whose_a_rule_is_even_by_name() -> None:
    first = next(explain(through_nft(jump="KUBE-X")))
    assert first.told.foreign == "not Istio's: a rule of kube-proxy or kubelet"


def test_the_zone_rule_that_never_meets_an_answer_says_so() -> None:
    roles = {e.rule.text: e.told for e in explain(case("1.12.1/dns").found[0]) if e.table.name == "raw"}
    never = roles["-A PREROUTING -d 10.96.0.10/32 -p udp -m udp --sport 53 -j CT --zone 1"]
    assert "come from 10.96.0.10 and go to the pod, so it never matches" in never.title
    right = case("1.30.3/dns")
    told_now = [e.told.title for e in explain(right.found[0], right.capture) if "--sport 53" in e.rule.text]
    assert told_now
    assert all("between agent and nameserver" in title for title in told_now)


def test_an_excluded_group_is_told_from_the_proxys_own() -> None:
    recorded = case("1.30.3/groups-exclude")
    roles = {
        entry.rule.text.split(" -A ")[-1]: entry.told.role
        for entry in explain(recorded.found[0], recorded.capture)
        if "--gid-owner" in entry.rule.text and "-o lo" not in entry.rule.text
    }
    assert list(roles.values()) == ["loop-guard", "group-excluded", "group-excluded"]


def test_rerouted_and_excluded_interfaces_are_told_apart() -> None:
    recorded = case("1.30.3/kubevirt")
    roles = [e.told.role for e in explain(recorded.found[0], recorded.capture) if e.chain.name == "PREROUTING"]
    assert roles == ["reroute-redirect", "reroute-return", "inbound-jump"]


def test_the_script_of_istio_0_5_is_known() -> None:
    assert [entry.told.role for entry in told(OLD_SCRIPT)] == [
        "inbound-jump", "outbound-jump", "ssh-return", "inbound-all", "old-self-call", "loop-guard",
        "localhost-return", "outbound-all", "redirect-out",
    ]  # fmt: skip


def test_a_guardrail_is_a_leftover_of_istios() -> None:
    found = told(filter_table("INPUT -p tcp -j DROP", "OUTPUT -p udp -j DROP", "INPUT -s 10.0.0.1/32 -j DROP"))
    assert sorted(entry.told.role for entry in found) == ["", "guardrail", "guardrail"]


@pytest.mark.parametrize(
    ("rule", "owner"),
    [
        ("INPUT -j KUBE-FIREWALL", "kube-proxy"),
        ("INPUT -j CILIUM_INPUT", "Cilium"),
        ("INPUT -j cali-INPUT", "Calico"),
        ("FORWARD -j DOCKER-USER", "Docker"),
        ('INPUT -m comment --comment "cilium: any" -j ACCEPT', "Cilium"),
        ("INPUT -j ACCEPT", "does not know"),
    ],
)
def test_other_tools_rules_are_named_as_theirs(rule: str, owner: str) -> None:
    chains = ":KUBE-FIREWALL - [0:0]\n:CILIUM_INPUT - [0:0]\n:cali-INPUT - [0:0]\n:DOCKER-USER - [0:0]\n"
    text = filter_table(rule).replace("*filter\n", f"*filter\n{chains}")
    (entry,) = told(text)
    assert entry.told.title.startswith("not Istio's")
    assert owner in entry.told.title


def test_what_is_not_understood_is_shown_and_said() -> None:
    (entry,) = told(filter_table("INPUT -m mystery --level 3 -j ACCEPT"))
    assert entry.told.opaque == ("-m mystery --level 3",)
    assert "not understood" in entry.told.meaning

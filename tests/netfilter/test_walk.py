"""Walking packets: what a kernel did with 2,758 of them, and the facts that a recording cannot single out."""

import gzip
import json
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from meshctl.netfilter import iproute, iptables_save, nft_json, routing
from meshctl.netfilter import packet as packets
from meshctl.netfilter import walk as engine
from meshctl.netfilter.addresses import address_text, prefix
from meshctl.netfilter.merge import merge
from meshctl.netfilter.model import Ruleset
from meshctl.netfilter.routing import Network
from meshctl.netfilter.verdict import Walk
from meshctl.netfilter.walk import Walker

DEFAULT_ROUTE = routing.Route(4, "main", "unicast", prefix("0.0.0.0/0"), "eth0")
"""The namespaces had it when packets were sent, not yet when the routes were recorded."""
FIXTURES = Path(__file__).parents[2] / "fixtures"


@cache
def recordings() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with gzip.open(FIXTURES / "rules" / "walks.jsonl.gz", "rt") as lines:
        for line in lines:
            one = json.loads(line)
            found[one["case"]].append(one)
    return found


@cache
def case(name: str) -> Walker:
    folder = FIXTURES / "rulesets" / name
    rulesets: list[Ruleset] = []
    for file, family in (("iptables-save.txt", "ipv4"), ("ip6tables-save.txt", "ipv6")):
        if (folder / file).exists():
            rulesets.append(iptables_save.parse((folder / file).read_text(), file, family))  # type: ignore[arg-type]
    if (folder / "nft.json").exists():
        rulesets += nft_json.parse((folder / "nft.json").read_text())
    said = json.loads((FIXTURES / "rules" / "routing.json").read_text())[name]
    addresses = json.loads((folder / "case.json").read_text())["pod_addresses"]
    addresses += ["k6t-eth0=10.0.2.1/24"] if "kubevirt" in name else []
    network = routing.assemble(
        routing.given_addresses(addresses),
        (*iproute.parse_routes(json.dumps(said["route"])), DEFAULT_ROUTE),
        iproute.parse_rules(json.dumps(said["rule"])),
    )
    return engine.walker(merge(rulesets), network)


def hits(result: Walk) -> list[list[object]]:
    return [
        [step.hook, step.family, step.table, step.chain, step.rule]
        for step in result.steps
        if step.matched and step.rule is not None
    ]


@pytest.mark.parametrize("name", sorted(recordings()))
def test_every_recorded_packet_fares_as_in_the_kernel(name: str) -> None:
    for one in recordings()[name]:
        result = case(name).walk(packets.read(one["packet"]))
        told = (result.verdict, result.redirect_port, hits(result))
        assert told == (one["verdict"], one["port"], one["rules"]), one["packet"]
        arrived, arrival = one["arrived"], result.arrival
        if arrived and arrival and arrival.dst is not None:
            assert (arrival.hook, arrival.dport, arrival.mark) == (arrived["hook"], arrived["dport"], arrived["mark"])
            assert address_text(result.packet.version, arrival.dst) == arrived["dst"]


def test_there_are_recordings_of_every_case() -> None:
    assert len(recordings()) == 36
    assert sum(map(len, recordings().values())) == 2758


# --- single facts ------------------------------------------------------------------------------------------------

NETWORK = routing.assemble(routing.given_addresses(["172.17.0.7/16", "fd00::7/64"]))
OUT = {"direction": "outbound", "out": "eth0", "proto": "tcp", "src": "172.17.0.7", "dst": "10.0.0.1", "sport": 40000}
IN = {"direction": "inbound", "in": "eth0", "proto": "tcp", "src": "10.0.0.9", "dst": "172.17.0.7", "sport": 40000}


def go(text: str, base: dict[str, Any], network: Network = NETWORK, **more: Any) -> Walk:
    fields = {**base, "dport": 80, "uid": 1000 if base is OUT else None, "gid": 1000 if base is OUT else None, **more}
    return engine.walk((iptables_save.parse(text),), packets.read(fields), network)


def rules(table: str, *lines: str, chains: tuple[str, ...] = ()) -> str:
    heads = "".join(f":{chain} - [0:0]\n" for chain in chains)
    return f"*{table}\n{heads}" + "".join(f"-A {line}\n" for line in lines) + "COMMIT\n"


@pytest.mark.parametrize(
    ("src", "dst", "verdict", "because"),
    [
        ("172.17.0.7", "172.17.0.7", "dropped", "accept_local is off"),
        ("127.0.0.1", "172.17.0.7", "dropped", "martian source"),
        ("224.0.0.5", "172.17.0.7", "dropped", "martian source"),
        ("255.255.255.255", "172.17.0.7", "dropped", "martian source"),
        ("0.0.0.0", "172.17.0.7", "dropped", "martian source"),
        ("0.0.0.0", "255.255.255.255", "accepted", ""),
        ("10.0.0.9", "224.0.0.1", "accepted", ""),
        ("10.0.0.9", "127.0.0.1", "dropped", "route_localnet is off"),
        ("fd00::7", "fd00::7", "accepted", ""),
        ("ff02::5", "fd00::7", "dropped", "before any rule"),
        ("fd00::9", "::1", "dropped", "before any rule"),
    ],
)
def test_the_kernel_refuses_packets_from_outside_for_their_addresses(
    src: str, dst: str, verdict: str, because: str
) -> None:
    result = go(rules("filter", "INPUT -p tcp"), IN, src=src, dst=dst)
    assert result.verdict == verdict
    assert because in result.dropped_by


@pytest.mark.parametrize("group", ["224.0.0.99", "ff05::5"])
def test_a_packet_to_a_group_that_a_socket_may_have_joined_is_undecided(group: str) -> None:
    result = go("", IN, src="10.0.0.9" if "." in group else "fd00::9", dst=group)
    assert result.verdict == "undecided"
    assert result.undecided_because == f"whether a socket here has joined the group {group}"
    dropped = go(rules("mangle", "PREROUTING -p tcp -j DROP"), IN, dst="224.0.0.99")
    assert dropped.verdict == "dropped"


@pytest.mark.parametrize("group", ["224.0.0.1", "255.255.255.255", "ff02::1"])
def test_no_program_sends_tcp_to_a_group(group: str) -> None:
    src = {} if "." in group else {"src": "fd00::7"}
    note = f"{group} is a multicast or broadcast address"
    assert any(note in one and "ENETUNREACH" in one for one in go("", OUT, dst=group, **src).notes)
    assert not any(note in one for one in go("", OUT, dst=group, proto="udp", **src).notes)
    assert any(note in one and "no listener" in one for one in go("", IN, dst=group, **src).notes)


def test_redirect_in_output_goes_to_loopback_and_prerouting_is_not_asked_again() -> None:
    text = rules("nat", "OUTPUT -p tcp -j REDIRECT --to-ports 15001", "PREROUTING -p tcp -j REDIRECT --to-ports 15006")
    result = go(text, OUT)
    assert (result.verdict, result.redirect_port) == ("redirected", 15001)
    assert [step.action for step in result.steps if step.hook == "PREROUTING"] == ["skip"]
    assert result.arrival is not None
    assert (result.arrival.hook, result.arrival.in_interface, result.arrival.dst) == ("INPUT", "lo", 0x7F000001)


def test_redirect_in_prerouting_goes_to_the_interface_or_drops_where_it_has_no_address() -> None:
    text = rules("nat", "PREROUTING -p tcp -j REDIRECT --to-ports 15006")
    arrival = go(text, IN).arrival
    assert arrival is not None
    assert arrival.dst == 0xAC110007
    bare = routing.assemble((routing.Address("eth0", 6, 7, 64),), complete=True)
    assert go(text, IN, bare).verdict == "dropped"


def test_an_invalid_packet_skips_nat_and_a_stray_ack_does_not() -> None:
    text = rules("nat", "PREROUTING -p tcp -j REDIRECT --to-ports 15006")
    for flags in ("RST", "FIN,ACK", "SYN,FIN", "none", "SYN,ACK"):
        assert go(text, IN, flags=flags).verdict == "accepted", flags
    for flags in ("SYN", "ACK", "ACK,PSH"):
        assert go(text, IN, flags=flags).verdict == "redirected", flags


def test_nat_is_never_asked_while_no_rule_needs_connection_tracking() -> None:
    result = go(rules("nat", "OUTPUT -p tcp -j ACCEPT"), OUT)
    assert hits(result) == []
    assert "connection tracking" in result.steps[0].why
    with_use = rules("nat", "OUTPUT -p tcp -j ACCEPT", "OUTPUT -p udp -j REDIRECT --to-ports 1")
    assert hits(go(with_use, OUT)) == [["OUTPUT", "ip", "nat", "OUTPUT", 1]]


def test_an_untracked_packet_has_no_nat() -> None:
    text = rules("raw", "OUTPUT -p tcp -j CT --notrack") + rules("nat", "OUTPUT -j REDIRECT")
    result = go(text, OUT)
    assert result.verdict == "accepted"
    assert any("not tracked" in step.why for step in result.steps)


@pytest.mark.parametrize(
    ("clause", "verdict"),
    [
        ("! --uid-owner 1337", "dropped"),
        ("--uid-owner 1337", "accepted"),
        ("! --uid-owner 1337 ! --gid-owner 7", "dropped"),
        ("--socket-exists", "accepted"),
    ],
)
def test_a_packet_without_a_socket_matches_negated_owners_only(clause: str, verdict: str) -> None:
    text = rules("filter", f"OUTPUT -m owner {clause} -j DROP")
    assert go(text, OUT, uid=None, gid=None).verdict == verdict


def test_nft_breaks_off_for_a_packet_without_a_socket() -> None:
    left = {"meta": {"key": "skuid"}}
    listing = {
        "nftables": [
            {"table": {"family": "inet", "name": "t", "handle": 1}},
            {"chain": {"family": "inet", "table": "t", "name": "o", "type": "filter", "hook": "output", "prio": 0}},
            {
                "rule": {
                    "family": "inet",
                    "table": "t",
                    "chain": "o",
                    "expr": [{"match": {"op": "!=", "left": left, "right": 1337}}, {"drop": None}],
                }
            },
        ]
    }
    rulesets = nft_json.parse(json.dumps(listing))
    for owner, verdict in ((None, "accepted"), (1000, "dropped"), (1337, "accepted")):
        packet = packets.read({**OUT, "dport": 80, "uid": owner, "gid": owner})
        assert engine.walk(rulesets, packet, NETWORK).verdict == verdict


def test_interfaces_that_a_hook_does_not_have_are_empty() -> None:
    text = rules("filter", "INPUT -j U", "U ! -o lo -j DROP", chains=("U",))
    assert go(text, IN).verdict == "dropped"
    assert go(text.replace("! -o lo", "-o +"), IN).verdict == "dropped"
    assert go(text.replace("! -o lo", "-o lo"), IN).verdict == "accepted"


def test_output_keeps_its_interface_after_a_new_route_and_postrouting_has_the_new_one() -> None:
    text = rules("nat", "OUTPUT -p tcp -j REDIRECT --to-ports 15001") + rules("filter", "OUTPUT -o lo -j DROP")
    assert go(text, OUT).verdict == "redirected"
    text += rules("mangle", "POSTROUTING -o lo -j DROP")
    assert go(text, OUT).verdict == "dropped"


def test_a_mark_routes_anew_and_back_to_this_machine() -> None:
    policy = (*routing.DEFAULT_RULES, routing.PolicyRule(100, "133", mark=0x539))
    every = prefix("0.0.0.0/0")
    routes = (routing.Route(4, "133", "local", every, "lo"), routing.Route(4, "main", "unicast", every, "eth0"))
    network = routing.assemble(
        routing.given_addresses(["172.17.0.7"]), routes, sorted(policy, key=lambda rule: rule.priority)
    )
    text = rules("mangle", "OUTPUT -p tcp -j MARK --set-mark 0x539")
    arrival = go(text, OUT, network).arrival
    assert arrival is not None
    assert (arrival.hook, arrival.in_interface, arrival.mark) == ("INPUT", "lo", 0x539)
    arrival = go(text, OUT).arrival
    assert arrival is not None
    assert arrival.hook == "POSTROUTING"


def test_loopback_does_not_come_in_or_leave() -> None:
    result = go(rules("nat", "PREROUTING -p tcp -j DNAT --to-destination 127.0.0.1:80"), IN)
    assert (result.verdict, "route_localnet" in result.dropped_by) == ("dropped", True)
    text = rules("nat", "OUTPUT -p tcp -j DNAT --to-destination 10.0.0.1:80")
    result = go(text, OUT, src="127.0.0.1", dst="127.0.0.1", out="lo")
    assert (result.verdict, "127.0.0.0/8" in result.dropped_by) == ("dropped", True)


def test_the_first_zone_wins_and_the_second_counts() -> None:
    text = rules("raw", "OUTPUT -j CT --zone 1", "OUTPUT -j CT --zone 2")
    result = go(text, OUT)
    assert [[(change.field, change.new) for change in step.changes] for step in result.steps[:2]] == [
        [("zone", "1")],
        [],
    ]


def test_goto_does_not_come_back() -> None:
    text = rules("filter", "OUTPUT -j A", "OUTPUT -j DROP", "A -g B", "A -j ACCEPT", "B -j RETURN", chains=("A", "B"))
    result = go(text, OUT)
    assert result.verdict == "dropped"
    assert [step.rule for step in result.steps if step.chain == "A"] == [1]


def test_a_policy_is_a_step_of_its_own() -> None:
    result = go("*filter\n:OUTPUT DROP [0:0]\nCOMMIT\n", OUT)
    (step,) = result.steps
    assert (step.rule, step.matched, step.action, result.verdict) == (None, False, "policy drop", "dropped")


def test_tproxy_needs_a_local_route_only_for_addresses_of_others() -> None:
    text = rules("mangle", "PREROUTING -p tcp -j TPROXY --on-port 15006 --tproxy-mark 0x539/0xffffffff")
    result = go(text, IN)
    assert (result.verdict, result.redirect_port) == ("tproxied", 15006)
    assert go(text, IN, proto="icmp", dport=None, sport=None).verdict == "accepted"
    assert go(text, IN, dst="203.0.113.1").verdict == "undecided"


def test_the_later_packets_of_a_connection_get_its_translation() -> None:
    text = rules("nat", "OUTPUT -p tcp -j REDIRECT --to-ports 15001") + rules(
        "mangle", "PREROUTING -d 127.0.0.1 -j ACCEPT"
    )
    result = go(text, OUT, flags="ACK", ctstate="established")
    assert (result.verdict, result.redirect_port) == ("redirected", 15001)
    assert hits(result) == [["PREROUTING", "ip", "mangle", "PREROUTING", 1]]


# --- what cannot be told -----------------------------------------------------------------------------------------


def test_an_unknown_match_is_undecided_and_named_where_it_matters() -> None:
    result = go(rules("nat", "OUTPUT -m novel --thing 1 -p tcp -j REDIRECT --to-ports 15001"), OUT)
    assert result.verdict == "undecided"
    assert "-m novel --thing 1" in (result.undecided_because or "")


def test_an_unknown_match_does_not_matter_where_all_ends_are_alike() -> None:
    text = rules("filter", "OUTPUT -m limit --limit 5/min -j LOG", "OUTPUT -m novel --x -j ACCEPT")
    result = go(text, OUT)
    assert result.verdict == "accepted"
    assert [step.matched for step in result.steps if step.rule] == [None, None]
    text = rules("nat", "OUTPUT -d 1.2.3.4/32 -m novel --x -j DNAT --to-destination 9.9.9.9", "OUTPUT -j REDIRECT")
    assert go(text, OUT).verdict == "redirected"


def test_the_same_question_gets_the_same_answer() -> None:
    text = rules("filter", "OUTPUT -m set --match-set s dst -j DROP", "OUTPUT -m set ! --match-set s dst -j DROP")
    assert go(text, OUT).verdict == "dropped"
    text = text.replace("-m set --match-set s dst", "-m statistic --mode random --probability 0.5")
    assert go(text.replace("-m set ! --match-set s dst", "-m novel --x"), OUT).verdict == "undecided"


def test_an_unknown_target_is_undecided() -> None:
    result = go(rules("filter", "OUTPUT -j NOVEL --x"), OUT)
    assert result.verdict == "undecided"
    assert "`-j NOVEL --x` at filter/OUTPUT rule 1, which is not understood" in (result.undecided_because or "")
    assert go(rules("filter", "OUTPUT -j NFQUEUE --queue-num 1"), OUT).verdict == "undecided"


def test_rules_known_by_name_only_are_undecided() -> None:
    expr = [{"xt": {"type": "match", "name": "owner"}}, {"xt": {"type": "target", "name": "REDIRECT"}}]
    listing = {
        "nftables": [
            {"table": {"family": "ip", "name": "nat", "handle": 1}},
            {
                "chain": {
                    **{"family": "ip", "table": "nat", "name": "OUTPUT", "type": "nat", "hook": "output"},
                    "prio": -100,
                }
            },
            {"rule": {"family": "ip", "table": "nat", "chain": "OUTPUT", "expr": expr}},
        ]
    }
    packet = packets.read({**OUT, "dport": 80, "uid": 1, "gid": 1})
    result = engine.walk(nft_json.parse(json.dumps(listing)), packet, NETWORK)
    assert result.verdict == "undecided"
    assert "xt match owner" in (result.undecided_because or "")


def test_many_open_questions_end() -> None:
    lines = [f"OUTPUT -m novel --n {number} -j LOG" for number in range(30)]
    result = go(rules("filter", *lines), OUT)
    assert result.verdict in ("undecided", "accepted")


def test_both_backends_at_one_priority_are_undecided_where_their_order_matters() -> None:
    one = iptables_save.parse(rules("filter", "OUTPUT -p tcp -j MARK --set-mark 1"), "a", "ipv4", "nft")
    two = iptables_save.parse(rules("filter", "OUTPUT -m mark --mark 1 -j DROP"), "b", "ipv4", "legacy")
    packet = packets.read({**OUT, "dport": 80, "uid": 1, "gid": 1})
    result = engine.walk((one, two), packet, NETWORK)
    assert result.verdict == "undecided"
    assert "comes first" in (result.undecided_because or "")


def test_where_chance_chooses_the_destination_all_are_named() -> None:
    chance = "-m statistic --mode random --probability 0.5"
    text = rules(
        "nat",
        f"OUTPUT -p tcp {chance} -j DNAT --to-destination 10.0.0.2:80",
        "OUTPUT -p tcp -j DNAT --to-destination 10.0.0.3:80",
    )
    result = go(text, OUT)
    assert (result.verdict, result.arrival and result.arrival.dst) == ("accepted", None)
    assert "the destination is one of: 10.0.0.3 port 80, 10.0.0.2 port 80" in result.notes


def test_a_zone_stands_for_a_connection_until_conntrack_runs() -> None:
    text = rules("raw", "OUTPUT -j CT --zone 1", "OUTPUT -m conntrack --ctstate NEW --ctstatus CONFIRMED -j ACCEPT")
    assert [step.matched for step in go(text, OUT).steps if step.rule] == [True, True]
    text = rules("raw", "OUTPUT -m conntrack --ctstate INVALID -j ACCEPT")
    assert [step.matched for step in go(text, OUT).steps if step.rule] == [True]


def test_after_tproxy_the_owner_is_the_listeners_which_no_rule_shows() -> None:
    place = {"family": "inet", "table": "t", "chain": "pre"}
    tcp = {"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "tcp"}}
    root = {"match": {"op": "==", "left": {"meta": {"key": "skgid"}}, "right": 0}}
    listing = [
        {"table": {"family": "inet", "name": "t"}},
        {
            "chain": {
                "family": "inet",
                "table": "t",
                "name": "pre",
                "type": "filter",
                "hook": "prerouting",
                "prio": -150,
            }
        },
        {"rule": {**place, "expr": [tcp, {"tproxy": {"family": "ip", "port": 15006}}]}},
        {"rule": {**place, "expr": [tcp, root, {"drop": None}]}},
    ]
    rulesets = nft_json.parse(json.dumps({"nftables": listing}))
    walker = engine.walker(rulesets, routing.assemble(routing.given_addresses(["172.17.0.7"])))
    said = {"direction": "inbound", "in": "eth0", "family": 4, "proto": "tcp", "src": "10.0.0.1", "dst": "172.17.0.7"}
    result = walker.walk(packets.read({**said, "sport": 4000, "dport": 80}))
    assert result.verdict == "undecided"
    assert "skgid" in str(result.undecided_because)

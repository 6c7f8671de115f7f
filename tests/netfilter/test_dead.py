import pytest

from meshctl.netfilter import iptables_save
from meshctl.netfilter.dead import dead_rules
from meshctl.netfilter.model import Table
from tests.netfilter.rulings import case


def table(*rules: str, name: str = "nat") -> Table:
    chains = {"ISTIO_OUTPUT", "OTHER"}
    text = f"*{name}\n:OUTPUT ACCEPT [0:0]\n" + "".join(f":{chain} - [0:0]\n" for chain in sorted(chains))
    text += "".join(f"-A {rule}\n" for rule in rules) + "COMMIT\n"
    return iptables_save.parse(text, family="ipv4").tables[0]


def dead(*rules: str, name: str = "nat") -> dict[tuple[str, int], tuple[int, ...]]:
    return {place: found.because for place, found in dead_rules(table(*rules, name=name)).items()}


def test_the_gid_rules_on_lo_are_shared_out_by_the_uid_rules() -> None:
    nat = case("1.30.3/default").expected.rulesets[0].table("nat")
    assert nat is not None
    assert {(chain, number) for chain, number in dead_rules(nat)} == {("ISTIO_OUTPUT", 5), ("ISTIO_OUTPUT", 6)}


def test_with_dns_the_gid_redirect_lives_for_tcp_port_53() -> None:
    nat = case("1.30.3/dns").expected.rulesets[0].table("nat")
    assert nat is not None
    assert ("ISTIO_OUTPUT", 5) not in dead_rules(nat)
    assert ("ISTIO_OUTPUT", 6) in dead_rules(nat)


def test_the_second_proxy_user_never_redirects_its_self_calls() -> None:
    nat = case("1.30.3/uids").expected.rulesets[0].table("nat")
    assert nat is not None
    assert dead_rules(nat)[("ISTIO_OUTPUT", 5)].because == (3,)


def test_tproxy_orphans_the_nat_inbound_chain() -> None:
    nat = case("1.30.3/tproxy").expected.rulesets[0].table("nat")
    assert nat is not None
    found = dead_rules(nat)[("ISTIO_INBOUND", 1)]
    assert (found.kind, found.reason) == ("unreachable", "nothing leads to chain ISTIO_INBOUND")


@pytest.mark.parametrize(
    ("first", "second", "is_dead"),
    [
        ("-j RETURN", "-p tcp -j ACCEPT", True),
        ("-p tcp -j RETURN", "-p tcp -m tcp --dport 80 -j ACCEPT", True),
        ("-p tcp -m tcp --dport 80 -j RETURN", "-p tcp -j ACCEPT", False),
        ("-d 10.0.0.0/8 -j RETURN", "-d 10.1.0.0/16 -j ACCEPT", True),
        ("-d 10.1.0.0/16 -j RETURN", "-d 10.0.0.0/8 -j ACCEPT", False),
        ("! -d 10.0.0.0/8 -j RETURN", "-d 11.0.0.0/8 -j ACCEPT", True),
        ("-m owner ! --uid-owner 1 -j RETURN", "-m owner --uid-owner 2 -j ACCEPT", True),
        ("-p tcp -m tcp ! --dport 80 -j RETURN", "-p udp -m udp --dport 81 -j ACCEPT", False),
        ("-p tcp -m multiport --dports 80,90 -j RETURN", "-p tcp -m tcp --dport 90 -j ACCEPT", True),
        ("-m limit --limit 1/sec -j RETURN", "-m limit --limit 1/sec -j ACCEPT", False),
        ("-m whatever --x -j RETURN", "-m whatever --x -j ACCEPT", False),
        ("-o lo+ -j RETURN", "-o lo -j ACCEPT", True),
        ("-m mark --mark 0x1/0x1 -j RETURN", "-m mark --mark 0x3 -j ACCEPT", True),
        ("-m conntrack --ctstate NEW,RELATED -j RETURN", "-m conntrack --ctstate NEW -j ACCEPT", True),
        ("-j LOG", "-j ACCEPT", False),
    ],
)
def test_shadowed_only_where_every_packet_is_taken(first: str, second: str, is_dead: bool) -> None:
    assert (("OUTPUT", 2) in dead(f"OUTPUT {first}", f"OUTPUT {second}")) is is_dead


def test_a_jump_takes_what_its_chain_ends() -> None:
    through = ("OUTPUT -p tcp -j OTHER", "OUTPUT -p tcp -m tcp --dport 80 -j ACCEPT")
    assert ("OUTPUT", 2) in dead(*through, "OTHER -p tcp -j REDIRECT --to-ports 1")
    assert ("OUTPUT", 2) not in dead(*through, "OTHER -p tcp -m tcp --dport 9 -j RETURN", "OTHER -j RETURN")
    assert ("OUTPUT", 2) not in dead(*through, "OTHER -p udp -j ACCEPT")


def test_a_mark_that_changes_in_between_proves_nothing() -> None:
    rules = ("OUTPUT -m mark --mark 0x1 -j RETURN", "OUTPUT -j MARK --set-xmark 0x1/0xffffffff",
             "OUTPUT -m mark --mark 0x1 -j ACCEPT")  # fmt: skip
    assert ("OUTPUT", 3) not in dead(*rules, name="mangle")


def test_conditions_that_exclude_each_other_never_match() -> None:
    assert ("OUTPUT", 1) in dead("OUTPUT -m owner --uid-owner 1 -m owner ! --uid-owner 1 -j ACCEPT")

"""Addresses, routes and policy rules."""

import json

import pytest

from meshctl.errors import BadInput
from meshctl.netfilter import iproute, routing
from meshctl.netfilter.addresses import address_number, prefix

RULES = [
    {"priority": 0, "src": "all", "table": "local"},
    {"priority": 100, "src": "all", "fwmark": "0x111", "fwmask": "0xfff", "table": "100"},
    {"priority": 32766, "src": "all", "table": "main"},
]
ROUTES = [
    {"dst": "default", "gateway": "10.0.0.1", "dev": "eth0", "flags": []},
    {"dst": "10.0.0.0/24", "dev": "eth0", "prefsrc": "10.0.0.7"},
    {"type": "local", "dst": "10.0.0.7", "dev": "eth0", "table": "local", "prefsrc": "10.0.0.7"},
    {"type": "local", "dst": "default", "dev": "lo", "table": "100"},
    {"type": "blackhole", "dst": "10.9.0.0/16"},
    {"dst": "default", "gateway": "fe80::1", "dev": "eth1", "metric": 1024, "pref": "medium"},
]


def network() -> routing.Network:
    routes = iproute.parse_routes(json.dumps(ROUTES))
    return routing.assemble((), routes, iproute.parse_rules(json.dumps(RULES)))


def way(address: str, **more: int) -> tuple[str, str]:
    version, number = address_number(address)
    found = routing.lookup(network(), version, number, **more)  # type: ignore[arg-type]
    return found.kind, found.device


def test_lookup() -> None:
    assert way("10.0.0.7") == ("local", "eth0")
    assert way("127.9.9.9") == ("local", "lo")
    assert way("10.0.0.9") == ("unicast", "eth0")
    assert way("8.8.8.8") == ("unicast", "eth0")
    assert way("10.9.1.1") == ("blackhole", "")
    assert way("8.8.8.8", mark=0x5111) == ("local", "lo")
    assert way("2001:db8::1") == ("unicast", "eth1")


def test_ipv6_takes_the_marks_of_ipv4_whose_table_it_has() -> None:
    assert [rule.table for rule in network().rules6] == ["local", "main", "default"]
    routes = iproute.parse_routes(json.dumps([*ROUTES, {"type": "local", "dst": "::/0", "dev": "lo", "table": "100"}]))
    both = routing.assemble((), routes, iproute.parse_rules(json.dumps(RULES)))
    assert "100" in [rule.table for rule in both.rules6]


def test_what_is_assumed_is_said() -> None:
    bare = routing.assemble(routing.given_addresses(["172.17.0.7", "eth1=fd00::7/64"]))
    assert len(bare.assumed) == 2
    found = routing.lookup(bare, 4, address_number("8.8.8.8")[1])
    assert (found.kind, found.device) == ("unicast", "eth0")
    assert bare.primary(6, "eth1") == routing.Address("eth1", 6, address_number("fd00::7")[1], 64)


def test_a_selector_that_is_not_judged_makes_the_way_unsure() -> None:
    rules = iproute.parse_rules(json.dumps([{"priority": 5, "src": "all", "uid_start": 1, "table": "7"}, *RULES]))
    odd = routing.assemble((), iproute.parse_routes(json.dumps(ROUTES)), rules)
    assert "uid_start" in routing.lookup(odd, 4, 1).unsure


def test_addresses() -> None:
    text = json.dumps([{"ifname": "eth0", "addr_info": [{"local": "10.0.0.7", "prefixlen": 24}, {"local": "fe80::7"}]}])
    found = iproute.parse_addresses(text)
    assert [str(one) for one in found] == ["10.0.0.7", "fe80::7"]
    known = routing.assemble(found, complete=True)
    assert routing.address_kind(known, 4, address_number("10.0.0.7")[1]) == "local"
    assert routing.address_kind(known, 4, prefix("224.0.0.1").address) == "multicast"


@pytest.mark.parametrize("text", ["{", "{}", "[1]", '[{"dst": "nonsense"}]'])
def test_bad_routes(text: str) -> None:
    with pytest.raises(BadInput, match=r"ip-route\.json"):
        iproute.parse_routes(text)


def test_bad_addresses() -> None:
    with pytest.raises(BadInput, match="is not an address"):
        routing.given_addresses(["reviews"])

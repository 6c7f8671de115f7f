"""What kube-proxy's rules choose: recorded in iptables mode, listed by nft in nftables mode."""

from functools import cache
from pathlib import Path

import pytest

from meshctl.kube.node_dump import NodeDump
from meshctl.kube.proxy_rules import decide, evidence, is_kube_proxy
from meshctl.netfilter import iptables_save, nft_json
from meshctl.netfilter.model import Ruleset
from meshctl.sources import snapshot

FIXTURES = Path(__file__).parent.parent.parent / "fixtures"


@cache
def dump() -> str:
    world = snapshot.open_snapshot(str(FIXTURES / "trace" / "policies.tar.gz"))
    return (world.node_part("minikube", "netns/iptables-save.txt").content or b"").decode()


@cache
def iptables() -> tuple[Ruleset, ...]:
    return (iptables_save.parse(dump(), "node"),)


@cache
def nftables() -> tuple[Ruleset, ...]:
    return nft_json.parse((FIXTURES / "kube-proxy" / "nft.json").read_text(), "nft.json")


def test_a_cluster_ip_is_shared_evenly_among_its_endpoints() -> None:
    found = decide(iptables(), "10.106.33.104", 9080, source="172.17.0.111")
    assert found.mode == "iptables"
    assert {(c.address, c.port) for c in found.choices} == {(f"172.17.0.{n}", 9080) for n in (113, 114, 115, 116)}
    assert all(c.probability == pytest.approx(0.25, abs=1e-6) for c in found.choices)
    assert any("KUBE-SEP-" in text for _, text in evidence(found))


def test_no_endpoints_is_refused() -> None:
    assert decide(iptables(), "10.102.156.183", 8080).refused
    assert decide(nftables(), "10.102.156.183", 8080).refused


def test_a_node_port_leads_through_the_external_chain() -> None:
    for rulesets in (iptables(), nftables()):
        found = decide(rulesets, "192.168.49.2", 30440, to_node=True)
        assert [(c.address, c.port) for c in found.choices] == [("172.17.0.76", 8080)]


def test_an_address_that_is_no_service_meets_no_rule() -> None:
    for rulesets in (iptables(), nftables()):
        assert decide(rulesets, "10.99.99.99", 80).matched is None


def test_nftables_chooses_by_a_random_number() -> None:
    found = decide(nftables(), "10.100.54.95", 9080, source="172.17.0.111")
    assert found.mode == "nft"
    assert [(c.address, c.probability) for c in found.choices] == [("172.17.0.86", 0.5), ("172.17.0.99", 0.5)]


def test_nftables_refuses_a_port_that_a_service_does_not_have() -> None:
    assert decide(nftables(), "10.100.54.95", 1).refused
    assert decide(iptables(), "10.106.33.104", 1).matched is None


def test_the_mode_is_recognised() -> None:
    assert is_kube_proxy(iptables()) == "iptables"
    assert is_kube_proxy(nftables()) == "nft"
    assert is_kube_proxy(()) == ""


@pytest.mark.parametrize(("address", "port"), [("10.106.33.104", 9080), ("10.102.156.183", 8080), ("10.99.99.99", 1)])
def test_the_part_of_a_dump_decides_as_the_whole_does(address: str, port: int) -> None:
    part = iptables_save.parse(NodeDump(dump()).about(address), "node")
    whole = decide(iptables(), address, port)
    found = decide((part,), address, port)
    assert [(c.address, c.port, c.probability) for c in found.choices] == [
        (c.address, c.port, c.probability) for c in whole.choices
    ]
    assert (found.matched and found.matched.origin) == (whole.matched and whole.matched.origin)
    assert len(list(part.rules)) < len(list(iptables()[0].rules)) / 5

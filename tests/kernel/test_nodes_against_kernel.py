"""What nodes make of connections of their own networks, as traces predict it, put to two nodes made of namespaces."""

import os
import shutil
from pathlib import Path

import pytest

from tests.kernel.nodes import Nodes
from tests.path import test_node_own_network as predicted
from tests.path.test_node_own_network import Case

TOOLS = ("ip", "iptables-nft-restore")
pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
    pytest.mark.skipif(any(shutil.which(tool) is None for tool in TOOLS), reason="needs iproute2 and iptables"),
]


def told(cases: list[Case]) -> list[tuple[str, str]]:
    """The rules with how a connection ends, where that is predicted."""
    return [(rules, broken or "connected to") for rules, (delivered, broken) in cases if delivered is not None]


def check(nodes: Nodes, sender: str, address: str, port: int, wanted: str) -> None:
    """Compare how a connection ends; a busy machine may be late, so only for silence it is not waited long."""
    seen = nodes.ends(sender, address, port, patience=0.5 if wanted == "timeout" else 3)
    assert seen.startswith(wanted), seen


@pytest.mark.parametrize(("address", "port"), [("192.168.0.1", 9100), ("10.96.0.6", 80)])
@pytest.mark.parametrize(("rules", "wanted"), told(predicted.TO_THE_NODE))
def test_from_a_pod_to_its_node(nodes: Nodes, rules: str, wanted: str, address: str, port: int) -> None:
    assert nodes.load(rules) == ""
    check(nodes, "client", address, port, wanted)


@pytest.mark.parametrize(("rules", "wanted"), told(predicted.FROM_THE_NODE))
def test_from_the_node_to_a_pod_of_another(nodes: Nodes, rules: str, wanted: str) -> None:
    assert nodes.load(rules) == ""
    check(nodes, "one", "10.0.1.7", 8080, wanted)


@pytest.mark.parametrize(("rules", "wanted"), told(predicted.TO_ITSELF))
def test_from_the_node_to_itself(nodes: Nodes, rules: str, wanted: str) -> None:
    assert nodes.load(rules) == ""
    check(nodes, "one", "192.168.0.1", 9100, wanted)


@pytest.mark.parametrize("sender", ["far", "two"])
@pytest.mark.parametrize(("rules", "wanted"), told(predicted.FROM_ANOTHER))
def test_from_another_node(nodes: Nodes, rules: str, wanted: str, sender: str) -> None:
    assert nodes.load(rules) == ""
    check(nodes, sender, "192.168.0.1", 9100, wanted)


@pytest.mark.parametrize(("rules", "let_in"), predicted.FIREWALLS)
def test_through_a_firewall(nodes: Nodes, rules: str, let_in: bool) -> None:
    assert nodes.load(rules) == ""
    check(nodes, "client", "192.168.0.1", 9100, "connected to 9100" if let_in else "timeout")
    check(nodes, "one", "192.168.0.1", 9100, "connected to 9100")


@pytest.mark.parametrize(("sender", "called"), [("client", "timeout"), ("two", "refused")])
def test_a_reset_of_reject_does_not_find_back_over_a_bridge(nodes: Nodes, sender: str, called: str) -> None:
    """Where br_netfilter is on: the node's pods are behind a bridge, the other node is not."""
    assert not nodes.load(predicted.node(predicted.DROPS.replace("DROP", "REJECT --reject-with tcp-reset")))
    check(nodes, sender, "192.168.0.1", 9100, "refused")
    if sender == "two":
        nodes.ip("two", "route replace 10.96.0.6 via 192.168.0.1")
    over = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    bridged = over.exists() and over.read_text().strip() == "1"
    check(nodes, sender, "10.96.0.6", 80, called if bridged else "refused")

"""Predicted rules in a real kernel: it takes them, and lists what was predicted."""

import os
import shutil

import pytest

from meshctl.netfilter.capture import Network
from meshctl.netfilter.capture_ambient import of_ambient
from meshctl.netfilter.capture_flags import of_arguments
from meshctl.netfilter.drift import compare
from meshctl.netfilter.expected import Expected, predict
from meshctl.netfilter.expected_sidecar import Plan, Shape, sidecar
from meshctl.netfilter.model import Ruleset
from meshctl.netfilter.release import LATEST, Release
from meshctl.netfilter.spell_save import save_text
from tests.kernel.lab import Lab
from tests.netfilter.test_writable import REFUSED, TAKEN

TOOLS = ("ip", "nft", "iptables-nft-restore", "ip6tables-nft-restore")
pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
    pytest.mark.skipif(any(shutil.which(tool) is None for tool in TOOLS), reason="needs iproute2, nft, iptables"),
]
BYPASS = {"ambient.istio.io/bypass-inbound-capture": "true"}
REROUTE = {"istio.io/reroute-virtual-interfaces": "virt0,virt1"}
NETWORK = Network(("10.0.0.7", "fd00::7"), ("10.96.0.10", "fd00:96::a"))
SIDECARS = {
    "default": ("-i", "*", "-b", "*", "-x", "", "-d", "15090,15021,15020"),
    "tproxy": ("-i", "*", "-b", "*", "-m", "TPROXY", "-d", "15021"),
    "lists": ("-i", "10.0.0.0/8,fd00::/8", "-x", "10.1.0.0/16", "-b", "80,443", "-q", "9000", "-o", "22,53"),
    "interfaces": ("-i", "*", "-b", "*", "-c", "eth9", "-k", "virt0,virt1"),
    "dns": ("-i", "*", "-b", "*", "--redirect-dns"),
    "dns of all": ("-i", "*", "-b", "*", "--redirect-dns", "--capture-all-dns", "-u", "1337,1000"),
}


def held(lab: Lab, expected: Expected) -> tuple[Ruleset, ...]:
    """What the kernel lists once it was given the prediction."""
    lab.clear()
    if expected.native:
        complaint = lab.load(expected.text("nft.txt"))
    else:
        complaint = lab.restore(expected.text("iptables-save.txt"), expected.text("ip6tables-save.txt"))
    assert complaint == ""
    return lab.rulesets()


def rules(rulesets: tuple[Ruleset, ...]) -> list[tuple[str, str, str, str]]:
    return sorted(
        (ruleset.family, table.name, f"{chain.name} {number}", rule.text)
        for ruleset in rulesets
        for table, chain, number, rule in ruleset.rules
    )


@pytest.mark.parametrize("annotations", [{}, BYPASS, REROUTE, BYPASS | REROUTE])
@pytest.mark.parametrize("dns", ["true", "false"])
@pytest.mark.parametrize(("release", "native"), [((1, 22), False), ((1, 24), False), ((1, 30), False), ((1, 30), True)])
def test_ambient(lab: Lab, release: tuple[int, int], native: bool, dns: str, annotations: dict[str, str]) -> None:
    written_by = Release(*release)
    capture = of_ambient(annotations, written_by, {"AMBIENT_DNS_CAPTURE": dns}, native_nftables=native)
    expected = predict(capture, written_by, Network())
    found = held(lab, expected)
    assert compare(expected, found).in_sync
    assert rules(found) == rules(expected.rulesets)


@pytest.mark.parametrize("name", SIDECARS)
@pytest.mark.parametrize("minor", [12, 16, 19, 22, 24, 26, 30])
def test_sidecar(lab: Lab, name: str, minor: int) -> None:
    release = Release(1, minor)
    arguments = [word for word in SIDECARS[name] if minor >= 15 or word not in ("-c", "eth9")]
    env = {"ISTIO_DUAL_STACK": "true", "INVALID_DROP": "true"}
    expected = predict(of_arguments(arguments, env, release), release, NETWORK)
    found = held(lab, expected)
    assert compare(expected, found).in_sync
    assert rules(found) == rules(expected.rulesets)


@pytest.mark.parametrize("name", SIDECARS)
def test_native_sidecar(lab: Lab, name: str) -> None:
    release = Release(1, 30)
    arguments = (*SIDECARS[name], "--native-nftables")
    env = {"ISTIO_DUAL_STACK": "true", "INVALID_DROP": "true"}
    expected = predict(of_arguments(arguments, env, release), release, NETWORK)
    found = held(lab, expected)
    assert compare(expected, found).in_sync
    assert rules(found) == rules(expected.rulesets)


@pytest.mark.parametrize("args", [args for args, _ in REFUSED if "-m" not in args], ids="".join)
def test_arguments_that_are_refused_are_refused_by_iptables(lab: Lab, args: list[str]) -> None:
    plan = Plan(of_arguments(args, {}, LATEST), Shape(LATEST), (4,), (), dns=False)
    lab.clear()
    assert lab.restore(save_text(sidecar(plan), 4), "") != ""


@pytest.mark.parametrize("args", [args for args, _ in TAKEN], ids="".join)
def test_ports_and_users_are_held_as_predicted(lab: Lab, args: list[str]) -> None:
    capture = of_arguments(args, {}, LATEST)
    plan = Plan(capture, Shape(LATEST), (4,), (), dns=False)
    lab.clear()
    assert lab.restore(save_text(sidecar(plan), 4), "") == ""
    assert rules(lab.rulesets()) == rules(predict(capture, LATEST).rulesets)

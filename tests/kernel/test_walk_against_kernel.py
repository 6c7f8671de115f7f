"""The walk against a real kernel: rules hit (by their counters) and fate of hand-made packets.

``--kernel-cases N`` (or MESHCTL_KERNEL_CASES) sets how many rulesets of each kind are made; five packets each.
"""

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, currently_in_test_context, event, given, settings
from hypothesis import strategies as st

from meshctl.netfilter import iptables_save, iptables_text
from meshctl.netfilter import packet as packets
from meshctl.netfilter import walk as engine
from meshctl.netfilter.addresses import address_text
from meshctl.netfilter.model import Ruleset
from meshctl.netfilter.routing import lookup
from meshctl.netfilter.verdict import Walk
from tests.kernel import rulesets as made
from tests.kernel.lab import Lab, Place, Snapshot

TOOLS = ("ip", "nft", "iptables-nft-restore", "ip6tables-nft-restore", "conntrack")
pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
    pytest.mark.skipif(any(shutil.which(tool) is None for tool in TOOLS), reason="needs iproute2, nft, iptables"),
]
CASES = int(os.environ.get("MESHCTL_KERNEL_CASES", "30"))
searching = settings(
    max_examples=CASES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate, Phase.shrink) if CASES <= 100 else (Phase.generate,),
)


def _no_legacy() -> str:
    """Why the kernel or the machine has no legacy iptables; empty where it has."""
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("iptables-legacy-restore") is None:
        return "no root, no unshare or no iptables-legacy-restore"
    argv = ["unshare", "--net", "iptables-legacy-restore"]
    done = subprocess.run(argv, input="*raw\nCOMMIT\n*nat\nCOMMIT\n", text=True, capture_output=True, check=False)
    return done.stderr.strip()


NO_LEGACY = _no_legacy()


@pytest.fixture(scope="module")
def legacy() -> Iterator[Lab]:
    built = Lab("legacy")
    try:
        yield built
    finally:
        built.close()


def complete(lab: Lab, packet: dict[str, Any]) -> dict[str, Any]:
    """The packet with a source port of its own and the interface that routing chooses."""
    number = lab.next_port()
    whole = {**packet, "sport": number if "dport" in packet else None, "id": number}
    if packet["direction"] == "outbound":
        read = packets.read(whole)
        way = lookup(lab.network, read.version, read.dst, source=read.src, mark=read.mark)
        whole["out"] = "lo" if way.kind == "local" else way.device
    return whole


def predicted(result: Walk) -> Counter[Place]:
    return Counter(
        (step.family, step.table, step.chain, step.rule)
        for step in result.steps
        if step.matched and step.rule is not None
    )


def rejected(walker: engine.Walker, result: Walk) -> bool:
    """Whether a REJECT ended the packet."""
    if result.verdict != "dropped":
        return False
    last = next((step for step in reversed(result.steps) if step.matched), None)
    return last is not None and last.action.startswith("reject")


def difference(lab: Lab, walker: engine.Walker, packet: dict[str, Any], before: Snapshot) -> tuple[str, Snapshot]:
    """In what the kernel and the walk differ on one packet; empty where they agree."""
    whole = complete(lab, packet)
    result = walker.walk(packets.read(whole))
    if currently_in_test_context():
        event(f"verdict {result.verdict}")
    seen, after = lab.send(whole, before)
    other = "ip6" if result.packet.version == 4 else "ip"
    hits = Counter({place: count for place, count in seen.hits.items() if place[0] != other})
    if result.verdict == "undecided":
        if "meta sk" in (result.undecided_because or ""):
            # After tproxy the packet has the listener's socket, whose owner no rule shows.
            return "", after
        return f"undecided: {result.undecided_because}", after
    if rejected(walker, result):
        # The error that the kernel sends back meets rules of its own: those of the packet have to be among them.
        missed = predicted(result) - hits
        return (f"rules missed: {dict(missed)}" if missed or seen.where is not None else ""), after
    if hits != predicted(result):
        return (
            f"rules hit: kernel {dict(hits - predicted(result))}, walk {dict(predicted(result) - hits)}",
            after,
        )
    arrival = result.arrival
    assert arrival is not None
    end = "gone" if result.verdict == "dropped" else arrival.hook
    if end != seen.end:
        return f"end: kernel {seen.end}, walk {end} ({result.verdict}, {result.dropped_by})", after
    if seen.where is not None and arrival.dst is not None:
        interface = arrival.in_interface if end == "INPUT" else arrival.out_interface
        address = address_text(result.packet.version, arrival.dst)
        if (interface, address, arrival.dport, arrival.mark) != seen.where:
            return f"arrived: kernel {seen.where}, walk {(interface, address, arrival.dport, arrival.mark)}", after
    return "", after


def check(lab: Lab, sent: list[dict[str, Any]], text: str) -> None:
    walker = engine.walker(lab.rulesets(), lab.network)
    before = lab.snapshot()
    for packet in sent:
        # The kernel's own packets (neighbour discovery, MLD) meet the rules too: what differs has to differ every time.
        for _ in range(ATTEMPTS):
            problem, before = difference(lab, walker, packet, before)
            if not problem:
                break
        assert not problem, f"{problem}\n{packet}\n{text}"


ATTEMPTS = 4
PACKETS = st.lists(made.packets(), min_size=5, max_size=5)


@given(four=made.iptables_ruleset(4), six=made.iptables_ruleset(6), sent=PACKETS)
@searching
def test_iptables_rules_do_as_the_walk_says(lab: Lab, four: Ruleset, six: Ruleset, sent: list[dict[str, Any]]) -> None:
    lab.clear()
    text4, text6 = iptables_text.emit(four, counters=True), iptables_text.emit(six, counters=True)
    complaint = lab.restore(text4, text6)
    assume(not complaint)
    check(lab, sent, text4 + text6)


@pytest.mark.skipif(bool(NO_LEGACY), reason=f"the legacy backend does not work here: {NO_LEGACY}")
@given(four=made.iptables_ruleset(4), six=made.iptables_ruleset(6), sent=PACKETS)
@searching
def test_rules_of_the_legacy_backend_do_as_the_walk_says(
    legacy: Lab, four: Ruleset, six: Ruleset, sent: list[dict[str, Any]]
) -> None:
    legacy.clear()
    text4, text6 = iptables_text.emit(four, counters=True), iptables_text.emit(six, counters=True)
    complaint = legacy.restore(text4, text6)
    assume(not complaint)
    check(legacy, sent, text4 + text6)


FROM_OUTSIDE = (
    ("172.17.0.7", "172.17.0.7"),
    ("127.0.0.1", "172.17.0.7"),
    ("224.0.0.5", "172.17.0.7"),
    ("255.255.255.255", "172.17.0.7"),
    ("0.0.0.5", "172.17.0.7"),
    ("10.0.0.9", "224.0.0.1"),
    ("127.0.0.1", "224.0.0.1"),
    ("fd00:10::7", "fd00:10::7"),
    ("ff02::5", "fd00:10::7"),
    ("2001:db8::9", "::1"),
)


def test_packets_with_odd_addresses_from_outside_do_as_the_walk_says(lab: Lab) -> None:
    lab.clear()
    text = "*mangle\n-A PREROUTING -p tcp\n-A INPUT -p tcp\n-A FORWARD -p tcp\nCOMMIT\n"
    assert lab.restore(text, text) == ""
    device = next(line.partition("@")[0] for line in lab.world.run("ip", "-br", "link").splitlines() if "@" in line)
    lab.world.run("ip", "route", "replace", "224.0.0.0/4", "dev", device)
    base = {"direction": "inbound", "in": "eth0", "proto": "tcp", "dport": 80, "flags": "SYN"}
    sent = [{**base, "family": 6 if ":" in dst else 4, "src": src, "dst": dst} for src, dst in FROM_OUTSIDE]
    check(lab, sent, text)


@given(script=made.nft_tables(), sent=PACKETS)
@searching
def test_nft_rules_do_as_the_walk_says(lab: Lab, script: str, sent: list[dict[str, Any]]) -> None:
    lab.clear()
    complaint = lab.load(script)
    assume(not complaint)
    check(lab, sent, script)


def test_what_is_emitted_is_what_iptables_restore_takes(lab: Lab) -> None:
    lab.clear()
    rule = '-A OUTPUT -p tcp -m comment --comment "it\'s" -j REDIRECT --to-ports 15001'
    text = f"*nat\n:OUTPUT ACCEPT [0:0]\n{rule}\nCOMMIT\n"
    assert lab.restore(iptables_text.emit(iptables_save.parse(text))) == ""


def test_recorded_rules_are_taken_back_as_they_are_emitted(lab: Lab, fixtures: Path) -> None:
    for folder in sorted((fixtures / "rulesets").glob("*/*")):
        texts = [folder / "iptables-save.txt", folder / "ip6tables-save.txt"]
        if not texts[0].exists():
            continue
        lab.clear()
        four, six = (
            iptables_text.emit(iptables_save.parse(text.read_text())) if text.exists() else "" for text in texts
        )
        assert lab.restore(four, six) == "", folder.name
        held = {ruleset.family: ruleset for ruleset in lab.rulesets() if ruleset.backend == "nft"}
        wanted = iptables_save.parse(texts[0].read_text())
        for _, _, _, rule in wanted.rules:
            assert rule.text in {one.text for _, _, _, one in held["ipv4"].rules}

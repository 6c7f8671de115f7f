"""Connections past rules made at random: how the kernel ends them, and how that is predicted.

Both ways and behind the first packets: the client has to get what the listener sends. A quarter of
MESHCTL_KERNEL_CASES says how many rulesets of each kind are made.
"""

import json
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, assume, event, given, settings
from hypothesis import strategies as st

from meshctl.gather import trace as gather
from meshctl.gather.scope import Scope
from meshctl.path import rules as pod_rules
from meshctl.path.passage import Passage
from meshctl.path.scene import Owner
from meshctl.sources.snapshot import open_snapshot
from tests.kernel.nodes import Nodes
from tests.path import test_node_own_network as node_network
from tests.path.made import Mesh, plain, pod
from tests.path.test_inside_the_pod import ISTIO

TOOLS = ("ip", "iptables-nft-restore")
pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
    pytest.mark.skipif(any(shutil.which(tool) is None for tool in TOOLS), reason="needs iproute2 and iptables"),
]
searching = settings(
    max_examples=max(1, int(os.environ.get("MESHCTL_KERNEL_CASES", "20")) // 4),
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),
)
HOOKS = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
}
TARGETS = {
    "raw": ("DROP", "ACCEPT", "CT --notrack", "MARK --set-xmark 0x1/0x1"),
    "mangle": ("DROP", "ACCEPT", "RETURN", "MARK --set-xmark 0x1/0x1", "MARK --set-xmark 0x2/0x3"),
    "filter": ("DROP", "DROP", "ACCEPT", "ACCEPT", "RETURN", "REJECT", "REJECT --reject-with tcp-reset"),
}
PORTS = ("--dport", "--sport")
FLAGS = ("--tcp-flags SYN,ACK SYN", "--tcp-flags SYN,ACK SYN,ACK", "--tcp-flags SYN,ACK ACK")
STATES = ("NEW", "ESTABLISHED", "RELATED,ESTABLISHED", "INVALID", "DNAT", "SNAT", "NEW,ESTABLISHED", "UNTRACKED")
TRACKED = ("--ctstatus SEEN_REPLY", "--ctstatus ASSURED", "--ctdir ORIGINAL", "--ctdir REPLY")


def _maybe_not(text: str, *values: str) -> st.SearchStrategy[str]:
    """A clause with one of some values, negated or not; a `!` of the text says where that is written."""
    return st.tuples(st.sampled_from(("", "! ")), st.sampled_from(values)).map(
        lambda drawn: f"{text.replace('!', drawn[0])} {drawn[1]}"
    )


@st.composite
def rule(draw: st.DrawFn, table: str, addresses: tuple[str, ...], ports: tuple[str, ...], owners: bool) -> str:
    """A rule as iptables-save writes it, of clauses that hold for some of the packets."""
    hook = draw(st.sampled_from(HOOKS[table]))
    sending = hook in ("OUTPUT", "POSTROUTING")
    clauses = {
        "source": _maybe_not("!-s", *addresses),
        "destination": _maybe_not("!-d", *addresses),
        "device": _maybe_not("!-o" if sending else "!-i", "lo", "eth0", "cbr0"),
        "ports": st.sampled_from([f"-p tcp -m tcp {side} {port}" for side in PORTS for port in ports]),
        "flags": st.sampled_from([f"-p tcp -m tcp {flags}" for flags in FLAGS]),
        "mark": _maybe_not("-m mark !--mark", "0x1/0x1", "0x2/0x2"),
        "kind": _maybe_not("-m addrtype !--dst-type", "LOCAL", "UNICAST"),
    }
    if table != "raw":
        clauses["state"] = _maybe_not("-m conntrack !--ctstate", *STATES)
        clauses["tracked"] = st.sampled_from([f"-m conntrack {tracked}" for tracked in TRACKED])
    if owners and sending:
        clauses["owner"] = _maybe_not("-m owner !--uid-owner", "1337", "1000")
    kinds = draw(st.lists(st.sampled_from(sorted(clauses)), min_size=1, max_size=3, unique=True))
    assume(not {"ports", "flags"} <= set(kinds))
    target = draw(st.sampled_from(TARGETS[table]))
    drawn = [draw(clauses[kind]) for kind in kinds]
    if "tcp-reset" in target and not any("-p tcp" in clause for clause in drawn):
        drawn.insert(0, "-p tcp")
    return f"{hook} {' '.join(drawn)} -j {target}"


@st.composite
def tables(draw: st.DrawFn, addresses: tuple[str, ...], ports: tuple[str, ...], owners: bool) -> dict[str, list[str]]:
    """Rules by table; most have a filter table alone."""
    more = draw(st.sampled_from(((), (), ("mangle",), ("raw",), ("raw", "mangle"))))
    return {
        table: draw(st.lists(rule(table, addresses, ports, owners), min_size=1, max_size=4))
        for table in ("filter", *more)
    }


def written(table: str, rules: list[str], policies: str = "") -> str:
    """A table in the words of iptables-save; `policies` are the hooks that drop by default."""
    chains = "".join(f":{hook} {'DROP' if hook in policies.split() else 'ACCEPT'} [0:0]\n" for hook in HOOKS[table])
    return f"*{table}\n{chains}{''.join(f'-A {text}{chr(10)}' for text in rules)}COMMIT\n"


dropping = st.sampled_from(("", "", "INPUT", "OUTPUT", "FORWARD", "INPUT OUTPUT"))


# --- a node -----------------------------------------------------------------------------------------------------------

ON_NODES = ("10.0.0.5", "10.0.1.7", "192.168.0.1", "192.168.0.2", "10.96.0.6", "10.0.0.0/16", "192.168.0.0/24")
NODE_PORTS = ("9100", "8080", "80", "32768:60999", "40000:65000", "50000")
FLOWS = (
    *(("client", "client", target) for target in ("192.168.0.1:9100", "10.96.0.6:80", "10.0.1.7:8080", "10.96.0.7:80")),
    *(("agent", "one", target) for target in ("192.168.0.1:9100", "10.96.0.6:80", "10.0.1.7:8080", "10.96.0.7:80")),
    *((sender, place, "192.168.0.1:9100") for sender, place in (("far", "far"), ("other", "two"))),
)
"""The sender, the namespace that it is in, and whom it calls."""


@searching
@given(made=tables(ON_NODES, NODE_PORTS, owners=False), policies=dropping)
def test_past_the_rules_of_nodes(nodes: Nodes, made: dict[str, list[str]], policies: str) -> None:
    others = "".join(written(table, rules) for table, rules in made.items() if table != "filter")
    text = others + node_network.node(*made["filter"], policy="DROP", of=policies)
    assume(not nodes.load(text))
    with ThreadPoolExecutor(len(FLOWS)) as pool:
        seen = list(pool.map(lambda flow: nodes.ends(flow[1], *_place(flow[2])), FLOWS))
    for flow, ended in zip(FLOWS, seen, strict=True):
        with tempfile.TemporaryDirectory() as folder:
            end = node_network.traced(Path(folder), text, flow[2], flow[0]).outcome.end
        said = "" if end.delivered is None else "connected" if end.delivered else end.broken
        event(f"predicted {said or 'nothing'}")
        if said and not ended.startswith(said):  # a busy machine may be late
            ended = nodes.ends(flow[1], *_place(flow[2]), patience=3)
        assert not said or ended.startswith(said), (flow, ended, end.why)


def _place(target: str) -> tuple[str, int]:
    address, _, port = target.partition(":")
    return address, int(port)


# --- a pod ------------------------------------------------------------------------------------------------------------

IN_PODS = ("10.0.0.5", "10.0.1.7", "127.0.0.1", "127.0.0.6", "10.0.0.0/16", "127.0.0.0/8", "0.0.0.0/0")
POD_PORTS = ("8080", "15001", "15006", "32768:60999", "40000:65000")
CALLS = (
    ("an application calls out", "client", 1000, "10.0.1.7", ""),
    ("the proxy calls out", "client", 1337, "10.0.1.7", ""),
    ("an application calls its own pod", "client", 1000, "10.0.0.5", ""),
    ("an application calls itself", "client", 1000, "127.0.0.1", ""),
    ("the proxy calls its application", "client", 1337, "10.0.0.5", "127.0.0.6"),
    ("somebody calls the pod", "far", 0, "10.0.0.5", ""),
)
"""What happens, in which namespace, as whom, whom it calls on port 8080, and from which address."""
ADDRESSES = [
    {"ifname": "lo", "addr_info": [{"family": "inet", "local": "127.0.0.1", "prefixlen": 8}]},
    {"ifname": "eth0", "addr_info": [{"family": "inet", "local": "10.0.0.5", "prefixlen": 24}]},
]
ROUTES = [
    {"dst": "default", "gateway": "10.0.0.1", "dev": "eth0"},
    {"dst": "10.0.0.0/24", "dev": "eth0", "prefsrc": "10.0.0.5", "scope": "link"},
]


@searching
@given(made=tables(IN_PODS, POD_PORTS, owners=True), policies=dropping)
def test_past_the_rules_of_pods(nodes: Nodes, made: dict[str, list[str]], policies: str) -> None:
    text = ISTIO + "".join(
        written(table, rules, policies if table == "filter" else "") for table, rules in made.items()
    )
    assert not nodes.load("")
    assume(not nodes.load(text, "client"))
    try:
        with ThreadPoolExecutor(len(CALLS)) as pool:
            seen = list(pool.map(lambda call: nodes.ends(call[1], call[3], 8080, call[2], call[4]), CALLS))
        for call, ended, passage in zip(CALLS, seen, _passages(text), strict=True):
            event(f"predicted {passage.kind}")
            said = _said(passage)
            if said and ended != said:  # a busy machine may be late
                ended = nodes.ends(call[1], call[3], 8080, call[2], call[4], patience=3)
            assert not said or ended == said, (call, ended, passage.why)
    finally:
        nodes.load("", "client")


def _passages(text: str) -> list[Passage]:
    """What the rules of the pod make of the calls."""
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "s"
        Mesh(
            pods=[pod("client", "10.0.0.5"), plain("far", "10.0.1.7", on="two")],
            listening={"client": ["0.0.0.0:8080"], "far": ["0.0.0.0:8080"]},
            rules={"client": text},
            files={
                "pods/shop/client/netns/ip-address.json": json.dumps(ADDRESSES),
                "pods/shop/client/netns/ip-route.json": json.dumps(ROUTES),
            },
        ).write(recording)
        scene = gather.scene(open_snapshot(str(recording)), Scope("shop"))
        station = scene.station(next(each for each in scene.pods if each.name == "client"))
        found: list[Passage] = []
        for _, place, user, address, source in CALLS:
            owner = Owner(user, user, "the test")
            if place != "client":
                found.append(pod_rules.inbound(scene, station, "10.0.1.7", address, 8080))
            elif source:
                to_app = pod_rules.to_application(scene, station, owner, source, address, 8080)
                assert to_app is not None
                found.append(to_app)
            else:
                found.append(pod_rules.outbound(scene, station, owner, address, 8080))
        return found


def _said(passage: Passage) -> str:
    match passage.kind:
        case "proxy":
            return f"connected to {passage.port}"
        case "straight":
            return "connected to 8080"
        case "dropped":
            return "refused" if passage.refused else "timeout"
        case _:
            return ""

"""Ends on a node's own network: what the node's rules of INPUT and OUTPUT make of them, beside FORWARD."""

import json
from pathlib import Path
from typing import Any

import pytest

from meshctl.path.model import Trace
from tests.path.made import Mesh, endpoints, plain, service

ROUTES = (
    '[{"dst": "default", "dev": "eth0"}, {"dst": "10.0.0.0/24", "dev": "cbr0"}, {"dst": "10.0.1.0/24", "dev": "eth0"}]'
)
Case = tuple[str, tuple[bool | None, str]]
HOOKS = ("INPUT", "FORWARD", "OUTPUT")


KUBE_FIREWALL = (
    '-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections"'
    " -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP\n"
)


def node(*rules: str, table: str = "filter", policy: str = "ACCEPT", of: str = "INPUT") -> str:
    """A node's rules: kube-proxy's for a Service on its own network and one elsewhere, and those of somebody else."""
    chains = "".join(f":{hook} {policy if hook in of.split() else 'ACCEPT'} [0:0]\n" for hook in HOOKS)
    kept = [f":{hook} ACCEPT [0:0]\n" for hook in ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")]
    ours = "".join(f"-A {rule}\n" for rule in rules)
    other = "" if table == "filter" else f"*{table}\n{''.join(kept)}{ours}COMMIT\n"
    return f"""{other}*filter
{chains}:KUBE-FIREWALL - [0:0]
:KUBE-SERVICES - [0:0]
-A INPUT -j KUBE-FIREWALL
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -j KUBE-FIREWALL
{ours if table == "filter" else ""}{KUBE_FIREWALL}COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-WEB - [0:0]
:KUBE-SEP-WEB - [0:0]
:KUBE-SVC-FAR - [0:0]
:KUBE-SEP-FAR - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES -d 10.96.0.6/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-WEB
-A KUBE-SVC-WEB -j KUBE-SEP-WEB
-A KUBE-SEP-WEB -p tcp -m tcp -j DNAT --to-destination 192.168.0.1:9100
-A KUBE-SERVICES -d 10.96.0.7/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-FAR
-A KUBE-SVC-FAR -j KUBE-SEP-FAR
-A KUBE-SEP-FAR -p tcp -m tcp -j DNAT --to-destination 10.0.1.7:8080
COMMIT
"""


def of_node(name: str, address: str, on: str = "one") -> dict[str, Any]:
    """A pod on its node's network."""
    made = plain(name, address, on=on)
    made["spec"]["hostNetwork"] = True
    made["status"]["hostIP"] = address
    return made


def traced(folder: Path, rules: str, target: str, sender: str = "client", **others: str) -> Trace:
    """A request from a pod of node one, from its agent, or from node two's; `others` are more files of node one."""
    addresses = {"one": "192.168.0.1", "two": "192.168.0.2"}
    nodes = [
        {"metadata": {"name": n}, "status": {"addresses": [{"type": "InternalIP", "address": a}]}}
        for n, a in addresses.items()
    ]
    files = {f"nodes/one/netns/{name}": text for name, text in others.items()}
    files |= {"nodes/one/netns/iptables-save.txt": rules, "nodes/two/netns/iptables-save.txt": node()}
    files |= {f"nodes/{name}/netns/ip-route.json": ROUTES for name in ("one", "two")}
    files |= {"resources/nodes.json": json.dumps({"kind": "List", "items": nodes})}
    return Mesh(
        pods=[
            plain("client", "10.0.0.5"),
            plain("web", "10.0.0.6"),
            plain("far", "10.0.1.7", on="two"),
            of_node("agent", "192.168.0.1"),
            of_node("other", "192.168.0.2", on="two"),
        ],
        services=[service("web", "10.96.0.6", 80, 9100), service("far", "10.96.0.7", 80, 8080)],
        slices=[endpoints("web", 9100, "192.168.0.1"), endpoints("far", 8080, "10.0.1.7")],
        listening={
            "web": ["0.0.0.0:8080"],
            "far": ["0.0.0.0:8080"],
            "agent": ["0.0.0.0:9100"],
            "other": ["0.0.0.0:9100"],
        },
        files=files,
    ).trace(folder / "s", target, sender)


ITSELF = "192.168.0.1:9100"
DROPS = "INPUT -p tcp -m tcp --dport 9100 -j DROP"


TO_THE_NODE: list[Case] = [
    (node(), (True, "")),
    (node(DROPS), (False, "timeout")),
    (node(DROPS.replace("DROP", "REJECT")), (False, "refused")),
    (node(DROPS, table="mangle"), (False, "timeout")),
    (node("INPUT -s 10.0.0.0/24 -j ACCEPT", DROPS), (True, "")),
    (node("INPUT -i cbr0 -j ACCEPT", policy="DROP"), (True, "")),
    (node("INPUT -i eth0 -j ACCEPT", policy="DROP"), (False, "timeout")),
    (node("INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", policy="DROP"), (False, "timeout")),
    (node("INPUT -m set --match-set banned src -j DROP"), (None, "")),
    (node("OUTPUT -p tcp -m tcp --sport 9100 -j DROP"), (False, "timeout")),
    (node("OUTPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT", policy="DROP", of="OUTPUT"), (True, "")),
    (node("OUTPUT -m conntrack --ctstate NEW -j ACCEPT", policy="DROP", of="OUTPUT"), (False, "timeout")),
    (node("OUTPUT -d 10.0.0.5/32 -j DROP"), (False, "timeout")),
    (node("POSTROUTING -d 10.0.0.5/32 -j DROP", table="mangle"), (False, "timeout")),
    (node("FORWARD -j DROP"), (True, "")),
    (node("INPUT -m conntrack --ctstatus SEEN_REPLY,CONFIRMED,ASSURED -j ACCEPT", policy="DROP"), (False, "timeout")),
    (node("OUTPUT -m conntrack --ctstatus SEEN_REPLY -j ACCEPT", policy="DROP", of="OUTPUT"), (True, "")),
    (node("OUTPUT -m conntrack --ctstatus ASSURED -j ACCEPT", policy="DROP", of="OUTPUT"), (False, "timeout")),
]


@pytest.mark.parametrize("target", [ITSELF, "web:80"])
@pytest.mark.parametrize(
    ("rules", "ends"),
    TO_THE_NODE,
)
def test_what_a_pod_sends_to_its_node_has_to_be_let_in(
    tmp_path: Path, rules: str, target: str, ends: tuple[bool | None, str]
) -> None:
    end = traced(tmp_path, rules, target).outcome.end
    assert (end.delivered, end.broken) == ends
    assert ("node one" in end.why) is (end.delivered is not True)


def test_a_reset_may_not_find_back_to_the_address_that_was_called(tmp_path: Path) -> None:
    rules = node(DROPS.replace("DROP", "REJECT --reject-with tcp-reset"))
    end = traced(tmp_path / "a", rules, ITSELF).outcome.end
    assert (end.delivered, end.broken) == (False, "refused")
    assert "over a bridge" in traced(tmp_path / "b", rules, "web:80").outcome.end.why


def test_a_policy_that_drops_is_cited(tmp_path: Path) -> None:
    found = traced(tmp_path, node(policy="DROP"), ITSELF)
    (hop,) = (hop for hop in found.hops if hop.mood == "bad")
    assert [(proof.path, proof.text) for proof in hop.evidence][-1] == ("line 2", "INPUT: policy drop")
    assert found.findings[0].fix.startswith("let whoever writes that node's rules")


def test_the_words_name_the_rule(tmp_path: Path) -> None:
    assert (
        traced(tmp_path / "a", node(DROPS), ITSELF).outcome.end.why
        == "node one does not let in what is for 192.168.0.1:9100: dropped by filter/INPUT rule 2"
    )
    answers = node("OUTPUT -p tcp -m tcp --sport 9100 -j DROP")
    assert traced(tmp_path / "b", answers, ITSELF).outcome.end.why.startswith(
        "node one does not send the answers of 192.168.0.1:9100: dropped by filter/OUTPUT rule 3"
    )


FROM_THE_NODE: list[Case] = [
    (node(), (True, "")),
    (node("OUTPUT -d 10.0.1.7/32 -j DROP"), (False, "timeout")),
    (node("OUTPUT -d 10.0.1.7/32 -j REJECT"), (False, "refused")),
    (node("OUTPUT -o eth0 -j ACCEPT", policy="DROP", of="OUTPUT"), (True, "")),
    (node("OUTPUT -o cbr0 -j ACCEPT", policy="DROP", of="OUTPUT"), (False, "timeout")),
    (node("OUTPUT -s 192.168.0.1/32 -j DROP"), (None, "")),
    (node("OUTPUT -p tcp -m owner --uid-owner 0 -j DROP"), (None, "")),
    (node("INPUT -s 10.0.1.7/32 -j DROP"), (False, "timeout")),
    (node("INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT", policy="DROP"), (True, "")),
    (node("INPUT -m conntrack --ctstatus SEEN_REPLY -j ACCEPT", policy="DROP"), (True, "")),
    (node("INPUT -m conntrack --ctstatus CONFIRMED -j ACCEPT", policy="DROP"), (True, "")),
    (node("INPUT -m conntrack --ctstatus ASSURED -j ACCEPT", policy="DROP"), (False, "timeout")),
    (node(policy="DROP"), (False, "timeout")),
    (node("POSTROUTING -d 10.0.1.7/32 -j DROP", table="mangle"), (False, "timeout")),
    (node("FORWARD -j DROP"), (True, "")),
    (node("PREROUTING -d 10.0.1.7/32 -j DROP", table="raw"), (True, "")),
]


@pytest.mark.parametrize(
    ("rules", "ends"),
    FROM_THE_NODE,
)
def test_what_the_node_itself_sends_meets_output(tmp_path: Path, rules: str, ends: tuple[bool | None, str]) -> None:
    end = traced(tmp_path, rules, "10.0.1.7:8080", "agent").outcome.end
    assert (end.delivered, end.broken) == ends


TO_ITSELF: list[Case] = [
    (node(), (True, "")),
    (node(DROPS), (False, "timeout")),
    (node("INPUT -i lo -j ACCEPT", DROPS), (True, "")),
    (node("OUTPUT -o lo -p tcp -m tcp --dport 9100 -j DROP"), (False, "timeout")),
    (node("INPUT -s 192.168.0.1/32 -j ACCEPT", DROPS), (True, "")),
]


@pytest.mark.parametrize(
    ("rules", "ends"),
    TO_ITSELF,
)
def test_what_the_node_sends_itself_runs_over_lo(tmp_path: Path, rules: str, ends: tuple[bool | None, str]) -> None:
    end = traced(tmp_path, rules, ITSELF, "agent").outcome.end
    assert (end.delivered, end.broken) == ends


FROM_ANOTHER: list[Case] = [
    (node(), (True, "")),
    (node(DROPS), (False, "timeout")),
    (node("INPUT -i eth0 -j ACCEPT", policy="DROP"), (None, "")),
    (node("INPUT -s 192.168.0.2/32 -j ACCEPT", DROPS), (None, "")),
    (node("INPUT -p tcp -j ACCEPT", policy="DROP"), (True, "")),
    (node("OUTPUT -p tcp -m tcp --sport 9100 -j DROP"), (False, "timeout")),
]


@pytest.mark.parametrize(
    ("rules", "ends"),
    FROM_ANOTHER,
)
@pytest.mark.parametrize("sender", ["far", "other"])
def test_from_another_node_who_asks_has_an_address_that_is_not_known(
    tmp_path: Path, rules: str, sender: str, ends: tuple[bool | None, str]
) -> None:
    end = traced(tmp_path, rules, ITSELF, sender).outcome.end
    assert (end.delivered, end.broken) == ends


def test_a_dnat_of_what_the_node_sends_ahead_of_kube_proxy_decides(tmp_path: Path) -> None:
    ahead = "-A OUTPUT -d 10.96.0.6/32 -p tcp -j DNAT --to-destination 10.0.1.7:8080\n"
    rules = node().replace("-A PREROUTING -m comment", f"{ahead}-A PREROUTING -m comment", 1)
    assert "shop/far" in [hop.at for hop in traced(tmp_path / "a", rules, "10.96.0.6:80", "agent").hops]
    assert "shop/far" not in [hop.at for hop in traced(tmp_path / "b", rules, "10.96.0.6:80", "client").hops]


@pytest.mark.parametrize("target", ["CT --notrack", "NOTRACK"])
@pytest.mark.parametrize(("sender", "hook"), [("client", "PREROUTING"), ("agent", "OUTPUT")])
def test_nothing_is_translated_that_is_not_tracked(tmp_path: Path, target: str, sender: str, hook: str) -> None:
    rules = node(f"{hook} -d 10.96.0.6/32 -p tcp -j {target}", table="raw")
    end = traced(tmp_path / "a", rules, "10.96.0.6:80", sender).outcome.end
    assert end.delivered is None
    assert "connection tracking" in end.why
    assert traced(tmp_path / "b", rules, ITSELF, sender).outcome.end.delivered


# --- tables of nft itself beside iptables -----------------------------------------------------------------------------


def listing(*expr: dict[str, Any], hook: str = "input", policy: str = "accept") -> str:
    """What ``nft -j list ruleset`` shows of a table that is no iptables', as firewalld has one."""
    place = {"family": "inet", "table": "firewalld"}
    chain = {"name": "filter_IN", "handle": 2, "type": "filter", "hook": hook, "prio": 10, "policy": policy}
    rules = [{"rule": {**place, "chain": "filter_IN", "handle": 3, "expr": list(expr)}}] if expr else []
    compat = {"table": {"family": "ip", "name": "filter", "handle": 9}}
    return json.dumps(
        {
            "nftables": [
                {"metainfo": {"json_schema_version": 1}},
                compat,
                {"table": {"family": "inet", "name": "firewalld", "handle": 1}},
                {"chain": {**place, **chain}},
                *rules,
            ]
        }
    )


PORT = {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 9100}}


@pytest.mark.parametrize(
    ("listed", "ends"),
    [
        (listing(), (True, "")),
        (listing(PORT, {"accept": None}), (True, "")),
        (listing(PORT, {"drop": None}), (False, "timeout")),
        (listing(PORT, {"reject": {"type": "icmpx", "expr": "admin-prohibited"}}), (False, "refused")),
        (listing(policy="drop"), (False, "timeout")),
        (listing(PORT, {"accept": None}, policy="drop"), (True, "")),
        (listing(policy="drop", hook="forward"), (True, "")),
    ],
)
def test_tables_of_nft_beside_kube_proxys_iptables_are_asked(
    tmp_path: Path, listed: str, ends: tuple[bool | None, str]
) -> None:
    end = traced(tmp_path, node(), ITSELF, **{"nft.json": listed}).outcome.end
    assert (end.delivered, end.broken) == ends


def test_tables_that_are_there_and_cannot_be_read_leave_it_open(tmp_path: Path) -> None:
    end = traced(tmp_path / "a", node(), ITSELF, **{"nft.json": listing()[:120]}).outcome.end
    assert end.delivered is None
    assert "nft.json" in end.undecided[0]
    of_iptables = '{"nftables": [{"table": {"family": "ip", "name": "filter", "handle": 1}}]}'
    assert traced(tmp_path / "b", node(), ITSELF, **{"nft.json": of_iptables}).outcome.end.delivered


STATUS = {"match": {"op": "in", "left": {"ct": {"key": "status"}}, "right": "dnat"}}


@pytest.mark.parametrize(
    ("expr", "policy", "direct", "translated"),
    [
        ((STATUS, {"accept": None}), "drop", False, True),
        ((STATUS, {"drop": None}), "accept", True, False),
        (({"match": {**STATUS["match"], "right": "snat"}}, {"drop": None}), "accept", True, None),
        (({"match": {**STATUS["match"], "right": "dying"}}, {"drop": None}), "accept", True, None),
    ],
)
def test_the_status_of_a_translated_connection_is_known(
    tmp_path: Path, expr: tuple[dict[str, Any], ...], policy: str, direct: bool, translated: bool | None
) -> None:
    listed = {"nft.json": listing(*expr, policy=policy)}
    assert traced(tmp_path / "a", node(), ITSELF, **listed).outcome.end.delivered is direct
    assert traced(tmp_path / "b", node(), "web:80", **listed).outcome.end.delivered is translated


# --- firewalls that nodes have in practice ----------------------------------------------------------------------------

UFW = """INPUT -j ufw-before-input
INPUT -j ufw-after-logging-input
FORWARD -j ufw-before-forward
ufw-before-input -i lo -j ACCEPT
ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
ufw-before-input -m conntrack --ctstate INVALID -j ufw-logging-deny
ufw-before-input -m conntrack --ctstate INVALID -j DROP
ufw-before-input -p icmp -m icmp --icmp-type 8 -j ACCEPT
ufw-before-input -p udp -m udp --sport 67 --dport 68 -j ACCEPT
ufw-before-input -j ufw-not-local
ufw-before-input -d 224.0.0.251/32 -p udp -m udp --dport 5353 -j ACCEPT
ufw-before-input -j ufw-user-input
ufw-not-local -m addrtype --dst-type LOCAL -j RETURN
ufw-not-local -m addrtype --dst-type MULTICAST -j RETURN
ufw-not-local -m addrtype --dst-type BROADCAST -j RETURN
ufw-not-local -m limit --limit 3/min --limit-burst 10 -j ufw-logging-deny
ufw-not-local -j DROP
ufw-logging-deny -m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix "[UFW BLOCK] "
ufw-after-logging-input -m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix "[UFW BLOCK] "
ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT"""
GOOGLE = """INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
INPUT -i lo -j ACCEPT
INPUT -p icmp -j ACCEPT
INPUT -p tcp -m tcp --dport 22 -j ACCEPT
INPUT -p tcp -j ACCEPT
INPUT -p udp -j ACCEPT
FORWARD -p tcp -j ACCEPT
OUTPUT -m state --state NEW,RELATED,ESTABLISHED -j ACCEPT
OUTPUT -o lo -j ACCEPT"""


def firewall(text: str, *more: str) -> str:
    """A node's rules with those of a firewall that drops by default."""
    ours = text.splitlines()
    chains = sorted({rule.split(" ", 1)[0] for rule in (*ours, *more)} - set(HOOKS))
    named = "".join(f":{chain} - [0:0]\n" for chain in chains)
    return node(*ours, *more, policy="DROP").replace(":KUBE-FIREWALL", f"{named}:KUBE-FIREWALL", 1)


FIREWALLS = [
    (firewall(UFW), False),
    (firewall(UFW, "ufw-user-input -p tcp -m tcp --dport 9100 -j ACCEPT"), True),
    (firewall(UFW, "ufw-user-input -s 10.0.0.0/16 -j ACCEPT"), True),
    (firewall(UFW, "ufw-user-input -s 10.0.0.0/16 -d 192.168.0.9/32 -j ACCEPT"), False),
    (firewall(GOOGLE), True),
    (firewall(GOOGLE.replace("INPUT -p tcp -j ACCEPT\n", "")), False),
]


@pytest.mark.parametrize("sender", ["client", "agent"])
@pytest.mark.parametrize(
    ("rules", "let_in"),
    FIREWALLS,
)
def test_firewalls_of_nodes_are_followed(tmp_path: Path, rules: str, sender: str, let_in: bool) -> None:
    end = traced(tmp_path, rules, ITSELF, sender).outcome.end
    assert end.delivered is (let_in or sender == "agent")
    assert end.broken == ("" if end.delivered else "timeout")

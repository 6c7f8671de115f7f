"""What a node's own rules do with packets between others, beside what kube-proxy chooses."""

from pathlib import Path

import pytest

from meshctl.path.model import Trace
from tests.path.made import Mesh, endpoints, plain, service

ROUTES = (
    '[{"dst": "default", "dev": "eth0"}, {"dst": "10.0.0.0/24", "dev": "cbr0"}, {"dst": "10.0.1.0/24", "dev": "eth0"}]'
)


def node(*, nat: str = "", forward: str = "", policy: str = "ACCEPT", masquerade: str = "! -s 10.0.0.0/16 ") -> str:
    """A node's rules: kube-proxy's for one Service, and those of somebody else."""
    return f"""*filter
:INPUT ACCEPT [0:0]
:FORWARD {policy} [0:0]
:OUTPUT ACCEPT [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-SERVICES - [0:0]
:OURS - [0:0]
{forward}-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-WEB - [0:0]
:KUBE-SEP-WEB - [0:0]
{nat}-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-SERVICES -d 10.96.0.6/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-WEB
-A KUBE-SVC-WEB {masquerade}-d 10.96.0.6/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SVC-WEB -j KUBE-SEP-WEB
-A KUBE-SEP-WEB -s 10.0.0.6/32 -j KUBE-MARK-MASQ
-A KUBE-SEP-WEB -p tcp -m tcp -j DNAT --to-destination 10.0.0.6:8080
COMMIT
"""


def traced(folder: Path, rules: str, target: str = "web:80", routes: str = ROUTES, **nodes: str) -> Trace:
    """A request of a pod on node one; `nodes` are the rules of other nodes."""
    files = {f"nodes/{name}/netns/iptables-save.txt": text for name, text in {"one": rules, **nodes}.items()}
    files |= {f"nodes/{name}/netns/ip-route.json": routes for name in ("one", *nodes) if routes}
    return Mesh(
        pods=[plain("client", "10.0.0.5"), plain("web", "10.0.0.6"), plain("far", "10.0.1.7", on="two")],
        services=[service("web", "10.96.0.6", 80, 8080)],
        slices=[endpoints("web", 8080, "10.0.0.6")],
        listening={"web": ["0.0.0.0:8080"], "far": ["0.0.0.0:8080"]},
        files=files,
    ).trace(folder / "s", target, "client")


DROPS = "-A FORWARD -d 10.0.0.6/32 -p tcp -m tcp --dport 8080 -j DROP\n"


@pytest.mark.parametrize(
    ("rules", "ends"),
    [
        (node(), (True, "")),
        (node(forward=DROPS), (False, "timeout")),
        (node(forward=DROPS.replace("DROP", "REJECT")), (False, "refused")),
        (node(forward="-A FORWARD -j OURS\n-A OURS -s 10.0.0.5/32 -j DROP\n"), (False, "timeout")),
        (node(forward="-A FORWARD -j OURS\n-A OURS -s 10.0.0.9/32 -j DROP\n"), (True, "")),
        (node(forward="-A FORWARD -i cbr0 -j ACCEPT\n", policy="DROP"), (True, "")),
        (node(forward="-A FORWARD -i docker0 -j ACCEPT\n", policy="DROP"), (False, "timeout")),
        (node(policy="DROP"), (False, "timeout")),
        (node(policy="DROP", masquerade=""), (True, "")),
        (node(forward="-A FORWARD -m set --match-set banned src -j DROP\n"), (None, "")),
        (node(forward="-A FORWARD -m conntrack --ctstate DNAT -j ACCEPT\n", policy="DROP"), (True, "")),
    ],
)
def test_what_is_routed_has_to_be_forwarded(tmp_path: Path, rules: str, ends: tuple[bool | None, str]) -> None:
    end = traced(tmp_path, rules).outcome.end
    assert (end.delivered, end.broken) == ends
    assert ("node one" in end.why) is (end.delivered is not True)


def test_interfaces_need_the_nodes_routes(tmp_path: Path) -> None:
    rules = node(forward="-A FORWARD -i cbr0 -j ACCEPT\n", policy="DROP")
    assert traced(tmp_path, rules, routes="").outcome.end.delivered is None


def test_between_pods_of_one_bridge_it_depends_on_the_kernel(tmp_path: Path) -> None:
    end = traced(tmp_path, node(forward=DROPS), "10.0.0.6:8080").outcome.end
    assert end.delivered is None
    assert "br_netfilter" in end.why


def test_both_nodes_have_to_forward(tmp_path: Path) -> None:
    drops = DROPS.replace("10.0.0.6", "10.0.1.7")
    assert traced(tmp_path / "a", node(), "10.0.1.7:8080", two=node()).outcome.end.delivered
    end = traced(tmp_path / "b", node(), "10.0.1.7:8080", two=node(forward=drops)).outcome.end
    assert (end.delivered, end.broken) == (False, "timeout")
    assert "node two does not forward" in end.why


def test_a_dnat_ahead_of_kube_proxy_decides(tmp_path: Path) -> None:
    ahead = "-A PREROUTING -d 10.96.0.6/32 -p tcp -j DNAT --to-destination 10.0.1.7:8080\n"
    found = traced(tmp_path, node(nat=ahead))
    assert found.outcome.end.delivered
    assert any(hop.at == "shop/far" for hop in found.hops)
    assert found.kube_proxy.used is False
    assert "before kube-proxy" in found.kube_proxy.why


@pytest.mark.parametrize(
    "ahead",
    [
        "-A PREROUTING -d 10.96.0.6/32 -m set --match-set some src -j DNAT --to-destination 10.0.1.7:8080\n",
        "-A PREROUTING -d 10.96.0.6/32 -p tcp -m statistic --mode random --probability 0.5 -j DNAT"
        " --to-destination 10.0.1.7:8080\n",
    ],
)
def test_a_dnat_that_cannot_be_judged_leaves_it_open(tmp_path: Path, ahead: str) -> None:
    assert traced(tmp_path, node(nat=ahead)).outcome.end.delivered is None


def test_a_dnat_of_the_nodes_own_addresses_is_not_about_services(tmp_path: Path) -> None:
    ahead = (
        "-A PREROUTING -m addrtype --dst-type LOCAL -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.1.7:8080\n"
    )
    found = traced(tmp_path, node(nat=ahead))
    assert any(hop.at == "shop/web" for hop in found.hops)
    assert found.outcome.end.delivered


FROM_WEB = "-A FORWARD -s 10.0.0.6/32 -p tcp -m tcp --sport 8080 -j DROP\n"


@pytest.mark.parametrize(
    ("rules", "ends"),
    [
        (node(forward=FROM_WEB), (False, "timeout")),
        (node(forward=FROM_WEB.replace("DROP", "REJECT --reject-with tcp-reset")), (False, "timeout")),
        (node(forward="-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT\n" + FROM_WEB), (True, "")),
        (node(forward="-A FORWARD -m conntrack --ctstate ESTABLISHED -d 10.0.0.5/32 -j DROP\n"), (False, "timeout")),
        (node(forward="-A FORWARD -m conntrack --ctstate NEW -j ACCEPT\n-A FORWARD -j DROP\n"), (False, "timeout")),
        (node(forward="-A FORWARD -p tcp -m tcp --sport 8080 --dport 22 -j DROP\n"), (True, "")),
        (node(forward="-A FORWARD -m conntrack --ctdir REPLY -j DROP\n"), (False, "timeout")),
        (node(forward="-A FORWARD -m conntrack --ctdir ORIGINAL --ctstate ESTABLISHED -j DROP\n"), (None, "")),
        (node(forward="-A FORWARD -m conntrack --ctstate DNAT -j DROP\n"), (False, "timeout")),
        (node(forward="-A FORWARD -m conntrack --ctorigdst 10.96.0.6 -j DROP\n"), (None, "")),
        (node(forward="-A FORWARD -m conntrack --ctstatus SEEN_REPLY -j DROP\n"), (False, "timeout")),
        (node(forward="-A FORWARD -m conntrack --ctstatus ASSURED -j DROP\n"), (None, "")),
        (node(forward="-A FORWARD -s 10.0.0.6/32 -m set --match-set banned dst -j DROP\n"), (None, "")),
    ],
)
def test_answers_have_to_be_forwarded_too(tmp_path: Path, rules: str, ends: tuple[bool | None, str]) -> None:
    end = traced(tmp_path, rules).outcome.end
    assert (end.delivered, end.broken) == ends


def test_a_connection_that_nobody_translated_has_no_such_state(tmp_path: Path) -> None:
    rules = node(forward="-A FORWARD -m conntrack --ctstate DNAT -j DROP\n")
    assert traced(tmp_path, rules, "10.0.1.7:8080", two=node()).outcome.end.delivered


def test_answers_between_pods_of_one_bridge_depend_on_the_kernel(tmp_path: Path) -> None:
    end = traced(tmp_path, node(forward=FROM_WEB), "10.0.0.6:8080").outcome.end
    assert end.delivered is None
    assert "the answers of 10.0.0.6:8080" in end.why
    assert "br_netfilter" in end.why


def test_both_nodes_have_to_forward_the_answers(tmp_path: Path) -> None:
    drops = FROM_WEB.replace("10.0.0.6", "10.0.1.7")
    end = traced(tmp_path, node(), "10.0.1.7:8080", two=node(forward=drops)).outcome.end
    assert (end.delivered, end.broken) == (False, "timeout")
    assert "node two does not forward the answers of 10.0.1.7:8080" in end.why


def test_which_address_a_masqueraded_connection_has_on_the_other_node_is_not_known(tmp_path: Path) -> None:
    far = node(masquerade="").replace("10.0.0.6", "10.0.1.7")
    rules = node(forward="-A FORWARD -s 192.168.0.9/32 -j DROP\n")
    assert traced(tmp_path / "a", far, two=rules).outcome.end.delivered is None
    assert traced(tmp_path / "b", far, two=node()).outcome.end.delivered
    assert traced(tmp_path / "c", far, two=node(policy="DROP")).outcome.end.broken == "timeout"


def before(*rules: str, table: str = "raw", after: bool = False, policy: str = "ACCEPT", then: str = "") -> str:
    """A node's rules with a table of PREROUTING rules ahead of, or behind, all others in the dump."""
    chains = f":PREROUTING {policy} [0:0]\n:OUTPUT ACCEPT [0:0]\n"
    more = f"*{table}\n{chains}{''.join(f'-A PREROUTING {rule}{chr(10)}' for rule in rules)}COMMIT\n"
    return node(forward=then) + more if after else more + node(forward=then)


MARKED = "-A FORWARD -m mark --mark 0x1/0x1 -j DROP\n"


@pytest.mark.parametrize(
    ("rules", "ends"),
    [
        (before("-d 10.96.0.6/32 -p tcp -j DROP"), (False, "timeout")),
        (before("-d 10.96.0.6/32 -p tcp -j DROP", after=True), (False, "timeout")),
        (before("-d 10.0.0.6/32 -p tcp -m tcp --dport 8080 -j DROP"), (True, "")),
        (before("-s 10.0.0.6/32 -p tcp -m tcp --sport 8080 -j DROP", table="mangle"), (False, "timeout")),
        (before("-p tcp -m conntrack --ctstate INVALID -j DROP", table="mangle"), (True, "")),
        (before("-i cbr0 -j ACCEPT", policy="DROP"), (True, "")),
        (before("-i eth0 -j ACCEPT", policy="DROP"), (False, "timeout")),
        (before("-m rpfilter --validmark --invert -j DROP"), (True, "")),
        (before("-m set --match-set no src -j DROP"), (None, "")),
        (before("-j MARK --set-xmark 0x1/0x1", table="mangle", then=MARKED), (False, "timeout")),
        (before("-j MARK --set-xmark 0x2/0x2", table="mangle", then=MARKED), (True, "")),
    ],
)
def test_what_comes_in_meets_prerouting_first(tmp_path: Path, rules: str, ends: tuple[bool | None, str]) -> None:
    end = traced(tmp_path, rules).outcome.end
    assert (end.delivered, end.broken) == ends


def test_prerouting_of_a_bridge_depends_on_the_kernel(tmp_path: Path) -> None:
    end = traced(tmp_path, before("-d 10.0.0.6/32 -p tcp -j DROP"), "10.0.0.6:8080").outcome.end
    assert end.delivered is None
    assert "br_netfilter" in end.why


# --- lookups of names ------------------------------------------------------------------------------------------------

DNS = """-A KUBE-SERVICES -d 10.96.0.10/32 -p udp -m udp --dport 53 -j KUBE-SVC-DNS
-A KUBE-SVC-DNS -j KUBE-SEP-DNS
-A KUBE-SEP-DNS -p udp -m udp -j DNAT --to-destination 10.0.1.53:53
"""
DNS_CHAINS = ":KUBE-SVC-DNS - [0:0]\n:KUBE-SEP-DNS - [0:0]\n"


def with_dns(text: str) -> str:
    """A node's rules with kube-proxy's for kube-dns."""
    return text.replace("*nat\n", f"*nat\n{DNS_CHAINS}").replace("-A KUBE-SVC-WEB", f"{DNS}-A KUBE-SVC-WEB", 1)


def named(
    folder: Path, rules: str, *, dns: str = "10.0.1.53", on: str = "two", target: str = "web:80", of_node: bool = False
) -> Trace:
    """A request by name, asked of kube-dns at an address on another node; `rules` are those of node one.

    `of_node`: the sender is on its node's network.
    """
    client = plain("client", "192.168.0.1" if of_node else "10.0.0.5")
    client["spec"] |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"} if of_node else {}
    kube_dns = service("kube-dns", "10.96.0.10", 53, 53, namespace="kube-system")
    kube_dns["spec"]["ports"] = [{"name": "dns", "port": 53, "targetPort": 53, "protocol": "UDP"}]
    ends = endpoints("kube-dns", 53, *([dns] if dns else []), namespace="kube-system")
    ends["ports"] = [{"name": "dns", "port": 53, "protocol": "UDP"}]
    for end in ends["endpoints"]:
        end["nodeName"] = on
    other = node(forward="-A FORWARD -s 10.0.1.53/32 -j DROP\n" if on == "three" else "")
    files = {"nodes/one/netns/iptables-save.txt": rules, f"nodes/{on}/netns/iptables-save.txt": other}
    files |= {f"nodes/{name}/netns/ip-route.json": ROUTES for name in ("one", on)}
    files["pods/shop/client/netns/resolv.conf"] = "nameserver 10.96.0.10\nsearch shop.svc.cluster.local\n"
    return Mesh(
        pods=[client, plain("web", "10.0.0.6"), plain("far", "10.0.1.7", on="two")],
        services=[service("web", "10.96.0.6", 80, 8080), *([kube_dns] if dns != "?" else [])],
        slices=[endpoints("web", 8080, "10.0.0.6"), *([ends] if dns != "?" else [])],
        listening={"web": ["0.0.0.0:8080"]},
        files=files,
    ).trace(folder / "s", target, "client")


ELSEWHERE = "-A PREROUTING -p udp -m udp --dport 53 -j DNAT --to-destination"
UDP = "-A FORWARD -p udp -m udp --dport 53 -j DROP\n"


@pytest.mark.parametrize(
    ("rules", "ends", "said"),
    [
        (node(forward=DROPS.replace("tcp", "udp")), (True, ""), ""),
        (node(forward=UDP), (False, "dns"), "the question to 10.0.1.53:53: dropped by filter/FORWARD rule 1"),
        (node(forward=UDP.replace("--dport", "--sport")), (False, "dns"), "the answer of 10.0.1.53:53: dropped"),
        (node(forward="-A FORWARD -s 10.0.1.53/32 -j REJECT\n"), (False, "dns"), "rejected by filter/FORWARD rule 1"),
        (with_dns(node(forward="-A FORWARD -d 10.0.1.53/32 -j DROP\n")), (False, "dns"), "node one does not forward"),
        (node(nat=f"{ELSEWHERE} 10.0.1.53:53\n"), (True, ""), ""),
        (node(nat=f"{ELSEWHERE} 10.0.1.54:53\n"), (None, ""), "before kube-proxy is asked, and what that answers"),
        (node(forward="-A FORWARD -p udp -m set --match-set no src -j DROP\n"), (None, ""), "match-set"),
    ],
)
def test_lookups_have_to_be_forwarded(tmp_path: Path, rules: str, ends: tuple[bool | None, str], said: str) -> None:
    end = named(tmp_path, rules).outcome.end
    assert (end.delivered, end.broken) == ends
    assert said in end.why


@pytest.mark.parametrize(
    ("rules", "ends", "said"),
    [
        (node(), (True, ""), ""),
        (node(forward=UDP), (True, ""), ""),
        (node(forward=UDP.replace("FORWARD", "OUTPUT")), (False, "dns"), "does not send the question to 10.0.1.53:53"),
        (node(forward="-A INPUT -p udp -m udp --sport 53 -j DROP\n"), (False, "dns"), "does not let in the answer of"),
        (node(forward="-A OUTPUT -d 10.96.0.10/32 -j DROP\n"), (True, ""), ""),
    ],
)
def test_lookups_of_the_nodes_own_network_meet_output_and_input(
    tmp_path: Path, rules: str, ends: tuple[bool | None, str], said: str
) -> None:
    end = named(tmp_path, with_dns(rules), of_node=True).outcome.end
    assert (end.delivered, end.broken) == ends
    assert said in end.why


def test_the_node_of_kube_dns_has_to_forward_as_well(tmp_path: Path) -> None:
    end = named(tmp_path, node(), on="three").outcome.end
    assert (end.delivered, end.broken) == (False, "dns")
    assert "node three does not forward the answer" in end.why


def test_an_address_is_not_looked_up(tmp_path: Path) -> None:
    assert named(tmp_path, node(forward=UDP), target="10.96.0.6:80").outcome.end.delivered


def test_who_answers_for_a_nameserver_that_was_not_recorded_is_not_known(tmp_path: Path) -> None:
    end = named(tmp_path / "a", node(forward=UDP), dns="?").outcome.end
    assert end.delivered is None
    assert "who answers behind 10.96.0.10 is not recorded" in end.why
    at_once = before("-p udp -m udp --dport 53 -j DROP")
    assert named(tmp_path / "e", at_once, dns="?").outcome.end.broken == "dns"
    others = node(forward="-A FORWARD -d 10.0.1.7/32 -j DROP\n")
    assert named(tmp_path / "b", others, dns="?").outcome.end.delivered
    unknown = node(forward="-A FORWARD -d 10.0.3.7/32 -j DROP\n")
    assert named(tmp_path / "c", unknown, dns="?").outcome.end.delivered is None
    assert named(tmp_path / "d", with_dns(node(forward=UDP)), dns="?").outcome.end.broken == "dns"


@pytest.mark.parametrize(
    "plugins",
    [
        "-A FORWARD -i eth+ -j ACCEPT\n-A FORWARD -o weave -j DROP\n",
        "-A FORWARD -s 10.0.0.0/8 -p tcp -j ACCEPT\n-A FORWARD -m mark ! --mark 0x10000/0x10000 -j DROP\n",
        "-A FORWARD -p tcp -j ACCEPT\n-A FORWARD -m set --match-set known src -j ACCEPT\n-A FORWARD -j DROP\n",
    ],
)
def test_what_a_network_plugin_drops_by_default_is_not_held_against_unrecorded_kube_dns(
    tmp_path: Path, plugins: str
) -> None:
    assert named(tmp_path, node(forward=plugins), dns="?").outcome.end.delivered


def test_a_policy_that_drops_is_not_either(tmp_path: Path) -> None:
    dropping = node(forward="-A FORWARD -p tcp -j ACCEPT\n").replace(":FORWARD ACCEPT", ":FORWARD DROP")
    assert named(tmp_path, dropping, dns="?").outcome.end.delivered


def test_questions_that_kube_proxy_refuses_are_in_vain(tmp_path: Path) -> None:
    refuse = '-A KUBE-SERVICES -d 10.96.0.10/32 -p udp -m comment --comment "kube-dns has no endpoints" -j REJECT\n'
    rules = node().replace("-A KUBE-FORWARD", f"{refuse}-A KUBE-FORWARD", 1)
    end = named(tmp_path, rules, dns="").outcome.end
    assert (end.delivered, end.broken) == (False, "dns")
    assert "kube-proxy refuses the question" in end.why


# --- a network plugin's own rules ------------------------------------------------------------------------------------

CALICO = """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:cali-PREROUTING - [0:0]
:cali-from-host-endpoint - [0:0]
-A PREROUTING -j cali-PREROUTING
-A cali-PREROUTING -j MARK --set-xmark 0x0/0xf0000
-A cali-PREROUTING -i cali+ -j MARK --set-xmark 0x40000/0x40000
-A cali-PREROUTING -m mark --mark 0x40000/0x40000 -m rpfilter --validmark --invert -j DROP
-A cali-PREROUTING -m mark --mark 0x0/0x40000 -j cali-from-host-endpoint
-A cali-PREROUTING -m mark --mark 0x10000/0x10000 -j ACCEPT
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
:cali-PREROUTING - [0:0]
-A PREROUTING -j cali-PREROUTING
-A cali-PREROUTING -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A cali-PREROUTING -m mark --mark 0x10000/0x10000 -j RETURN
COMMIT
"""
CALICO_FORWARD = """-A FORWARD -j cali-FORWARD
-A FORWARD -m mark --mark 0x10000/0x10000 -j ACCEPT
-A cali-FORWARD -j MARK --set-xmark 0x0/0xe0000
-A cali-FORWARD -i cali+ -j cali-from-wl-dispatch
-A cali-FORWARD -o cali+ -j cali-to-wl-dispatch
-A cali-from-wl-dispatch -i cali5 -g cali-fw
-A cali-from-wl-dispatch -i cali6 -g cali-fw
-A cali-from-wl-dispatch -m comment --comment "Unknown interface" -j DROP
-A cali-to-wl-dispatch -o cali5 -g cali-fw
-A cali-to-wl-dispatch -o cali6 -g cali-fw
-A cali-to-wl-dispatch -m comment --comment "Unknown interface" -j DROP
-A cali-fw -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A cali-fw -m conntrack --ctstate INVALID -j DROP
-A cali-fw -j MARK --set-xmark 0x0/0x10000
-A cali-fw -p udp -m multiport --dports 4789 -j DROP
-A cali-fw -j cali-pri-kns.default
-A cali-fw -m mark --mark 0x10000/0x10000 -j RETURN
-A cali-fw -m comment --comment "Drop if no profiles matched" -j DROP
-A cali-pri-kns.default -j MARK --set-xmark 0x10000/0x10000
-A cali-pri-kns.default -m mark --mark 0x10000/0x10000 -j RETURN
"""
CALICO_CHAINS = "".join(
    f":{name} - [0:0]\n"
    for name in ("cali-FORWARD", "cali-from-wl-dispatch", "cali-to-wl-dispatch", "cali-fw", "cali-pri-kns.default")
)
CALICO_ROUTES = (
    '[{"dst": "default", "dev": "eth0"}, {"dst": "10.0.0.5", "dev": "cali5"}, {"dst": "10.0.0.6", "dev": "cali6"}]'
)


@pytest.mark.parametrize(
    ("without", "delivered"),
    [
        ("", True),
        ("-A cali-to-wl-dispatch -o cali6 -g cali-fw\n", False),
        ("-A cali-from-wl-dispatch -i cali6 -g cali-fw\n", False),
        ("-A cali-pri-kns.default -j MARK --set-xmark 0x10000/0x10000\n", False),
    ],
)
def test_calicos_rules_are_followed_both_ways(tmp_path: Path, without: str, delivered: bool) -> None:
    text = node(forward=CALICO_FORWARD, policy="DROP").replace(":OURS - [0:0]\n", CALICO_CHAINS)
    end = traced(tmp_path, CALICO + text.replace(without, ""), routes=CALICO_ROUTES).outcome.end
    assert end.delivered is delivered


# --- a node without kube-proxy's iptables ----------------------------------------------------------------------------

IPVS = """*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:KUBE-FORWARD - [0:0]
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-NODE-PORT - [0:0]
:KUBE-SERVICES - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-SERVICES ! -s 10.0.0.0/16 -m set --match-set KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT
-A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT
COMMIT
"""
NOTHING = (
    "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\nCOMMIT\n"
)


@pytest.mark.parametrize(
    ("rules", "used", "delivered", "said"),
    [
        (IPVS, True, True, "kube-proxy runs in ipvs mode there"),
        (NOTHING, None, None, "no rule of kube-proxy is on the node"),
    ],
)
def test_the_slices_tell_where_the_nodes_rules_do_not(
    tmp_path: Path, rules: str, used: bool | None, delivered: bool | None, said: str
) -> None:
    found = traced(tmp_path, rules)
    assert found.outcome.end.delivered is delivered
    assert bool(found.outcome.end.undecided) is (delivered is None)
    assert found.kube_proxy.used is used
    assert said in found.kube_proxy.why
    assert "10.0.0.6:8080 100%" in found.kube_proxy.choice


def test_what_is_not_told_of_the_way_is_not_told_of_kube_proxy(tmp_path: Path) -> None:
    found = traced(tmp_path, node().replace("-A KUBE-SERVICES -d 10.96.0.6/32", "-A KUBE-SERVICES -d 10.96.0.7/32"))
    assert found.outcome.end.delivered is None
    assert found.kube_proxy.used is None


def test_an_address_outside_is_no_work_of_kube_proxys(tmp_path: Path) -> None:
    found = traced(tmp_path, node(), target="203.0.113.9:80")
    assert found.outcome.end.delivered is None
    assert found.kube_proxy.used is False
    assert "203.0.113.9 is no Service's address" in found.kube_proxy.why

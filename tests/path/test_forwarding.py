"""What a node's own rules do with packets between others, beside what kube-proxy chooses."""

from pathlib import Path
from typing import Any

import pytest

from meshctl.path.model import Trace
from tests.path.made import Mesh, endpoints, pod, service

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


def plain(name: str, ip: str, on: str = "one") -> dict[str, Any]:
    made = pod(name, ip)
    made["metadata"]["annotations"] = {}
    made["spec"]["containers"] = made["spec"]["containers"][:1]
    del made["spec"]["initContainers"]
    made["spec"]["nodeName"] = on
    return made


def traced(folder: Path, rules: str, target: str = "web:80", routes: str = ROUTES, **nodes: str) -> Trace:
    """A request of a pod on node one; `nodes` are the rules of other nodes."""
    files = {f"nodes/{name}/netns/iptables-save.txt": text for name, text in {"one": rules, **nodes}.items()}
    files |= {f"nodes/{name}/netns/ip-route.json": routes for name in ("one", *nodes) if routes}
    return Mesh(
        pods=[plain("client", "10.0.0.5"), plain("web", "10.0.0.6"), plain("far", "10.0.1.7", "two")],
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
        (node(forward="-A FORWARD -m conntrack --ctstate DNAT -j ACCEPT\n", policy="DROP"), (None, "")),
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


def test_a_network_policy_about_the_callee_is_named(tmp_path: Path) -> None:
    spec = '{"podSelector": {}, "policyTypes": ["Ingress"]}'
    items = f'{{"items": [{{"metadata": {{"name": "none", "namespace": "shop"}}, "spec": {spec}}}]}}'
    made = Mesh(
        pods=[plain("client", "10.0.0.5"), plain("web", "10.0.0.6")],
        listening={"web": ["0.0.0.0:8080"]},
        files={"resources/networkpolicies.networking.k8s.io.json": items},
    )
    found = made.trace(tmp_path / "s", "10.0.0.6:8080", "client")
    assert [f.id for f in found.findings if "NetworkPolicy shop/none restricts Ingress of shop/web" in f.text] == [
        "MT113"
    ]

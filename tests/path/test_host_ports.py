"""A container's hostPort: what comes to the node's own address is the pod's where the node's rules say so."""

import json
from pathlib import Path
from typing import Any

import pytest

from meshctl.path.model import Trace
from tests.path.made import Mesh, plain, pod

NAT = "".join(f":{chain} ACCEPT [0:0]\n" for chain in ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"))
KUBE_PROXY = '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES\n'
PORTMAP = "-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT\n"
OWN = """-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: cni" -m multiport --dports 8088 -j CNI-DN-1
-A CNI-DN-1 -s 10.0.0.6/32 -p tcp -m tcp --dport 8088 -j CNI-HOSTPORT-SETMARK
-A CNI-DN-1 -p tcp -m tcp --dport 8088 -j DNAT --to-destination 10.0.0.6:8080
-A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000
"""
BUSY = ["0.0.0.0:10256"]


def rules(first: str = KUBE_PROXY, then: str = PORTMAP, own: str = OWN) -> str:
    chains = "".join(
        f":{c} - [0:0]\n" for c in ("CNI-HOSTPORT-DNAT", "CNI-HOSTPORT-SETMARK", "CNI-DN-1", "KUBE-SERVICES")
    )
    return f"*nat\n{NAT}{chains}{first}{then}{own}COMMIT\n"


def traced(
    folder: Path, written: str | None, sender: dict[str, Any], *, declares: bool = True, port: int = 8088
) -> Trace:
    """A request to the node's own address; a pod of the node's network says who listens on the node."""
    web, of_node = plain("web", "10.0.0.6"), plain("kube-proxy", "192.168.0.1")
    if declares:
        web["spec"]["containers"][0]["ports"] = [{"containerPort": 8080, "hostPort": 8088}]
    of_node["spec"]["hostNetwork"] = True
    address = {"type": "InternalIP", "address": "192.168.0.1"}
    node = {"metadata": {"name": "one"}, "spec": {"podCIDR": "10.0.0.0/24"}, "status": {"addresses": [address]}}
    files = {"resources/nodes.json": json.dumps({"kind": "List", "items": [node]})}
    if written is not None:
        files["nodes/one/netns/iptables-save.txt"] = written
    return Mesh(
        pods=[sender, web, of_node], listening={"web": ["0.0.0.0:8080"], "kube-proxy": BUSY}, files=files
    ).trace(folder, f"192.168.0.1:{port}", "client")


@pytest.mark.parametrize("sender", [plain("client", "10.0.0.5"), pod("client", "10.0.0.5")], ids=["plain", "meshed"])
@pytest.mark.parametrize("text", [rules(), rules(first=PORTMAP, then=KUBE_PROXY)], ids=["behind", "ahead"])
def test_the_nodes_rules_send_it_to_the_pod(tmp_path: Path, text: str, sender: dict[str, Any]) -> None:
    found = traced(tmp_path, text, sender)
    assert found.outcome.end.delivered
    assert any(hop.at == "shop/web" and hop.kind == "socket" for hop in found.hops)
    assert any("node one sends it to 10.0.0.6:8080" in hop.decision for hop in found.hops)


@pytest.mark.parametrize("text", [rules(own=""), rules(then=""), None], ids=["no rule", "no chain", "not recorded"])
def test_a_pods_word_alone_tells_nothing(tmp_path: Path, text: str | None) -> None:
    end = traced(tmp_path, text, plain("client", "10.0.0.5")).outcome.end
    assert end.delivered is None
    assert "pod shop/web has hostPort 8088 on node one" in end.undecided[0]


FOR_ITSELF = "-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT\n"


@pytest.mark.parametrize(
    "text",
    [rules(then=PORTMAP + FOR_ITSELF), rules(first="-A OUTPUT -j KUBE-SERVICES\n" + KUBE_PROXY, then=FOR_ITSELF)],
)
def test_the_nodes_own_network_has_rules_of_its_own(tmp_path: Path, text: str) -> None:
    sender = plain("client", "192.168.0.1")
    sender["spec"]["hostNetwork"] = True
    found = traced(tmp_path / "a", text, sender)
    assert found.outcome.end.delivered
    assert any(hop.at == "shop/web" and hop.kind == "socket" for hop in found.hops)
    end = traced(tmp_path / "b", rules(), sender).outcome.end  # PREROUTING is not for what the node itself sends
    assert end.delivered is None
    assert "no rule that was recorded sends connections there" in end.undecided[0]


def test_another_nodes_own_network_comes_in_by_prerouting(tmp_path: Path) -> None:
    sender = plain("client", "192.168.0.2", on="two")
    sender["spec"]["hostNetwork"] = True
    sender["status"]["hostIP"] = "192.168.0.2"
    found = traced(tmp_path / "a", rules(), sender, declares=False)
    assert any(hop.at == "shop/web" and hop.kind == "socket" for hop in found.hops)
    end = traced(tmp_path / "b", rules(then=FOR_ITSELF), sender, declares=False).outcome.end
    assert (end.delivered, end.broken) == (False, "refused")


def test_a_port_of_nobody_is_the_nodes_own_matter(tmp_path: Path) -> None:
    end = traced(tmp_path, rules(), plain("client", "10.0.0.5"), declares=False, port=8089).outcome.end
    assert (end.delivered, end.broken) == (False, "refused")


def test_a_rule_that_cannot_be_judged_leaves_it_open(tmp_path: Path) -> None:
    odd = OWN.replace("-m multiport --dports 8088", "-m set --match-set some src")
    assert traced(tmp_path, rules(own=odd), plain("client", "10.0.0.5")).outcome.end.delivered is None


NODE_PORT = """-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-NODEPORTS -p tcp -m comment --comment "shop/web:http" -m tcp --dport 30080 -j KUBE-EXT-A
-A KUBE-EXT-A -j KUBE-SVC-A
-A KUBE-SVC-A -m comment --comment "shop/web:http -> 10.0.0.6:8080" -j KUBE-SEP-A
-A KUBE-SEP-A -p tcp -m comment --comment "shop/web:http" -m tcp -j DNAT --to-destination 10.0.0.6:8080
"""
NOT_ON_LOOPBACK = NODE_PORT.replace("--dst-type LOCAL -j", "--dst-type LOCAL ! -d 127.0.0.0/8 -j")


def node_ports(first: str) -> str:
    chains = "".join(f":{c} - [0:0]\n" for c in ("KUBE-NODEPORTS", "KUBE-EXT-A", "KUBE-SVC-A", "KUBE-SEP-A"))
    return rules(first, then="").replace(":KUBE-SERVICES", f"{chains}:KUBE-SERVICES")


def on_loopback(folder: Path, written: str | None, port: int, host_ip: str = "", asked: str = "127.0.0.1") -> Trace:
    """A request of a pod on the node's network to the node's loopback; a Service has NodePort 30080."""
    web, sender = plain("web", "10.0.0.6"), plain("client", "192.168.0.1")
    web["spec"]["containers"][0]["ports"] = [{"containerPort": 8080, "hostPort": 8088, "hostIP": host_ip}]
    sender["spec"]["hostNetwork"] = True
    address = {"type": "InternalIP", "address": "192.168.0.1"}
    node = {"metadata": {"name": "one"}, "spec": {"podCIDR": "10.0.0.0/24"}, "status": {"addresses": [address]}}
    entry = {"port": 80, "targetPort": 8080, "nodePort": 30080, "protocol": "TCP"}
    spec = {"type": "NodePort", "clusterIP": "10.96.0.7", "ports": [entry]}
    service = {"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}
    files = {
        f"resources/{kind}.json": json.dumps({"kind": "List", "items": [item]})
        for kind, item in (("nodes", node), ("services", service))
    }
    if written is not None:
        files["nodes/one/netns/iptables-save.txt"] = written
    listening = {"web": ["0.0.0.0:8080"], "client": BUSY}
    return Mesh(pods=[sender, web], listening=listening, files=files).trace(folder, f"{asked}:{port}", "client")


@pytest.mark.parametrize(
    ("first", "delivered"),
    [(NODE_PORT, True), (NOT_ON_LOOPBACK, False), (None, None)],
    ids=["on", "off", "not recorded"],
)
def test_the_nodes_rules_say_whether_its_loopback_has_node_ports(
    tmp_path: Path, first: str | None, delivered: bool | None
) -> None:
    found = on_loopback(tmp_path, node_ports(first) if first is not None else None, 30080)
    assert found.outcome.end.delivered is delivered
    assert any(hop.at == "shop/web" and hop.kind == "socket" for hop in found.hops) is bool(delivered)
    if delivered is None:
        assert "NodePort of Service shop/web" in found.outcome.end.undecided[0]


@pytest.mark.parametrize(("device", "delivered"), [("lo", False), ("eth0", None)])
def test_what_is_sent_to_loopback_meets_output_on_lo(tmp_path: Path, device: str, delivered: bool | None) -> None:
    drops = f"*filter\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -o {device} -p tcp -m tcp --dport 8080 -j DROP\nCOMMIT\n"
    found = on_loopback(tmp_path, drops + node_ports(NODE_PORT), 30080)
    assert found.outcome.end.delivered is delivered


def test_a_host_port_on_the_nodes_loopback_is_open(tmp_path: Path) -> None:
    end = on_loopback(tmp_path, node_ports(NODE_PORT), 8088).outcome.end
    assert end.delivered is None
    assert "pod shop/web has hostPort 8088 on node one" in end.undecided[0]


@pytest.mark.parametrize(("asked", "delivered"), [("192.168.0.1", False), ("127.0.0.1", None)])
def test_a_host_port_is_only_where_its_address_is(tmp_path: Path, asked: str, delivered: bool | None) -> None:
    end = on_loopback(tmp_path, node_ports(NODE_PORT), 8088, "127.0.0.1", asked).outcome.end
    assert end.delivered is delivered

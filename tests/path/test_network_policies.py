"""NetworkPolicies of both ends of a connection: what they let through, keep back, and leave open."""

import json
from pathlib import Path
from typing import Any

import pytest

from meshctl.path.model import Trace
from tests.path.made import Mesh, endpoints, plain, pod, service
from tests.path.test_forwarding import node

FILE = "resources/networkpolicies.networking.k8s.io.json"


def policy(name: str = "p", of: str = "web", **spec: Any) -> dict[str, Any]:
    selected = {"podSelector": {"matchLabels": {"app": of}}}
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": {**selected, **spec}}


def let_in(app: str, port: int = 8080) -> dict[str, Any]:
    return policy(ingress=[{"from": [{"podSelector": {"matchLabels": {"app": app}}}], "ports": [{"port": port}]}])


def let_out(app: str, port: int, protocol: str = "TCP") -> dict[str, Any]:
    rule = {"to": [{"podSelector": {"matchLabels": {"app": app}}}], "ports": [{"port": port, "protocol": protocol}]}
    return policy("out", "client", policyTypes=["Egress"], egress=[rule])


def made(*policies: dict[str, Any], meshed: bool = False, **files: str) -> Mesh:
    kind = pod if meshed else plain
    return Mesh(
        pods=[kind("client", "10.0.0.5"), kind("web", "10.0.0.6")],
        services=[service("web", "10.96.0.6", 80, 8080)],
        slices=[endpoints("web", 8080, "10.0.0.6")],
        listening={"web": ["0.0.0.0:8080"], "client": ["0.0.0.0:8080"]},
        files={FILE: json.dumps({"kind": "List", "items": policies}), **files},
    )


def restricted(found: Trace) -> list[str]:
    return [finding.text for finding in found.findings if finding.id == "MT113"]


@pytest.mark.parametrize("meshed", [False, True])
@pytest.mark.parametrize(
    ("policies", "passes"),
    [
        ([], True),
        ([policy(of="other")], True),
        ([let_in("client")], True),
        ([let_in("other")], False),
        ([let_in("client", 80)], False),  # policies see the pod's port, not the Service's
        ([let_in("other"), let_in("client")], True),
        ([let_out("web", 8080)], True),
        ([let_out("web", 80)], False),
        ([let_out("web", 8080), let_in("other")], False),
    ],
)
def test_a_request_past_both_ends(tmp_path: Path, meshed: bool, policies: list[dict[str, Any]], passes: bool) -> None:
    found = made(*policies, meshed=meshed).trace(tmp_path / "s", "web:80", "client")
    end = found.outcome.end
    assert end.delivered is (True if passes else None)
    assert bool(restricted(found)) is not passes
    assert any("NetworkPolicy shop/" in why and "enforces" in why for why in end.undecided) is not passes


def test_the_rule_that_lets_it_through_is_shown(tmp_path: Path) -> None:
    found = made(let_in("client")).trace(tmp_path / "s", "web:80", "client")
    hop = next(hop for hop in found.hops if hop.title == "NetworkPolicies")
    assert (hop.mood, hop.where, hop.at) == ("plain", "node", "one")
    assert hop.evidence[0].path == "items[0].spec.ingress[0]"
    assert hop.evidence[0].file.endswith(FILE)


def test_a_policy_that_refuses_is_shown_with_all_that_isolate(tmp_path: Path) -> None:
    found = made(policy("one"), policy("two", ingress=[])).trace(tmp_path / "s", "web:80", "client")
    hop = next(hop for hop in found.hops if hop.title == "NetworkPolicies")
    assert hop.mood == "warn"
    assert [proof.path for proof in hop.evidence] == ["items[0].spec", "items[1].spec"]
    assert "NetworkPolicy shop/one and NetworkPolicy shop/two let no such connection through" in hop.decision


@pytest.mark.parametrize(
    ("sender", "target"),
    [("client", "10.0.0.5:8080"), ("host", "web:80")],  # itself; and what the pod's own node sends
)
def test_what_no_policy_keeps_back(tmp_path: Path, sender: str, target: str) -> None:
    mesh = made(policy(), policy(of="client"), policy("out", "host", policyTypes=["Egress"]))
    host = plain("host", "192.168.0.1")
    host["spec"]["hostNetwork"] = True
    mesh.pods = [*mesh.pods, host]
    assert not restricted(mesh.trace(tmp_path / "s", target, sender))


def test_what_the_node_drops_is_sure(tmp_path: Path) -> None:
    rules = node(forward="-A FORWARD -d 10.0.0.6/32 -j DROP\n")
    files = {"nodes/one/netns/iptables-save.txt": rules}
    end = made(policy(), **files).trace(tmp_path / "s", "web:80", "client").outcome.end
    assert (end.delivered, end.broken) == (False, "timeout")


RESOLV = {"pods/shop/client/netns/resolv.conf": "nameserver 10.96.0.10\nsearch shop.svc.cluster.local\n"}
DNS_PODS = {"to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}]}
TO_ALL = {"to": [{"namespaceSelector": {}}], "ports": [{"port": 8080}]}


@pytest.mark.parametrize(
    ("egress", "resolves"),
    [
        ([TO_ALL], False),
        ([TO_ALL, {"ports": [{"port": 53, "protocol": "TCP"}]}], False),
        ([TO_ALL, {"ports": [{"port": 53, "protocol": "UDP"}]}], True),
        ([TO_ALL, {**DNS_PODS, "ports": [{"port": 53, "protocol": "UDP"}]}], True),  # who they are is not recorded
        ([TO_ALL, DNS_PODS], False),
        ([{}], True),
    ],
)
def test_questions_to_nameservers_are_egress_too(tmp_path: Path, egress: Any, resolves: bool) -> None:
    mesh = made(policy("out", "client", policyTypes=["Egress"], egress=egress), **RESOLV)
    found = mesh.trace(tmp_path / "s", "web:80", "client")
    assert (found.outcome.end.delivered is True) is resolves
    assert any("the question to 10.96.0.10" in why for why in found.outcome.end.undecided) is not resolves


def test_policies_that_cannot_be_read_are_a_gap(tmp_path: Path) -> None:
    found = made(**{FILE: "{"}).trace(tmp_path / "s", "web:80", "client")
    assert any("networkpolicies" in gap for gap in found.gaps)
    assert found.outcome.end.delivered

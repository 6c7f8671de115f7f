"""NetworkPolicies: whom they isolate, and what they let through."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshctl.kube.containers import Container, Port
from meshctl.kube.isolation import CalledPort, Peer, judge
from meshctl.kube.network_policies import Direction, read
from meshctl.kube.pods import Pod

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)

SHOP = {"kubernetes.io/metadata.name": "shop"}
WEB = Container(name="web", kind="app", ports=(Port(8080, "http"),))
POD = Pod(name="web-1", namespace="shop", labels={"app": "web"}, containers=(WEB,))
CLIENT = Peer("pod", "10.0.0.5", "shop", {"app": "client"}, {})
FAR = Peer("pod", "10.0.1.5", "far", {"app": "client"}, {"team": "x"})
WORLD = Peer("outside", "203.0.113.9")
HTTP = CalledPort(8080, "TCP", POD)


def policy(namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", "namespace": namespace}, "spec": {"podSelector": {}, **spec}}


def passes(
    peer: Peer, *raws: dict[str, Any], port: CalledPort = HTTP, direction: Direction = "Ingress"
) -> bool | str | None:
    """Whether the policies let it through; a word where none of them isolates the pod."""
    found = judge(read(raws, "f.json"), POD, direction, peer, port)
    return found.passes if found is not None else "free"


def froms(*peers: dict[str, Any], ports: Any = ()) -> dict[str, Any]:
    return policy(ingress=[{"from": list(peers), "ports": list(ports)}])


def pods(**labels: str) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": labels}}


def namespaces(**labels: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": labels}}


@pytest.mark.parametrize(
    ("raw", "ingress", "egress"),
    [
        (policy(), False, "free"),
        (policy(egress=[{}]), False, True),
        (policy(policyTypes=["Egress"]), "free", False),
        (policy(podSelector={"matchLabels": {"app": "web"}}, policyTypes=["Ingress"]), False, "free"),
        (policy(podSelector={"matchLabels": {"app": "other"}}), "free", "free"),
        (policy("other"), "free", "free"),
        (policy(podSelector={"matchExpressions": [{"key": "app", "operator": "Exists"}]}), False, "free"),
        (policy(podSelector={"matchExpressions": [{"key": "app", "operator": "Odd"}]}), None, "free"),
        (policy(ingress=[{}], policyTypes=["Ingress", "Egress"]), True, False),
    ],
)
def test_which_policies_isolate_a_pod(raw: dict[str, Any], ingress: Any, egress: Any) -> None:
    assert passes(CLIENT, raw) == ingress
    assert passes(CLIENT, raw, direction="Egress") == egress


@pytest.mark.parametrize(
    ("raw", "of_client", "of_far", "of_world"),
    [
        (froms(pods()), True, False, False),
        (froms(pods(app="client")), True, False, False),
        (froms(pods(app="other")), False, False, False),
        (froms(namespaces()), True, True, False),
        (froms(namespaces(team="x")), False, True, False),
        (froms({**namespaces(team="x"), **pods(app="client")}), False, True, False),
        (froms({**namespaces(team="x"), **pods(app="other")}), False, False, False),
        (froms(namespaces(**{"kubernetes.io/metadata.name": "far"})), False, True, False),
        (froms({"ipBlock": {"cidr": "203.0.113.0/24"}}), False, False, True),
        (froms({"ipBlock": {"cidr": "203.0.113.0/24", "except": ["203.0.113.8/31"]}}), False, False, False),
        (froms({"ipBlock": {"cidr": "0.0.0.0/0"}}), None, None, True),
        (froms({"ipBlock": {"cidr": "::/0"}}), False, False, False),
        (froms({"ipBlock": {"cidr": "0.0.0.0/0"}}, namespaces()), True, True, True),
        (froms({"ipBlock": {"cidr": "all"}}), None, None, None),
        (froms({}), None, None, None),
        (froms(), True, True, True),
        (policy(ingress=[]), False, False, False),
    ],
)
def test_whom_a_rule_lets_in(raw: dict[str, Any], of_client: Any, of_far: Any, of_world: Any) -> None:
    assert (passes(CLIENT, raw), passes(FAR, raw), passes(WORLD, raw)) == (of_client, of_far, of_world)


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        ([], True),
        ([{"port": 8080}], True),
        ([{"port": 80}], False),
        ([{"protocol": "UDP", "port": 8080}], False),
        ([{"protocol": "TCP"}], True),
        ([{"port": 8000, "endPort": 8080}], True),
        ([{"port": 8000, "endPort": 8079}], False),
        ([{"port": "http"}], True),
        ([{"port": "grpc"}], False),
        ([{"port": 80}, {"port": "http"}], True),
        ([{"port": [1]}], None),
    ],
)
def test_ports_are_those_of_the_called_pod(ports: Any, expected: Any) -> None:
    assert passes(CLIENT, froms(ports=ports)) is expected


def test_the_name_of_a_port_of_nobody_known_is_open() -> None:
    raw = policy(policyTypes=["Egress"], egress=[{"ports": [{"port": "http"}]}])
    assert passes(WORLD, raw, port=CalledPort(8080, "TCP", None), direction="Egress") is None


def test_any_policy_may_let_it_through() -> None:
    assert passes(CLIENT, policy(), froms(pods(app="client"))) is True
    found = judge(read([policy(), froms(pods(app="client"))], "f.json"), POD, "Ingress", CLIENT, HTTP)
    assert found is not None
    assert found.proof[0].path == "items[1].spec.ingress[0]"


@pytest.mark.parametrize(
    ("peer", "raw", "expected"),
    [
        (Peer("pod", "10.0.1.5", "far", None, {}), froms({**namespaces(), **pods(app="client")}), None),
        (Peer("pod", "10.0.1.5", "far", {"app": "client"}, None), froms(namespaces(team="x")), None),
        (Peer("pod", "10.0.1.5", "far", {"app": "client"}, None), froms(namespaces(team="x", **SHOP)), False),
        (Peer("node", "192.0.2.7"), froms(namespaces()), None),
        (Peer("node", "192.0.2.7"), froms({"ipBlock": {"cidr": "192.0.2.0/24"}}), True),
        (Peer("unknown"), froms(namespaces()), None),
        (Peer("unknown"), froms(), True),
        (Peer("unknown"), policy(), False),
        (Peer("outside"), froms({"ipBlock": {"cidr": "0.0.0.0/0"}}), True),
        (Peer("outside"), froms({"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}), None),
    ],
)
def test_what_is_not_known_of_the_other_end_is_open(peer: Peer, raw: dict[str, Any], expected: Any) -> None:
    assert passes(peer, raw) is expected


def test_a_policy_that_cannot_be_read_is_open() -> None:
    assert passes(CLIENT, policy(ingress="all")) is None
    assert passes(CLIENT, policy(ingress="all"), froms()) is True


@given(st.dictionaries(st.sampled_from(["metadata", "spec", "podSelector", "ingress", "from"]), JSON), JSON)
def test_nothing_that_is_written_breaks_the_reading(raw: dict[str, Any], spec: Any) -> None:
    for direction in ("Ingress", "Egress"):
        whole = {"metadata": {"name": "p", "namespace": "shop"}, "spec": spec}
        found = judge(read([raw, whole], "f.json"), POD, direction, CLIENT, HTTP)
        assert found is None or found.why


@given(
    st.ip_addresses(v=4),
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)),
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)),
)
def test_blocks_are_sets_of_addresses(at: Any, block: Any, hole: Any) -> None:
    cidr, excepted = (f"{ip_network((int(a), n), strict=False)}" for a, n in (block, hole))
    inside = ip_address(at) in ip_network(cidr) and ip_address(at) not in ip_network(excepted)
    raw = froms({"ipBlock": {"cidr": cidr, "except": [excepted]}})
    assert passes(Peer("outside", str(at)), raw) is inside

"""What kube-proxy's rules choose, in both modes: rules that kube-proxy wrote, and where packets really went."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from meshctl.kube.node_dump import NodeDump
from meshctl.kube.proxy_rules import NodeDecision, decide, evidence, is_kube_proxy
from meshctl.netfilter import iptables_save, nft_json
from meshctl.netfilter.model import Ruleset
from meshctl.sources import snapshot

FIXTURES = Path(__file__).parent.parent.parent / "fixtures"
FOLDER = FIXTURES / "kube-proxy"
MODES = ("nft", "iptables")


@cache
def dump() -> str:
    world = snapshot.open_snapshot(str(FIXTURES / "trace" / "policies.tar.gz"))
    return (world.node_part("minikube", "netns/iptables-save.txt").content or b"").decode()


@cache
def recorded() -> tuple[Ruleset, ...]:
    return (iptables_save.parse(dump(), "node"),)


@cache
def rules(mode: str) -> tuple[Ruleset, ...]:
    if mode == "nft":
        return nft_json.parse((FOLDER / "nft.json").read_text(), "nft.json")
    return (
        iptables_save.parse((FOLDER / "iptables-save.txt").read_text(), "iptables-save.txt", "ipv4"),
        iptables_save.parse((FOLDER / "ip6tables-save.txt").read_text(), "ip6tables-save.txt", "ipv6"),
    )


def packets() -> list[Any]:
    return [
        pytest.param(mode, row, id=f"{mode}-{row['from']}-{row['proto']}-{row['address']}-{row['port']}")
        for mode in MODES
        for row in json.loads((FOLDER / f"packets-{mode}.json").read_text())
    ]


def ask(mode: str, row: dict[str, Any]) -> NodeDecision:
    return decide(
        rules(mode),
        row["address"],
        row["port"],
        source=row["source"],
        to_node=row["address"] in ("192.168.49.2", "fd00:49::2"),
        from_node=row["from"] == "node",
        proto=row["proto"],
    )


@pytest.mark.parametrize(("mode", "row"), packets())
def test_the_rules_do_what_they_did_with_real_packets(mode: str, row: dict[str, Any]) -> None:
    found = ask(mode, row)
    assert found.unknown == ()
    told = {f"{choice.address} {choice.port}": choice.probability for choice in found.choices}
    match row["result"]:
        case "translated":
            assert set(row["went_to"]) <= set(told)
            # Ten connections: an endpoint of two or three is missed less than once in fifty rows.
            assert set(told) == set(row["went_to"]) or row["sent"] < 10 or len(told) > 2
            assert sum(told.values()) == pytest.approx(1.0, abs=1e-6)
            assert max(told.values()) == pytest.approx(min(told.values()), abs=1e-6)
        case "refused":
            # Nobody listens on the node port itself: that refusal is the node's own, no rule is about it.
            assert found.refused or (row["port"] == 30087 and found.matched is None)
        case "no answer":
            assert found.dropped
        case "passed":
            assert found.matched is None


def test_there_are_packets_of_every_kind() -> None:
    for mode in MODES:
        rows = json.loads((FOLDER / f"packets-{mode}.json").read_text())
        assert {row["proto"] for row in rows} == {"tcp", "udp"}
        assert {row["result"] for row in rows} >= {"translated", "refused", "no answer"}
        assert {":" in row["address"] for row in rows} == {True, False}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("address", "port", "source", "cause"),
    [
        ("10.96.1.6", 80, "172.17.0.99", "no-endpoints"),
        ("10.96.1.10", 80, "172.17.0.99", "no-local-endpoints"),
        ("203.0.113.8", 80, "192.0.2.5", "source-range"),
    ],
)
def test_a_refusal_has_its_cause(mode: str, address: str, port: int, source: str, cause: str) -> None:
    assert decide(rules(mode), address, port, source=source).cause == cause


def test_nft_mode_refuses_what_no_service_has() -> None:
    assert decide(rules("nft"), "10.96.1.1", 81).cause == "no-port"
    assert decide(rules("nft"), "10.96.1.99", 80).cause == "no-service"
    assert decide(rules("nft"), "198.18.0.1", 80).matched is None
    assert decide(rules("iptables"), "10.96.1.1", 81).matched is None


@pytest.mark.parametrize("mode", MODES)
def test_affinity_is_said(mode: str) -> None:
    found = decide(rules(mode), "10.96.1.3", 80, source="172.17.0.99")
    assert found.affinity
    assert not found.remembered
    assert not decide(rules(mode), "10.96.1.1", 80, source="172.17.0.99").affinity


def test_a_client_that_nft_remembers_gets_its_endpoint_again() -> None:
    listing = json.loads((FOLDER / "nft.json").read_text())
    name = "affinity-7NJKTKZQ-shop/sticky/tcp/http__172.17.1.32/8080"
    held = next(item["set"] for item in listing["nftables"] if item.get("set", {}).get("name") == name)
    held["elem"] = [{"elem": {"val": "172.17.0.99", "timeout": 10800, "expires": 10000}}]
    found = decide(nft_json.parse(json.dumps(listing)), "10.96.1.3", 80, source="172.17.0.99")
    assert [(choice.address, choice.probability) for choice in found.choices] == [("172.17.1.32", 1.0)]
    assert found.remembered
    other = decide(nft_json.parse(json.dumps(listing)), "10.96.1.3", 80, source="172.17.0.98")
    assert len(other.choices) == 2


def test_the_evidence_names_the_map_s_element_and_the_translation() -> None:
    texts = [text for _, text in evidence(decide(rules("nft"), "10.96.1.9", 80, source="172.17.0.99"))]
    assert texts[0] == "ip daddr . meta l4proto . th dport vmap @service-ips"
    assert texts[1].startswith("10.96.1.9 . tcp . 80 : goto local-")
    assert texts[-1].endswith("to 172.17.0.91:8080")


def test_a_cluster_ip_is_shared_evenly_among_its_endpoints() -> None:
    found = decide(recorded(), "10.106.33.104", 9080, source="172.17.0.111")
    assert found.mode == "iptables"
    assert {(c.address, c.port) for c in found.choices} == {(f"172.17.0.{n}", 9080) for n in (113, 114, 115, 116)}
    assert all(c.probability == pytest.approx(0.25, abs=1e-6) for c in found.choices)
    assert any("KUBE-SEP-" in text for _, text in evidence(found))


def test_a_node_port_leads_through_the_external_chain() -> None:
    found = decide(recorded(), "192.168.49.2", 30440, to_node=True)
    assert [(c.address, c.port) for c in found.choices] == [("172.17.0.76", 8080)]


def test_the_mode_is_recognised() -> None:
    assert is_kube_proxy(recorded()) == "iptables"
    assert is_kube_proxy(rules("nft")) == "nft"
    assert is_kube_proxy(()) == ""


@pytest.mark.parametrize(("address", "port"), [("10.106.33.104", 9080), ("10.102.156.183", 8080), ("10.99.99.99", 1)])
def test_the_part_of_a_dump_decides_as_the_whole_does(address: str, port: int) -> None:
    part = iptables_save.parse(NodeDump(dump()).about(address), "node")
    whole = decide(recorded(), address, port)
    found = decide((part,), address, port)
    assert [(c.address, c.port, c.probability) for c in found.choices] == [
        (c.address, c.port, c.probability) for c in whole.choices
    ]
    assert (found.matched and found.matched.origin) == (whole.matched and whole.matched.origin)
    assert len(list(part.rules)) < len(list(recorded()[0].rules)) / 5


def test_the_part_of_a_dump_does_what_the_packets_did() -> None:
    text = NodeDump((FOLDER / "iptables-save.txt").read_text())
    for row in json.loads((FOLDER / "packets-iptables.json").read_text()):
        if ":" in row["address"]:
            continue
        part = iptables_save.parse(text.about(row["address"]), "node")
        own = {"to_node": row["address"] == "192.168.49.2", "from_node": row["from"] == "node"}
        found = decide((part,), row["address"], row["port"], source=row["source"], proto=row["proto"], **own)
        whole = ask("iptables", row)
        assert (found.cause, len(found.choices)) == (whole.cause, len(whole.choices)), row

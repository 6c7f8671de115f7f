import json
from html import escape
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from meshctl.netfilter import iptables_save
from meshctl.netfilter.drift import compare
from meshctl.netfilter.dump import Dump, chains_in_order, selected, tables_in_order
from meshctl.netfilter.wanted import of_arguments
from meshctl.render import html, mermaid, terminal
from meshctl.views import drift as drift_view
from meshctl.views import rules as view
from meshctl.views.drift import Compared
from tests.netfilter.rulings import CASES, Case, case

SCHEMAS = Path(view.__file__).parents[1] / "schemas"


def valid(document: Any, name: str) -> None:
    Draft202012Validator(json.loads((SCHEMAS / f"{name}.json").read_text())).validate(json.loads(json.dumps(document)))


def dump(recorded: Case) -> Dump:
    return Dump("shop-1.shop", recorded.found, ("shop", "shop-1"), recorded.capture, "istio-init writes them")


def compared(recorded: Case, text: str) -> Compared:
    wanted = of_arguments(recorded.said["args"], recorded.said["env"], recorded.release, recorded.network)  # type: ignore[arg-type]
    assert wanted.expected is not None
    found = compare(wanted.expected, [iptables_save.parse(text, "save.txt", "ipv4")], wanted.capture)
    return Compared("shop-1.shop", ("shop", "shop-1"), wanted, found)


@pytest.mark.parametrize("recorded", CASES, ids=lambda c: c.name)
def test_the_document_keeps_the_contract(recorded: Case) -> None:
    document = view.document(dump(recorded))
    valid(document, "ruleset")
    assert document["summary"]["foreign"] == document["summary"]["not_understood"] == 0
    assert document["summary"]["rules"] == sum(1 for ruleset in recorded.found for _ in ruleset.rules)


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("wide", [False, True])
def test_every_rule_is_on_the_page(width: int, wide: bool) -> None:
    recorded = case("1.30.3/tproxy")
    text = " ".join(terminal.draw(view.page(dump(recorded), wide=wide), width=width).split())
    for ruleset in recorded.found:
        for *_, rule in ruleset.rules:
            for word in rule.text.removeprefix(f"-A {rule.chain} ").split():
                assert word in text


def test_tables_and_chains_stand_as_packets_meet_them() -> None:
    ruleset = next(r for r in case("1.30.3/dns").found if r.family == "ipv4")
    tables = tables_in_order(ruleset)
    assert [table.name for table in tables] == ["raw", "nat"]
    names = [chain.name for chain in chains_in_order(tables[1]) if chain.rules]
    assert names == [
        "PREROUTING", "ISTIO_INBOUND", "ISTIO_IN_REDIRECT", "OUTPUT", "ISTIO_OUTPUT", "ISTIO_OUTPUT_DNS",
        "ISTIO_REDIRECT",
    ]  # fmt: skip


def test_one_packet_is_one_packet() -> None:
    text = "*nat\n:OUTPUT ACCEPT [1:60]\n[1:60] -A OUTPUT -p tcp -j ISTIO_OUTPUT\n[0:0] -A OUTPUT -j LOG\nCOMMIT\n"
    found = Dump("x", (iptables_save.parse(text, "save.txt", "ipv4"),))
    drawn = terminal.draw(view.page(found), width=120)
    assert "  1 packet\n" in drawn
    assert ", 1 packet met the policy" in drawn
    assert "  0 packets\n" in drawn


def test_a_chain_that_nothing_leads_to_says_so() -> None:
    text = terminal.draw(view.page(dump(case("1.30.3/tproxy"))), width=120)
    assert "nothing leads to chain ISTIO_INBOUND" in text


def test_a_table_is_selected_by_its_plain_name() -> None:
    for name in ("1.30.3/dns", "1.30.3/dns-nft"):
        document = view.document(selected(dump(case(name)), table="raw"))
        (ruleset,) = [r for r in document["rulesets"] if r["tables"]]
        assert [table["name"].rpartition("-")[2] for table in ruleset["tables"]] == ["raw"]


def test_no_rules_and_nothing_recorded_are_told_apart() -> None:
    none = view.document(Dump("x", (), captured=True))
    assert [finding["id"] for finding in none["findings"]] == ["rules-none"]
    gap = view.document(Dump("x", (), gaps=("netns/iptables-save.txt: not recorded",)))
    assert [finding["id"] for finding in gap["findings"]] == ["rules-not-recorded"]
    assert "snapshot record" in gap["findings"][0]["fix"]
    assert gap["summary"] != none["summary"]
    closed = view.document(Dump("x", (), gaps=("netns/iptables-save.txt: add --via ephemeral",)))
    assert closed["findings"][0]["fix"] == ""


def test_the_picture_has_jumps_as_edges_and_redirects_as_exits() -> None:
    (graph,) = view.page_for("svg", dump(case("1.30.3/default"))).blocks[:1]
    edges = {(edge.start, edge.end) for edge in graph.edges}  # type: ignore[union-attr]
    assert ("nat/OUTPUT", "nat/ISTIO_OUTPUT") in edges
    assert ("nat/ISTIO_REDIRECT", "exit:local port 15001") in edges
    assert ("nat/ISTIO_IN_REDIRECT", "exit:local port 15006") in edges
    drawn = mermaid.draw(view.page_for("svg", dump(case("1.30.3/default"))))
    assert drawn.startswith("flowchart")
    assert len(drawn.splitlines()) < 50


def test_the_html_page_has_the_picture_before_the_tables_and_every_rule() -> None:
    recorded = case("1.30.3/default")
    page = view.page_for("html", dump(recorded))
    kinds = [type(block).__name__ for block in page.blocks]
    assert kinds.index("Graph") < kinds.index("Table")
    drawn = html.draw(page)
    assert "The way through the chains" in drawn
    for _, _, _, rule in recorded.found[0].rules:
        assert escape(rule.text.removeprefix(f"-A {rule.chain} ")) in drawn
    assert "Graph" not in [type(block).__name__ for block in view.page_for("html", Dump("x", ())).blocks]


def test_a_drift_document_keeps_the_contract() -> None:
    recorded = case("1.30.3/default")
    text = recorded.expected.text("iptables-save.txt").replace("-A OUTPUT -j ISTIO_OUTPUT\n", "")
    document = drift_view.document(compared(recorded, text))
    valid(document, "drift")
    assert document["in_sync"] is False
    assert document["expected_from"]["istio_version"] == "1.30.3"
    assert document["items"][0]["effect"] == "outbound TCP leaves the pod without the proxy"


def test_the_page_of_a_drift_names_effect_and_remedy() -> None:
    recorded = case("1.30.3/default")
    text = recorded.expected.text("iptables-save.txt").replace("--to-ports 15006", "--to-ports 15007")
    page = terminal.draw(drift_view.page(compared(recorded, text)), width=120)
    assert "--to-ports 15006" in page
    assert "--to-ports 15007" in page
    assert "delete the pod" in page


def test_many_are_listed_worst_first() -> None:
    recorded = case("1.30.3/default")
    text = recorded.expected.text("iptables-save.txt")
    good = compared(recorded, text)
    bad = compared(recorded, text.replace("-A OUTPUT -j ISTIO_OUTPUT\n", ""))
    unknown = Compared("z", None, None, None, "the rules are not recorded")
    assert drift_view.worst_first([good, unknown, bad]) == (bad, unknown, good)
    valid(drift_view.documents([good, unknown, bad]), "drifts")
    assert "3 pods: 1 differs, 1 not comparable" in terminal.draw(drift_view.pages([good, unknown, bad]), width=100)

"""The page of a comparison."""

from dataclasses import replace

from meshctl.render import terminal
from meshctl.views import drift as view
from tests.netfilter.rulings import case
from tests.views.test_rules import compared


def test_rules_of_a_chain_that_nothing_leads_to_any_more_are_told_at_once() -> None:
    recorded = case("1.30.3/default")
    flushed = "*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"
    found = compared(recorded, flushed)
    text = terminal.draw(view.page(found), width=200, color=False)
    assert "missing  ipv4 nat PREROUTING rule 1" in text
    assert "missing  ipv4 nat ISTIO_INBOUND rules 1, 2, 3, 4, 5" in text
    assert text.count("nothing leads to ISTIO_INBOUND any more") == 1
    assert found.drift is not None
    assert all(item.expected in text for item in found.drift.items)
    assert len(view.document(found)["items"]) == len(found.drift.items)


def test_rules_that_nft_shows_in_part_are_not_called_in_sync() -> None:
    recorded = case("1.30.3/default")
    whole = compared(recorded, recorded.expected.text("iptables-save.txt"))
    assert whole.drift is not None
    assert view.document(whole)["in_sync"] is True
    partly = replace(whole, title="a", drift=replace(whole.drift, by_name=8, rules=18))
    said = "no difference was found, but 8 of 18 rules have a part that nft shows by name only"
    assert view.verdict(partly) == said
    assert (view.document(partly)["in_sync"], view.document(partly)["gap"]) == (None, partly.partly)
    broken = replace(whole, title="b", unseen=True)
    assert view.verdict(broken) == "no difference was found, but a listing of rules could not be read"
    text = terminal.draw(view.pages([whole, partly, broken]), width=120, color=False)
    assert "3 pods: 0 differ, 2 compared in part only" in text
    assert [line[0] for line in text.splitlines()[3:6]] == ["?", "?", "✓"]
    assert f"! {said}" in terminal.draw(view.page(partly), width=200, color=False)


def test_a_difference_is_told_though_not_all_could_be_compared() -> None:
    recorded = case("1.30.3/default")
    flushed = compared(recorded, "*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n")
    assert flushed.drift is not None
    partly = replace(flushed, drift=replace(flushed.drift, by_name=1, rules=1))
    assert partly.drifted
    assert view.document(partly)["in_sync"] is False
    assert view.verdict(partly) == view.verdict(flushed)

"""The page of a comparison."""

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

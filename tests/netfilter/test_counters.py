"""Which rules moved between two readings."""

from meshctl.netfilter import iptables_save
from meshctl.netfilter.counters import Movements, between
from meshctl.netfilter.model import Ruleset


def ruleset(*lines: str) -> tuple[Ruleset, ...]:
    return (iptables_save.parse("*nat\n:X - [0:0]\n" + "".join(f"{line}\n" for line in lines) + "COMMIT\n"),)


def moves(result: Movements) -> list[tuple[int, int, int]]:
    return [(one.number, one.packets, one.bytes) for one in result.moved]


def test_rules_are_found_again_by_their_text_and_place_among_equals() -> None:
    before = ruleset("[5:50] -A X -j RETURN", "[7:70] -A X -j RETURN", "[1:9] -A X -p tcp -j ACCEPT")
    after = ruleset(
        "[2:20] -A X -p udp -j ACCEPT", "[5:50] -A X -j RETURN", "[9:90] -A X -j RETURN", "[4:40] -A X -p tcp -j ACCEPT"
    )
    result = between(before, after, 2.0)
    assert moves(result) == [(4, 3, 31), (1, 2, 20), (3, 2, 20)]
    assert (result.still, result.notes) == (1, ("1 rule is new",))


def test_counters_made_anew_count_from_zero() -> None:
    result = between(ruleset("[50:500] -A X -j RETURN"), ruleset("[3:30] -A X -j RETURN"), None)
    assert moves(result) == [(1, 3, 30)]
    assert result.notes == ("1 rule is made anew",)


def test_rules_that_went_away_and_rules_without_counters_are_said() -> None:
    result = between(ruleset("[5:50] -A X -j RETURN"), ruleset("-A X -j ACCEPT"), 1.0)
    assert result.moved == ()
    assert result.notes == ("1 rule is gone", "1 rule is without a counter")

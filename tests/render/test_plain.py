from hypothesis import given
from hypothesis import strategies as st

from meshctl.blocks import Span
from meshctl.render.plain import cells, folded, plain, printable


def test_a_line_loses_only_its_styles() -> None:
    assert plain(("a ", Span("b", "code"), " c")) == "a b c"


def test_what_cannot_be_shown_is_marked() -> None:
    assert printable("a\x1b[31m\u202eb\tc\u00a0d\ud800") == "a\ufffd[31m\ufffdb c d\ufffd"


def test_folding_breaks_at_spaces_and_hangs() -> None:
    assert folded("-p tcp --dport 15008 -j RETURN", 16, hang="  ") == ["-p tcp --dport", "  15008 -j", "  RETURN"]
    assert folded("0123456789", 4) == ["0123", "4567", "89"]
    assert folded("漢字漢字", 4) == ["漢字", "漢字"]


@given(st.text(), st.integers(1, 40), st.sampled_from(["", "  ", "    "]))
def test_folding_loses_no_letter(text: str, columns: int, hang: str) -> None:
    rows = folded(text, columns, hang=hang)
    assert "".join("".join(rows).split()) == "".join(text.split())
    assert all(cells(row) <= max(columns, 2 * len(hang) + 2) for row in rows)

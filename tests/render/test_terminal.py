import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from meshctl.blocks import (
    Bar,
    Column,
    Edge,
    Facts,
    Graph,
    Heading,
    Lane,
    Lanes,
    Node,
    Note,
    Page,
    Span,
    Stage,
    Table,
    Text,
    Timeline,
    Tree,
    Verbatim,
    Vertex,
)
from meshctl.render import terminal

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
WORDS = "the packet goes on to the next rule of this chain because nothing matched it here"
EVERYTHING = Page(
    "all",
    (
        Heading("A page about a pod", 1),
        Facts((("node", "n1"), ("a rather long name", WORDS))),
        Heading("Rules"),
        Table(
            (Column("#", right=True, wrap=False), Column("rule"), Column("meaning", keep=3), Column("", keep=0)),
            (("1", Span(WORDS, "code"), WORDS, ""), ("12", "short", "", "")),
        ),
        Text((Span("strong", "strong"), " and plain ", WORDS), indent=2),
        Verbatim(f"-A CHAIN -j {'X' * 90}"),
        Tree((Node("root", (Node(WORDS, (Node("leaf"),)), Node("last"))),)),
        Lanes(
            (
                Lane(("pod ", Span("web", "name")), (Stage("App", "sends", (WORDS,), ("file:1",)), Stage("Rules"))),
                Lane("pod db", (Stage("Listener", "503", mood="bad"),)),
            ),
            ("resolves", "mutual TLS"),
        ),
        Graph((Vertex("a", "A"), Vertex("b", "B")), (Edge("a", "b", "jump"),)),
        Timeline((Bar("pause", 0, None), Bar("init", 1, 2, WORDS), Bar("moment", 3, 3)), 10),
        Note(WORDS, "bad", ("do this", WORDS)),
    ),
)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_nothing_is_wider_than_the_screen_and_no_word_is_lost(width: int) -> None:
    text = terminal.draw(EVERYTHING, width=width)
    assert max(cell_len(line) for line in text.split("\n")) <= width
    letters = re.sub(r"[^a-z]", "", text)
    assert letters.count("thepacketgoesontothenextrule") >= 4
    assert "X" * 20 in text


def test_colour_adds_escapes_and_changes_no_letter() -> None:
    plain = terminal.draw(EVERYTHING, width=100)
    colored = terminal.draw(EVERYTHING, width=100, color=True)
    assert "\x1b[" in colored
    assert "\x1b" not in plain
    bare = [line.rstrip() for line in ESCAPES.sub("", colored).split("\n")]
    assert bare == [line.rstrip() for line in plain.split("\n")]


def test_no_background_and_neither_black_nor_white() -> None:
    codes = {
        code
        for found in re.findall(r"\x1b\[([0-9;]*)m", terminal.draw(EVERYTHING, color=True))
        for code in found.split(";")
    }
    assert codes & {"30", "37", "90", "97", *(str(n) for n in range(40, 50))} == set()


def test_text_from_a_cluster_cannot_steer_the_terminal() -> None:
    page = Page("x", (Text("a\x1b[31mb\x07c\u202ed"), Facts((("k", "v\x9b2J"),))))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", terminal.draw(page))


def test_a_column_that_need_not_be_kept_vanishes_when_empty() -> None:
    table = Table((Column("a"), Column("gone", keep=0)), (("x", ""),))
    assert "gone" not in terminal.draw(Page("t", (table,)))
    assert "gone" in terminal.draw(Page("t", (Table(table.columns, (("x", "y"),)),)))


def test_where_columns_do_not_fit_rows_become_cards() -> None:
    columns = tuple(Column(f"title{i}") for i in range(8))
    text = terminal.draw(Page("t", (Table(columns, (tuple(f"value-number-{i}" for i in range(8)),)),)), width=50)
    assert all(f"title{i}  value-number-{i}" in text for i in range(1, 8))


def test_bars_are_drawn_to_scale() -> None:
    bars = (Bar("first", 0, 5), Bar("later", 5, 10), Bar("open", 0, None))
    first, later, still, _ = terminal.draw(Page("t", (Timeline(bars, 10),)), width=80).split("\n")
    assert first.count("█") == pytest.approx(later.count("█"), abs=1)
    assert later.index("█") > first.index("█") + first.count("█") - 2
    assert "▶" in still
    assert "▶" not in later


@pytest.mark.parametrize("width", [40, 47, 60, 80])
def test_a_note_that_does_not_fit_beside_its_bar_goes_below(width: int) -> None:
    bars = (Bar("a-rather-long-name", 0, 5, WORDS), Bar("b", 5, None))
    drawn = terminal.draw(Page("t", (Timeline(bars, 10),)), width=width)
    assert all(cell_len(line) <= width for line in drawn.split("\n"))
    assert "nothing" in drawn


@given(st.text(max_size=60), st.integers(40, 200))
def test_any_text_fits(text: str, width: int) -> None:
    page = Page(
        "t",
        (
            Heading(text),
            Text(text),
            Verbatim(text),
            Facts(((text, text),)),
            Table((Column("a"), Column("b")), ((text, text),)),
            Note(text),
            Tree((Node(text, (Node(text),)),)),
            Lanes((Lane(text, (Stage(text, text, (text,), (text,)),)),)),
        ),
    )
    drawn = terminal.draw(page, width=width)
    assert all(cell_len(line) <= width for line in drawn.split("\n"))

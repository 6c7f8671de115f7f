import json
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshctl.blocks import Column, Lane, Lanes, Note, Page, Span, Stage, Table
from meshctl.render import terminal
from meshctl.render.ascii import escaped_json, escaped_markup, spoken

PAGE = Page(
    "t",
    (
        Note("good one", "good"),
        Note("bad one", "bad"),
        Note("warning", "warn"),
        Note("remark", "info"),
        Table((Column("a"), Column("b")), ((Span("✓ a → b"), "right"), (Span("x"), "right"))),
        Lanes(
            (Lane("here", (Stage("first", decision="goes on", mood="good"), Stage("second", mood="bad"))),), ("to 1",)
        ),
    ),
)


def test_marks_become_words_that_keep_good_and_bad_apart() -> None:
    lines = spoken(terminal.draw(PAGE, width=50), "ascii").split("\n")
    assert [line for line in lines if " one" in line or "warning" in line or "remark" in line] == [
        "ok good one",
        "x bad one",
        "! warning",
        "- remark",
    ]


def test_columns_and_frames_stay_in_their_places() -> None:
    lines = spoken(terminal.draw(PAGE, width=50), "ascii").split("\n")
    table = [line for line in lines if line.endswith("right")]
    assert table[0].startswith("ok a -> b")
    framed = [line for line in lines if line[:1] in "|+" and line]
    assert {len(line) for line in framed} == {50}
    assert {line[0] + line[-1] for line in framed} == {"||", "++"}
    assert any("-> goes on" in line for line in framed)


@pytest.mark.parametrize(("encoding", "kept"), [("ascii", ""), ("latin-1", "·é"), ("cp437", "·é│")])
def test_what_the_encoding_has_stays(encoding: str, kept: str) -> None:
    assert spoken(kept, encoding) == kept
    assert spoken("日✓", encoding) == "?ok" if encoding != "cp437" else True
    assert spoken("✓ ✗ →", "utf-8") == "✓ ✗ →"


@given(st.text(), st.sampled_from(["ascii", "latin-1", "koi8-r"]))
def test_everything_can_be_written_and_documents_stay_the_same(text: str, encoding: str) -> None:
    spoken(text, encoding).encode(encoding)
    whole = json.dumps({"a": text}, ensure_ascii=False)
    assert json.loads(escaped_json(whole, encoding).encode(encoding).decode(encoding)) == {"a": text}
    escaped_markup(text, encoding).encode(encoding)
    assert unescape(escaped_markup("é✓", "ascii")) == "é✓"

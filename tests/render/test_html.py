import re
from html.parser import HTMLParser
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from meshctl.blocks import (
    Bar,
    Block,
    Column,
    Edge,
    Facts,
    Graph,
    Heading,
    Lane,
    Lanes,
    Line,
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
from meshctl.render import html
from tests.render.pages import PAGE

VOID = {"meta", "link", "br", "hr", "img", "input"}
ALLOWED = frozenset(
    re.findall(
        r"\w+",
        """html head meta link title style body a header h1 h2 h3 h4 h5 h6 nav ol ul li main section p span strong code
        pre br dl dt dd div table thead tbody tr th td i figure figcaption svg desc g rect path polygon text details
        summary footer""",
    )
)


class Reader(HTMLParser):
    """Reads a page strictly: every element is known and closed in order; keeps what the tests ask about."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED, tag
        assert len({name for name, _ in attrs}) == len(attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text.append(data)

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.elements if tag in tags]


def test_a_page_has_one_title_and_skips_no_level() -> None:
    levels = [int(tag[1]) for tag, _ in Reader(html.draw(PAGE)).elements if tag in {"h1", "h2", "h3", "h4", "h5", "h6"}]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_several_first_headings_become_sections() -> None:
    page = Page("Two pods", (Heading("one", 1), Heading("a", 2), Heading("two", 1), Heading("b", 3)))
    drawn = html.draw(page)
    assert "<h1>Two pods</h1>" in drawn
    assert drawn.count("<h2 ") == 2
    assert drawn.count("<h3>") == 2


def test_landmarks_language_and_skip_link() -> None:
    page = Reader(html.draw(PAGE))
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("main")) == len(page.all("header")) == len(page.all("footer")) == len(page.all("nav")) == 1
    links = {attrs["href"] for attrs in page.all("a")}
    ids = [attrs["id"] for _, attrs in page.elements if attrs.get("id")]
    assert "#main" in links
    assert {f"#{name}" for name in ids} >= links
    assert len(ids) == len(set(ids))
    named = {attrs["aria-labelledby"] for attrs in page.all("section") if "aria-labelledby" in attrs}
    assert named <= set(ids)


def test_tables_have_headers_also_as_cards() -> None:
    page = Reader(html.draw(PAGE))
    heads = page.all("th")
    assert all(attrs.get("scope") in {"col", "row"} for attrs in heads)
    assert all(attrs.get("role") == "cell" for attrs in page.all("td"))
    assert {attrs.get("data-label") for attrs in page.all("td")} >= {"Value", "Meaning", "Source"}


def test_nothing_is_fetched_and_nothing_runs() -> None:
    drawn = html.draw(PAGE)
    page = Reader(drawn)
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on") or name == "src"]
    assert all(str(attrs["href"]).startswith("#") for attrs in page.all("a"))
    assert [attrs["href"] for attrs in page.all("link")] == ["data:,"]
    assert "url(" not in drawn
    assert "@import" not in drawn
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert str(policy).startswith("default-src 'none';")


def test_each_stage_opens_to_its_evidence() -> None:
    drawn = html.draw(PAGE)
    evidence = sum(
        1 for b in PAGE.blocks if isinstance(b, Lanes) for lane in b.lanes for s in lane.stages if s.evidence
    )
    assert drawn.count("<summary>Evidence (") == evidence
    assert "-A ISTIO_OUTPUT -j ISTIO_REDIRECT" in drawn


def test_all_words_of_a_page_are_there() -> None:
    text = " ".join(Reader(html.draw(PAGE)).text)
    for word in ("productpage-v1-65b96ccf8f-8mxlc", "istio-init", "ready after 3.1 s", "1.30.1 against 1.30.3"):
        assert word in text


HOSTILE = st.sampled_from(
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "' onmouseover='alert(1)",
        "</style><script>",
        "<!--",
        "]]>",
        "&lt;b&gt;",
        "\x00\x08\ud800\u202e",
        "javascript:alert(1)",
        "</pre></main>",
    ]
)
WORDS = st.text(max_size=16) | HOSTILE
STYLES = st.sampled_from(["", "strong", "dim", "name", "code", "good", "bad", "warn", "added", "accent"])
LINES: st.SearchStrategy[Line] = WORDS | st.lists(WORDS | st.builds(Span, WORDS, STYLES), max_size=3).map(tuple)
SOME = st.lists(LINES, max_size=2).map(tuple)
NODES = st.recursive(st.builds(Node, LINES), lambda n: st.builds(Node, LINES, st.lists(n, max_size=2).map(tuple)))
STAGES = st.builds(Stage, LINES, LINES, SOME, SOME, st.sampled_from(["plain", "good", "bad", "warn"]), WORDS)
LANES = st.builds(Lane, LINES, st.lists(STAGES, max_size=3).map(tuple))
BLOCKS: st.SearchStrategy[Block] = st.one_of(
    st.builds(Heading, LINES, st.integers(1, 6)),
    st.builds(Text, LINES, st.integers(0, 12)),
    st.builds(Verbatim, WORDS),
    st.builds(Facts, st.lists(st.tuples(WORDS, LINES), max_size=3).map(tuple)),
    st.builds(
        Table,
        st.lists(st.builds(Column, WORDS, st.booleans(), st.integers(0, 9), st.booleans()), max_size=6).map(tuple),
        st.lists(st.lists(LINES, max_size=7).map(tuple), max_size=3).map(tuple),
    ),
    st.builds(Tree, st.lists(NODES, max_size=2).map(tuple)),
    st.builds(Lanes, st.lists(LANES, max_size=4).map(tuple), st.lists(WORDS, max_size=4).map(tuple)),
    st.builds(
        Graph,
        st.lists(st.builds(Vertex, WORDS, WORDS, st.lists(WORDS, max_size=2).map(tuple)), max_size=3).map(tuple),
        st.lists(st.builds(Edge, WORDS, WORDS, WORDS), max_size=3).map(tuple),
        WORDS,
    ),
    st.builds(
        Timeline,
        st.lists(st.builds(Bar, WORDS, st.floats(0, 99), st.none() | st.floats(0, 99), LINES, STYLES), max_size=3).map(
            tuple
        ),
        st.floats(0, 99),
    ),
    st.builds(Note, LINES, st.sampled_from(["good", "bad", "warn", "info"]), SOME),
)


@settings(deadline=None, max_examples=250)
@given(WORDS, st.lists(BLOCKS, max_size=5))
def test_no_text_can_become_markup(title: str, blocks: list[Block]) -> None:
    drawn = html.draw(Page(title, tuple(blocks)))
    drawn.encode()
    page = Reader(drawn)
    names = {name for _, attrs in page.elements for name in attrs}
    assert not [name for name in names if name.startswith("on") or name in {"src", "srcdoc", "action", "formaction"}]
    assert {str(attrs["href"])[:1] for attrs in page.all("a")} == {"#"}
    levels = [int(tag[1]) for tag, _ in page.elements if tag in {"h1", "h2", "h3", "h4", "h5", "h6"}]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))

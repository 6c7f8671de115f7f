import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshctl.blocks import Bar, Edge, Graph, Lane, Lanes, Page, Stage, Text, Timeline, Vertex
from meshctl.errors import BadInput
from meshctl.render import svg, svg_graph
from tests.render.pages import CHAINS, PAGE, PATH

NS = "{http://www.w3.org/2000/svg}"
KNOWN = {"svg", "title", "desc", "style", "g", "rect", "path", "polygon", "text"}
Box = tuple[float, float, float, float]


def parsed(page: Page) -> ElementTree.Element:
    return ElementTree.fromstring(svg.draw(page))


def boxes(root: ElementTree.Element, kinds: set[str]) -> list[Box]:
    """The rectangles of some kinds as (left, top, right, bottom)."""
    found = []
    for rect in root.iter(f"{NS}rect"):
        if kinds & set(rect.get("class", "").split()):
            x, y, w, h = (float(rect.get(name, "0")) for name in ("x", "y", "width", "height"))
            found.append((x, y, x + w, y + h))
    return found


def apart(one: Box, other: Box) -> bool:
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_a_default_pods_nat_chains_fit_one_screen() -> None:
    root = parsed(Page("Rules", (CHAINS,)))
    assert float(root.get("width", "0")) <= 1280
    assert float(root.get("height", "0")) <= 760


def test_no_two_boxes_overlap_and_all_are_inside() -> None:
    root = parsed(Page("Rules", (CHAINS,)))
    drawn = boxes(root, {"box", "exit"})
    assert len(drawn) == len(CHAINS.vertices)
    assert all(apart(one, other) for i, one in enumerate(drawn) for other in drawn[i + 1 :])
    assert all(left >= 0 and right <= float(root.get("width", "0")) for left, _, right, _ in drawn)


def test_no_two_labels_of_a_default_pod_overlap() -> None:
    drawn = boxes(parsed(Page("Rules", (CHAINS,))), {"label"})
    assert len(drawn) == len(CHAINS.edges)
    assert all(apart(one, other) for i, one in enumerate(drawn) for other in drawn[i + 1 :])


def test_every_rule_is_written_whole() -> None:
    text = " ".join(element.text or "" for element in parsed(Page("Rules", (CHAINS,))).iter(f"{NS}text"))
    for vertex in CHAINS.vertices:
        for line in vertex.lines:
            assert "".join(line.split()) in "".join(text.split())


def test_it_stands_alone_and_is_named_for_screen_readers() -> None:
    drawn = svg.draw(PAGE)
    root = ElementTree.fromstring(drawn)
    assert root.get("role") == "img"
    assert root.get("aria-label") == PAGE.title
    assert "OUTPUT to ISTIO_OUTPUT (tcp · 42)" in (root.findtext(f"{NS}desc") or "")
    assert "url(" not in drawn
    assert "var(--" not in drawn
    assert "prefers-color-scheme: dark" in drawn


def test_the_evidence_of_a_stage_is_its_tool_tip() -> None:
    tips = [element.text for element in parsed(Page("Path", (PATH,))).iter(f"{NS}title")]
    assert "netns/iptables-save.txt:31  -A ISTIO_OUTPUT -j ISTIO_REDIRECT" in tips


def test_groups_are_framed_apart() -> None:
    graph = Graph(
        (
            Vertex("a", "A", group="nat"),
            Vertex("b", "B", group="nat"),
            Vertex("c", "C", group="mangle"),
            Vertex("d", "D", group="mangle"),
        ),
        (Edge("a", "b"), Edge("c", "d"), Edge("b", "d", "next")),
    )
    frames = boxes(parsed(Page("x", (graph,))), {"frame"})
    assert len(frames) == 2
    assert apart(*frames)


def test_a_page_without_pictures_is_refused() -> None:
    with pytest.raises(BadInput, match="could be drawn as a picture"):
        svg.draw(Page("Words", (Text("only words"),)))


NAMES = st.text(max_size=12) | st.sampled_from(
    ["</text><script>alert(1)</script>", '"><a href="x', "\x00\x1b[0m\ud800"]
)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Any graph: circles, loops, strays, groups, several arrows between two boxes."""
    count = draw(st.integers(1, 9))
    keys = st.integers(0, count).map(str)
    vertices = tuple(
        Vertex(
            str(i),
            draw(NAMES),
            tuple(draw(st.lists(NAMES, max_size=3))),
            draw(st.sampled_from(["box", "round", "exit"])),
            draw(st.sampled_from(["", "", "one", "two"])),
        )
        for i in range(count)
    )
    moods = st.sampled_from(["plain", "good", "bad", "dim"])
    edges = draw(st.lists(st.builds(Edge, keys, keys, NAMES, moods), max_size=14))
    return Graph(vertices, tuple(edges), draw(NAMES))


@settings(deadline=None, max_examples=120)
@given(graphs())
def test_any_graph_is_well_formed_complete_and_without_overlaps(graph: Graph) -> None:
    root = parsed(Page(graph.title, (graph,)))
    assert {element.tag.removeprefix(NS) for element in root.iter()} <= KNOWN
    assert not [name for element in root.iter() for name in element.attrib if name.startswith("on") or "href" in name]
    drawn = boxes(root, {"box", "exit"})
    assert len(drawn) >= len(graph.vertices)
    assert all(apart(one, other) for i, one in enumerate(drawn) for other in drawn[i + 1 :])
    arrows = list(root.iter(f"{NS}polygon"))
    assert len(arrows) == len(graph.edges)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(NAMES, max_size=3), min_size=1, max_size=5), NAMES)
def test_any_path_is_well_formed(lanes: list[list[str]], label: str) -> None:
    block = Lanes(
        tuple(Lane(label, tuple(Stage(name, label, (name,), (label,), "bad") for name in names)) for names in lanes),
        (label, label),
    )
    root = parsed(Page(label, (block, Timeline((Bar(label, 0.0, None), Bar("x", 3.0, 2.0)), 0.0))))
    assert {element.tag.removeprefix(NS) for element in root.iter()} <= KNOWN
    assert len(boxes(root, {"stage"})) == sum(len(names) for names in lanes)


def test_sixty_chains_are_laid_out_quickly_enough_to_wait_for() -> None:
    vertices = tuple(Vertex(f"{i}", f"KUBE-SVC-{i}", ("1  -j KUBE-SEP",) * (i % 7)) for i in range(60))
    edges = tuple(Edge(f"{i}", f"{(i * 7 + 3) % 60}", f"{i}") for i in range(60))
    assert svg_graph.draw(Graph(vertices, edges)).width > 0


def test_lengths_are_short_and_never_exponential() -> None:
    assert not re.search(r'="[^"]*\d[eE][-+]?\d', re.sub(r"<style>.*</style>|<text.*?</text>", "", svg.draw(PAGE)))


def test_how_a_path_ends_is_in_the_picture_and_its_description() -> None:
    end = Stage("503 (UH) from the proxy", "no endpoint", ("retries 2 on 5xx",), (), "bad")
    drawn = svg.draw(Page("Path", (Lanes(PATH.lanes, PATH.arrows, end),)))
    for said in (">Outcome<", "503 (UH) from the proxy", "no endpoint", "retries 2 on 5xx", "outcome: 503 (UH)"):
        assert said in drawn

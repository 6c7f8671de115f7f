import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshctl.blocks import Edge, Graph, Lane, Lanes, Page, Stage, Text, Vertex
from meshctl.errors import BadInput
from meshctl.render import mermaid
from tests.render.pages import CHAINS, PAGE, PATH

HOSTILE = (
    '"]; click v0 "javascript:alert(1)"',
    "%%{init: {'securityLevel': 'loose'}}%%",
    "a\nend\nsubgraph x",
    "<img src=x onerror=alert(1)>",
    "style v0 fill:#f00;",
    "1. [link](http://example.com) `x` $$y$$",
)
SYNTAX = re.compile(
    "  (?:"
    + "|".join(
        (
            r"accTitle: .+",
            r"%%\{init: .+\}%%",
            r"end",
            r'subgraph [gl]\d+\["[^"]+"\]',
            r'(?:  )?[vs]\d+(?:\["[^"]+"\]|\("[^"]+"\)|\(\["[^"]+"\]\))',
            r'[vs]\d+ -->(?:\|"[^"]+"\|)? [vs]\d+',
            r"classDef \w+ [\w:#,-]+",
            r"class [vs\d,]+ \w+",
            r"linkStyle \d+ [\w:#, -]+",
        )
    )
    + ")"
)
MESSAGE = re.compile(r"  (?:participant p\d+ as [^\n;]|Note over p\d+: [^\n]|p\d+->>p\d+: [^\n])[^\n]*")


def test_one_graph_is_bare_mermaid_with_every_chain_edge_and_counter() -> None:
    drawn = mermaid.draw(Page("Rules", (CHAINS,)))
    assert drawn.startswith("flowchart LR\n")
    assert '["ISTIO_OUTPUT<br/>1 -s 127.0.0.6/32 -o lo -j RETURN<br/>' in drawn
    assert drawn.count(" -->") == len(CHAINS.edges)
    assert '-->|"the app\'s calls · 12"| ' in drawn


def test_a_path_is_a_sequence_and_a_flow_in_markdown() -> None:
    drawn = mermaid.draw(Page("Path", (PATH,)))
    fences = re.findall(r"```mermaid\n(.*?)\n```", drawn, re.DOTALL)
    assert [fence.split("\n")[0] for fence in fences] == ["sequenceDiagram", "flowchart TB"]
    assert "p0->>p1: mTLS to 172.17.0.9:9080" in fences[0]
    assert "Note over p2: ✗ Nothing listens on 9080<br/>connection refused" in fences[0]
    assert fences[1].count("subgraph ") == 3


def test_the_timeline_of_a_page_is_drawn_as_well() -> None:
    assert "gantt\n  dateFormat x" in mermaid.draw(PAGE)


def test_a_task_cannot_be_a_keyword() -> None:
    from meshctl.blocks import Bar, Timeline

    drawn = mermaid.gantt(Timeline((Bar("click me: now, x", 0.0, 1.5), Bar("section", 1.0, None)), 3.0))
    first, second = drawn.split("\n")[3:]
    assert first.endswith("me#58; now, x :0, 1500")
    assert second.endswith(" :active, 1000, 3000")
    assert not first.strip().startswith("click")
    assert not second.strip().startswith("section")


def test_a_page_without_pictures_is_refused() -> None:
    with pytest.raises(BadInput, match="nothing in 'Words'"):
        mermaid.draw(Page("Words", (Text("only words"),)))


def test_an_edge_to_an_unknown_box_makes_the_box() -> None:
    assert 'v1["KUBE-MARK"]' in mermaid.flowchart(Graph((Vertex("a", "A"),), (Edge("a", "KUBE-MARK"),)))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text: str) -> None:
    lanes = Lanes((Lane(text, (Stage(text, text),)), Lane("b", (Stage(text),))), (text,))
    graph = Graph((Vertex(text, text, (text,), group=text),), (Edge(text, text, text),), text)
    _check(mermaid.flowchart(graph), SYNTAX)
    _check(mermaid.path(lanes), SYNTAX)
    _check(mermaid.sequence(lanes), MESSAGE)


TEXTS = st.text(max_size=24) | st.sampled_from(HOSTILE)


@settings(deadline=None, max_examples=150)
@given(st.lists(TEXTS, min_size=1, max_size=5), TEXTS, TEXTS)
def test_any_text_keeps_the_structure(names: list[str], label: str, group: str) -> None:
    vertices = tuple(Vertex(f"{i}", name, (label,), "exit", group) for i, name in enumerate(names))
    edges = tuple(Edge("0", f"{i}", label, "bad") for i in range(len(names)))
    _check(mermaid.flowchart(Graph(vertices, edges, label)), SYNTAX)
    lanes = Lanes(tuple(Lane(name, (Stage(label, name, mood="bad"),)) for name in names), (label, group))
    _check(mermaid.path(lanes), SYNTAX)
    _check(mermaid.sequence(lanes), MESSAGE)
    fenced = mermaid.draw(Page(label, (lanes,)))
    assert len(re.findall(r"^```mermaid$", fenced, re.MULTILINE)) == 2
    assert len(re.findall(r"^```", fenced, re.MULTILINE)) == 4


def _check(drawn: str, syntax: "re.Pattern[str]") -> None:
    for line in drawn.split("\n")[1:]:
        assert syntax.fullmatch(line), line
    body = drawn.replace(mermaid.WIDE, "")
    assert "%" not in body
    assert "`" not in body
    assert not re.search(r"<(?!br/>)", body)
    assert not re.search(r"style.*:\S*#.*;", re.sub(r"linkStyle.*", "", body), re.IGNORECASE)


def test_how_a_path_ends_is_in_both_pictures() -> None:
    end = Stage("503 (UH) from the caller's proxy", "no endpoint", ("80% v1: delivered",), (), "bad")
    drawn = mermaid.draw(Page("Path", (Lanes(PATH.lanes, PATH.arrows, end),)))
    order, flow = re.findall(r"```mermaid\n(.*?)\n```", drawn, re.DOTALL)
    said = "✗ 503 (UH) from the caller's proxy<br/>no endpoint<br/>80#37; v1: delivered"
    assert order.endswith(f"Note over p0: {said}")
    assert 'subgraph l3["Outcome"]' in flow
    assert f'["{said}"]' in flow
    stages = sum(len(lane.stages) for lane in PATH.lanes)
    assert f"s{stages - 1} --> s{stages}" in flow

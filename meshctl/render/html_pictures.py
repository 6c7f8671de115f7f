"""A request's path as columns that open to their evidence, and graphs as inline pictures with the same in words."""

from meshctl.blocks import Graph, Lane, Lanes, Stage
from meshctl.render import svg, svg_graph, svg_shapes
from meshctl.render.html_text import inline, safe
from meshctl.render.palette import MARKS
from meshctl.render.plain import plain

MOODS = {"good": "as it should be", "bad": "fails here", "warn": "look here"}


def lanes(block: Lanes, level: int) -> str:
    """The lanes side by side on a wide screen, below each other on a narrow one; `level` is their titles' level."""
    drawn = []
    done = 0
    for index, lane in enumerate(block.lanes):
        last = index == len(block.lanes) - 1
        drawn.append(_lane(block, lane, level, done, last))
        done += len(lane.stages)
    return f'<div class="lanes" style="--columns:{_columns(block)}">{"".join(drawn)}</div>' if drawn else ""


def _columns(block: Lanes) -> str:
    """The lanes' widths on a wide screen: those with more to say are wider; more than four stand in rows of three."""
    if len(block.lanes) > 4:
        return "repeat(3,minmax(0,1fr))"
    said = [
        sum(len(plain(line)) for s in lane.stages for line in (s.title, s.decision, *s.facts)) for lane in block.lanes
    ]
    shares = [min(max((words / max(sum(said) / len(said), 1)) ** 0.5, 0.8), 1.35) for words in said]
    return " ".join(f"minmax(0,{share:.2f}fr)" for share in shares)


def _lane(block: Lanes, lane: Lane, level: int, done: int, last: bool) -> str:
    entries = []
    for position, stage in enumerate(lane.stages):
        final = position == len(lane.stages) - 1
        number = done + position
        label = block.arrows[number] if number < len(block.arrows) else ""
        arrow = "" if final and last else _arrow(label, over=final)
        entries.append(f"<li>{_stage(stage)}{arrow}</li>")
    listed = f'<ol class="stages" start="{done + 1}">{"".join(entries)}</ol>' if entries else ""
    return f'<section class="lane"><h{level}>{inline(lane.title)}</h{level}>{listed}</section>'


def _arrow(label: str, *, over: bool) -> str:
    return f'<p class="arrow{" over" if over else ""}">{safe(label)}</p>'


def _stage(stage: Stage) -> str:
    kind = "stage" if stage.mood == "plain" else f"stage {stage.mood}"
    mark = ""
    if stage.mood != "plain":
        mark = f'<span class="mark" role="img" aria-label="{MOODS[stage.mood]}">{MARKS[stage.mood]}</span> '
    parts = [f'<p class="what">{mark}{inline(stage.title)}</p>']
    if stage.decision:
        parts.append(f'<p class="decision">{inline(stage.decision)}</p>')
    if stage.facts:
        parts.append(f"<ul>{''.join(f'<li>{inline(line)}</li>' for line in stage.facts)}</ul>")
    if stage.evidence:
        shown = "".join(f"<li>{inline(line)}</li>" for line in stage.evidence)
        parts.append(f"<details><summary>Evidence ({len(stage.evidence)})</summary><ul>{shown}</ul></details>")
    return f'<div class="{kind}">{"".join(parts)}</div>'


def graph(block: Graph) -> str:
    """The picture, its title below it, and its arrows as a list."""
    if not block.vertices and not block.edges:
        return ""
    drawn = svg_graph.draw(block)
    title = block.title or "Graph"
    image = svg_shapes.picture(drawn.width, drawn.height, title, svg.described((block,)), drawn.content)
    named = f"<figcaption>{safe(block.title)}</figcaption>" if block.title else ""
    return (
        f'<figure><div class="scroll" tabindex="0" role="region" aria-label="{safe(title)}" '
        f'style="--w:{svg_shapes.number(drawn.width)}px">{image}</div>{named}{_words(block)}</figure>'
    )


def _words(block: Graph) -> str:
    names = {vertex.key: vertex.title for vertex in block.vertices}
    rows = []
    for edge in block.edges:
        label = f' <span class="dim">({safe(edge.label)})</span>' if edge.label else ""
        ends = f"{safe(names.get(edge.start, edge.start))} → {safe(names.get(edge.end, edge.end))}"
        rows.append(f"<li>{ends}{label}</li>")
    if not rows:
        return ""
    return f"<details><summary>The same as a list</summary><ul>{''.join(rows)}</ul></details>"

"""A page's pictures as one svg file that stands alone: no scripts, no fonts or images from elsewhere."""

from meshctl.blocks import Block, Graph, Lanes, Page, Timeline
from meshctl.errors import BadInput
from meshctl.render import svg_graph, svg_lanes, svg_shapes
from meshctl.render.plain import plain, printable
from meshctl.render.svg_graph import Picture

EDGE = 20.0


def draw(page: Page) -> str:
    """Draw the page's graphs, paths and timelines below each other; BadInput where it has none."""
    pictures = [(_title(block), drawn) for block in page.blocks if (drawn := picture(block))]
    if not pictures:
        raise BadInput(
            f"there is nothing in '{plain(page.title)}' that could be drawn as a picture", hint="use -o text"
        )
    parts = [svg_shapes.text(EDGE, EDGE + 16, page.title, "page")]
    y = EDGE + 36
    width = svg_shapes.sans_width(printable(page.title), 20) * 1.1
    for title, drawn in pictures:
        if title and title != page.title:
            parts.append(svg_shapes.text(EDGE, y + 14, title, "title"))
            y += 24
        parts.append(f'<g transform="translate({svg_shapes.number(EDGE - svg_graph.EDGE)} {svg_shapes.number(y)})">')
        parts.append(f"{drawn.content}</g>")
        y += drawn.height + 12
        width = max(width, drawn.width)
    style = f"<style>{svg_shapes.standalone_css()}</style>"
    width += 2 * EDGE
    sheet = svg_shapes.rect(0, 0, width, y + EDGE, "sheet", 0)
    return (
        svg_shapes.picture(width, y + EDGE, page.title, described(page.blocks), style + sheet + "".join(parts)) + "\n"
    )


def picture(block: Block) -> Picture | None:
    """The block as a picture, None where it is none."""
    match block:
        case Graph(vertices, edges):
            return svg_graph.draw(block) if vertices or edges else None
        case Lanes(lanes):
            return svg_lanes.draw(block) if lanes else None
        case Timeline(bars):
            return svg_lanes.timeline(block) if bars else None
        case _:
            return None


def described(blocks: tuple[Block, ...]) -> str:
    """What the pictures show, in words: for those who cannot see them."""
    told = []
    for block in blocks:
        match block:
            case Graph(vertices, edges):
                names = {vertex.key: vertex.title for vertex in vertices}
                told += [
                    f"{names.get(edge.start, edge.start)} to {names.get(edge.end, edge.end)}"
                    + (f" ({edge.label})" if edge.label else "")
                    for edge in edges
                ]
            case Lanes(lanes, _, end):
                told += [
                    f"{plain(stage.title)}: {plain(stage.decision)}" if stage.decision else plain(stage.title)
                    for lane in lanes
                    for stage in lane.stages
                ]
                told += [f"outcome: {plain(end.title)}"] if end is not None else []
            case Timeline(bars):
                told += [f"{bar.label} from {bar.start:.1f} s" for bar in bars]
            case _:
                pass
    return "; ".join(told)


def _title(block: Block) -> str:
    return block.title if isinstance(block, Graph) else ""

"""A request's path as a picture: a column for each place, boxes for its stages, arrows from box to box.

Also a timeline, drawn to scale.
"""

from meshctl.blocks import Lane, Lanes, Stage, Timeline
from meshctl.frozen import dataclass
from meshctl.render import svg_shapes as shapes
from meshctl.render.palette import MARKS
from meshctl.render.plain import folded, plain, printable
from meshctl.render.svg_graph import EDGE, Picture

COLUMN = 330.0
PAD = 12.0
ROW = 17.0
LABEL_COLUMNS = 16


@dataclass(frozen=True, slots=True)
class _Row:
    text: str
    kind: str


@dataclass(frozen=True, slots=True)
class _Spot:
    """A stage as drawn: its box's left, top and height."""

    left: float
    top: float
    height: float


def draw(block: Lanes) -> Picture:
    """Draw the lanes side by side, in order; the path runs down each and over to the next, and to how it ends."""
    if block.end is not None:
        block = Lanes((*block.lanes, Lane("Outcome", (block.end,))), block.arrows)
    labels = _labels_between(block)
    gutter = 118.0 if any(labels) else 52.0
    head = max(len(_title(lane)) for lane in block.lanes) * 18.0 + 18
    parts: list[str] = []
    spots: list[list[_Spot]] = []
    bottom = 0.0
    done = 0
    for index, lane in enumerate(block.lanes):
        left = EDGE + index * (COLUMN + gutter)
        drawn, found, end = _lane(block, lane, left, head, done)
        parts.append(drawn)
        spots.append(found)
        bottom = max(bottom, end)
        done += len(lane.stages)
    frames = "".join(_frame(lane, EDGE + index * (COLUMN + gutter), bottom) for index, lane in enumerate(block.lanes))
    over = "".join(_over(spots, index, labels[index]) for index in range(len(block.lanes) - 1))
    width = 2 * EDGE + len(block.lanes) * COLUMN + (len(block.lanes) - 1) * gutter
    return Picture(frames + "".join(parts) + over, width, bottom + EDGE)


def _labels_between(block: Lanes) -> list[str]:
    """The labels of the arrows that lead from one lane to the next."""
    labels = []
    done = 0
    for lane in block.lanes[:-1]:
        done += len(lane.stages)
        labels.append(block.arrows[done - 1] if 0 < done <= len(block.arrows) else "")
    return labels


def _title(lane: Lane) -> list[str]:
    return folded(plain(lane.title), int((COLUMN - 2 * PAD) / (14 * shapes.SANS_LETTER * 1.06)))


def _frame(lane: Lane, left: float, bottom: float) -> str:
    rows = [shapes.text(left + PAD, EDGE + 22 + i * 18, row, "title") for i, row in enumerate(_title(lane))]
    return shapes.rect(left, EDGE, COLUMN, bottom - EDGE, "lane", 10) + "".join(rows)


def _lane(block: Lanes, lane: Lane, left: float, head: float, done: int) -> tuple[str, list[_Spot], float]:
    parts: list[str] = []
    spots: list[_Spot] = []
    y = EDGE + head
    for position, stage in enumerate(lane.stages):
        if position:
            number = done + position - 1
            label = block.arrows[number] if number < len(block.arrows) else ""
            drawn, y = _down(left + COLUMN / 2, y, label)
            parts.append(drawn)
        rows = _rows(stage)
        height = len(rows) * ROW + 16
        parts.append(_stage(stage, rows, left + PAD, y, height))
        spots.append(_Spot(left + PAD, y, height))
        y += height
    return "".join(parts), spots, y + PAD


def _rows(stage: Stage) -> list[_Row]:
    width = COLUMN - 4 * PAD
    wide, small = int(width / (14 * shapes.SANS_LETTER * 1.06)), int(width / (12 * shapes.SANS_LETTER))
    title = f"{MARKS[stage.mood]} {plain(stage.title)}".strip()
    rows = [_Row(row, "title") for row in folded(title, wide)]
    kind = stage.mood if stage.mood != "plain" else ""
    decision = plain(stage.decision)
    rows += [_Row(row, kind) for row in folded(decision, int(width / (13 * shapes.SANS_LETTER)))] if decision else []
    return rows + [_Row(row, "small dim") for fact in stage.facts for row in folded(plain(fact), small, hang="  ")]


def _stage(stage: Stage, rows: list[_Row], left: float, top: float, height: float) -> str:
    kind = "stage" if stage.mood == "plain" else f"stage {stage.mood}"
    parts = [shapes.told("\n".join(plain(line) for line in stage.evidence))] if stage.evidence else []
    parts.append(shapes.rect(left, top, COLUMN - 2 * PAD, height, kind))
    parts += [shapes.text(left + PAD, top + 8 + (i + 0.75) * ROW, row.text, row.kind) for i, row in enumerate(rows)]
    return f"<g>{''.join(parts)}</g>"


def _down(x: float, y: float, label: str) -> tuple[str, float]:
    """An arrow down, its label beside it; also where it ends."""
    rows = folded(printable(label), 22) if label.strip() else []
    height = max(24.0, len(rows) * 14.0 + 10)
    parts = [shapes.line(f"M{shapes.number(x)} {shapes.number(y)}V{shapes.number(y + height - 8)}", "")]
    parts.append(shapes.tip(x, y + height, 0.0, 1.0, ""))
    parts += [shapes.text(x + 12, y + 14 + i * 14, row, "small dim") for i, row in enumerate(rows)]
    return "".join(parts), y + height


def _over(spots: list[list[_Spot]], index: int, label: str) -> str:
    """The arrow from a lane's last stage to the next lane's first one."""
    if not spots[index] or not spots[index + 1]:
        return ""
    last, first = spots[index][-1], spots[index + 1][0]
    x1, y1 = last.left + COLUMN - 2 * PAD, last.top + last.height / 2
    x2, y2 = first.left, first.top + first.height / 2
    middle = (x1 + x2) / 2
    points = [x1, y1, middle, y1, middle, y2, x2 - 8, y2]
    n = [shapes.number(value) for value in points]
    curve = f"M{n[0]} {n[1]}C{n[2]} {n[3]} {n[4]} {n[5]} {n[6]} {n[7]}"
    rows = folded(printable(label), LABEL_COLUMNS) if label.strip() else []
    named = shapes.label(middle, (y1 + y2) / 2 + 4, rows) if rows else ""
    return shapes.line(curve, "") + shapes.tip(x2, y2, 1.0, 0.0, "") + named


def timeline(block: Timeline) -> Picture:
    """Draw the bars to scale: names on the left, seconds below."""
    names = [printable(bar.label) for bar in block.bars]
    notes = [plain(bar.note) for bar in block.bars]
    left = EDGE + max(shapes.sans_width(name, 13) for name in names) + 16
    track, row = 560.0, 26.0
    unit = track / block.length if block.length > 0 else 0.0
    parts = []
    for index, bar in enumerate(block.bars):
        y = EDGE + index * row
        start = min(max(bar.start * unit, 0.0), track - 2)
        end = track if bar.end is None else min(bar.end * unit, track)
        parts.append(shapes.text(left - 12, y + 15, names[index], "", "end"))
        parts.append(shapes.rect(left + start, y + 3, max(end - start, 2.0), 16, f"bar {bar.style}".strip(), 2))
        parts.append(shapes.text(left + track + 12, y + 15, notes[index], "small dim"))
    below = EDGE + len(block.bars) * row + 16
    parts.append(shapes.text(left, below, "0 s", "small dim"))
    parts.append(shapes.text(left + track, below, f"{block.length:.1f} s", "small dim", "end"))
    width = left + track + 24 + max(shapes.sans_width(note, 12) for note in notes)
    return Picture("".join(parts), width, below + EDGE)

"""
Where to draw the tasks of a workflow: layers from top to bottom, arrows between them. Pure and deterministic.

    picture = layout(graph)
    picture.nodes["build"]        # Box(x=.., y=.., width=.., height=..) of a task, in the order of the definition
    picture.edges[0].points       # a line through these points, from task to task
    picture.width, picture.height

Lengths are pixels. A parallel block is a box around the boxes of its sub-tasks. Every task of the graph has a box.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from apps.workflows.definition.drawing import Arrow, arrows
from apps.workflows.definition.graph import Graph, Task

MAX_TASKS = 400  # more than anybody can look at
MAX_WAYS = 2000
NODE_WIDTH, NODE_HEIGHT = 180, 52
GAP_X, GAP_Y, MARGIN = 36, 64, 24
PADDING, HEADER = 14, 26  # of a block
BACK_LANE = 18  # between arrows that lead back up
_SWEEPS = 8

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Box:
    """A task's place: its left upper corner and its size. ``block``: sub-tasks stand inside."""

    name: str
    x: float
    y: float
    width: float
    height: float
    block: bool = False

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


@dataclass(frozen=True, kw_only=True)
class Line:
    """An arrow's way; ``back``: it leads to a task above, or to the one it comes from."""

    source: str
    target: str
    label: str
    label_at: Point
    points: Sequence[Point]
    back: bool = False


@dataclass(frozen=True, kw_only=True)
class Picture:
    nodes: Mapping[str, Box]
    edges: Sequence[Line]
    width: float
    height: float


def is_drawable(graph: Graph) -> bool:
    """Whether a picture of it would be of use to anybody, and done at once."""
    ways = sum(len(step.do) for task in graph.tasks.values() for step in task.next)
    return len(graph.tasks) <= MAX_TASKS and ways <= MAX_WAYS


def layout(graph: Graph) -> Picture:
    """Return where everything stands."""
    sizes = {name: _size(graph, task) for name, task in graph.tasks.items() if task.block is None}
    ways = [arrow for arrow in arrows(graph) if arrow.source in sizes and arrow.target in sizes]
    layer_of = _layers(list(sizes), ways)
    rows = _ordered(_rows(layer_of), ways, layer_of)
    boxes = _placed(graph, rows, sizes)
    right = max((box.x + box.width for box in boxes.values()), default=0)
    bands = [_band([boxes[name] for name in row]) for row in rows]
    lines, right = _lines(ways, boxes, layer_of, bands, right)
    bottom = max((box.y + box.height for box in boxes.values()), default=0)
    nodes = {name: boxes[name] for name in graph.tasks if name in boxes}
    return Picture(nodes=nodes, edges=lines, width=right + MARGIN, height=bottom + MARGIN)


# --- Layers -----------------------------------------------------------------------------------------------------


def _layers(names: Sequence[str], ways: Sequence[Arrow]) -> dict[str, int]:
    """Return how deep each task stands: below all that lead to it, arrows that close a cycle left out."""
    following: dict[str, list[str]] = {name: [] for name in names}
    for way in ways:
        if way.source != way.target:
            following[way.source].append(way.target)
    order = _without_cycles(names, ways, following)
    depth = dict.fromkeys(names, 0)
    place = {name: number for number, name in enumerate(order)}
    for name in order:
        for target in following[name]:
            if place[target] > place[name]:
                depth[target] = max(depth[target], depth[name] + 1)
    return depth


def _without_cycles(names: Sequence[str], ways: Sequence[Arrow], following: Mapping[str, Sequence[str]]) -> list[str]:
    """Return an order in which arrows lead forward but for those that close a cycle (depth first, no recursion)."""
    entered = {way.target for way in ways if way.source != way.target}
    starts = [*(name for name in names if name not in entered), *names]
    seen: set[str] = set()
    finished: list[str] = []
    for start in starts:
        if start in seen:
            continue
        seen.add(start)
        work = [(start, iter(following[start]))]
        while work:
            name, targets = work[-1]
            new = next((target for target in targets if target not in seen), None)
            if new is None:
                finished.append(name)
                work.pop()
            else:
                seen.add(new)
                work.append((new, iter(following[new])))
    return finished[::-1]


def _rows(layer_of: Mapping[str, int]) -> list[list[str]]:
    rows: list[list[str]] = [[] for _ in range(max(layer_of.values(), default=-1) + 1)]
    for name, layer in layer_of.items():
        rows[layer].append(name)
    return rows


def _ordered(rows: list[list[str]], ways: Sequence[Arrow], layer_of: Mapping[str, int]) -> list[list[str]]:
    """Return the rows with fewer crossings: each task near the middle of those it is bound to, down and up again."""
    bound: dict[str, list[str]] = {name: [] for row in rows for name in row}
    for way in ways:
        if way.source != way.target:
            bound[way.source].append(way.target)
            bound[way.target].append(way.source)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        place = {name: _share(number, row) for row in rows for number, name in enumerate(row)}
        for number in range(1, len(rows)) if down else range(len(rows) - 2, -1, -1):
            row = rows[number]
            before = {name: [place[other] for other in bound[name] if (layer_of[other] < number) is down
                             and layer_of[other] != number] for name in row}  # fmt: skip
            row.sort(key=lambda name: sum(before[name]) / len(before[name]) if before[name] else place[name])
            place.update({name: _share(index, row) for index, name in enumerate(row)})
    return rows


def _share(number: int, row: Sequence[str]) -> float:
    return (number + 0.5) / len(row)


# --- Boxes ------------------------------------------------------------------------------------------------------


def _size(graph: Graph, task: Task) -> tuple[float, float]:
    """Return width and height; the sub-tasks of a block stand side by side."""
    if not task.tasks:
        return NODE_WIDTH, NODE_HEIGHT
    sizes = [_size(graph, graph.tasks[name]) for name in task.tasks]
    width = sum(width for width, _ in sizes) + PADDING * (len(sizes) + 1)
    return width, max(height for _, height in sizes) + HEADER + PADDING


def _placed(graph: Graph, rows: Sequence[Sequence[str]], sizes: Mapping[str, tuple[float, float]]) -> dict[str, Box]:
    widths = [sum(sizes[name][0] for name in row) + GAP_X * (len(row) - 1) for row in rows]
    widest = max(widths, default=0)
    boxes: dict[str, Box] = {}
    y: float = MARGIN
    for row, width in zip(rows, widths, strict=True):
        x = MARGIN + (widest - width) / 2
        tallest = max(sizes[name][1] for name in row)
        for name in row:
            _place(graph, graph.tasks[name], x, y + (tallest - sizes[name][1]) / 2, boxes)
            x += sizes[name][0] + GAP_X
        y += tallest + GAP_Y
    return boxes


def _place(graph: Graph, task: Task, x: float, y: float, boxes: dict[str, Box]) -> None:
    width, height = _size(graph, task)
    boxes[task.name] = Box(name=task.name, x=x, y=y, width=width, height=height, block=bool(task.tasks))
    x += PADDING
    for name in task.tasks:
        _place(graph, graph.tasks[name], x, y + HEADER, boxes)
        x += boxes[name].width + PADDING


# --- Arrows -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Band:
    """The boxes of one layer, and how high up and down they reach."""

    top: float
    bottom: float
    boxes: Sequence[Box]


def _band(boxes: Sequence[Box]) -> _Band:
    return _Band(top=min(box.y for box in boxes), bottom=max(box.y + box.height for box in boxes), boxes=boxes)


def _lines(
    ways: Sequence[Arrow],
    boxes: Mapping[str, Box],
    layer_of: Mapping[str, int],
    bands: Sequence[_Band],
    right: float,
) -> tuple[list[Line], float]:
    """Return the arrows, and how far to the right they reach: those that lead back up pass there."""
    lines = []
    looped: set[str] = set()
    labels: dict[str, int] = {}  # how many stand at a task already, one above the other
    for way in ways:
        source, target = boxes[way.source], boxes[way.target]
        first, last = layer_of[way.source], layer_of[way.target]
        back = last <= first
        if source is target and source.name not in looped:  # close around it
            looped.add(source.name)
            lane = source.x + source.width + GAP_X / 2
            points = _around(source, target, source.y + source.height, source.y, lane)
            label_at = (points[1][0] + 6, points[1][1] + 11)
        elif back:
            right += BACK_LANE
            points = _around(source, target, bands[first].bottom, bands[last].top, right)
            label_at = (points[1][0] + 6, points[1][1] + 11)
        else:
            points = _down(source, target, bands[first + 1 : last])
            label_at = (target.middle + 8, target.y - 18 - 12 * labels.get(way.target, 0))
            labels[way.target] = labels.get(way.target, 0) + bool(way.label)
        lines.append(
            Line(source=way.source, target=way.target, label=way.label, label_at=label_at, points=points, back=back)
        )
    return lines, right


def _around(source: Box, target: Box, below: float, above: float, lane: float) -> list[Point]:
    """Return a way back up: out below the source's layer, along the lane, in above the target's layer."""
    start_x, end_x = source.x + source.width * 0.75, target.x + target.width * 0.75
    low, high = below + MARGIN / 2, above - MARGIN / 2
    return [
        (start_x, source.y + source.height),
        (start_x, low),
        (lane, low),
        (lane, high),
        (end_x, high),
        (end_x, target.y),
    ]


def _down(source: Box, target: Box, between: Sequence[_Band]) -> list[Point]:
    """Return a way from the lower edge of one box to the upper edge of another, beside what stands between them."""
    points, end = [(source.middle, source.y + source.height)], (target.middle, target.y)
    for band in between:
        x = _free((points[-1][0] + end[0]) / 2, band.boxes)
        points += [(x, band.top - GAP_Y / 4), (x, band.bottom + GAP_Y / 4)]
    return [*points, end]


def _free(x: float, row: Sequence[Box]) -> float:
    """Return the place nearest to ``x`` that no box of a row covers."""
    gap = GAP_X / 3
    taken = [(box.x - gap, box.x + box.width + gap) for box in row]
    candidates = [x, *(edge for pair in taken for edge in pair)]
    free = [spot for spot in candidates if not any(left < spot < end for left, end in taken)]
    return min(free, key=lambda spot: (abs(spot - x), spot))

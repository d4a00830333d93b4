"""
A workflow's graph as the template ``admin/workflows/graph.html`` draws it: an SVG without scripts and styles of its own.

    picture_of(graph)                                                   # of a definition
    picture_of(graph, marks={"build": Mark(tone="good", text="completed", url="/admin/...")})    # of a run
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from apps.workflows.definition.graph import Graph, Task
from apps.workflows.definition.layout import MAX_TASKS, Box, Line, Point, layout

_NAME_CHARACTERS, _NOTE_CHARACTERS = 22, 28  # what fits into a box
_LABEL_CHARACTERS = 32
_CORNER = 6.0


@dataclass(frozen=True, kw_only=True)
class Mark:
    """How a task is shown: ``tone`` as of badges (good, busy, wait, warn, bad), a word, and where a click leads."""

    tone: str = "plain"
    text: str = ""
    url: str | None = None


@dataclass(frozen=True, kw_only=True)
class ShownTask:
    box: Box
    name: str
    note: str
    title: str
    mark: Mark

    @property
    def text_x(self) -> float:
        return self.box.x + 12

    @property
    def name_y(self) -> float:
        return self.box.y + (17 if self.box.block else 22)

    @property
    def note_y(self) -> float:
        return self.box.y + 40


@dataclass(frozen=True, kw_only=True)
class ShownLine:
    path: str
    label: str
    title: str
    x: float
    y: float
    back: bool


@dataclass(frozen=True, kw_only=True)
class ShownPicture:
    """``blocks`` come first: what stands in them is drawn over them."""

    width: float
    height: float
    blocks: Sequence[ShownTask]
    tasks: Sequence[ShownTask]
    lines: Sequence[ShownLine]
    title: str


def picture_of(graph: Graph, *, marks: Mapping[str, Mark] | None = None) -> ShownPicture | None:
    """Return the picture of a graph; None when it has more tasks than anybody can look at."""
    if len(graph.tasks) > MAX_TASKS:
        return None
    drawn = layout(graph)
    shown = [_shown(graph.tasks[name], box, (marks or {}).get(name, Mark())) for name, box in drawn.nodes.items()]
    return ShownPicture(
        width=drawn.width,
        height=drawn.height,
        blocks=[task for task in shown if task.box.block],
        tasks=[task for task in shown if not task.box.block],
        lines=[_line(line) for line in drawn.edges],
        title=f"{len(graph.tasks)} tasks, starting with {', '.join(graph.entry[:10]) or 'none'}",
    )


def _shown(task: Task, box: Box, mark: Mark) -> ShownTask:
    notes = [mark.text] if mark.text else _notes(task)
    note = ", ".join(notes)
    title = "\n".join(filter(None, (task.name, task.action, *_notes(task))))
    return ShownTask(
        box=box, name=_cut(task.name, _NAME_CHARACTERS), note=_cut(note, _NOTE_CHARACTERS), title=title, mark=mark
    )


def _notes(task: Task) -> list[str]:
    """Return what is said below a task's name: its action, and what is special about it."""
    notes = [task.action] if task.action else []
    if task.has_items:
        notes.append("for each item")
    if task.retry is not None:
        notes.append(f"retry {task.retry.count}")
    if task.join is not None:
        notes.append(f"join {task.join}")
    return notes


def _line(line: Line) -> ShownLine:
    x, y = line.label_at
    return ShownLine(
        path=_path(line.points, round_corners=line.back),
        label=_cut(line.label, _LABEL_CHARACTERS),
        title=f"{line.source} to {line.target}" + (f" when {line.label}" if line.label else ""),
        x=x,
        y=y,
        back=line.back,
    )


def _path(points: Sequence[Point], *, round_corners: bool) -> str:
    """Return a way for ``d``: straight around the outside, soft curves downwards."""
    parts = [f"M{_xy(points[0])}"]
    if round_corners:
        for before, corner, after in zip(points, points[1:], points[2:], strict=False):
            parts.append(f"L{_xy(_towards(corner, before))} Q{_xy(corner)} {_xy(_towards(corner, after))}")
        return " ".join([*parts, f"L{_xy(points[-1])}"])
    for (from_x, from_y), (x, y) in pairwise(points):
        middle = (from_y + y) / 2
        parts.append(f"C{_xy((from_x, middle))} {_xy((x, middle))} {_xy((x, y))}")
    return " ".join(parts)


def _towards(corner: Point, other: Point) -> Point:
    """Return a place a little way from a corner to its neighbour."""
    (x, y), (to_x, to_y) = corner, other
    length = max(abs(to_x - x) + abs(to_y - y), 1.0)
    share = min(_CORNER / length, 0.5)
    return (x + (to_x - x) * share, y + (to_y - y) * share)


def _xy(point: Iterable[float]) -> str:
    return " ".join(f"{value:.1f}" for value in point)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"

"""
A workflow's graph as the template ``admin/workflows/graph.html`` draws it: an SVG without scripts and styles of its own.

    picture_of(graph)                                                   # of a definition
    picture_of(graph, marks={"build": Mark(tone="good", text="completed", url="/admin/...")}, taken={...})    # of a run
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from apps.workflows.definition.graph import Graph, Task
from apps.workflows.definition.layout import Box, Line, Point, is_drawable, layout

_NAME_CHARACTERS, NOTE_CHARACTERS = 22, 28  # what fits into a box
_LABEL_CHARACTERS = 32
_CORNER = 6.0

Way = tuple[str, str, str]  # from a task to a task, under a condition as ``condition_label`` writes it


@dataclass(frozen=True, kw_only=True)
class Mark:
    """
    How a task is shown: ``tone`` (good, busy, wait, warn, bad; of runs also skip, stop, none), a word, where a click leads.

    ``title``: what is said where the pointer rests. ``share``: how much of it is done, 0 to 1; None: nobody counts.
    """

    tone: str = "plain"
    text: str = ""
    url: str | None = None
    title: str = ""
    share: float | None = None


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

    @property
    def share_y(self) -> float:
        return self.box.y + self.box.height - 7

    @property
    def share_width(self) -> float:
        return (self.box.width - 24) * (self.mark.share or 0.0)


@dataclass(frozen=True, kw_only=True)
class ShownLine:
    path: str
    label: str
    title: str
    x: float
    y: float
    back: bool
    taken: int


@dataclass(frozen=True, kw_only=True)
class ShownPicture:
    """``blocks`` come first: what stands in them is drawn over them."""

    width: float
    height: float
    blocks: Sequence[ShownTask]
    tasks: Sequence[ShownTask]
    lines: Sequence[ShownLine]
    title: str


def picture_of(
    graph: Graph, *, marks: Mapping[str, Mark] | None = None, taken: Mapping[Way, int] | None = None
) -> ShownPicture | None:
    """
    Return the picture of a graph; None when it has more tasks than anybody can look at.

    ``taken``: how often a run has taken each way.
    """
    if not is_drawable(graph):
        return None
    drawn = layout(graph)
    shown = [_shown(graph.tasks[name], box, (marks or {}).get(name, Mark())) for name, box in drawn.nodes.items()]
    lines = [_line(line, (taken or {}).get((line.source, line.target, line.label), 0)) for line in drawn.edges]
    return ShownPicture(
        width=drawn.width,
        height=drawn.height,
        blocks=[task for task in shown if task.box.block],
        tasks=[task for task in shown if not task.box.block],
        lines=sorted(lines, key=lambda line: line.taken > 0),  # those taken lie over the others
        title=f"{len(graph.tasks)} tasks, starting with {', '.join(graph.entry[:10]) or 'none'}",
    )


def _shown(task: Task, box: Box, mark: Mark) -> ShownTask:
    notes = [mark.text] if mark.text else _notes(task)
    note = ", ".join(notes)
    title = "\n".join(filter(None, (task.name, mark.title, *_notes(task))))
    return ShownTask(
        box=box, name=_cut(task.name, _NAME_CHARACTERS), note=_cut(note, NOTE_CHARACTERS), title=title, mark=mark
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


def _line(line: Line, taken: int) -> ShownLine:
    x, y = line.label_at
    title = f"{line.source} to {line.target}" + (f" when {line.label}" if line.label else "")
    return ShownLine(
        path=_path(line.points, round_corners=line.back),
        label=_cut(line.label, _LABEL_CHARACTERS),
        title=title + (f"\ntaken {taken} times" if taken > 1 else "\ntaken" if taken else ""),
        x=x,
        y=y,
        back=line.back,
        taken=taken,
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

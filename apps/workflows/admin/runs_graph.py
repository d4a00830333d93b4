"""The graph of a run: each task in its state, each way as often as it was taken."""

from collections import Counter
from collections.abc import Sequence

from apps.core import markup
from apps.executions.models import Execution
from apps.workflows.admin.runs_reading import RunOnPage
from apps.workflows.admin.runs_states import NOT_REACHED, look_of
from apps.workflows.definition.drawing import condition_label
from apps.workflows.definition.layout import is_drawable
from apps.workflows.models import WorkflowTask
from apps.workflows.picture import NOTE_CHARACTERS, Mark, ShownPicture, Way, picture_of

EXECUTIONS = "executions_execution"


def graph_of(page: RunOnPage) -> ShownPicture | None:
    """Return the picture of a run; None when its workflow has too many tasks for one."""
    if not is_drawable(page.graph):
        return None
    marks = {name: _mark(page, name) for name in page.graph.tasks}
    return picture_of(page.graph, marks=marks, taken=ways_taken(page))


def ways_taken(page: RunOnPage) -> Counter[Way]:
    """Return how often each way between two tasks was taken, as far as the task runs were read."""
    taken: Counter[Way] = Counter()
    for task in page.tasks:
        steps = page.graph.tasks[task.name].next
        for transition in task.transitions:
            if transition["fired"] and transition["index"] < len(steps):
                step = steps[transition["index"]]
                taken.update((task.name, target, condition_label(step.when)) for target in step.do)
    return taken


def link_to_children(page: RunOnPage, task: WorkflowTask) -> str | None:
    """Return the page of a task's child, the list of them when it has several; None when there is none to be seen."""
    children = page.children_of(task)
    if children.total > 1:
        return markup.list_of(EXECUTIONS, parent=page.execution.pk, action_ref=page.graph.tasks[task.name].action)
    newest = newest_attempt(page.attempts_of(task)) or children.newest or task.reused_from
    return link_to_child(page, newest)


def link_to_child(page: RunOnPage, pk: int | None) -> str | None:
    """Return the page of one child, None for one that the reader may not see."""
    return markup.page_of(EXECUTIONS, pk) if pk in page.seen else None


def newest_attempt(attempts: Sequence[Execution]) -> int | None:
    return attempts[-1].pk if attempts else None


def ran_for(page: RunOnPage, task: WorkflowTask) -> str:
    """Return how long a task run took, or takes so far; nothing for one that has not begun."""
    if task.started_at is None:
        return ""
    return markup.seconds_text(max(0.0, ((task.finished_at or page.now) - task.started_at).total_seconds()))


def count_of(page: RunOnPage, task: WorkflowTask) -> str:
    """Return how many of a task's items are done; nothing for a task without items."""
    if task.item_count is None or page.graph.tasks[task.name].type == "parallel":
        return ""
    children = page.children_of(task)
    return f"{children.ended}/{max(children.total, task.item_count)}"


def _mark(page: RunOnPage, name: str) -> Mark:
    task = page.latest.get(name)
    look = look_of(task)
    if task is None:
        text = f"{NOT_REACHED.sign} {NOT_REACHED.word}" if page.execution.is_finished else ""
        return Mark(tone=look.tone, text=text, title=look.word)
    times = page.times.get(name, 1)
    children = page.children_of(task)
    count = count_of(page, task)
    parts = [f"{look.sign} {look.word}", count, f"run {times}" if times > 1 else "", ran_for(page, task)]
    said = [
        look.word,
        f"{count} items done, {children.failed} of them failed" if count else "",
        f"its run number {times}" if times > 1 else "",
        task.error or "",
    ]
    return Mark(
        tone=look.tone,
        text=_fitting([part for part in parts if part]),
        title="\n".join(part for part in said if part),
        url=link_to_children(page, task),
        share=children.ended / children.total if count and children.total else None,
    )


def _fitting(parts: list[str]) -> str:
    """Return as many of the parts as a box has room for; the first ones matter most."""
    while len(text := " · ".join(parts)) > NOTE_CHARACTERS and len(parts) > 1:
        parts = parts[:-1]
    return text

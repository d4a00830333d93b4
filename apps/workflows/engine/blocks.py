"""Parallel blocks: which sub-tasks start next, and what the block comes to (workflows.md 8.3). Pure."""

from collections.abc import Sequence

from apps.workflows.definition.graph import Task
from apps.workflows.engine.book import Outcome, TaskRun


def next_ones(task: Task, block: TaskRun, found: Sequence[TaskRun]) -> list[str]:
    """Return the sub-tasks for which there is room now, in order."""
    started = {sub.name for sub in found}
    running = sum(sub.status == "running" for sub in found)
    room = max(0, (block.window or len(task.tasks)) - running)
    return [name for name in task.tasks if name not in started][:room]


def outcome(task: Task, block: TaskRun, found: Sequence[TaskRun]) -> Outcome:
    """Return what a block has come to of which nothing runs any more."""
    good = sum(sub.outcome in ("succeeded", "skipped") for sub in found)
    return "succeeded" if good == len(task.tasks) and block.error is None else "failed"

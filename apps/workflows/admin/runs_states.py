"""How the states of tasks and of their children look: a colour, a sign for those who see none, and a word."""

from dataclasses import dataclass

from django.utils.safestring import SafeString

from apps.core import markup
from apps.executions.models import Execution
from apps.executions.states import Status
from apps.workflows.models import TaskOutcome, TaskStatus, WorkflowTask


@dataclass(frozen=True, kw_only=True)
class Look:
    """``tone`` as in ``picture.Mark``: a class of the style sheet, ``at-task-<tone>``."""

    tone: str
    sign: str
    word: str

    @property
    def badge(self) -> SafeString:
        return markup.badge(self.word, tone=_BADGES.get(self.tone, self.tone))


_BADGES = {"skip": "wait", "stop": "warn", "none": "plain"}  # badges have fewer tones

COMPLETED = Look(tone="good", sign="✓", word="completed")
HANDLED = Look(tone="warn", sign="!", word="failed, handled")
FAILED = Look(tone="bad", sign="✕", word="failed")
TIMED_OUT = Look(tone="bad", sign="✕", word="timed out")
RUNNING = Look(tone="busy", sign="▸", word="running")
PENDING = Look(tone="wait", sign="…", word="pending")
SKIPPED = Look(tone="skip", sign="↷", word="skipped")
CANCELLED = Look(tone="stop", sign="■", word="cancelled")
NOT_REACHED = Look(tone="none", sign="○", word="not reached")

LEGEND = (COMPLETED, RUNNING, PENDING, FAILED, HANDLED, SKIPPED, CANCELLED, NOT_REACHED)

_OF_TASKS = {
    TaskStatus.PENDING: PENDING,
    TaskStatus.RUNNING: RUNNING,
    TaskStatus.COMPLETED: COMPLETED,
    TaskStatus.FAILED: FAILED,
    TaskStatus.SKIPPED: SKIPPED,
    TaskStatus.CANCELLED: CANCELLED,
}
_OF_CHILDREN = {
    Status.RUNNING: RUNNING,
    Status.COMPLETED: COMPLETED,
    Status.FAILED: FAILED,
    Status.TIMEOUT: TIMED_OUT,
    Status.ABANDONED: Look(tone="bad", sign="✕", word="abandoned"),
    Status.CANCELLED: CANCELLED,
    Status.CANCELING: Look(tone="stop", sign="■", word="canceling"),
}


def look_of(task: WorkflowTask | None) -> Look:
    """Return how a task run looks; None: a task that the run has not come to."""
    if task is None:
        return NOT_REACHED
    failed = task.outcome in (TaskOutcome.FAILED, TaskOutcome.TIMED_OUT)
    if failed and task.status == TaskStatus.COMPLETED:
        return HANDLED
    if task.outcome == TaskOutcome.TIMED_OUT and task.status == TaskStatus.FAILED:
        return TIMED_OUT
    return _OF_TASKS[TaskStatus(task.status)]


def look_of_child(child: Execution) -> Look:
    """Return how an attempt of a child looks; whatever has not begun is pending."""
    return _OF_CHILDREN.get(Status(child.status), PENDING)

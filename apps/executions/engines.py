"""
Executions that need no worker are run by an engine of an app above: workflows, and questions to people.

The apps register theirs in ``ready()``. Every call comes inside a transaction that holds the root of the execution's
tree and its row (``trees.py``). Dispatch starts such an execution when its turn has come; its engine ends it, by
``transitions.transition``, from ``running`` or ``canceling``.
"""

from typing import TYPE_CHECKING, Any, Protocol

from apps.actions.models import Action
from apps.executions.models import Execution
from apps.identity.models import Identity

if TYPE_CHECKING:
    from apps.executions.changes import RetryChanges

WORKFLOW = "workflow"
INQUIRY = "inquiry"
ASK_REF = "core.ask"


class Engine(Protocol):
    def start(self, execution: Execution) -> None:
        """Begin to run an execution that has just become ``running``; a fault fails it."""

    def cancel(self, execution: Execution, *, by: Identity | None, reason: str) -> None:
        """Stop an execution that has just become ``canceling``: it becomes ``cancelled`` once nothing of it is left."""

    def waits_for(self, execution: Execution) -> list[dict[str, Any]]:
        """Return what a running execution waits for, as reasons of ``why.py``; at least one."""


class TaskEngine(Engine, Protocol):
    """The engine whose children are tasks: it knows how they are repeated."""

    def may_repeat(self, child: Execution) -> bool:
        """Return whether a failed child of a task may have a further attempt; its workflow may be ending."""

    def retry_delay_seconds(self, child: Execution) -> float:
        """Return how long the attempt after this one waits."""

    def retry_failed(self, execution_id: int, *, by: Identity, changes: "RetryChanges") -> Execution:
        """Retry a workflow by its failed tasks; what they do not depend on keeps its results."""

    def closed(self, execution: Execution, *, by: Identity | None, reason: str) -> None:
        """End what is left of a workflow that was force-closed: its children are treated as by a cancel."""


_engines: dict[str, Engine] = {}
_tasks: TaskEngine | None = None


def register(name: str, engine: Engine) -> None:
    """Let this engine run the executions of that kind."""
    _engines[name] = engine


def register_task_engine(engine: TaskEngine) -> None:
    """Let this engine run workflows, and say how their tasks are repeated."""
    global _tasks
    _tasks = engine
    register(WORKFLOW, engine)


def engine_of_action(action: Action | None) -> str | None:
    """Return the name of the engine that runs executions of this action, None when workers do."""
    if action is None:
        return None
    if action.workflow_def is not None:
        return WORKFLOW
    return INQUIRY if action.ref == ASK_REF else None


def name_for(execution: Execution) -> str | None:
    """Return the name of the engine that runs an execution, None when a worker does."""
    if execution.workflow_def is not None:
        return WORKFLOW
    return INQUIRY if execution.action_ref == ASK_REF else None


def engine_for(execution: Execution) -> Engine | None:
    """Return the engine that runs an execution, None when a worker does."""
    name = name_for(execution)
    return _engines.get(name) if name is not None else None


def engine_named(name: str) -> Engine | None:
    return _engines.get(name)


def task_engine() -> TaskEngine | None:
    return _tasks

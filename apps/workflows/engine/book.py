"""What the engine's core asks of whoever keeps the state of a run. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from apps.workflows.definition.graph import Graph, Task

Outcome = Literal["succeeded", "failed", "timed_out", "skipped"]
TaskState = Literal["pending", "running", "completed", "failed", "skipped", "cancelled"]
Level = Literal["INFO", "WARN", "ERROR"]


@dataclass(kw_only=True)
class TaskRun:
    """
    One run of a task, in one iteration (None outside cycles); ``pending`` while its join is not met.

    ``joined``: the predecessors of its iteration that its join counted. ``window``: how many of its ``item_count``
    children, or of a block's sub-tasks, run at once. ``error``: why it failed without a child, or why it is being
    stopped. ``last_child``: the one that ended last.
    """

    name: str
    iteration: int | None = None
    status: TaskState = "running"
    outcome: Outcome | None = None
    triggered_by: str | None = None
    triggered_iteration: int | None = None
    joined: Sequence[str] = ()
    block: str | None = None
    item_count: int | None = None
    window: int | None = None
    timeout: int | None = None
    error: str | None = None
    last_child: int | None = None
    transitions: list[dict[str, Any]] = field(default_factory=list)
    published: dict[str, Any] = field(default_factory=dict)
    row: int | None = None  # where the book keeps it


@dataclass(frozen=True, kw_only=True)
class ChildSpec:
    """One child to be made: ``index`` None for a task without items; ``batch`` its number when items are batched."""

    parameters: Mapping[str, Any]
    index: int | None = None
    batch: int | None = None
    permission_set_refs: Sequence[str] | None = None


@dataclass(frozen=True, kw_only=True)
class ChildEnd:
    """The end of the last attempt of a child; ``child`` is its id."""

    name: str
    iteration: int | None
    index: int | None
    outcome: Outcome
    child: int | None = None


@dataclass(frozen=True, kw_only=True)
class FailedTask:
    """A task that failed and was not handled."""

    task: str
    execution: int | None
    error: str | None


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Nothing more is started: the run ends ``failed`` with this error, or ``cancelled``, once what runs has ended."""

    status: Literal["failed", "cancelled"]
    error: str


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How the run has ended."""

    status: Literal["completed", "failed", "cancelled"]
    result: Mapping[str, Any]
    error: str | None = None
    secrets: Mapping[str, Any] = field(default_factory=dict)  # behind the markers in the result, by JSON pointer


class Book(Protocol):
    """The state of one run. No call may take longer because more tasks have run already."""

    @property
    def graph(self) -> Graph: ...

    @property
    def stop(self) -> Stop | None: ...

    def stop_with(self, stop: Stop) -> None:
        """From now on nothing more is started."""
        ...

    # Tasks
    def find(self, name: str, iteration: int | None) -> TaskRun | None: ...

    def add(self, run: TaskRun) -> None: ...

    def save(self, run: TaskRun) -> None: ...

    def has_run(self, name: str, times: int) -> bool:
        """Whether there have been this many runs of a task, in whatever iterations."""
        ...

    def waiting(self, names: Collection[str]) -> list[TaskRun]:
        """Return the runs of these tasks that wait for their join."""
        ...

    def completed(self, names: Collection[str], iteration: int | None) -> set[str]:
        """Return those of these tasks that have completed, or were skipped, in this iteration."""
        ...

    def ever_completed(self, names: Collection[str]) -> set[str]:
        """Return those of these tasks that have completed, or were skipped, in any iteration."""
        ...

    def sub_tasks(self, block: str, iteration: int | None) -> list[TaskRun]: ...

    def is_busy(self) -> bool:
        """Whether any task is running."""
        ...

    def running(self) -> list[TaskRun]: ...

    def unmet(self) -> list[TaskRun]:
        """Return all that wait for their join."""
        ...

    def failures(self) -> list[FailedTask]:
        """Return what failed and was not handled, in order of failing; sub-tasks of blocks are left out."""
        ...

    # Children
    def refusal(self, task: Task, specs: Sequence[ChildSpec]) -> str | None:
        """Return why these children cannot be made, None when they can."""
        ...

    def dispatch(self, run: TaskRun, specs: Sequence[ChildSpec]) -> None:
        """Make the children; all but the first ``run.window`` of them are held back."""
        ...

    def note_end(self, end: ChildEnd) -> Literal["released", "held", "again"]:
        """
        Write down the end of a child; return whether it had been released, or still was held back.

        ``again``: that was done before.
        """
        ...

    def release_next(self, run: TaskRun) -> None:
        """Let the next child that is held back go, in order of index, if there is one."""
        ...

    def has_open_children(self, run: TaskRun) -> bool: ...

    def unsuccessful(self, run: TaskRun) -> set[Outcome]:
        """Return the outcomes of its children other than succeeded."""
        ...

    def cancel_children(self, run: TaskRun, *, running: bool) -> None:
        """
        Cancel its children that have not ended; their ends come in as any other's.

        Without ``running`` those that run already finish; nested workflows are cancelled in any case.
        """
        ...

    # Of a rerun: what it does differently
    def given_input(self, task: Task) -> Mapping[str, Any]:
        """Return what is put over the rendered input of a task."""
        ...

    def take_over_items(self, run: TaskRun, count: int) -> Collection[int]:
        """Take over those items of a task that had succeeded before; return their indexes."""
        ...

    def owed(self) -> Sequence[tuple[TaskRun, str]]:
        """Return the tasks taken over that had named one that runs again, with its name."""
        ...

    # What expressions read: with markers in the places of secrets, unless ``real``
    def parameters(self, *, real: bool = False) -> Mapping[str, Any]: ...

    def config(self, *, real: bool = False) -> Mapping[str, Any]: ...

    def system(self) -> Mapping[str, Any]: ...

    def variables(self, names: Collection[str] | None, *, real: bool = False) -> dict[str, Any]:
        """Return these variables, as far as they are set; all of them for None."""
        ...

    def publish(self, run: TaskRun, name: str, value: Any, secrets: Mapping[str, Any]) -> None:
        """Set a variable for a task; ``secrets``: what stands behind the markers in its value, by JSON pointer."""
        ...

    def latest(self, names: Collection[str] | None) -> dict[str, TaskRun]:
        """Return the latest finished run of each of these tasks, of all for None."""
        ...

    def view(self, run: TaskRun, *, real: bool = False) -> Any:
        """Return the result view of a finished run."""
        ...

    def secret_places(self, task: Task, parameters: Mapping[str, Any]) -> Collection[tuple[str | int, ...]]:
        """Return where in the parameters of a child of this task secrets may stand."""
        ...

    def takes(self, task: Task, name: str) -> bool:
        """Whether the action of a task declares a parameter of this name."""
        ...

    # News
    def log(self, level: Level, text: str) -> None: ...

    def end(self, ending: Ending) -> None: ...

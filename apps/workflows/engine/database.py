"""The book of real runs: rows of the database, under a lock on the root of the run's tree."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

from apps.core import clock, sql
from apps.core.cipher import CannotDecrypt
from apps.core.markers import MARKER
from apps.core.schemas import fill_defaults
from apps.executions.models import Execution
from apps.executions.parameters import parameters_of
from apps.executions.secrets import real_config
from apps.packs.models import Pack
from apps.packs.secrets import real_config as real_config_of_pack
from apps.packs.secrets import secret_settings
from apps.workflows.definition.graph import Task
from apps.workflows.engine.book import ChildEnd, ChildSpec, Ending, FailedTask, Level, Outcome, Stop, TaskRun
from apps.workflows.engine.children import PARENT_CANCELLED, Children
from apps.workflows.engine.results import error_of, view_of_child, view_of_execution, views_of_children
from apps.workflows.engine.runs import Run, Snapshot
from apps.workflows.engine.task_rows import TaskRows
from apps.workflows.engine.variables import keep_published_secrets, read_variables, write_variable
from apps.workflows.engine.views import view_of
from apps.workflows.models import WorkflowExecution, WorkflowLogLine
from apps.workflows.rerun.stored import Rerun

CANCELLED = "Workflow cancelled"


class DatabaseBook:
    """
    One run, for as long as one transaction takes.

    ``ends`` is called with how it ended, once. What is logged is written by ``flush``.
    """

    def __init__(self, run: Run, snapshot: Snapshot, ends: Callable[["DatabaseBook", Ending], None]) -> None:
        self.graph = snapshot.graph
        self.run = run
        self.snapshot = snapshot
        self.just_ended: Execution | None = None  # the child whose end is taken in: it need not be read again
        self._ends = ends
        self._tasks = TaskRows(run.id, snapshot.graph)
        self._lines: list[dict[str, Any]] = []

    @cached_property
    def execution(self) -> Execution:
        """The workflow's own execution."""
        found = sql.get(Execution, "id = %s", [self.run.execution_id])
        assert found is not None, "a run goes with its execution"
        return found

    @cached_property
    def children(self) -> Children:
        return Children(self.run.id, self.execution)

    # --- Stop -----------------------------------------------------------------------------------------------------------

    @property
    def stop(self) -> Stop | None:
        if self.run.status != "running":
            return Stop(status="cancelled", error=CANCELLED)
        return Stop(status="failed", error=self.run.error_message) if self.run.error_message is not None else None

    def stop_with(self, stop: Stop) -> None:
        self.write(
            status="cancelled" if stop.status == "cancelled" else self.run.status,
            error_message=self.run.error_message or stop.error,
        )

    def write(self, *, status: str, error_message: str | None) -> None:
        """Write the row of the run."""
        self.run.status, self.run.error_message = status, error_message
        values = {"status": status, "error_message": error_message, "updated": clock.now()}
        sql.update(WorkflowExecution, values, "id = %s", [self.run.id])

    # --- Tasks ----------------------------------------------------------------------------------------------------------

    def find(self, name: str, iteration: int | None) -> TaskRun | None:
        return self._tasks.find(name, iteration)

    def add(self, run: TaskRun) -> None:
        self._tasks.add(run)

    def save(self, run: TaskRun) -> None:
        self._tasks.save(run)

    def has_run(self, name: str, times: int) -> bool:
        return self._tasks.has_run(name, times)

    def waiting(self, names: Collection[str]) -> list[TaskRun]:
        return self._tasks.waiting(names)

    def completed(self, names: Collection[str], iteration: int | None) -> set[str]:
        return self._tasks.completed(names, iteration)

    def ever_completed(self, names: Collection[str]) -> set[str]:
        return self._tasks.ever_completed(names)

    def sub_tasks(self, block: str, iteration: int | None) -> list[TaskRun]:
        return self._tasks.sub_tasks(block, iteration)

    def is_busy(self) -> bool:
        return self._tasks.is_busy()

    def running(self) -> list[TaskRun]:
        return self._tasks.running()

    def unmet(self) -> list[TaskRun]:
        return self._tasks.waiting(None)

    def failures(self) -> list[FailedTask]:
        return [
            replace(each, error=error_of(each.execution)) if each.error is None and each.execution else each
            for each in self._tasks.failures()
        ]

    # --- Children -------------------------------------------------------------------------------------------------------

    def refusal(self, task: Task, specs: Sequence[ChildSpec]) -> str | None:
        return self.children.refusal(task, specs)

    def dispatch(self, run: TaskRun, specs: Sequence[ChildSpec]) -> None:
        self.children.make(run, self.graph.tasks[run.name], specs)

    def note_end(self, end: ChildEnd) -> Literal["released", "held", "again"]:
        return self.children.note_end(end)

    def release_next(self, run: TaskRun) -> None:
        self.children.release_next(run)

    def has_open_children(self, run: TaskRun) -> bool:
        return self.children.has_open(run)

    def unsuccessful(self, run: TaskRun) -> set[Outcome]:
        return self.children.unsuccessful(run)

    def cancel_children(self, run: TaskRun, *, running: bool) -> None:
        by_parent = self.stop is not None and self.stop.status == "cancelled"
        self.children.cancel(run, running=running, error=PARENT_CANCELLED if by_parent else f"Cancelled: {run.error}")

    def secret_places(self, task: Task, parameters: Mapping[str, Any]) -> Collection[tuple[str | int, ...]]:
        return self.children.secret_places(task, parameters)

    def takes(self, task: Task, name: str) -> bool:
        return self.children.takes(task, name)

    # --- A rerun --------------------------------------------------------------------------------------------------------

    @cached_property
    def _rerun(self) -> Rerun | None:
        return Rerun(self.run.rerun_id) if self.run.rerun_id is not None else None

    def given_input(self, task: Task) -> Mapping[str, Any]:
        return self._rerun.given_input(task.name) if self._rerun is not None else {}

    def take_over_items(self, run: TaskRun, count: int) -> Collection[int]:
        if self._rerun is None:
            return ()
        found = self._rerun.take_over_items(self.run.id, run.name, count)
        if found is None:
            self.log("WARN", f"Task '{run.name}' has {count} items and had another number before: all of them run")
        return found or ()

    def owed(self) -> Sequence[tuple[TaskRun, str]]:
        owed = self._rerun.owed() if self._rerun is not None else ()
        pairs = [(self.find(*each.source), each.target) for each in owed]
        return [(source, target) for source, target in pairs if source is not None]

    # --- What expressions read ------------------------------------------------------------------------------------------

    def parameters(self, *, real: bool = False) -> Mapping[str, Any]:
        return self._real_parameters if real else self._parameters

    @cached_property
    def _parameters(self) -> Mapping[str, Any]:
        return self._filled(self.execution.config)

    @cached_property
    def _real_parameters(self) -> Mapping[str, Any]:
        return self._filled(real_config(self.execution))

    def _filled(self, config: Any) -> Mapping[str, Any]:
        schema = self.snapshot.param_schema
        return fill_defaults(schema, parameters_of(config, schema))

    def config(self, *, real: bool = False) -> Mapping[str, Any]:
        pack = Pack.objects.filter(ref=self.snapshot.pack_ref).first()
        if pack is None:
            return {}
        try:
            found = real_config_of_pack(pack) if real else pack.config
        except CannotDecrypt:
            return {}
        found = found if isinstance(found, dict) else {}
        hidden = frozenset() if real else secret_settings(pack)
        return {name: dict(MARKER) if name in hidden else value for name, value in found.items()}

    def system(self) -> Mapping[str, Any]:
        execution = self.execution
        return {
            "workflow_start": clock.as_text(execution.started_at),
            "timestamp": clock.as_text(clock.now()),
            "execution_id": execution.pk,
            "workflow_ref": self.snapshot.ref,
            "rule_ref": execution.rule_ref,
            "trigger_ref": execution.trigger_ref,
        }

    def variables(self, names: Collection[str] | None, *, real: bool = False) -> dict[str, Any]:
        initial = self.graph.variables
        chosen = initial if names is None else initial.keys() & set(names)
        found = {name: initial[name] for name in chosen}
        if not self._may_publish(names):
            return found
        return found | read_variables(self.run.id, names, real=real)

    def _may_publish(self, names: Collection[str] | None) -> bool:
        """Whether any transition publishes one of them: bare names are mostly something else."""
        return names is None or not self.graph.published.isdisjoint(names)

    def publish(self, run: TaskRun, name: str, value: Any, secrets: Mapping[str, Any]) -> None:
        write_variable(self.run.id, name, value, secrets)
        if secrets:
            assert run.row is not None, "only what has run publishes"
            keep_published_secrets(run.row, name, secrets)

    def latest(self, names: Collection[str] | None) -> dict[str, TaskRun]:
        return self._tasks.latest(names)

    def view(self, run: TaskRun, *, real: bool = False) -> Any:
        is_block = self.graph.tasks[run.name].type == "parallel"
        below = {sub.name: sub for sub in self.sub_tasks(run.name, run.iteration)} if is_block else {}
        return view_of(
            run,
            last=lambda: self._view_of_child(run.last_child, real=real),
            items=lambda: views_of_children(self.children.attempts(run), real=real),
            below=below,
            view=lambda sub: self.view(sub, real=real),
        )

    def _view_of_child(self, child_id: int | None, *, real: bool) -> Any:
        if self.just_ended is not None and self.just_ended.pk == child_id:
            return view_of_execution(self.just_ended, real=real)
        return view_of_child(child_id, real=real) if child_id is not None else None

    # --- News -----------------------------------------------------------------------------------------------------------

    def log(self, level: Level, text: str) -> None:
        line = {"workflow_execution": self.run.id, "level": level, "text": text, "created": clock.now()}
        self._lines.append(line)

    def flush(self) -> None:
        """Write what was logged."""
        sql.insert(WorkflowLogLine, self._lines)
        self._lines = []

    def end(self, ending: Ending) -> None:
        self._tasks.cancel_waiting()
        self._ends(self, ending)

"""The book of runs that exist in memory only: dry runs and tests. Pure."""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from apps.core.markers import restored
from apps.core.schemas import secret_paths, to_json_schema
from apps.workflows.definition.graph import Graph, Task
from apps.workflows.engine.book import ChildEnd, ChildSpec, Ending, FailedTask, Level, Outcome, Stop, TaskRun
from apps.workflows.engine.views import view_of

Key = tuple[str, int | None]


@dataclass(kw_only=True)
class MemoryChild:
    """A child; ``outcome`` None until its end was noted; ``result`` is what it is going to come to."""

    id: int
    run: TaskRun
    spec: ChildSpec
    released: bool
    outcome: Outcome | None = None
    cancelled: bool = False
    result: Any = None
    shown: Any = None  # the result with markers for secrets, None when it has none

    def end(self, outcome: Outcome) -> ChildEnd:
        run = self.run
        return ChildEnd(name=run.name, iteration=run.iteration, index=self.spec.index, outcome=outcome, child=self.id)


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the run was given. ``shown``: parameters with markers for secrets, ``secrets`` what stands behind them."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    shown: Mapping[str, Any] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    system: Mapping[str, Any] = field(default_factory=dict)
    schemas: Mapping[str, Any] = field(default_factory=dict)  # param_schema by action ref; all that exist
    out_schemas: Mapping[str, Any] = field(default_factory=dict)  # the same of results
    out_schema: Any = None  # of the workflow
    check_actions: bool = False


class MemoryBook:
    """Keeps everything in dictionaries. Children that were released wait in ``due``; whoever runs them ends them."""

    def __init__(self, graph: Graph, surroundings: Surroundings | None = None) -> None:
        self.graph = graph
        self.stop: Stop | None = None
        self.ending: Ending | None = None
        self.due: deque[MemoryChild] = deque()
        self.children: dict[Key, list[MemoryChild]] = {}
        self.lines: list[tuple[Level, str]] = []
        self.runs: dict[Key, TaskRun] = {}
        self.cancelled: list[MemoryChild] = []  # to be told to the core by whoever runs it
        self._given = surroundings or Surroundings()
        self._variables: dict[str, Any] = dict(graph.variables)
        self._secrets: dict[str, Mapping[str, Any]] = {}
        self._busy: dict[int, TaskRun] = {}
        self._order: list[TaskRun] = []
        self._next_held: dict[Key, int] = {}
        self._open: dict[Key, int] = {}

    def stop_with(self, stop: Stop) -> None:
        self.stop = stop

    # Tasks

    def find(self, name: str, iteration: int | None) -> TaskRun | None:
        return self.runs.get((name, iteration))

    def add(self, run: TaskRun) -> None:
        assert (run.name, run.iteration) not in self.runs, "a task is started once"
        run.row = len(self.runs) + 1
        self.runs[run.name, run.iteration] = run
        self.save(run)

    def save(self, run: TaskRun) -> None:
        if run.status == "running":
            self._busy[run.row or 0] = run
        else:
            self._busy.pop(run.row or 0, None)
            if run.outcome is not None:
                self._order.append(run)

    def has_run(self, name: str, times: int) -> bool:
        return sum(1 for key in self.runs if key[0] == name) >= times

    def waiting(self, names: Collection[str]) -> list[TaskRun]:
        return [run for run in self.runs.values() if run.status == "pending" and run.name in names]

    def completed(self, names: Collection[str], iteration: int | None) -> set[str]:
        found = {name: self.runs.get((name, iteration)) for name in names}
        return {name for name, run in found.items() if run is not None and run.status in ("completed", "skipped")}

    def ever_completed(self, names: Collection[str]) -> set[str]:
        done = {run.name for run in self.runs.values() if run.status in ("completed", "skipped")}
        return done & set(names)

    def sub_tasks(self, block: str, iteration: int | None) -> list[TaskRun]:
        keys = ((name, iteration) for name in self.graph.tasks[block].tasks)
        return [self.runs[key] for key in keys if key in self.runs]

    def is_busy(self) -> bool:
        return bool(self._busy)

    def running(self) -> list[TaskRun]:
        return list(self._busy.values())

    def unmet(self) -> list[TaskRun]:
        return [run for run in self.runs.values() if run.status == "pending"]

    def failures(self) -> list[FailedTask]:
        failed = [run for run in self._order if run.status == "failed" and run.block is None]
        entries = [run for run in self.runs.values() if run.status == "failed" and run not in failed]
        return [
            FailedTask(task=run.name, execution=run.last_child, error=run.error)
            for run in failed + [run for run in entries if run.block is None]
        ]

    # Children

    def refusal(self, task: Task, specs: Sequence[ChildSpec]) -> str | None:
        del specs
        if self._given.check_actions and task.action not in self._given.schemas:
            return f"Action '{task.action}' does not exist"
        return None

    def dispatch(self, run: TaskRun, specs: Sequence[ChildSpec]) -> None:
        key, window = (run.name, run.iteration), run.window or len(specs)
        made = [
            MemoryChild(id=len(self.children) * 100_000 + at, run=run, spec=spec, released=at < window)
            for at, spec in enumerate(specs)
        ]
        self.children[key], self._next_held[key], self._open[key] = made, window, len(made)
        self.due.extend(made[:window])

    def note_end(self, end: ChildEnd) -> Literal["released", "held", "again"]:
        child = self.children[end.name, end.iteration][end.index or 0]
        if child.outcome is not None:
            return "again"
        child.outcome = end.outcome
        self._open[end.name, end.iteration] -= 1
        return "released" if child.released else "held"

    def release_next(self, run: TaskRun) -> None:
        key = (run.name, run.iteration)
        if self._next_held[key] < len(self.children[key]):
            child = self.children[key][self._next_held[key]]
            self._next_held[key] += 1
            child.released = True
            self.due.append(child)

    def has_open_children(self, run: TaskRun) -> bool:
        return self._open[run.name, run.iteration] > 0

    def unsuccessful(self, run: TaskRun) -> set[Outcome]:
        outcomes = {child.outcome for child in self.children[run.name, run.iteration]}
        return {outcome for outcome in outcomes if outcome is not None and outcome != "succeeded"}

    def cancel_children(self, run: TaskRun, *, running: bool) -> None:
        del running  # nothing in memory takes its time
        for child in self.children.get((run.name, run.iteration), ()):
            if child.outcome is None and not child.cancelled:
                child.cancelled = True
                child.result = {"error": "Cancelled", "succeeded": False}
                self.cancelled.append(child)

    # Nothing in memory is a rerun

    def given_input(self, task: Task) -> Mapping[str, Any]:
        del task
        return {}

    def take_over_items(self, run: TaskRun, count: int) -> Collection[int]:
        del run, count
        return ()

    def owed(self) -> Sequence[tuple[TaskRun, str]]:
        return ()

    # What expressions read

    def parameters(self, *, real: bool = False) -> Mapping[str, Any]:
        return self._given.parameters if real or self._given.shown is None else self._given.shown

    def config(self, *, real: bool = False) -> Mapping[str, Any]:
        del real
        return self._given.config

    def system(self) -> Mapping[str, Any]:
        return self._given.system

    def variables(self, names: Collection[str] | None, *, real: bool = False) -> dict[str, Any]:
        chosen = self._variables if names is None else set(names) & self._variables.keys()
        found = {name: self._variables[name] for name in chosen}
        if not real:
            return found
        return {name: restored(value, self._secrets.get(name, {})) for name, value in found.items()}

    def publish(self, run: TaskRun, name: str, value: Any, secrets: Mapping[str, Any]) -> None:
        del run
        self._variables[name] = value
        self._secrets[name] = secrets

    def latest(self, names: Collection[str] | None) -> dict[str, TaskRun]:
        finished = [run for run in self.runs.values() if run.outcome is not None]
        finished.sort(key=lambda run: run.iteration or 0)
        return {run.name: run for run in finished if names is None or run.name in names}

    def view(self, run: TaskRun, *, real: bool = False) -> Any:
        children = self.children.get((run.name, run.iteration), [])
        return view_of(
            run,
            last=lambda: next((_result(child, real=real) for child in children if child.id == run.last_child), None),
            items=lambda: [_result(child, real=real) for child in children],
            below={sub.name: sub for sub in self.sub_tasks(run.name, run.iteration)},
            view=lambda sub: self.view(sub, real=real),
        )

    def secret_places(self, task: Task, parameters: Mapping[str, Any]) -> Collection[tuple[str | int, ...]]:
        schema = self._given.schemas.get(task.action or "")
        return secret_paths(schema, parameters) if schema else ()

    def out_schema_of(self, child: MemoryChild) -> Any:
        return self._given.out_schemas.get(self.graph.tasks[child.run.name].action or "")

    def takes(self, task: Task, name: str) -> bool:
        schema = to_json_schema(self._given.schemas.get(task.action or "")) or {}
        return name in schema.get("properties", {})

    # News

    def log(self, level: Level, text: str) -> None:
        self.lines.append((level, text))

    def end(self, ending: Ending) -> None:
        assert self.ending is None, "a run ends once"
        self.ending = ending


def _result(child: MemoryChild, *, real: bool) -> Any:
    return child.result if real or child.shown is None else child.shown

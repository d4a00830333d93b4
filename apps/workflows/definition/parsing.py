"""
Turn a workflow definition (workflows.md 2) into the graph that the engine runs. Pure.

``parse`` is for definitions that were checked already: what is only a warning on saving does not stop it.
``read_definition`` gives what the checks need besides: problems, and where everything is written.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from apps.workflows.definition.fields import MAX_NAME, Fields, is_number
from apps.workflows.definition.graph import DEFAULT_MAX_ITERATIONS, Graph, Retry, Task
from apps.workflows.definition.problems import InvalidDefinition, Path, Problems
from apps.workflows.definition.transitions import Named, Step, leads_somewhere, read_steps

MAX_ITERATIONS = 10_000
MAX_RETRIES = 100
MAX_SUB_TASKS = 100
MAX_BLOCK_DEPTH = 5
TYPES = ("action", "workflow", "parallel")
BACKOFFS = ("constant", "linear", "exponential")
CANCELLATION_POLICIES = ("allow_finish", "cancel_running")
DEFAULT_VERSION = "1.0.0"
MAX_VERSION = 50
ALL = "all"  # of `join`


@dataclass(kw_only=True)
class TaskReading:
    """A task with the places of what it says; ``permission_key`` is the key that names its permission sets."""

    task: Task
    path: Path
    steps: list[Step]
    join_all: bool = False
    permission_key: str = "permission_set_refs"


@dataclass(kw_only=True)
class Reading:
    """What a definition says. ``graph`` is usable when ``problems`` holds no error."""

    graph: Graph
    problems: Problems
    tasks: list[TaskReading] = field(default_factory=list)
    variables: list[Named] = field(default_factory=list)


def parse(definition: Mapping[str, Any]) -> Graph:
    """Return the graph of a definition. Raises InvalidDefinition when it has an error."""
    reading = read_definition(definition)
    if reading.problems.errors:
        raise InvalidDefinition(reading.problems.errors)
    return reading.graph


def version_of(definition: Mapping[str, Any]) -> str:
    """Return the version that a definition gives itself; a number counts as its text."""
    version = definition.get("version")
    return DEFAULT_VERSION if version is None else str(version)


def read_definition(definition: Any) -> Reading:
    """Return what a definition says, any JSON value; never raises."""
    problems = Problems()
    if not isinstance(definition, Mapping):
        problems.error("type", "a workflow definition must be a mapping", ())
        return Reading(graph=Graph(tasks={}), problems=problems)
    fields = Fields(data=definition, path=(), problems=problems)
    _check_head(fields)
    tasks = _Tasks(problems)
    tasks.read(fields)
    variables, named = _variables(fields)
    graph = Graph(
        tasks=tasks.by_name(),
        variables=variables,
        output_map=fields.mapping("output_map") or {},
        cancellation_policy=fields.choice("cancellation_policy", CANCELLATION_POLICIES, "allow_finish"),  # type: ignore[arg-type]  # one of these
        max_iterations=fields.count("max_iterations", MAX_ITERATIONS) or DEFAULT_MAX_ITERATIONS,
    )
    _check_targets(graph, tasks.found, problems)
    return Reading(graph=graph, problems=problems, tasks=tasks.found, variables=named)


def _check_head(fields: Fields) -> None:
    version = fields.get("version")
    if version is not None and not is_number(version):
        fields.text("version", MAX_VERSION)
    elif version is not None and len(str(version)) > MAX_VERSION:
        fields.problems.error("length", f"version must have 1 to {MAX_VERSION} characters", ("version",))
    for key in ("ref", "label"):
        if fields.get(key):
            fields.text(key, MAX_NAME)
    for key in ("parameters", "output"):
        fields.mapping(key)


def _variables(fields: Fields) -> tuple[dict[str, Any], list[Named]]:
    """Return ``vars``, a mapping or a list of mappings; of a name given twice the last value counts."""
    found: dict[str, Any] = {}
    named: list[Named] = []
    single = isinstance(fields.get("vars"), Mapping)
    for index, entry in enumerate(fields.entries("vars")):
        if not single and len(entry.data) != 1:
            fields.problems.error("type", "an entry of vars must have one key", ("vars", index))
            continue
        found.update(entry.data)
        named.extend(Named(name=name, path=(*entry.path, name)) for name in entry.data)
    return found, named


def _check_targets(graph: Graph, tasks: list[TaskReading], problems: Problems) -> None:
    for reading in tasks:
        for target in (target for step in reading.steps for target in step.do):
            known = graph.tasks.get(target.name)
            if known is None:
                problems.error("unknown_target", f"there is no task '{target.name}'", target.path)
            elif known.block is not None:
                message = f"task '{target.name}' belongs to the parallel block '{known.block}' and starts with it"
                problems.error("target_in_block", message, target.path)


class _Tasks:
    """Reads tasks, those of parallel blocks behind their block."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.found: list[TaskReading] = []
        self._names: set[str] = set()

    def read(self, definition: Fields) -> None:
        tasks = definition.get("tasks")
        if not isinstance(tasks, list):
            if tasks is None:
                self.problems.error("no_tasks", "a workflow needs at least one task", ())
            else:
                definition.wrong("tasks", "a list")
            return
        if not tasks:
            self.problems.error("no_tasks", "a workflow needs at least one task", ("tasks",))
        for entry in definition.entries("tasks"):
            self._task(entry, None, 0)

    def by_name(self) -> dict[str, Task]:
        """Return the tasks, a ``join`` of all predecessors counted."""
        tasks = {reading.task.name: reading.task for reading in self.found}
        waiting = [reading for reading in self.found if reading.join_all]
        if waiting:
            predecessors = Graph(tasks=tasks).predecessors
            for reading in waiting:
                count = len(predecessors[reading.task.name])
                reading.task = replace(reading.task, join=count or None)
                tasks[reading.task.name] = reading.task
        return tasks

    def _task(self, fields: Fields, block: str | None, depth: int) -> str | None:
        """Read one task and return its name, None when it has none that can be used."""
        name = self._name(fields)
        kind = fields.choice("type", TYPES, "action")
        steps = self._steps(fields, block)
        join, join_all = self._join(fields, block)
        position = len(self.found)
        sub_tasks = self._block(fields, name or "", depth) if kind == "parallel" else ()
        task = Task(
            name=name or "",
            type=kind,  # type: ignore[arg-type]  # one of TYPES
            action=None if kind == "parallel" else self._action(fields),
            input=fields.mapping("input"),
            when=fields.condition("when") or None,
            with_items=fields.get("with_items"),
            batch_size=fields.count("batch_size"),
            concurrency=fields.count("concurrency"),
            fail_fast=fields.flag("fail_fast"),
            retry=None if kind == "parallel" else _retry(fields),
            timeout=fields.seconds("timeout"),
            join=join,
            next=tuple(step.transition(index) for index, step in enumerate(steps)),
            permission_set_refs=_permission_sets(fields),
            max_iterations=fields.count("max_iterations", MAX_ITERATIONS),
            tasks=sub_tasks,
            block=block,
        )
        if name is not None:
            reading = TaskReading(
                task=task,
                path=fields.path,
                steps=steps,
                join_all=join_all,
                permission_key=_permission_key(fields),
            )
            self.found.insert(position, reading)
        return name

    def _name(self, fields: Fields) -> str | None:
        if fields.get("name") is None:
            self.problems.error("no_name", "a task needs a name", fields.path)
            return None
        name = fields.text("name", MAX_NAME)
        if name is not None and name in self._names:
            self.problems.error("duplicate_name", f"there are two tasks '{name}'", (*fields.path, "name"))
            return None
        if name is not None:
            self._names.add(name)
        return name

    def _action(self, fields: Fields) -> str | None:
        if not fields.get("action"):
            self.problems.error("no_action", "a task needs an action", fields.path)
            return None
        return fields.text("action")

    def _steps(self, fields: Fields, block: str | None) -> list[Step]:
        key = leads_somewhere(fields) if block is not None else None
        if key is not None:
            self.problems.error("next_in_block", f"a task of a parallel block has no {key}", (*fields.path, key))
            return []
        return read_steps(fields)

    def _join(self, fields: Fields, block: str | None) -> tuple[int | None, bool]:
        value = fields.get("join")
        if value is None:
            return None, False
        if block is not None:
            self.problems.error("join_in_block", "a task of a parallel block has no join", (*fields.path, "join"))
            return None, False
        if value == ALL:
            return None, True
        return fields.count("join"), False

    def _block(self, fields: Fields, name: str, depth: int) -> tuple[str, ...]:
        """Read the sub-tasks of a parallel block and return their names."""
        for key in ("retry", "with_items"):
            if fields.get(key) is not None:
                self.problems.error(f"{key}_on_block", f"a parallel block has no {key}", (*fields.path, key))
        tasks = fields.get("tasks")
        if not isinstance(tasks, list) or not 1 <= len(tasks) <= MAX_SUB_TASKS:
            where = (*fields.path, "tasks") if tasks is not None else fields.path
            self.problems.error("block_tasks", f"a parallel block needs 1 to {MAX_SUB_TASKS} tasks", where)
            return ()
        if depth == MAX_BLOCK_DEPTH:
            message = f"parallel blocks are nested deeper than {MAX_BLOCK_DEPTH}"
            self.problems.error("block_depth", message, fields.path)
            return ()
        names = [self._task(entry, name, depth + 1) for entry in fields.entries("tasks")]
        return tuple(name for name in names if name is not None)


def _retry(fields: Fields) -> Retry | None:
    """Return how a task is tried again; what is no such mapping is left out with a warning."""
    value = fields.get("retry")
    if value is None:
        return None
    path = (*fields.path, "retry")
    if not _is_retry(value):
        fields.problems.advice("retry_ignored", "retry must be a mapping with count; it is ignored", path)
        return None
    inside = Fields(data=value, path=path, problems=fields.problems)
    count = inside.count("count", MAX_RETRIES)
    backoff = inside.choice("backoff", BACKOFFS, "constant")
    delay, max_delay = value.get("delay") or 0, value.get("max_delay")
    if delay < 0:
        fields.problems.error("range", "delay must be at least 0", (*path, "delay"))
    elif max_delay is not None and max_delay < delay:
        fields.problems.error("range", "max_delay must be at least delay", (*path, "max_delay"))
    return Retry(
        count=count or 1,
        delay=float(delay),
        backoff=backoff,  # type: ignore[arg-type]  # one of BACKOFFS
        max_delay=None if max_delay is None else float(max_delay),
    )


def _is_retry(value: Any) -> bool:
    if (
        not isinstance(value, Mapping)
        or isinstance(value.get("count"), bool)
        or not isinstance(value.get("count"), int)
    ):
        return False
    return all(value.get(key) is None or is_number(value[key]) for key in ("delay", "max_delay"))


def _permission_key(fields: Fields) -> str:
    """Return the key that names permission sets, or its older spelling."""
    return "permission_set_refs" if fields.get("permission_set_refs") is not None else "permission_set_ref"


def _permission_sets(fields: Fields) -> Any:
    key = _permission_key(fields)
    value = fields.get(key)
    texts = value if isinstance(value, list) else [value]
    if value is not None and not all(isinstance(text, str) for text in texts):
        fields.wrong(key, "a text or a list of texts")
        return None
    return value

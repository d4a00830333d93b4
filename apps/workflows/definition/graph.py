"""A workflow definition as the engine runs it: tasks, transitions, and what follows from their order."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

DEFAULT_MAX_ITERATIONS = 100
MAX_ITEMS = 10_000
LONGEST_DELAY_SECONDS = 10 * 365 * 86400.0  # a retry that waits longer is beyond what calendars and columns hold
MAX_INPUTS_BYTES = 100 * 2**20  # of all children of one task, as JSON
ASK = "core.ask"

Backoff = Literal["constant", "linear", "exponential"]


@dataclass(frozen=True, kw_only=True)
class Retry:
    """``count`` further attempts after the first; delays in seconds."""

    count: int
    delay: float = 0.0
    backoff: Backoff = "constant"
    max_delay: float | None = None

    def delay_before(self, attempt: int) -> float:
        """Return the seconds before retry number ``attempt`` (1 for the first)."""
        factor = {"constant": 1.0, "linear": float(attempt), "exponential": 2.0 ** min(attempt - 1, 64)}[self.backoff]
        seconds = min(self.delay, LONGEST_DELAY_SECONDS) * factor
        return min(seconds, LONGEST_DELAY_SECONDS if self.max_delay is None else self.max_delay, LONGEST_DELAY_SECONDS)


@dataclass(frozen=True, kw_only=True)
class Transition:
    """``when`` None: always. ``publish``: (name, value) in order; ``None`` for a value means the whole ``result()``."""

    index: int
    when: str | None = None
    publish: tuple[tuple[str, "Published"], ...] = ()
    do: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Published:
    """A value to publish: a document with templates, or the whole result."""

    value: Any = None
    whole_result: bool = False


@dataclass(frozen=True, kw_only=True)
class Task:
    """
    One task. ``join``: how many predecessors it waits for, None for any, "all" counted already.

    ``input`` None or empty: the child receives the parameters of the workflow. ``block``: the parallel block it
    belongs to. ``permission_set_refs`` None: as the action says.
    """

    name: str
    type: Literal["action", "workflow", "parallel"] = "action"
    action: str | None = None
    input: Mapping[str, Any] | None = None
    when: str | None = None
    with_items: Any = None  # None: no items; else a template or a list
    batch_size: int | None = None
    concurrency: int | None = None
    fail_fast: bool = False
    retry: Retry | None = None
    timeout: int | None = None
    join: int | None = None
    next: tuple[Transition, ...] = ()
    permission_set_refs: Any = None
    max_iterations: int | None = None
    tasks: tuple[str, ...] = ()  # of a parallel block, in order
    block: str | None = None

    @property
    def has_items(self) -> bool:
        return self.with_items is not None


@dataclass(frozen=True, kw_only=True)
class Graph:
    """
    ``tasks`` holds every task by name, those of parallel blocks too, in the order of the definition.

    ``variables`` are the initial ones; ``output_map`` name -> document with templates.
    """

    tasks: Mapping[str, Task]
    variables: Mapping[str, Any] = field(default_factory=dict)
    output_map: Mapping[str, Any] = field(default_factory=dict)
    cancellation_policy: Literal["allow_finish", "cancel_running"] = "allow_finish"
    max_iterations: int = DEFAULT_MAX_ITERATIONS

    @cached_property
    def predecessors(self) -> Mapping[str, tuple[str, ...]]:
        """By task, the distinct tasks that name it in a ``do``, in the order of the definition."""
        found: dict[str, dict[str, None]] = {name: {} for name in self.tasks}
        for task in self.tasks.values():
            for transition in task.next:
                for target in transition.do:
                    if target in found:
                        found[target][task.name] = None
        return {name: tuple(names) for name, names in found.items()}

    @cached_property
    def joins_after(self) -> Mapping[str, tuple[str, ...]]:
        """By task, the tasks with a join that wait for it among others."""
        found: dict[str, list[str]] = {}
        for task in self.tasks.values():
            for name in self.predecessors[task.name] if task.join else ():
                found.setdefault(name, []).append(task.name)
        return {name: tuple(names) for name, names in found.items()}

    @cached_property
    def published(self) -> frozenset[str]:
        """The names that any transition publishes."""
        return frozenset(name for task in self.tasks.values() for step in task.next for name, _value in step.publish)

    @cached_property
    def entry(self) -> tuple[str, ...]:
        """The tasks nobody names in a ``do``, sub-tasks of blocks left out."""
        return tuple(
            task.name for task in self.tasks.values() if task.block is None and not self.predecessors[task.name]
        )

    @cached_property
    def cycles(self) -> tuple[frozenset[str], ...]:
        """Sets of tasks that reach each other through ``do``, one that names itself included."""
        return _cycles(self)

    @cached_property
    def cycle_of(self) -> Mapping[str, frozenset[str]]:
        """By task on a cycle, the cycle; sub-tasks belong to the cycle of their block."""
        found = {name: cycle for cycle in self.cycles for name in cycle}
        for task in self.tasks.values():
            top = self.top_of(task)
            if top.name in found:
                found[task.name] = found[top.name]
        return found

    def top_of(self, task: Task) -> Task:
        """Return the outermost block of a sub-task, the task itself when it is in none."""
        while task.block is not None:
            task = self.tasks[task.block]
        return task

    def limit_of(self, task: Task) -> int:
        """Return how many times a task on a cycle may run."""
        return task.max_iterations or self.max_iterations


def _cycles(graph: Graph) -> tuple[frozenset[str], ...]:
    """Strongly connected components by Tarjan's algorithm, without recursion (a definition may have any length)."""
    edges = {
        name: [target for step in task.next for target in step.do if target in graph.tasks]
        for name, task in graph.tasks.items()
    }
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    found: list[frozenset[str]] = []
    for start in edges:
        if start in index:
            continue
        work = [(start, iter(edges[start]))]
        index[start] = low[start] = len(index)
        stack.append(start)
        on_stack.add(start)
        while work:
            name, targets = work[-1]
            for target in targets:
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    on_stack.add(target)
                    work.append((target, iter(edges[target])))
                    break
                if target in on_stack:
                    low[name] = min(low[name], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == index[name]:
                    members: list[str] = []
                    while not members or members[-1] != name:
                        members.append(stack.pop())
                        on_stack.discard(members[-1])
                    if len(members) > 1 or name in edges[name]:
                        found.append(frozenset(members))
    return tuple(found)

"""
Which tasks of a run that has ended run again, and which are taken over (workflows.md section 13). Pure.

What runs again: the tasks that are named, whatever can be reached from them, and so always a cycle as a whole. What has
ended and is not among these is taken over, also a failure that nobody asked to mend: it still fails the run.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.workflows.definition.graph import Graph

Key = tuple[str, int | None]  # a task in one iteration, None outside cycles

_DONE = ("completed", "skipped")
_OPEN = ("running", "failed")


class CannotRerun(Exception):
    """There is nothing to run again, or not what was asked for; the text says why."""


@dataclass(frozen=True, kw_only=True)
class OldRun:
    """A run of a task as it was: ``judged`` transitions had been looked at, those of the indexes in ``fired`` fired."""

    name: str
    iteration: int | None = None
    status: str = "completed"
    outcome: str | None = None
    triggered_by: str | None = None
    triggered_iteration: int | None = None
    block: str | None = None
    item_count: int | None = None
    judged: int = 0
    fired: tuple[int, ...] = ()

    @property
    def key(self) -> Key:
        return (self.name, self.iteration)

    @property
    def has_ended(self) -> bool:
        return self.outcome is not None and self.status in (*_DONE, "failed")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is asked for. ``from_tasks`` None: what failed. ``all_items``: also those items that had succeeded."""

    from_tasks: Sequence[str] | None = None
    all_items: bool = False


@dataclass(frozen=True, kw_only=True)
class Seed:
    """A task that starts first; ``trigger``: the run taken over that ``result()`` speaks of in it."""

    name: str
    iteration: int | None
    trigger: Key | None


@dataclass(frozen=True, kw_only=True)
class Owed:
    """A task that runs again, and was named by one taken over: it starts at the end if nothing else reached it."""

    source: Key
    target: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """
    What a rerun does.

    ``again``: names of tasks, those in parallel blocks too. ``waiting``: joins that still wait. ``followed``: taken
    over, but the old run was stopped before it had looked at all of their transitions. ``items``: tasks of which the
    items that had succeeded are taken over.
    """

    again: frozenset[str]
    seeds: tuple[Seed, ...] = ()
    taken_over: tuple[Key, ...] = ()
    waiting: tuple[Key, ...] = ()
    followed: tuple[Key, ...] = ()
    owed: tuple[Owed, ...] = ()
    items: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Before:
    """The run that has ended. ``at_loop_limit``: it was stopped because a task would have run too often."""

    graph: Graph
    runs: Sequence[OldRun] = ()
    at_loop_limit: bool = False


def plan_rerun(graph: Graph, before: Before, wish: Wish) -> Plan:
    """Return what a rerun by this graph does. Raises CannotRerun."""
    return _Planner(graph, before, wish).plan()


class _Planner:
    def __init__(self, graph: Graph, before: Before, wish: Wish) -> None:
        self._graph = graph
        self._before = before
        self._wish = wish
        self._old = [run for run in before.runs if run.name in graph.tasks]
        self._by_key = {run.key: run for run in self._old}
        self._ran = {run.name for run in self._old}
        self._ended = {run.name for run in self._old if run.has_ended}
        self._after = {
            name: list(dict.fromkeys(target for step in task.next for target in step.do if target in graph.tasks))
            for name, task in graph.tasks.items()
        }
        self._interrupted = [run for run in self._old if self._was_interrupted(run)]

    def plan(self) -> Plan:
        named, containers = self._chosen()
        tops = {self._top(name) for name in named | containers}
        below = self._reached(tops)
        if self._wish.from_tasks is None:
            unreached = {target for run in self._interrupted for target in self._left_of(run)} - self._ran
            below |= unreached | self._reached(unreached)
        again = self._again(named, containers, tops, below)
        ended = [run for run in self._old if run.has_ended and run.name not in again]
        taken = tuple(run.key for run in ended)
        seeds = self._seeds(tops, frozenset(taken))
        followed = self._followed(again)
        if not again and not followed:
            raise CannotRerun("Nothing to rerun: no task has failed")
        return Plan(
            again=again,
            seeds=seeds,
            taken_over=taken,
            waiting=self._waiting(again),
            followed=followed,
            owed=self._owed(ended, again - {seed.name for seed in seeds}),
            items=self._items(named, below),
        )

    # --- What is named ------------------------------------------------------------------------------------------------

    def _chosen(self) -> tuple[set[str], set[str]]:
        """Return the tasks that are named, and the blocks of which some sub-tasks are."""
        named, containers = self._asked_for() if self._wish.from_tasks is not None else self._failed()
        for name in named | containers:
            block = self._graph.tasks[name].block
            while block is not None:
                containers.add(block)
                block = self._graph.tasks[block].block
        return named, containers - named

    def _asked_for(self) -> tuple[set[str], set[str]]:
        named = list(self._wish.from_tasks or ())
        unknown = [name for name in named if name not in self._graph.tasks]
        if unknown:
            raise CannotRerun(f"The workflow has no task '{unknown[0]}'")
        if not named:
            raise CannotRerun("Nothing to rerun: no task is named")
        return set(named), set()

    def _failed(self) -> tuple[set[str], set[str]]:
        """What had failed and was not handled, with what was not even begun; blocks only as far as they failed."""
        failed = {run.name for run in self._old if run.status in _OPEN and not self._is_handled(run)}
        containers = {name for name in failed if self._graph.tasks[name].type == "parallel"}
        named = failed - containers
        named |= {name for name in self._graph.entry if name not in self._ran}
        named |= {run.name for run in self._interrupted if run.name in self._graph.cycle_of}
        named |= {run.name for run in self._old if run.has_ended and run.block != self._graph.tasks[run.name].block}
        if self._before.at_loop_limit:
            named |= {name for name in self._graph.cycle_of if self._ran_too_often(name)}
        return named, containers

    def _is_handled(self, run: OldRun) -> bool:
        """A sub-task never is by itself, but its block may be."""
        if run.block is None:
            return False
        top = self._by_key.get((self._top(run.name), run.iteration))
        return top is not None and top.status in _DONE

    def _ran_too_often(self, name: str) -> bool:
        limit = self._graph.limit_of(self._graph.tasks[name])
        return sum(run.name == name for run in self._old) >= limit

    # --- What follows from that ---------------------------------------------------------------------------------------

    def _top(self, name: str) -> str:
        return self._graph.top_of(self._graph.tasks[name]).name

    def _reached(self, names: Iterable[str]) -> set[str]:
        """Return what is behind these tasks; themselves only when they are on a cycle."""
        found: set[str] = set()
        pending = deque(names)
        while pending:
            for target in self._after[pending.popleft()]:
                if target not in found:
                    found.add(target)
                    pending.append(target)
        return found

    def _again(
        self, named: Collection[str], containers: Collection[str], tops: Collection[str], below: Collection[str]
    ) -> frozenset[str]:
        again = set(tops) | set(below)
        pending = deque(again)
        while pending:
            name = pending.popleft()
            whole = name in named or name in below or self._top(name) in below or name not in containers
            chosen = [
                sub
                for sub in self._graph.tasks[name].tasks
                if whole or sub in named or sub in containers or sub not in self._ended
            ]
            again |= set(chosen)
            pending.extend(chosen)
        return frozenset(again)

    def _was_interrupted(self, run: OldRun) -> bool:
        task = self._before.graph.tasks.get(run.name)
        return task is not None and run.status in _DONE and run.block is None and run.judged < len(task.next)

    def _left_of(self, run: OldRun) -> set[str]:
        """Return what the transitions name that nobody has looked at."""
        left = self._graph.tasks[run.name].next[run.judged :]
        return {target for step in left for target in step.do if target in self._graph.tasks}

    def _followed(self, again: Collection[str]) -> tuple[Key, ...]:
        if self._wish.from_tasks is not None:
            return ()  # what somebody stopped goes on only when it is asked for
        return tuple(run.key for run in self._interrupted if run.name not in again)

    def _waiting(self, again: Collection[str]) -> tuple[Key, ...]:
        return tuple(
            run.key
            for run in self._old
            if run.status in ("pending", "cancelled") and self._graph.tasks[run.name].join and run.name not in again
        )

    def _owed(self, ended: Sequence[OldRun], later: Collection[str]) -> tuple[Owed, ...]:
        return tuple(
            Owed(source=run.key, target=target)
            for run in ended
            for target in self._fired_at(run)
            if target in later and run.name in self._graph.predecessors[target]
        )

    def _fired_at(self, run: OldRun) -> list[str]:
        task = self._before.graph.tasks.get(run.name)
        steps = task.next if task is not None else ()
        return list(dict.fromkeys(target for step in steps if step.index in run.fired for target in step.do))

    def _items(self, named: Collection[str], below: Collection[str]) -> frozenset[str]:
        if self._wish.all_items:
            return frozenset()
        return frozenset(
            name
            for name in named
            if (run := self._by_key.get((name, None))) is not None
            and run.item_count is not None
            and run.outcome != "succeeded"
            and self._graph.tasks[name].has_items
            and self._top(name) not in below
        )

    # --- Where it begins ----------------------------------------------------------------------------------------------

    def _seeds(self, tops: Collection[str], taken: frozenset[Key]) -> tuple[Seed, ...]:
        """Those that are not behind another; of a cycle the tasks by which it was entered."""
        first: set[str] = set()
        for name in tops:
            cycle = self._graph.cycle_of.get(name, frozenset({name}))
            if cycle.isdisjoint(self._reached(set(tops) - cycle)):
                first |= self._heads(cycle) or {name}
        return tuple(self._seed(name, taken) for name in self._graph.tasks if name in first)

    def _heads(self, cycle: frozenset[str]) -> set[str]:
        return {
            run.name
            for run in self._old
            if run.iteration == 0 and run.name in cycle and run.block is None and run.triggered_by not in cycle
        }

    def _seed(self, name: str, taken: frozenset[Key]) -> Seed:
        iteration = 0 if name in self._graph.cycle_of else None
        return Seed(name=name, iteration=iteration, trigger=self._trigger(name, iteration, taken))

    def _trigger(self, name: str, iteration: int | None, taken: frozenset[Key]) -> Key | None:
        """What triggered it before; else a task taken over that named it; else any of its predecessors."""
        before = self._by_key.get((name, iteration))
        if before is not None and before.triggered_by is not None:
            key = (before.triggered_by, before.triggered_iteration)
            if key in taken:
                return key
        runs = [run for run in self._old if run.key in taken and run.name in self._graph.predecessors[name]]
        done = [run for run in runs if run.status in _DONE]
        fired = [run for run in done if name in self._fired_at(run)]
        return (fired or done)[-1].key if fired or done else None


# --- As JSON --------------------------------------------------------------------------------------------------------------


def to_json(plan: Plan) -> dict[str, object]:
    """Return the plan as it is stored."""
    return {
        "again": sorted(plan.again),
        "seeds": [[seed.name, seed.iteration, list(seed.trigger) if seed.trigger else None] for seed in plan.seeds],
        "taken_over": [list(key) for key in plan.taken_over],
        "waiting": [list(key) for key in plan.waiting],
        "followed": [list(key) for key in plan.followed],
        "owed": [[list(owed.source), owed.target] for owed in plan.owed],
        "items": sorted(plan.items),
    }


def from_json(stored: Mapping[str, list[Any]]) -> Plan:
    """Return the plan that was stored."""
    return Plan(
        again=frozenset(stored["again"]),
        seeds=tuple(
            Seed(name=name, iteration=iteration, trigger=(trigger[0], trigger[1]) if trigger else None)
            for name, iteration, trigger in stored["seeds"]
        ),
        taken_over=_keys(stored["taken_over"]),
        waiting=_keys(stored["waiting"]),
        followed=_keys(stored["followed"]),
        owed=tuple(Owed(source=(source[0], source[1]), target=target) for source, target in stored["owed"]),
        items=frozenset(stored["items"]),
    )


def _keys(stored: Iterable[Sequence[Any]]) -> tuple[Key, ...]:
    return tuple((name, iteration) for name, iteration in stored)

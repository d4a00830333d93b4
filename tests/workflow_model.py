"""
What workflows.md says about running a graph, sections 4, 5, 7 and 8, as a small model that shares nothing with the engine.

It is driven like the engine: somebody ends one running child after the other. Where the text leaves the order open (a
task that ends at once: skipped, not dispatched, no items) it is taken up after what led to it is done.
"""

from dataclasses import dataclass, field
from typing import Any

from tests.workflow_graphs import Condition, RandomTask, RandomWorkflow

GOOD = ("succeeded", "skipped")
Key = tuple[str, int | None]
Child = tuple[str, int | None, int | None]


class Wrong(Exception):
    """An expression that cannot be evaluated."""


@dataclass(kw_only=True)
class Run:
    task: RandomTask
    iteration: int | None
    state: str = "running"  # waiting, running, over
    outcome: str | None = None
    handled: bool = False
    trigger: "Run | None" = None
    ancestors: frozenset[str] = frozenset()
    children: dict[int | None, str] = field(default_factory=dict)  # held, running, or the outcome
    items: bool = False
    result: Any = None
    stopped: bool = False
    block: "Run | None" = None

    @property
    def done(self) -> bool:
        """Completed in the sense of joins: succeeded, skipped, or failed and handled."""
        return self.state == "over" and (self.outcome in GOOD or self.handled)


class Model:
    def __init__(self, workflow: RandomWorkflow) -> None:
        self.workflow = workflow
        self.tasks = {task.name: task for task in workflow.tasks}
        self.variables: dict[str, Any] = dict(workflow.variables)
        self.runs: dict[Key, Run] = {}
        self.order: list[Run] = []
        self.over_now: list[Run] = []
        self.fatal: str | None = None
        self.status: str | None = None
        self.error: str | None = None
        self.outputs: dict[str, Any] = {}
        reach = {name: self._reachable(name) for name in self.tasks}
        self.cycle = {
            name: frozenset(other for other in self.tasks if other in reach[name] and name in reach[other])
            for name in self.tasks
            if name in reach[name]
        }
        self.before = {
            name: [t.name for t in workflow.tasks if any(name in step.do for step in t.steps)] for name in self.tasks
        }

    def _targets(self, name: str) -> set[str]:
        return {target for step in self.tasks[name].steps for target in step.do}

    def _reachable(self, name: str) -> set[str]:
        found: set[str] = set()
        more = self._targets(name)
        while more - found:
            found |= more
            more = {target for each in found for target in self._targets(each)}
        return found

    # --- Driven from outside --------------------------------------------------------------------------------------------

    def start(self) -> None:
        entries = [name for name in self.tasks if not self.before[name]]
        ways = {name: self._way(self.tasks[name], None) for name in entries}
        bad = [name for name in entries if ways[name] == "refused"]
        for name in entries:
            run = Run(task=self.tasks[name], iteration=None)
            if name in bad:
                run.state, run.outcome = "over", "failed"
                self._keep(run)
                self.order.append(run)
            elif not bad:
                self._begin(run, ways[name])
        self._go_on()

    def running(self) -> set[Child]:
        return {
            (name, iteration, index)
            for (name, iteration), run in self.runs.items()
            for index, state in run.children.items()
            if state == "running"
        }

    def end_child(self, child: Child, outcome: str, n: int) -> None:
        name, iteration, index = child
        run = self.runs[name, iteration]
        run.children[index] = outcome
        run.result = {"n": n}
        if outcome != "succeeded" and run.task.fail_fast and run.items:
            self._stop(run)
        held = [index for index, state in run.children.items() if state == "held"]
        if held and not run.stopped:
            run.children[min(index for index in held if index is not None)] = "running"
        self._children_over(run)
        self._go_on()

    # --- Tasks ------------------------------------------------------------------------------------------------------------

    def _keep(self, run: Run) -> None:
        assert (run.task.name, run.iteration) not in self.runs
        self.runs[run.task.name, run.iteration] = run

    def _way(self, task: RandomTask, trigger: Run | None) -> Any:
        """What starting a task comes to: skipped, refused, block, one, or its number of children."""
        try:
            if task.when is not None and not self._judge(task.when, trigger):
                return "skipped"
            if task.subs:
                return "block"
            count: Any = "one"
            if task.items is not None:
                items = self._variable(task.items[1]) if isinstance(task.items, tuple) else task.items
                count = len(items) if isinstance(items, list) else 1
                if task.batch:
                    count = -(-count // task.batch)
        except Wrong:
            return "refused"
        return count if task.known else "refused"

    def _begin(self, run: Run, way: Any) -> None:
        run.state = "running"
        if (run.task.name, run.iteration) not in self.runs:
            self._keep(run)
        if way == "skipped":
            self._over(run, "skipped")
        elif way == "refused":
            run.result = {"error": "refused"}
            self._over(run, "failed")
        elif way == "block":
            self._fill(run)
        elif way == "one":
            run.children = {None: "running"}
        else:
            run.items = True
            window = run.task.concurrency or 1
            run.children = {index: "running" if index < window else "held" for index in range(way)}
            if not way:
                run.result = {"items": []}
                self._over(run, "succeeded")

    def _over(self, run: Run, outcome: str) -> None:
        run.outcome = outcome
        self.over_now.append(run)

    def _children_over(self, run: Run) -> None:
        states = set(run.children.values())
        if run.outcome is not None or states & {"held", "running"}:
            return
        if states == {"succeeded"}:
            self._over(run, "succeeded")
        else:
            self._over(run, "timed_out" if states - {"succeeded"} == {"timed_out"} else "failed")

    def _stop(self, run: Run) -> None:
        """Cancel whatever has not ended of a task, or of a block and all below."""
        run.stopped = True
        unfinished = [index for index, state in run.children.items() if state in ("held", "running")]
        for index in unfinished:
            run.children[index] = "failed"
            run.result = {"error": "Cancelled"}
        for below in list(self.runs.values()):
            if below.block is run and below.outcome is None:
                self._stop(below)
                if below.children:
                    self._children_over(below)

    # --- Blocks -----------------------------------------------------------------------------------------------------------

    def _fill(self, block: Run) -> None:
        subs = block.task.subs
        while self.fatal is None and not block.stopped:
            started = [
                self.runs[sub.name, block.iteration] for sub in subs if (sub.name, block.iteration) in self.runs
            ]
            busy = [run for run in started if run.state != "over"]
            if len(started) == len(subs) or len(busy) >= (block.task.concurrency or len(subs)):
                break
            top = block
            while top.block is not None:
                top = top.block
            sub = Run(task=subs[len(started)], iteration=block.iteration, block=block, trigger=top.trigger)
            self._begin(sub, self._way(sub.task, top.trigger))
        self._block_over(block)

    def _block_over(self, block: Run) -> None:
        started = [run for run in self.runs.values() if run.block is block]
        if block.outcome is not None or any(run.state != "over" for run in started):
            return
        good = len(started) == len(block.task.subs) and all(run.outcome in GOOD for run in started)
        block.result = {"subs": True}
        self._over(block, "succeeded" if good and not block.stopped else "failed")

    # --- What follows -----------------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        while self.over_now:
            run = self.over_now.pop(0)
            if run.state == "over":
                continue
            self._follow(run)
        if not any(run.state == "running" for run in self.runs.values()):
            self._conclude()

    def _follow(self, run: Run) -> None:
        if run.block is None:
            for step in run.task.steps:
                if self.fatal is None and self._fires(step.when, run):
                    self._publish(step.publish, run)
                    for name in step.do:
                        run.handled |= self._name(run, name)
        run.state = "over"
        self.order.append(run)
        if run.block is not None:
            self._sub_over(run)
            return
        if run.done and self.fatal is None:
            self._look_at_joins(run)

    def _sub_over(self, run: Run) -> None:
        block = run.block
        assert block is not None
        if block.outcome is not None:
            return
        if run.outcome not in GOOD and block.task.fail_fast and not block.stopped:
            self._stop(block)
        self._fill(block)

    def _fires(self, when: Condition, run: Run) -> bool:
        try:
            return when is None or self._judge(when, run)
        except Wrong:
            return run.outcome in GOOD

    def _publish(self, published: list[tuple[str, tuple[Any, ...]]], run: Run) -> None:
        for name, value in published:
            try:
                match value:
                    case ("n",):
                        self.variables[name] = self._n(run)
                    case ("const", number):
                        self.variables[name] = number
                    case ("inc", other):
                        found = self._variable(other)
                        if not isinstance(found, int):
                            raise Wrong
                        self.variables[name] = found + 1
                    case ("whole",):
                        self.variables[name] = {"whole": run.task.name}
            except Wrong:
                pass

    def _name(self, source: Run, name: str) -> bool:
        """A transition of ``source`` names a task; whether that dispatched it."""
        if self.fatal is not None:
            return False
        iteration = self._iteration(source, name)
        found = self.runs.get((name, iteration))
        if found is not None:
            return found.state == "waiting"
        task = self.tasks[name]
        limit = task.max_iterations or self.workflow.max_iterations
        if name in self.cycle and sum(1 for known, _ in self.runs if known == name) >= limit:
            self.fatal = f"Loop limit reached: task '{name}' would run more than {limit} times"
            return False
        run = Run(task=task, iteration=iteration, trigger=source)
        if task.join:
            run.state = "waiting"
            self._keep(run)
        else:
            run.ancestors = self._line(run, [source])
            self._begin(run, self._way(task, source))
        return True

    def _iteration(self, source: Run, name: str) -> int | None:
        cycle = self.cycle.get(name)
        if cycle is None:
            return None
        if source.task.name not in cycle:
            return 0
        assert source.iteration is not None
        again = name == source.task.name or name in source.ancestors
        if again and (name, source.iteration) in self.runs:
            return source.iteration + 1
        return source.iteration

    def _line(self, run: Run, sources: list[Run]) -> frozenset[str]:
        """The tasks that led to a run in its iteration."""
        cycle = self.cycle.get(run.task.name, frozenset())
        found: set[str] = set()
        for source in sources:
            if source.task.name in cycle and source.iteration == run.iteration:
                found |= {source.task.name, *source.ancestors}
        return frozenset(found)

    # --- Joins ------------------------------------------------------------------------------------------------------------

    def _counted(self, run: Run) -> list[Run]:
        """One run of each predecessor that has completed."""
        cycle = self.cycle.get(run.task.name, frozenset())
        found = []
        for name in self.before[run.task.name]:
            runs = [each for (known, _), each in self.runs.items() if known == name and each.done]
            if name in cycle:
                runs = [each for each in runs if each.iteration == run.iteration or each is run.trigger]
                runs.sort(key=lambda each: each.iteration != run.iteration)
            found += runs[:1]
        return found

    def _look_at_joins(self, ended: Run) -> None:
        for run in list(self.runs.values()):
            if run.state == "waiting" and ended.task.name in self.before[run.task.name] and self.fatal is None:
                counted = self._counted(run)
                if len(counted) >= (run.task.join or 0):
                    run.trigger = ended
                    run.ancestors = self._line(run, [*counted, ended])
                    self._begin(run, self._way(run.task, ended))

    # --- Expressions ------------------------------------------------------------------------------------------------------

    def _judge(self, condition: tuple[Any, ...], run: Run | None) -> bool:
        match condition:
            case ("n", operator, number):
                return self._compare(self._n(run), operator, number)
            case ("var", name, operator, number):
                return self._compare(self._variable(name), operator, number)
            case ("succeeded",):
                return run is not None and run.outcome in GOOD
            case (name,):
                return run is not None and run.outcome == name
        raise AssertionError(condition)

    def _compare(self, value: Any, operator: str, number: int) -> bool:
        if operator == "==":
            return bool(value == number)
        if not isinstance(value, int):
            raise Wrong
        return value < number if operator == "<" else value > number

    def _n(self, run: Run | None) -> int:
        if run is None or run.outcome == "skipped" or not isinstance(run.result, dict) or "n" not in run.result:
            raise Wrong
        return int(run.result["n"])

    def _variable(self, name: str) -> Any:
        if name not in self.variables:
            raise Wrong
        return self.variables[name]

    # --- The end ----------------------------------------------------------------------------------------------------------

    def _conclude(self) -> None:
        failed = [run.task.name for run in self.order if not run.done and run.block is None]
        waiting = [run for run in self.runs.values() if run.state == "waiting"]
        if self.fatal is not None:
            self.error = self.fatal
        elif waiting:
            first = min(waiting, key=lambda run: (list(self.tasks).index(run.task.name), run.iteration or 0))
            self.error = (
                f"Join of task '{first.task.name}' cannot be met: {len(self._counted(first))} of {first.task.join}"
            )
        elif failed:
            names = ", ".join(dict.fromkeys(failed))
            self.error = f"Workflow failed: {len(failed)} task(s) failed: {names}"
        self.status = "failed" if self.error is not None else "completed"
        if self.status == "completed":
            self.outputs = {f"out_{name}": value for name, value in self.variables.items()}

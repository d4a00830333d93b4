"""
The decisions of the engine: what is started, when a task has ended, when the run has (workflows.md 4, 5, 7, 8). Pure.

Every call takes in one piece of news, and everything that follows from it, before it returns; there is no recursion
over tasks but a list of those that have ended. News that arrives while one is being worked on (a cancelled child ends
at once) is taken in by the same call.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

from apps.core.expressions import ExpressionError
from apps.workflows.engine import blocks, joins
from apps.workflows.engine.book import Book, ChildEnd, ChildSpec, Outcome, Stop, TaskRun
from apps.workflows.engine.ending import ending_of
from apps.workflows.engine.items import CannotDispatch, children_of
from apps.workflows.engine.judging import fires, holds, publish
from apps.workflows.engine.loops import reach
from apps.workflows.engine.scope import Place

# What starting a task comes to: its children, no run at all, its sub-tasks, or why it cannot be dispatched.
Prepared = list[ChildSpec] | Literal["skipped", "block"] | CannotDispatch


class Core:
    """One run, for as long as one transaction takes."""

    def __init__(self, book: Book, *, most_at_once: int | None = None) -> None:
        """``most_at_once``: how many tasks may end in one transaction; ``go_on`` ends the others in further ones."""
        self._book = book
        self._most_at_once = most_at_once
        self._finished = 0
        self._graph = book.graph
        self._news: deque[ChildEnd] = deque()
        self._ended: deque[TaskRun] = deque()
        self._working = False
        self._dispatched = False
        self._over = False

    # --- What happens -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the entry tasks; when one cannot be dispatched the workflow fails, and none of them is."""
        runs = [TaskRun(name=name) for name in self._graph.entry]
        prepared = [(run, self._prepare(run, None)) for run in runs]
        self._guarded(lambda: self._start_entries(prepared))

    def _start_entries(self, prepared: Sequence[tuple[TaskRun, Prepared]]) -> None:
        refused = any(isinstance(each, CannotDispatch) for _run, each in prepared)
        for run, each in prepared:
            if not refused:
                self._dispatch(run, each)
            elif isinstance(each, CannotDispatch):
                self._refuse(run, each)

    def start_again(self, seeds: Sequence[tuple[TaskRun, TaskRun | None]], followed: Sequence[TaskRun]) -> None:
        """
        Start these tasks, each with the one that ``result()`` speaks of in it; others are taken over.

        ``followed``: those taken over of which not all transitions have been looked at.
        """
        self._guarded(lambda: self._start_again(seeds, followed))

    def _start_again(self, seeds: Sequence[tuple[TaskRun, TaskRun | None]], followed: Sequence[TaskRun]) -> None:
        for run in followed:
            self._follow_transitions(run)
            self._book.save(run)
            self._look_at_joins(run)
        for run, finished in seeds:
            if self._book.find(run.name, run.iteration) is None:
                self._start(run, finished)

    def child_ended(self, end: ChildEnd) -> None:
        """Take in the end of the last attempt of a child; told again it changes nothing."""
        self._news.append(end)
        self._work()

    def time_is_up(self, name: str, iteration: int | None) -> None:
        """Stop a parallel block whose time is up."""
        run = self._book.find(name, iteration)
        if run is None or run.status != "running":
            return
        self._guarded(lambda: self._stop_block(run, f"Execution timed out after {run.timeout} seconds"))

    def stop(self, stop: Stop, *, cancel_running: bool) -> None:
        """
        Start nothing more: the run ends so once everything that runs has ended.

        Children that wait are cancelled; with ``cancel_running`` those that run too.
        """
        if self._book.stop is None or stop.status == "cancelled":
            self._book.stop_with(stop)
        self._guarded(lambda: self._cancel_all(stop.error, running=cancel_running))

    def look(self) -> None:
        """See whether the run is over."""
        self._work()

    def go_on(self) -> None:
        """Finish what was put off, or see that there is nothing any more."""
        if put_off := self._put_off():
            self._ended.extend(put_off)
            self._work()

    def go_on_stopping(self) -> None:
        """Cancel more of the children of tasks that are being stopped: one transaction takes so many at once."""
        stopping = [run for run in self._book.running() if run.error is not None and run.outcome is None]
        tasks = [run for run in stopping if self._graph.tasks[run.name].type != "parallel"]

        def cancel() -> None:
            for run in tasks:
                self._book.cancel_children(run, running=False)

        self._guarded(cancel)

    # --- The work ---------------------------------------------------------------------------------------------------

    def _guarded(self, step: Callable[[], object]) -> None:
        """Make a step during which news only gathers, and then work it off."""
        self._working = True
        try:
            step()
        finally:
            self._working = False
        self._work()

    def _work(self) -> None:
        if self._working or self._over:
            return
        self._working = True
        try:
            self._work_off()
            while not self._dispatched and not self._book.is_busy():
                if not self._enter_owed():
                    self._over = True
                    self._book.end(ending_of(self._book))
                    return
                self._work_off()
        finally:
            self._working = False
            self._dispatched = False

    def _work_off(self) -> None:
        while self._news or self._ended:
            if self._ended and self._finished == self._most_at_once:
                self._book.save(self._ended.popleft())  # put off: it runs, and has its outcome
            elif self._ended:
                self._finished += 1
                self._finish(self._ended.popleft())
            else:
                self._take_in(self._news.popleft())

    def _put_off(self) -> list[TaskRun]:
        """Return the tasks that have ended, and that nobody has finished yet."""
        return [run for run in self._book.running() if run.outcome is not None]

    def _enter_owed(self) -> bool:
        """In a rerun, follow what tasks taken over had named and nothing else has reached; return whether there was any."""
        if self._book.stop is not None:
            return False
        owed = [
            (source, name) for source, name in self._book.owed() if reach(self._book, source, name).what == "start"
        ]
        for source, name in owed:
            self._enter(source, name)
            self._look_at_joins(source)
        return bool(owed)

    # --- A task starts ----------------------------------------------------------------------------------------------

    def _enter(self, source: TaskRun, name: str) -> bool:
        """Follow a transition to a task; return whether that dispatched it, or made it wait for its join."""
        if self._book.stop is not None:
            return False
        reached = reach(self._book, source, name)
        if reached.what == "limit":
            self._stop_at_limit(name)
            return False
        if reached.what != "start":
            return reached.what == "waits"
        run = TaskRun(
            name=name,
            iteration=reached.iteration,
            triggered_by=source.name,
            triggered_iteration=source.iteration,
        )
        if reached.iteration:
            self._book.log("INFO", f"Task '{name}' begins iteration {reached.iteration}")
        if self._graph.tasks[name].join:
            run.status = "pending"
            self._book.add(run)
        else:
            self._start(run, source)
        return True

    def _stop_at_limit(self, name: str) -> None:
        limit = self._graph.limit_of(self._graph.tasks[name])
        text = f"Loop limit reached: task '{name}' would run more than {limit} times"
        self._book.log("ERROR", text)
        self._book.stop_with(Stop(status="failed", error=text))

    def _start(self, run: TaskRun, finished: TaskRun | None) -> None:
        self._dispatch(run, self._prepare(run, finished))

    def _prepare(self, run: TaskRun, finished: TaskRun | None) -> Prepared:
        """Find out what starting a task comes to, without a change."""
        task = self._graph.tasks[run.name]
        place = Place(finished=finished, iteration=run.iteration)
        try:
            if task.when is not None and not holds(self._book, task.when, place):
                return "skipped"
            if task.type == "parallel":
                return "block"
            specs = children_of(self._book, task, place)
        except CannotDispatch as error:
            return error
        except ExpressionError as error:
            return CannotDispatch(str(error))
        refusal = self._book.refusal(task, specs)
        return specs if refusal is None else CannotDispatch(refusal)

    def _dispatch(self, run: TaskRun, prepared: Prepared) -> None:
        """Start a task; one that has nothing to wait for ends at once."""
        task = self._graph.tasks[run.name]
        if prepared == "skipped":
            self._ends_at_once(run, "skipped")
        elif isinstance(prepared, CannotDispatch):
            run.error = str(prepared)
            self._book.log("ERROR", f"Task '{run.name}' cannot be dispatched: {run.error}")
            self._ends_at_once(run, "failed")
        elif prepared == "block":
            run.window, run.timeout = task.concurrency or len(task.tasks), task.timeout
            self._write(run)
            self._book.log("INFO", f"Task '{run.name}' started: {len(task.tasks)} tasks in parallel")
            self._fill_block(run)
        else:
            self._dispatch_children(run, prepared)

    def _dispatch_children(self, run: TaskRun, specs: list[ChildSpec]) -> None:
        task = self._graph.tasks[run.name]
        if task.has_items:
            run.item_count, run.window = len(specs), task.concurrency or 1
            taken = self._book.take_over_items(run, len(specs))
            specs = [spec for spec in specs if spec.index not in taken]
        if not specs:
            self._ends_at_once(run, "succeeded")
            return
        self._write(run)
        self._book.dispatch(run, specs)
        self._dispatched = True
        items = f": {len(specs)} {'batches' if task.batch_size is not None else 'items'}" if task.has_items else ""
        self._book.log("INFO", f"Task '{run.name}' dispatched{items}")

    def _write(self, run: TaskRun) -> None:
        run.status = "running"
        if run.row is None:
            self._book.add(run)
        else:
            self._book.save(run)

    def _ends_at_once(self, run: TaskRun, outcome: Outcome) -> None:
        self._write(run)
        run.outcome = outcome
        self._ended.append(run)

    def _refuse(self, run: TaskRun, why: CannotDispatch) -> None:
        """An entry task that cannot be dispatched: its transitions are not looked at."""
        run.error, run.outcome, run.status = str(why), "failed", "failed"
        self._book.add(run)
        self._book.log("ERROR", f"Task '{run.name}' cannot be dispatched: {run.error}")

    # --- A task ends ------------------------------------------------------------------------------------------------

    def _take_in(self, end: ChildEnd) -> None:
        self._dispatched = False  # what was dispatched may be over already: a policy let no more of it wait
        noted = self._book.note_end(end)
        if noted == "again":
            return
        run = self._book.find(end.name, end.iteration)
        if run is None or run.status != "running" or run.outcome is not None:
            return
        run.last_child = end.child
        if run.item_count is None:
            run.outcome = end.outcome
            self._ended.append(run)
        else:
            self._item_ended(run, end, makes_room=noted == "released")

    def _item_ended(self, run: TaskRun, end: ChildEnd, *, makes_room: bool) -> None:
        if end.outcome != "succeeded" and run.error is None and self._graph.tasks[run.name].fail_fast:
            self._cancel(run, "Stopped after the first failure")
        elif run.error is None and makes_room:
            self._book.release_next(run)
        if self._book.has_open_children(run):
            self._book.save(run)
            return
        bad = self._book.unsuccessful(run)
        run.outcome = "succeeded" if not bad else "timed_out" if bad == {"timed_out"} else "failed"
        self._ended.append(run)

    def _finish(self, run: TaskRun) -> None:
        """Do what follows from the outcome of a task: transitions, its block, joins."""
        task = self._graph.tasks[run.name]
        assert run.outcome is not None
        self._book.log("INFO" if run.outcome in ("succeeded", "skipped") else "WARN", _outcome_text(run))
        handled = self._follow_transitions(run) if task.block is None else False
        if run.outcome == "skipped":
            run.status = "skipped"
        else:
            run.status = "completed" if run.outcome == "succeeded" or handled else "failed"
        self._book.save(run)
        if task.block is not None:
            self._sub_task_ended(run)
        elif run.status != "failed":
            self._look_at_joins(run)

    def _follow_transitions(self, run: TaskRun) -> bool:
        """Return whether any of them dispatched a task."""
        handled = False
        for transition in self._graph.tasks[run.name].next[len(run.transitions) :]:
            if self._book.stop is not None:
                break
            if fires(self._book, run, transition):
                publish(self._book, run, transition)
                for name in transition.do:
                    handled |= self._enter(run, name)
        return handled

    def _look_at_joins(self, run: TaskRun) -> None:
        """Start those that have waited for this task and need no other."""
        followers = self._graph.joins_after.get(run.name)
        if not followers or self._book.stop is not None:
            return
        for waiting in self._book.waiting(followers):
            here, others = joins.arrived(self._book, waiting)
            if len(here) + len(others) >= joins.needed(self._book, waiting):
                waiting.joined = sorted(here)
                waiting.triggered_by, waiting.triggered_iteration = run.name, run.iteration
                self._start(waiting, run)

    # --- Parallel blocks --------------------------------------------------------------------------------------------

    def _fill_block(self, block: TaskRun) -> None:
        """Start sub-tasks as far as there is room; end the block when nothing of it is left."""
        found = self._book.sub_tasks(block.name, block.iteration)
        if self._book.stop is None and block.error is None:
            for name in blocks.next_ones(self._graph.tasks[block.name], block, found):
                sub = TaskRun(
                    name=name,
                    iteration=block.iteration,
                    triggered_by=block.name,
                    triggered_iteration=block.iteration,
                    block=block.name,
                )
                self._start(sub, self._trigger_of(block))
            found = self._book.sub_tasks(block.name, block.iteration)
        if block.outcome is None and not any(sub.status == "running" for sub in found):
            block.outcome = blocks.outcome(self._graph.tasks[block.name], block, found)
            self._ended.append(block)

    def _sub_task_ended(self, sub: TaskRun) -> None:
        block = self._book.find(str(sub.block), sub.iteration)
        if block is None or block.status != "running" or block.outcome is not None:
            return
        if sub.status == "failed" and block.error is None and self._graph.tasks[block.name].fail_fast:
            self._cancel(block, f"Stopped after task '{sub.name}' failed")
        self._fill_block(block)

    def _stop_block(self, block: TaskRun, error: str) -> None:
        self._book.log("WARN", f"Task '{block.name}': {error}")
        self._cancel(block, error)
        self._fill_block(block)

    def _cancel_all(self, error: str, *, running: bool) -> None:
        for run in self._book.running():
            if run.outcome is None:
                self._cancel(run, error, running=running)

    def _cancel(self, run: TaskRun, error: str, *, running: bool = True) -> None:
        """Cancel what has not ended of a running task, of a block everything below it."""
        self._dispatched = False  # what was dispatched may be over already
        pending = [run]
        while pending:
            current = pending.pop()
            current.error = current.error or error
            self._book.save(current)
            if self._graph.tasks[current.name].type == "parallel":
                below = self._book.sub_tasks(current.name, current.iteration)
                pending += [sub for sub in below if sub.status == "running"]
            else:
                self._book.cancel_children(current, running=running)

    def _trigger_of(self, block: TaskRun) -> TaskRun | None:
        """Return the task that ``result()`` speaks of in the sub-tasks of a block: the one that led to it."""
        while block.block is not None:
            outer = self._book.find(block.block, block.iteration)
            assert outer is not None
            block = outer
        if block.triggered_by is None:
            return None
        return self._book.find(block.triggered_by, block.triggered_iteration)


def _outcome_text(run: TaskRun) -> str:
    iteration = f" (iteration {run.iteration})" if run.iteration is not None else ""
    error = f": {run.error}" if run.error is not None else ""
    return f"Task '{run.name}'{iteration} {str(run.outcome).replace('_', ' ')}{error}"

"""What runs again and what is taken over: properties over random workflows that were run to their end in memory."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.workflows.definition.graph import Graph
from apps.workflows.definition.parsing import parse
from apps.workflows.engine.book import Stop, TaskRun
from apps.workflows.engine.core import Core
from apps.workflows.engine.memory import MemoryBook, MemoryChild, Surroundings
from apps.workflows.rerun.plan import (
    Before,
    CannotRerun,
    OldRun,
    Owed,
    Plan,
    Seed,
    Wish,
    from_json,
    plan_rerun,
    to_json,
)
from tests.workflow_graphs import random_workflow


def played(seed: int, stopped_after: int | None) -> tuple[Graph, list[OldRun]]:
    """Run a random workflow, many of its tasks fail; it may be cancelled on the way."""
    chance = random.Random(seed)
    graph = parse(random_workflow(chance).definition())
    book = MemoryBook(graph, Surroundings(schemas={"tests.do": None}, check_actions=True))
    core = Core(book)
    core.start()
    steps = 0
    while book.ending is None:
        while book.cancelled:
            core.child_ended(book.cancelled.pop(0).end("failed"))
        if book.ending is not None:
            break
        if steps == stopped_after:
            core.stop(Stop(status="cancelled", error="Workflow cancelled"), cancel_running=chance.random() < 0.5)
            steps += 1
            continue
        due = [child for child in book.due if child.outcome is None and not child.cancelled]
        child: MemoryChild = chance.choice(due)
        child.result = {"n": chance.randint(0, 4)}
        core.child_ended(child.end(chance.choice(("succeeded", "succeeded", "failed", "timed_out"))))
        steps += 1
    return graph, [old_run(run) for run in book.runs.values()]


def old_run(run: TaskRun) -> OldRun:
    return OldRun(
        name=run.name,
        iteration=run.iteration,
        status="cancelled" if run.status == "pending" else run.status,
        outcome=run.outcome,
        triggered_by=run.triggered_by,
        triggered_iteration=run.triggered_iteration,
        block=run.block,
        item_count=run.item_count,
        judged=len(run.transitions),
        fired=tuple(entry["index"] for entry in run.transitions if entry["fired"]),
    )


def behind(graph: Graph, names: set[str]) -> set[str]:
    """What can be reached from these tasks, with the sub-tasks of blocks."""
    found: set[str] = set()
    pending = [graph.top_of(graph.tasks[name]).name for name in names]
    while pending:
        for step in graph.tasks[pending.pop()].next:
            for target in set(step.do) - found:
                found.add(target)
                pending.append(target)
    return {task.name for task in graph.tasks.values() if graph.top_of(task).name in found}


RUNS = st.tuples(st.integers(0, 10**6), st.one_of(st.none(), st.integers(1, 6)))


@settings(max_examples=300, deadline=None)
@given(RUNS, st.data())
def test_everything_is_taken_over_or_runs_again_and_nothing_behind_is_taken_over(
    run: tuple[int, int | None], data: st.DataObject
) -> None:
    graph, old = played(*run)
    names = data.draw(st.one_of(st.none(), st.lists(st.sampled_from(sorted(graph.tasks)), min_size=1, max_size=3)))
    try:
        plan = plan_rerun(graph, Before(graph=graph, runs=old), Wish(from_tasks=names))
    except CannotRerun:
        assert names is None
        assert all(each.status in ("completed", "skipped", "cancelled") for each in old if each.block is None)
        return

    taken = {name for name, _iteration in plan.taken_over}
    ended = {each.key for each in old if each.outcome is not None}
    assert taken.isdisjoint(plan.again)
    assert {key for key in ended if key[0] not in plan.again} == set(plan.taken_over)
    assert taken.isdisjoint(behind(graph, set(plan.again)))
    assert all(cycle <= plan.again for cycle in graph.cycles if cycle & plan.again)
    assert set(names or ()) <= plan.again
    if names is None:
        assert all(
            each.status in ("completed", "skipped") or graph.tasks[each.name].block
            for each in old
            if each.key in plan.taken_over
        )
    starts = {seed.name for seed in plan.seeds}
    assert starts <= plan.again
    assert plan.again or plan.followed
    assert all(seed.trigger is None or seed.trigger in plan.taken_over for seed in plan.seeds)
    # Whatever runs again is begun with, comes behind that, or belongs to a block that is.
    left = {name for step in plan.followed for name in after(graph, step[0])}
    assert left - {each.name for each in old} <= plan.again
    reached = starts | left | behind(graph, starts | left)
    assert {graph.top_of(graph.tasks[name]).name for name in plan.again} <= reached
    assert from_json(json.loads(json.dumps(to_json(plan)))) == plan


def after(graph: Graph, name: str) -> set[str]:
    return {target for step in graph.tasks[name].next for target in step.do}


def graph_of(*tasks: dict[str, object]) -> Graph:
    return parse({"tasks": [{"action": "tests.do", **task} for task in tasks]})


DIAMOND = graph_of(
    {"name": "a", "next": [{"do": ["b", "c"]}]},
    {"name": "b", "next": [{"do": ["d"]}]},
    {"name": "c", "next": [{"do": ["d"]}]},
    {"name": "d", "join": "all"},
)


def ended(name: str, outcome: str = "succeeded", **fields: object) -> OldRun:
    status = "completed" if outcome == "succeeded" else "failed"
    return OldRun(name=name, outcome=outcome, status=status, **fields)  # type: ignore[arg-type]  # of a test


def test_failed_branch_of_a_diamond() -> None:
    a, b = ended("a", judged=1, fired=(0,)), ended("b", judged=1, fired=(0,), triggered_by="a")
    c = ended("c", "failed", judged=1, triggered_by="a")
    d = OldRun(name="d", status="cancelled", triggered_by="b")

    plan = plan_rerun(DIAMOND, Before(graph=DIAMOND, runs=[a, b, c, d]), Wish())

    assert plan == Plan(
        again=frozenset("cd"),
        seeds=(Seed(name="c", iteration=None, trigger=("a", None)),),
        taken_over=(("a", None), ("b", None)),
        owed=(Owed(source=("b", None), target="d"),),
    )


def test_task_behind_another_named_one_waits_for_it() -> None:
    runs = [ended(name, judged=1, fired=(0,)) for name in "abc"] + [ended("d")]

    plan = plan_rerun(DIAMOND, Before(graph=DIAMOND, runs=runs), Wish(from_tasks=["d", "b"]))

    assert [seed.name for seed in plan.seeds] == ["b"]
    assert plan.again == {"b", "d"}


@pytest.mark.parametrize(
    ("named", "all_items", "items"), [("each", False, {"each"}), ("each", True, set()), ("a", False, set())]
)
def test_items_are_taken_over_only_where_the_task_itself_begins(named: str, all_items: bool, items: set[str]) -> None:
    graph = graph_of({"name": "a", "next": [{"do": ["each"]}]}, {"name": "each", "with_items": [1, 2]})
    runs = [ended("a", judged=1, fired=(0,)), ended("each", "failed", item_count=2)]

    plan = plan_rerun(graph, Before(graph=graph, runs=runs), Wish(from_tasks=[named], all_items=all_items))

    assert plan.items == items

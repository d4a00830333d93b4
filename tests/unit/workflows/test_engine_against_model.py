"""The engine's core, and the model of what the spec says, run the same random workflows with the same random outcomes."""

import random
from typing import Any

import pytest

from apps.workflows.definition.parsing import parse
from apps.workflows.engine.core import Core
from apps.workflows.engine.memory import MemoryBook, MemoryChild, Surroundings
from tests.workflow_graphs import random_workflow
from tests.workflow_model import Child, Model

OUTCOMES = ("succeeded", "succeeded", "succeeded", "failed", "timed_out")
IN_EACH_PART = 250


@pytest.mark.parametrize("part", range(4))
def test_engine_does_what_the_model_does(part: int) -> None:
    for seed in range(part * IN_EACH_PART, (part + 1) * IN_EACH_PART):
        play(seed)


def play(seed: int) -> str | None:
    """Run one random workflow in both, child by child; return how it ended."""
    chance = random.Random(seed)
    workflow = random_workflow(chance)
    graph = parse(workflow.definition())
    book = MemoryBook(graph, Surroundings(schemas={"tests.do": None}, check_actions=True))
    core, model = Core(book), Model(workflow)
    core.start()
    model.start()
    _tell_cancelled(core, book)
    while book.ending is None:
        due = {_key(child): child for child in book.due if child.outcome is None and not child.cancelled}
        assert due.keys() == model.running(), f"seed {seed}: what runs"
        assert due, f"seed {seed}: it hangs"
        key = chance.choice(sorted(due, key=str))
        outcome, n = chance.choice(OUTCOMES), chance.randint(0, 4)
        due[key].result = {"n": n}
        core.child_ended(due[key].end(outcome))  # type: ignore[arg-type]  # one of the words
        _tell_cancelled(core, book)
        model.end_child(key, outcome, n)
    assert compared(book) == expected(model), f"seed {seed}: the end"
    return book.ending.error or book.ending.status


def _tell_cancelled(core: Core, book: MemoryBook) -> None:
    while book.cancelled:
        core.child_ended(book.cancelled.pop(0).end("failed"))


def _key(child: MemoryChild) -> Child:
    return (child.run.name, child.run.iteration, child.spec.index)


def compared(book: MemoryBook) -> dict[str, Any]:
    assert book.ending is not None
    result = dict(book.ending.result)
    return {
        "status": book.ending.status,
        "error": book.ending.error,
        "outputs": {name: _plain(value) for name, value in result.items() if name.startswith("out_")},
        "runs": {key: (run.outcome, run.status in ("completed", "skipped")) for key, run in book.runs.items()},
    }


def expected(model: Model) -> dict[str, Any]:
    return {
        "status": model.status,
        "error": model.error,
        "outputs": {name: _plain(value) for name, value in model.outputs.items()},
        "runs": {key: (run.outcome, run.done) for key, run in model.runs.items()},
    }


def _plain(value: Any) -> Any:
    """A published result stands for itself."""
    return value if isinstance(value, int) else "whole"

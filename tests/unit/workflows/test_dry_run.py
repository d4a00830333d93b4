"""How much a run on paper does."""

from typing import Any

import pytest

from apps.workflows.definition.parsing import parse
from apps.workflows.engine.dry_run import TOO_LARGE, dry_run
from apps.workflows.engine.memory import Surroundings


@pytest.mark.parametrize(
    ("items", "text", "finished"),
    [(10, "", 9), (60, "", 1), (1, "x" * 60_000, 1)],
    ids=["many rounds", "many items", "large input"],
)
def test_dry_run_that_becomes_too_large_is_stopped(items: int, text: str, finished: int) -> None:
    again = {
        "name": "again",
        "action": "t.do",
        "with_items": f"{{{{ range({items}) }}}}",
        "input": {"text": text},
        "next": [{"do": "again"}],
    }
    graph = parse({"tasks": [{"name": "begin", "action": "t.do", "next": [{"do": "again"}]}, again]})

    paper = dry_run(graph, Surroundings(), {}, most_bytes=100 * 1024)

    assert _finished(paper, "again") == finished
    assert (paper["status"], paper["result"]) == ("failed", {"error": TOO_LARGE, "succeeded": False})
    assert paper["errors"] == [TOO_LARGE]


def _finished(paper: dict[str, Any], task: str) -> int:
    return sum(step["task"] == task and step["outcome"] == "succeeded" for step in paper["steps"])

"""A large workflow on processes that are killed again and again, and what must hold of it afterwards."""

import collections
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from tests.processes import wait_until

STEP = """
sleep 0.0$((RANDOM % 4))
echo "{\\"n\\": $n, \\"task\\": \\"$task\\"}"
"""
TERMINAL = {"completed", "failed", "timeout", "cancelled", "abandoned"}


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many tasks of each kind; ``tasks`` is how many children there are in all, the nested workflow's included."""

    chain: int
    items: int
    branch: int
    nested: int

    @property
    def children(self) -> int:
        return 1 + self.chain + self.items + 3 * self.branch + 1 + (1 + self.nested) + 1


WHOLE = Size(chain=40, items=60, branch=20, nested=36)  # 200 children


def make(client: httpx.Client, size: Size) -> None:
    """Make the action of the tasks and the workflows over the API."""
    _post(
        client,
        "actions",
        ref="core.step",
        label="Step",
        pack_ref="core",
        entrypoint=STEP,
        runtime_ref="core.shell",
        on_worker_lost="retry",
        max_lost_attempts=1000,
        output_format="json",
        param_schema={"n": {"type": "integer"}, "task": {"type": "string"}},
    )
    _post(client, "workflows", **_workflow("core.inner", _inner(size)))
    _post(client, "workflows", **_workflow("core.killed", _outer(size)))


def _workflow(ref: str, definition: dict[str, Any]) -> dict[str, Any]:
    return {"ref": ref, "pack_ref": "core", "label": ref, "version": "1.0.0", "definition": definition}


def _step(name: str, n: Any = 0, do: Sequence[str] = (), **keys: Any) -> dict[str, Any]:
    publish = [{f"seen_{name}": "{{ result().n }}"}]
    task = {"name": name, "action": "core.step", "input": {"n": n, "task": name}, **keys}
    return {**task, "next": [{"when": "{{ succeeded() }}", "publish": publish, "do": list(do)}]}


def _chain(prefix: str, number: int, last: Sequence[str]) -> list[dict[str, Any]]:
    """Tasks that add one to the number of the task before."""
    tasks = []
    for i in range(number):
        do = [f"{prefix}{i + 1}"] if i + 1 < number else last
        n: Any = f"{{{{ task.{prefix}{i - 1}.n + 1 }}}}" if i else 1
        tasks.append(_step(f"{prefix}{i}", n, do))
    return tasks


def _inner(size: Size) -> dict[str, Any]:
    each = _step("each", "{{ item }}", with_items=list(range(size.nested)), concurrency=3)
    return {
        "tasks": [_step("first", 5, ["each"]), each],
        "output_map": {"total": "{{ workflow.seen_first }}"},
    }


def _outer(size: Size) -> dict[str, Any]:
    each = _step("each", "{{ item }}", ["end"], with_items="{{ range(parameters.items) }}", concurrency=5)
    tasks = [
        _step("begin", 0, ["c0", "each", "x0", "y0", "z0", "inner"]),
        *_chain("c", size.chain, ["end"]),
        each,
        *_chain("x", size.branch, ["end"]),
        *_chain("y", size.branch, ["end"]),
        *_chain("z", size.branch, ["end"]),
        {"name": "inner", "action": "core.inner", "next": [{"do": ["end"]}]},
        _step("end", 7, join=6),
    ]
    output = {
        "chain": f"{{{{ task.c{size.chain - 1}.n }}}}",
        "branches": [f"{{{{ task.{prefix}{size.branch - 1}.n }}}}" for prefix in "xyz"],
        "items": "{{ length(task.each.items) }}",
        "end": "{{ workflow.seen_end }}",
        "inner": "{{ task.inner.total }}",
    }
    return {"tasks": tasks, "output_map": output}


def expected(size: Size) -> dict[str, Any]:
    return {
        "succeeded": True,
        "chain": size.chain,
        "branches": [size.branch] * 3,
        "items": size.items,
        "end": 7,
        "inner": 5,
    }


def start(client: httpx.Client, size: Size) -> int:
    body = {"action_ref": "core.killed", "parameters": {"items": size.items}}
    return int(_post(client, "executions/execute", **body)["id"])


def kill_until_done(client: Callable[[], httpx.Client], execution: int, kill: Callable[[], object], seed: int) -> int:
    """Kill something at random moments until the workflow has ended; return how many times."""
    moments, kills = random.Random(seed), 0
    while True:
        time.sleep(moments.uniform(0.05, 2.0))
        if _status(client, execution) in TERMINAL:
            return kills
        kill()
        kills += 1


def check(client: httpx.Client, execution: int, size: Size) -> None:
    """Assert the right result, and that each task ran to completion once."""
    ended = client.get(f"/api/v1/executions/{execution}").json()["data"]
    assert (ended["status"], ended["result"]) == ("completed", expected(size))
    children = _children(client, execution)
    [inner] = [child for child in children if child["action_ref"] == "core.inner"]
    everything = children + _children(client, inner["id"])
    assert {child["status"] for child in everything} <= TERMINAL
    completed = collections.Counter(
        (child["parent"], child["workflow_task"]["task_name"], child["workflow_task"]["task_index"])
        for child in everything
        if child["status"] == "completed"
    )
    assert len(completed) == size.children
    assert set(completed.values()) == {1}


def _children(client: httpx.Client, execution: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    page = 1
    while True:
        query = {"parent": execution, "page": page, "per_page": 100}
        rows = client.get("/api/v1/executions", params=query).json()["data"]
        found += rows
        if len(rows) < 100:
            return found
        page += 1


def _status(client: Callable[[], httpx.Client], execution: int) -> str:
    def asked() -> str | None:
        try:
            answer = client().get(f"/api/v1/executions/{execution}")
        except httpx.TransportError:
            return None  # it is being started again
        return str(answer.json()["data"]["status"]) if answer.status_code == 200 else None

    return str(wait_until(asked, timeout_seconds=120, what="an answer"))


def _post(client: httpx.Client, path: str, **body: Any) -> Any:
    answer = client.post(f"/api/v1/{path}", json=body)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()["data"]

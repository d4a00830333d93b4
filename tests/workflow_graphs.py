"""
Random workflows for the property test of the engine: what they say in plain values, and as definitions.

Conditions and published values are tuples, so that a model can judge them without the expression language:
conditions ("succeeded",), ("failed",), ("timed_out",), ("skipped",), ("n", operator, number) of the result,
("var", name, operator, number); values ("n",), ("const", number), ("inc", name), ("whole",).
"""

import random
from dataclasses import dataclass, field
from typing import Any

Condition = tuple[Any, ...] | None
VARIABLES = ("v1", "v2")


@dataclass(kw_only=True)
class Step:
    when: Condition = None
    publish: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    do: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class RandomTask:
    name: str
    steps: list[Step] = field(default_factory=list)
    when: Condition = None
    join: int | None = None
    items: Any = None  # a list of numbers, ("var", name), None
    batch: int | None = None
    concurrency: int | None = None
    fail_fast: bool = False
    max_iterations: int | None = None
    subs: list["RandomTask"] = field(default_factory=list)
    known: bool = True  # whether its action exists


@dataclass(kw_only=True)
class RandomWorkflow:
    tasks: list[RandomTask]
    variables: dict[str, int]
    max_iterations: int

    def definition(self, action: str = "tests.do", missing: str = "tests.missing") -> dict[str, Any]:
        return {
            "vars": dict(self.variables),
            "max_iterations": self.max_iterations,
            "tasks": [_task(task, action, missing) for task in self.tasks],
            "output_map": {f"out_{name}": f"{{{{ workflow.{name} }}}}" for name in VARIABLES},
        }


def random_workflow(chance: random.Random) -> RandomWorkflow:
    names = [f"t{number}" for number in range(chance.randint(2, 8))]
    tasks = [_random_task(chance, name, names, depth=0) for name in names]
    for position, task in enumerate(tasks):
        later = names[position + 1 :]
        for _ in range(chance.choice((0, 1, 1, 2, 2, 3))):
            # Forwards mostly, so that there are entries; backwards for loops.
            targets = later if later and chance.random() < 0.8 else names[chance.random() < 0.8 :]
            task.steps.append(_random_step(chance, targets or names))
    for task in tasks:
        before = {other.name for other in tasks for step in other.steps if task.name in step.do}
        if before and chance.random() < 0.3:
            task.join = chance.randint(1, len(before) + (chance.random() < 0.1))
    return RandomWorkflow(
        tasks=tasks,
        variables={name: chance.randint(0, 4) for name in VARIABLES if chance.random() < 0.5},
        max_iterations=chance.randint(1, 4),
    )


def _random_step(chance: random.Random, targets: list[str]) -> Step:
    publish = []
    if chance.random() < 0.4:
        value = chance.choice((("n",), ("const", chance.randint(0, 4)), ("inc", chance.choice(VARIABLES)), ("whole",)))
        publish.append((chance.choice(VARIABLES), value))
    do = chance.sample(targets, min(len(targets), chance.choice((1, 1, 1, 2, 3))))
    return Step(when=_random_condition(chance), publish=publish, do=do)


def _random_condition(chance: random.Random) -> Condition:
    number, operator = chance.randint(0, 4), chance.choice(("<", "==", ">"))
    return chance.choice(
        (
            None,
            ("succeeded",),
            ("succeeded",),
            ("failed",),
            ("failed",),
            ("timed_out",),
            ("skipped",),
            ("n", operator, number),
            ("var", chance.choice(VARIABLES), operator, number),
        )
    )


def _random_task(chance: random.Random, name: str, names: list[str], depth: int) -> RandomTask:
    task = RandomTask(name=name, known=chance.random() > 0.04)
    if chance.random() < 0.2:
        task.when = chance.choice((("var", chance.choice(VARIABLES), "<", 3), ("n", "<", 3), ("succeeded",)))
    if depth < 2 and chance.random() < 0.15:
        task.subs = [
            _random_task(chance, f"{name}_{number}", names, depth + 1) for number in range(chance.randint(1, 3))
        ]
    elif chance.random() < 0.25:
        numbers = [chance.randint(0, 9) for _ in range(chance.choice((0, 1, 2, 3, 5)))]
        task.items = chance.choice((numbers, numbers, ("var", chance.choice(VARIABLES))))
        task.batch = chance.choice((None, None, 1, 2))
    if task.subs or task.items is not None:
        task.concurrency = chance.choice((None, 1, 2, 3))
        task.fail_fast = chance.random() < 0.3
    if depth == 0 and chance.random() < 0.2:
        task.max_iterations = chance.randint(1, 3)
    return task


# --- As a definition ----------------------------------------------------------------------------------------------------


def _task(task: RandomTask, action: str, missing: str) -> dict[str, Any]:
    written: dict[str, Any] = {"name": task.name}
    if task.subs:
        written |= {"type": "parallel", "tasks": [_task(sub, action, missing) for sub in task.subs]}
    else:
        written["action"] = action if task.known else missing
        written["input"] = {"n": 1}
    if task.items is not None:
        variable = isinstance(task.items, tuple)
        written["with_items"] = f"{{{{ workflow.{task.items[1]} }}}}" if variable else task.items
    options = {"batch_size": task.batch, "concurrency": task.concurrency, "join": task.join}
    options |= {"max_iterations": task.max_iterations, "when": _condition(task.when)}
    written |= {name: value for name, value in options.items() if value is not None}
    if task.fail_fast:
        written["fail_fast"] = True
    if task.steps:
        written["next"] = [_step(step) for step in task.steps]
    return written


def _step(step: Step) -> dict[str, Any]:
    written: dict[str, Any] = {"do": list(step.do)}
    if step.when is not None:
        written["when"] = _condition(step.when)
    if step.publish:
        written["publish"] = [name if value == ("whole",) else {name: _value(value)} for name, value in step.publish]
    return written


def _condition(condition: Condition) -> str | None:
    match condition:
        case None:
            return None
        case ("n", operator, number):
            return f"{{{{ result().n {operator} {number} }}}}"
        case ("var", name, operator, number):
            return f"{{{{ workflow.{name} {operator} {number} }}}}"
        case (name,):
            return f"{{{{ {name}() }}}}"
    raise AssertionError(condition)


def _value(value: tuple[Any, ...]) -> Any:
    match value:
        case ("n",):
            return "{{ result().n }}"
        case ("const", number):
            return number
        case ("inc", name):
            return f"{{{{ workflow.{name} + 1 }}}}"
    raise AssertionError(value)

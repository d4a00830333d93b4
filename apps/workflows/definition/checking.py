"""
Everything that may be wrong with a workflow definition (workflows.md 3). Pure.

``check`` never raises. What depends on the database, the actions there are, is handed in.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.core.errors import AttuneError
from apps.core.expressions import Expression, ExpressionError, Read, compile_expression
from apps.core.expressions.errors import listed, shortened
from apps.core.refs import ref_problem, validate_component_ref
from apps.core.schemas import violations
from apps.workflows.definition.graph import Graph
from apps.workflows.definition.parsing import Reading, TaskReading, read_definition
from apps.workflows.definition.places import Written, expressions_of
from apps.workflows.definition.problems import MAX_PROBLEMS, Path, Problem, Problems, Weight
from apps.workflows.definition.reading import FUNCTIONS, OF_ITEMS, ROOTS, TASKS

RESERVED = ("parameters", "vars", "task", "system", "kv", "pack", "item", "batch", "index")
_VARIABLE = re.compile(r"[^\W\d]\w*")  # what an expression can name

Schemas = Mapping[str, Any]  # ref of an action that exists -> its param_schema


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A definition that was looked at: what it says, and everything found."""

    reading: Reading
    problems: Sequence[Problem]

    @property
    def graph(self) -> Graph:
        return self.reading.graph

    def errors(self, *, strict: bool) -> list[Problem]:
        """Return what makes it invalid: for those who validate (``strict``), or for those who save it."""
        return [problem for problem in self.problems if _is_error(problem, strict=strict)]

    def warnings(self, *, strict: bool) -> list[Problem]:
        return [problem for problem in self.problems if not _is_error(problem, strict=strict)]


def _is_error(problem: Problem, *, strict: bool) -> bool:
    return problem.weight is Weight.ERROR or (strict and problem.weight is Weight.LINT)


def check(definition: Any, *, actions: Schemas | None = None) -> Checked:
    """
    Return everything that is wrong with a definition; any JSON value will do.

    ``actions`` holds those of ``actions_named`` that exist; without it nothing is said about them.
    """
    reading = read_definition(definition)
    problems = Problems(found=list(reading.problems.found))
    if reading.tasks:
        _check_flow(reading, problems)
        _check_names(reading, problems)
        _check_expressions(reading, problems)
        if actions is not None:
            _check_actions(reading, actions, problems)
    return Checked(reading=reading, problems=_most_important(problems.found))


def actions_named(reading: Reading) -> set[str]:
    """Return the refs of the actions that a definition names."""
    return {task.task.action for task in reading.tasks if task.task.action}


def permission_sets_named(graph: Graph) -> dict[str, tuple[str, ...]]:
    """Return by task the permission sets that it names literally, without a template."""
    found = {}
    for task in graph.tasks.values():
        value = task.permission_set_refs
        refs = tuple(ref for ref in (value if isinstance(value, list) else [value]) if ref and "{{" not in ref)
        if refs:
            found[task.name] = refs
    return found


def described(graph: Graph) -> dict[str, Any]:
    """Return the graph as the API shows it: where it begins, its ways, its cycles."""
    order = {name: number for number, name in enumerate(graph.tasks)}
    return {
        "entry": list(graph.entry),
        "edges": [
            {"from": task.name, "to": target, "when": step.when}
            for task in graph.tasks.values()
            for step in task.next
            for target in step.do
            if target in graph.tasks
        ],
        "cycles": sorted((sorted(cycle, key=order.__getitem__) for cycle in graph.cycles), key=lambda c: order[c[0]]),
    }


def _most_important(found: list[Problem]) -> list[Problem]:
    """Return the problems, errors first to stay when there are too many, in the order they were found."""
    if len(found) <= MAX_PROBLEMS:
        return found
    by_weight = sorted(range(len(found)), key=lambda number: list(Weight).index(found[number].weight))
    return [found[number] for number in sorted(by_weight[:MAX_PROBLEMS])]


# --- The way through it -----------------------------------------------------------------------------------------


def _check_flow(reading: Reading, problems: Problems) -> None:
    graph = reading.graph
    if not graph.entry:
        problems.lint("no_entry", "every task is named in a do, so none would start", ("tasks",))
    else:
        reached = _reached(graph)
        for task in _outside_blocks(reading):
            if task.task.name not in reached:
                message = f"task '{task.task.name}' is never reached from one that starts"
                problems.lint("unreachable", message, task.path)
    for task in _outside_blocks(reading):
        count = len(graph.predecessors[task.task.name])
        if task.task.join is not None and task.task.join > count:
            message = f"join waits for {task.task.join}, but only {count} tasks lead here"
            problems.advice("join_too_large", message, (*task.path, "join"))


def _outside_blocks(reading: Reading) -> Iterator[TaskReading]:
    return (task for task in reading.tasks if task.task.block is None)


def _reached(graph: Graph) -> set[str]:
    reached, pending = set(graph.entry), list(graph.entry)
    while pending:
        for step in graph.tasks[pending.pop()].next:
            new = [target for target in step.do if target in graph.tasks and target not in reached]
            reached.update(new)
            pending.extend(new)
    return reached


# --- Names ------------------------------------------------------------------------------------------------------


def _check_names(reading: Reading, problems: Problems) -> None:
    for variable in reading.variables:
        _check_variable(variable.name, variable.path, problems)
    for task in reading.tasks:
        if task.task.name in RESERVED:
            message = f"a task cannot be read as '{task.task.name}': the name means something else"
            problems.lint("reserved_name", message, (*task.path, "name"))
        if task.task.action and (problem := ref_problem(validate_component_ref, task.task.action)):
            problems.lint("action_ref", problem, (*task.path, "action"))
        for entry in (entry for step in task.steps for entry in step.publish):
            _check_variable(entry.name, entry.path, problems)


def _check_variable(name: str, path: Path, problems: Problems) -> None:
    if not _VARIABLE.fullmatch(name):
        message = f"'{shortened(name)}' is no name of a variable: letters, digits and '_', no digit first"
        problems.lint("variable_name", message, path)


# --- Expressions ------------------------------------------------------------------------------------------------


def _check_expressions(reading: Reading, problems: Problems) -> None:
    variables = {variable.name for variable in reading.variables}
    variables |= {entry.name for task in reading.tasks for step in task.steps for entry in step.publish}
    known = f"; variables are {listed(variables)}" if variables else ""
    for written in expressions_of(reading):
        try:
            if written.error is not None:
                raise written.error
            expression = compile_expression(written.text)
        except ExpressionError as error:
            problems.lint("syntax", error.message, written.path, written.start + (error.offset or 0))
            continue
        _check_functions(expression, written, problems)
        for read in expression.reads:
            if read.root in TASKS:
                _check_task_read(read, written, reading.graph, problems)
            elif not (read.root in ROOTS or read.root in variables or read.root in written.names):
                _unknown_name(read, written, known, problems)


def _check_functions(expression: Expression, written: Written, problems: Problems) -> None:
    for call in expression.functions:
        if call.text not in FUNCTIONS:
            message = f"unknown function '{shortened(call.text)}'"
            problems.lint("unknown_function", message, written.path, written.start + call.offset)


def _check_task_read(read: Read, written: Written, graph: Graph, problems: Problems) -> None:
    name = str(read.keys[0]) if read.keys else None
    if name is not None and name not in graph.tasks:
        message = f"there is no task '{shortened(name)}'"
        problems.advice("unknown_task", message, written.path, written.start + read.offset)


def _unknown_name(read: Read, written: Written, known: str, problems: Problems) -> None:
    of_items = ", which only the input of a task with items knows"
    message = f"unknown name '{shortened(read.root)}'{of_items if read.root in OF_ITEMS else known}"
    problems.lint("unknown_name", message, written.path, written.start + read.offset)


# --- Actions ----------------------------------------------------------------------------------------------------


def _check_actions(reading: Reading, actions: Schemas, problems: Problems) -> None:
    for task in reading.tasks:
        ref = task.task.action
        if not ref:
            continue
        if ref not in actions:
            problems.advice("unknown_action", f"there is no action '{shortened(ref)}'", (*task.path, "action"))
        elif task.task.input:
            _check_input(task, actions[ref], problems)


def _check_input(task: TaskReading, schema: Any, problems: Problems) -> None:
    try:
        found = violations(schema, task.task.input, templates=True)
    except AttuneError:
        return  # it is the action's schema that cannot be used; its own page says so
    for violation in found:
        path = (*task.path, "input", *_keys(task.task.input, violation.field))
        problems.advice("input", f"for action '{task.task.action}': {violation.message}", path)


def _keys(document: Any, dotted: str) -> Path:
    """Return as much of a path in dots as leads somewhere in the document."""
    keys: list[str | int] = []
    for name in dotted.split("."):
        if isinstance(document, Mapping) and name in document:
            keys.append(name)
            document = document[name]
        elif isinstance(document, list) and name.isdecimal() and int(name) < len(document):
            keys.append(int(name))
            document = document[int(name)]
        else:
            break
    return tuple(keys)

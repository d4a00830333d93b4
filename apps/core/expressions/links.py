"""
What follows a value: members, indexes, slices, filters; and calls.

Like the other parts, each is made with the function that evaluates it.
"""

from collections.abc import Callable, Sequence
from typing import Any

from apps.core.expressions.budget import Run
from apps.core.expressions.errors import ExpressionError, listed, shortened
from apps.core.expressions.functions import Function
from apps.core.expressions.functions.collections import sliced
from apps.core.expressions.nodes import Call, Evaluate, Member, Node, Path
from apps.core.expressions.operators import truth
from apps.core.expressions.scope import Lazy
from apps.core.expressions.values import Undefined, kind_of

Step = Callable[[Run, Any], Any]  # from the value of a chain so far to its next one


# --- Paths ------------------------------------------------------------------------------------------------------


def path(text: str, root: str, members: Sequence[Member], start: int, end: int) -> Node:
    children = [member.index for member in members if member.index is not None]
    names = tuple(member.key for member in members)
    if not children and all(name.__class__ is str for name in names):
        return Path(start, end, _named_path(text, root, names, members, start), (), root=root, members=members)
    steps = [member_step(text, start, member) for member in members]

    def run_path(run: Run) -> Any:
        value = _root(run, root, start)
        for step in steps:
            value = step(run, value)
        return value

    return Path(start, end, run_path, children, root=root, members=members)


def _named_path(text: str, root: str, names: Sequence[Any], members: Sequence[Member], start: int) -> Evaluate:
    """Return the evaluation of the usual path, of names only: most of the time of most expressions is spent here."""

    def run_path(run: Run) -> Any:
        value = run.roots.get(root, run)  # the run stands for nothing: no root is one
        if value is run or value.__class__ is Lazy:
            value = _root(run, root, start)
        for position, name in enumerate(names):
            if value.__class__ is dict and name in value:
                value = value[name]
            else:
                value = _member(run, value, name, text, start, members[position])
        return value

    return run_path


def _root(run: Run, name: str, start: int) -> Any:
    if name not in run.roots:
        known = listed(run.roots) or "none"
        return Undefined(f"unknown name '{shortened(name)}' (known here: {known})", start)
    value = run.roots[name]
    return value.value() if value.__class__ is Lazy else value


def member_step(text: str, start: int, member: Member) -> Step:
    """Return the step from a value to its member; ``text`` from ``start`` on names it in errors."""

    def step(run: Run, value: Any) -> Any:
        key = member.key if member.index is None else member.index.run(run)
        if key.__class__ is Undefined:
            if not run.lenient:
                raise key.error()
            return key
        if key.__class__ is not str and key.__class__ is not int:
            raise ExpressionError(f"an index is an integer or a string, not {kind_of(key)}", member.start)
        return _member(run, value, key, text, start, member)

    return step


def _member(run: Run, value: Any, key: Any, text: str, start: int, member: Member) -> Any:
    kind = value.__class__
    if kind is dict:
        if key in value:
            return value[key]
        if run.selves.get(id(value)) == key:
            return value
    elif kind is Undefined:
        if not run.lenient:
            raise value.error()
        return value
    elif kind is list or kind is str:
        index = int(key) if _is_dotted_index(key, member, text) else key
        if index.__class__ is int and -len(value) <= index < len(value):
            return value[index]
    return Undefined(f"'{shortened(text[start : member.end])}' is undefined", start)


def _is_dotted_index(key: Any, member: Member, text: str) -> bool:
    """Whether the member is written ``.0``; ``['0']`` is a key only. No sequence has indexes of 18 digits."""
    return member.index is None and text[member.start] == "." and key[:1].isdecimal() and len(key) < 18


# --- Chains: members of any value, slices, filters --------------------------------------------------------------


def chain(base: Node, steps: Sequence[Step], children: Sequence[Node], start: int, end: int) -> Node:
    first = base.run
    if len(steps) == 1:
        only = steps[0]
        return Node(start, end, lambda run: only(run, first(run)), [base, *children])

    def run_chain(run: Run) -> Any:
        value = first(run)
        for step in steps:
            value = step(run, value)
        return value

    return Node(start, end, run_chain, [base, *children])


def slice_step(first: Node | None, last: Node | None, offset: int) -> Step:
    def bound(run: Run, node: Node | None) -> Any:
        value = None if node is None else node.run(run)
        if node is not None and value.__class__ is not Undefined and value.__class__ is not int:
            raise ExpressionError(f"the bounds of a slice are integers, not {kind_of(value)}", node.start)
        return value

    def step(run: Run, value: Any) -> Any:
        found = (value, bound(run, first), bound(run, last))
        for part in found:
            if part.__class__ is Undefined:
                if not run.lenient:
                    raise part.error()
                return part
        if value.__class__ is not str and value.__class__ is not list:
            raise ExpressionError(f"a slice is of an array or a string, not of {kind_of(value)}", offset)
        try:
            return sliced(run, *found)
        except ExpressionError as error:
            raise error.at(offset) from None

    return step


def filter_step(name: str, function: Function, arguments: Sequence[Node], offset: int) -> Step:
    evaluates = tuple(argument.run for argument in arguments)

    def step(run: Run, value: Any) -> Any:
        return _called(run, name, function, [value, *(evaluate(run) for evaluate in evaluates)], offset)

    return step


def default_step(default: Node, every_false: Node | None) -> Step:
    """Return the step of ``default``: the second argument only when the value is missing, or false when asked for."""

    def step(run: Run, value: Any) -> Any:
        if value.__class__ is Undefined:
            return default.run(run)
        if every_false is not None and not value and truth(run, every_false.run(run)):
            return default.run(run)
        return value

    return step


# --- Calls ------------------------------------------------------------------------------------------------------


def call(name: str, function: Function, arguments: Sequence[Node], start: int, end: int) -> Node:
    evaluates = tuple(argument.run for argument in arguments)

    def run_call(run: Run) -> Any:
        return _called(run, name, function, [evaluate(run) for evaluate in evaluates], start)

    return Call(start, end, run_call, arguments, name=name)


def default_call(value: Node, default: Node, every_false: Node | None, start: int, end: int) -> Node:
    evaluate, step = value.run, default_step(default, every_false)
    children = [node for node in (value, default, every_false) if node is not None]
    return Call(start, end, lambda run: step(run, evaluate(run)), children, name="default")


def call_of_place(name: str, arguments: Sequence[Node], start: int, end: int) -> Node:
    """Return the call of a function that the scope may have."""

    def run_call(run: Run) -> Any:
        if arguments:
            raise ExpressionError(f"{name}() takes 0 arguments, not {len(arguments)}", start)
        try:
            return run.functions[name]()
        except ExpressionError as error:
            raise error.at(start) from None

    return Call(start, end, run_call, arguments, name=name)


def _called(run: Run, name: str, function: Function, arguments: list[Any], offset: int) -> Any:
    for argument in arguments:
        if argument.__class__ is Undefined:
            if not run.lenient:
                raise argument.error()
            if not function.accepts_missing:
                return argument
    try:
        value = function.call(run, *arguments)
    except ExpressionError as error:
        if error.offset is None:
            raise type(error)(f"{name}: {error.message}", offset) from None
        raise
    if value.__class__ is Undefined:
        value.offset = offset
    return value

"""
The parts of an expression. Each is made with the function that evaluates it, so nothing walks the tree later.

A function that evaluates takes the run and returns a JSON value, or Undefined. Chains of operators, members and
filters are one part with many links: how deep calls go depends on the brackets alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from apps.core.expressions import operators
from apps.core.expressions.budget import Run
from apps.core.expressions.errors import ExpressionError, ExpressionSyntaxError
from apps.core.expressions.functions import TESTS, Function
from apps.core.expressions.functions.collections import sliced
from apps.core.expressions.operators import truth
from apps.core.expressions.scope import Lazy
from apps.core.expressions.values import Undefined, kind_of

Evaluate = Callable[[Run], Any]
Step = Callable[[Run, Any], Any]  # from the value of a chain so far to its next one

_OPERATORS = {**operators.ARITHMETIC, **operators.COMPARISONS}

MAX_DEPTH = 250  # calls within each other; Python allows 1000, and the caller stands some hundred deep


@dataclass(frozen=True, eq=False)
class Node:
    """A part: where it stands in the text, how it is evaluated, and what it is made of."""

    start: int
    end: int
    run: Evaluate
    children: Sequence["Node"] = ()
    depth: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", 1 + max((child.depth for child in self.children), default=0))
        if self.depth > MAX_DEPTH:
            raise ExpressionSyntaxError("the expression is nested too deeply", self.start)


@dataclass(frozen=True, eq=False)
class Constant(Node):
    value: Any = None


@dataclass(frozen=True, eq=False)
class Member:
    """One link of a path: a name, an index, or an expression that gives one."""

    key: str | int | None
    index: Node | None
    start: int
    end: int


@dataclass(frozen=True, eq=False)
class Path(Node):
    """A name and what it leads to: ``event.payload.hosts[0]['name']``."""

    root: str = ""
    members: Sequence[Member] = ()


@dataclass(frozen=True, eq=False)
class Call(Node):
    name: str = ""


@dataclass(frozen=True, eq=False)
class Logic(Node):
    """Operands joined by ``and`` or by ``or``."""

    operator: str = ""


@dataclass(frozen=True, eq=False)
class Comparison(Node):
    """One comparison of two parts; a chain of several is a plain Node."""

    operator: str = ""


@dataclass(frozen=True, eq=False)
class Test(Node):
    name: str = ""
    expected: bool = True


@dataclass(frozen=True, eq=False)
class Not(Node):
    pass


# --- Values -----------------------------------------------------------------------------------------------------


def constant(value: Any, start: int, end: int) -> Node:
    return Constant(start, end, lambda run: value, value=value)


def array(items: Sequence[Node], start: int, end: int) -> Node:
    evaluates = tuple(item.run for item in items)

    def run_array(run: Run) -> list[Any]:
        return [_element(run, evaluate(run)) for evaluate in evaluates]

    return Node(start, end, run_array, items)


def mapping(entries: Sequence[tuple[Node, Node]], start: int, end: int) -> Node:
    def run_mapping(run: Run) -> dict[str, Any]:
        return {_key(run, key): _element(run, value.run(run)) for key, value in entries}

    return Node(start, end, run_mapping, [node for entry in entries for node in entry])


def _element(run: Run, value: Any) -> Any:
    if value.__class__ is Undefined:
        if not run.lenient:
            raise value.error()
        return None
    return value


def _key(run: Run, node: Node) -> str:
    key = _element(run, node.run(run))
    if key.__class__ is not str:
        raise ExpressionError(f"the keys of an object are strings, not {kind_of(key)}", node.start)
    return key  # type: ignore[no-any-return]  # just looked at


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
        known = ", ".join(sorted(run.roots)) or "none"
        return Undefined(f"unknown name '{name}' (known here: {known})", start)
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
    elif kind is Undefined:
        if not run.lenient:
            raise value.error()
        return value
    elif kind is list or kind is str:
        index = int(key) if _is_dotted_index(key, member, text) else key
        if index.__class__ is int and -len(value) <= index < len(value):
            return value[index]
    return Undefined(f"'{text[start : member.end]}' is undefined", start)


def _is_dotted_index(key: Any, member: Member, text: str) -> bool:
    """Whether the member is written ``.0``; ``['0']`` is a key only. No sequence has indexes of 18 digits."""
    return member.index is None and text[member.start] == "." and key[:1].isdecimal() and len(key) < 18


# --- Chains: members of any value, slices, filters --------------------------------------------------------------


def chain(base: Node, steps: Sequence[Step], children: Sequence[Node], end: int) -> Node:
    first = base.run
    if len(steps) == 1:
        only = steps[0]
        return Node(base.start, end, lambda run: only(run, first(run)), [base, *children])

    def run_chain(run: Run) -> Any:
        value = first(run)
        for step in steps:
            value = step(run, value)
        return value

    return Node(base.start, end, run_chain, [base, *children])


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


# --- Operators --------------------------------------------------------------------------------------------------


def binary(left: Node, links: Sequence[tuple[str, Node, int]]) -> Node:
    """Return operators of one precedence, from left to right; a link is an operator, its right side and its place."""
    first = left.run
    if len(links) == 1:
        symbol, right, offset = links[0]
        operate, second = _OPERATORS[symbol], right.run

        def run_one(run: Run) -> Any:
            try:
                return operate(run, first(run), second(run))
            except ExpressionError as error:
                raise error.at(offset) from None

        if symbol in operators.COMPARISONS:
            return Comparison(left.start, right.end, run_one, (left, right), operator=symbol)
        return Node(left.start, right.end, run_one, (left, right))
    return _many(left, [(_OPERATORS[symbol], right, offset) for symbol, right, offset in links])


def _many(left: Node, links: Sequence[tuple[operators.Operator, Node, int]]) -> Node:
    first = left.run
    rest = [(operate, right.run, offset) for operate, right, offset in links]

    def run_all(run: Run) -> Any:
        value = first(run)
        for operate, evaluate, offset in rest:
            try:
                value = operate(run, value, evaluate(run))
            except ExpressionError as error:
                raise error.at(offset) from None
        return value

    return Node(left.start, links[-1][1].end, run_all, [left, *(right for _, right, _ in links)])


def test(left: Node, name: str, *, expected: bool, end: int) -> Node:
    """Return ``left is name``, or with ``expected`` false ``left is not name``."""
    evaluate, holds = left.run, TESTS.get(name)

    def run_defined(run: Run) -> bool:
        return (evaluate(run).__class__ is not Undefined) == ((name == "defined") == expected)

    def run_test(run: Run) -> bool:
        assert holds is not None  # the parser knows the tests
        return holds(_element(run, evaluate(run))) == expected

    chosen = run_defined if holds is None else run_test
    return Test(left.start, end, chosen, (left,), name=name, expected=expected)


def logic(operator: str, operands: Sequence[Node]) -> Node:
    *most, last = [operand.run for operand in operands]
    decides = operator == "or"  # the truth that ends the search

    def run_logic(run: Run) -> Any:
        for evaluate in most:
            value = evaluate(run)
            if (value is True or truth(run, value)) is decides:
                return value
        return last(run)

    return Logic(operands[0].start, operands[-1].end, run_logic, operands, operator=operator)


def negation(operand: Node, count: int, start: int) -> Node:
    evaluate, odd = operand.run, bool(count % 2)

    def run_not(run: Run) -> bool:
        return truth(run, evaluate(run)) is not odd

    kind = Not if odd else Node
    return kind(start, operand.end, run_not, (operand,))


def minus(operand: Node, count: int, start: int) -> Node:
    evaluate = operand.run

    def run_minus(run: Run) -> Any:
        try:
            negated = operators.negate(run, evaluate(run))
            return negated if count % 2 or negated.__class__ is Undefined else -negated
        except ExpressionError as error:
            raise error.at(start) from None

    return Node(start, operand.end, run_minus, (operand,))


def choice(branches: Sequence[tuple[Node, Node]], otherwise: Node | None) -> Node:
    """Return ``value if condition else value if condition else otherwise``."""
    tried = [(value.run, condition.run) for value, condition in branches]
    start, end = branches[0][0].start, (otherwise or branches[-1][1]).end

    def run_choice(run: Run) -> Any:
        for value, condition in tried:
            if truth(run, condition(run)):
                return value(run)
        if otherwise is None:
            return Undefined("the 'if' without 'else' is false, so its value is undefined", start)
        return otherwise.run(run)

    children = [node for branch in branches for node in branch]
    return Node(start, end, run_choice, children if otherwise is None else [*children, otherwise])

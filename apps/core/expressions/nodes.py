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
from apps.core.expressions.functions import TESTS
from apps.core.expressions.operators import truth
from apps.core.expressions.values import Undefined, kind_of

Evaluate = Callable[[Run], Any]

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
        return [element(run, evaluate(run)) for evaluate in evaluates]

    return Node(start, end, run_array, items)


def mapping(entries: Sequence[tuple[Node, Node]], start: int, end: int) -> Node:
    def run_mapping(run: Run) -> dict[str, Any]:
        return {_key(run, key): element(run, value.run(run)) for key, value in entries}

    return Node(start, end, run_mapping, [node for entry in entries for node in entry])


def element(run: Run, value: Any) -> Any:
    """Return the value, null for a missing one in a lenient place. Raises UndefinedValue in a strict one."""
    if value.__class__ is Undefined:
        if not run.lenient:
            raise value.error()
        return None
    return value


def _key(run: Run, node: Node) -> str:
    key = element(run, node.run(run))
    if key.__class__ is not str:
        raise ExpressionError(f"the keys of an object are strings, not {kind_of(key)}", node.start)
    return key


# --- Operators --------------------------------------------------------------------------------------------------


def binary(left: Node, links: Sequence[tuple[str, Node, int]], start: int, end: int) -> Node:
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
            return Comparison(start, end, run_one, (left, right), operator=symbol)
        return Node(start, end, run_one, (left, right))
    return _many(left, [(_OPERATORS[symbol], right, offset) for symbol, right, offset in links], start, end)


def _many(left: Node, links: Sequence[tuple[operators.Operator, Node, int]], start: int, end: int) -> Node:
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

    return Node(start, end, run_all, [left, *(right for _, right, _ in links)])


def test(left: Node, name: str, *, expected: bool, start: int, end: int) -> Node:
    """Return ``left is name``, or with ``expected`` false ``left is not name``."""
    evaluate, holds = left.run, TESTS.get(name)

    def run_defined(run: Run) -> bool:
        return (evaluate(run).__class__ is not Undefined) == ((name == "defined") == expected)

    def run_test(run: Run) -> bool:
        assert holds is not None  # the parser knows the tests
        return holds(element(run, evaluate(run))) == expected

    chosen = run_defined if holds is None else run_test
    return Test(start, end, chosen, (left,), name=name, expected=expected)


def logic(operator: str, operands: Sequence[Node], start: int, end: int) -> Node:
    *most, last = [operand.run for operand in operands]
    decides = operator == "or"  # the truth that ends the search

    def run_logic(run: Run) -> Any:
        for evaluate in most:
            value = evaluate(run)
            if (value is True or truth(run, value)) is decides:
                return value
        return last(run)

    return Logic(start, end, run_logic, operands, operator=operator)


def negation(operand: Node, count: int, start: int, end: int) -> Node:
    evaluate, odd = operand.run, bool(count % 2)

    def run_not(run: Run) -> bool:
        return truth(run, evaluate(run)) is not odd

    kind = Not if odd else Node
    return kind(start, end, run_not, (operand,))


def minus(operand: Node, count: int, start: int, end: int) -> Node:
    evaluate = operand.run

    def run_minus(run: Run) -> Any:
        try:
            negated = operators.negate(run, evaluate(run))
            return negated if count % 2 or negated.__class__ is Undefined else -negated
        except ExpressionError as error:
            raise error.at(start) from None

    return Node(start, end, run_minus, (operand,))


def choice(branches: Sequence[tuple[Node, Node]], otherwise: Node | None, start: int, end: int) -> Node:
    """Return ``value if condition else value if condition else otherwise``."""
    tried = [(value.run, condition.run) for value, condition in branches]

    def run_choice(run: Run) -> Any:
        for value, condition in tried:
            if truth(run, condition(run)):
                return value(run)
        if otherwise is None:
            return Undefined("the 'if' without 'else' is false, so its value is undefined", start)
        return otherwise.run(run)

    children = [node for branch in branches for node in branch]
    return Node(start, end, run_choice, children if otherwise is None else [*children, otherwise])

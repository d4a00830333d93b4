"""Expressions, ready to be evaluated as often as one likes."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from apps.core.expressions.budget import MAX_STEPS, Run
from apps.core.expressions.cache import ParseCache
from apps.core.expressions.errors import ExpressionError, ExpressionSyntaxError, LimitExceeded, listed, shortened
from apps.core.expressions.functions import FUNCTIONS
from apps.core.expressions.lexer import check_size
from apps.core.expressions.nodes import Call, Comparison, Constant, Logic, Node, Not, Path, Test
from apps.core.expressions.parser import parse
from apps.core.expressions.scope import Scope
from apps.core.expressions.values import Undefined

# In parts: some 2000 usual expressions, 24 MB. Ten times as many make a full garbage collection take half a second.
_kept: ParseCache["Expression | ExpressionSyntaxError"] = ParseCache(most_weight=32_000)


def compile_expression(text: str) -> "Expression":
    """
    Return the expression that a text is, from memory when it was asked for lately.

    Raises ExpressionSyntaxError with line and column, also for more than 8 KiB or brackets nested deeper than 64.
    """
    found = _kept.get(text)
    if found is None:
        found, weight = _parsed(text)
        _kept.put(text, found, weight)
    if isinstance(found, Expression):
        return found
    raise ExpressionSyntaxError(found.message, found.offset).within(text)


def _parsed(text: str) -> "tuple[Expression | ExpressionSyntaxError, int]":
    try:
        check_size(text)
    except ExpressionSyntaxError as error:
        raise error.within(text) from None
    try:
        expression = Expression(text, parse(text))
    except ExpressionSyntaxError as error:
        return ExpressionSyntaxError(error.message, error.offset), 1 + len(text) // 50
    except RecursionError:
        raise ExpressionSyntaxError("the expression is nested too deeply", 0).within(text) from None
    return expression, expression.size


@dataclass(frozen=True, kw_only=True)
class Name:
    """A name or function that an expression mentions, and where."""

    text: str
    offset: int


@dataclass(frozen=True, kw_only=True)
class Read:
    """A path that an expression reads: its name, what follows as far as it is written down, and where it stands."""

    root: str
    keys: tuple[str | int, ...]
    complete: bool  # nothing that is worked out follows the keys
    offset: int


@dataclass(frozen=True, kw_only=True)
class Operand:
    """A path that an expression read: as written, its names and indexes one by one, and what stood there or None."""

    path: str
    keys: tuple[str | int, ...]
    value: Any


class Expression:
    """A parsed expression, or a part of one. Made by ``compile_expression`` only."""

    def __init__(self, text: str, node: Node) -> None:
        self._source = text
        self._node = node
        self.size = sum(1 for _ in _walk(node))
        self._calls = [part for part in _walk(node) if isinstance(part, Call) and part.name not in FUNCTIONS]

    @property
    def text(self) -> str:
        """The text, of a part the words that it is."""
        return self._source[self._node.start : self._node.end]

    def evaluate(self, scope: Scope, *, lenient: bool = False, steps: int = MAX_STEPS) -> Any:
        """
        Return the value: plain JSON, parts of which may be parts of the roots, so do not change them.

        Raises ExpressionError for whatever goes wrong, UndefinedValue when nothing is found, LimitExceeded. With
        ``lenient`` missing values may be used on the way: what is made of them is missing too.
        """
        return self.evaluate_in(Run(scope, lenient=lenient, steps=steps))

    def evaluate_in(self, run: Run) -> Any:
        """Return the value as ``evaluate`` does, and leave in the run what is left of its steps."""
        try:
            if self._calls:
                self.check_functions(run.functions)
            value = self._node.run(run)
            if value.__class__ is Undefined:
                raise value.error()
            if value.__class__ is float and value - value != 0:
                raise ExpressionError("the number is not finite")
            return value
        except ExpressionError as error:
            raise error.at(self._node.start).within(self._source) from None
        except RecursionError:
            raise LimitExceeded("the expression is nested too deeply", self._node.start).within(self._source) from None

    def check_functions(self, functions: Collection[str]) -> None:
        """Raise ExpressionError when it calls a function that is neither built in nor one of these."""
        for call in self._calls:
            if call.name not in functions:
                known = listed({*FUNCTIONS, *functions})
                message = f"unknown name '{shortened(call.name)}': there is no such function; there are {known}"
                raise ExpressionError(message, call.start).within(self._source)

    # --- What it says and reads -------------------------------------------------------------------------------------

    @property
    def operator(self) -> str:
        """The outermost operator: ``and``, ``or``, ``not``, a comparison, ``is`` or ``is not`` with its test, or empty."""
        node = self._node
        if isinstance(node, Logic | Comparison):
            return node.operator
        if isinstance(node, Test):
            return f"is {node.name}" if node.expected else f"is not {node.name}"
        return "not" if isinstance(node, Not) else ""

    @cached_property
    def parts(self) -> "Sequence[Expression]":
        """The operands of the outermost operator."""
        return [Expression(self._source, child) for child in self._node.children] if self.operator else []

    @property
    def is_path(self) -> bool:
        return isinstance(self._node, Path)

    @property
    def is_constant(self) -> bool:
        return all(isinstance(part, Constant) or part.children for part in _walk(self._node))

    @property
    def names(self) -> list[Name]:
        """The names it reads, for a check against those there are."""
        return [Name(text=part.root, offset=part.start) for part in _walk(self._node) if isinstance(part, Path)]

    @property
    def reads(self) -> list[Read]:
        """The paths it reads, whatever their values; those in brackets of others too."""
        return [_read(part) for part in _walk(self._node) if isinstance(part, Path)]

    @property
    def functions(self) -> list[Name]:
        """The functions it calls that not every place has."""
        return [Name(text=call.name, offset=call.start) for call in self._calls]

    def operands(self, scope: Scope) -> list[Operand]:
        """Return the outermost paths it reads, each once, with what stands there now. Never raises ExpressionError."""
        return self.operands_in(Run(scope, lenient=True))

    def operands_in(self, run: Run) -> list[Operand]:
        """Return what ``operands`` does; the run is a lenient one."""
        found: dict[str, Operand] = {}
        for path in self._paths:
            text = self._source[path.start : path.end]
            if text not in found:
                found[text] = Operand(path=text, keys=_keys(path, run), value=_value(path, run))
        return list(found.values())

    @cached_property
    def _paths(self) -> Sequence[Path]:
        return list(_outermost_paths(self._node))


def _walk(node: Node) -> Iterator[Node]:
    pending = [node]
    while pending:
        current = pending.pop()
        yield current
        pending.extend(reversed(current.children))


def _read(path: Path) -> Read:
    keys: list[str | int] = []
    for member in path.members:
        if member.key is None:
            break
        keys.append(member.key)
    complete = len(keys) == len(path.members)
    return Read(root=path.root, keys=tuple(keys), complete=complete, offset=path.start)


def _outermost_paths(node: Node) -> Iterator[Path]:
    pending = [node]
    while pending:
        current = pending.pop()
        if isinstance(current, Path):
            yield current
        else:
            pending.extend(reversed(current.children))


def _value(node: Node, run: Run) -> Any:
    try:
        value = node.run(run)
    except ExpressionError:
        return None
    return None if value.__class__ is Undefined else value


def _keys(path: Path, run: Run) -> tuple[str | int, ...]:
    members = (member.key if member.index is None else _value(member.index, run) for member in path.members)
    return (path.root, *(member for member in members if isinstance(member, str | int)))

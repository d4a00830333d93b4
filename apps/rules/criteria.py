"""What the conditions of a rule say (events.md section 4), read from their JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from apps.core.expressions import ExpressionError, ExpressionSyntaxError, compile_expression, inner_expression

MAX_DEPTH = 10  # of all, any and not in each other
MAX_LEAVES = 1000  # entries and expressions; each is a step of the trace

NEEDS_NO_VALUE = frozenset({"exists", "not_exists"})
OPERATORS = frozenset({
    "equals", "not_equals", "contains", "gt", "gte", "lt", "lte", "in", "not_in", "starts_with", "ends_with", "matches",
    *NEEDS_NO_VALUE,
})  # fmt: skip


class MalformedConditions(Exception):
    """The conditions have a form that never matches; ``path`` says where."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path
        self.message = message


class TooManyConditions(MalformedConditions):
    """They are nested too deep or too many to be evaluated."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A field of the payload, what it is compared with, and how. The operator may be unknown: it never holds then."""

    path: str
    field: str
    operator: str
    value: Any = None


@dataclass(frozen=True, kw_only=True)
class Formula:
    """An expression; ``start`` is where it begins in the text as written, which may have braces around it."""

    path: str
    written: str
    text: str
    start: int


@dataclass(frozen=True, kw_only=True)
class Group:
    """``all`` or ``any`` of the members, or ``not`` the only one."""

    kind: str
    members: Sequence["Criterion"]


Criterion = Entry | Formula | Group


def conditions_problem(conditions: Any) -> str | None:
    """Return why conditions cannot be stored at all: they are an object, a list or null."""
    if conditions is None or isinstance(conditions, dict | list):
        return None
    return "conditions must be an object or a list"


def read_criteria(conditions: Any) -> Group:
    """
    Return what the conditions say; null, ``{}`` and ``[]`` are all of nothing, which always holds.

    Raises MalformedConditions for what never matches, TooManyConditions for what is too large to be evaluated.
    """
    if conditions is None or conditions == {} or conditions == []:
        return Group(kind="all", members=())
    if isinstance(conditions, list):
        entries = [_entry(entry, f"conditions.{index}") for index, entry in enumerate(conditions[: MAX_LEAVES + 1])]
        group = Group(kind="all", members=entries)
    elif isinstance(conditions, dict) and len(conditions) == 1 and conditions.keys() <= _FORMS:
        group = Group(kind="all", members=[_criterion(conditions, "conditions", 0)])
    else:
        raise MalformedConditions("conditions", "an object has one of the keys expression, all, any, not")
    if sum(1 for _ in leaves(group)) > MAX_LEAVES:
        raise TooManyConditions("conditions", f"there are more than {MAX_LEAVES} conditions")
    return group


def leaves(criterion: Criterion) -> Iterator[Entry | Formula]:
    """Yield the entries and expressions, in the order they are written."""
    if isinstance(criterion, Group):
        for member in criterion.members:
            yield from leaves(member)
    else:
        yield criterion


_FORMS = frozenset({"expression", "all", "any", "not"})


def _criterion(member: Any, path: str, depth: int) -> Criterion:
    if not isinstance(member, dict) or len(member) != 1 or not member.keys() <= _FORMS:
        return _entry(member, path)
    ((kind, inside),) = member.items()
    if kind == "expression":
        return _formula(inside, f"{path}.expression")
    if depth == MAX_DEPTH:
        raise TooManyConditions(path, f"conditions are nested deeper than {MAX_DEPTH}")
    if kind == "not":
        return Group(kind=kind, members=[_criterion(inside, f"{path}.not", depth + 1)])
    if not isinstance(inside, list):
        raise MalformedConditions(f"{path}.{kind}", f"{kind} needs a list")
    members = [
        _criterion(one, f"{path}.{kind}.{index}", depth + 1) for index, one in enumerate(inside[: MAX_LEAVES + 1])
    ]
    return Group(kind=kind, members=members)


def _formula(text: Any, path: str) -> Formula:
    if not isinstance(text, str):
        raise MalformedConditions(path, "expression needs a text")
    try:
        inner, start = inner_expression(text)
    except ExpressionError:  # a text of nothing but brackets; reading it as it is says what is wrong
        inner, start = text, 0
    bare = inner.strip()
    return Formula(path=path, written=text, text=bare, start=start + inner.find(bare))


def _entry(entry: Any, path: str) -> Entry:
    if not isinstance(entry, dict):
        raise MalformedConditions(path, "a condition is an object with field, operator and value")
    for key in ("field", "operator"):
        if not isinstance(entry.get(key), str):
            raise MalformedConditions(path, f"the condition has no {key}")
    operator = entry["operator"]
    if operator in OPERATORS - NEEDS_NO_VALUE and "value" not in entry:
        raise MalformedConditions(path, f"the condition has no value, which {operator} needs")
    return Entry(path=path, field=entry["field"], operator=operator, value=entry.get("value"))


# --- What is wrong with them ------------------------------------------------------------------------------------


def check_formula(formula: Formula, roots: frozenset[str]) -> list[dict[str, Any]]:
    """Return the warnings about one expression: its syntax, unknown functions and names."""
    try:
        expression = compile_expression(formula.text)
        expression.check_functions(())
    except ExpressionError as error:
        what = error.message if isinstance(error, ExpressionSyntaxError) else error.message.split(";")[0]
        error.within(formula.written, formula.start)
        return [warning(formula.path, what, line=error.line, column=error.column)]
    warnings = []
    for name in expression.names:
        if name.text not in roots:
            unknown = ExpressionError(
                f"unknown name '{name.text}' (known here: {', '.join(sorted(roots))})", name.offset
            )
            unknown.within(formula.written, formula.start)
            warnings.append(warning(formula.path, unknown.message, line=unknown.line, column=unknown.column))
    return warnings


def warning(path: str, message: str, *, line: int | None = None, column: int | None = None) -> dict[str, Any]:
    return {"path": path, "message": message, "line": line, "column": column}

"""
What a caller may see, as a condition of SQL: the same answer as ``allows`` gives row by row.

A list stays one page of SQL: ``visible_to`` of an app is one filter::

    ACTIONS = Columns(refs="ref", pack_refs="pack_ref")

    def visible_to(caller):
        return narrowed(Action.objects.order_by("ref"), condition(caller, "actions:read", ACTIONS))
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from typing import TYPE_CHECKING, Any, TypeVar

from django.db.models import Q, QuerySet

from apps.identity.grants.compiled import Constraint, Grant
from apps.identity.grants.matching import PRIVATE, REACHING_OTHERS, of_the_caller

if TYPE_CHECKING:
    from apps.identity.callers import Caller

EVERYTHING, NOTHING = ~Q(pk__in=[]), Q(pk__in=[])  # the ORM knows both without asking the database

# A column that is compared with the listed values, or what makes the condition of them.
Column = str | Callable[[Collection[Any]], Q] | None
_Rows = TypeVar("_Rows", bound="QuerySet[Any]")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """
    Where the facts of a model stand in its table; what is left out its objects lack.

    ``owner`` and ``execution_scope`` take the word of the constraint (self, none; self, descendants).
    """

    ids: Column = "pk"
    refs: Column = None
    pack_refs: Column = None
    owner: Callable[["Caller", str], Q] | None = None
    owner_types: Column = None
    owner_refs: Column = None
    visibility: Column = None
    encrypted: str | None = None
    execution_scope: Callable[["Caller", str], Q] | None = None


def condition(caller: "Caller", grant: str, columns: Columns) -> Q:
    """Return the condition of the rows on which the caller may do ``resource:action``."""
    giving = caller.grants.giving(grant)
    return any_of(*(_holding(each, columns, caller) for each in giving if of_the_caller(each, caller)))


def any_of(*conditions: Q) -> Q:
    """Return the condition that one of these holds; none of none does."""
    if any(each is EVERYTHING for each in conditions):
        return EVERYTHING
    some = [each for each in conditions if each is not NOTHING]
    return reduce(or_, some) if some else NOTHING


def all_of(*conditions: Q) -> Q:
    """Return the condition that all of these hold."""
    if any(each is NOTHING for each in conditions):
        return NOTHING
    some = [each for each in conditions if each is not EVERYTHING]
    return reduce(and_, some) if some else EVERYTHING


def narrowed(rows: _Rows, condition: Q) -> _Rows:
    """Return the rows for which the condition holds; whoever may see all gets the plain query."""
    if condition is EVERYTHING:
        return rows
    return rows.none() if condition is NOTHING else rows.filter(condition)


def under(column: str, parents: "QuerySet[Any]", readable: Q, *, by: str = "pk") -> Q:
    """Return the condition of what belongs to those parents for which a condition holds."""
    if readable is EVERYTHING or readable is NOTHING:
        return readable
    return Q(**{f"{column}__in": parents.filter(readable).order_by().values(by)})


def _holding(grant: Grant, columns: Columns, caller: "Caller") -> Q:
    matching = (_matching(each, columns, caller) for each in grant.constraints)
    return all_of(*matching, _reaching(grant, columns, caller))


def _reaching(grant: Grant, columns: Columns, caller: "Caller") -> Q:
    """The SQL of ``matching.reaches``."""
    if grant.resource == "artifacts":
        if grant.speaks_of_objects or columns.visibility is None:
            return EVERYTHING
        return ~_among(columns.visibility, frozenset({PRIVATE}))
    speaking = REACHING_OTHERS.get(grant.resource)
    if speaking is None or grant.names & speaking or columns.owner is None:
        return EVERYTHING
    return any_of(columns.owner(caller, "none"), columns.owner(caller, "self"))


def _matching(constraint: Constraint, columns: Columns, caller: "Caller") -> Q:
    """The SQL of ``matching.matches``."""
    match constraint.name:
        case "ids" | "refs" | "pack_refs" | "owner_types" | "owner_refs" | "visibility":
            return _among(getattr(columns, constraint.name), constraint.value)
        case "encrypted":
            return NOTHING if columns.encrypted is None else Q(**{columns.encrypted: constraint.value})
        case "owner":
            return _word(columns.owner, caller, constraint.value)
        case "execution_scope":
            return _word(columns.execution_scope, caller, constraint.value)
        case "attributes":
            return EVERYTHING  # asked of the caller ahead of this
        case _:
            return NOTHING


def _among(column: Column, values: Collection[Any]) -> Q:
    if column is None or not values:
        return NOTHING
    return Q(**{f"{column}__in": sorted(values)}) if isinstance(column, str) else column(values)


def _word(of: Callable[["Caller", str], Q] | None, caller: "Caller", word: str) -> Q:
    if of is None:
        return NOTHING
    return EVERYTHING if word == "any" else of(caller, word)


def owned_by(column: str) -> Callable[["Caller", str], Q]:
    """Return the ``owner`` of a model whose owning identity is a foreign key."""

    def owner(caller: "Caller", word: str) -> Q:
        if word == "none":
            return Q(**{f"{column}__isnull": True})
        return NOTHING if caller.identity_id is None else Q(**{column: caller.identity_id})

    return owner

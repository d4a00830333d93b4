"""
Who may see which executions and artifacts: one rule for list, get, search, statistics and export (auth.md section 5).

*Own* executions: with an access token those whose executor is the caller, with an execution token its own execution
and what descends from it.
"""

from typing import TYPE_CHECKING

from django.db.models import Q
from django.db.models.expressions import RawSQL

from apps.executions.models import Artifact, Execution, ExecutionQuerySet, Visibility
from apps.identity.executions import Standing

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from apps.identity.callers import Caller

_DESCENDANTS = """
WITH RECURSIVE below(id) AS (
    SELECT CAST(%s AS bigint) UNION ALL
    SELECT execution.id FROM execution JOIN below ON execution.parent = below.id
) SELECT id FROM below
"""


def visible_to(caller: "Caller") -> ExecutionQuerySet:
    """Return the executions that the caller may read."""
    if caller.allows("executions:read"):
        return Execution.objects.all()
    return Execution.objects.filter(own(caller))


def own(caller: "Caller") -> Q:
    """Return the condition of the caller's own executions, which take no grant to read and cancel."""
    if caller.execution_id is not None:
        return Q(pk__in=RawSQL(_DESCENDANTS, [caller.execution_id]))  # a constant text, the id is a parameter
    return Q(executor=caller.identity.pk)


def may_read(caller: "Caller", execution: Execution) -> bool:
    """Return True when the caller may read this execution."""
    return caller.allows("executions:read", execution) or is_own(caller, execution)


def is_own(caller: "Caller", execution: Execution) -> bool:
    """Return True when it is one of the caller's own."""
    if caller.execution_id is None:
        return execution.executor_id == caller.identity.pk
    return Execution.objects.filter(own(caller), pk=execution.pk).exists()


def visible_artifacts(caller: "Caller") -> "QuerySet[Artifact]":
    """Return the artifacts that the caller may read; public ones anybody who is signed in."""
    if caller.allows("artifacts:read"):
        return Artifact.objects.all()
    return Artifact.objects.filter(visibility=Visibility.PUBLIC)


def standing_of(execution_id: int) -> Standing | None:
    """Return how an execution stands, for the check of its token; None when there is none."""
    row = Execution.objects.filter(pk=execution_id).values_list("epoch", "finished_at").first()
    return None if row is None else Standing(epoch=row[0], finished_at=row[1])

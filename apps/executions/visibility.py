"""
Who may see which executions and artifacts: one rule for list, get, search, statistics and export (auth.md section 5).

*Own* executions: with an access token those whose executor is the caller, with an execution token its own execution
and what descends from it.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from django.db.models import Exists, OuterRef, Q, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import StrIndex, Substr

from apps.actions.models import Action
from apps.core import sql
from apps.executions.models import Artifact, Execution, ExecutionQuerySet, OwnerType, Visibility
from apps.identity.executions import Standing
from apps.identity.grants import EVERYTHING, NOTHING, Columns, Facts, any_of, condition, facts, narrowed
from apps.identity.grants.explaining import register_exception
from apps.identity.grants.lineage import Origin, lineage
from apps.packs.models import Pack
from apps.packs.visibility import allowed as allowed_packs

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from apps.identity.callers import Caller

_DESCENDANTS = """
WITH RECURSIVE below(id) AS (
    SELECT CAST(%s AS bigint) UNION ALL
    SELECT execution.id FROM execution JOIN below ON execution.parent = below.id
) SELECT id FROM below
"""
# Children mostly run for whom their parent does: the descent begins where that changes.
_DESCENDANTS_OF_EXECUTOR = """
WITH RECURSIVE below(id) AS (
    SELECT child.id FROM execution child JOIN execution above ON above.id = child.parent
    WHERE above.executor = %s AND (child.executor IS NULL OR child.executor <> above.executor)
    UNION SELECT execution.id FROM execution JOIN below ON execution.parent = below.id
) SELECT id FROM below
"""
_ANCESTORS = """
WITH RECURSIVE above(id, parent, executor) AS (
    SELECT id, parent, executor FROM execution WHERE id = %s UNION ALL
    SELECT execution.id, execution.parent, execution.executor FROM execution JOIN above ON above.parent = execution.id
) SELECT id, executor FROM above
"""


# --- Executions -------------------------------------------------------------------------------------------------


def _scope(caller: "Caller", word: str) -> Q:
    if caller.execution_id is not None:
        own_execution = Q(pk=caller.execution_id)
        return own_execution if word == "self" else Q(pk__in=RawSQL(_DESCENDANTS, [caller.execution_id]))
    if caller.identity_id is None:
        return NOTHING
    mine = Q(executor=caller.identity_id)
    return mine if word == "self" else mine | Q(pk__in=RawSQL(_DESCENDANTS_OF_EXECUTOR, [caller.identity_id]))


COLUMNS = Columns(refs="action_ref", pack_refs="pack_ref", execution_scope=_scope)


def visible_to(caller: "Caller") -> ExecutionQuerySet:
    """Return the executions that the caller may read."""
    return narrowed(Execution.objects.all(), readable(caller))


def readable(caller: "Caller") -> Q:
    """Return the condition of the executions that the caller may read."""
    granted = condition(caller, "executions:read", COLUMNS)
    return granted if granted is EVERYTHING else any_of(granted, own(caller))


def own(caller: "Caller") -> Q:
    """Return the condition of the caller's own executions, which take no grant to read and cancel."""
    if caller.execution_id is not None:
        return _scope(caller, "descendants")
    return Q(executor=caller.identity.pk)


def may_read(caller: "Caller", execution: Execution) -> bool:
    """Return True when the caller may read this execution."""
    return caller.allows("executions:read", execution) or is_own(caller, execution)


def is_own(caller: "Caller", execution: Execution) -> bool:
    """Return True when it is one of the caller's own."""
    if caller.execution_id is None:
        return execution.executor_id == caller.identity.pk
    return execution.pk == caller.execution_id or descends(execution.pk, Origin(execution_id=caller.execution_id))


def descends(execution_id: int, origin: Origin) -> bool:
    """Return True when the execution is below another, or below one that runs for an identity."""
    ancestors = sql.fetch(_ANCESTORS, [execution_id])[1:]
    if origin.execution_id is not None:
        return any(pk == origin.execution_id for pk, _executor in ancestors)
    return any(executor == origin.executor_id for _pk, executor in ancestors if executor is not None)


def standing_of(execution_id: int) -> Standing | None:
    """Return how an execution stands, for the check of its token; None when there is none."""
    row = Execution.objects.filter(pk=execution_id).values_list("epoch", "finished_at").first()
    return None if row is None else Standing(epoch=row[0], finished_at=row[1])


# --- Artifacts --------------------------------------------------------------------------------------------------


def visible_artifacts(caller: "Caller") -> "QuerySet[Artifact]":
    """Return the artifacts that the caller may read; public ones anybody who is signed in."""
    return narrowed(Artifact.objects.all(), readable_artifacts(caller))


def readable_artifacts(caller: "Caller") -> Q:
    """Return the condition of the artifacts that the caller may read."""
    return any_of(
        condition(caller, "artifacts:read", ARTIFACT_COLUMNS),
        Q(visibility=Visibility.PUBLIC),
        _artifact_owner(caller, "self") if caller.token_type == "access" else NOTHING,
        _of_readable_packs(caller),
    )


def _names_of(caller: "Caller") -> list[str]:
    """Return how the owner column names the caller: a number is an id, whatever else a login."""
    if caller.holder is None:
        return []
    login = caller.holder.login
    return [str(caller.holder.pk), *([] if _is_number(login) else [login])]


def _artifact_owner(caller: "Caller", word: str) -> Q:
    if word == "none":
        return ~Q(scope=OwnerType.IDENTITY)
    return Q(scope=OwnerType.IDENTITY, owner__in=_names_of(caller))


def _of_packs(refs: Collection[str]) -> Q:
    """Return the condition of the artifacts that these packs own, or their actions and sensors."""
    of_sensors = Q()
    for ref in sorted(refs):
        of_sensors |= Q(owner__startswith=f"{ref}.")
    of_actions = Action.objects.filter(pack_ref__in=refs).values("ref")
    return (
        Q(scope=OwnerType.PACK, owner__in=sorted(refs))
        | Q(scope=OwnerType.ACTION, owner__in=of_actions)
        | (Q(scope=OwnerType.SENSOR) & of_sensors)
    )


def _of_readable_packs(caller: "Caller") -> Q:
    """Return the condition of the artifacts that belong to packs which the caller reads by a grant."""
    readable_packs = allowed_packs(caller, "packs:read")
    if readable_packs is NOTHING:
        return NOTHING
    packs = narrowed(Pack.objects.all(), readable_packs)
    of_actions = Action.objects.filter(pack_ref__in=packs.values("ref")).values("ref")
    before_the_dot = Substr(OuterRef("owner"), 1, StrIndex(OuterRef("owner"), Value(".")) - 1)
    return (
        Q(scope=OwnerType.PACK, owner__in=packs.values("ref"))
        | Q(scope=OwnerType.ACTION, owner__in=of_actions)
        | (Q(scope=OwnerType.SENSOR, owner__contains=".") & Q(Exists(packs.filter(ref=before_the_dot))))
    )


ARTIFACT_COLUMNS = Columns(
    refs="ref",
    pack_refs=_of_packs,
    owner=_artifact_owner,
    owner_types="scope",
    owner_refs="owner",
    visibility="visibility",
)


def facts_of_artifact(row: Artifact) -> Facts:
    """Return what checks look at; of one that an action owns, one query finds the pack."""
    return artifact_facts(scope=row.scope, owner=row.owner, visibility=row.visibility, ref=row.ref, artifact_id=row.pk)


def artifact_facts(*, scope: str, owner: str, visibility: str, ref: str, artifact_id: int | None = None) -> Facts:
    """Return what checks look at of an artifact that is, or is to be, like this."""
    return Facts(
        id=artifact_id,
        ref=ref,
        pack_ref=_pack_of(scope, owner),
        owner_identity=_identity_of(owner) if scope == OwnerType.IDENTITY else None,
        owner_type=scope,
        owner_ref=owner,
        visibility=visibility,
    )


def _identity_of(owner: str) -> int | str:
    return int(owner) if _is_number(owner) else owner


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20 and (text == "0" or text[0] != "0")


def _pack_of(scope: str, owner: str) -> str | None:
    match scope:
        case OwnerType.PACK:
            return owner
        case OwnerType.ACTION:
            return Action.objects.filter(ref=owner).values_list("pack_ref", flat=True).first()
        case OwnerType.SENSOR:
            return owner.partition(".")[0] if "." in owner else None
        case _:
            return None


# --- What checks of grants look at ------------------------------------------------------------------------------


def _facts_of_execution(row: Execution) -> Facts:
    return Facts(
        id=row.pk,
        ref=row.action_ref,
        pack_ref=row.pack_ref,
        execution_id=row.pk,
        executor_id=row.executor_id,
    )


def _own_takes_no_grant(caller: "Caller", action: str, execution: Any) -> str | None:
    if action in ("read", "cancel") and is_own(caller, execution):
        return "It is an execution of the caller's own"
    return None


def describe() -> None:
    """Tell the checks of grants what they look at; call once the apps are ready."""
    facts.register(Execution, _facts_of_execution, resource="executions", lookup="pk")
    facts.register(Artifact, facts_of_artifact, resource="artifacts")
    register_exception("executions", _own_takes_no_grant)
    lineage.register(descends)

"""What callers may ask of actions: create, change, delete."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from apps.actions.models import Action
from apps.actions.placement import check_placement
from apps.actions.rules import problems
from apps.core.errors import BadRequest, NotFound, UnprocessableEntity, ValidationFailed
from apps.packs.models import Pack
from apps.workers.models import Runtime

PLACEMENT = ("worker_selector", "worker_tolerations", "worker_affinity")


class MalformedPlacement(BadRequest):
    """The placement is malformed"""


@transaction.atomic
def create_action(*, pack_ref: str, **fields: Any) -> Action:
    """
    Create an ad-hoc action in a pack; ``runtime`` (id) or ``runtime_ref`` names its runtime.

    Raises NotFound for pack or runtime ref, UnprocessableEntity for a runtime id, MalformedPlacement, ValidationFailed.
    """
    values = _checked(fields)
    pack = Pack.objects.filter(ref=pack_ref).first()
    if pack is None:
        raise NotFound(f"Pack '{pack_ref}' not found")
    action = Action(**_with_runtime(values), pack=pack, pack_ref=pack.ref, is_adhoc=True)
    action.clean_fields(exclude=["pack", "runtime"])
    action.save(force_insert=True)
    return action


@transaction.atomic
def update_action(action_id: int, changes: Mapping[str, Any]) -> Action:
    """
    Change some fields of an action; the same errors as creating one, and NotFound for the action.

    A workflow's own follows its action: it is locked and read anew, so that nobody comes between the two rows.
    """
    action = Action.objects.select_for_update(no_key=True, of=("self",)).filter(pk=action_id).first()
    if action is None:
        raise NotFound("The action was deleted meanwhile")
    _refuse_own_program(action, changes)
    values = _with_runtime(_checked(changes))
    for name, value in values.items():
        setattr(action, name, value)
    action.clean_fields(exclude=["pack", "runtime"])
    action.save(update_fields=[*values, "updated"])
    return action


def _refuse_own_program(action: Action, changes: Mapping[str, Any]) -> None:
    """Raise ValidationFailed when a companion action would be given something else to run than its workflow."""
    if action.workflow_def is None:
        return
    same = changes.get("entrypoint") in (None, action.entrypoint)
    for name, unchanged in (
        ("entrypoint", same),
        *((key, changes.get(key) is None) for key in ("runtime", "runtime_ref")),
    ):
        if not unchanged:
            message = "The companion action of a workflow runs that workflow and nothing else."
            raise ValidationFailed(details=[{"field": name, "message": message}])


def _checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields when their JSON is well formed."""
    malformed = check_placement(*(fields.get(name) for name in PLACEMENT))
    if malformed:
        raise MalformedPlacement("; ".join(malformed))
    details = [{"field": name, "message": problem} for name, problem in problems(fields)]
    if details:
        raise ValidationFailed(details=details)  # type: ignore[arg-type]  # dicts of exactly these keys
    return dict(fields)


def _with_runtime(fields: dict[str, Any]) -> dict[str, Any]:
    """Replace ``runtime`` and ``runtime_ref`` by the row they name; without either nothing changes."""
    runtime_id, runtime_ref = fields.pop("runtime", None), fields.pop("runtime_ref", None)
    if runtime_ref is not None:
        runtime = Runtime.objects.filter(ref=runtime_ref).first()
        if runtime is None:
            raise NotFound(f"Runtime '{runtime_ref}' not found")
        if runtime_id is not None and runtime_id != runtime.pk:
            raise BadRequest("runtime and runtime_ref name different runtimes")
        return {**fields, "runtime": runtime}
    if runtime_id is not None:
        runtime = Runtime.objects.filter(pk=runtime_id).first()
        if runtime is None:
            raise UnprocessableEntity("Referenced entity does not exist (runtime)")
        return {**fields, "runtime": runtime}
    return fields

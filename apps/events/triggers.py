"""What callers may ask of triggers: create, change, enable, disable; to delete one, delete its row."""

from collections.abc import Collection, Mapping
from typing import Any

from django.db import transaction

from apps.actions.rules import schema_problem
from apps.core.errors import NotFound, ValidationFailed
from apps.events.models import Trigger
from apps.packs.models import Pack

SCHEMAS = ("param_schema", "out_schema")


@transaction.atomic
def create_trigger(*, pack_ref: str | None = None, **fields: Any) -> Trigger:
    """Create an ad-hoc trigger. Raises NotFound for the pack, ValidationFailed for a schema that cannot be used."""
    check_schemas(fields, SCHEMAS)
    pack = existing_pack(pack_ref) if pack_ref is not None else None
    trigger = Trigger(**fields, pack=pack, pack_ref=pack_ref, is_adhoc=True)
    trigger.clean_fields(exclude=["pack"])
    trigger.save(force_insert=True)
    return trigger


@transaction.atomic
def update_trigger(trigger: Trigger, changes: Mapping[str, Any]) -> Trigger:
    """Change some fields of a trigger. Raises ValidationFailed for a schema that cannot be used."""
    check_schemas(changes, SCHEMAS)
    return trigger.set(**changes)


def set_enabled(trigger: Trigger, *, enabled: bool) -> Trigger:
    """Enable or disable a trigger. While it is disabled its events are stored, and no rule fires on them."""
    return trigger if trigger.enabled == enabled else update_trigger(trigger, {"enabled": enabled})


def triggers_by_ref(refs: Collection[str]) -> dict[str, Trigger]:
    """Return those of the triggers that exist, by ref."""
    return {trigger.ref: trigger for trigger in Trigger.objects.filter(ref__in=refs)}


# --- Shared with sensors ----------------------------------------------------------------------------------------


def existing_pack(ref: str) -> Pack:
    """Return the pack. Raises NotFound."""
    pack = Pack.objects.filter(ref=ref).first()
    if pack is None:
        raise NotFound(f"Pack '{ref}' not found")
    return pack


def check_schemas(fields: Mapping[str, Any], names: Collection[str]) -> None:
    """Raise ValidationFailed when one of these fields holds a schema over its budget."""
    details = [{"field": name, "message": problem} for name in names if (problem := schema_problem(fields.get(name)))]
    if details:
        raise ValidationFailed(details=details)  # type: ignore[arg-type]  # dicts of exactly these keys

"""Store a component's row by its ref; for the loaders of every app."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import models

from apps.core.refs import ref_problem, validate_component_ref
from apps.packs.components import FaultyComponent
from apps.packs.models import Pack

_Row = TypeVar("_Row", bound=models.Model)


def store(
    model: type[_Row],
    pack: Pack,
    ref: str,
    fields: Mapping[str, Any],
    *,
    valid_ref: Callable[[str], None] = validate_component_ref,
    keys: Mapping[str, str] | None = None,
    pack_value: Any = None,
) -> _Row:
    """
    Create or update the row with this ref; an unchanged row is not written, and of a changed one only what changed.

    ``keys`` gives the file's name of a field where it differs. ``pack_value`` is what the row's ``pack`` holds when it
    is not the pack itself. Raises FaultyComponent when the ref is another pack's or was made through the API, and when
    a value breaks a rule of the model.
    """
    if problem := ref_problem(valid_ref, ref):
        raise FaultyComponent(problem, key="ref")
    row = locked(model, ref)
    changed: list[str] | None = None  # it is a new one
    if row is None:
        row = model(ref=ref, pack_ref=pack.ref, pack=pack_value or pack)
    else:
        _check_owner(row, pack, ref)
        changed = [name for name, value in fields.items() if getattr(row, name) != value]
    for name, value in fields.items():
        setattr(row, name, value)
    _validate(row, keys or {})
    if changed is None:
        row.save(force_insert=True)
    elif changed:
        row.save(update_fields=[*changed, "updated"])
    return row


def locked(model: type[_Row], ref: str) -> _Row | None:
    """Return the row with this ref, None when there is none; nobody else changes it until this transaction ends."""
    return model._default_manager.select_for_update(no_key=True, of=("self",)).filter(ref=ref).first()


def _check_owner(row: Any, pack: Pack, ref: str) -> None:
    if row.pack_ref != pack.ref:
        owner = f"pack '{row.pack_ref}'" if row.pack_ref else "no pack"
        raise FaultyComponent(f"'{ref}' belongs to {owner}", key="ref")
    if getattr(row, "is_adhoc", False):
        raise FaultyComponent(f"'{ref}' was made through the API and is left as it is", key="ref")


def _validate(row: models.Model, keys: Mapping[str, str]) -> None:
    relations = {field.name for field in row._meta.concrete_fields if field.is_relation}
    try:
        row.clean_fields(exclude=relations)
        row.clean()
    except ValidationError as error:
        if not hasattr(error, "error_dict"):
            raise FaultyComponent("; ".join(error.messages)) from error
        name, messages = next(iter(error.message_dict.items()))
        key = None if name == NON_FIELD_ERRORS else keys.get(name, name)
        text = " ".join(messages)
        raise FaultyComponent(f"{key}: {text}" if key else text, key=key) from error


def delete_stale(rows: "models.QuerySet[Any]", kept_refs: Collection[str]) -> list[str]:
    """Delete the rows whose ref is not among these; return a message for each that something still uses."""
    messages = []
    for row in rows.exclude(ref__in=kept_refs):
        try:
            row.delete()
        except models.RestrictedError as error:
            messages.append(f"'{row.ref}' is no longer in the pack, but {_users(error.restricted_objects)} it")
        except models.ProtectedError as error:
            messages.append(f"'{row.ref}' is no longer in the pack, but {_users(error.protected_objects)} it")
    return messages


def _users(rows: Collection[Any]) -> str:
    return f"{len(rows)} {'row uses' if len(rows) == 1 else 'rows use'}"

"""Loads queue files of packs (packs.md section 5)."""

from collections.abc import Collection
from typing import Any

from apps.actions.models import Action
from apps.core.errors import AttuneError
from apps.core.refs import validate_queue_ref
from apps.identity.grants import STANDARD
from apps.packs.components import Component, FaultyComponent
from apps.packs.models import Pack
from apps.packs.rows import delete_stale, locked, store
from apps.queues import services
from apps.queues.models import BatchMode, UpdateStrategy, WorkQueue

KEYS = (
    "ref", "label", "dispatch_action", "description", "enabled", "accepting_new_items", "default_priority",
    "allow_pending_update", "update_strategy", "batch_mode", "item_schema", "action_params", "permission_set_refs",
    "config", "max_depth",
)  # fmt: skip
_REQUIRED = ("ref", "label", "dispatch_action")
_LARGEST = 2**31 - 1


class QueueLoader:
    """Stores what ``queues/*.yaml`` describe; queues made through the API are left alone."""

    folder = "queues"

    def load(self, pack: Pack, component: Component) -> None:
        fields = queue_fields(component)
        known = locked(WorkQueue, component.ref)
        if known is not None:  # what an operator switched stays switched
            fields |= {name: getattr(known, name) for name in services.OPEN_TO_ALL if name not in component.data}
        changed = [name for name, value in fields.items() if known is None or getattr(known, name) != value]
        try:
            services.check_settings(WorkQueue(**fields))
            queue = store(WorkQueue, pack, component.ref, fields, valid_ref=validate_queue_ref)
            if changed:
                services.follow(queue, changed if known is not None else ())
        except AttuneError as error:
            raise FaultyComponent(error.message) from error

    def remove_stale(self, pack: Pack, kept_refs: Collection[str]) -> list[str]:
        return delete_stale(WorkQueue.objects.filter(pack_ref=pack.ref, from_file=True), kept_refs)


def queue_fields(component: Component) -> dict[str, Any]:
    """Return the row's fields as the file gives them. Raises FaultyComponent."""
    _check_keys(component)
    action_ref = component.full_ref(component.text("dispatch_action") or "")
    action = Action.objects.filter(ref=action_ref).first()
    if action is None:
        raise FaultyComponent(f"there is no action '{action_ref}'", key="dispatch_action")
    return {
        "from_file": True,
        "label": component.label,
        "description": component.text("description"),
        "dispatch_action": action,
        "dispatch_action_ref": action_ref,
        "enabled": component.flag("enabled", True),
        "accepting_new_items": component.flag("accepting_new_items", True),
        "default_priority": _integer(component, "default_priority", -_LARGEST) or 0,
        "allow_pending_update": component.flag("allow_pending_update"),
        "update_strategy": _choice(component, "update_strategy", UpdateStrategy.REPLACE, UpdateStrategy.values),
        "batch_mode": _choice(component, "batch_mode", BatchMode.SINGLE, BatchMode.values),
        "item_schema": component.schema("item_schema") or {},
        "action_params": component.mapping("action_params"),
        "permission_set_refs": _permission_sets(component),
        "config": component.mapping("config"),
        "max_depth": _integer(component, "max_depth", 1),
    }


def _check_keys(component: Component) -> None:
    for key in component.data:
        if key not in KEYS:
            raise FaultyComponent(f"unknown key '{key}'; known are {', '.join(KEYS)}", key=str(key))
    for key in _REQUIRED:
        if not component.text(key):
            raise FaultyComponent(f"{key} is required", key=key)


def _integer(component: Component, key: str, lowest: int) -> int | None:
    value = component.integer(key)
    if value is not None and not lowest <= value <= _LARGEST:
        raise FaultyComponent(f"{key} must be from {lowest} to {_LARGEST}", key=key)
    return value


def _choice(component: Component, key: str, default: str, choices: Collection[str]) -> str:
    value = component.text(key) or str(default)
    if value not in choices:
        raise FaultyComponent(f"{key} must be one of {', '.join(choices)}", key=key)
    return value


def _permission_sets(component: Component) -> list[str] | None:
    if component.data.get("permission_set_refs") is None:
        return None
    return [name if name == STANDARD else component.full_ref(name) for name in component.texts("permission_set_refs")]

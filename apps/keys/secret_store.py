"""The secret parts of other rows, encrypted, by the place of their markers (auth.md section 10)."""

from collections.abc import Collection, Mapping
from typing import Any

from apps.core.cipher import configured_cipher
from apps.keys.models import SecretSource, SecretValue

EXECUTION_CONFIG = "execution_config"
EXECUTION_RESULT = "execution_result"
ENFORCEMENT_CONFIG = "enforcement_config"
EVENT_PAYLOAD = "event_payload"
QUEUE_ITEM_PAYLOAD = "queue_item_payload"
PACK_CONFIG = "pack_config"
WEBHOOK_CONFIG = "webhook_config"
RULE_PARAMS = "rule_params"
WORKFLOW_VARIABLE = "workflow_variable"
WORKFLOW_TASK = "workflow_task"  # what a task has published
WORKFLOW_RERUN = "workflow_rerun"  # what is put over the input of tasks


def put(
    entity_type: str,
    entity_id: int,
    values: Mapping[str, Any],
    *,
    source_kind: str = SecretSource.PARAMETER,
    source_ref: str | None = None,
) -> None:
    """Keep the values of a row, by JSON pointer; what was kept at these places before is replaced."""
    if not values:
        return
    cipher = configured_cipher()
    SecretValue.objects.filter(entity_type=entity_type, entity_id=entity_id, json_path__in=list(values)).delete()
    SecretValue.objects.bulk_create(
        SecretValue(
            entity_type=entity_type,
            entity_id=entity_id,
            json_path=path,
            source_kind=source_kind,
            source_ref=source_ref,
            encrypted_value=cipher.encrypt(value),
            encryption_key_hash=cipher.key_id,
        )
        for path, value in values.items()
    )


def get(entity_type: str, entity_id: int) -> dict[str, Any]:
    """Return the values of a row, by JSON pointer. Raises CannotDecrypt, UnknownKey."""
    return get_many(entity_type, [entity_id]).get(entity_id, {})


def get_many(entity_type: str, entity_ids: Collection[int]) -> dict[int, dict[str, Any]]:
    """Return the values of several rows, by id and JSON pointer. Raises CannotDecrypt, UnknownKey."""
    cipher = configured_cipher()
    found: dict[int, dict[str, Any]] = {}
    rows = SecretValue.objects.filter(entity_type=entity_type, entity_id__in=entity_ids)
    for entity_id, path, text, key_id in rows.values_list(
        "entity_id", "json_path", "encrypted_value", "encryption_key_hash"
    ):
        found.setdefault(entity_id, {})[path] = cipher.decrypt(text, key_id or "")
    return found


def replace(
    entity_type: str, entity_id: int, values: Mapping[str, Any], *, staying: Collection[str] = (), **source: Any
) -> None:
    """Keep exactly these values of a row, and what it has in the places that stay."""
    SecretValue.objects.filter(entity_type=entity_type, entity_id=entity_id).exclude(
        json_path__in=[*values, *staying]
    ).delete()
    put(entity_type, entity_id, values, **source)


def forget(entity_type: str, entity_ids: Collection[int]) -> int:
    """Delete the values of rows that are deleted; return how many there were."""
    return SecretValue.objects.filter(entity_type=entity_type, entity_id__in=entity_ids).delete()[0]


class PackConfigs:
    """The secrets of packs' configs (``apps.packs.secrets.Store``)."""

    def get(self, pack_id: int) -> dict[str, Any]:
        return get(PACK_CONFIG, pack_id)

    def replace(self, pack_id: int, values: Mapping[str, Any]) -> None:
        replace(PACK_CONFIG, pack_id, values)


def forget_pack(*, instance: Any, **_signal: Any) -> None:
    """A pack's secrets go with it, in the transaction of its deletion."""
    forget(PACK_CONFIG, [instance.pk])

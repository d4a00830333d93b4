"""Payloads of items: checked against the queue's ``item_schema``, their secrets kept apart (auth.md section 10)."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from apps.core.errors import Detail, ValidationFailed
from apps.core.markers import Path, holds_marker, is_marker, marked, path_of, restored
from apps.core.schemas import Violation, secret_paths, value_violations, violations
from apps.keys import secret_store
from apps.queues.models import WorkQueueItem

_SAYS_WHAT_IT_IS = ("type", "$ref", "allOf", "anyOf", "oneOf", "enum", "const")


def check_payload(schema: Any, payload: Any) -> None:
    """Raise ValidationFailed with every violation of the schema; an empty schema allows everything."""
    found = _violations(schema, payload) if schema else ()
    if found:
        raise ValidationFailed(
            f"Invalid payload: {'; '.join(violation.message for violation in found)}",
            details=[Detail(field=_place(violation.field), message=violation.message) for violation in found],
        )


def check_schema(schema: Any) -> None:
    """Raise UnusableSchema when no payload could be checked by this schema."""
    if schema:
        _violations(schema, {})


def _violations(schema: Mapping[str, Any], payload: Any) -> Sequence[Violation]:
    if not _is_plain_json_schema(schema):
        return value_violations(schema, payload, subject="payload")
    wrapped = {"type": "object", "properties": {"payload": schema}, "required": ["payload"]}
    return violations(wrapped, {"payload": payload}, subject="item")


def _is_plain_json_schema(schema: Mapping[str, Any]) -> bool:
    """Whether it is a JSON Schema of something else than an object with properties."""
    says = any(isinstance(schema.get(word), str | list) for word in _SAYS_WHAT_IT_IS) or "const" in schema
    return says and not isinstance(schema.get("properties"), Mapping)


def _place(field: str) -> str:
    return field if field == "payload" or field.startswith("payload.") else ".".join(filter(None, ("payload", field)))


def refuse_markers(payload: Any) -> None:
    """Raise ValidationFailed when a marker stands where nothing is kept that it could stand for."""
    if holds_marker(payload):
        message = "A marker stands where nothing is kept that it could stand for."
        raise ValidationFailed(details=[Detail(field="payload", message=message)])


def without_secrets(schema: Any, payload: Any) -> tuple[Any, dict[str, Any]]:
    """Return a payload with markers for what the schema calls secret, and what stood there, by pointer."""
    return marked(payload, secret_paths(schema, payload)) if schema else (payload, {})


def keep(item_id: int, values: Mapping[str, Any], *, queue_ref: str, anew: bool = False) -> None:
    """Keep what stands behind the markers of an item; ``anew``: there was another payload before."""
    if anew:
        secret_store.replace(secret_store.QUEUE_ITEM_PAYLOAD, item_id, values, source_ref=queue_ref)
    else:
        secret_store.put(secret_store.QUEUE_ITEM_PAYLOAD, item_id, values, source_ref=queue_ref)


def real_payload(item: WorkQueueItem) -> Any:
    """Return the payload with its secret values. Raises CannotDecrypt, UnknownKey."""
    return real_payloads([item])[item.pk]


def real_payloads(items: Collection[WorkQueueItem]) -> dict[int, Any]:
    """Return the payloads by id, with their secret values; at most one query for all."""
    holding = [item.pk for item in items if holds_marker(item.payload)]
    values = secret_store.get_many(secret_store.QUEUE_ITEM_PAYLOAD, holding) if holding else {}
    return {item.pk: restored(item.payload, values.get(item.pk, {})) for item in items}


def secret_places(payload: Any) -> list[Path]:
    """Return where in a stored payload markers stand."""
    found: list[Path] = []
    pending: list[tuple[tuple[str | int, ...], Any]] = [((), payload)]
    while pending:
        place, value = pending.pop()
        if is_marker(value):
            found.append(place)
        elif isinstance(value, dict):
            pending.extend(((*place, name), inner) for name, inner in value.items())
        elif isinstance(value, list):
            pending.extend(((*place, index), inner) for index, inner in enumerate(value))
    return found


def given_payload(item: WorkQueueItem, payload: Any) -> Any:
    """Return a payload that somebody sent for a stored item, with what its markers stand for."""
    if not holds_marker(payload):
        return payload
    kept = secret_store.get(secret_store.QUEUE_ITEM_PAYLOAD, item.pk)
    given = restored(payload, {text: value for text, value in kept.items() if path_of(text, payload) is not None})
    refuse_markers(given)
    return given

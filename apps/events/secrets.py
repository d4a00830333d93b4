"""Secret parts of event payloads (auth.md section 10): rows hold markers, the values are kept encrypted apart."""

from collections.abc import Mapping
from typing import Any

from apps.core.errors import Detail, ValidationFailed
from apps.core.markers import Path, holds_marker, is_marker, marked, restored
from apps.core.schemas import secret_paths
from apps.events.models import Event
from apps.keys import secret_store

_REAL = "_real_payload"  # on the instance that was just stored


def without_secrets(payload: Any, out_schema: Any) -> tuple[Any, dict[str, Any]]:
    """Return a payload with markers for what the trigger's schema calls secret, and what stood there, by pointer."""
    return marked(payload, secret_paths(out_schema, payload)) if out_schema else (payload, {})


def given_payload(payload: Any, out_schema: Any, *, edited: Event | None = None) -> Any:
    """
    Return a payload that somebody sent; a marker in it keeps the value of the event that was ``edited``.

    Raises ValidationFailed for a marker in the place of a secret that stands for nothing.
    """
    if not holds_marker(payload):
        return payload
    if edited is not None:
        payload = restored(payload, secret_store.get(secret_store.EVENT_PAYLOAD, edited.pk))
    for path in secret_paths(out_schema, payload) if out_schema else ():
        if is_marker(_at(payload, path)):
            field = ".".join(["payload", *map(str, path)])
            raise ValidationFailed(details=[Detail(field=field, message="A redaction marker is no value.")])
    return payload


def _at(document: Any, path: Path) -> Any:
    for step in path:
        document = document[step]  # the path was found in it
    return document


def keep_payload(event: Event, real: Any, values: dict[str, Any]) -> None:
    """Keep the values that stand behind the markers of a new event."""
    secret_store.put(secret_store.EVENT_PAYLOAD, event.pk, values, source_ref=event.trigger_ref)
    setattr(event, _REAL, real)


def real_payload(event: Event) -> Any:
    """Return the payload with its secret values. Raises CannotDecrypt, UnknownKey."""
    if hasattr(event, _REAL):
        return getattr(event, _REAL)
    if not holds_marker(event.payload):
        return event.payload
    return restored(event.payload, secret_store.get(secret_store.EVENT_PAYLOAD, event.pk))


def real_payloads(payloads: Mapping[int, Any]) -> dict[int, Any]:
    """Return those payloads, by event id, that have secret values, with the values back; one query for all."""
    ids = [event_id for event_id, payload in payloads.items() if holds_marker(payload)]
    if not ids:
        return {}
    values = secret_store.get_many(secret_store.EVENT_PAYLOAD, ids)
    return {event_id: restored(payloads[event_id], values.get(event_id, {})) for event_id in ids}

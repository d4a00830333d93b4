"""Senders we know: where each says what kind of event it sends and which delivery this is (events.md 10.5)."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from apps.events.webhooks.config import DeliveryIdPlace

_LONGEST_ID = 255  # of a kept answer's key
_VISIBLE = re.compile(r"[\x21-\x7e]+")

Headers = Mapping[str, str]
Reader = Callable[[Headers, Any], Any]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Readers of headers (names in lower case) and payload; what they return may be anything JSON."""

    event_type: Reader
    delivery_id: Reader


def _header(*names: str) -> Reader:
    def read(headers: Headers, payload: Any) -> Any:
        return next((headers[name] for name in names if headers.get(name)), None)

    return read


def _member(*paths: str) -> Reader:
    def read(headers: Headers, payload: Any) -> Any:
        return next((value for path in paths if (value := at_path(payload, path)) is not None), None)

    return read


PRESETS: dict[str, Preset] = {
    "github": Preset(event_type=_header("x-github-event"), delivery_id=_header("x-github-delivery")),
    "gitlab": Preset(
        event_type=_header("x-gitlab-event"), delivery_id=_header("idempotency-key", "x-gitlab-event-uuid")
    ),
    "slack": Preset(event_type=_member("event.type", "type"), delivery_id=_member("event_id")),
    "stripe": Preset(event_type=_member("type"), delivery_id=_member("id")),
    "standard": Preset(event_type=_member("type"), delivery_id=_header("webhook-id")),
}


def event_type_of(preset: str | None, headers: Headers, payload: Any) -> str | None:
    """Return what kind of event the sender says it is, None when it does not say."""
    known = PRESETS.get(preset or "")
    found = known.event_type(headers, payload) if known else None
    return found if isinstance(found, str) and found else None


def delivery_id_of(preset: str | None, place: DeliveryIdPlace | None, headers: Headers, payload: Any) -> str | None:
    """Return the sender's id of this delivery, from the configured place, else from where the preset has it."""
    known = PRESETS.get(preset or "")
    if place is not None:
        found = headers.get(place.header.lower()) if place.header else at_path(payload, place.path or "")
    else:
        found = known.delivery_id(headers, payload) if known else None
    return id_text(found)


def id_text(value: Any) -> str | None:
    """Return an id as the key of a kept answer: visible ASCII, its hash when it is something else or long."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not text.strip():
        return None
    text = text.strip()
    if len(text) <= _LONGEST_ID and _VISIBLE.fullmatch(text):
        return text
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def at_path(value: Any, path: str) -> Any:
    """Return what a dotted path leads to (a number indexes an array), None when it leads nowhere."""
    for name in path.split("."):
        match value:
            case dict():
                value = value.get(name)
            case list() if re.fullmatch("[0-9]{1,9}", name) and int(name) < len(value):
                value = value[int(name)]
            case _:
                return None
    return value

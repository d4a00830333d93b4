"""Webhooks for tests: a trigger that takes them, and senders that post to it."""

import json
from typing import Any

from rest_framework.response import Response

from apps.events.models import Trigger
from tests.clients import anonymous
from tests.factories import make_trigger

KEY = "wh_0123456789abcdef0123456789abcdef"


def make_webhook(config: Any = None, **fields: Any) -> Trigger:
    """A trigger with webhooks on; ``config`` stands in the column as it is."""
    defaults = {"webhook_enabled": True, "webhook_key": KEY, "webhook_config": {} if config is None else config}
    return make_trigger(**{**defaults, **fields})


def post(body: bytes, *, key: str = KEY, raw: bool = False, headers: dict[str, str] | None = None, **meta: Any) -> Any:
    """Post the bytes as they are; ``meta``: REMOTE_ADDR and the like, ``query``: a query string."""
    path = f"/api/v1/webhooks/{key}{'/raw' if raw else ''}{meta.pop('query', '')}"
    kind = (headers or {}).get("Content-Type", "application/json")
    answer: Response = anonymous().generic("POST", path, body, content_type=kind, headers=headers, **meta)
    return answer


def post_payload(payload: Any = None, *, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    """Post a wrapped payload; further fields stand beside it in the body."""
    return post(json.dumps({"payload": payload, **fields}).encode(), headers=headers)


def told(answer: Any) -> tuple[int, str]:
    """Return the status of a refusal and what it says."""
    return answer.status_code, answer.json()["error"]

"""
A handler of queue items whose outcome their payload tells, and what must have become of them in the end.

The items of one batch are of one kind, so that what happens to a whole execution happens to nobody else.
"""

from collections.abc import Iterable, Mapping
from typing import Any

KINDS = ("fine", "flaky", "hopeless", "crash", "wrong", "mute", "skip", "bad")

# Batches of one group; the text is the inline action.
CODE = """
import sys

def run(queue_items, **_further):
    items = queue_items
    kind, first = items[0]["payload"]["kind"], items[0]["attempt_count"] == 1
    assert {item["payload"]["kind"] for item in items} == {kind}
    if kind == "crash" and first:
        sys.exit(3)
    if kind == "mute":
        return {"nothing": "is said"}
    said = {"fine": "completed", "skip": "skipped", "bad": "failed", "hopeless": "retry"}.get(kind, "completed")
    entries = []
    for item in items:
        status = "retry" if kind == "flaky" and item["attempt_count"] == 1 else said
        entries.append({"id": item["id"], "status": status, "summary": {"attempt": item["attempt_count"]}})
    if kind == "wrong" and first:
        entries.append({"id": 0, "status": "completed"})
    return {"queue_ack": {"version": 1, "items": entries}}
"""

_ENDS = {"skip": "skipped", "bad": "failed", "hopeless": "failed", "mute": "failed"}
_ATTEMPTS = {"fine": 1, "skip": 1, "bad": 1}


def payload(number: int) -> dict[str, Any]:
    """The payload of the item with this number; kinds take turns, three groups of each."""
    kind = KINDS[number % len(KINDS)]
    return {"kind": kind, "group": f"{kind}{number // len(KINDS) % 3}", "n": number}


def problems(items: Iterable[Mapping[str, Any]], *, retry_limit: int, lost: int = 0) -> list[str]:
    """
    Say what is wrong with items that have all ended, as the API shows them.

    ``lost``: how many attempts of an item may have been cut short because its worker died.
    """
    return [text for item in items for text in _problems(item, retry_limit, lost)]


def _problems(item: Mapping[str, Any], retry_limit: int, lost: int) -> Iterable[str]:
    kind, attempts = item["payload"]["kind"], item["attempts"]
    # In a batch of crash or wrong the oldest item decides, so newer ones may do with one attempt.
    named = f"item {item['id']} ({kind})"
    said = [attempt["status"] for attempt in attempts]
    if item["status"] != _ENDS.get(kind, "completed"):
        yield f"{named} is {item['status']}: {item['last_error']}"
    if len(attempts) != item["attempt_count"] or len({attempt["execution"] for attempt in attempts}) != len(attempts):
        yield f"{named} has {item['attempt_count']} attempts, and settled {attempts}"
    if [status for status in said[:-1] if status != "retry"]:
        yield f"{named} was worked on after it had ended: {said}"
    least = retry_limit + 1 if kind in ("hopeless", "mute") else _ATTEMPTS.get(kind, 2 if kind == "flaky" else 1)
    most = retry_limit + 1 if kind in ("hopeless", "mute") else _ATTEMPTS.get(kind, 2) + lost
    if not least <= item["attempt_count"] <= most:
        yield f"{named} took {item['attempt_count']} attempts"

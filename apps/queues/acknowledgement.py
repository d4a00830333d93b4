"""
What the process of a dispatch says about its items (execution.md section 18, "Acknowledgement"). Pure.

    {"version": 1, "items": [{"id": 17, "status": "completed", "summary": "sent"}, {"id": 18, "status": "retry", "error": "busy"}]}
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from apps.queues.config import ACK_VERSION

STATUSES = ("completed", "retry", "failed", "skipped")
MISSING = "The result has no queue_ack"
_SHOWN = 10  # ids that a sentence names


@dataclass(frozen=True, kw_only=True)
class Said:
    """What is said about one item."""

    status: str
    summary: Any = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Acknowledgement:
    """One entry for every leased item, or an error that counts for all of them."""

    items: Mapping[int, Said] = field(default_factory=dict)
    error: str | None = None


def read_acknowledgement(result: Any, leased: Collection[int]) -> Acknowledgement:
    """Return what a result says about the leased items."""
    given = result.get("queue_ack") if isinstance(result, Mapping) else None
    if given is None:
        return Acknowledgement(error=MISSING)
    problem = _form_problem(given)
    if problem is None:
        entries = given["items"]
        problem = next((found for entry in entries if (found := _entry_problem(entry))), None)
        problem = problem or _mismatch([entry["id"] for entry in entries], leased)
    if problem is not None:
        return Acknowledgement(error=f"The queue_ack is not valid: {problem}")
    return Acknowledgement(
        items={
            entry["id"]: Said(status=entry["status"], summary=entry.get("summary"), error=entry.get("error"))
            for entry in given["items"]
        }
    )


def status_after(said: str, *, attempt_count: int, retry_limit: int) -> str:
    """Return the status of an item about which this is said: a retry beyond the limit has failed."""
    return "failed" if said == "retry" and attempt_count > retry_limit else said


def _form_problem(given: Any) -> str | None:
    if not isinstance(given, Mapping):
        return "it must be an object"
    version = given.get("version")
    if type(version) is not int or version != ACK_VERSION:
        return f"its version must be {ACK_VERSION}"
    if not isinstance(given.get("items"), list):
        return "its items must be a list"
    return None


def _entry_problem(entry: Any) -> str | None:
    if not isinstance(entry, Mapping) or type(entry.get("id")) is not int:
        return "every item must be an object with an id"
    if not isinstance(entry.get("status"), str) or entry["status"] not in STATUSES:
        return f"the status of item {entry['id']} must be one of {', '.join(STATUSES)}"
    if entry.get("error") is not None and not isinstance(entry["error"], str):
        return f"the error of item {entry['id']} must be a text"
    return None


def _mismatch(named: list[int], leased: Collection[int]) -> str | None:
    twice = sorted(item for item, times in Counter(named).items() if times > 1)
    if twice:
        return f"items named more than once: {_ids(twice)}"
    unknown = sorted(set(named) - set(leased))
    if unknown:
        return f"items that were not leased: {_ids(unknown)}"
    missing = sorted(set(leased) - set(named))
    return f"no entry for items {_ids(missing)}" if missing else None


def _ids(ids: list[int]) -> str:
    further = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return ", ".join(map(str, ids[:_SHOWN])) + further

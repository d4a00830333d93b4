"""Audit events as lines of a file, however many there are."""

import json
from collections.abc import Callable, Iterator
from typing import Final

from django.db.models import Max, Q, QuerySet

from apps.core.csv_text import csv_cell, csv_line
from apps.identity.audit.rows import KEYS, event_data
from apps.identity.models import AuditEvent

BATCH_ROWS: Final = 1000


def oldest_first(rows: "QuerySet[AuditEvent]") -> Iterator[AuditEvent]:
    """
    Yield the rows in the order in which they happened, read in batches by key.

    No cursor or transaction is held open meanwhile, and what comes after the start is left out.
    """
    ceiling = AuditEvent.objects.aggregate(ceiling=Max("pk"))["ceiling"] or 0
    rows = rows.filter(pk__lte=ceiling).order_by("created", "id")
    batch = list(rows[:BATCH_ROWS])
    while batch:
        yield from batch
        if len(batch) < BATCH_ROWS:
            return
        last = batch[-1]
        behind = Q(created__gt=last.created) | Q(pk__gt=last.pk)
        batch = list(rows.filter(behind, created__gte=last.created)[:BATCH_ROWS])


def json_line(event: AuditEvent) -> str:
    return json.dumps(event_data(event), ensure_ascii=False) + "\n"


def csv_row(event: AuditEvent) -> str:
    return csv_line(csv_cell(value) for value in event_data(event).values())


# The head of a file, and what becomes of an event.
FORMATS: Final[dict[str, tuple[str, Callable[[AuditEvent], str]]]] = {
    "jsonl": ("", json_line),
    "csv": (csv_line(KEYS), csv_row),
}
